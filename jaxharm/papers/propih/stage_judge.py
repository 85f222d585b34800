"""How good the results of every stage are, where there is no true picture: style and content.

A record's four results are those of `harmonize`, before they are rounded. Beside them stand the
composite, pasted anew as the network sees it, and the plainest style transfer there is: the paper's
masked AdaIN on colors instead of features, which needs no weights. Every record is measured by
itself, so that its values depend on no other one.

Source: docs/papers/propih.md, "Evaluation".
"""

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.images.bit_depth import to_unit
from jaxharm.interfaces import Array, Inputs, Params, RunnerSettings
from jaxharm.measures import Column, Judged, Measures, Values
from jaxharm.ops import masked_adain
from jaxharm.papers.propih.exit_labels import automatic_labels
from jaxharm.papers.propih.model import STAGES, ProPIH, ProPIHConfig, stage_macs, stage_mask
from jaxharm.papers.propih.painterly import content_error, style_errors, style_moments
from jaxharm.papers.propih.restyle import Restyle
from jaxharm.papers.propih.runner import ProPIHRunner, mirrored, paste_layers
from jaxharm.papers.propih.vgg import COLLECTION
from jaxharm.schema import HostArray, HostBatch, present

COMPOSITE, COLORS, CHOSEN = "composite", "AdaIN on colors", "chosen by the exit head"
STAGE_METHODS = tuple(f"stage {k}" for k in range(1, STAGES + 1))
_LEVELS = tuple(f"style_{k}" for k in range(1, STAGES + 1))
_COLUMNS = {
    "style": Column("S", 3, headline=True),
    "content": Column("content", 4, headline=True),
    "content_relative": Column("C", 3),
    "distance": Column("D", 4, headline=True),
    **{name: Column(f"S{k}", 3) for k, name in enumerate(_LEVELS, 1)},
}
_EXIT_COLUMNS = {
    "exit_stage": Column("stage", 2),
    "macs_saved": Column("MACs saved", 3, lower_is_better=False),
    "accuracy": Column("accuracy", 3, lower_is_better=False),
}
_LEGEND = (
    "S: style error of the object against the painting over the composite's, 1 = untouched, 0 = "
    "perfect; S1 to S4: of one layer each; content: mean squared difference of relu4_1 to the "
    "composite's; C: the same over the mean of stage 4; D: style error and content summed, neither "
    "of them relative",
    "AdaIN on colors: the object's mean and deviation of red, green and blue become the painting's; "
    "no network",
)
_EXIT_LEGEND = (
    "accuracy: share of composites for which this is the stage with the smallest S + beta C; MACs "
    "saved: share of the multiply-accumulates of all stages",
)


def stage_measures(result_stage: int) -> Measures:
    """What is measured of a ProPIH whose result is that of `result_stage`."""
    return Measures(
        columns=_COLUMNS,
        decides="distance",
        methods=(COMPOSITE, COLORS, *STAGE_METHODS),
        model=STAGE_METHODS[result_stage - 1],
        baseline=COMPOSITE,
        against="painting and composite, in features of the encoder",
    )


def exit_measures() -> Measures:
    """What is measured of a ProPIH whose exit head chooses the stage."""
    every = stage_measures(STAGES)
    return dataclasses.replace(
        every,
        columns={**_COLUMNS, **_EXIT_COLUMNS},
        methods=(*every.methods, CHOSEN),
        model=CHOSEN,
    )


class StageJudge:
    """Measures the results of all stages; see `jaxharm.measures.Judge`.

    Attributes:
        measures: of `stage_measures`.
        notes: what the columns mean, and which encoder they are of.
    """

    def __init__(self, config: ProPIHConfig, variables: Params, *, result_stage: int = STAGES):
        """Puts the weights on the device; `variables` are those of a `ProPIH` of `config`."""
        self.measures = stage_measures(result_stage)
        self.notes: tuple[str, ...] = (*_LEGEND, describe_encoder(variables[COLLECTION]))
        self.model = ProPIH(config)
        self.runner = ProPIHRunner(self.model, variables, RunnerSettings("propih", True))
        self._encoder = jax.device_put(variables[COLLECTION])

    def __call__(self, record: HostBatch) -> Judged:
        """See `jaxharm.measures.Judge`; InputError without a painting."""
        inputs = _inputs(record)
        options = Restyle(stage="all")
        results = self.runner.run(inputs, 1.0, options)
        painting, mask, pasted = paste_layers(inputs)
        images = {COMPOSITE: pasted, COLORS: restyled_colors(pasted, painting, mask)}
        images |= dict(zip(STAGE_METHODS, results, strict=True))
        return Judged(images, self._values(images, painting, mask), {"painting": painting})

    def completed(self, rows: Sequence[Values]) -> list[Values]:
        """The values, with content relative to the mean of the last stage (`automatic_labels`)."""
        last = [row[STAGE_METHODS[-1]]["content"] for row in rows]
        scale = max(math.fsum(last) / len(last), 1e-12)
        return [
            {
                method: self._in_order({**of, "content_relative": of["content"] / scale})
                for method, of in row.items()
            }
            for row in rows
        ]

    def _in_order(self, values: Mapping[str, float]) -> dict[str, float]:
        own = {name: values[name] for name in self.measures.columns if name in values}
        return {**own, **values}  # the evaluation may have added measures of its own

    def _values(
        self, images: Mapping[str, HostArray], painting: HostArray, mask: HostArray
    ) -> Values:
        multiple = self.model.config.size_multiple
        stack, seen, object_ = (
            mirrored(array, multiple)
            for array in (np.stack(list(images.values())), painting[None], mask[None])
        )
        found = _errors(self.model, self._encoder, stack, seen, object_)
        content, levels = (np.asarray(array, np.float64) for array in found)
        # A layer at which the object has no pixel says nothing about it.
        sizes = [bool(stage_mask(jnp.asarray(object_), k).any()) for k in range(1, STAGES + 1)]
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(sizes, levels / levels[0], np.nan)
            style = levels.sum(1) / (levels[0].sum() if sizes[0] else np.nan)
        return {
            method: {
                "style": float(style[i]),
                "content": float(content[i]),
                "distance": float(levels[i].sum() + content[i]),
                **dict(zip(_LEVELS, map(float, relative[i]), strict=True)),
            }
            for i, method in enumerate(images)
        }


