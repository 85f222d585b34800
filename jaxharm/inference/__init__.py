"""Arrays in, harmonized arrays out: any size, same dtype, background untouched."""

from jaxharm.inference.harmonize import Harmonizer, harmonize, render
from jaxharm.papers.pih.edit import Edit
from jaxharm.papers.pih.parameters import Parameters
from jaxharm.papers.propih.restyle import Restyle

__all__ = ["Edit", "Harmonizer", "Parameters", "Restyle", "harmonize", "render"]
