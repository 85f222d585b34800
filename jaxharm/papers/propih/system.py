"""Training of ProPIH: content and style of every stage, and a discriminator.

Source: docs/papers/propih.md, "Losses" and "Training". The encoder is frozen: it is a collection of the model, which no optimizer
sees. The losses' eight passes through it take their gradients at once (objectives/image_gradient):
nothing of a pass is kept or computed a second time, and the memory is that of one.

Ours: the discriminator's batch statistics are those of the global batch by default, so that a run
does not depend on the number of devices (the official code runs on one).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxharm.config import TrainConfig
from jaxharm.errors import InputError
from jaxharm.fields import NonNegative, check_fields
from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Extras,
    Metrics,
    Output,
    Params,
    StepContext,
    TrainState,
)
from jaxharm.losses.reduction import Ratio, reduce_ratio
from jaxharm.measures import Measures
from jaxharm.papers.propih.convert import load_encoder
from jaxharm.papers.propih.discriminator import (
    ProPIHDiscriminator,
    ProPIHDiscriminatorConfig,
    object_cells,
)
from jaxharm.papers.propih.image_gradient import image_losses
from jaxharm.papers.propih.model import STAGES, ProPIH, StageNumber
from jaxharm.papers.propih.painterly import Targets, image_errors, targets_of
from jaxharm.papers.propih.restyle import Restyle
from jaxharm.papers.propih.stage_judge import StageJudge, stage_measures
from jaxharm.papers.propih.vgg import COLLECTION
from jaxharm.schema import present
from jaxharm.training.adversarial import AdversarialSystem, Discriminate, Loss
from jaxharm.training.supervised import NETWORK
from jaxharm.weights.portable import load_variables


@dataclass(frozen=True)
class ProPIHObjective:
    """Loss weights and choices; defaults are those of the released training script.

    Attributes:
        encoder: file of the normalized VGG-19 (vgg_normalised.pth, or what `jaxharm convert vgg19` or
            `vgg16` wrote); only a fresh training run reads it.
        random_encoder: train against random features instead. For tests and for trying things out
            only: what is learned has no meaning.
        content_weight: weight of the content term.
        style_weight: weight of the style term.
        adversarial_weight: weight of the adversarial term.
        style_layers: what stage k is compared by: the layers 1 to k, or all four.
        supervise_stages: whose results have losses.
        supervise_coarse: whether the results before blending have them too.
        discriminator: its options; None: none. It needs images of 4 cells a side, 2^n pixels.
        discriminator_statistics: what its batch norms see: the global batch, or that of a device
            (with parallel=jit there is no difference: the batch is one array).
        gan_sum_before_mse: as the official code: the model's adversarial term is the squared sum of
            the stages' maps, and the discriminator's terms of composite and painting count once
            per stage. If not: the sum of the squared maps, and once.
        result_stage: whose result is evaluated, 1 to 4; training does not depend on it.
    """

    encoder: str | None = None
    random_encoder: bool = False
    content_weight: NonNegative = 1.0
    style_weight: NonNegative = 1.0
    adversarial_weight: NonNegative = 1.0
    style_layers: Literal["incremental", "all"] = "incremental"
    supervise_stages: tuple[StageNumber, ...] = (1, 2, 3, 4)
    supervise_coarse: bool = True
    discriminator: ProPIHDiscriminatorConfig | None = field(
        default_factory=ProPIHDiscriminatorConfig
    )
    discriminator_statistics: Literal["global", "per_device"] = "global"
    gan_sum_before_mse: bool = True
    result_stage: StageNumber = STAGES

    def __post_init__(self) -> None:
        check_fields(self)


# Shared: the frozen encoder that the losses look through.
EncoderExtras = Extras[None, Params]


@dataclass(frozen=True)
class ProPIHSystem(AdversarialSystem[ProPIHObjective, EncoderExtras]):
    """ProPIH under `ProPIHObjective`. `background` is the painting; a batch must have it."""

    MODEL = ProPIH

    FROZEN: ClassVar[tuple[str, ...]] = (COLLECTION,)

    @classmethod
    def from_config(cls, config: TrainConfig, *, total_steps: int) -> Self:
        """The system of `config`; InputError where a stage could not learn."""
        stages = config.objective.supervise_stages
        if not stages:
            raise InputError("objective.supervise_stages is empty: name one stage at least")
        if config.objective.discriminator is not None:
            config.objective.discriminator.fitted(config.data.image_size)
        idle = sorted(set(range(1, STAGES + 1)) - set(stages))
        if idle and (config.model.detach_previous or max(idle) > max(stages)):
            raise InputError(
                f"objective.supervise_stages={stages} leaves nothing to learn from to stage "
                f"{', '.join(map(str, idle))}: set model.detach_previous=false, and let the last "
                "stage be supervised"
            )
        return super().from_config(config, total_steps=total_steps)

    def prepare(self, batch: DeviceBatch) -> DeviceBatch:
        """See `SupervisedSystem.prepare`; InputError without paintings."""
        if batch.background is None:
            raise InputError(
                "ProPIH trains on composites with their paintings, and these data have none: choose "
                "data with paintings, such as coco_wikiart"
            )
        return super().prepare(batch)

    def with_pretrained(self, state: TrainState) -> TrainState:
        """A fresh state with the encoder of `objective.encoder`.

        Raises:
            InputError: no file is named, it is absent or damaged, or it holds other layers.
        """
        objective = self.objective
        if objective.random_encoder:
            return state
        if objective.encoder is None:
            if self.config.init_from:  # a checkpoint brings its encoder along
                return state
            raise InputError(
                "ProPIH needs the normalized VGG-19: set objective.encoder to vgg_normalised.pth of "
                "the official release, or to a file made with jaxharm convert vgg19 (or vgg16)"
            )
        encoder = load_encoder(objective.encoder, self.config.model.width)
        if self.config.init_from:
            self._compare(encoder)
        collections = {**state.collections[NETWORK], COLLECTION: encoder}
        return state.replace(collections={**state.collections, NETWORK: collections})

    def loaded(self) -> dict[str, str]:
        """See `interfaces.System`."""
        objective = self.objective
        read = objective.encoder is not None and not objective.random_encoder
        return {"encoder": str(objective.encoder)} if read else {}

    def predict(self, state: TrainState, batch: DeviceBatch) -> Output:
        """See `SupervisedSystem.predict`; nothing after `result_stage` is computed."""
        number = self.objective.result_stage
        if number == STAGES:
            return super().predict(state, batch)
        given = self.prepare(batch)
        images = (given.composite, given.mask, given.background)
        module: Any = self.module()
        output: Output = module.apply(
            self.variables(state), *images, number=number, method="until_stage"
        )
        return output

    def harmonize_options(self) -> Restyle:
        """See `interfaces.System`."""
        return Restyle(stage=self.objective.result_stage)

    @property
    def measures(self) -> Measures:
        """See `interfaces.System`."""
        return stage_measures(self.objective.result_stage)

    def judge(self, variables: Params) -> StageJudge:
        """See `interfaces.System`."""
        number = self.objective.result_stage
        return StageJudge(self.config.model, variables, result_stage=number)

    def before_loss(self, ctx: StepContext, state: TrainState, batch: DeviceBatch) -> EncoderExtras:
        """See `SupervisedSystem.before_loss`."""
        return Extras(None, state.collections[NETWORK][COLLECTION])

    # Losses -------------------------------------------------------------------------------

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: EncoderExtras
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`: content and style.

        The terms are "content_loss" and "style_loss", unweighted sums over all results, and
        "stage1_loss" ... , their weighted sums per stage.
        """
        objective, count = self.objective, jnp.float32(len(batch.mask))
        stages = objective.supervise_stages
        names = ("coarse", "stages") if objective.supervise_coarse else ("stages",)
        images = jnp.stack([output.aux[name][k - 1] for k in stages for name in names])
        every = objective.style_layers == "all"
        layers = jnp.array(
            [[every or i <= k for i in range(1, STAGES + 1)] for k in stages for _ in names],
            jnp.float32,
        )
        function = partial(_weighted_errors, self)
        targets = targets_of(output, batch.mask, extras.shared)
        values, parts = image_losses(function, images, layers, targets)
        total, terms = jnp.float32(0), {}
        for stage, value in zip(stages, values.reshape(len(stages), -1), strict=True):
            ratio = reduce_ratio((jnp.sum(value), count), ctx.axis_name)
            terms[f"stage{stage}_loss"] = ratio
            total += ratio[0] / ratio[1]
        for index, name in enumerate(("content_loss", "style_loss")):
            terms[name] = reduce_ratio((jnp.sum(parts[:, index]), count), ctx.axis_name)
        return total, terms

    # The discriminator: see AdversarialSystem ----------------------------------------------

    def discriminator(self, axis_name: str | None = None) -> nn.Module | None:
        """The network, where the objective has one."""
        objective = self.objective
        if objective.discriminator is None:
            return None
        shared = axis_name if objective.discriminator_statistics == "global" else None
        return ProPIHDiscriminator(self._discriminator_config, axis_name=shared, dtype=self.dtype)

    def discriminator_loss(
        self,
        ctx: StepContext,
        discriminate: Discriminate,
        collections: Params,
        output: Output,
        batch: DeviceBatch,
        extras: EncoderExtras,
    ) -> Loss:
        """Objects should be found in composites and results, and nothing in paintings."""
        objective, stages = self.objective, self.objective.supervise_stages
        results = [output.aux["stages"][k - 1] for k in stages]
        seen = [batch.composite, present(batch.background, "background"), *results]
        maps = _discriminate_each(discriminate, collections, seen)
        cells = object_cells(batch.mask, self._discriminator_config)
        names = ("composite", "painting", *(f"result{k}" for k in stages))
        errors = {
            name: _mean_square(found if name == "painting" else found - cells, ctx.axis_name)
            for name, found in zip(names, maps, strict=True)
        }
        composite, painting, *others = map(_value, errors.values())
        repeats = len(stages) if objective.gan_sum_before_mse else 1
        total = repeats * (composite + painting) + sum(others)
        return total, (
            collections,
            {f"discriminator_{name}": ratio for name, ratio in errors.items()},
        )

    def generator_loss(
        self,
        ctx: StepContext,
        discriminate: Discriminate,
        collections: Params,
        output: Output,
        batch: DeviceBatch,
        extras: EncoderExtras,
    ) -> Loss:
        """The losses of `loss`, and no object should be found in the results."""
        objective = self.objective
        results = [output.aux["stages"][k - 1] for k in objective.supervise_stages]
        maps = _discriminate_each(discriminate, collections, results)
        summed = [jnp.sum(maps, 0)] if objective.gan_sum_before_mse else maps
        ratios = [_mean_square(found, ctx.axis_name) for found in summed]
        adversarial = sum(map(_value, ratios))
        total, terms = self.loss(ctx, output, batch, extras)
        terms["adversarial_loss"] = (jnp.float32(adversarial), jnp.ones(()))
        return total + objective.adversarial_weight * adversarial, (collections, terms)

    @property
    def _discriminator_config(self) -> ProPIHDiscriminatorConfig:
        assert self.objective.discriminator is not None  # asked only where there is one
        return self.objective.discriminator.fitted(self.config.data.image_size)

    def _compare(self, encoder: Params) -> None:
        """Warns where the checkpoint to start from was trained with another encoder."""
        theirs = load_variables(Path(self.config.init_from or ""))[2].get(COLLECTION, {})
        leaves = [jax.tree.leaves(tree) for tree in (theirs, encoder)]
        if len(leaves[0]) != len(leaves[1]) or not all(map(np.array_equal, *leaves)):
            warnings.warn(
                f"the encoder in {self.config.init_from} is not that of "
                f"{self.config.objective.encoder}; that of the checkpoint is used",
                stacklevel=2,
            )


