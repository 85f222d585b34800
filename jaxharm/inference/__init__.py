"""Arrays in, harmonized arrays out: any size, same dtype, background untouched."""

from jaxharm.inference.harmonize import Harmonizer, harmonize

__all__ = ["Harmonizer", "harmonize"]
