"""Repaints a pasted object in the style of a painting, in four stages from colors to strokes.

ProPIH: Progressive Painterly Image Harmonization from Low-level Styles to High-level Styles (AAAI
2024, arXiv 2312.10264), after the official code; the body of the paper was not at hand.

- top branch: the frozen normalized VGG-19 of vgg.py, on the composite and on the painting;
- `ops.masked_adain` gives the object's features the moments of the painting, stage by stage;
- bottom branch (trained): `Up` -> `Fuse` with the stage before -> `head`, per stage;
- `exit.ExitHead` (ours): whether to stop after a stage.

2,204,236 trained parameters; 3,505,740 frozen ones in the collection `encoder` (vgg.py), so that
a checkpoint of either kind is complete. Inputs and outputs are in [0,1], inside [-1,1].

Ours: any sides that are multiples of 8 (official: squares), the mask resized per axis; outputs and
losses are apart. Choices that the paper and the code do not settle are fields of the config: the
encoder sees [-1,1] (`vgg_input_range`), the style is the whole painting (`style_region`), a stage
gets the one before without gradient (`detach_previous`); docs/papers/propih.md, "What we decided".
Weights: the official files convert (jaxharm convert propih); they were not at hand.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count, Range, check_fields
from jaxharm.interfaces import Array, Output
from jaxharm.nn.conv import Conv
from jaxharm.ops import masked_adain
from jaxharm.papers.propih.exit import ExitHead, stage_descriptor
from jaxharm.papers.propih.reflect_conv import ReflectConv
from jaxharm.papers.propih.vgg import PIECES, VggPiece

STAGES = len(PIECES)
StageNumber: TypeAlias = Annotated[int, Range(at_least=1, at_most=STAGES)]


@dataclass(frozen=True)
class ProPIHConfig:
    """Options; defaults are those of the released weights.

    Attributes:
        width: channels of the encoder's first layer; the bottom branch has half of it.
        vgg_input_range: what the encoder is fed with. The normalized VGG-19 was made for [0,1];
            the released weights were trained with [-1,1].
        style_region: where the painting's moments are taken: everywhere, or where the object is
            not.
        detach_previous: each stage learns from its own losses alone.
        exit_head: whether the model has one, and gives `exit_logits`.
        exit_units: of its GRU.
        trained_size: side of the training images.
    """

    width: Annotated[int, Range(at_least=2)] = 64
    vgg_input_range: Literal["minus1_1", "0_1"] = "minus1_1"
    style_region: Literal["full", "background"] = "full"
    detach_previous: bool = True
    exit_head: bool = False
    exit_units: Count = 64
    trained_size: Count = 256

    def __post_init__(self) -> None:
        check_fields(self)
        if self.width % 2:
            raise InputError(f"ProPIHConfig.width={self.width}: an even number is needed")

    @classmethod
    def tiny(cls, exit_head: bool = False) -> "ProPIHConfig":
        """Every code path in some ninety thousand weights, most of them frozen."""
        return cls(exit_head=exit_head).shrunk()

    def shrunk(self) -> "ProPIHConfig":
        """The same choices with few channels."""
        return replace(self, width=8, exit_units=4, trained_size=64)

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this."""
        return 2 ** (STAGES - 1)

    @property
    def min_size(self) -> int:
        """Smallest side: the coarsest features need two pixels to be mirrored."""
        return 2 * self.size_multiple

    @property
    def default_size(self) -> int:
        """Side the weights were trained at."""
        return self.trained_size


class Inputs(NamedTuple):
    """What every stage reads: f32[b,h,w,3] in [0,1] twice, and the mask f32[b,h,w,1]."""

    composite: Array
    background: Array
    mask: Array


class Carry(NamedTuple):
    """What a stage hands on to the next one.

    Attributes:
        content, style: features of composite and painting, f[b,h',w',c]; before stage 1 the images
            as the encoder wants them.
        features: f[b,h,w,c] of the bottom branch; None before stage 1.
        memory: f32[b,u] of the exit head; None without one.
    """

    content: Array
    style: Array
    features: Array | None
    memory: Array | None


class Stage(NamedTuple):
    """Results of a stage: f32[b,h,w,3] in the [0,1] scale, not clipped, and f32[b] or None."""

    coarse: Array
    final: Array
    logit: Array | None


