"""Fixtures of the tests of data_pipelines."""

from pathlib import Path

import pytest
from support.fixtures_data import write_tree
from support.trees import LISTS


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A tree in iHarmony4 layout with the lists of `LISTS`."""
    return write_tree(tmp_path / "toy", LISTS)
