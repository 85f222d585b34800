"""Batch and instance normalization with the numerics of PyTorch, in float32."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Array
from jaxharm.nn.init import Initializer


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last; statistics and arithmetic in float32.

    Differs from Flax's layer in two ways, as PyTorch's does: the running variance is updated with
    the unbiased batch variance, and the variance is computed in two passes. With `axis_name` the
    statistics cover all devices of that axis (equal shards).

    Attributes:
        axis_name: mapped axis to reduce over in training, None for the local batch.
        sync: if False, each device normalizes by its own batch, and only the running statistics
            are averaged over the axis, so that they stay the same everywhere.
        momentum: share of the old running statistics (1 - the momentum of PyTorch).
        epsilon: added to the variance.
        keep_running: whether there are running statistics; if not, `train` makes no difference.
        scale_init: of the scale.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    sync: bool = True
    keep_running: bool = True
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[..., c] -> the same shape and dtype."""
        features = x.shape[-1]
        scale = self.param("scale", self.scale_init, (features,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        # `init` runs outside of the mapped function, where the axis has no name.
        axis_name = None if self.is_initializing() else self.axis_name
        reduced = axis_name if self.sync else None
        if not self.keep_running:
            return _normalize_batch(x, scale, bias, reduced, self.epsilon)[0]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (features,), jnp.float32)
        if not train:
            multiplier = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            return _scale_and_shift(x, multiplier, bias - running_mean.value * multiplier)
        y, mean, var = _normalize_batch(x, scale, bias, reduced, self.epsilon)
        if not self.is_initializing():
            count = x.size // features
            if reduced is not None:
                count *= jax.lax.psum(1, reduced)
            elif axis_name is not None:
                # Local statistics differ by device, but the state must be the same on all.
                mean, var = jax.lax.pmean((mean, var), axis_name)
            unbiased = var * (count / max(count - 1, 1))
            for running, batch in ((running_mean, mean), (running_var, unbiased)):
                running.value = self.momentum * running.value + (1 - self.momentum) * batch
        return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalize_batch(
    x: Array, scale: Array, bias: Array, axis_name: str | None, epsilon: float
) -> tuple[Array, Array, Array]:
    """Output, mean and biased variance. The last two feed the running statistics, without gradient."""
    # Its own gradient, because that of autodiff keeps, and passes over, twice as much memory.
    return _normalize_batch_fwd(x, scale, bias, axis_name, epsilon)[0]


def _normalize_batch_fwd(
    x: Array, scale: Array, bias: Array, axis_name: str | None, epsilon: float
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    mean, var = _batch_moments(wide, axis_name)
    inverse = jax.lax.rsqrt(var + epsilon)
    multiplier = scale * inverse
    y = _scale_and_shift(x, multiplier, bias - mean * multiplier)
    return (y, mean, var), (x, scale, mean, inverse)


def _normalize_batch_bwd(
    axis_name: str | None,
    epsilon: float,
    residuals: tuple[Array, ...],
    grads: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array]:
    del epsilon  # is in the inverse
    x, scale, mean, inverse = residuals
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    wide, grad = x.astype(jnp.float32), grads[0].astype(jnp.float32)
    d_bias = jnp.sum(grad, axes)
    d_scale = jnp.sum(grad * (wide - _per_channel(mean, x)), axes) * inverse
    # Each device holds the gradient of the global loss times the number of devices, so that means
    # over devices are the sums over the global batch divided by its size.
    offset, slope = d_bias / count, d_scale / count
    if axis_name is not None:
        offset, slope = jax.lax.pmean((offset, slope), axis_name)
    # dx = scale/std (g - mean(g) - unit mean(g unit)), as one multiply-add of g and x.
    outer = scale * inverse
    inner = -outer * inverse * slope
    constant = -outer * offset - inner * mean
    d_x = grad * _per_channel(outer, x) + wide * _per_channel(inner, x) + _per_channel(constant, x)
    return d_x.astype(x.dtype), d_scale, d_bias


_normalize_batch.defvjp(_normalize_batch_fwd, _normalize_batch_bwd)


def _batch_moments(x: Array, axis_name: str | None) -> tuple[Array, Array]:
    """Mean and biased variance over all axes but the last, and over `axis_name` (equal shards)."""
    axes = tuple(range(x.ndim - 1))
    # Two passes: E[x^2] - E[x]^2 cancels in float32 where the mean is large.
    mean = jnp.mean(x, axes)
    var = jnp.mean(jnp.square(x - _per_channel(mean, x)), axes)
    if axis_name is None:
        return mean, var
    # One exchange. To center every device's squares by the common mean would take two, the second
    # waiting for the first; they are moved to it afterwards (Chan, Golub and LeVeque), which is
    # exact algebra. The price is 8 bytes per channel and device.
    means, variances = jax.lax.all_gather(jnp.stack((mean, var)), axis_name, axis=1)
    mean = jnp.mean(means, 0)
    return mean, jnp.mean(variances + jnp.square(means - mean[None]), 0)


def _scale_and_shift(x: Array, multiplier: Array, offset: Array) -> Array:
    """x * multiplier + offset per channel, in float32, returned in the dtype of x."""
    y = x.astype(jnp.float32) * _per_channel(multiplier, x) + _per_channel(offset, x)
    return y.astype(x.dtype)


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def instance_norm(x: Array, epsilon: float = 1e-5) -> Array:
    """Gives every channel of every image mean 0 and variance 1, without parameters.

    (x - mean) / sqrt(var + epsilon) with the biased variance. There are no running statistics.

    Args:
        x: f[b,h,w,c].
        epsilon: added to the variance.

    Returns:
        The same shape and dtype; the arithmetic is float32. A constant channel gives 0.
    """
    return _instance_norm_fwd(x, epsilon)[0]


def _instance_norm_fwd(x: Array, epsilon: float) -> tuple[Array, tuple[Array, Array, Array]]:
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, (1, 2), keepdims=True)
    var = jnp.mean(jnp.square(wide - mean), (1, 2), keepdims=True)
    inverse = jax.lax.rsqrt(var + epsilon)
    # Kept for the gradient: x in its own dtype, and two numbers per image and channel. Autodiff
    # would keep the centered float32 copy.
    return ((wide - mean) * inverse).astype(x.dtype), (x, mean, inverse)


def _instance_norm_bwd(
    epsilon: float, residuals: tuple[Array, Array, Array], grad: Array
) -> tuple[Array]:
    del epsilon  # is in the inverse
    x, mean, inverse = residuals
    unit = (x.astype(jnp.float32) - mean) * inverse
    wide = grad.astype(jnp.float32)
    offset = jnp.mean(wide, (1, 2), keepdims=True)
    slope = jnp.mean(wide * unit, (1, 2), keepdims=True)
    return (((wide - offset - unit * slope) * inverse).astype(x.dtype),)


instance_norm.defvjp(_instance_norm_fwd, _instance_norm_bwd)
