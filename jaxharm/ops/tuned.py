"""Which implementations were found best, by kind of device: a file that `jaxharm tune` writes.

It lies in the cache folder, one file per kind of device. It counts for the version of JAX that it was
measured with, since the next one may compile other programs.
"""

import json
import re
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax

from jaxharm.errors import InputError
from jaxharm.storage import cache_folder

_FORMAT = "jaxharm-tuned-1"
Rows = Mapping[str, Mapping[str, Any]]  # key of a call -> {"chosen": name, "trials": {...}}


def file_of(device_kind: str) -> Path:
    """Where the measurements of a kind of device are kept."""
    return cache_folder() / "tuned" / f"{re.sub(r'[^A-Za-z0-9]+', '_', device_kind)}.json"


def best(device_kind: str, key: str) -> str | None:
    """The implementation that was the best for a call; None where that was not measured."""
    row = read(device_kind).get(key)
    return None if row is None else str(row["chosen"])


@cache
def read(device_kind: str) -> Rows:
    """All measurements of a kind of device with this version of JAX; a damaged file is left out."""
    file = file_of(device_kind)
    try:
        record = json.loads(file.read_text())
        if record["format"] != _FORMAT or record["jax"] != jax.__version__:
            return {}
        return {
            str(key): {**row, "chosen": str(row["chosen"])} for key, row in record["rows"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        warnings.warn(
            f"{file} is not used, since it cannot be read ({error}); `jaxharm tune` writes it anew",
            stacklevel=2,
        )
        return {}


def add(device_kind: str, rows: Rows) -> Path:
    """Adds measurements to those of a kind of device; newer ones of a call replace older ones.

    Raises:
        InputError: the file cannot be written.
    """
    file = file_of(device_kind)
    record = {
        "format": _FORMAT,
        "device": device_kind,
        "jax": jax.__version__,
        "rows": {**read(device_kind), **rows},
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(record, indent=1) + "\n")
        partial.replace(file)
    except OSError as error:
        raise InputError(
            f"cannot write {file} ({error.strerror}); name another folder in JAXHARM_CACHE"
        ) from None
    read.cache_clear()
    return file
