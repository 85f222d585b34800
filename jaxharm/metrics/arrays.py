"""Checks and scales the images that metrics compare, in NumPy or in jax.numpy.

With NumPy arrays everything is float64, for exact evaluation on the host. JAX arrays (also under
`jit`) keep their own floating type, at least float32.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Concatenate, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.errors import InputError
from jaxharm.metrics.protocols import Protocol, get_protocol

Images = np.ndarray | jax.Array
Shape = tuple[int, ...]
Options = ParamSpec("Options")
Result = TypeVar("Result")
GUARD = 1e-6  # the published codes' epsilon on mean squared errors and mask areas
FLOOR = 1e-10  # ours, on mean squared errors
_ROUNDING = 1e-4  # floats this far outside of [0,1] come from arithmetic
_BEYOND = 16.0  # a prediction this far from [0,1] is on another scale
_BLOCK = 256  # numbers that are summed at a time in float32


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
        prediction: [b,h,w,3] on the 0-255 scale, clipped and quantized by the protocol's rules.
        target: [b,h,w,3] on the 0-255 scale.
        weight: [b,h,w,1] foreground weights, binary or soft by the protocol's rule.
        protocol: the conventions.
    """

    xp: ModuleType
    prediction: Images
    target: Images
    weight: Images
    protocol: Protocol


def make_pair(prediction: Images, target: Images, mask: Images, protocol: str | Protocol) -> Pair:
    """Prepares a prediction for comparison: checks shapes, scales to 0-255, clips and quantizes.

    Args:
        prediction: float[b,h,w,3] in [0,1], or u8.
        target: float[b,h,w,3] in [0,1], or u8.
        mask: float[b,h,w,1] in [0,1], bool, or u8, whose 255 is 1 (zeros and ones alone are labels).
        protocol: a preset's name, or a `Protocol`.

    Raises:
        InputError (a ValueError): unknown protocol, other shapes, floats on the 0-255 scale (of
            NumPy arrays; those of JAX are not looked at), or a mask that a protocol with `strict_mask` refuses (under jit such a
            mask makes the metrics NaN instead).
    """
    protocol = get_protocol(protocol)
    _check_shapes(np.shape(prediction), np.shape(target), np.shape(mask))
    host = all(isinstance(x, np.ndarray) for x in (prediction, target, mask))
    xp = np if host else jnp
    # A prediction is clipped, so it may leave [0,1], but not for the 0-255 scale.
    _check_range("prediction", prediction, -_BEYOND, _BEYOND)
    _check_range("target", target, -_ROUNDING, 1 + _ROUNDING)
    prediction, target = (_to_255(xp, x) for x in (prediction, target))
    mask = _mask_weights(xp, mask).astype(prediction.dtype)
    if protocol.clip:
        prediction = xp.clip(prediction, 0.0, 255.0)
    prediction, target = _quantize(xp, prediction, target, protocol)
    if protocol.strict_mask:
        mask = _require_binary(xp, mask, protocol)
    weight = (mask > 0.5).astype(mask.dtype) if protocol.mask == "binary" else mask
    if protocol.strict_mask:  # keep the NaN mark of a refused traced mask
        weight = xp.where(xp.isnan(mask), mask, weight)
    return Pair(xp, prediction, target, weight, protocol)


def compiled(
    function: Callable[Concatenate[Pair, Options], Result], *, static: tuple[str, ...] = ()
) -> Callable[Concatenate[Pair, Options], Result]:
    """Runs a function of a `Pair` in NumPy, or as one compiled JAX function, as the pair's arrays are."""
    # The pair is a pytree, so one function serves both; NumPy pairs must not be traced, or their
    # float64 would become float32.
    jitted = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def call(pair: Pair, *args: Options.args, **kwargs: Options.kwargs) -> Result:
        if pair.xp is np:
            return function(pair, *args, **kwargs)
        return cast(Result, jitted(pair, *args, **kwargs))

    return call


