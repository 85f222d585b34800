"""Weight initializers, with the distributions that PyTorch's layers use.

A "fan" is the number of connections of one unit: kernel height * width * channels.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxharm.interfaces import Array

# All of them draw a flat array and reshape it: the numbers are the same, and XLA compiles the
# generator for CPU about five times faster than for four axes, most of a model's start-up time.
Initializer = Callable[[Array, Sequence[int], DTypeLike], Array]


def uniform_fan_in(fan_in: int) -> Initializer:
    """Uniform in (-b, b) with b = 1/sqrt(fan_in): PyTorch's default for weights and biases."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        flat = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
        return flat.reshape(shape)

    return init


def he_normal_fan_out(kernel_size: int, features: int) -> Initializer:
    """Normal with variance 2/(k*k*features): He initialization by the outgoing connections."""
    std = math.sqrt(2.0 / (kernel_size * kernel_size * features))

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def he_normal() -> Initializer:
    """Normal with variance 2/fan_in: He initialization by the incoming connections."""

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        std = math.sqrt(2.0 / math.prod(shape[:-1]))
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def xavier_uniform() -> Initializer:
    """Uniform in (-b, b) with b = sqrt(6/(in + out)), for a matrix [in,out]."""

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        bound = math.sqrt(6.0 / (shape[-2] + shape[-1]))
        flat = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
        return flat.reshape(shape)

    return init


def xavier_normal() -> Initializer:
    """Normal with variance 2/(fan_in + fan_out)."""

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        area = math.prod(shape[:-2])
        std = math.sqrt(2.0 / (area * (shape[-2] + shape[-1])))
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def standard_normal(std: float = 1.0) -> Initializer:
    """Normal with mean 0. The default of 1 is for layers that scale their weights at every use."""

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def normal_around(mean: float, std: float) -> Initializer:
    """Normal around `mean`, such as a normalization's scale around 1."""

    def init(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        return mean + std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init
