"""The demo: made without a download, plausible composites, licenses and held-out part on record."""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.images import decode_mask, decode_rgb
from data_pipelines.datasets.demo import MAX_SIDE, PLAN, cut_out, frame
from data_pipelines.datasets.demo_photos import PHOTOS, DemoPhoto
from data_pipelines.reading import dataset_info, open_source
from data_pipelines.verify import verify


@pytest.mark.slow
def test_counts_licenses_and_what_was_held_out(demo_data_dir):
    info = dataset_info("demo", demo_data_dir)
    objects = sum(len(photo.objects) for photo in PHOTOS.values())
    assert info.splits == {split: objects * a * b for split, (a, b) in PLAN.items()}
    assert "not in train" in info.metadata["held_out"]
    assert all(photo.license in info.metadata["license"] for photo in PHOTOS.values())
    assert verify("demo", demo_data_dir) == []


@pytest.mark.slow
def test_no_framing_or_composite_of_test_is_in_train(demo_data_dir):
    seen = {}
    for split in PLAN:
        source = open_source("demo", demo_data_dir, split)
        records = [source[i] for i in range(len(source))]
        seen[split] = {record["real"] for record in records}, {r["composite"] for r in records}
        assert len(seen[split][1]) == len(records)
    for train, test in zip(seen["train"], seen["test"], strict=True):
        assert not train & test


@pytest.mark.slow
def test_composites_differ_from_the_photograph_inside_the_mask(demo_data_dir):
    source = open_source("demo", demo_data_dir, "test")
    inside, outside = [], []
    for i in range(0, len(source), 3):
        record = source[i]
        composite, real = (
            decode_rgb(Path(k), record[k]).astype(float) for k in ("composite", "real")
        )
        mask = decode_mask(Path("mask"), record["mask"]).pixels > 0
        assert max(real.shape[:2]) == MAX_SIDE
        error = ((composite - real) ** 2).mean(-1)
        inside.append(error[mask].mean())
        outside.append(error[~mask].mean())
    assert min(inside) > 60
    assert 300 < np.mean(inside) < 3000
    assert np.mean(outside) < 20  # JPEG blocks that touch the object


def test_an_object_is_cut_out_where_its_colors_end():
    photo = np.full((120, 160, 3), (40, 90, 60), np.uint8)
    photo += np.random.default_rng(0).integers(0, 12, photo.shape, np.uint8)
    truth = np.zeros((120, 160), bool)
    truth[30:90, 50:120] = True
    photo[truth] = photo[truth] // 2 + np.array([110, 30, 10], np.uint8)
    mask = cut_out(photo, ((44, 25), (124, 25), (124, 95), (44, 95)))
    assert (mask & truth).sum() / (mask | truth).sum() > 0.97


def test_a_framing_depends_on_the_generator_alone():
    photo = np.random.default_rng(1).integers(0, 256, (100, 150, 3), np.uint8)
    mask = np.zeros((100, 150), bool)
    mask[40:70, 60:100] = True
    first, second, other = (frame(photo, mask, np.random.default_rng(seed)) for seed in (5, 5, 6))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left, right)
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])
    assert 0.02 <= (first[1] == 255).mean() <= 0.75


def test_absent_packages_are_named():
    with pytest.raises(DatasetValidationError, match=r"a\.png of package no_such_package.*pip"):
        DemoPhoto("no_such_package", "a.png", "CC0", {}).path()
