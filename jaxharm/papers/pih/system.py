"""Training of PIH: on pairs alone, or in two streams with a discriminator.

Source: docs/papers/pih.md, "Losses" and "Training".
"""

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.errors import InputError
from jaxharm.fields import Positive, Probability, check_fields
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
from jaxharm.losses.adversarial import logistic_error
from jaxharm.losses.pixel import (
    absolute_error,
    foreground_absolute_error,
    foreground_normalized_error,
)
from jaxharm.losses.reduction import Ratio, reduce_ratio
from jaxharm.papers.pih.discriminator import PIHDiscriminator, PIHDiscriminatorConfig
from jaxharm.papers.pih.model import PIH
from jaxharm.papers.pih.plate import fill_plate
from jaxharm.schema import Pair, present
from jaxharm.training.adversarial import AdversarialSystem, Discriminate, Loss
from jaxharm.training.updates import Network, Tag, single, step_key


@dataclass(frozen=True)
class AdversarialConfig:
    """The discriminator and the two streams; defaults are the paper's.

    Attributes:
        recon_ratio: probability that a step takes the supervised stream (pairs); else it takes the
            adversarial one (real composites without ground truth). 1 needs no such composites.
        recon_with_gan: whether the adversarial loss counts in the supervised stream as well. If
            not, the discriminator rests in those steps.
        reference_bn_warm_pass: as the official code, first runs the model on the target in steps
            of the supervised stream, which moves the running statistics and nothing else.
        discriminator: its options.
    """

    recon_ratio: Probability = 0.5
    recon_with_gan: bool = True
    reference_bn_warm_pass: bool = False
    discriminator: PIHDiscriminatorConfig = field(default_factory=PIHDiscriminatorConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.recon_ratio == 1 and not self.recon_with_gan:
            raise InputError(
                "AdversarialConfig: with recon_ratio=1 and recon_with_gan=False the discriminator "
                "never learns; set objective.adversarial=none"
            )


@dataclass(frozen=True)
class PIHObjective:
    """Loss weights and choices; defaults are the paper's, without its adversarial part.

    Attributes:
        recon_weight: weight of the reconstruction term; the adversarial terms get the rest of 1.
        reconstruction: "l1": mean |O-R| over every pixel of the image, as in the paper;
            "l1_foreground": the same over the foreground only, per image;
            "fnmse": squared error per foreground pixel, per image.
        min_area: pixels that the foreground counts as at least, in the last two.
        adversarial: the two-stream training; None: on pairs alone, without a discriminator.
    """

    recon_weight: Probability = 0.92
    reconstruction: Literal["l1", "l1_foreground", "fnmse"] = "l1"
    min_area: Positive = 100.0
    adversarial: AdversarialConfig | None = None

    def __post_init__(self) -> None:
        check_fields(self)


class Stream(NamedTuple):
    """The stream that a step takes.

    Attributes:
        supervised: f32[], 1: pairs; 0: composites without ground truth.
    """

    supervised: Array


StreamExtras = Extras[None, Stream]


@dataclass(frozen=True)
class PIHSystem(AdversarialSystem[PIHObjective, StreamExtras]):
    """PIH under `PIHObjective`. Batches without a background plate get a filled one."""

    MODEL: ClassVar[type[nn.Module]] = PIH

    def prepare(self, batch: DeviceBatch) -> DeviceBatch:
        """See `SupervisedSystem.prepare`; adds `background` where it is missing."""
        prepared = super().prepare(batch)
        if prepared.background is not None:
            return prepared
        return prepared.replace(background=fill_plate(prepared.composite, prepared.mask))

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: StreamExtras
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the term is named "l1_loss" and so on."""
        objective = self.objective
        image, target, mask = output.image, present(batch.target, "target"), batch.mask
        if objective.reconstruction == "l1":
            ratio = absolute_error(image, target)
        else:
            errors = {
                "l1_foreground": foreground_absolute_error,
                "fnmse": foreground_normalized_error,
            }
            error = errors[objective.reconstruction]
            ratio = error(image, target, mask, min_area=objective.min_area)
        ratio = reduce_ratio(ratio, ctx.axis_name)
        total = objective.recon_weight * ratio[0] / ratio[1]
        return total, {f"{objective.reconstruction}_loss": ratio}

    # The two streams: see AdversarialSystem ------------------------------------------------

    def discriminator(self, axis_name: str | None = None) -> nn.Module | None:
        """The U-Net, where the objective has an adversarial part."""
        del axis_name  # its norms depend on the weights alone
        adversarial = self.objective.adversarial
        if adversarial is None:
            return None
        return PIHDiscriminator(adversarial.discriminator, dtype=self.dtype)

    def before_loss(self, ctx: StepContext, state: TrainState, batch: DeviceBatch) -> StreamExtras:
        """See `SupervisedSystem.before_loss`: which stream the step takes."""
        return Extras(None, Stream(self._supervised(state).astype(jnp.float32)))

    def select_stream(self, state: TrainState, batch: DeviceBatch) -> DeviceBatch:
        """The images of the stream that this step takes.

        The adversarial stream's composites stand in for the pairs' ones; `target` stays, as an
        example of a real image.
        """
        ratio, other = self._adversarial.recon_ratio, batch.unpaired
        batch = batch.replace(unpaired=None)
        if ratio == 1:
            return batch
        if other is None:
            raise InputError(
                f"objective.adversarial.recon_ratio={ratio} trains on composites without ground "
                "truth as well, and the data have none: set data.unpaired.enabled=true"
            )
        own = Pair(batch.composite, batch.mask, batch.background)
        if other.background is None:
            own = dataclasses.replace(own, background=None)
        elif own.background is None:
            plate = fill_plate(to_float(batch.composite), batch.mask)
            own = dataclasses.replace(own, background=plate)
        supervised = self._supervised(state)
        chosen = jax.tree.map(lambda a, b: _either(supervised, a, b), own, other)
        return batch.replace(**chosen.arrays())

    def before_step(
        self, ctx: StepContext, model: Network, batch: DeviceBatch, extras: StreamExtras
    ) -> Network:
        """The running statistics after the official code's pass over the targets, where wanted."""
        if not self._adversarial.reference_bn_warm_pass:
            return model
        prepared = self.prepare(batch)
        prepared = prepared.replace(composite=prepared.target)

        def warm() -> Params:
            return self.forward(ctx, model.params, model.collections, prepared)[1]

        supervised = extras.shared.supervised > 0
        return model.replace(
            collections=jax.lax.cond(supervised, warm, lambda: dict(model.collections))
        )

    def after_step(self, old: Network, new: Network, extras: StreamExtras) -> Network:
        """The updated discriminator, or the old one in steps that are not its own."""
        if self._adversarial.recon_with_gan:
            return new
        supervised = extras.shared.supervised > 0
        return jax.tree.map(lambda a, b: jnp.where(supervised, a, b), old, new)

    def discriminator_loss(
        self,
        ctx: StepContext,
        discriminate: Discriminate,
        collections: Params,
        output: Output,
        batch: DeviceBatch,
        extras: StreamExtras,
    ) -> Loss:
        """Real images are real everywhere, the model's are fake where the mask is."""
        logits, collections = discriminate(collections, output.image)
        fake = reduce_ratio(logistic_error(logits, 1 - batch.mask), ctx.axis_name)
        logits, collections = discriminate(collections, present(batch.target, "target"))
        real = reduce_ratio(logistic_error(logits, 1.0), ctx.axis_name)
        total = 0.5 * self._gan_weight * (fake[0] / fake[1] + real[0] / real[1])
        return total, (collections, {"fake_loss": fake, "real_loss": real})

    def generator_loss(
        self,
        ctx: StepContext,
        discriminate: Discriminate,
        collections: Params,
        output: Output,
        batch: DeviceBatch,
        extras: StreamExtras,
    ) -> Loss:
        """The model's images should seem real everywhere, and in the supervised stream be right."""
        logits, collections = discriminate(collections, output.image)
        ratio = reduce_ratio(logistic_error(logits, 1.0), ctx.axis_name)
        supervised = extras.shared.supervised
        counts = 1.0 if self._adversarial.recon_with_gan else 1.0 - supervised
        total = counts * self._gan_weight * ratio[0] / ratio[1]
        terms: Metrics = {"adversarial_loss": ratio, "supervised": single(supervised)}
        if self._adversarial.recon_ratio > 0:
            reconstruction, own = self.loss(ctx, output, batch, extras)
            total += supervised * reconstruction
            terms |= {name: _scaled(value, supervised) for name, value in own.items()}
        return total, (collections, terms)

    def _supervised(self, state: TrainState) -> Array:
        """bool[], whether the step that begins at `state` takes the pairs."""
        if self.objective.adversarial is None or self._adversarial.recon_ratio == 1:
            return jnp.ones((), bool)
        return jax.random.uniform(step_key(state, Tag.STREAM)) < self._adversarial.recon_ratio

    @property
    def _adversarial(self) -> AdversarialConfig:
        assert self.objective.adversarial is not None  # asked only where there are two streams
        return self.objective.adversarial

    @property
    def _gan_weight(self) -> float:
        return 1.0 - self.objective.recon_weight


def _either(first: Array, a: Array, b: Array) -> Array:
    """`a` where `first`, else `b`; integers and floats meet as floats."""
    return jnp.where(first, a, b if a.dtype == b.dtype else to_float(b))


def _scaled(ratio: Ratio, factor: Array) -> Ratio:
    return factor * ratio[0], factor * ratio[1]
