"""Images as numpy arrays: files, masks, color. Loads no JAX, so that data workers stay light."""

from jaxharm.images.codec import (
    ImageFile,
    check_output,
    encode_image,
    read_image,
    read_image_bytes,
    write_image,
)
from jaxharm.images.decoded import Tags
from jaxharm.images.files import read_file, write_whole
from jaxharm.images.masks import MaskChoice, read_mask, read_mask_bytes

__all__ = [
    "ImageFile",
    "MaskChoice",
    "Tags",
    "check_output",
    "encode_image",
    "read_file",
    "read_image",
    "read_image_bytes",
    "read_mask",
    "read_mask_bytes",
    "write_image",
    "write_whole",
]
