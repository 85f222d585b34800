"""Every image counts once, whatever the batch size, devices or processes."""

import functools
import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from support import sets
from support.programs import xla_flags
from support.sets import batches, halfway, identity, images
from support.toy_system import ToySystem, toy_config

from jaxharm.errors import InputError
from jaxharm.evaluation.evaluate import evaluate
from jaxharm.evaluation.fitting import example_batch
from jaxharm.images.resize import resize_image, resize_mask
from jaxharm.interfaces import Output
from jaxharm.metrics import METRICS, measure
from jaxharm.training import parallel


def test_results_do_not_depend_on_batch_size_or_padding():
    records = images(7)
    results = [evaluate(halfway, batches(records, size), "default_256") for size in (1, 3, 7, 8)]
    for result in results[1:]:
        assert result.rows == results[0].rows
        assert result.summary == results[0].summary
    assert results[0].summary["All"]["count"] == 7


def test_rows_are_those_of_the_single_images_and_all_weights_by_size():
    records = images(8)
    result = evaluate(halfway, batches(records, 4), "default_256")
    rows = {row.composite_id: row for row in result.rows}
    for name, subset, composite, mask, target in records:
        expected = measure(composite[None], target[None], mask[None])
        assert rows[name].subset == subset
        assert rows[name].ratio == mask.mean()
        for metric in METRICS:
            assert rows[name].baseline[metric] == expected[metric][0]
        # Its darkened object is a global curve of the target, which undoes all but the rounding.
        assert rows[name].baseline["curve_fmse"] < 1 < rows[name].baseline["fmse"]
    summary = result.summary
    assert set(summary) == {"a", "b", "All"}
    for metric in METRICS:
        weighted = sum(summary[s]["count"] * summary[s][metric] for s in "ab") / 8
        assert summary["All"][metric] == pytest.approx(weighted, rel=1e-12)
    assert sum(b["count"] for b in summary["All"]["bins"].values()) == 8
    assert summary["All"]["fmse"] == pytest.approx(result.baseline["All"]["fmse"] / 16, rel=1e-4)
    assert (summary["All"]["improved"], summary["All"]["made_worse"]) == (1, 0)


def test_images_that_get_worse_are_counted():
    def predict(batch):
        """The error of image0 becomes four times as large, that of image1 2 % larger."""
        factor = np.array([{"image0": 2, "image1": 1.01}.get(i, 0) for i in batch.composite_id])
        composite, target = (x / np.float32(255) for x in (batch.composite, batch.target))
        return Output(target + factor[:, None, None, None] * (composite - target))

    result = evaluate(predict, batches(images(8), 3), "default_256")
    whole = result.summary["All"]
    assert (whole["improved"], whole["made_worse"]) == (6 / 8, 1 / 8)
    assert "made_worse" not in result.baseline["All"]
    assert sum(result.summary[s]["count"] * result.summary[s]["made_worse"] for s in "ab") == 1


def test_an_empty_mask_is_left_out_and_counted():
    records = images(3)
    records[1] = (*records[1][:3], np.zeros_like(records[1][3]), records[1][4])
    summary = evaluate(identity, batches(records, 2), "default_256").summary["All"]
    assert summary["count"] == 3
    undefined = {"fmse": 1, "fpsnr": 1, "fssim": 1, "fde00": 1, "curve_fmse": 1}
    assert summary["undefined"] == undefined
    defined = [evaluate(identity, batches([r], 1), "default_256") for r in (records[0], records[2])]
    mean = np.mean([e.summary["All"]["fmse"] for e in defined])
    assert summary["fmse"] == pytest.approx(mean, rel=1e-12)


def test_a_broken_prediction_names_the_image():
    def predict(batch):
        image = identity(batch).image
        image[batch.composite_id == "image4", 3, 3, 1] = np.inf
        return Output(image=image)

    with pytest.raises(InputError, match="'image4' holds NaN or infinite"):
        evaluate(predict, batches(images(6), 2), "default_256")


def test_a_repeated_image_and_an_empty_split_are_refused():
    with pytest.raises(InputError, match="'image1' of a came up twice"):
        evaluate(identity, batches([*images(3), images(2)[1]], 2), "default_256")
    with pytest.raises(InputError, match="no image"):
        evaluate(identity, iter([]), "default_256")


@pytest.mark.dist
def test_one_two_and_eight_devices_agree():
    system = ToySystem.from_config(toy_config(), total_steps=1)
    records = images(11)
    state = system.init(jax.random.key(0), example_batch("toy", system.config.model))
    results = []
    for count in (1, 2, 8):
        mesh = parallel.make_mesh(jax.devices()[:count])
        predict = functools.partial(
            parallel.make_predict(system, mesh), parallel.on_mesh(state, mesh)
        )
        run = evaluate(predict, batches(records, 4), "default_256")
        results.append(run.summary["All"])
    for metric in METRICS:
        values = [result[metric] for result in results]
        np.testing.assert_allclose(values[1:], values[0], rtol=1e-6, err_msg=metric)


def _two_processes(out, broken=""):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "XLA_FLAGS": xla_flags(1), "JAX_PLATFORMS": "cpu"}
    runs = [
        subprocess.Popen(
            [
                sys.executable,
                sets.__file__,
                str(port),
                str(i),
                str(out),
                broken,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for i in range(2)
    ]
    outcomes = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outcomes
    return [outcome[0] for outcome in outcomes]


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_give_the_numbers_of_one(tmp_path):
    _two_processes(tmp_path)
    alone = evaluate(halfway, batches(images(11), 4), "default_256")
    for process in range(2):
        told = json.loads((tmp_path / f"summary{process}.json").read_text())
        assert told == json.loads(json.dumps([alone.summary, alone.baseline]))
    page = (tmp_path / "gallery.html").read_text()
    assert page.count("data:image/webp") == 6 * 5


@pytest.mark.dist
@pytest.mark.slow
def test_a_broken_prediction_on_one_process_stops_both(tmp_path):
    for told in _two_processes(tmp_path, broken="image6"):
        assert "'image6' holds NaN" in told


@pytest.mark.slow
@pytest.mark.golden
def test_identity_on_the_validation_photographs(shared):
    root = shared / "data" / "minibsds"

    def read(folder, name, mode):
        return np.asarray(Image.open(root / folder / name).convert(mode))

    def record(name):
        stem = name.removesuffix(".jpg")
        mask = read("masks", stem.rsplit("_", 1)[0] + ".png", "L")
        pair = (
            read("composite_images", name, "RGB"),
            read("real_images", stem.split("_")[0] + ".jpg", "RGB"),
        )
        composite, real = (resize_image(x, (256, 256), "linear_noaa") for x in pair)
        return stem, "minibsds", composite, resize_mask(mask, (256, 256), "linear_binary"), real

    names = (root / "minibsds_val.txt").read_text().split()
    result = evaluate(identity, batches([record(name) for name in names], 16), "default_256")
    row = result.summary["All"]
    assert row["count"] == 99
    assert row["mse"] == pytest.approx(127.09, rel=0.005)
    assert row["fmse"] == pytest.approx(1123.90, rel=0.005)
    assert row["psnr"] == pytest.approx(29.56, abs=0.02)
    assert [row["bins"][b]["count"] for b in ("0-5", "5-15", "15-100")] == [24, 42, 33]
    assert row["bins"]["5-15"]["fmse"] == pytest.approx(1291.64, rel=0.005)
