"""The scripts that run official code beside ours, and the tables that they write.

The official side needs PyTorch and JAXHARM_OFFICIAL: the folder with the checkouts.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxharm import registry
from jaxharm.config import OptimConfig
from jaxharm.config_file import import_file
from jaxharm.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "docs" / "measured"
PAGES = {
    "against_official.py": ("README.md", "docs/guides/one_gpu.md"),
    "train_against_official.py": ("docs/guides/one_gpu.md",),
}
tables = import_file(ROOT / "benchmarks/official_tables.py")


@pytest.fixture
def scripts(monkeypatch):
    """The scripts as modules; they find each other as `python benchmarks/...` lets them."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    names = ("official_sides", "against_official", "train_against_official")
    return SimpleNamespace(**{name: import_file(ROOT / f"benchmarks/{name}.py") for name in names})


@pytest.mark.parametrize(
    ("name", "page"), [(name, page) for name, pages in PAGES.items() for page in pages]
)
def test_the_tables_show_what_was_measured(name, page):
    file = (MEASURED / name).with_suffix(".json")
    found = json.loads(file.read_text()) if file.exists() else None
    expected = tables.NOTHING if found is None else tables.TABLES[name](found)
    assert tables.shown_table(name, (ROOT / page).read_text()) == expected


def test_tables_show_both_sides_and_how_many_times_ours_is_faster():
    conditions = {
        "threads": 2,
        "processor": "chip",
        "steps": 30,
        "versions": {"jax": "1", "torch": "2"},
    }
    both = {"ours": 2.0, "official": 3.0}
    row = {"name": "net", "size": 64, "batch": 4, "remark": "a remark"}
    timed = {**row, "forward": both, "step": both, "memory": both}
    alone = {**timed, "name": "other", "step": {"ours": 2.0}}
    text = tables.speed_table({"conditions": conditions, "cases": [timed, alone]})
    assert "| `net`, 64x64, batch 1 and 4 (1) | 2.000 / 3.000 (1.50) | 2.00 / 3.00 (1.50) |" in text
    assert "(1) a remark." in text
    assert "other" not in text  # ours alone is no comparison
    curve = {
        **row,
        "optimizer": "sgd",
        "lr": 0.1,
        "difference": 2e-5,
        "curves": {"ours": [2.0, 1.0]},
    }
    text = tables.curve_table({"conditions": conditions, "cases": [curve]})
    assert "| `net`, 64x64, batch 4 | sgd, 0.1 | 2.0000, 1.0000 | 2.0e-05 | - | - |" in text


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(InputError, match=r"page.md has no lines <!-- against_official.py: start"):
        tables.write_table("against_official.py", {}, [page])


def small(case):
    """The case with a small network and small images."""
    config = case.config()
    config = dataclasses.replace(
        config,
        model=config.model.shrunk(),
        data=dataclasses.replace(config.data, image_size=64),
        optim=OptimConfig("sgd", case.sgd_rate, b1=0.0),
    )
    return dataclasses.replace(case, config=lambda: config, size=64, batch=2)


@pytest.mark.slow
def test_without_a_checkout_ours_is_measured_alone(scripts, capsys, tmp_path):
    cases = scripts.official_sides.known_cases().values()
    case = small(min(cases, key=lambda case: registry.get(case.name).parameters))
    row = scripts.against_official.measure(case, SimpleNamespace(repos=tmp_path, repeats=2))
    assert set(row["forward"]) == set(row["step"]) == {"ours"}
    assert min(row["forward"]["ours"], row["step"]["ours"]) > 0
    printed = capsys.readouterr().out
    assert f"{case.name}: ours alone: {tmp_path} has no checkout of it" in printed
    assert "ratio" not in printed


@pytest.fixture
def repos():
    pytest.importorskip("torch", reason="PyTorch is an optional extra")
    folder = os.environ.get("JAXHARM_OFFICIAL")
    if not folder:
        pytest.skip("JAXHARM_OFFICIAL does not name a folder with the official checkouts")
    return Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", import_file(ROOT / "benchmarks/official_sides.py").known_cases())
def test_both_sides_train_alike(scripts, repos, name):
    """Three steps of SGD from the same weights give the same losses, and the same images."""
    sides = scripts.official_sides
    case = sides.known_cases()[name]
    if case.draws:
        pytest.skip("dropout draws other numbers on either side")
    if case.checkout(repos) is None:
        pytest.skip(f"JAXHARM_OFFICIAL has no checkout of {case.repository}")
    make, size, count = case.small
    config = dataclasses.replace(make(), optim=OptimConfig("sgd", case.sgd_rate, b1=0.0))
    batch = sides.pictures(count, size)
    ours, peer = sides.Ours(config, batch), sides.official(case, repos, config)
    sides.share_weights(case, config, ours.variables(), peer)
    for _ in range(3):
        assert ours.step(batch) == pytest.approx(peer.step(batch), rel=1e-4)
    image = np.asarray(case.result(ours.forward(batch)))
    np.testing.assert_allclose(image, peer.forward(batch), atol=1e-3)
