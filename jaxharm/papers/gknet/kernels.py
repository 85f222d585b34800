"""Harmony kernels of GKNet: their prediction, and the modulation of features with them.

Source: docs/papers/gknet.md, "Network" (Kernel Prediction Block, Selective Correlation Fusion,
modulation).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.conv import Conv
from jaxharm.nn.init import Initializer, he_normal
from jaxharm.ops.dynamic_filter import dynamic_filter
from jaxharm.papers.gknet.config import GKNetConfig

_EPSILON = 1e-6  # of the correlation's denominator


class KernelPredictionBlock(nn.Module):
    """Predicts a kernel per position and group: fusion, convolutions and a head.

    Attributes:
        config: options.
        level: of the decoder.
        dtype: of the convolutions.
    """

    config: GKNetConfig
    level: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, reference: Array, local: Array) -> tuple[Array, Array]:
        """Predicts the kernels from a global map f[b,h,w,*] and a local feature f[b,h,w,c].

        Returns:
            The feature f[b,h,w,c] that the next block continues from, and the kernels
            f[b,h,w,g,k,k].
        """
        config, width = self.config, self.config.channels[self.level]
        x = SelectiveCorrelationFusion(config, width, self.dtype, name="scf")(reference, local)
        for i in range(config.kpb_convs):
            x = nn.relu(conv(config, width, 3, self.dtype, f"conv{i}")(x))
        groups, size = config.groups(self.level), config.kernel_size
        zeros = nn.initializers.zeros
        # "delta" starts as the identity exactly (a head of zeros, 1 added to the center), "raw"
        # starts around it (a bias of 1 on the center), "softmax" around the mean of the taps.
        delta, raw = (config.kernel_param == name for name in ("delta", "raw"))
        head = Conv(
            groups * size * size,
            1,
            dtype=self.dtype,
            kernel_init=zeros if delta else he_normal(),
            bias_init=_center_bias(size) if raw else zeros,
            name="head",
        )
        return x, kernels_of(head(x), size, config.kernel_param)


class SelectiveCorrelationFusion(nn.Module):
    """Joins global and local features by a weight per channel, or by a plain fusion.

    Attributes:
        config: options.
        features: output channels.
        dtype: of the projections; descriptors and weights are float32.
    """

    config: GKNetConfig
    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, reference: Array, local: Array) -> Array:
        """f[b,h,w,*], f[b,h,w,*] -> f[b,h,w,features]. Sows "weights" f32[b,2,features]."""
        config, features = self.config, self.features
        g = conv(config, features, 1, self.dtype, "proj_g")(reference)
        local = conv(config, features, 1, self.dtype, "proj_l")(local)
        if config.scf_mode == "sum":
            return g + local
        if config.scf_mode == "concat":
            return conv(config, features, 1, self.dtype, "cat")(jnp.concatenate([g, local], -1))
        wide = [a.astype(jnp.float32) for a in (g, local)]
        # Selective kernels: one descriptor of both features decides, per channel, between them.
        descriptor = jnp.mean(wide[0] + wide[1], (1, 2))
        if config.scf_descriptor == "gap_corr":
            descriptor = jnp.concatenate([descriptor, correlation(*wide)], -1)
        hidden = max(features // config.scf_reduction, config.scf_min_dim)
        z = nn.relu(_dense(config, hidden, "fc")(descriptor))
        logits = [_dense(config, features, f"fc_{name}")(z) for name in "gl"]
        weights = jax.nn.softmax(jnp.stack(logits, 1), 1)
        self.sow("intermediates", "weights", weights)
        weight_g, weight_l = (weights[:, i, None, None].astype(self.dtype) for i in (0, 1))
        return weight_g * g + weight_l * local


def correlation(a: Array, b: Array) -> Array:
    """Normalized correlation over the positions: f32[b,h,w,c] twice -> f32[b,c] in [-1,1]."""
    a, b = (x - jnp.mean(x, (1, 2), keepdims=True) for x in (a, b))
    product = jnp.sum(jnp.square(a), (1, 2)) * jnp.sum(jnp.square(b), (1, 2))
    # Two selects, because the root has no gradient at 0, where a channel is constant.
    positive = product > 0
    length = jnp.where(positive, jnp.sqrt(jnp.where(positive, product, 1.0)), 0.0)
    return jnp.sum(a * b, (1, 2)) / (length + _EPSILON)


def kernels_of(raw: Array, size: int, param: str) -> Array:
    """Turns the head's output into kernels: f[b,h,w,g*k*k] (groups first) -> f[b,h,w,g,k,k].

    Args:
        raw: f[b,h,w,g*k*k].
        size: k.
        param: "raw": as it is; "delta": 1 is added to the center; "softmax": over the taps.
    """
    shape = (*raw.shape[:3], -1, size * size)
    kernels = raw.reshape(shape)
    if param == "delta":
        center = jnp.arange(size * size) == size * size // 2
        kernels = kernels + center.astype(raw.dtype).reshape(1, 1, 1, 1, -1)
    elif param == "softmax":
        # Float32: the weights of all taps must sum to one, or modulation would change brightness.
        kernels = jax.nn.softmax(kernels.astype(jnp.float32), -1).astype(raw.dtype)
    return kernels.reshape(*shape[:4], size, size)


def modulate(x: Array, kernels: Array, mask: Array, config: GKNetConfig) -> Array:
    """Filters a decoder feature with its predicted kernels (harmony kernel modulation).

    Args:
        x: f[b,h,w,c], a decoder feature.
        kernels: f[b,h,w,g,k,k].
        mask: f32[b,h,w,1], share of foreground.
        config: options.

    Returns:
        f[b,h,w,c].
    """
    y = dynamic_filter(x, kernels, dilation=config.mod_dilation, padding=config.mod_padding)
    if config.mod_residual:
        y = x + y
    if config.mod_fg_gate:
        gate = mask.astype(x.dtype)
        y = gate * y + (1 - gate) * x
    return y


def conv(
    config: GKNetConfig,
    features: int,
    size: int,
    dtype: DTypeLike,
    name: str,
    kernel_init: Initializer | None = None,
) -> Conv:
    """A convolution that keeps the size, with zero bias; He-normal by default."""
    return Conv(
        features,
        size,
        padding=size // 2,
        dtype=dtype,
        kernel_init=kernel_init or config.weights(he_normal()),
        bias_init=nn.initializers.zeros,
        name=name,
    )


def _dense(config: GKNetConfig, features: int, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=config.weights(he_normal()), name=name)


def _center_bias(size: int) -> Initializer:
    """A bias of 1 on the center tap of every group."""

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        del key
        taps = jnp.arange(shape[0]) % (size * size)
        return (taps == size * size // 2).astype(dtype)

    return init
