"""Reference values: those that travel with the tests, and the folder of those that do not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parents[1]


def load_golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of tests/golden/<name>.npz."""
    with np.load(TESTS / "golden" / f"{name}.npz") as file:
        return dict(file)


def load_layout(paper: str) -> Any:
    """Names and shapes of the official tensors of a paper: tests/papers/<paper>/layout.json."""
    return json.loads((TESTS / "papers" / paper / "layout.json").read_text())


def shared_folder(environment: Mapping[str, str], checkout: Path) -> Path | None:
    """Where the goldens made from photographs lie: JAXHARM_SHARED, or `shared` beside the checkout.

    A setting that leads nowhere is an error: skipped tests would hide the mistake.
    """
    setting = environment.get("JAXHARM_SHARED") or None
    folder = Path(setting) if setting is not None else checkout.parent / "shared"
    if (folder / "golden").is_dir():
        return folder
    if setting is not None:
        raise pytest.UsageError(
            f"JAXHARM_SHARED is {setting!r}, which has no folder `golden` in it: correct it, or "
            "unset it to skip the tests that need it"
        )
    return None
