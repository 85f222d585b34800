"""The second stream: composites without ground truth, and the pairs that go with them."""

import dataclasses

import numpy as np
import pytest
from support.memory_source import MemorySource

from data_pipelines import loader
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.samples.placement import blend
from jaxharm.config import AugmentConfig, DataConfig, UnpairedConfig
from jaxharm.schema import HostBatch

NONE = UnpairedConfig(enabled=True, translate=0, brightness=0.0, contrast=0.0)
PLAIN = DataConfig(
    batch_size=4,
    image_size=40,
    mask_resize="linear",
    num_threads=1,
    augment=AugmentConfig(flip=0.0),
    unpaired=NONE,
)
SQUARE = {"height": 40, "width": 40}


def with_unpaired(**changes) -> DataConfig:
    return dataclasses.replace(PLAIN, unpaired=dataclasses.replace(NONE, **changes))


def take(sources, data: DataConfig, count: int = 3, **options) -> list[HostBatch]:
    with loader.train_batches_from(sources, data, seed=5, **options) as batches:
        return [next(batches) for _ in range(count)]


def samples(batches) -> list[dict[str, np.ndarray]]:
    return [{k: v[i] for k, v in batch.arrays().items()} for batch in batches for i in range(4)]


def as_u8(mask: np.ndarray) -> np.ndarray:
    return np.rint(mask[..., 0] * 255).astype(np.uint8)


def test_off_there_are_no_such_keys_and_on_the_pairs_stay_the_same():
    off, on = (
        take([MemorySource()], with_unpaired(enabled=enabled, jitter_pairs=False))
        for enabled in (False, True)
    )
    added = {"unpaired.composite", "unpaired.mask", "unpaired.background"}
    for without, batch in zip(off, on, strict=True):
        arrays, pairs = batch.arrays(), without.arrays()
        assert set(arrays) - set(pairs) == added
        assert added < set(batch.for_devices().arrays())
        for key, value in pairs.items():
            np.testing.assert_array_equal(arrays[key], value, err_msg=key)


def test_placements_lie_on_the_samples_own_plate_and_show_another_photograph():
    """Blue is the record's number; plates are 255 - real."""
    others = 0
    for sample in samples(take([MemorySource(background=True, **SQUARE)], PLAIN, 6)):
        inside = sample["unpaired.mask"][..., 0] == 1
        np.testing.assert_array_equal(sample["unpaired.background"], sample["background"])
        outside = sample["unpaired.mask"][..., 0] == 0
        np.testing.assert_array_equal(
            sample["unpaired.composite"][outside], sample["background"][outside]
        )
        numbers = np.unique(sample["unpaired.composite"][inside][:, 2])
        assert len(numbers) == 1
        others += numbers[0] != 255 - sample["background"][0, 0, 2]
        rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
        own_rows, own_columns = (
            np.flatnonzero(sample["mask"][..., 0].any(axis)) for axis in (1, 0)
        )
        for placed, own in ((rows, own_rows), (columns, own_columns)):
            assert abs(placed.mean() - own.mean()) <= 1.5  # the boxes share their center
            assert len(placed) <= len(own) + 2
    assert others > 8


def test_without_plates_the_photograph_is_the_ground_and_the_foreground_is_filled():
    for sample in samples(take([MemorySource(**SQUARE)], PLAIN)):
        outside = sample["unpaired.mask"][..., 0] == 0
        for key in ("unpaired.composite", "unpaired.background"):
            np.testing.assert_array_equal(sample[key][outside], sample["target"][outside])
        assert "background" not in sample
        assert np.any(sample["unpaired.background"] != sample["unpaired.composite"])


def test_pairs_with_plates_are_pasted_and_shifted_alike():
    source = MemorySource(background=True, **SQUARE)
    moved = set()
    for sample in samples(take([source], with_unpaired(translate=4), 5)):
        number = 255 - int(sample["background"][0, 0, 2])
        images, mask = source.images(number), as_u8(sample["mask"])
        before, after = (np.argwhere(m).min(0) for m in (images["mask"], mask))
        down, right = after - before
        moved.add((int(down), int(right)))
        for key, stored in (("target", "real"), ("composite", "composite")):
            shifted = np.roll(images[stored], (down, right), (0, 1))  # the mask is off the border
            np.testing.assert_array_equal(
                sample[key], blend(shifted, images["background"], mask), err_msg=key
            )
    assert len(moved) > 6
    assert all(-4 <= step < 4 for pair in moved for step in pair)


