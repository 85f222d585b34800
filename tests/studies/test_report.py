"""The reports of a study: CSV files, the page, curves, strips and published figures."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from support.sets import batches, halfway, identity, images

from jaxharm.errors import InputError
from jaxharm.evaluation.evaluate import evaluate
from jaxharm.evaluation.images import SampleSaver
from jaxharm.evaluation.report import write_report
from jaxharm.studies import paired
from jaxharm.studies.ablation import Job, Run, Study
from jaxharm.studies.curves import _Scale, charts, interval, read_log
from jaxharm.studies.published import Published, published_table
from jaxharm.studies.report import write_reports
from jaxharm.studies.strips import strips

PUBLISHED = Published("a <paper>", "other data", "p", {"theirs": {"psnr": 39.534}})
RUNS = {"halfway": halfway, "same": halfway, "identity": identity}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three runs over two seeds, of which the second equals the first, and their reports."""
    folder = tmp_path_factory.mktemp("study")
    jobs = []
    for seed in (0, 1):
        for name, predict in RUNS.items():
            job = Job(Run(name, "c"), seed, folder / name / f"seed{seed}", (), {}, 1, (), 8)
            sample = SampleSaver(job.folder / "eval/kept", 9)
            found = evaluate(predict, batches(images(12), 4), "default_256", observers=[sample])
            write_report(found, job.folder / "eval", about={"data": "set test"})
            sample.write(found)
            steps = [{"step": s, "kind": "train", "loss": (seed + 1) / s} for s in (1, 5, 10)]
            steps.append({"step": 10, "kind": "eval", "All/fmse": 4.0, "All/count": 12})
            lines = "".join(json.dumps(step) + "\n" for step in steps)
            (job.folder / "metrics.jsonl").write_text(lines)
            jobs.append(job)
    study = Study(
        tuple(job.run for job in jobs[:3]), (0, 1), about="Only <toys>.", published=(PUBLISHED,)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "DRAWS", 200)
        write_reports(study, jobs, folder, planned=8)
    return folder, jobs


