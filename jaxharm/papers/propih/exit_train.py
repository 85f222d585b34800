"""Trains ProPIH's exit head on a fixed set of composites; the generator is frozen.

A run of its own: a generator (a finished run or a weights folder) and labels in, a weights folder
of the whole model with its exit head out. Source: specs/propih 3.4 (our design).
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxharm.config import TrainConfig
from jaxharm.errors import InputError
from jaxharm.fields import Name, NonNegative, Probability, check_fields
from jaxharm.interfaces import Array, Params
from jaxharm.papers.propih.exit import ExitHead
from jaxharm.papers.propih.exit_labels import (
    automatic_labels,
    histogram,
    rare_stages,
    read_labels,
    write_labels,
)
from jaxharm.papers.propih.exit_measure import Measured, load_measured, measure, save_measured
from jaxharm.papers.propih.hazard import decide, hazard_error
from jaxharm.papers.propih.model import STAGES, ProPIHConfig, stage_macs
from jaxharm.papers.propih.system import ProPIHObjective, ProPIHSystem
from jaxharm.schema import HostBatch
from jaxharm.training.optim import make_optimizer
from jaxharm.weights.checkpoint import check_writable
from jaxharm.weights.portable import RUN_WEIGHTS, load_variables, save_weights

_NAME = "propih"
_HELD_OUT = 0.1


@dataclass(frozen=True)
class ExitHeadObjective:
    """What the exit head learns; defaults are the specification's.

    Attributes:
        generator: run folder or weights folder of the trained ProPIH.
        labels: "automatic", or a csv file of the columns id,stage.
        beta: automatic labels: weight of the content error.
        threshold: probability from which an image leaves, in the reported numbers.
    """

    generator: str | None = None
    labels: Name = "automatic"
    beta: NonNegative = 1.0
    threshold: Probability = 0.5

    def __post_init__(self) -> None:
        check_fields(self)


OpenSet = Callable[[], AbstractContextManager[Iterable[HostBatch]]]


def train_exit_head(config: TrainConfig, workdir: Path, open_set: OpenSet) -> dict[str, Any]:
    """Labels the set, trains, and writes labels.csv, report.json and weights/ to `workdir`.

    Training is short and always runs as a whole; what a generator makes of a set is kept, so that a
    second start does not compute it again. The same command gives the same weights.

    Args:
        config: `objective` is an `ExitHeadObjective`; `model.exit_units`, `optim`, `epochs`,
            `data.batch_size` and `seed` are read, and `eval` by the caller.
        workdir: folder of the run.
        open_set: one ordered pass over the set: evaluation batches.

    Returns:
        The report, as printed.

    Raises:
        InputError: no generator, one of another model or width, bad labels, or too few of them.
    """
    if jax.process_count() > 1:
        raise InputError("the exit head is trained by a single process")
    generator, variables = _load_generator(config)
    check_writable(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    objective = config.objective
    plain = dataclasses.replace(
        config,
        model=dataclasses.replace(generator, exit_head=False),
        objective=ProPIHObjective(discriminator=None),
    )
    system = ProPIHSystem.from_config(plain, total_steps=1)
    source = _fingerprint(config, variables)
    measured = load_measured(workdir, source)
    if measured is None:
        with open_set() as batches:
            measured = measure(system, variables, batches)
        save_measured(workdir, source, measured)
    measured, stages = _labeled(measured, objective, workdir)
    counts = histogram(stages)
    print(f"labels per stage: {', '.join(f'{k}: {n}' for k, n in counts.items())}", flush=True)
    if objective.labels == "automatic" and rare_stages(counts):
        rare = ", ".join(map(str, rare_stages(counts)))
        print(
            f"stage {rare} has less than 5 % of the labels: try another objective.beta", flush=True
        )
    order = np.random.default_rng(config.seed).permutation(len(stages))
    count = max(1, round(_HELD_OUT * len(order)))
    learn, held_out = order[count:], order[:count]
    head, epoch = _fit(config, measured, stages, learn, held_out)
    costs = stage_macs(generator, config.data.image_size, config.data.image_size)
    report: dict[str, Any] = {
        "labels": counts,
        "composites": len(stages),
        "best_epoch": epoch,
        "held_out": _report(head, objective, measured.take(held_out), stages[held_out], costs),
        "all": _report(head, objective, measured, stages, costs),
    }
    (workdir / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    for part in ("held_out", "all"):
        print(f"{part}: {_sentence(report[part])}", flush=True)
    model = dataclasses.replace(generator, exit_head=True, exit_units=config.model.exit_units)
    params = {**variables["params"], "exit_head": jax.device_get(head)}
    save_weights(
        workdir / RUN_WEIGHTS,
        _NAME,
        model,
        {**variables, "params": params},
        {"source": "exit head trained by jaxharm", "training": report},
    )
    print(f"finished; weights in {workdir / RUN_WEIGHTS}", flush=True)
    return report


def _load_generator(config: TrainConfig) -> tuple[ProPIHConfig, dict[str, Any]]:
    """The generator's options and weights, without any exit head of its own."""
    path = config.objective.generator
    if path is None:
        raise InputError(
            "an exit head is trained for a generator: set objective.generator to the run folder or "
            "weights folder of a trained ProPIH"
        )
    name, model, variables = load_variables(path)
    if name != _NAME:
        raise InputError(f"{path} holds a model {name!r}, not ProPIH")
    if model.width != config.model.width:
        raise InputError(
            f"the generator in {path} has width {model.width}, the config {config.model.width}: "
            f"set model.width={model.width}"
        )
    params = {k: v for k, v in variables["params"].items() if k != "exit_head"}
    return model, {**variables, "params": params}


