"""Writing of files that others may be reading, or writing too."""

import os
import socket
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes a text file so that nobody ever sees a part of it; makes its folder where absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own in the same folder: a file system renames in one step, and of two writers
    # the later one wins.
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
