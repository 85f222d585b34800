"""Training of ProPIH's exit head, for a generator that is trained already.

The generator is frozen: its weights come from `objective.generator`, lie in a collection that no
optimizer sees, and leave with the head as one model. In every step it runs once, without gradient;
what the head learns from are the descriptors of its stages, and labels: the best stage of each
composite, either computed from the four results (exit_labels.py) or made by people (`data.labels`).

Automatic labels compare a content error with its mean over the set. The set is a stream, so that
the mean is a running one, of all composites that the run has seen; it is part of the state.

A share of the composites is held out: no gradient comes from them, and the metrics "held_out_..."
are theirs alone. A composite is held out where the sum of its bytes falls into that share modulo
1000; hence always the same ones, in any order and on any number of devices.

Source: docs/papers/propih.md, "Training" (our design).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.config import TrainConfig
from jaxharm.errors import InputError
from jaxharm.fields import NonNegative, Probability, check_fields
from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Extras,
    Metrics,
    Output,
    Params,
    StepContext,
    TrainState,
    to_float,
)
from jaxharm.losses.reduction import reduce_ratio, reduce_sum
from jaxharm.measures import Measures
from jaxharm.papers.propih.exit_labels import ContentScale, automatic_labels
from jaxharm.papers.propih.exit_measure import exit_logits, measure
from jaxharm.papers.propih.hazard import decide, hazard_error
from jaxharm.papers.propih.model import STAGES, ProPIH, ProPIHConfig, stage_macs
from jaxharm.papers.propih.restyle import Restyle
from jaxharm.papers.propih.stage_judge import ExitJudge, exit_measures
from jaxharm.papers.propih.vgg import COLLECTION
from jaxharm.training.supervised import NETWORK, SupervisedSystem
from jaxharm.training.updates import Network, copy, replace_networks
from jaxharm.weights.portable import load_variables

_DEPLOYED = "propih"  # registry name of the model that leaves a run
HEAD = "exit_head"  # the part of the parameters that is trained
GENERATOR, SCALE = "generator", "content_scale"  # collections beside the encoder's
_OWN_OPTIONS = ("exit_head", "exit_units")  # of the model; all others are the generator's
_PARTS = 1000  # held-out composites are chosen by the sum of their bytes modulo this


@dataclass(frozen=True)
class ExitHeadObjective:
    """What the exit head learns.

    Attributes:
        generator: run folder or weights folder of the trained ProPIH; only a fresh run reads it.
        beta: automatic labels: weight of the content error.
        threshold: probability from which an image stops, in metrics and predictions.
        held_out: share of the composites that are only measured.
    """

    generator: str | None = None
    beta: NonNegative = 1.0
    threshold: Probability = 0.5
    held_out: Probability = 0.1

    def __post_init__(self) -> None:
        check_fields(self)


class Lesson(NamedTuple):
    """What a step knows of b composites before the head sees them.

    Attributes:
        descriptors: f32[b,3,d], of the stages that a decision follows.
        style, content: f32[b,4], relative errors of the results.
        stage: i32[b], the label, 1 to 4.
        held_out: f32[b], 1 where the composite is only measured.
    """

    descriptors: Array
    style: Array
    content: Array
    stage: Array
    held_out: Array


Lessons = Extras[Lesson, ContentScale]


@dataclass(frozen=True)
class ExitHeadSystem(SupervisedSystem[ExitHeadObjective, Lessons]):
    """The exit head under `ExitHeadObjective`; the deployed model is ProPIH with its head."""

    MODEL = ProPIH
    FROZEN: ClassVar[tuple[str, ...]] = (COLLECTION, GENERATOR, SCALE)

    @classmethod
    def from_config(cls, config: TrainConfig, *, total_steps: int) -> Self:
        """The system of `config`; InputError for a model without an exit head."""
        if not config.model.exit_head:
            raise InputError("there is no exit head to train: set model.exit_head=true")
        system = super().from_config(config, total_steps=total_steps)
        return dataclasses.replace(system, name=_DEPLOYED)

    # The state: the head alone is a parameter -------------------------------------------------

    def init(self, key: Array, batch: DeviceBatch) -> TrainState:
        """See `interfaces.System`. The generator's weights are random until `with_pretrained`."""
        state = super().init(key, batch)
        generator = dict(state.params[NETWORK])
        head = {HEAD: generator.pop(HEAD)}
        collections = {
            COLLECTION: state.collections[NETWORK][COLLECTION],
            GENERATOR: generator,
            SCALE: ContentScale.empty(),
        }
        network = Network.fresh({"params": head, **collections}, self.optimizer)
        ema = {name: copy({"params": head}) for name in state.ema}
        return replace_networks(state, {NETWORK: network}).replace(ema=ema)

    def with_pretrained(self, state: TrainState) -> TrainState:
        """A fresh state with the generator of `objective.generator`.

        Raises:
            InputError: none is named, it is absent or damaged, or it is of another model.
        """
        path = self.objective.generator
        if path is None:
            if self.config.init_from:  # it brings its generator along
                return state
            raise InputError(
                "an exit head is trained for a generator: set objective.generator to the run "
                "folder or weights folder of a trained ProPIH"
            )
        name, model, variables = load_variables(path)
        if name != _DEPLOYED or not isinstance(model, ProPIHConfig):
            raise InputError(f"{path} holds a model {name!r}, not ProPIH")
        self._check_generator(path, model)
        generator = {k: v for k, v in variables["params"].items() if k != HEAD}
        return self._with_frozen(state, generator, variables[COLLECTION])

    def loaded(self) -> dict[str, str]:
        """See `interfaces.System`."""
        return {"generator": self.objective.generator} if self.objective.generator else {}

    def variables(self, state: TrainState) -> dict[str, Params]:
        """The whole model: the generator and the head as `predict` uses it."""
        found = super().variables(state)
        params = {**found[GENERATOR], **found["params"]}
        return {"params": params, COLLECTION: found[COLLECTION]}

    def with_variables(self, state: TrainState, variables: dict[str, Params]) -> TrainState:
        """See `interfaces.System`."""
        generator = dict(variables["params"])
        head = {HEAD: generator.pop(HEAD)}
        state = state.replace(
            params={**state.params, NETWORK: head},
            ema={name: copy({"params": head}) for name in state.ema},
        )
        return self._with_frozen(state, generator, variables[COLLECTION])

    def _with_frozen(self, state: TrainState, generator: Params, encoder: Params) -> TrainState:
        kept = state.collections.get(NETWORK, {})
        frozen = {**kept, GENERATOR: generator, COLLECTION: encoder}
        return state.replace(collections={**state.collections, NETWORK: frozen})

    def _check_generator(self, path: str, model: ProPIHConfig) -> None:
        for field in dataclasses.fields(model):
            theirs, ours = (getattr(m, field.name) for m in (model, self.config.model))
            if theirs != ours and field.name not in _OWN_OPTIONS:
                raise InputError(
                    f"the generator in {path} has {field.name}={theirs}, the config {ours}: set "
                    f"model.{field.name}={theirs}"
                )

    # A step -----------------------------------------------------------------------------------

    def before_loss(self, ctx: StepContext, state: TrainState, batch: DeviceBatch) -> Lessons:
        """See `SupervisedSystem.before_loss`: the generator's results, and their labels."""
        collections = state.collections[NETWORK]
        # The parameters of the exit head are not used, but the module wants them.
        params = {**collections[GENERATOR], **state.params[NETWORK]}
        variables = {"params": params, COLLECTION: collections[COLLECTION]}
        found = jax.lax.stop_gradient(measure(self.module(), variables, self.prepare(batch)))
        scale = collections[SCALE].with_errors(found.content[:, -1], ctx.axis_name)
        content = found.content / jnp.maximum(scale.mean, 1e-12)
        stage = batch.label
        if stage is None:
            stage = automatic_labels(found.style, content, self.objective.beta)
        held_out = _held_out(batch.composite, self.objective.held_out)
        lesson = Lesson(found.descriptors, found.style, content, stage, held_out)
        return Extras(lesson, scale)

    def forward_and_loss(
        self,
        ctx: StepContext,
        params: Params,
        collections: Params,
        batch: DeviceBatch,
        extras: Lessons,
    ) -> tuple[Array, tuple[Params, Metrics]]:
        """See `SupervisedSystem.forward_and_loss`; the generator has run already."""
        lesson = extras.per_sample
        logits = exit_logits(params[HEAD], lesson.descriptors)
        learned = 1 - lesson.held_out
        errors = hazard_error(logits, lesson.stage)
        error, count = reduce_ratio((jnp.sum(errors * learned), jnp.sum(learned)), ctx.axis_name)
        # Over all samples, held-out ones too: their number does not differ between micro-batches,
        # so that the mean gradient is that of the large batch.
        total = error / reduce_sum(jnp.float32(len(errors)), ctx.axis_name)
        sums = self._sums(logits, lesson)
        terms = {name: reduce_ratio(ratio, ctx.axis_name) for name, ratio in sums.items()}
        updated = {**collections, SCALE: extras.shared}
        return total, (updated, {"loss": (error, count), **terms})

    def _sums(self, logits: Array, lesson: Lesson) -> Metrics:
        """This device's metrics: labels, accuracy, and of held-out composites what is spent."""
        chosen = decide(jax.lax.stop_gradient(logits), self.objective.threshold)
        right = (chosen == lesson.stage).astype(jnp.float32)
        learned, held_out = 1 - lesson.held_out, lesson.held_out
        side = self.config.data.image_size
        costs = np.array(stage_macs(self.config.model, side, side), np.float64)
        saved = jnp.asarray(1 - np.cumsum(costs) / np.sum(costs), jnp.float32)[chosen - 1]
        rows = jnp.arange(len(chosen))
        measured = {
            "accuracy": right,
            "mean_stage": chosen.astype(jnp.float32),
            "macs_saved": saved,
            "style": lesson.style[rows, chosen - 1],
            "content": lesson.content[rows, chosen - 1],
            "style_of_last": lesson.style[:, -1],
            "content_of_last": lesson.content[:, -1],
        }
        count, every = jnp.sum(held_out), jnp.float32(len(chosen))
        sums: Metrics = {"accuracy": (jnp.sum(right * learned), jnp.sum(learned))}
        for stage in range(1, STAGES + 1):
            labeled = jnp.sum((lesson.stage == stage).astype(jnp.float32))
            sums[f"label_{stage}"] = (labeled, every)
        for name, value in measured.items():
            sums[f"held_out_{name}"] = (jnp.sum(value * held_out), count)
        return sums

    # What it gives ----------------------------------------------------------------------------

    def predict(self, state: TrainState, batch: DeviceBatch) -> Output:
        """The result of the stage at which the head stops, as `--stage auto` gives it."""
        output, chosen = self._decided(state, batch)
        stages = output.aux["stages"]
        image = jnp.take_along_axis(stages, (chosen - 1)[None, :, None, None, None], 0)[0]
        return output.replace(image=jnp.clip(image, 0, 1))

    def harmonize_options(self) -> Restyle:
        """See `interfaces.System`."""
        return Restyle(stage="auto", exit_threshold=self.objective.threshold)

    @property
    def measures(self) -> Measures:
        """See `interfaces.System`."""
        return exit_measures()

    def judge(self, variables: Params) -> ExitJudge:
        """See `interfaces.System`."""
        threshold, beta = self.objective.threshold, self.objective.beta
        return ExitJudge(self.config.model, variables, threshold=threshold, beta=beta)

    def figures(self, state: TrainState, batch: DeviceBatch) -> dict[str, Array]:
        """The four results, from which people choose labels, and the stage that the head chose."""
        output, chosen = self._decided(state, batch)
        stages = jnp.clip(output.aux["stages"], 0, 1)
        figures = {f"stage {k}": stages[k - 1] for k in range(1, STAGES + 1)}
        level = (chosen.astype(jnp.float32) - 1) / (STAGES - 1)
        shown = jnp.broadcast_to(level[:, None, None, None], batch.mask.shape)
        return {**figures, "chosen stage, 1 dark to 4 bright": shown}

    def _decided(self, state: TrainState, batch: DeviceBatch) -> tuple[Output, Array]:
        output = self.apply(self.variables(state), self.prepare(batch))
        return output, decide(output.aux["exit_logits"], self.objective.threshold)

    def prepare(self, batch: DeviceBatch) -> DeviceBatch:
        """See `SupervisedSystem.prepare`; InputError without paintings."""
        if batch.background is None:
            raise InputError(
                "an exit head is trained on composites with their paintings, and these data have "
                "none: set data.paintings.name"
            )
        return super().prepare(batch)


def _held_out(images: Array, share: float) -> Array:
    """f32[b], 1 for about `share` of u8 or f32[b,h,w,3] images, chosen by what they show."""
    levels: Any = jnp.round(255 * to_float(images)).astype(jnp.uint32)
    remainder = jnp.sum(levels, (1, 2, 3)) % _PARTS
    return (remainder < round(share * _PARTS)).astype(jnp.float32)
