"""A background plate for images that have none: the foreground's place filled by diffusion."""

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Array

_GROW = 2  # pixels around the foreground whose colors are not trusted: halos of resizing
_OPAQUE = 0.1  # from this mask value on a pixel shows too much foreground to be kept


def fill_plate(composite: Array, mask: Array) -> Array:
    """Replaces the foreground by a smooth continuation of its surroundings.

    A pyramid of means of the known pixels is built down to one pixel; on the way back up, unknown
    pixels take the enlarged coarser level. Cost: a few passes over the image.

    Args:
        composite: f32[b,h,w,3] in [0,1].
        mask: f32[b,h,w,1] in [0,1], 1 = foreground.

    Returns:
        f32[b,h,w,3] in [0,1]. Exactly the composite where the mask is 0, the fill where it is 0.1
        or more, a mixture between; the composite's mean where every pixel is foreground.

    Source: ours (docs/papers/pih.md, "What we decided"): the paper inpaints by a network.
    """
    # Already a faint mask shows the object: its colors must not stay in the background.
    replaced = jnp.minimum(mask / _OPAQUE, 1.0)
    # A trace of weight everywhere: with nothing known, the pyramid ends in the plain mean.
    # The barrier keeps XLA from computing it anew inside each of its uses.
    known = jax.lax.optimization_barrier(jnp.maximum(1 - _grow(replaced), 1e-8))
    fill = _push_pull(composite, known)
    return composite + replaced * (fill - composite)


def _push_pull(image: Array, known: Array) -> Array:
    """Fills `image` where `known` (weight in [0,1]) is below 1."""
    height, width = image.shape[1:3]
    if height == width == 1:
        return image
    # Colors travel multiplied by their weight, so that unknown pixels do not enter a mean.
    weighted = _halve(jnp.concatenate([image * known, known], -1))
    weight = weighted[..., 3:]
    # The 1e-30 is for the cells of padding alone.
    coarse = weighted[..., :3] / jnp.maximum(weight, 1e-30)
    enlarged = _double(_push_pull(coarse, jnp.minimum(weight, 1.0)))[:, :height, :width]
    return enlarged + known * (image - enlarged)


def _grow(mask: Array) -> Array:
    """Maximum over a square neighborhood."""
    # One axis after the other: 2 x 5 shifted maxima instead of the 25 of the square.
    for axis in (1, 2):
        size = mask.shape[axis]
        padding = [(0, 0)] * 4
        padding[axis] = (_GROW, _GROW)
        padded = jnp.pad(mask, padding)
        for shift in range(2 * _GROW + 1):
            window = [slice(None)] * 4
            window[axis] = slice(shift, shift + size)
            mask = jnp.maximum(mask, padded[tuple(window)])
    return mask


def _halve(x: Array) -> Array:
    """Sums of 2x2 blocks; odd sides are padded with zeros."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
    x = x[:, 0::2] + x[:, 1::2]
    return x[:, :, 0::2] + x[:, :, 1::2]


def _double(x: Array) -> Array:
    """Bilinear enlargement by two, clamped at the border."""
    for axis in (1, 2):
        size = x.shape[axis]
        first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, size - 1))
        padded = jnp.concatenate([first, x, last], axis)
        before, after = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in (0, 2))
        # Pixel centers of the large image lie a quarter of a pixel off those of the small one.
        halves = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = halves.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x
