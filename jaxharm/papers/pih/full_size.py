"""A prediction's curves and shading applied at full size.

Everything here is point-wise (docs/papers/pih.md, "Inference"), so it runs over the foreground's box
only, in tiles that are padded to a few fixed sizes: one compilation serves every image size. Tiles
go to several threads, each with buffers of its own that are used again for every tile: fresh memory
for each would cost more than the arithmetic.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm.images.spaces import Space, to_srgb
from jaxharm.inference.pixels import recolored
from jaxharm.inference.tiles import enlarge_rows, foreground_box, row_tiles
from jaxharm.interfaces import Inputs
from jaxharm.papers.pih import model
from jaxharm.papers.pih.edit import Blend, Edit, blend_images
from jaxharm.papers.pih.parameters import Parameters

# Two sizes: a small picture does not pay for a large piece, and a large one needs few calls.
_PIECES = (1 << 14, 1 << 17)  # pixels per compiled rendering
_ROW = 1 << 7  # pieces are rendered as images of this width
_MOST_THREADS = 8


def render_full_size(
    inputs: Inputs, parameters: Parameters, strength: float = 1.0, edit: Edit | None = None
) -> np.ndarray:
    """Applies `parameters` at full size, by `jaxharm.papers.pih.model.render`, as `edit` says.

    Where no plate was given, the composite itself stands for the background. Pixels with mask 0
    are copied from the composite. The same arguments give the same bits.

    Returns:
        [h,w,3] in the composite's dtype.
    """
    edit = edit or Edit()
    composite, mask = inputs.composite, inputs.mask
    plate = composite if inputs.background is None else inputs.background
    shading = None if edit.parts == "curves" else parameters.shading
    if shading is not None:
        shading = np.asarray(edit.gain(jnp.asarray(shading)))
    weights = np.float32(strength) * np.asarray(edit.channels, np.float32)
    # `weights` is None where nothing is weighted: the plain rendering then stays one pass.
    run = partial(
        _render_arrays,
        (parameters.single_alpha or edit.single_alpha, edit.parts != "shading", edit.blend),
        curves=parameters.curves[None],
        weights=None if (weights == 1).all() else weights.reshape(1, 1, 1, 3),
    )
    # Pixels outside of the foreground's box are never touched again.
    result = composite.copy()
    rows, columns = foreground_box(mask)

    def work(tiles: list[slice]) -> None:
        buffers = _Buffers()
        for tile in tiles:
            part = (tile, columns)
            gain = None if shading is None else enlarge_rows(shading, mask.shape, tile)[:, columns]
            images = composite[part], mask[part], plate[part], gain
            if inputs.space is None:
                _render_tile(run, buffers, images, result[part])
            else:
                _render_in_space(run, buffers, images, result[part], inputs.space)

    tiles = list(row_tiles(rows, columns.stop - columns.start, _PIECES[-1]))
    threads = min(len(tiles), _MOST_THREADS, os.cpu_count() or 1)
    if threads == 1:
        work(tiles)
        return result
    with ThreadPoolExecutor(threads) as pool:
        # `list` waits for the threads and raises their errors.
        list(pool.map(work, (tiles[start::threads] for start in range(threads))))
    return result


class _Buffers:
    """Arrays by name, shape and dtype, kept from tile to tile."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, int, int, np.dtype], np.ndarray] = {}

    def fill(self, name: str, values: np.ndarray, piece: int) -> np.ndarray:
        """A copy of `values` [h,w] or [h,w,c] as [1,r,_ROW,c]; what lies beyond it is old."""
        # What an earlier tile left beyond `count` is computed as well, but never read.
        channels = values.shape[2] if values.ndim == 3 else 1
        # Integers go to the device as they are: fewer bytes than in float32.
        dtype = np.dtype(np.float32) if values.dtype.kind == "f" else values.dtype
        key = (name, piece, channels, dtype)
        if key not in self._arrays:
            self._arrays[key] = np.zeros((piece, channels), dtype)
        count = values.shape[0] * values.shape[1]
        view = self._arrays[key][:count].reshape(values.shape)
        np.copyto(view, values, casting="same_kind")
        return self._arrays[key].reshape(1, -1, _ROW, channels)


def _render_tile(
    run: Callable[..., jax.Array],
    buffers: _Buffers,
    images: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None],
    result: np.ndarray,
) -> None:
    """Renders one tile of composite, mask, plate and gain into `result`, a view [h,w,3]."""
    count = result.shape[0] * result.shape[1]
    # A single row wider than the largest piece has a size, and a compilation, of its own.
    piece = next((size for size in _PIECES if size >= count), -(-count // _ROW) * _ROW)
    names = ("composite", "mask", "plate", "shading")
    arrays = {
        name: None if values is None else buffers.fill(name, values, piece)
        for name, values in zip(names, images, strict=True)
    }
    pixels = np.asarray(run(**arrays)).reshape(-1, 3)[:count].reshape(result.shape)
    if pixels.dtype == result.dtype:
        np.copyto(result, pixels)
    else:  # float16 and float64, whose untouched pixels must not go through float32
        np.copyto(result, pixels, where=images[1][..., None] > 0, casting="same_kind")


def _render_in_space(
    run: Callable[..., jax.Array],
    buffers: _Buffers,
    images: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None],
    result: np.ndarray,
    space: Space,
) -> None:
    """As `_render_tile`, for pixels of another color space, which are rendered in sRGB."""
    composite, mask, plate, gain = images
    image = to_srgb(composite, space)
    # Where no plate was given it is the composite: one conversion serves both.
    behind = image if plate.base is composite.base else to_srgb(plate, space)
    rendered = np.empty_like(image)
    _render_tile(run, buffers, (image, mask, behind, gain), rendered)
    np.copyto(result, recolored(composite, rendered, space), where=mask[..., None] > 0)


@partial(jax.jit, static_argnums=0)
def _render_arrays(
    options: tuple[bool, bool, Blend],
    composite: jax.Array,
    curves: jax.Array,
    mask: jax.Array,
    plate: jax.Array,
    shading: jax.Array | None,
    weights: jax.Array | None,
) -> jax.Array:
    """One piece [1,r,_ROW,c] in the composite's dtype; where the mask is 0, the composite's bits."""
    single_alpha, with_curves, blend = options
    dtype = composite.dtype
    scale = jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.integer) else 1
    image, background = composite.astype(jnp.float32) / scale, plate.astype(jnp.float32) / scale
    full = model.render(
        image,
        curves if with_curves else None,
        mask,
        background,
        shading=shading,
        single_alpha=single_alpha,
    )
    if blend != "all":
        # A luminance outside of [0,1] would be reached by no color.
        full = blend_images(image, jnp.clip(full, 0.0, 1.0), blend)
    if weights is not None:
        full = image + weights * (full - image)
    result = jnp.clip(full, 0.0, 1.0) * scale
    result = result if scale == 1 else jnp.rint(result).astype(dtype)
    # Not left to arithmetic: a blend with weight 0 may still move a float's last bit.
    return jnp.where(mask > 0, result, composite)
