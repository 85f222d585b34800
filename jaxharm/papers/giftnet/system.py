"""Training of GiftNet: iSSAM's pixel loss, and distillation of relations from a teacher.

The teacher (teacher.py) is a network of the training state beside the model. Its
maps are made before the gradient is taken: nothing of it changes, and nothing of it is exported.

Source: docs/papers/giftnet.md, "Losses" and "Training". What the paper leaves open is a field of `RelationConfig`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import jax
import jax.numpy as jnp

from jaxharm.config import TrainConfig
from jaxharm.errors import InputError
from jaxharm.fields import Natural, NonNegative, Positive, check_fields
from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Extras,
    Metrics,
    Output,
    StepContext,
    TrainState,
)
from jaxharm.losses.reduction import reduce_ratio
from jaxharm.papers.giftnet.figures import explain, without_codes
from jaxharm.papers.giftnet.model import GiftNet
from jaxharm.papers.giftnet.relation import (
    Distance,
    Positions,
    Similarity,
    distillation_error,
    map_distance,
    relation_map,
    unit_features,
)
from jaxharm.papers.giftnet.teacher import (
    NETWORK_TEACHER,
    TEACHER,
    TeacherObjective,
    TeacherSystem,
    load_teacher,
    teacher_config,
)
from jaxharm.papers.issam.system import pixel_error
from jaxharm.papers.issam.unet import masks_per_level
from jaxharm.training.supervised import NETWORK, SupervisedSystem
from jaxharm.training.updates import Tag


@dataclass(frozen=True)
class RelationConfig:
    """What is distilled, and how.

    Attributes:
        weight: of the distillation loss; 0: none, and no teacher.
        mode: the relation of the foreground to every position, or the whole feature (of length
            one at every position).
        features: of the student: its transformed skips, or the encoder's own maps (also where no
            module stands on the skips).
        levels: 0 is the deepest skip; depth - 1 is the bottleneck, of both networks as it is.
        similarity: how two positions are compared; see relation.py.
        positions: which positions the foreground is compared with.
        distance: between the student's and the teacher's relations.
        joint: the teacher goes on learning beside the student, with the same optimizer.
    """

    weight: NonNegative = 1.0
    mode: Literal["relation", "feature"] = "relation"
    features: Literal["transformed", "raw_encoder"] = "transformed"
    levels: tuple[Natural, ...] = (0, 1, 2)
    similarity: Similarity = "cosine"
    positions: Positions = "all"
    distance: Distance = "l2"
    joint: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class GiftNetObjective:
    """Loss weights and choices; defaults are the specification's.

    Attributes:
        min_area: pixels that the foreground counts as at least.
        teacher: run folder or weights folder of the teacher; only a fresh training run reads it.
        teacher_skips: whether the teacher was trained with skip connections.
        teacher_use_mask: whether the teacher was trained with the mask as input.
        rd: the distillation.
    """

    min_area: Positive = 1000.0
    teacher: str | None = None
    teacher_skips: bool = True
    teacher_use_mask: bool = True
    rd: RelationConfig = RelationConfig()

    def __post_init__(self) -> None:
        check_fields(self)


# Per sample: the teacher's maps, one per level of the objective; empty without a teacher.
TeacherMaps = Extras[tuple[Array, ...], None]


@dataclass(frozen=True)
class GiftNetSystem(SupervisedSystem[GiftNetObjective, TeacherMaps]):
    """GiftNet under `GiftNetObjective`."""

    MODEL = GiftNet

    @classmethod
    def from_config(cls, config: TrainConfig, *, total_steps: int) -> Self:
        """The system of `config`; InputError for levels that the network does not have."""
        levels, depth = config.objective.rd.levels, config.model.depth
        if not levels or not set(levels) <= set(range(depth)):
            raise InputError(
                f"objective.rd.levels={levels}: choose from 0 (the deepest skip) to {depth - 1} "
                "(the bottleneck)"
            )
        return super().from_config(config, total_steps=total_steps)

    def init(self, key: Array, batch: DeviceBatch) -> TrainState:
        """See `interfaces.System`. The teacher's weights are random until `with_pretrained`."""
        state = super().init(key, batch)
        if not self._distils:
            return state
        teacher = self.teacher_system.init(jax.random.fold_in(key, Tag.TEACHER), batch)
        return self._with_teacher(state, teacher)

    def with_pretrained(self, state: TrainState) -> TrainState:
        """A fresh state with the teacher's weights.

        Raises:
            InputError: no teacher is named, it is absent or damaged, it is no teacher or of
                another width, or it was trained with image fusion.
        """
        objective = self.objective
        if not self._distils or (objective.rd.joint and objective.teacher is None):
            return state
        if objective.teacher is None:
            raise InputError(
                "GiftNet learns from a teacher: set objective.teacher to the run folder of "
                "configs/giftnet/teacher.py, or objective.rd.weight=0 to train without one"
            )
        variables = load_teacher(objective.teacher, self.teacher_system.config.model)
        teacher = self.teacher_system.with_variables(self._teacher_state(state), variables)
        return self._with_teacher(state, teacher)

    def loaded(self) -> dict[str, str]:
        """See `interfaces.System`."""
        teacher = self.objective.teacher
        return {"teacher": teacher} if self._distils and teacher else {}

    def step(
        self, state: TrainState, batch: DeviceBatch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimization step; see `interfaces.System`."""
        stepped, metrics = super().step(state, batch, axis_name=axis_name)
        if self._distils and self.objective.rd.joint:
            teacher = self._teacher_state(state)
            teacher, terms = self.teacher_system.step(teacher, batch, axis_name=axis_name)
            stepped = self._with_teacher(stepped, teacher)
            metrics |= {f"teacher_{name}": term for name, term in terms.items()}
        return stepped, metrics

    def before_loss(self, ctx: StepContext, state: TrainState, batch: DeviceBatch) -> TeacherMaps:
        """See `SupervisedSystem.before_loss`: what the student is compared with."""
        if not self._distils:
            return Extras((), None)
        return Extras(tuple(self.teacher_maps(state, batch, axis_name=ctx.axis_name)), None)

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: TeacherMaps
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the terms are "fnmse_loss" and "rd_loss"."""
        objective = self.objective
        ratio = reduce_ratio(pixel_error(output, batch, objective.min_area), ctx.axis_name)
        total, terms = ratio[0] / ratio[1], {"fnmse_loss": ratio}
        if self._distils:
            maps = self.student_maps(output, batch.mask)
            ratio = self.distillation(maps, extras.per_sample, batch.mask)
            value, images = reduce_ratio(ratio, ctx.axis_name)
            images = jnp.maximum(images, 1.0)  # no image with a foreground: the loss is 0
            total += objective.rd.weight * value / images
            terms["rd_loss"] = value, images
        return total, terms

    # Distillation -------------------------------------------------------------------------

    def student_maps(self, output: Output, mask: Array) -> list[Array]:
        """What the student is compared by, per level of the objective.

        Args:
            output: of the model.
            mask: f32[b,h,w,1] at full size.

        Returns:
            f32[b,h',w'] relation maps, or f32[b,h',w',c] features.
        """
        return self._compared(self.student_features(output), mask)

    def teacher_maps(
        self, state: TrainState, batch: DeviceBatch, *, axis_name: str | None = None
    ) -> list[Array]:
        """The same of the teacher, cut off from any gradient."""
        inputs = self.teacher_system.prepare(batch)
        features = self.teacher_features(state, inputs, axis_name)
        return jax.lax.stop_gradient(self._compared(features, inputs.mask))

    def distillation(
        self, students: Sequence[Array], teachers: Sequence[Array], mask: Array
    ) -> tuple[Array, Array]:
        """The distillation loss as (sum over the images that count, their number).

        Source: docs/papers/giftnet.md, "Losses".
        """
        rd, masks = self.objective.rd, self.level_masks(mask)
        levels = [
            map_distance(student, teacher, small, positions=rd.positions, distance=rd.distance)
            for student, teacher, small in zip(students, teachers, masks, strict=True)
        ]
        return distillation_error(levels, mask)

    def student_features(self, output: Output) -> list[Array]:
        """The features of the model's output that are compared, per level of the objective."""
        encoder = output.aux["encoder"]
        transformed = self.objective.rd.features == "transformed"
        skips = output.aux["transformed_skips"] if transformed else encoder[-2::-1]
        return self._at_levels([*skips, encoder[-1]])

    def teacher_features(
        self, state: TrainState, inputs: DeviceBatch, axis_name: str | None
    ) -> list[Array]:
        """The same of the teacher; `inputs` are prepared for it."""
        joint = self.objective.rd.joint
        collections = state.collections[NETWORK_TEACHER]
        variables = {"params": state.params[NETWORK_TEACHER], **collections}
        output, _ = self.teacher_system.module(axis_name).apply(
            jax.lax.stop_gradient(variables),
            inputs.composite,
            inputs.mask,
            train=joint,
            mutable=list(collections),
        )
        encoder = output.aux["encoder"]
        return self._at_levels([*encoder[-2::-1], encoder[-1]])

    def _at_levels(self, deepest_skip_first: Sequence[Array]) -> list[Array]:
        """The levels of the objective; the bottleneck stands last."""
        return [deepest_skip_first[i] for i in self.objective.rd.levels]

    def _compared(self, features: Sequence[Array], mask: Array) -> list[Array]:
        rd = self.objective.rd
        if rd.mode == "feature":
            return [unit_features(found) for found in features]
        return [
            relation_map(found, small, similarity=rd.similarity)
            for found, small in zip(features, self.level_masks(mask), strict=True)
        ]

    def level_masks(self, mask: Array) -> list[Array]:
        """The mask at the size of every level of the objective."""
        finest_first = masks_per_level(mask.astype(jnp.float32), self.config.model.depth)
        return self._at_levels([*finest_first[-2::-1], finest_first[-1]])

    def figures(self, state: TrainState, batch: DeviceBatch) -> dict[str, Array]:
        """See `interfaces.System` and figures.py."""
        inputs, variables = self.prepare(batch), self.variables(state)
        output = self.apply(variables, inputs)
        features = {"student": self.student_features(output)}
        # Exported weights have no teacher.
        if NETWORK_TEACHER in state.params and inputs.target is not None:
            prepared = self.teacher_system.prepare(inputs)
            features["teacher"] = self.teacher_features(state, prepared, None)
        masks = self.level_masks(inputs.mask)
        without = without_codes(variables)
        plain = None if without is None else self.apply(without, inputs).image
        return explain(output, plain, inputs.mask, features, masks)

    # The teacher in the training state ----------------------------------------------------

    @property
    def _distils(self) -> bool:
        return self.objective.rd.weight > 0

    @property
    def teacher_system(self) -> TeacherSystem:
        """The teacher as a system of its own, of this run's width."""
        objective = self.objective
        model = teacher_config(
            self.config.model, skips=objective.teacher_skips, use_mask=objective.teacher_use_mask
        )
        config = dataclasses.replace(
            self.config,
            system=TEACHER,
            model=model,
            objective=TeacherObjective(),
            ema_decay=None,
        )
        return TeacherSystem.from_config(config, total_steps=self.total_steps)

    def _teacher_state(self, state: TrainState) -> TrainState:
        """The part of the state that is the teacher's, as its own system knows it."""
        return state.replace(
            params={NETWORK: state.params[NETWORK_TEACHER]},
            collections={NETWORK: state.collections[NETWORK_TEACHER]},
            opt_state={NETWORK: state.opt_state.get(NETWORK_TEACHER)},
            ema={},
        )

    def _with_teacher(self, state: TrainState, teacher: TrainState) -> TrainState:
        joint = self.objective.rd.joint
        optimizer = {NETWORK_TEACHER: teacher.opt_state[NETWORK]} if joint else {}
        return state.replace(
            params={**state.params, NETWORK_TEACHER: teacher.params[NETWORK]},
            collections={**state.collections, NETWORK_TEACHER: teacher.collections[NETWORK]},
            opt_state={**state.opt_state, **optimizer},
        )