class Up(nn.Module):
    """Brings the features of stage `number` to full size and `width` channels."""

    number: int
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f[b,h/s,w/s,c] -> f[b,h,w,width], s = 2^(number-1)."""
        for i in range(self.number):
            features = self.width * 2 ** (self.number - 1 - i)
            x = nn.relu(ReflectConv(features, i > 0, self.dtype, name=f"conv{i}")(x))
        return x


class Fuse(nn.Module):
    """Joins the features of the stage before and of this one."""

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, previous: Array, current: Array) -> Array:
        """f[b,h,w,width] twice -> the same."""
        x = nn.relu(ReflectConv(self.width, dtype=self.dtype, name="conv0")(previous, current))
        for i in (1, 2, 3):
            x = nn.relu(ReflectConv(self.width, dtype=self.dtype, name=f"conv{i}")(x))
        return x


class ProPIH(nn.Module):
    """Restyles objects: the generator of the paper.

    Attributes:
        config: options.
        axis_name: unused: nothing here depends on other samples.
        dtype: of the convolutions; moments, the exit head and the outputs are float32.
    """

    config: ProPIHConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Names every part: stage k owns enc{k}, up{k}, fuse{k} (from 2 on) and head{k}."""
        config, numbers = self.config, range(1, STAGES + 1)
        width = config.width // 2
        self.encoders = [VggPiece(k, config.width, self.dtype, name=f"enc{k}") for k in numbers]
        self.ups = [Up(k, width, self.dtype, name=f"up{k}") for k in numbers]
        self.fuses = [Fuse(width, self.dtype, name=f"fuse{k}") for k in numbers[1:]]
        self.heads = [Conv(3, 1, dtype=self.dtype, name=f"head{k}") for k in numbers]
        self.exit = ExitHead(config.exit_units, name="exit_head") if config.exit_head else None

    def __call__(
        self,
        composite: Array,
        mask: Array,
        background: Array | None = None,
        *,
        train: bool = False,
    ) -> Output:
        """Restyles the object in all four stages.

        Args:
            composite: f32[b,h,w,3] in [0,1], the object pasted into the painting.
            mask: f32[b,h,w,1] in [0,1], 1 = object; soft edges blend.
            background: f32[b,h,w,3] in [0,1], the painting without the object.
            train: adds to aux what losses and labels read, per stage: `content_features` and
                `style_features`, the encoder's of composite and painting, and `features`, those of
                the bottom branch.

        Returns:
            Output of the last stage, clipped; aux: raw f32[b,h,w,3], before blending; stages and
            coarse f32[4,b,h,w,3], after and before blending, all three in the [0,1] scale and not
            clipped; exit_logits f32[3,b] where there is an exit head. Where the mask is 0, stages
            are the painting, bit for bit.

        Raises:
            InputError: no painting, shapes that do not fit each other, or sides that are no
                multiples of 8 or below 16.
        """
        inputs = check_inputs(self.config, composite, mask, background)
        carry, stages, carried = self.start(inputs), [], []
        for number in range(1, STAGES + 1):
            carry, stage = self.stage(number, carry, inputs)
            stages.append(stage)
            carried.append(carry)
        aux: dict[str, Array | tuple[Array | None, ...]] = {
            "raw": stages[-1].coarse,
            "stages": jnp.stack([stage.final for stage in stages]),
            "coarse": jnp.stack([stage.coarse for stage in stages]),
        }
        if self.exit is not None:
            aux["exit_logits"] = jnp.stack([s.logit for s in stages[:-1] if s.logit is not None])
        # Only in training: as outputs of a compiled prediction they would take memory for nothing.
        if train:
            aux["content_features"] = tuple(c.content for c in carried)
            aux["style_features"] = tuple(c.style for c in carried)
            aux["features"] = tuple(c.features for c in carried)
        return Output(jnp.clip(stages[-1].final, 0, 1), aux)

    def until_stage(
        self, composite: Array, mask: Array, background: Array | None, *, number: int
    ) -> Output:
        """The result of stage `number`; nothing of later stages is computed.

        Args:
            composite, mask, background: as in `__call__`.
            number: 1 to 4.

        Returns:
            Output; aux: raw.

        Raises:
            InputError: as `__call__`, or another number.
        """
        if not 1 <= number <= STAGES:
            raise InputError(f"stage {number}: ProPIH has the stages 1 to {STAGES}")
        inputs = check_inputs(self.config, composite, mask, background)
        carry = self.start(inputs)
        for k in range(1, number + 1):
            carry, stage = self.stage(k, carry, inputs)
        return Output(jnp.clip(stage.final, 0, 1), {"raw": stage.coarse})

    def start(self, inputs: Inputs) -> Carry:
        """What stage 1 begins with."""
        count, config = inputs.mask.shape[0], self.config
        memory = jnp.zeros((count, config.exit_units)) if config.exit_head else None
        images = [encoder_image(image, config) for image in (inputs.composite, inputs.background)]
        return Carry(images[0], images[1], None, memory)

    def stage(self, number: int, carry: Carry, inputs: Inputs) -> tuple[Carry, Stage]:
        """Stage `number` alone: encoder piece, AdaIN, bottom branch, exit head.

        The logit of the last stage is None: there is nothing left to decide.
        """
        content, style = (self.encoders[number - 1](x) for x in (carry.content, carry.style))
        mask = stage_mask(inputs.mask, number)
        region = None if self.config.style_region == "full" else 1 - mask
        # Nothing above here is trained: without the stop, backward passes would run through the
        # frozen encoder only to be thrown away.
        restyled = jax.lax.stop_gradient(masked_adain(content, style, mask, style_mask=region))
        features = self.ups[number - 1](restyled)
        if number > 1:
            assert carry.features is not None  # every stage leaves some for the next one
            previous = carry.features
            if self.config.detach_previous:
                previous = jax.lax.stop_gradient(previous)
            features = self.fuses[number - 2](previous, features)
        # The network works in [-1,1]; float32, since the blend and the losses are in float32.
        coarse = (self.heads[number - 1](features).astype(jnp.float32) + 1) / 2
        final = coarse * inputs.mask + inputs.background * (1 - inputs.mask)
        memory, logit = carry.memory, None
        if self.exit is not None and memory is not None and number < STAGES:
            memory, logit = self.exit(memory, stage_descriptor(features, inputs.mask))
        return Carry(content, style, features, memory), Stage(coarse, final, logit)

    def encode(self, image: Array) -> tuple[Array, ...]:
        """The encoder's features relu1_1 ... relu4_1 of f32[b,h,w,3] in the [0,1] scale."""
        x, found = encoder_image(image, self.config), []
        for piece in self.encoders:
            x = piece(x)
            found.append(x)
        return tuple(found)


