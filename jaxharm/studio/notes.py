"""Warnings of one request: what a reader understood otherwise than it is written."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_request = threading.local()


@contextmanager
def collected() -> Iterator[list[str]]:
    """The warnings that this thread raises inside, without repeats."""
    before = getattr(_request, "notes", None)
    _request.notes = []
    try:
        yield _request.notes
    finally:
        _request.notes = before


def show(message: object, *_: object, **__: object) -> None:
    """Keeps a warning for the request of its thread, or prints it; a `warnings.showwarning`."""
    notes, text = getattr(_request, "notes", None), str(message)
    if notes is None:
        print(f"warning: {text}", file=sys.stderr)
    elif text not in notes:
        notes.append(text)
