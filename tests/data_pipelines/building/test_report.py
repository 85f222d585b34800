"""The report: every kind once, with examples, counts and a remedy."""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.report import Report


def test_at_most_twenty_examples_are_shown_and_all_are_counted():
    report = Report("t")
    for i in range(25):
        report.error("missing_mask", f"m{i}.png")
    with pytest.raises(DatasetValidationError) as error:
        report.raise_errors()
    message = str(error.value)
    assert "missing_mask (25)" in message
    assert "m19.png" in message
    assert "m20.png" not in message
    assert "and 5 more" in message


def test_unknown_modes_are_refused(tmp_path: Path):
    with pytest.raises(DatasetValidationError, match="on_error"):
        Report("t", on_error="ignore")


def test_a_report_has_no_room_for_unknown_kinds():
    with pytest.raises(KeyError):
        Report("t").error("no such kind", np.str_("x"))
