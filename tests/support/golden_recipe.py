"""Weights of the goldens: every tensor is redrawn from its official name and shape.

A golden's manifest lists the official state dict (name, torch shape, dtype) and the salt; the same
draws then give the weights that its outputs were computed with.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

# (name, shape, rng) -> the tensor (before the cast to float32), or None to use the common rules.
Override = Callable[[str, tuple[int, ...], np.random.Generator], np.ndarray | None]


def fill(
    name: str,
    shape: Sequence[int],
    dtype: str = "float32",
    *,
    salt: str = "",
    override: Override | None = None,
    gain: float = 1.0,
    multiply: Mapping[str, float] | None = None,
) -> np.ndarray:
    """One tensor of the recipe.

    Args:
        name: official (state dict) name; with `salt` it seeds the tensor's own generator.
        shape: torch layout (OIHW, out-in).
        dtype: integer tensors are zeros.
        salt: the manifest's salt.
        override: rules that come before the common ones.
        gain: numerator under the root of the rule for two and more axes, sqrt(gain/prod(shape[1:])).
        multiply: name -> factor applied before the cast.

    Returns:
        float32 array of `shape` (or an integer one of zeros).
    """
    shape = tuple(shape)
    if "int" in dtype or name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32((salt + name).encode())))
    value = override(name, shape, rng) if override else None
    if value is None:
        value = _common(name, shape, rng, gain)
    return np.asarray(value * (multiply or {}).get(name, 1.0), np.float32)


def fill_all(tensors: Iterable[Sequence], *, salt: str = "", **options) -> dict[str, np.ndarray]:
    """A state dict from a manifest's list of (name, shape[, dtype]); `options` as in `fill`."""
    return {
        str(entry[0]): fill(entry[0], entry[1], *entry[2:3], salt=salt, **options)
        for entry in tensors
    }


def _common(name: str, shape: tuple[int, ...], rng: np.random.Generator, gain: float) -> np.ndarray:
    if name.endswith("running_var"):
        return 0.5 + rng.random(shape)
    if name.endswith("running_mean"):
        return 0.1 * rng.standard_normal(shape)
    if len(shape) >= 2:
        return rng.standard_normal(shape) * math.sqrt(gain / math.prod(shape[1:]))
    if name.endswith("weight"):
        return 1 + 0.1 * rng.standard_normal(shape)
    return 0.1 * rng.standard_normal(shape)


def region_norm_override(
    name: str, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray | None:
    """Rules of networks that normalize by regions: normalization scales, mixing weights and patch weights of useful size."""
    last = name.rsplit(".", 1)[-1]
    if last in ("fg_var", "bg_var", "patched_fg_var"):
        return 0.8 + 0.1 * rng.standard_normal(shape)
    if last in ("fg_bias", "bg_bias", "patched_fg_bias"):
        return 0.1 * rng.standard_normal(shape)
    if last == "grid_weights" and len(shape) == 4:
        return (1 + 0.5 * rng.standard_normal(shape)) / (shape[2] * shape[3])
    if last in ("weights", "grid_weights") and len(shape) == 1:
        return 0.5 + 0.1 * rng.standard_normal(shape)
    return None


def style_override(
    name: str, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray | None:
    """Rules of networks with a blurred mask and style layers: a Gaussian blur; equalized layers of unit variance."""
    if name.endswith("mask_blurring.weight"):
        line = np.exp(-(np.arange(-3, 4) ** 2) / 2)
        kernel = np.outer(line, line)
        return (kernel / kernel.sum()).reshape(shape)
    if "gift_" in name and name.endswith(("style.weight", "kernel")):
        return rng.standard_normal(shape)
    if "gift_" in name and name.endswith("style.bias"):
        return 1 + 0.1 * rng.standard_normal(shape)
    return None
