"""Training systems: a paper's networks, objectives and optimisers behind one interface."""

from jaxharm.systems.base import System, make_system

__all__ = ["System", "make_system"]