def _labeled(
    measured: Measured, objective: ExitHeadObjective, workdir: Path
) -> tuple[Measured, np.ndarray]:
    """The composites that have a label, and their labels i[n]."""
    if objective.labels == "automatic":
        stages = automatic_labels(measured.style, measured.content, objective.beta)
        found = dict(zip(measured.ids.tolist(), stages.tolist(), strict=True))
    else:
        found = read_labels(objective.labels)
    rows = np.array([i for i, name in enumerate(measured.ids.tolist()) if name in found], int)
    if len(rows) < 2:
        raise InputError(
            f"{objective.labels} labels {len(rows)} of the {len(measured.ids)} composites, such as "
            f"{measured.ids[0]}: at least 2 are needed"
        )
    kept = measured.take(rows)
    names = kept.ids.tolist()
    write_labels(workdir / "labels.csv", {name: found[name] for name in names})
    return kept, np.array([found[name] for name in names])


def _fit(
    config: TrainConfig,
    measured: Measured,
    stages: np.ndarray,
    learn: np.ndarray,
    held_out: np.ndarray,
) -> tuple[Params, int]:
    """The parameters of the best held-out accuracy, and the epoch that they are of."""
    key = jax.random.key(config.seed)
    size, epochs = config.data.batch_size, round(config.epochs or 0)
    batches = -(-len(learn) // size)
    module = ExitHead(config.model.exit_units)
    memory = jnp.zeros((1, config.model.exit_units))
    params = module.init(key, memory, jnp.zeros((1, measured.descriptors.shape[-1])))["params"]
    optimizer = make_optimizer(config.optim, epochs * batches)
    descriptors, labels = jnp.asarray(measured.descriptors), jnp.asarray(stages)

    def loss(params: Params, rows: Any) -> Array:
        logits = exit_logits(params, descriptors[:, rows])
        return jnp.mean(hazard_error(logits, labels[rows]))

    @jax.jit
    def step(params: Params, state: Any, rows: Array) -> Any:
        updates, state = optimizer.update(jax.grad(loss)(params, rows), state, params)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def accuracy(params: Params) -> Array:
        chosen = decide(exit_logits(params, descriptors[:, held_out]), config.objective.threshold)
        return jnp.mean(chosen == labels[held_out])

    state, best, kept, when = optimizer.init(params), -1.0, params, 0
    for epoch in range(1, epochs + 1):
        order = np.random.default_rng((config.seed, epoch)).permutation(learn)
        for first in range(0, len(order), size):
            params, state = step(params, state, order[first : first + size])
        found = float(accuracy(params))
        print(
            f"epoch {epoch}: loss {float(loss(params, learn)):.4f}, held-out accuracy {found:.3f}"
        )
        if found > best:
            best, kept, when = found, params, epoch
    return kept, when


def exit_logits(params: Params, descriptors: Array) -> Array:
    """The head's logits f32[3,b] for the descriptors f32[3,b,d] of the stages in order."""
    units = params["input"]["kernel"].shape[1]
    memory: Any = jnp.zeros((descriptors.shape[1], units))
    logits: list[Any] = []
    for descriptor in descriptors:
        memory, logit = ExitHead(units).apply({"params": params}, memory, descriptor)
        logits.append(logit)
    return jnp.stack(logits)


def _report(
    params: Params,
    objective: ExitHeadObjective,
    measured: Measured,
    stages: np.ndarray,
    costs: list[int],
) -> dict[str, float]:
    logits = exit_logits(params, jnp.asarray(measured.descriptors))
    chosen = np.asarray(decide(logits, objective.threshold))
    spent = np.cumsum(costs)[chosen - 1] / np.sum(costs)
    rows = np.arange(len(chosen))
    return {
        "accuracy": float(np.mean(chosen == stages)),
        "majority": float(np.bincount(stages).max() / len(stages)),
        "mean_stage": float(np.mean(chosen)),
        "macs_saved": float(1 - np.mean(spent)),
        "style": float(np.mean(measured.style[chosen - 1, rows])),
        "content": float(np.mean(measured.content[chosen - 1, rows])),
        "style_of_last": float(np.mean(measured.style[STAGES - 1])),
        "content_of_last": float(np.mean(measured.content[STAGES - 1])),
    }


def _sentence(part: Mapping[str, float]) -> str:
    return (
        f"accuracy {part['accuracy']:.3f} (always the most frequent stage: "
        f"{part['majority']:.3f}), mean exit stage {part['mean_stage']:.2f}, "
        f"MACs saved {100 * part['macs_saved']:.1f} %, style {part['style']:.3f} (stage 4: "
        f"{part['style_of_last']:.3f}), content {part['content']:.3f} (stage 4: "
        f"{part['content_of_last']:.3f})"
    )


def _fingerprint(config: TrainConfig, variables: Mapping[str, Any]) -> str:
    """Of the generator's weights and the set's name: what the measurements depend on."""
    digest = hashlib.sha256(repr((config.eval, config.data.data_dir)).encode())
    for leaf in jax.tree.leaves(variables):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
