"""Result files: their shape, that they name the protocol, and that undefined values show."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from support.sets import batches, halfway, images

from jaxharm.evaluation.evaluate import evaluate
from jaxharm.evaluation.images import ImageSaver
from jaxharm.evaluation.report import as_table, write_report

_ABOUT = {"model": "toy", "data": "memory"}


@pytest.fixture(scope="module")
def result():
    return evaluate(halfway, batches(images(5), 2), "issam_256")


def test_metrics_file(result, tmp_path):
    write_report(result, tmp_path / "new", about=_ABOUT)
    values = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert set(values) == {"a", "b", "All", "protocol", "baseline", "statement"}
    assert values["protocol"] == "issam_256"
    for row in (values["a"], values["All"], values["baseline"]["b"], values["baseline"]["All"]):
        assert {"mse", "fmse", "psnr", "fpsnr", "ssim", "fssim", "count", "bins"} <= set(row)
        assert set(row["bins"]) == {"0-5", "5-15", "15-100"}
    assert {"improved", "made_worse"} <= set(values["a"])
    assert values["All"]["mse"] == result.summary["All"]["mse"]
    statement = values["statement"]
    assert statement["resolution"] == "256x256"
    stated = {"image_resize", "mask_resize", "mask", "peak", "blend", "quantize", "undefined"}
    assert stated <= set(statement)
    assert statement["images"] == 5
    assert statement["versions"]["numpy"] == np.__version__
    assert statement["evaluated"] == _ABOUT


def test_table_shows_the_model_beside_the_composite_and_names_the_protocol(result):
    table = as_table(result, _ABOUT)
    assert "protocol: issam_256 (256x256, images linear_noaa" in table
    assert "PSNR peak real_max" in table
    assert f"| **All** | 5 | composite | {result.baseline['All']['fmse']:.2f} |" in table
    assert f"| | | **model** | {result.summary['All']['fmse']:.2f} |" in table
    assert f"| {_percent(result, 'improved')} | {_percent(result, 'made_worse')} |" in table
    widths = {line.count("|") for line in table.split("## By")[0].splitlines() if line[:1] == "|"}
    assert len(widths) == 1


def _percent(result, key):
    return f"{100 * result.summary['All'][key]:.1f} %"


def test_undefined_metrics_are_null_and_absent_from_the_table(tmp_path):
    result = evaluate(halfway, batches(images(2), 2), "dovenet_test_256")
    write_report(result, tmp_path)
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values["All"]["fmse"] is None
    assert values["statement"]["undefined"]["fmse"] == 2
    assert " fMSE " not in (tmp_path / "table.md").read_text().split("## By")[0].splitlines()[6]


def test_rows_file(result, tmp_path):
    write_report(result, tmp_path)
    with (tmp_path / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["composite_id"] for row in rows) == [f"image{i}" for i in range(5)]
    total = sum(float(row["fmse"]) for row in rows)
    assert total / 5 == pytest.approx(result.summary["All"]["fmse"], rel=1e-12)


def test_saved_images_have_stable_names_and_exact_pixels(tmp_path):
    records = [("nested/../x", *images(1)[0][1:])]
    evaluate(halfway, batches(records, 1), "default_256", observers=[ImageSaver(tmp_path)])
    (path,) = tmp_path.rglob("*.png")
    assert path.relative_to(tmp_path).as_posix() == "b/nested_.._x.png"
    expected = np.rint(halfway(next(batches(records, 1))).image[0] * 255)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
