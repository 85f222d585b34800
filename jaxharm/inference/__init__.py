"""Arrays in, harmonized arrays out: any size, same dtype, background untouched."""

from jaxharm.inference.edit import Edit
from jaxharm.inference.harmonize import Harmonizer, harmonize, render
from jaxharm.inference.parameters import Parameters
from jaxharm.inference.restyle import Restyle

__all__ = ["Edit", "Harmonizer", "Parameters", "Restyle", "harmonize", "render"]
