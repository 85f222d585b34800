"""What benchmarks/kernels.py runs: operations at shapes that the models use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxharm import ops

Arrays = Mapping[str, Any]
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Case:
    """An operation at one shape (b,h,w,c). `shapes` gives those of its arrays, `run` calls it."""

    op: str
    what: str
    shape: Shape
    shapes: Callable[[Shape], Mapping[str, tuple[int, ...]]]
    run: Callable[..., Any]

    def draw(self, shape: Shape) -> dict[str, np.ndarray]:
        """Its arrays at another shape: random numbers in [0,1)."""
        rng = np.random.default_rng(0)
        return {name: rng.random(s, np.float32) for name, s in self.shapes(shape).items()}


def _apply_curves(arrays: Arrays, **choice: Any) -> Any:
    return ops.apply_curves(**arrays, **choice)


def _dynamic_filter(arrays: Arrays, **choice: Any) -> Any:
    return ops.dynamic_filter(arrays["x"], arrays["kernels"], **choice)


def _masked_moments(arrays: Arrays, **choice: Any) -> Any:
    return ops.masked_moments(arrays["x"], arrays["mask"], **choice)


def _patch_norm(arrays: Arrays, **choice: Any) -> Any:
    rest = {name: value for name, value in arrays.items() if name not in ("x", "mask")}
    return ops.patch_norm(arrays["x"], arrays["mask"], rest, grid=_GRID, **choice)


def _masked_adain(arrays: Arrays, **choice: Any) -> Any:
    return ops.masked_adain(**arrays, **choice)


_GRID = 4
_VECTORS = ("fg_var", "fg_bias", "patched_fg_var", "patched_fg_bias", "bg_var", "bg_bias")


def _rendering(shape: Shape) -> dict[str, tuple[int, ...]]:
    b, h, w, _ = shape
    gray = (b, h, w, 1)
    return {**_curves(shape), "mask": gray, "shading": gray, "background": shape}


def _curves(shape: Shape) -> dict[str, tuple[int, ...]]:
    return {"image": shape, "curves": (shape[0], 3, 32)}


def _filter(shape: Shape) -> dict[str, tuple[int, ...]]:
    return {"x": shape, "kernels": (*shape, 3, 3)}


def _masked(shape: Shape) -> dict[str, tuple[int, ...]]:
    return {"x": shape, "mask": (*shape[:3], 1)}


def _normalized(shape: Shape) -> dict[str, tuple[int, ...]]:
    c = shape[3]
    params = {"weights": (2,), "grid_weights": (_GRID, _GRID, c), **dict.fromkeys(_VECTORS, (c,))}
    return {**_masked(shape), **params}


def _restyled(shape: Shape) -> dict[str, tuple[int, ...]]:
    return {"content": shape, "style": shape, "mask": (*shape[:3], 1)}


CASES = (
    Case("apply_curves", "rendering, 4K", (8, 2160, 3840, 3), _rendering, _apply_curves),
    Case("apply_curves", "rendering, 512", (16, 512, 512, 3), _rendering, _apply_curves),
    Case("apply_curves", "curves alone", (16, 512, 512, 3), _curves, _apply_curves),
    Case("dynamic_filter", "64 channels", (16, 128, 128, 64), _filter, _dynamic_filter),
    Case("dynamic_filter", "128 channels", (16, 64, 64, 128), _filter, _dynamic_filter),
    Case("dynamic_filter", "256 channels", (16, 32, 32, 256), _filter, _dynamic_filter),
    Case("patch_norm", "256 pixels", (16, 256, 256, 64), _normalized, _patch_norm),
    Case("patch_norm", "128 pixels", (16, 128, 128, 128), _normalized, _patch_norm),
    Case("masked_moments", "64 channels", (16, 256, 256, 64), _masked, _masked_moments),
    Case("masked_moments", "256 channels", (16, 64, 64, 256), _masked, _masked_moments),
    Case("masked_adain", "64 channels", (16, 256, 256, 64), _restyled, _masked_adain),
    Case("masked_adain", "128 channels", (16, 128, 128, 128), _restyled, _masked_adain),
)