def encoder_image(image: Array, config: ProPIHConfig) -> Array:
    """An image of the [0,1] scale as the encoder is fed with it."""
    return image if config.vgg_input_range == "0_1" else image * 2 - 1


def stage_mask(mask: Array, number: int) -> Array:
    """The mask at the size of a stage's features: the nearest pixel, clipped to [0,1]."""
    step = 2 ** (number - 1)
    return jnp.clip(mask[:, ::step, ::step], 0, 1)


def check_inputs(
    config: ProPIHConfig, composite: Array, mask: Array, background: Array | None
) -> Inputs:
    """The arrays in float32; InputError unless they fit each other and the stages."""
    if background is None:
        raise InputError("ProPIH needs the painting that the object is pasted into: background=")
    if composite.ndim != 4 or composite.shape[-1] != 3 or mask.shape != (*composite.shape[:3], 1):
        raise InputError(
            f"ProPIH: composite is {list(composite.shape)} and mask {list(mask.shape)}, "
            "not [b,h,w,3] and [b,h,w,1]"
        )
    if background.shape != composite.shape:
        raise InputError(
            f"ProPIH: the painting is {list(background.shape)} and the composite "
            f"{list(composite.shape)}: they must have one size"
        )
    height, width = composite.shape[1:3]
    multiple = config.size_multiple
    if height % multiple or width % multiple or height < config.min_size or width < config.min_size:
        raise InputError(
            f"ProPIH needs sides that are multiples of {multiple} and at least {config.min_size}, "
            f"not {height}x{width}"
        )
    return Inputs(*(x.astype(jnp.float32) for x in (composite, background, mask)))


def stage_macs(config: ProPIHConfig, height: int, width: int) -> list[int]:
    """Multiply-accumulates of every stage's convolutions for one image."""
    channels, bottom, full = 3, config.width // 2, height * width
    totals = []
    for number, layers in enumerate(PIECES, 1):
        area = full // 4 ** max(number - 2, 0)  # of a piece's layers before its pooling
        encoder = 3 * 3 * full if number == 1 else 0  # the pixel transform
        for name, multiple in layers:
            pooled = number > 1 and name == layers[-1][0]
            encoder += 9 * channels * multiple * config.width * (area // 4 if pooled else area)
            channels = multiple * config.width
        features, small = channels, full // 4 ** (number - 1)
        up = 0
        for i in range(number):
            up += 9 * features * (features // 2) * small * 4**i
            features //= 2
        fuse = 9 * bottom * bottom * 5 * full if number > 1 else 0
        totals.append(2 * encoder + up + fuse + 3 * bottom * full)
    return totals
