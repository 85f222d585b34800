"""Which files are clips, by their names."""

from pathlib import Path

# Suffix of a clip that is written -> its container, encoder, and the quality that is asked for.
WRITTEN: dict[str, tuple[str, str, dict[str, object]]] = {
    ".mp4": ("mp4", "libx264", {"crf": "16"}),
    ".mov": ("mov", "libx264", {"crf": "16"}),
    ".mkv": ("matroska", "libx264", {"crf": "16"}),
    ".webm": ("webm", "libvpx-vp9", {"crf": "18", "b:v": "0"}),
}
_READ = (*WRITTEN, ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv")


def is_clip(path: Path | None) -> bool:
    """Whether a file is a clip."""
    return path is not None and path.suffix.lower() in _READ
