"""User arrays -> checked arrays: dtypes, ranges, shapes, cut-outs, masks."""

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images.bit_depth import LEVELS, from_unit, to_unit
from jaxharm.images.masks import check_mask, check_size
from jaxharm.interfaces import Inputs


def check_inputs(
    composite: np.ndarray, mask: np.ndarray | None, background: np.ndarray | None
) -> Inputs:
    """Checks the arrays of a call and pastes a cut-out over its background.

    A composite with alpha and without a mask is a cut-out: its alpha is the mask, and it is
    blended over `background`, which is then required.

    Raises:
        InputError: wrong shape, dtype or range; sizes that differ; an empty mask.
    """
    composite = _check_image("composite", composite)
    size = composite.shape[:2]
    if background is not None:
        background = _check_image("background", background)[..., :3]
        check_size("background", background.shape, size)
        if background.dtype != composite.dtype:
            background = from_unit(to_unit(background), composite.dtype)
    color, alpha = composite[..., :3], (composite[..., 3:] if composite.shape[2] == 4 else None)
    if mask is not None:
        weights = check_mask(mask, size)
        return Inputs(color, alpha, weights, background)
    if alpha is None or background is None:
        raise InputError(
            "no mask given; without one the composite must be a cut-out with alpha (RGBA) and a "
            "background of the same size"
        )
    weights = check_mask(alpha[..., 0], size)
    soft = weights[..., None]
    pasted = to_unit(color) * soft + to_unit(background) * (1 - soft)
    pasted = from_unit(pasted, composite.dtype)
    np.copyto(pasted, background, where=soft == 0)
    return Inputs(pasted, None, weights, background)


def with_alpha(result: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Puts the composite's alpha back on results [h,w,3] or [n,h,w,3], where it has one."""
    if inputs.alpha is None:
        return result
    alpha = np.broadcast_to(inputs.alpha, (*result.shape[:-1], 1))
    return np.concatenate([result, alpha], axis=-1)


def _check_image(name: str, image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] not in (3, 4) or 0 in image.shape:
        raise InputError(f"the {name} has shape {list(image.shape)}, not [h,w,3] or [h,w,4]")
    if image.dtype.name in LEVELS:
        return image
    if image.dtype.kind != "f":
        raise InputError(f"the {name} is {image.dtype}; give uint8, uint16 or float in [0,1]")
    if not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"the {name} spans {image.min():g} to {image.max():g}; float images lie in [0,1]"
        )
    return image