def test_jitter_stays_inside_the_mask_and_leaves_the_target():
    options = {"brightness": 0.35, "contrast": 0.2}
    jittered, plain = (
        samples(take([MemorySource(**SQUARE)], with_unpaired(**options, jitter_pairs=on)))
        for on in (True, False)
    )
    for sample, before in zip(jittered, plain, strict=True):
        outside = sample["mask"][..., 0] == 0
        for key in ("target", "mask"):
            np.testing.assert_array_equal(sample[key], before[key])
        np.testing.assert_array_equal(sample["composite"][outside], before["composite"][outside])
        assert np.any(sample["composite"] != before["composite"])


@pytest.mark.parametrize("photos", [True, False])
def test_ready_made_composites_come_as_they_are(photos):
    ready = MemorySource(3, photos=photos, name="ready", **SQUARE)
    data = with_unpaired(composites="ready", composites_share=1.0, translate=9, brightness=0.3)
    seen = set()
    for sample in samples(take([MemorySource()], data, composites=[ready])):
        number = int(sample["unpaired.composite"][0, 0, 2])
        images = ready.images(number)
        expected = images["real" if photos else "composite"]
        np.testing.assert_array_equal(sample["unpaired.composite"], expected)
        np.testing.assert_array_equal(as_u8(sample["unpaired.mask"]), images["mask"])
        seen.add(number)
    assert seen == {0, 1, 2}


def test_both_kinds_are_mixed_by_their_share():
    ready = MemorySource(1, photos=True, name="ready", background=True, **SQUARE)
    data = with_unpaired(composites="ready", composites_share=0.3)
    plated = MemorySource(2, background=True, height=40, width=60)
    mixed = samples(take([plated], data, 20, composites=[ready]))
    share = np.mean([np.all(s["unpaired.background"][0, 0] == (254, 254, 255)) for s in mixed])
    own = np.mean([np.array_equal(s["unpaired.background"], s["background"]) for s in mixed])
    assert own == pytest.approx(0.7, abs=0.12)
    assert share >= 0.3 - 0.12


def test_soft_masks_stay_soft_and_an_empty_crop_does_no_harm():
    augment = AugmentConfig(flip=0.5, crop_scale=(0.02, 0.05), keep_background=1.0)
    data = dataclasses.replace(
        with_unpaired(translate=10), augment=augment, image_size=24, batch_size=4
    )
    batches = samples(take([MemorySource(background=True), MemorySource(3, background=True)], data))
    assert any(not sample["mask"].any() for sample in batches)
    assert any(np.any((m > 0) & (m < 1)) for m in (s["unpaired.mask"] for s in batches))


@pytest.mark.parametrize(
    ("changes", "composites", "message"),
    [
        ({"composites_share": 0.5}, 0, "data.unpaired.composites names no data set"),
        ({"composites": "ready"}, 1, "'ready' would not be used"),
        ({"composites": "ready", "composites_share": 0.5}, -1, "holds no record"),
        ({"brightness": 1.0}, 0, r"data.unpaired.brightness 1\.0 is not in \[0,1\)"),
        ({"contrast": 1.0}, 0, r"data.unpaired.contrast 1\.0 is not in \[0,1\)"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes, composites, message):
    ready = [MemorySource(max(composites, 0), photos=True)] if composites else []
    with pytest.raises(DatasetValidationError, match=message):
        loader.train_batches_from(
            [MemorySource()], with_unpaired(**changes), composites=ready, seed=0
        )


def test_composites_are_opened_and_described_only_where_they_are_used(monkeypatch):
    opened = []

    class Info:
        def __init__(self, name):
            self.name, self.splits, self.fingerprint = name, {"train": 5}, f"print of {name}"

    def open_source(name, _, split):
        opened.append((name, split))
        source = MemorySource(name=name)
        source.info = Info(name)
        return source

    monkeypatch.setattr(loader, "open_source", open_source)
    named = with_unpaired(composites="a + b", composites_split="all_of_it", composites_share=0.5)
    described = loader.describe_sources(named)
    assert opened == [("demo", "train"), ("a", "all_of_it"), ("b", "all_of_it")]
    assert described["b"] == {"splits": {"train": 5}, "fingerprint": "print of b"}
    off = dataclasses.replace(named, unpaired=dataclasses.replace(named.unpaired, enabled=False))
    assert list(loader.describe_sources(off)) == ["demo"]
