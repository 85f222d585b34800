"""User arrays -> checked arrays: dtypes, ranges, shapes, cut-outs, masks; and their colors.

Networks see sRGB. Composite and background stay in the composite's own color space, and only the
pixels that change are converted there and back: what does not change keeps its bits.
"""

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import LEVELS, from_unit
from jaxharm.images.composing import Placement, check_image, paste
from jaxharm.images.masks import check_mask, check_size
from jaxharm.images.resize import shrink
from jaxharm.images.spaces import Space, converted, to_srgb
from jaxharm.interfaces import Inputs


def check_inputs(
    composite: np.ndarray,
    mask: np.ndarray | None,
    background: np.ndarray | None,
    *,
    space: Space | None = None,
    background_space: Space | None = None,
    placement: Placement | None = None,
) -> Inputs:
    """Checks the arrays of a call and pastes a cut-out over its background.

    A composite with alpha and without a mask is a cut-out: its alpha is the mask, and it is
    blended over `background`, which is then required and whose color space is that of the result.
    With a `placement` it may have another size than the background. Any other background is
    converted to the space of the composite.

    Raises:
        InputError: wrong shape, dtype or range; sizes that differ; an empty mask.
    """
    composite = check_image("composite", composite)
    size = composite.shape[:2]
    if background is not None:
        background = check_image("background", background)[..., :3]
        if placement is None and mask is None and background.shape[:2] != size:
            raise InputError(
                f"the background is {background.shape[1]}x{background.shape[0]} pixels and the "
                f"cut-out {size[1]}x{size[0]}: say where it lies by at and scale (--at X,Y --scale S)"
            )
        if placement is None:
            check_size("background", background.shape, size)
    if placement is not None and (mask is not None or composite.shape[2] != 4):
        raise InputError("at and scale place a cut-out: give one with alpha (RGBA), and no mask")
    color, alpha = composite[..., :3], (composite[..., 3:] if composite.shape[2] == 4 else None)
    if mask is not None:
        weights = check_mask(mask, size)
        plate = None if background is None else _as(background, background_space, color, space)
        visible = _visible(color, alpha, weights)
        if visible is not None:
            # Where the mask changes pixels, what alpha hides would show in soft edges.
            color = np.where((weights > 0)[..., None], visible, color)
        return Inputs(color, alpha, weights, plate, space, visible)
    if alpha is None or background is None:
        raise InputError(
            "no mask given; without one the composite must be a cut-out with alpha (RGBA) and a "
            "background"
        )
    pasted = paste(
        composite,
        background,
        placement or Placement(),
        space=space,
        background_space=background_space,
    )
    return Inputs(pasted.image, None, pasted.mask, pasted.background, background_space)


def seen_composite(inputs: Inputs, size: tuple[int, int] | None = None) -> np.ndarray:
    """The composite as a network sees it: sRGB f32[h,w,3] in [0,1], shrunk to `size` if given."""
    image = inputs.composite if inputs.visible is None else inputs.visible
    return _seen(image, inputs.space, size)


def seen_background(inputs: Inputs, size: tuple[int, int] | None = None) -> np.ndarray | None:
    """The background as a network sees it, or None; see `seen_composite`."""
    return None if inputs.background is None else _seen(inputs.background, inputs.space, size)


def recolored(pixels: np.ndarray, image: np.ndarray, space: Space | None) -> np.ndarray:
    """What `pixels` [...,3], in a color space, become where their color is now `image` (sRGB, f32)."""
    return from_unit(image, pixels.dtype) if space is None else space.changed(pixels, image)


def _seen(image: np.ndarray, space: Space | None, size: tuple[int, int] | None) -> np.ndarray:
    # Shrunk first: only the small picture is converted.
    return to_srgb(image if size is None else shrink(image, size), space)


def _as(
    pixels: np.ndarray, space: Space | None, like: np.ndarray, target: Space | None
) -> np.ndarray:
    """Pixels in the dtype of `like` and the color space `target`."""
    if space == target and pixels.dtype == like.dtype:
        return pixels
    return from_unit(converted(pixels, space, target), like.dtype)


def _visible(color: np.ndarray, alpha: np.ndarray | None, weights: np.ndarray) -> np.ndarray | None:
    """The composite with the mean of what can be seen where alpha is 0; None where it never is."""
    if alpha is None or alpha.all():
        return None
    seen = alpha[..., 0] > 0
    around = seen & (weights == 0)
    known = color[around if around.any() else seen]
    mean = known.mean(0, dtype=np.float64) if len(known) else np.zeros(3)
    fill = np.rint(mean) if color.dtype.name in LEVELS else mean
    return np.where(seen[..., None], color, fill.astype(color.dtype))


def with_alpha(result: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Puts the composite's alpha back on results [h,w,3] or [n,h,w,3], where it has one."""
    if inputs.alpha is None:
        return result
    alpha = np.broadcast_to(inputs.alpha, (*result.shape[:-1], 1))
    return np.concatenate([result, alpha], axis=-1)