def total(x: Images) -> Images:
    """Sum over all axes but the first: [b,...] -> [b]."""
    # Blocks, then blocks of blocks: the rounding error of one long float32 sum would show in the
    # metrics of large images.
    x = x.reshape(x.shape[0], -1)
    if isinstance(x, np.ndarray):
        return x.sum(axis=1)  # pairwise along a contiguous axis
    while x.shape[1] > _BLOCK:
        x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % _BLOCK)))
        x = x.reshape(x.shape[0], -1, _BLOCK).sum(axis=-1)
        # Without the barrier XLA joins the levels into one sum again.
        x = jax.lax.optimization_barrier(x)
    return x.sum(axis=1)


def weighted_mean(xp: ModuleType, x: Images, weight: Images) -> Images:
    """Mean of each image over pixels weighted by `weight`, and over channels; NaN without weight."""
    area = total(weight)
    # Two selects: a division by 0, even one that is not selected, would warn in NumPy.
    safe = xp.where(area > 0, area, 1.0)
    return xp.where(area > 0, total(x * weight) / (x.shape[-1] * safe), xp.nan)


def _check_shapes(prediction: Shape, target: Shape, mask: Shape) -> None:
    if len(prediction) != 4 or prediction[-1] != 3:
        raise InputError(f"prediction must be [b,h,w,3], not {list(prediction)}")
    if target != prediction:
        raise InputError(
            f"target {list(target)} must have the prediction's shape {list(prediction)}"
        )
    if mask != (*prediction[:3], 1):
        raise InputError(f"mask must be {[*prediction[:3], 1]}, not {list(mask)}")


def _to_255(xp: ModuleType, x: Images) -> Images:
    x = xp.asarray(x)
    floating = np.float64 if xp is np else jnp.promote_types(x.dtype, jnp.float32)
    if x.dtype == np.uint8:
        return x.astype(np.float64 if xp is np else jnp.float32)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"images must be floats in [0,1] or uint8, not {x.dtype}")
    return x.astype(floating) * 255.0


def _check_range(name: str, x: Images, low: float, high: float) -> None:
    # Arrays of JAX are not looked at: some are traced, and the others lie on a device.
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or not x.size:
        return
    least, most = float(x.min()), float(x.max())
    if least < low or most > high:  # false for NaN, which metrics pass on
        raise InputError(
            f"{name} spans {least:.9g} to {most:.9g}: float images lie in [0,1]; divide by 255, or "
            "give uint8"
        )


def _mask_weights(xp: ModuleType, mask: Images) -> Images:
    """The mask in [0,1]."""
    mask = xp.asarray(mask)
    if mask.dtype == np.uint8:
        labels = mask.max(initial=0) <= 1
        return xp.where(labels, mask, mask / np.float32(255))
    _check_range("mask", mask, -_ROUNDING, 1 + _ROUNDING)
    return xp.clip(mask, 0, 1) if jnp.issubdtype(mask.dtype, jnp.floating) else mask


def _quantize(
    xp: ModuleType, prediction: Images, target: Images, protocol: Protocol
) -> tuple[Images, Images]:
    if protocol.quantize == "round":
        return xp.round(prediction), target
    if protocol.quantize == "truncate":
        return xp.floor(prediction), target
    if protocol.quantize == "truncate_normalized":
        return _normalized(xp, prediction), _normalized(xp, target)
    return prediction, target


def _normalized(xp: ModuleType, x: Images) -> Images:
    """To [-1,1] and back, then truncated, as the published code does before it compares."""
    # Truncation makes the float32 rounding of each step visible, so the steps are kept as they are.
    y = (x.astype(np.float32) / np.float32(255.0) - np.float32(0.5)) / np.float32(0.5)
    y = (y + np.float32(1.0)) / np.float32(2.0) * np.float32(255.0)
    return xp.floor(y).astype(x.dtype)


def _require_binary(xp: ModuleType, mask: Images, protocol: Protocol) -> Images:
    binary = (mask == 0) | (mask == 1)
    # A traced value cannot be looked at, so the mask itself is marked.
    if isinstance(mask, jax.core.Tracer):
        return xp.where(binary, mask, xp.nan)
    if not bool(binary.all()):
        raise InputError(
            f"protocol {protocol.name} takes masks of 0 and 1 only; threshold the mask first"
        )
    return mask
