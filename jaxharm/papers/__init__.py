"""The published systems, one folder each.

A folder with an `entry.py` is registered when this package is imported; nothing else has to name
it. The entries are light: what they refer to is imported when it is asked for.
"""

import importlib
import pkgutil

from jaxharm.registry import register

for _room in pkgutil.iter_modules(__path__):
    for _entry in importlib.import_module(f"{__name__}.{_room.name}.entry").ENTRIES:
        register(_entry)
