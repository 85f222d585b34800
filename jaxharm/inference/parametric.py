"""Parametric models (PIH): predict curves and shading small, render them at full size.

Everything at full size is point-wise (specs/pih 7), so it runs over the foreground only, in
pieces of a few fixed sizes: one compilation serves every image size.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxharm.inference.pixels import Inputs, shrink
from jaxharm.inference.tiles import TILE_PIXELS, enlarge_rows, foreground_box, row_tiles
from jaxharm.models import pih
from jaxharm.nn.plate import fill_plate

_PIECES = (1 << 14, 1 << 17, TILE_PIXELS)  # pixels per compiled rendering
_ROW = 1 << 7  # pieces are rendered as images of this width


@dataclass(frozen=True)
class Parameters:
    """All that a parametric model says of an image: it can be kept, edited and rendered again.

    Attributes:
        curves: f32[3,k], knots per channel in [0,1].
        shading: f32[s,s], gain map in [0,1] that covers the whole image; None: no shading stage.
        single_alpha: how soft edges are blended (`PIHConfig.single_alpha`).
    """

    curves: np.ndarray
    shading: np.ndarray | None
    single_alpha: bool = False


@partial(jax.jit, static_argnums=0)
def predict_arrays(
    model: nn.Module, variables: Any, composite: Any, mask: Any, background: Any | None
) -> tuple[jax.Array, jax.Array]:
    """Curves [3,k] and shading [s,s] of f32[1,s,s,c] inputs; fills the plate where there is none."""
    if background is None:
        background = fill_plate(composite, mask)
    output: Any = model.apply(variables, composite, mask, background=background, train=False)
    return output.aux["curves"][0], output.aux["shading"][0, ..., 0]


def predict_parameters(model: nn.Module, variables: Any, inputs: Inputs, side: int) -> Parameters:
    """Runs the network on the image squashed to side x side."""
    size = (side, side)
    composite = shrink(inputs.composite, size)[None]
    mask = np.clip(shrink(inputs.mask, size), 0, 1)[None, ..., None]
    background = None if inputs.background is None else shrink(inputs.background, size)[None]
    curves, shading = predict_arrays(model, variables, composite, mask, background)
    config = model.config
    return Parameters(
        np.asarray(curves), np.asarray(shading) if config.masking else None, config.single_alpha
    )


def render(inputs: Inputs, parameters: Parameters, strength: float = 1.0) -> np.ndarray:
    """Applies `parameters` at full size, by `jaxharm.models.pih.render`.

    Where no plate was given, the composite itself stands for the background. Pixels with mask 0
    are copied from the composite.

    Returns:
        [h,w,3] in the composite's dtype.
    """
    composite, mask = inputs.composite, inputs.mask
    plate = composite if inputs.background is None else inputs.background
    result = composite.copy()
    rows, columns = foreground_box(mask)
    for tile in row_tiles(rows, columns.stop - columns.start):
        part = (tile, columns)
        shading = None
        if parameters.shading is not None:
            shading = enlarge_rows(parameters.shading, mask.shape, tile)[:, columns]
        pixels = _render_pixels(
            composite[part], mask[part], plate[part], shading, parameters, strength
        )
        np.copyto(result[part], pixels, where=mask[part][..., None] > 0)
    return result


def _render_pixels(
    composite: np.ndarray,
    mask: np.ndarray,
    plate: np.ndarray,
    shading: np.ndarray | None,
    parameters: Parameters,
    strength: float,
) -> np.ndarray:
    """One tile [h,w,c], its pixels padded to the next piece size and cut back."""
    count = mask.size
    piece = next((size for size in _PIECES if size >= count), -(-count // _ROW) * _ROW)

    def pad(values: np.ndarray) -> np.ndarray:
        values = values.reshape(count, -1)
        if values.dtype.kind == "f":
            values = values.astype(np.float32)
        return np.pad(values, ((0, piece - count), (0, 0))).reshape(1, -1, _ROW, values.shape[1])

    pixels = _render_arrays(
        parameters.single_alpha,
        pad(composite),
        parameters.curves[None],
        pad(mask),
        pad(plate),
        None if shading is None else pad(shading),
        np.float32(strength),
    )
    pixels = np.asarray(pixels).reshape(-1, 3)[:count]
    return pixels.reshape(composite.shape).astype(composite.dtype, copy=False)


@partial(jax.jit, static_argnums=0)
def _render_arrays(
    single_alpha: bool,
    composite: jax.Array,
    curves: jax.Array,
    mask: jax.Array,
    plate: jax.Array,
    shading: jax.Array | None,
    strength: jax.Array,
) -> jax.Array:
    """One piece [1,r,_ROW,c]; integer pixels in, the same integer type out."""
    dtype = composite.dtype
    scale = jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.integer) else None
    image, background = composite.astype(jnp.float32), plate.astype(jnp.float32)
    if scale is not None:
        image, background = image / scale, background / scale
    full = pih.render(image, curves, mask, background, shading=shading, single_alpha=single_alpha)
    result = jnp.clip(image + strength * (full - image), 0.0, 1.0)
    return result if scale is None else jnp.rint(result * scale).astype(dtype)
