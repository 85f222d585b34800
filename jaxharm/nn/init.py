"""Weight initializers of the official (PyTorch) implementations.

Values are drawn flat and reshaped: the numbers are the same, and XLA compiles the generator for CPU
about five times faster than for four axes, which is most of a model's start-up time.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array

Initializer = Callable[[Array, Sequence[int], Any], Array]


def uniform_fan_in(fan_in: int) -> Initializer:
    """U(-b, b) with b = 1/sqrt(fan_in): PyTorch's default for weights and biases of any layer."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        flat = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
        return flat.reshape(shape)

    return init


def he_normal_fan_out(kernel_size: int, features: int) -> Initializer:
    """N(0, 2/(k*k*features)): He initialization of a convolution by its outgoing connections."""
    std = math.sqrt(2.0 / (kernel_size * kernel_size * features))

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def he_normal() -> Initializer:
    """N(0, 2/fan_in), the fan counted with the kernel's area (specs/gknet 8)."""

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        std = math.sqrt(2.0 / math.prod(shape[:-1]))
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def xavier_uniform() -> Initializer:
    """U(-b, b) with b = sqrt(6/(fan_in + fan_out)) of a matrix (in,out) (specs/gknet 4)."""

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        bound = math.sqrt(6.0 / (shape[-2] + shape[-1]))
        flat = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
        return flat.reshape(shape)

    return init


def xavier_normal() -> Initializer:
    """N(0, 2/(fan_in + fan_out)), fans counted with the kernel's area (specs/giftnet 1.2)."""

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        area = math.prod(shape[:-2])
        std = math.sqrt(2.0 / (area * (shape[-2] + shape[-1])))
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def standard_normal(std: float = 1.0) -> Initializer:
    """N(0, std^2); 1: of layers that scale their weights when they use them (specs/giftnet 2.2)."""

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def normal_around(mean: float, std: float) -> Initializer:
    """N(mean, std^2)."""

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return mean + std * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init
