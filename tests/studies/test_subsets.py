"""The table of a study by sub-dataset."""

from jaxharm.measures import Column
from jaxharm.studies.subsets import subset_table

COLUMNS = {"fmse": Column("fMSE", 2), "psnr": Column("PSNR", 1)}


def measured(*values: float, subsets: tuple[str, ...] = ("a", "b")) -> dict:
    """A metrics.json with an fMSE for each sub-dataset; the composite's is 100, its PSNR unknown."""
    names = (*subsets, "All")
    rows = {name: {"fmse": of, "psnr": 30.0} for name, of in zip(names, values, strict=True)}
    before = {name: {"fmse": 100.0, "psnr": None} for name in names}
    return {**rows, "baseline": before, "protocol": "p", "statement": {}}


def test_means_and_deviations_by_sub_dataset():
    one = {0: measured(10, 20, 15), 1: measured(14, 20, 17)}
    results = {"one": one, "two": {0: measured(1, 2, 3)}}
    lines = subset_table(("two", "one", "planned"), results, COLUMNS).splitlines()
    assert lines[-8:] == [
        "| sub-dataset | run | fMSE | PSNR |",
        "|---|---|---:|---:|",
        "| a | composite | 100.00 | - |",
        "| a | two | 1.00 | 30.0 |",
        "| a | one | 12.00 ± 2.83 | 30.0 ± 0.0 |",
        "| b | composite | 100.00 | - |",
        "| b | two | 2.00 | 30.0 |",
        "| b | one | 20.00 ± 0.00 | 30.0 ± 0.0 |",
    ]


def test_one_sub_dataset_needs_no_table():
    alone = {"one": {0: measured(10, 15, subsets=("a",))}}
    assert subset_table(("one",), alone, COLUMNS) == ""
    assert subset_table(("one",), {}, COLUMNS) == ""
