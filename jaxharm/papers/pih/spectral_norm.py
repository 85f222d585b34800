"""A convolution whose kernel, seen as a matrix, has a largest singular value of about 1.

One power iteration per training call keeps up with the kernel's change (Miyato et al., arXiv
1802.05957). Its two vectors are state in the collection "spectral". They depend on the weights
alone, not on the data, so that all devices agree without any exchange.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.init import uniform_fan_in
from jaxharm.ops.conv import convolve

_EPSILON = 1e-12


class SpectralConv(nn.Module):
    """Convolution without bias by kernel / norm.

    Attributes:
        features: output channels.
        kernel_size: side of the square kernel.
        stride: the same along both axes.
        padding: zero pixels on every side.
        dtype: of the arithmetic and the output; parameters and the norm are float32.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[b,h,w,c] -> f[b,h',w',features].

        In training the two vectors take one power iteration first; else they are used as stored.
        """
        k, c = self.kernel_size, x.shape[-1]
        shape = (k, k, c, self.features)
        kernel = self.param("kernel", uniform_fan_in(c * k * k), shape, jnp.float32)
        u = self.variable("spectral", "u", self._start, (self.features,))
        v = self.variable("spectral", "v", self._start, (k, k, c))
        if train and not self.is_initializing():
            u.value, v.value = power_iteration(jax.lax.stop_gradient(kernel), u.value)
        kernel = (kernel / spectral_norm(kernel, u.value, v.value)).astype(self.dtype)
        return convolve(x.astype(self.dtype), kernel, self.stride, ((self.padding,) * 2,) * 2)

    def _start(self, shape: tuple[int, ...]) -> Array:
        # Flat, then reshaped: see nn/init.py.
        draw = jax.random.normal(self.make_rng("params"), (math.prod(shape),), jnp.float32)
        return _unit(draw).reshape(shape)


def power_iteration(kernel: Array, u: Array) -> tuple[Array, Array]:
    """One iteration towards the first pair of singular vectors.

    Args:
        kernel: f32[kh,kw,c,o].
        u: f32[o].

    Returns:
        The new u f32[o] and v f32[kh,kw,c], of length 1: v = W^T u, then u = W v, where W is the
        o x (kh kw c) matrix of the kernel.  Source: docs/papers/pih.md, "Losses".
    """
    # Full precision: the default of TPUs (bfloat16) would make the norm, and every weight, jitter.
    highest = jax.lax.Precision.HIGHEST
    v = _unit(jnp.einsum("hwco,o->hwc", kernel, u, precision=highest))
    return _unit(jnp.einsum("hwco,hwc->o", kernel, v, precision=highest)), v


def spectral_norm(kernel: Array, u: Array, v: Array) -> Array:
    """u . W v, differentiable in the kernel; u and v are constants. Shapes as in `power_iteration`."""
    u, v = jax.lax.stop_gradient((u, v))
    return jnp.einsum("hwco,hwc,o->", kernel, v, u, precision=jax.lax.Precision.HIGHEST)


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(x))), _EPSILON)
