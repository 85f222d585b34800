"""Refuses data sets and options that do not fit each other, before any reader starts.

The range of a single option is checked where it is set, by `jaxharm.config`.
"""

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.samples.stream import RecordSource
from jaxharm.images.resize import IMAGE_MODES, MASK_MODES


def check_not_empty(source: RecordSource) -> None:
    """Refuses a source without records."""
    if not len(source):
        raise DatasetValidationError(f"{source!r} holds no record")


def check_has_photographs(source: RecordSource, option: str) -> None:
    """Refuses a painterly set where composites or photographs are needed.

    Args:
        source: not empty.
        option: the configuration's key for the paintings, which are missing.
    """
    if "real" not in source[0]:
        raise DatasetValidationError(
            f"{source!r} holds objects or paintings, no composites: name the paintings in {option}"
        )


def check_modes(image_resize: str, mask_resize: str) -> None:
    """Refuses unknown names of resize modes."""
    for mode, known in ((image_resize, IMAGE_MODES), (mask_resize, MASK_MODES)):
        if mode not in known:
            raise DatasetValidationError(f"unknown resize mode {mode!r}; one of {', '.join(known)}")