def rows_of(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def test_every_value_is_in_the_csv_file(folder):
    rows = rows_of(folder[0] / "results.csv")
    found = {(r["run"], r["seed"], r["metric"]): float(r["value"]) for r in rows}
    measured = json.loads((folder[0] / "halfway/seed1/eval/metrics.json").read_text())
    assert found["halfway", "1", "fmse"] == measured["All"]["fmse"]
    assert found["composite", "", "psnr"] == measured["baseline"]["All"]["psnr"]
    assert found["identity", "0", "mse"] == pytest.approx(found["composite", "", "mse"])
    assert len(found) == len(rows)


def test_a_run_that_equals_the_reference_differs_by_exactly_zero(folder):
    rows = {(r["run"], r["metric"]): r for r in rows_of(folder[0] / "paired.csv")}
    same = rows["same", "fmse"]
    assert [float(same[key]) for key in ("difference", "low", "high")] == [0, 0, 0]
    assert (float(same["better"]), float(same["p"])) == (0.5, 1.0)
    assert (same["equal"], same["needed"]) == ("True", "")
    assert rows["identity", "fmse"]["equal"] == "False"
    assert float(rows["identity", "fmse"]["better"]) == 0
    table = (folder[0] / "table.md").read_text()
    assert "| same | fMSE | 2 | equal |" in table


def test_the_page_is_self_contained_and_escaped(folder):
    text = (folder[0] / "report.html").read_text()
    assert "Only &lt;toys&gt;." in text
    assert "a &lt;paper&gt;" in text
    assert "39.53" in text
    assert "6 of 8" in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert text.count("<polyline") == 3  # the loss of three runs; one evaluation is no curve
    assert ">equal</td>" in text
    assert "http" not in text


def test_published_figures_stand_apart(folder):
    table = (folder[0] / "table.md").read_text()
    ours, theirs = table.split("\nPublished, a <paper>: measured on other data, protocol p.")
    assert "39.53" not in ours
    assert "| theirs | 39.53 |" in theirs
    assert published_table(()) == ""
    with pytest.raises(InputError, match=r"no metric is called 'pnsr'; did you mean psnr"):
        dataclasses.replace(PUBLISHED, rows={"theirs": {"pnsr": 1.0}})


def test_strips_show_the_images_with_the_largest_differences(folder):
    _, jobs = folder
    found = strips(jobs, "fmse", 1)
    values = {}
    for job in jobs[:3]:
        of = paired.read_images(job.folder / "eval/per_image.csv", "fmse")
        values[job.run.name] = of
    kept = {f"{f.parent.name}/{f.name.split('.')[0]}" for f in jobs[0].folder.rglob("*.webp")}
    assert len(kept) == 9
    spread = {image: values["identity"][image] - values["halfway"][image] for image in kept}
    assert [strip.image for strip in found] == sorted(kept, key=spread.get, reverse=True)[:6]
    labels = [picture.label for picture in found[0].pictures]
    assert labels == ["composite", "real", "halfway", "same", "identity"]
    assert found[0].pictures[-1].value == f"{values['identity'][found[0].image]:.1f}"
    assert strips(jobs[:1], "fmse", 1) == []


def test_the_kept_sample_is_the_same_for_every_order_and_model(tmp_path):
    records = images(30)
    for name, order, predict in (("a", records, halfway), ("b", records[::-1], identity)):
        sample = SampleSaver(tmp_path / name, 5)
        found = evaluate(predict, batches(order, 4), "default_256", observers=[sample])
        sample.write(found)
    files = [sorted(str(f.relative_to(tmp_path / n)) for f in (tmp_path / n).rglob("*.webp")) for n in "ab"]  # fmt: skip
    assert files[0] == files[1]
    assert len(files[0]) == 15


def test_a_resumed_log_counts_each_step_once(tmp_path):
    rows = [
        {"step": 1, "kind": "train", "loss": 3.0, "lr": 1.0, "loss_share": 1.0},
        {"step": 2, "kind": "train", "loss": float("nan")},
        {"step": 2, "kind": "train", "loss": 2.0},
        {"step": 2, "kind": "eval", "All/psnr": 30.0, "s/psnr": 29.0},
    ]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_log(file) == {"loss": {1: 3.0, 2: 2.0}, "All/psnr": {2: 30.0}}


def test_curves_are_drawn_where_all_runs_have_them():
    one = {"loss": {1: 4.0, 2: 1.0}, "own_loss": {1: 1.0, 2: 1.0}, "All/psnr": {1: 20.0, 2: 30.0}}
    two = {"loss": {1: 400.0, 2: 1.0}, "All/psnr": {1: 20.0, 2: 31.0}}
    drawn = charts({"a": [one, one], "b": [two]}, {"psnr": "PSNR", "fmse": "fMSE"})
    assert [(c.title, c.logarithmic) for c in drawn] == [
        ("loss", True),
        ("PSNR, evaluation", False),
    ]
    assert drawn[0].svg.count("<polygon") == 1  # a band needs two seeds
    numbers = [float(n) for n in re.findall(r"[ \"](-?[\d.]+),", drawn[0].svg)]
    assert min(numbers) >= 0
    assert max(numbers) <= 420


def test_scales_meet_their_ends_and_have_round_ticks():
    linear = _Scale(0.0, 1.3, 10, 110)
    assert (linear(0.0), linear(1.3)) == (10, 110)
    assert linear.ticks() == [0.0, 0.5, 1.0]
    log = _Scale(1.0, 1000.0, 0, 30, logarithmic=True)
    assert log(10.0) == pytest.approx(10)
    assert all(1 <= tick <= 1000 for tick in log.ticks())
    flat = _Scale(2.0, 2.0, 0, 10)
    assert flat(2.0) == 5


def test_an_interval_at_zero_is_drawn_in_the_middle():
    text = interval(0.0, 0.0, 0.0, 1.0, better=None)
    assert 'cx="80.0"' in text
    assert "var(--good)" in interval(-2.0, -1.0, -0.5, 2.0, better=True)
    assert np.isfinite([float(n) for n in re.findall(r'="([\d.]+)"', text)]).all()
