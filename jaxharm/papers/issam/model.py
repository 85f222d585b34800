"""iSSAM: Foreground-aware Semantic Representations for Image Harmonization (arXiv 2006.00809).

A U-Net with spatially separated attention: the paper's improved version, in its 256x256
configuration. Other systems use it as their backbone. The pieces are in unet.py and ssam.py:

- encoder: `DoubleConv` blocks with maximum pooling between them, on composite and mask;
- decoder: `UpConv` and `DecoderBlock`, the finest with `SpatialSeparatedAttention`;
- `FusionHead`: a gate between the composite and the decoder's colors.

2,185,340 parameters. Inputs and outputs are in [0,1]; the network works on ImageNet-normalized
colors. The whole image is predicted: the result is not composited with the background.

Deviations: `skips`, `use_mask` and `image_fusion` can be turned off, for a network that reconstructs
its input. The official initializer overwrites the blur of the attention's mask with noise;
`random_blur_init` does the same, the default is the Gaussian. Batch statistics are those of the
global batch (the official ones are per GPU). Source: docs/papers/issam.md.
"""

from dataclasses import dataclass, replace
from typing import Self

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array, Output
from jaxharm.nn.imagenet import denormalize, normalize
from jaxharm.nn.pool import max_pool
from jaxharm.papers.issam.unet import (
    DecoderBlock,
    DoubleConv,
    FusionHead,
    UNetConfig,
    UpConv,
    check_inputs,
    flip_averaged,
    masks_per_level,
    with_mirrored,
)


@dataclass(frozen=True)
class IssamConfig(UNetConfig):
    """Options; defaults are those of the official 256x256 configuration.

    Attributes:
        skips: whether the decoder sees the encoder's features.
        use_mask: whether the network sees the mask; if not, it sees a mask of zeros.
    """

    skips: bool = True
    use_mask: bool = True

    @classmethod
    def tiny(cls) -> Self:
        """Every code path in about ten thousand parameters."""
        return cls().shrunk()

    def shrunk(self) -> Self:
        """The same choices with few channels."""
        return replace(self, base_channels=4, trained_size=64)


class Issam(nn.Module):
    """The network.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch statistics, or None.
        dtype: of the convolutions; statistics, gates and the output are float32.
    """

    config: IssamConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, composite: Array, mask: Array, background: Array | None = None, *, train: bool = False
    ) -> Output:
        """Harmonizes the foreground.

        Args:
            composite: f32[b,h,w,3] in [0,1].
            mask: f32[b,h,w,1] in [0,1], 1 = foreground.
            background: ignored.
            train: batch statistics of this batch instead of the running ones.

        Returns:
            Output; aux: raw f32[b,h,w,3], the same image not clipped; encoder, the features of
            the encoder blocks, finest first, before pooling.

        Raises:
            InputError: sides that are no multiples of `config.size_multiple`.
        """
        del background
        config, dtype = self.config, self.dtype
        check_inputs("iSSAM", config, composite, mask)
        flipped = config.flip_average and not train
        if flipped:
            composite, mask = with_mirrored(composite), with_mirrored(mask)
        # Zeros in place of a missing channel, so that the first layer keeps its shape.
        mask = mask.astype(jnp.float32) * config.use_mask
        image = normalize(composite.astype(jnp.float32))
        x = jnp.concatenate([image, mask], -1).astype(dtype)
        encoder: list[Array] = []
        for i, features in enumerate(config.channels):
            batch_norm = i >= config.batch_norm_from
            block = DoubleConv(features, batch_norm, self.axis_name, dtype, name=f"encoder{i}")
            x = block(max_pool(x) if i else x, train=train)
            encoder.append(x)
        masks = masks_per_level(mask, config.depth)
        for d in range(config.depth - 1):
            level = config.depth - 2 - d
            x = UpConv(config.channels[level], dtype, name=f"up{d}")(x)
            decode = DecoderBlock(d, config, self.axis_name, dtype, name=f"decoder{d}")
            inputs = (encoder[level], x) if config.skips else (x,)
            x = decode(*inputs, mask=masks[level], train=train)
        head = FusionHead(config.image_fusion, config.residual_output, dtype, name="head")
        raw = denormalize(head(x, image))
        aux = {"raw": raw, "encoder": tuple(encoder)}
        return flip_averaged(raw, aux) if flipped else Output(jnp.clip(raw, 0, 1), aux)
