"""3x3 convolutions whose border mirrors the image, at the size of the input or at twice that.

Reflection does not repeat the edge pixel. XLA's convolutions on CPU take four times as long without
any padding as with some (jax 0.10.2): there the mirrored image is convolved with a column of zeros
more, and the result's last column dropped, at no cost. Source: docs/papers/propih.md, "Network".
"""

import itertools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.init import uniform_fan_in
from jaxharm.ops.conv import conv2d
from jaxharm.ops.platforms import by_platform

_VALID = ((0, 0), (0, 0))
_EXTRA_COLUMN = ((0, 0), (0, 1))
_FULL = ((2, 2), (2, 2))


def reflect_conv3x3(kernel: Array, *inputs: Array) -> Array:
    """Convolves with one mirrored pixel on every side, without bias.

    Args:
        kernel: f[3,3,c,o].
        inputs: f[b,h,w,c_i] each, h and w at least 2; several count as concatenated.

    Returns:
        f[b,h,w,o].
    """
    return _reflect_conv(kernel, inputs)


@jax.custom_vjp
def _reflect_conv(kernel: Array, inputs: tuple[Array, ...]) -> Array:
    def quick(kernel: Array, inputs: tuple[Array, ...]) -> Array:
        return conv2d([_pad(x, "reflect") for x in inputs], kernel, 1, _EXTRA_COLUMN)[:, :, :-1]

    return by_platform(kernel, inputs, cpu=quick, default=_plain)


# What the backward pass needs: the kernel and the inputs.
Saved = tuple[Array, tuple[Array, ...]]


# The derivative is written by hand so that on CPU its input part is one padded convolution as well:
# of the gradient with all its borders, whose mirrored lines are then added back (`_fold`).
def _forward(kernel: Array, inputs: tuple[Array, ...]) -> tuple[Array, Saved]:
    return _reflect_conv(kernel, inputs), (kernel, inputs)


def _backward(saved: Saved, grad: Array) -> tuple[Array, tuple[Array, ...]]:
    kernel, inputs = saved
    d_kernel = jax.vjp(lambda k: _plain(k, inputs), kernel)[1](grad)[0]

    def plain(kernel: Array, grad: Array) -> tuple[Array, ...]:
        d_inputs: tuple[Array, ...] = jax.vjp(lambda x: _plain(kernel, x), inputs)[1](grad)[0]
        return d_inputs

    def quick(kernel: Array, grad: Array) -> tuple[Array, ...]:
        # The gradients of the inputs stand side by side, as the parts of the kernel do.
        whole = conv2d(grad, kernel[::-1, ::-1].swapaxes(2, 3), 1, _FULL)
        whole = _fold(_fold(whole, 1), 2)
        ends = list(itertools.accumulate(x.shape[-1] for x in inputs))
        return tuple(jnp.split(whole, ends[:-1], -1))

    return d_kernel, by_platform(kernel, grad, cpu=quick, default=plain)


_reflect_conv.defvjp(_forward, _backward)


def _plain(kernel: Array, inputs: tuple[Array, ...]) -> Array:
    return conv2d([_pad(x, "reflect") for x in inputs], kernel, 1, _VALID)


def _fold(grad: Array, axis: int) -> Array:
    """The gradient of mirroring one pixel at both ends of an axis."""
    size = grad.shape[axis] - 2
    ends = [lax.slice_in_dim(grad, i, i + 1, axis=axis) for i in (0, size + 1)]
    grad = lax.slice_in_dim(grad, 1, size + 1, axis=axis)
    for place, line in zip((1, size - 2), ends, strict=True):
        old = lax.slice_in_dim(grad, place, place + 1, axis=axis)
        grad = lax.dynamic_update_slice_in_dim(grad, old + line, place, axis)
    return grad


def nearest_conv3x3(kernel: Array, x: Array) -> Array:
    """Doubles `x` by repeating pixels, then convolves with one mirrored pixel on every side.

    On CPU the enlarged image is never made: of the nine taps of an output pixel four different
    input pixels are met, so that each of the four phases is a 2x2 convolution of `x` with sums of
    the kernel's taps. The mirrored border of the enlarged image is the repeated border of `x`.

    Args:
        kernel: f[3,3,c,o].
        x: f[b,h,w,c].

    Returns:
        f[b,2h,2w,o].
    """
    return by_platform(kernel, x, cpu=_by_phases, default=_by_enlarging)


def _by_enlarging(kernel: Array, x: Array) -> Array:
    return reflect_conv3x3(kernel, jnp.repeat(jnp.repeat(x, 2, 1), 2, 2))


def _by_phases(kernel: Array, x: Array) -> Array:
    b, h, w, c = x.shape
    o = kernel.shape[-1]
    phases = _phase_taps(_phase_taps(kernel, 0), 2)  # 2, 2 (rows), 2, 2 (columns), c, o
    # Row taps and row phases stand first, column taps and phases next: taps, taps, c, all phases.
    weights = phases.transpose(1, 3, 4, 0, 2, 5).reshape(2, 2, c, 4 * o)
    y = conv2d(_pad(x, "edge"), weights, 1, _VALID).reshape(b, h + 1, w + 1, 2, 2, o)
    # Phase 0 of row p reads rows p-1 and p of x, phase 1 rows p and p+1: it stands one further.
    rows = [jnp.stack([y[:, i : i + h, j : j + w, i, j] for j in (0, 1)], axis=3) for i in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, o)


def _phase_taps(kernel: Array, axis: int) -> Array:
    """Replaces an axis of three taps by (phase, tap): [k0, k1+k2] and [k0+k1, k2]."""
    first, second, third = jnp.split(kernel, 3, axis)
    even = jnp.concatenate([first, second + third], axis)
    odd = jnp.concatenate([first + second, third], axis)
    return jnp.stack([even, odd], axis)


def _pad(x: Array, mode: str) -> Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)


class ReflectConv(nn.Module):
    """3x3 convolution layer with a mirrored border; PyTorch's default initialization.

    Attributes:
        features: output channels.
        double: whether the input is first enlarged by repeating its pixels.
        dtype: of the arithmetic and the output; parameters are float32.
    """

    features: int
    double: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, *inputs: Array) -> Array:
        """f[b,h,w,c] -> f[b,h,w,features] (or twice the size); several inputs count as one."""
        channels = sum(x.shape[-1] for x in inputs)
        init = uniform_fan_in(9 * channels)
        kernel = self.param("kernel", init, (3, 3, channels, self.features), jnp.float32)
        bias = self.param("bias", init, (self.features,), jnp.float32).astype(self.dtype)
        kernel, arrays = kernel.astype(self.dtype), [x.astype(self.dtype) for x in inputs]
        y = nearest_conv3x3(kernel, *arrays) if self.double else reflect_conv3x3(kernel, *arrays)
        return y + bias.reshape(1, 1, 1, -1)
