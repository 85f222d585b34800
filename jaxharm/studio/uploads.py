"""Uploaded files -> pictures, within limits; nothing of them touches a disk."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.images import ImageFile, read_image_bytes, read_mask_bytes
from jaxharm.images.bit_depth import from_unit, to_unit
from jaxharm.images.composing import Placement
from jaxharm.images.decoded import Tags
from jaxharm.inference.harmonize import load_inputs, result_tags
from jaxharm.interfaces import Inputs
from jaxharm.studio.limits import Limits, TooLargeError


class Upload(NamedTuple):
    """A file as it came."""

    name: str
    data: bytes


class Scene(NamedTuple):
    """Checked pictures, and what a result says about itself."""

    inputs: Inputs
    tags: Tags


def upload_of(role: str, name: str | None, data: bytes) -> Upload:
    """An upload whose name is safe to show: the last part of what the client said, shortened."""
    shown = (name or role).replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in shown if c.isprintable())[:80] or role
    return Upload(shown, data)


def read_picture(upload: Upload, limits: Limits) -> ImageFile:
    """Decodes a picture; InputError where it is none, or above the limit."""
    _check_size(upload, limits)
    return read_image_bytes(upload.data, upload.name)


def read_mask_of(upload: Upload, composite: ImageFile, limits: Limits) -> np.ndarray:
    """Decodes a mask by the rules of `jaxharm.images.masks`."""
    _check_size(upload, limits)
    return read_mask_bytes(upload.data, upload.name, composite=composite)


def scene_of(
    composite: ImageFile,
    mask: np.ndarray | None,
    background: ImageFile | None,
    placement: Placement | None,
) -> Scene:
    """Checks pictures against each other; a cut-out is pasted on its background."""
    inputs = load_inputs(composite, mask, background, placement)
    return Scene(inputs, result_tags(composite, pasted_on=background if mask is None else None))


def _check_size(upload: Upload, limits: Limits) -> None:
    """Refuses a picture by the size that its header tells, before it is decoded."""
    if not upload.data:
        raise InputError(f"{upload.name} is empty")
    try:
        # Only the header is read. What Pillow cannot open is left to our readers, which say why.
        with Image.open(io.BytesIO(upload.data)) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise TooLargeError(_too_large(upload, "more", limits)) from None
    except Exception:  # the decoders' errors have no common type
        return
    if width * height > limits.megapixels * 1e6:
        raise TooLargeError(_too_large(upload, f"{width}x{height}", limits))


def _too_large(upload: Upload, size: str, limits: Limits) -> str:
    return (
        f"{upload.name} has {size} pixels, above the limit of {limits.megapixels:g} megapixels; "
        "make it smaller, or start the server with --max-megapixels"
    )


def with_depth(scene: Scene, bits: int) -> Scene:
    """The same scene in 8 or 16 bits."""
    if bits not in (8, 16):
        raise InputError(f"depth {bits} is not 8 or 16")
    dtype, inputs = np.dtype(np.uint8 if bits == 8 else np.uint16), scene.inputs
    if inputs.composite.dtype == dtype:
        return scene

    def converted(image: np.ndarray | None) -> np.ndarray | None:
        return None if image is None else from_unit(to_unit(image), dtype)

    composite = from_unit(to_unit(inputs.composite), dtype)
    changed = Inputs(
        composite,
        converted(inputs.alpha),
        inputs.mask,
        converted(inputs.background),
        inputs.space,
        converted(inputs.visible),
    )
    return Scene(changed, scene.tags)
