"""Image files <-> arrays, without loss of bit depth, alpha or colour profile."""

from jaxharm.io.files import write_whole
from jaxharm.io.images import ImageFile, check_output, read_image, read_mask, write_image

__all__ = ["ImageFile", "check_output", "read_image", "read_mask", "write_image", "write_whole"]
