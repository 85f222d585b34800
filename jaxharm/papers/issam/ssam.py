"""Spatial-Separated Attention Module: three channel gates, mixed by a blurred mask.

Source: docs/papers/issam.md, "Network" (S2AM of arXiv 1907.06406 as iSSAM has it).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.conv import Conv
from jaxharm.nn.init import xavier_normal
from jaxharm.nn.norm import BatchNorm
from jaxharm.nn.pool import mean_and_max

_BLUR = 7  # side of the mask's blur
_SIGMA = 1.0
_REDUCTION, _NARROWEST = 16, 8  # of the gates' hidden layer


class SpatialSeparatedAttention(nn.Module):
    """Treats foreground and background by separate channel gates.

    out = m (L(x g_fg) + x g_mix) + (1 - m) x g_bg, with m the blurred mask, gates g(x) per channel
    and L two convolutions.

    Attributes:
        mid: channels between the two convolutions of L, as a share of the input's.
        random_blur: the blur starts as noise (the official defect).
        axis_name: of the batch statistics.
        dtype: of the arithmetic; gates are float32.
    """

    mid: float
    random_blur: bool = False
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, *, train: bool) -> Array:
        """f[b,h,w,c], mask f32[b,h,w,1] of the same size -> f[b,h,w,c]."""
        channels = x.shape[-1]
        soft = self._blurred(mask)
        self.sow("intermediates", "mask", soft)
        pooled = mean_and_max(x)
        # The gates see mean and maximum of all positions; the regions differ by the mask alone.
        gates = {name: self._gate(pooled, name) for name in ("background", "foreground", "mix")}
        gates = {name: gate[:, None, None].astype(x.dtype) for name, gate in gates.items()}
        learned = x * gates["foreground"]
        for i, features in enumerate((max(int(channels * self.mid), 1), channels)):
            conv = Conv(
                features,
                3,
                padding=1,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=xavier_normal(),
                name=f"conv{i}",
            )
            # The normalization's offset takes the place of a bias.
            learned = BatchNorm(axis_name=self.axis_name, name=f"bn{i}")(conv(learned), train=train)
            learned = nn.relu(learned)
        for name in ("background", "mix"):
            self.sow("intermediates", name, x * gates[name])
        self.sow("intermediates", "foreground", learned)
        soft = soft.astype(x.dtype)
        return soft * learned + x * (soft * gates["mix"] + (1 - soft) * gates["background"])

    def _gate(self, pooled: Array, name: str) -> Array:
        """f32[b,2c] -> f32[b,c] in (0,1)."""
        channels = pooled.shape[-1] // 2
        hidden = max(channels // _REDUCTION, _NARROWEST)
        for i, features in enumerate((hidden, channels)):
            dense = nn.Dense(features, kernel_init=xavier_normal(), name=f"{name}_gate{i}")
            pooled = dense(nn.relu(pooled) if i else pooled)
        return nn.sigmoid(pooled)

    def _blurred(self, mask: Array) -> Array:
        """The mask f32[b,h,w,1], blurred; outside the image it counts as 0."""
        # A variable, not a constant: official checkpoints hold their own blur. It is not trained.
        kernel = self.variable("buffers", "blur", self._initial_blur).value
        pad = _BLUR // 2
        # Zero padding, as released: near the image's border even a full mask falls off.
        return jax.lax.conv_general_dilated(
            mask,
            jax.lax.stop_gradient(kernel),
            (1, 1),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def _initial_blur(self) -> Array:
        shape = (_BLUR, _BLUR, 1, 1)
        if self.random_blur:
            return xavier_normal()(self.make_rng("params"), shape, jnp.float32)
        line = np.exp(-((np.arange(_BLUR) - _BLUR // 2) ** 2) / (2 * _SIGMA**2))
        kernel = np.outer(line, line)
        return jnp.asarray((kernel / math.fsum(kernel.ravel())).reshape(shape), jnp.float32)
