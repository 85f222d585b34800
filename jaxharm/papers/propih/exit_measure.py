"""What the exit head learns from: every composite of a set, seen once by the frozen generator.

The generator does not change, so that a composite is worth a few hundred numbers: the descriptors
of its first three stages, and the errors of the results of all four.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.errors import InputError
from jaxharm.interfaces import Array, StepContext
from jaxharm.papers.propih.exit import stage_descriptor
from jaxharm.papers.propih.painterly import style_errors
from jaxharm.papers.propih.system import ProPIHSystem
from jaxharm.papers.propih.vgg import COLLECTION
from jaxharm.schema import HostBatch, present

_FILE = "measured.npz"


class Measured(NamedTuple):
    """Of n composites.

    Attributes:
        ids: str[n].
        descriptors: f32[3,n,d], of the stages that a decision follows.
        style: f32[4,n], style error of every result over that of the composite.
        content: f32[4,n], content error of every result, over the mean one of stage 4.
    """

    ids: np.ndarray
    descriptors: np.ndarray
    style: np.ndarray
    content: np.ndarray

    def take(self, rows: np.ndarray) -> "Measured":
        """Some of the composites."""
        return Measured(
            self.ids[rows], self.descriptors[:, rows], self.style[:, rows], self.content[:, rows]
        )


def measure(system: ProPIHSystem, variables: Any, batches: Iterable[HostBatch]) -> Measured:
    """Runs the generator over a set.

    Args:
        system: of the generator.
        variables: its weights; those of an exit head are not read.
        batches: evaluation batches with paintings (`valid`, `composite_id`).

    Raises:
        InputError: there is no composite, or no painting.
    """
    run = jax.jit(lambda variables, batch: _measure(system, variables, batch))
    variables = jax.device_put(variables)
    ids: list[str] = []
    parts: list[tuple[np.ndarray, ...]] = []
    for batch in batches:
        keep = present(batch.valid, "valid") > 0
        ids += present(batch.composite_id, "composite_id")[keep].tolist()
        parts.append(tuple(np.asarray(part)[:, keep] for part in run(variables, batch)))
    if not ids:
        raise InputError("the set of composites to learn from is empty")
    descriptors, style, content = (np.concatenate(pieces, 1) for pieces in zip(*parts, strict=True))
    return Measured(np.array(ids), descriptors, style, content / content[-1].mean())


def load_measured(folder: Path, source: str) -> Measured | None:
    """What `save_measured` wrote for `source` (its weights and data), else None."""
    file = folder / _FILE
    if not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as found:
        if str(found["source"]) != source:
            return None
        return Measured(*(found[name] for name in Measured._fields))


def save_measured(folder: Path, source: str, measured: Measured) -> None:
    """Keeps the measurements for the next start of the same run."""
    partial = folder / f"partial-{_FILE}"
    np.savez(partial, source=np.array(source), **measured._asdict())
    partial.replace(folder / _FILE)


def _measure(system: ProPIHSystem, variables: Any, batch: Any) -> tuple[Array, Array, Array]:
    """Descriptors f32[3,b,d], style and content errors f32[4,b] of a batch."""
    prepared = system.prepare(batch)
    collections = {COLLECTION: variables[COLLECTION]}
    ctx = StepContext(jnp.int32(0), 1, jax.random.key(0), None)
    output, _ = system.forward(ctx, variables["params"], collections, prepared)
    targets = system.targets(output, prepared.mask, variables[COLLECTION])
    content, layers = jax.lax.map(
        lambda image: system.image_errors(image, targets), output.aux["stages"]
    )
    style = jnp.sum(layers, (2, 3))
    untouched = style_errors(output.aux["content_features"], targets.masks, targets.style)
    # Without any object all errors are those of no pixels: equal.
    style = style / jnp.maximum(jnp.sum(untouched, (1, 2)), 1e-12)[None]
    descriptors = [stage_descriptor(features, prepared.mask) for features in output.aux["features"]]
    return jnp.stack(descriptors[:-1]), style, content
