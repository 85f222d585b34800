"""The published systems, one folder each.

A folder with an `entry.py` is registered when this package is imported; nothing else has to name
it. The entries are light: what they refer to is imported when it is asked for.
"""

import importlib
import os

from jaxharm.registry import register

# pkgutil would find the same and import `inspect` to do so: half the time of `import jaxharm`.
for _room in sorted(entry.name for entry in os.scandir(__path__[0]) if entry.is_dir()):
    if os.path.isfile(f"{__path__[0]}/{_room}/entry.py"):
        for _entry in importlib.import_module(f"{__name__}.{_room}.entry").ENTRIES:
            register(_entry)
