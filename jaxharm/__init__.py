"""Image harmonization in JAX: see README.md.

Importing this package is quick and touches no accelerator, network or file: every public name is
loaded when it is first used.

Units everywhere: images f32[b,h,w,3] in [0,1], sRGB-encoded; masks f32[b,h,w,1], 1 = foreground.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxharm import papers as _papers  # noqa: F401 - registers every model, importing nothing heavy
from jaxharm import registry as _registry

if TYPE_CHECKING:  # for editors and type checkers, which do not look into `__getattr__`
    from jaxharm.errors import InputError
    from jaxharm.images.composing import Composite, compose
    from jaxharm.inference.harmonize import Harmonizer, harmonize
    from jaxharm.interfaces import Output
    from jaxharm.registry import create_model, list_models

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
# What the papers' rooms offer, such as the classes of their options.
_EXPORTS = {name: load for entry in _registry.entries() for name, load in entry.exports.items()}

__all__ = [
    "Composite",
    "Harmonizer",
    "InputError",
    "Output",
    "__version__",
    "compose",
    "convert",
    "create_model",
    "harmonize",
    "list_models",
    "metrics",
    "ops",
    *_EXPORTS,
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _ATTRIBUTES:
        return getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    if name in _EXPORTS:
        return _EXPORTS[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
