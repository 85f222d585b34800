"""GiftNet's own blocks: the global code, the modulated convolution layer, the GIFT module.

Source: docs/papers/giftnet.md, "Network" (globally guided feature transformation).
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.init import standard_normal, xavier_normal
from jaxharm.ops import modulated_conv

Pool = Literal["all", "background", "foreground", "fg_bg_concat"]
_SLOPE = 0.2  # of the leaky ReLU


def pooled(x: Array, mask: Array, kind: Pool) -> Array:
    """Averages a feature map over all positions, or over a region weighted by the mask.

    Args:
        x: f[b,h,w,c].
        mask: f32[b,h,w,1] in [0,1], 1 = foreground.
        kind: the region; "fg_bg_concat" gives both, the foreground first.

    Returns:
        f32[b,c] (2c for both). The mean of an empty region is 0.
    """
    wide = x.astype(jnp.float32)  # sums over many positions
    if kind == "all":
        return jnp.mean(wide, (1, 2))
    weights = {"foreground": [mask], "background": [1 - mask]}.get(kind, [mask, 1 - mask])
    # An empty region has weight 0: the bound makes its mean 0 instead of NaN.
    sums = [jnp.sum(wide * w, (1, 2)) / jnp.maximum(jnp.sum(w, (1, 2)), 1e-6) for w in weights]
    return jnp.concatenate(sums, -1)


class CodeMap(nn.Module):
    """Computes a code from pooled features: two dense layers with a ReLU between.

    The first layer is different for every place of pooling, the second is shared.

    Attributes:
        features: length of the code.
    """

    features: int

    @nn.compact
    def __call__(self, p: Array, place: str) -> Array:
        """f32[b,n] -> f32[b,features]; `place` names the first layer."""
        hidden = nn.Dense(self.features, kernel_init=xavier_normal(), name=f"{place}_fc0")(p)
        shared = nn.Dense(self.features, kernel_init=xavier_normal(), name="fc1")
        return shared(nn.relu(hidden))


class Style(nn.Module):
    """Computes the scales of a modulated convolution: an equalized dense layer, in float32.

    Attributes:
        features: input channels of the convolution.
    """

    features: int

    @nn.compact
    def __call__(self, code: Array) -> Array:
        """f32[b,n] -> f32[b,features], about 1 at the start."""
        shape = (code.shape[-1], self.features)
        kernel = self.param("kernel", standard_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.ones, shape[1:], jnp.float32)
        # "Equalized": weights start with deviation 1 and are scaled at every use, so that an
        # optimizer with steps of one size treats all layers alike.
        product = jnp.dot(code, kernel / math.sqrt(shape[0]), precision=jax.lax.Precision.HIGHEST)
        return product + bias[None]


class ModulatedConv(nn.Module):
    """The layer of `ops.modulated_conv`: 3x3, equalized kernel, bias, leaky ReLU.

    Attributes:
        features: output channels.
        demodulate: whether the modulated kernels have length one.
        dtype: of the convolution.
    """

    features: int
    demodulate: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, code: Array | None) -> tuple[Array, Array]:
        """f[b,h,w,c], code f32[b,n] or None for scales of 1 -> f[b,h,w,features], scales f32[b,c]."""
        channels = x.shape[-1]
        shape = (3, 3, channels, self.features)
        kernel = self.param("kernel", standard_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        scales = jnp.ones((x.shape[0], channels), jnp.float32)
        if code is not None:
            scales = Style(channels, name="style")(code)
        # Equalized as in `Style`. Demodulation cancels the factor again, but for its epsilon.
        kernel = kernel / math.sqrt(9 * channels)
        y = modulated_conv(x.astype(self.dtype), kernel, scales, demodulate=self.demodulate)
        y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return nn.leaky_relu(y, _SLOPE), scales


class Gift(nn.Module):
    """Transforms the foreground of a feature map under a code: (1 - m) x + m T(x).

    T is a stack of modulated convolutions with one code.

    Attributes:
        num_convs: of the stack.
        residual: whether x is added to T(x).
        demodulate: see `ModulatedConv`.
        dtype: of the convolutions.
    """

    num_convs: int = 2
    residual: bool = False
    demodulate: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Array, mask: Array, code: Array | None
    ) -> tuple[Array, tuple[Array, ...]]:
        """Transforms the foreground of a feature map; the background stays as it is, bit for bit.

        Args:
            x: f[b,h,w,c].
            mask: f32[b,h,w,1] in [0,1].
            code: f32[b,n], or None for convolutions without modulation.

        Returns:
            f[b,h,w,c], and the scales f32[b,c] of each convolution.
        """
        y, scales = x, []
        for i in range(1, self.num_convs + 1):
            layer = ModulatedConv(x.shape[-1], self.demodulate, self.dtype, name=f"conv{i}")
            y, used = layer(y, code)
            scales.append(used)
        if self.residual:
            y = y + x
        # The mask at this level's size is soft at its edge, so both parts mix there.
        soft = mask.astype(x.dtype)
        return (1 - soft) * x + soft * y, tuple(scales)