def _weighted_errors(
    system: ProPIHSystem, image: Array, layers: Array, targets: Targets
) -> tuple[Array, Array]:
    """The weighted loss of results, summed over the images; content and style f32[2] apart.

    `layers` f32[4] is 1 for the layers whose style counts.
    """
    objective = system.objective
    content, style = image_errors(system.module(), image, targets)
    parts = jnp.stack([jnp.sum(content), jnp.sum(style * layers[None, :, None])])
    weighted = objective.content_weight * parts[0] + objective.style_weight * parts[1]
    return weighted, parts


def _discriminate_each(
    discriminate: Discriminate, collections: Params, images: Sequence[Array]
) -> Array:
    """The discriminator's maps f32[n,b,4,4,1], each image batch in a call of its own."""
    # Not by lax.map: XLA:CPU mixes up the collectives of that loop (synchronized norms) and crashes.
    maps: Array = jax.vmap(lambda batch: discriminate(collections, batch)[0])(jnp.stack(images))
    return maps


def _mean_square(value: Array, axis_name: str | None) -> Ratio:
    ratio: Ratio = jnp.sum(jnp.square(value)), jnp.float32(value.size)
    return reduce_ratio(ratio, axis_name)


def _value(ratio: Sequence[Array]) -> Array:
    return ratio[0] / ratio[1]
