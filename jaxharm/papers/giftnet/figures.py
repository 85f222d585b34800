"""What GiftNet shows of itself: relation maps, and what modules and codes change."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array, Batch, Output, TrainState
from jaxharm.papers.giftnet.relation import relation_map

if TYPE_CHECKING:
    from jaxharm.papers.giftnet.system import GiftNetSystem

NETWORK_TEACHER = "teacher"  # its name in the training state
_EFFECT_RANGE = 0.25  # of the [0,1] scale, at the bright end of the map of the codes' effect


def explain(system: "GiftNetSystem", state: TrainState, batch: Batch) -> dict[str, Array]:
    """Relations, changes of the features, effect of the codes; see `systems.base.System.maps`.

    Relations of student, teacher (where the state has one, not with exported weights) and
    their difference; what the modules change of the skips, as a share of the features'
    length; the image that codes of zero would give, and how far the codes move it.
    """
    inputs, variables = system.prepare(batch), system.variables(state)
    image, mask = inputs["composite"], inputs["mask"]
    output: Any = system.module().apply(variables, image, mask, train=False)
    found = _relation_maps(system, state, output, inputs)
    deepest_first = output.aux["encoder"][-2::-1]
    for raw, skip in zip(deepest_first, output.aux["transformed_skips"], strict=True):
        length, change = (_length(x) for x in (raw, skip - raw))
        share = change / jnp.maximum(length, 1e-6)
        found[f"features changed, {_scale(share, mask)}"] = _full_size(share, mask)
    neutral = _without_codes(variables)
    if neutral is not None:
        plain: Any = system.module().apply(neutral, image, mask, train=False)
        moved = jnp.mean(jnp.abs(output.image - plain.image), -1, keepdims=True)
        found["with codes of zero"] = plain.image
        found["effect of the codes"] = jnp.clip(moved / _EFFECT_RANGE, 0, 1)
    return {name: value.astype(jnp.float32) for name, value in found.items()}


def _relation_maps(
    system: "GiftNetSystem", state: TrainState, output: Output, inputs: dict[str, Array]
) -> dict[str, Array]:
    mask = inputs["mask"]
    sides = {"student": system.student_features(output)}
    if NETWORK_TEACHER in state.params and "target" in inputs:
        prepared = system.teacher_system.prepare(inputs)
        sides["teacher"] = system.teacher_features(state, prepared, None)
    found = {}
    for i, small in enumerate(system.level_masks(mask)):
        level = {
            who: relation_map(features[i], small)[..., None] for who, features in sides.items()
        }
        scale = _scale(level["student"], mask)
        for who, relation in level.items():
            found[f"relation {scale}, {who}"] = _full_size((relation + 1) / 2, mask)
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


def _without_codes(variables: dict[str, Any]) -> dict[str, Any] | None:
    """Variables under which every code is 0; None for a model whose codes pass no layer."""
    params = dict(variables["params"])
    if "code_map" not in params:
        return None
    last = jax.tree.map(jnp.zeros_like, params["code_map"]["fc1"])
    params["code_map"] = {**params["code_map"], "fc1": last}
    return {**variables, "params": params}
