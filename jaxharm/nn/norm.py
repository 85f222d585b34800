"""Normalisation layers with the numerics of the official (PyTorch) implementations."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.types import Array


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last; statistics and arithmetic in float32.

    Differs from flax's in two ways that official checkpoints and goldens show: the running
    variance is updated with the unbiased batch variance, and the variance is computed in two
    passes. With `axis_name` the statistics cover all devices of that axis (equal shards).

    Attributes:
        axis_name: mapped axis to reduce over in training, None for the local batch.
        momentum: share of the old running statistics (1 - the momentum of PyTorch).
        epsilon: added to the variance.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """f[..., c] -> the same shape and dtype."""
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (features,), jnp.float32)
        if train:
            mean, var, count = self._batch_statistics(x.astype(jnp.float32))
            if not self.is_initializing():
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
                running_var.value = (
                    self.momentum * running_var.value + (1 - self.momentum) * unbiased
                )
        else:
            mean, var = running_mean.value, running_var.value
        multiplier = scale * jax.lax.rsqrt(var + self.epsilon)
        offset = bias - mean * multiplier
        shape = (1,) * (x.ndim - 1) + (features,)
        # One multiply-add over the activation, the rest is per channel.
        y = x.astype(jnp.float32) * multiplier.reshape(shape) + offset.reshape(shape)
        return y.astype(x.dtype)

    def _batch_statistics(self, x: Array) -> tuple[Array, Array, int]:
        axes = tuple(range(x.ndim - 1))
        count = x.size // x.shape[-1]
        reduce = self.axis_name is not None and not self.is_initializing()
        mean = jnp.mean(x, axes)
        if reduce:
            mean = jax.lax.pmean(mean, self.axis_name)
            count *= jax.lax.psum(1, self.axis_name)
        var = jnp.mean(jnp.square(x - mean.reshape((1,) * len(axes) + (-1,))), axes)
        if reduce:
            var = jax.lax.pmean(var, self.axis_name)
        return mean, var, count


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def instance_norm(x: Array, epsilon: float = 1e-5) -> Array:
    """(x - mean) / sqrt(var + epsilon) per image and channel; biased variance in two passes.

    Has no parameters and no running statistics. Only x and two numbers per image and channel are
    kept for the gradient.

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
