"""The compared images on the 0-255 scale, in NumPy float64 or in jax.numpy (also under jit).

NumPy arrays in: NumPy float64 inside, for exact host evaluation. JAX arrays in: their own floating
type, at least float32, with sums in blocks so that large images lose no digits.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.errors import InputError
from jaxharm.metrics.protocols import Protocol, get_protocol

Images = Any  # np.ndarray or jax.Array
GUARD = 1e-6  # the published codes' epsilon on mean squared errors and mask areas
FLOOR = 1e-10  # ours, on mean squared errors
_BLOCK = 256


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["prediction", "target", "weight"],
    meta_fields=["xp", "protocol"],
)
@dataclass(frozen=True)
class Pair:
    """Prediction and real image, ready to be compared.

    Attributes:
        xp: numpy or jax.numpy.
        prediction: [b,h,w,3] on the 0-255 scale, clipped and quantized as the protocol says.
        target: [b,h,w,3] on the 0-255 scale.
        weight: [b,h,w,1] foreground weights, binary or soft as the protocol says.
        protocol: the conventions.
    """

    xp: Any
    prediction: Images
    target: Images
    weight: Images
    protocol: Protocol


def make_pair(prediction: Images, target: Images, mask: Images, protocol: str | Protocol) -> Pair:
    """Checks the shapes, scales to 0-255, clips and quantizes.

    Args:
        prediction: float[b,h,w,3] in [0,1], or u8.
        target: float[b,h,w,3] in [0,1], or u8.
        mask: float[b,h,w,1] in [0,1].
        protocol: a preset's name, or a `Protocol`.

    Raises:
        InputError (a ValueError): unknown protocol, other shapes, or a mask that a protocol with
            `strict_mask` refuses (under jit such a mask makes the metrics NaN instead).
    """
    protocol = get_protocol(protocol)
    _check_shapes(np.shape(prediction), np.shape(target), np.shape(mask))
    host = all(isinstance(x, np.ndarray) for x in (prediction, target, mask))
    xp = np if host else jnp
    prediction, target = (_to_255(xp, x) for x in (prediction, target))
    mask = xp.asarray(mask).astype(prediction.dtype)
    if protocol.clip:
        prediction = xp.clip(prediction, 0.0, 255.0)
    prediction, target = _quantize(xp, prediction, target, protocol)
    if protocol.strict_mask:
        mask = _require_binary(xp, mask, protocol)
    weight = (mask > 0.5).astype(mask.dtype) if protocol.mask == "binary" else mask
    if protocol.strict_mask:  # keep the NaN mark of a refused traced mask
        weight = xp.where(xp.isnan(mask), mask, weight)
    return Pair(xp, prediction, target, weight, protocol)


def compiled(function: Callable, *, static: tuple[str, ...] = ()) -> Callable:
    """Lets a function of a `Pair` run as NumPy, or as one compiled JAX function."""
    jitted = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def call(pair: Pair, *args: Any, **kwargs: Any) -> Any:
        return (function if pair.xp is np else jitted)(pair, *args, **kwargs)

    return call


def total(x: Images) -> Images:
    """Sum over all axes but the first, in blocks of blocks, [b,...] -> [b]."""
    x = x.reshape(x.shape[0], -1)
    if isinstance(x, np.ndarray):
        return x.sum(axis=1)  # pairwise along a contiguous axis
    while x.shape[1] > _BLOCK:
        x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % _BLOCK)))
        x = x.reshape(x.shape[0], -1, _BLOCK).sum(axis=-1)
        x = jax.lax.optimization_barrier(x)  # else the compiler joins the levels into one sum
    return x.sum(axis=1)


def weighted_mean(xp: Any, x: Images, weight: Images) -> Images:
    """sum(x w) / sum(w) per image, the mean over channels; NaN where the weights sum to 0."""
    area = total(weight)
    safe = xp.where(area > 0, area, 1.0)
    return xp.where(area > 0, total(x * weight) / (x.shape[-1] * safe), xp.nan)


def _check_shapes(prediction: tuple, target: tuple, mask: tuple) -> None:
    if len(prediction) != 4 or prediction[-1] != 3:
        raise InputError(f"prediction must be [b,h,w,3], not {list(prediction)}")
    if target != prediction:
        raise InputError(
            f"target {list(target)} must have the prediction's shape {list(prediction)}"
        )
    if mask != (*prediction[:3], 1):
        raise InputError(f"mask must be {[*prediction[:3], 1]}, not {list(mask)}")


def _to_255(xp: Any, x: Images) -> Images:
    x = xp.asarray(x)
    floating = np.float64 if xp is np else jnp.promote_types(x.dtype, jnp.float32)
    if x.dtype == np.uint8:
        return x.astype(np.float64 if xp is np else jnp.float32)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"images must be floats in [0,1] or uint8, not {x.dtype}")
    return x.astype(floating) * 255.0


def _quantize(xp: Any, prediction: Images, target: Images, protocol: Protocol) -> tuple:
    if protocol.quantize == "round":
        return xp.round(prediction), target
    if protocol.quantize == "truncate":
        return xp.floor(prediction), target
    if protocol.quantize == "truncate_normalized":
        return _normalized(xp, prediction), _normalized(xp, target)
    return prediction, target


def _normalized(xp: Any, x: Images) -> Images:
    # Truncation makes the float32 rounding of each step visible, so the steps are kept as they are.
    y = (x.astype(np.float32) / np.float32(255.0) - np.float32(0.5)) / np.float32(0.5)
    y = (y + np.float32(1.0)) / np.float32(2.0) * np.float32(255.0)
    return xp.floor(y).astype(x.dtype)


def _require_binary(xp: Any, mask: Images, protocol: Protocol) -> Images:
    binary = (mask == 0) | (mask == 1)
    if isinstance(mask, jax.core.Tracer):
        return xp.where(binary, mask, xp.nan)
    if not bool(binary.all()):
        raise InputError(
            f"protocol {protocol.name} takes masks of 0 and 1 only; threshold the mask first"
        )
    return mask
