"""Existing composites with their paintings as training data, and the labels of people."""

import dataclasses

import numpy as np
import pytest
from support.memory_source import MemorySource

from data_pipelines import loader
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.samples.label_file import read_labels
from jaxharm.config import AugmentConfig, DataConfig, PaintingsConfig

DATA = DataConfig(
    name="memory",
    batch_size=4,
    image_size=32,
    num_threads=1,
    augment=AugmentConfig(flip=0.0),
    paintings=PaintingsConfig(name="own"),
)


def take(data, count=3, *, sources=None, **options):
    sources = sources or [MemorySource(5, background=True)]
    with loader.train_batches_from(sources, data, **{"seed": 3, **options}) as batches:
        return [next(batches) for _ in range(count)]


@pytest.fixture
def labeled(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,stage\nmemory0_1_1,1\nmemory3_1_1,4\n")
    return dataclasses.replace(DATA, labels=str(path), label_classes=4)


def test_the_target_is_the_composite_and_the_rest_is_the_painting():
    for batch in take(DATA):
        assert batch.label is None
        np.testing.assert_array_equal(batch.target, batch.composite)
        outside = np.broadcast_to(batch.mask == 0, batch.composite.shape)
        np.testing.assert_array_equal(batch.composite[outside], batch.background[outside])


def test_only_labeled_composites_come_each_with_its_label(labeled):
    found = {}
    for batch in take(labeled, 6):
        assert batch.label.dtype == np.int32
        for number, label in zip(batch.background[:, 0, 0, 2], batch.label, strict=True):
            found.setdefault(int(label), set()).add(255 - int(number))
    assert found == {1: {0}, 4: {3}}


def test_batches_depend_on_seed_and_step_only(labeled):
    whole = take(labeled, 6)
    again = take(labeled, 3, start=3)
    halves = [take(labeled, 1, process_index=i, process_count=2)[0] for i in (0, 1)]
    for one, other in zip(whole[3:], again, strict=True):
        for name, value in one.arrays().items():
            np.testing.assert_array_equal(value, other.arrays()[name])
    np.testing.assert_array_equal(np.concatenate([h.label for h in halves]), whole[0].label)


def test_an_epoch_is_a_pass_over_the_labeled_composites(labeled):
    assert loader.steps_per_epoch(dataclasses.replace(labeled, batch_size=1)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,stage\na,5\n", "line 2: a,5 is not an id and a whole number from 1 to 4"),
        ("id,stage\na,0\n", "a whole number from 1 to 4"),
        ("id,stage\na,2\na,3\n", "line 3: a has a label already"),
        ("name,stage\na,2\n", "must begin with a line such as: id,stage"),
        ("", "must begin with a line such as: id,stage"),
        ("id,stage\n", "holds no label"),
    ],
)
def test_bad_label_files_are_named(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DatasetValidationError, match=message):
        read_labels(path, 4)


def test_without_a_range_every_number_is_a_label(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,kind\na,0\nb,17\n")
    assert read_labels(path, 0) == {"a": 0, "b": 17}
    with pytest.raises(DatasetValidationError, match=r"absent\.csv does not exist"):
        read_labels(tmp_path / "absent.csv", 0)


def test_options_that_do_not_fit_are_refused(labeled, tmp_path):
    with pytest.raises(DatasetValidationError, match="has no paintings of its own"):
        take(DATA, sources=[MemorySource(2)])
    elsewhere = dataclasses.replace(labeled, paintings=PaintingsConfig())
    with pytest.raises(DatasetValidationError, match=r"set data\.paintings\.name=own"):
        take(elsewhere)
    (tmp_path / "labels.csv").write_text("id,stage\nother,1\n")
    with pytest.raises(DatasetValidationError, match=r"labels 'other'.* called 'memory0_1_1'"):
        take(labeled)
