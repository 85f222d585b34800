"""Evaluation batches: every record once, in order, padded to equal batches."""

import numpy as np
import pytest
from support.memory_source import MemorySource

from data_pipelines import loader
from data_pipelines.building.findings import DatasetValidationError
from jaxharm import schema

OPTIONS = {
    "image_size": 24,
    "image_resize": "linear_noaa",
    "mask_resize": "linear_binary",
    "batch_size": 4,
}


def read(source: MemorySource, **options) -> list[dict[str, np.ndarray]]:
    with loader.eval_batches_from(source, **{**OPTIONS, **options}) as batches:
        return list(batches)


def test_every_record_once_in_order_and_the_last_batch_padded() -> None:
    batches = read(MemorySource(6))
    assert [list(batch.valid) for batch in batches] == [[1, 1, 1, 1], [1, 1, 0, 0]]
    names = np.concatenate([batch.composite_id for batch in batches])
    assert list(names[:6]) == [f"memory{i}_1_1" for i in range(6)]
    assert set(batches[0].subset) == {"memory"}
    for batch in batches:
        schema.validate(batch, evaluation=True)
        assert batch.mask.any(axis=(1, 2, 3)).all()  # padding is a real record, not zeros


def test_processes_get_equally_many_batches_that_join_to_the_whole() -> None:
    whole = read(MemorySource(5))
    parts = [read(MemorySource(5), process_index=i, process_count=2) for i in range(2)]
    assert [len(part) for part in parts] == [2, 2]
    for k, batch in enumerate(whole):
        for key, value in batch.arrays().items():
            joined = np.concatenate([part[k].arrays()[key] for part in parts])
            np.testing.assert_array_equal(joined, value, err_msg=key)


def test_native_sizes_come_one_by_one_and_unchanged() -> None:
    source = MemorySource(2)
    for number, batch in enumerate(read(source, image_size=None)):
        images = source.images(number)
        np.testing.assert_array_equal(batch.composite[0], images["composite"])
        np.testing.assert_array_equal(batch.target[0], images["real"])
        np.testing.assert_array_equal(batch.mask[0, ..., 0], images["mask"] // 255)


def test_photographs_are_recolored_in_the_same_way_each_time() -> None:
    source = MemorySource(4, photos=True)
    first = read(source)
    again = read(source, batch_size=2)
    composites = np.concatenate([batch.composite for batch in again])
    np.testing.assert_array_equal(composites, first[0].composite)
    changed = (first[0].composite != first[0].target).any(axis=-1, keepdims=True)
    assert np.mean(changed[first[0].mask == 1]) > 0.9
    assert list(first[0].composite_id) == [f"memory{i}_1_1" for i in range(4)]


def test_backgrounds_are_passed_on() -> None:
    batch = read(MemorySource(1, background=True))[0]
    np.testing.assert_allclose(255 - batch.background.astype(int), batch.target, atol=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_resize": "lanczos"}, "unknown resize mode 'lanczos'"),
        ({"mask_resize": "otsu"}, "unknown resize mode 'otsu'"),
        ({"batch_size": 3, "process_count": 2}, "batch size 3"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(DatasetValidationError, match=message):
        read(MemorySource(2), **options)


def test_empty_split_is_refused() -> None:
    with pytest.raises(DatasetValidationError, match="holds no record"):
        read(MemorySource(0))
