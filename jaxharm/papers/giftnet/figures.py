"""What GiftNet shows of itself: relation maps, and what modules and codes change."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array, Output, Params
from jaxharm.papers.giftnet.relation import relation_map

_EFFECT_RANGE = 0.25  # of the [0,1] scale, at the bright end of the map of the codes' effect


def explain(
    output: Output,
    plain: Array | None,
    mask: Array,
    features: Mapping[str, Sequence[Array]],
    masks: Sequence[Array],
) -> dict[str, Array]:
    """Relations, changes of the features, effect of the codes; see `interfaces.System.figures`.

    Relations of student, teacher (where the state has one, not with exported weights) and
    their difference; what the modules change of the skips, as a share of the features'
    length; the image that codes of zero would give, and how far the codes move it.

    Args:
        output: of the network.
        plain: f32[b,h,w,3], its image where every code is 0; None for a model without codes.
        mask: f32[b,h,w,1].
        features: "student", and perhaps "teacher", -> f[b,h',w',c] per level of the objective.
        masks: f32[b,h',w',1] per level.
    """
    found = _relations(features, masks, mask)
    deepest_first = output.aux["encoder"][-2::-1]
    for raw, skip in zip(deepest_first, output.aux["transformed_skips"], strict=True):
        length, change = (_length(x) for x in (raw, skip - raw))
        share = change / jnp.maximum(length, 1e-6)
        found[f"features changed, {_scale(share, mask)}"] = _full_size(share, mask)
    if plain is not None:
        moved = jnp.mean(jnp.abs(output.image - plain), -1, keepdims=True)
        found["with codes of zero"] = plain
        found["effect of the codes"] = jnp.clip(moved / _EFFECT_RANGE, 0, 1)
    return {name: value.astype(jnp.float32) for name, value in found.items()}


def without_codes(variables: Params) -> Params | None:
    """Variables under which every code is 0; None for a model whose codes pass no layer."""
    params = dict(variables["params"])
    if "code_map" not in params:
        return None
    last = jax.tree.map(jnp.zeros_like, params["code_map"]["fc1"])
    params["code_map"] = {**params["code_map"], "fc1": last}
    return {**variables, "params": params}


def _relations(
    features: Mapping[str, Sequence[Array]], masks: Sequence[Array], mask: Array
) -> dict[str, Array]:
    found = {}
    for i, small in enumerate(masks):
        level = {
            name: relation_map(levels[i], small)[..., None] for name, levels in features.items()
        }
        scale = _scale(level["student"], mask)
        for name, relation in level.items():
            found[f"relation {scale}, {name}"] = _full_size((relation + 1) / 2, mask)
        if len(level) == 2:
            apart = jnp.abs(level["student"] - level["teacher"])
            found[f"relation {scale}, difference"] = _full_size(apart, mask)
    return found


def _scale(small: Array, mask: Array) -> str:
    return f"1/{mask.shape[1] // small.shape[1]}"


def _full_size(small: Array, mask: Array) -> Array:
    """Repeats f32[b,h',w',1] to the size of the mask, within [0,1]."""
    factor = mask.shape[1] // small.shape[1]
    return jnp.clip(jnp.repeat(jnp.repeat(small, factor, 1), factor, 2), 0, 1)


def _length(features: Array) -> Array:
    return jnp.linalg.norm(features.astype(jnp.float32), axis=-1, keepdims=True)
