"""A small tree in iHarmony4 layout, and the kinds of faults that are found in one."""

from pathlib import Path

import pytest

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.in_place import open_folder

LISTS = {
    "toy_train.txt": ["z_1_1.jpg", "b_2_1.jpg", "z_1_2.jpg", "a_x_1_10.jpg"],
    "toy_test.txt": ["t_1_1.jpg"],
}


def kinds_of(root: Path, **options) -> tuple[str, ...]:
    """The kinds of all faults for which a tree with a list `train` is refused."""
    with pytest.raises(DatasetValidationError) as error:
        open_folder(root, "train", **options)
    return error.value.kinds


def stems(names: list[str]) -> list[str]:
    """File names without their endings."""
    return [name.rsplit(".", 1)[0] for name in names]
