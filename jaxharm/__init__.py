"""Image harmonization in JAX: see README.md.

Importing this package is quick and touches no accelerator, network or file: every public name is
loaded when it is first used.

Units everywhere: images f32[b,h,w,3] in [0,1], sRGB-encoded; masks f32[b,h,w,1], 1 = foreground.
"""

import importlib
from typing import Any

from jaxharm import papers as _papers  # noqa: F401 - registers every model, importing nothing heavy

__version__ = "0.1.0"

_ATTRIBUTES = {
    "Edit": "jaxharm.papers.pih.edit",
    "Harmonizer": "jaxharm.inference.harmonize",
    "InputError": "jaxharm.errors",
    "Output": "jaxharm.interfaces",
    "Parameters": "jaxharm.papers.pih.parameters",
    "Restyle": "jaxharm.papers.propih.restyle",
    "create_model": "jaxharm.registry",
    "harmonize": "jaxharm.inference.harmonize",
    "list_models": "jaxharm.registry",
    "render": "jaxharm.inference.harmonize",
}
_MODULES = ("convert", "metrics", "ops")

__all__ = [
    "Edit",
    "Harmonizer",
    "InputError",
    "Output",
    "Parameters",
    "Restyle",
    "__version__",
    "convert",
    "create_model",
    "harmonize",
    "list_models",
    "metrics",
    "ops",
    "render",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _ATTRIBUTES:
        return getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
