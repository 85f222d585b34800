"""Training of PIH: on pairs alone, or in two streams with a discriminator.

Source: specs/pih 4.2 and 5.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.errors import InputError
from jaxharm.fields import Positive, Probability, check_fields
from jaxharm.interfaces import Array, Batch, Metrics, Output, Params, TrainState, to_float
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
from jaxharm.training.adversarial import AdversarialSystem, Judge
from jaxharm.training.updates import Network, Tag, step_key

_UNPAIRED = ("composite", "mask", "background")


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


@dataclass(frozen=True)
class PIHSystem(AdversarialSystem):
    """PIH under `PIHObjective`. Batches without a background plate get a filled one."""

    MODEL = PIH

    def prepare(self, batch: Batch) -> dict[str, Array]:
        """See `SupervisedSystem.prepare`; adds `background` where it is missing."""
        prepared = super().prepare(batch)
        if "background" not in prepared:
            prepared["background"] = fill_plate(prepared["composite"], prepared["mask"])
        return prepared

    def loss(
        self, output: Output, batch: dict[str, Array], *, axis_name: str | None
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the term is named "l1_loss" and so on."""
        objective = self.config.objective
        image, target, mask = output.image, batch["target"], batch["mask"]
        if objective.reconstruction == "l1":
            ratio = absolute_error(image, target)
        else:
            errors = {
                "l1_foreground": foreground_absolute_error,
                "fnmse": foreground_normalized_error,
            }
            error = errors[objective.reconstruction]
            ratio = error(image, target, mask, min_area=objective.min_area)
        ratio = reduce_ratio(ratio, axis_name)
        total = objective.recon_weight * ratio[0] / ratio[1]
        return total, {f"{objective.reconstruction}_loss": ratio}

    # The two streams: see AdversarialSystem ------------------------------------------------

    def discriminator(self, axis_name: str | None = None) -> nn.Module | None:
        """The U-Net, where the objective has an adversarial part."""
        del axis_name  # its norms depend on the weights alone
        adversarial = self.config.objective.adversarial
        return adversarial and PIHDiscriminator(adversarial.discriminator, dtype=self.dtype)

    def choose(self, state: TrainState, batch: Batch) -> dict[str, Array]:
        """The images of the stream that this step takes, and `supervised` f32[b], 1 or 0.

        The adversarial stream's composites stand in for the pairs' ones; `target` stays, as an
        example of a real image.
        """
        ratio = self._adversarial.recon_ratio
        pairs = {k: v for k, v in batch.items() if not k.startswith("unpaired_")}
        count = len(batch["mask"])
        if ratio == 1:
            return {**pairs, "supervised": jnp.ones(count)}
        if not {"unpaired_composite", "unpaired_mask"} <= set(batch):
            raise InputError(
                f"objective.adversarial.recon_ratio={ratio} trains on composites without ground "
                "truth as well, and the data have none: set data.unpaired.enabled=true"
            )
        supervised = jax.random.uniform(step_key(state, Tag.STREAM)) < ratio
        chosen = {**pairs, "supervised": jnp.full(count, supervised, jnp.float32)}
        if "unpaired_background" in batch and "background" not in batch:
            pairs["background"] = fill_plate(to_float(batch["composite"]), batch["mask"])
        for name in _UNPAIRED:
            if f"unpaired_{name}" in batch:
                other = batch[f"unpaired_{name}"]
                if pairs[name].dtype != other.dtype:
                    other = to_float(other)
                chosen[name] = jnp.where(supervised, pairs[name], other)
        return chosen

    def before(
        self, model: Network, batch: dict[str, Array], key: Array, axis_name: str | None
    ) -> Network:
        """The running statistics after the official code's pass over the targets, if asked for."""
        if not self._adversarial.reference_bn_warm_pass:
            return model
        prepared = self.prepare(batch)
        prepared["composite"] = prepared["target"]

        def warm() -> Params:
            return self.forward(model.params, model.collections, prepared, key, axis_name)[1]

        supervised = batch["supervised"][0] > 0
        return model.replace(
            collections=jax.lax.cond(supervised, warm, lambda: dict(model.collections))
        )

    def settle(self, old: Network, new: Network, batch: dict[str, Array]) -> Network:
        """The updated discriminator, or the old one in steps that are not its own."""
        if self._adversarial.recon_with_gan:
            return new
        supervised = batch["supervised"][0] > 0
        return jax.tree.map(lambda a, b: jnp.where(supervised, a, b), old, new)

    def discriminator_loss(
        self,
        judge: Judge,
        collections: Params,
        output: Output,
        batch: dict[str, Array],
        *,
        axis_name: str | None,
    ) -> tuple[Array, tuple[Params, Metrics]]:
        """Real images are real everywhere, the model's are fake where the mask is."""
        logits, collections = judge(collections, output.image)
        fake = reduce_ratio(logistic_error(logits, 1 - batch["mask"]), axis_name)
        logits, collections = judge(collections, batch["target"])
        real = reduce_ratio(logistic_error(logits, 1.0), axis_name)
        total = 0.5 * self._gan_weight * (fake[0] / fake[1] + real[0] / real[1])
        return total, (collections, {"fake_loss": fake, "real_loss": real})

    def generator_loss(
        self,
        judge: Judge,
        collections: Params,
        output: Output,
        batch: dict[str, Array],
        *,
        axis_name: str | None,
    ) -> tuple[Array, tuple[Params, Metrics]]:
        """The model's images should seem real everywhere, and in the supervised stream be right."""
        logits, collections = judge(collections, output.image)
        ratio = reduce_ratio(logistic_error(logits, 1.0), axis_name)
        supervised = batch["supervised"][0]
        counts = 1.0 if self._adversarial.recon_with_gan else 1.0 - supervised
        total = counts * self._gan_weight * ratio[0] / ratio[1]
        terms: Metrics = {
            "adversarial_loss": ratio,
            "supervised": (supervised, jnp.ones((), jnp.float32)),
        }
        if self._adversarial.recon_ratio > 0:
            reconstruction, own = self.loss(output, batch, axis_name=axis_name)
            total += supervised * reconstruction
            terms |= {name: _scaled(value, supervised) for name, value in own.items()}
        return total, (collections, terms)

    @property
    def _adversarial(self) -> AdversarialConfig:
        return self.config.objective.adversarial

    @property
    def _gan_weight(self) -> float:
        return 1.0 - self.config.objective.recon_weight


def _scaled(ratio: Ratio, factor: Any) -> Ratio:
    return factor * ratio[0], factor * ratio[1]
