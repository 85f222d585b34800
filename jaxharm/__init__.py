"""Image harmonization in JAX: see README.md.

Importing this package is quick and touches no accelerator, network or file: every public name is
loaded when it is first used.

Units everywhere: images f32[b,h,w,3] in [0,1], sRGB-encoded; masks f32[b,h,w,1], 1 = foreground.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jaxharm import registry as _registry

if TYPE_CHECKING:  # for editors and type checkers, which do not look into `__getattr__`
    from jaxharm.errors import InputError as InputError
    from jaxharm.images.composing import Composite as Composite
    from jaxharm.images.composing import compose as compose
    from jaxharm.inference.harmonize import Harmonizer as Harmonizer
    from jaxharm.inference.harmonize import harmonize as harmonize
    from jaxharm.interfaces import Output as Output
    from jaxharm.registry import create_model as create_model
    from jaxharm.registry import list_models as list_models

__version__ = "0.1.0"

_ATTRIBUTES = {
    "Harmonizer": "jaxharm.inference.harmonize",
    "Composite": "jaxharm.images.composing",
    "InputError": "jaxharm.errors",
    "Output": "jaxharm.interfaces",
    "compose": "jaxharm.images.composing",
    "create_model": "jaxharm.registry",
    "harmonize": "jaxharm.inference.harmonize",
    "list_models": "jaxharm.registry",
}
_MODULES = ("convert", "metrics", "ops")

_registry.look_in(f"{__name__}.papers")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _ATTRIBUTES:
        return getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    if name == "__all__":
        return __dir__()
    if not name.startswith("_") and name in (offered := _offered_by_papers()):
        return offered[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["__version__", *_ATTRIBUTES, *_MODULES, *_offered_by_papers()])


def _offered_by_papers() -> dict[str, Callable[[], object]]:
    """Public names that the papers' rooms add, such as the classes of their options."""
    return {name: load for entry in _registry.entries() for name, load in entry.exports.items()}