class ExitJudge(StageJudge):
    """Measures besides which stage the exit head chooses, what that saves, and whether it is best."""

    def __init__(
        self, config: ProPIHConfig, variables: Params, *, threshold: float, beta: float
    ) -> None:
        """As `StageJudge`.

        Args:
            config, variables: with an exit head.
            threshold: probability from which an image stops.
            beta: weight of the content in the choice of the best stage.
        """
        super().__init__(config, variables)
        self.measures = exit_measures()
        self.notes = (*self.notes[:-1], *_EXIT_LEGEND, self.notes[-1])
        self._threshold, self._beta = threshold, beta

    def __call__(self, record: HostBatch) -> Judged:
        """See `jaxharm.measures.Judge`."""
        images, values, shown = super().__call__(record)
        seen = self.runner.prepare(_inputs(record), Restyle(stage="auto"))
        layers = (seen.composite, seen.mask, seen.painting)
        found = self.runner.stages(*layers, mode="gru", threshold=self._threshold)
        chosen = STAGE_METHODS[int(found.stage[0]) - 1]
        costs = np.array(stage_macs(self.model.config, *seen.mask.shape[1:3]), np.float64)
        saved = 1 - np.cumsum(costs) / costs.sum()
        for k, method in enumerate(STAGE_METHODS):
            values[method] |= {"exit_stage": k + 1.0, "macs_saved": float(saved[k])}
        for method in (COMPOSITE, COLORS):
            values[method] |= {"exit_stage": math.nan, "macs_saved": math.nan}
        values[CHOSEN] = dict(values[chosen])
        return Judged({**images, CHOSEN: images[chosen]}, values, shown)

    def completed(self, rows: Sequence[Values]) -> list[Values]:
        """As `StageJudge`; then, for every composite, whether a method took the best stage."""
        rows = super().completed(rows)
        style, content = (
            np.array([[row[method][name] for method in STAGE_METHODS] for row in rows])
            for name in ("style", "content_relative")
        )
        best = automatic_labels(jnp.asarray(style), jnp.asarray(content), self._beta)
        labels = np.where(np.isfinite(style).all(1), best, np.nan)
        return [
            {
                method: self._in_order({**of, "accuracy": _agrees(of["exit_stage"], float(label))})
                for method, of in row.items()
            }
            for row, label in zip(rows, labels, strict=True)
        ]


def restyled_colors(composite: HostArray, painting: HostArray, mask: HostArray) -> HostArray:
    """The object with the painting's mean and deviation of every color channel.

    This is the masked AdaIN of the model on the picture itself: what can be had without a network.

    Args:
        composite, painting: f32[h,w,3] in [0,1].
        mask: f32[h,w,1] in [0,1].

    Returns:
        f32[h,w,3] in [0,1].
    """
    result = masked_adain(*(jnp.asarray(array[None]) for array in (composite, painting, mask)))
    return np.asarray(jnp.clip(result[0], 0, 1))


def describe_encoder(encoder: Params) -> str:
    """Which encoder the values are of: they are comparable only where it is the same one."""
    leaves = jax.tree_util.tree_leaves_with_path(encoder)
    digest = 0
    for _, leaf in leaves:
        digest = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), digest)
    biases = [np.asarray(leaf) for path, leaf in leaves if "bias" in jax.tree_util.keystr(path)]
    name = f"encoder {digest:08x}"
    # Untrained layers have no bias; those of a trained network do (vgg.py).
    if not any(bias.any() for bias in biases):
        return f"{name} is random: these values have no meaning outside of this run"
    return f"{name}: values of another encoder cannot be compared with these"


@partial(jax.jit, static_argnums=0)
def _errors(
    model: ProPIH, encoder: Params, images: Array, painting: Array, mask: Array
) -> tuple[Array, Array]:
    """Content f32[n] and style per layer f32[n,4] of f32[n,h,w,3]; the first is the composite."""
    variables = {"params": {}, COLLECTION: encoder}

    def encode(image: Array) -> tuple[Array, ...]:
        features: Any = model.apply(variables, image, method="encode")
        layers: tuple[Array, ...] = features
        return layers

    masks = [stage_mask(mask, k) for k in range(1, STAGES + 1)]
    wanted = style_moments(encode(painting))

    def measured(image: Array) -> tuple[Array, Array]:
        layers = encode(image[None])
        return layers[-1], style_errors(layers, masks, wanted)

    # One image after another: the composite's features are then bit for bit those that the others
    # are compared with, and the memory is that of one image.
    top, style = jax.lax.map(measured, images)
    content = jax.vmap(lambda features: content_error(features, top[0]))(top)
    return content[:, 0], jnp.sum(style[:, 0], -1)


def _inputs(record: HostBatch) -> Inputs:
    """The images of a record as floats: what is measured is not rounded to 8 bits."""
    painting = to_unit(present(record.background, "background")[0])
    return Inputs(to_unit(record.composite[0]), None, record.mask[0, ..., 0], painting)


def _agrees(stage: float, label: float) -> float:
    """1 or 0; NaN where one of both does not exist."""
    return math.nan if math.isnan(stage + label) else float(stage == label)
