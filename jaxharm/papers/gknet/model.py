"""GKNet: Learning Global-aware Kernel for Image Harmonization (arXiv 2305.11676, ICCV 2023).

The authors' code and weights were not available, nor the paper's internals: this is a
RECONSTRUCTION, described in docs/papers/gknet.md. Its results are not the published ones.

From the paper (abstract, introduction, captions of figures 1 and 3): a branch that predicts harmony
kernels and one that modulates features with them; an encoder of composite and mask; a transformer
over the deepest feature (`LongDistanceReferenceExtractor`, lre.py); kernels predicted level after
level from its result and the encoder's features (`KernelPredictionBlock`), inside which a fusion
selects the relevant references (`SelectiveCorrelationFusion`, both kernels.py); kernels that differ
from place to place, applied to decoder features at several levels.

Reconstructed, each an option of `GKNetConfig`: widths, depth and norms of encoder and decoder;
width, depth, heads, positions and masking of the transformer; wiring and convolutions of the
blocks; the fusion's formula; size, grouping and normalization of kernels; the modulated levels and
the padding of borders; the decoder's input; the head; color space; loss and training protocol
(system.py, configs/gknet).

14,519,716 parameters. Inputs and outputs are in [0,1]. Where the (binarized) mask is 0 the result is
the composite, bit for bit. Memory grows linearly with the pixels: attention sees a capped number of
tokens (`lre_token_cap`), and nothing is unfolded.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.interfaces import Array, Output
from jaxharm.nn.imagenet import denormalize, normalize
from jaxharm.nn.init import xavier_normal
from jaxharm.nn.norm import BatchNorm
from jaxharm.nn.pool import max_pool
from jaxharm.nn.resample import double, resize
from jaxharm.papers.gknet.config import GKNetConfig
from jaxharm.papers.gknet.kernels import KernelPredictionBlock, conv, modulate
from jaxharm.papers.gknet.lre import LongDistanceReferenceExtractor

__all__ = ["GKNet", "GKNetConfig", "foreground"]

_SHARPNESS = 3.0  # of the fusion gate
_GROUPS = 16  # of "group" normalization


class GKNet(nn.Module):
    """The network.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch, for statistics and dropout, or None.
        dtype: of the convolutions; norms, softmaxes, modulation sums and the output are float32.
    """

    config: GKNetConfig
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
            train: batch statistics of this batch, dropout; the image is not clipped, and not
                blended unless `config.blend_train`.

        Returns:
            Output; aux:
            raw f32[b,h,w,3], the image before blending, not clipped;
            kernels, the kernels f[b,h',w',g,k,k] of the modulated levels, deepest first;
            reference f[b,h/16,w/16,lre_dim], the LRE's map.

        Raises:
            InputError: sides that are no multiples of `config.size_multiple`, or more tokens than
                the LRE takes without `lre_token_cap`.
        """
        del background
        config, dtype = self.config, self.dtype
        _check_inputs(config, composite, mask)
        composite = composite.astype(jnp.float32)
        mask = foreground(config, mask)
        # At every level the share of foreground in each cell: tokens compare it with a threshold,
        # and modulation weights by it.
        shares = [mask]
        for _ in range(config.depth_levels - 1):
            shares.append(_mean_of_cells(shares[-1]))
        image = normalize(composite) if config.input_norm == "imagenet" else composite
        x = jnp.concatenate([image, mask], -1).astype(dtype)
        encoder: list[Array] = []
        for level in range(config.depth_levels):
            block = DoubleConv(
                config, level, level >= config.norm_from, self.axis_name, dtype, name=f"enc{level}"
            )
            x = block(max_pool(x) if level else x, train=train)
            encoder.append(x)
        self.sow("intermediates", f"e{config.depth_levels - 1}", x)
        extract = LongDistanceReferenceExtractor(config, self.axis_name, dtype, name="lre")
        reference = extract(x, shares[-1], train=train)
        x, kernels = self._decode(encoder, reference, shares, train)
        raw = self._head(x, image)
        raw = denormalize(raw) if config.input_norm == "imagenet" else raw
        result = raw
        if config.blend_train or not train:
            # A select, so that not even a non-finite value reaches the background.
            result = jnp.where(mask > 0, mask * raw + (1 - mask) * composite, composite)
        if not train:
            result = jnp.clip(result, 0, 1)
        aux = {"raw": raw, "kernels": tuple(kernels), "reference": reference}
        return Output(result, aux)

    def _decode(
        self, encoder: list[Array], reference: Array, shares: list[Array], train: bool
    ) -> tuple[Array, list[Array]]:
        """The decoder's full-size feature, and the kernels of the modulated levels."""
        config, dtype = self.config, self.dtype
        x, predicted, kernels = encoder[-1], reference, []
        if config.decoder_input != "encoder":
            start = conv(config, config.channels[-1], 1, dtype, "decoder_input")(reference)
            x = start if config.decoder_input == "lre" else x + start
        for level in range(config.depth_levels - 2, -1, -1):
            width = config.channels[level]
            x = nn.relu(conv(config, width, 3, dtype, f"up{level}")(self._doubled(x)))
            inputs = (encoder[level], x) if config.skip == "concat" else (x,)
            block = DoubleConv(config, level, True, self.axis_name, dtype, name=f"dec{level}")
            x = block(*inputs, train=train)
            if level in config.levels:
                # A block continues from the block below, or each starts from the reference map.
                source = predicted if config.kpb_chain else reference
                predict = KernelPredictionBlock(config, level, dtype, name=f"kpb{level}")
                local = encoder[level] if config.kpb_local == "encoder" else x
                predicted, made = predict(self._enlarged(source, local.shape[1:3]), local)
                self.sow("intermediates", f"p{level}", predicted)
                self.sow("intermediates", f"d{level}_pre", x)
                x = modulate(x, made, shares[level], config)
                kernels.append(made)
            self.sow("intermediates", f"d{level}", x)
        return x, kernels

    def _doubled(self, x: Array) -> Array:
        return self._enlarged(x, (2 * x.shape[1], 2 * x.shape[2]))

    def _enlarged(self, x: Array, size: tuple[int, ...]) -> Array:
        if self.config.upsample_align_corners:
            return resize(x, (size[0], size[1]), "aligned")
        # The same numbers up to rounding, in a time that grows with the pixels only.
        if size == (2 * x.shape[1], 2 * x.shape[2]):
            return double(x)
        return resize(x, (size[0], size[1]), "bilinear")

    def _head(self, x: Array, image: Array) -> Array:
        """f[b,h,w,c] and the network's image f32[b,h,w,3] -> f32[b,h,w,3] in its color space."""
        config, zeros = self.config, nn.initializers.zeros
        usual = config.weights(xavier_normal())
        start = zeros if config.identity_start else usual
        rgb = conv(config, 3, 1, self.dtype, "rgb", start)(x).astype(jnp.float32)
        if config.head == "direct":
            return rgb
        if config.head == "residual":
            return image + rgb
        logit = conv(config, 1, 1, self.dtype, "blend", usual)(x).astype(jnp.float32)
        alpha = nn.sigmoid(_SHARPNESS * logit)
        self.sow("intermediates", "alpha", alpha)
        return alpha * image + (1 - alpha) * rgb


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with an optional norm and a ReLU.

    Attributes:
        config: options.
        level: its channels are those of both convolutions.
        normalized: whether there is a norm.
        axis_name: of the batch statistics.
        dtype: of the convolutions.
    """

    config: GKNetConfig
    level: int
    normalized: bool
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, *inputs: Array, train: bool) -> Array:
        """f[b,h,w,*], or several of them in place of their concatenation -> f[b,h,w,c]."""
        x = inputs
        for i in (0, 1):
            y = conv(self.config, self.config.channels[self.level], 3, self.dtype, f"conv{i}")(*x)
            x = (nn.relu(self._norm(y, f"norm{i}", train)),)
        return x[0]

    def _norm(self, x: Array, name: str, train: bool) -> Array:
        config, width = self.config, x.shape[-1]
        if not self.normalized or config.norm == "none":
            return x
        if config.norm == "batch":
            norm = BatchNorm(axis_name=self.axis_name, sync=config.bn_sync, name=name)
            return norm(x, train=train)
        groups = width  # as many groups as channels is instance normalization
        if config.norm == "group":
            groups = next(n for n in range(min(_GROUPS, width), 0, -1) if width % n == 0)
        # The fast variance, E[x^2] - E[x]^2, cancels where the mean is large.
        return nn.GroupNorm(
            groups, epsilon=1e-5, dtype=self.dtype, use_fast_variance=False, name=name
        )(x)


def foreground(config: GKNetConfig, mask: Array) -> Array:
    """The mask f[b,h,w,1] that the network sees: f32, of zeros and ones if `binarize_mask`."""
    mask = mask.astype(jnp.float32)
    return (mask >= 0.5).astype(jnp.float32) if config.binarize_mask else mask


def _mean_of_cells(x: Array) -> Array:
    """f[b,h,w,1] -> f[b,h/2,w/2,1], the mean of 2x2 cells."""
    b, h, w, c = x.shape
    return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))


def _check_inputs(config: GKNetConfig, composite: Array, mask: Array) -> None:
    if composite.ndim != 4 or composite.shape[-1] != 3 or mask.shape != (*composite.shape[:3], 1):
        raise InputError(
            f"GKNet: composite is {list(composite.shape)} and mask {list(mask.shape)}, "
            "not [b,h,w,3] and [b,h,w,1]"
        )
    (height, width), multiple = composite.shape[1:3], config.size_multiple
    if height % multiple or width % multiple or height < multiple or width < multiple:
        raise InputError(
            f"GKNet needs sides that are multiples of {multiple} and at least {multiple}, not "
            f"{height}x{width}"
        )
