"""The training stream depends on the configuration and the seed alone."""

import dataclasses
import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from support.memory_source import MemorySource

import jaxharm.interfaces  # noqa: F401 - registers Batch as a tree of JAX
from data_pipelines import loader
from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from jaxharm import schema
from jaxharm.config import AugmentConfig, DataConfig, SynthesisConfig, UnpairedConfig
from jaxharm.errors import InputError
from jaxharm.schema import HostBatch

SMALL = DataConfig(
    batch_size=4,
    image_size=32,
    num_threads=2,
    augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0)),
    synthesis=SynthesisConfig(probability=0.5),
)
# With everything that is drawn on a sample.
WHOLE = dataclasses.replace(
    SMALL, unpaired=UnpairedConfig(enabled=True, composites="ready", composites_share=0.5)
)
PLAIN = dataclasses.replace(
    SMALL, augment=AugmentConfig(flip=0.0), synthesis=SynthesisConfig(probability=0.0)
)

# The start of a program that reads batches by a worker process.
ONE_WORKER = """
from support.memory_source import MemorySource
from data_pipelines import loader
from jaxharm.config import DataConfig
if __name__ == "__main__":
    data = DataConfig(batch_size=2, image_size=16, num_workers=1)
    batches = loader.train_batches_from([MemorySource()], data, seed=0)
"""


def take(sources, data: DataConfig, count: int, **options) -> list[HostBatch]:
    options = {"seed": 7, **options}
    if data.unpaired.enabled:
        options["composites"] = [MemorySource(4, name="ready", photos=True)]
    with loader.train_batches_from(sources, data, **options) as batches:
        return [next(batches) for _ in range(count)]


def assert_equal(left, right) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.arrays().keys() == b.arrays().keys()
        for key, value in a.arrays().items():
            np.testing.assert_array_equal(value, b.arrays()[key], err_msg=key)


def records(batch) -> list[int]:
    """The records of a batch, by the blue channel of the target (no color change)."""
    return [int(value) for value in batch.target[:, 0, 0, 2]]


def test_same_seed_same_batches_other_seed_other_batches() -> None:
    first, again, other = (take([MemorySource()], WHOLE, 4, seed=s) for s in (7, 7, 8))
    assert_equal(first, again)
    for key in ("composite", "unpaired.composite"):
        assert any(
            np.any(a.arrays()[key] != b.arrays()[key]) for a, b in zip(first, other, strict=True)
        )
    for batch in first:
        schema.validate(batch)
        assert batch.background is None
        assert batch.unpaired is not None
        assert batch.unpaired.background is not None
    assert [list(batch.index) for batch in first] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [12, 13, 14, 15],
    ]


def test_thread_count_does_not_change_the_batches() -> None:
    one, many = (
        take([MemorySource()], dataclasses.replace(WHOLE, num_threads=n), 6) for n in (1, 5)
    )
    assert_equal(one, many)


def test_worker_process_gives_the_batches_of_threads() -> None:
    data = dataclasses.replace(WHOLE, num_workers=1)
    assert_equal(take([MemorySource()], data, 3), take([MemorySource()], WHOLE, 3))


@pytest.mark.slow
def test_worker_process_passes_the_error_on_and_closes() -> None:
    source = MemorySource(1, name="torn")
    source.broken = 0
    data = dataclasses.replace(PLAIN, num_workers=1)
    with (
        loader.train_batches_from([source], data, seed=0) as batches,
        pytest.raises(DatasetValidationError, match="torn0_1_1"),
    ):
        next(batches)


@pytest.mark.slow
def test_worker_process_that_is_killed_ends_the_stream_with_one_sentence() -> None:
    data = dataclasses.replace(PLAIN, num_workers=1)
    with loader.train_batches_from([MemorySource()], data, seed=0) as batches:
        next(batches)
        (worker,) = multiprocessing.active_children()
        worker.kill()
        with pytest.raises(InputError, match=r"was killed from outside \(exit code -9\)"):
            list(itertools.islice(batches, 100))  # what was read before is given


@pytest.mark.slow
def test_worker_process_ends_when_its_reader_is_killed() -> None:
    script = (
        f"{ONE_WORKER}    import multiprocessing, time\n"
        "    next(batches)\n"
        "    print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as reader:
        worker = int(reader.stdout.readline())
        os.kill(worker, 0)
        reader.kill()
    deadline = time.monotonic() + 30
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.is_file() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_rows_of_each_global_batch(count: int) -> None:
    whole = take([MemorySource()], WHOLE, 4)
    parts = [
        take([MemorySource()], WHOLE, 4, process_index=i, process_count=count) for i in range(count)
    ]
    joined = [
        jax.tree.map(lambda *rows: np.concatenate(rows), *(part[k] for part in parts))
        for k in range(len(whole))
    ]
    assert_equal(joined, whole)


def test_resuming_continues_the_stream() -> None:
    sources = [MemorySource(), MemorySource(3, photos=True)]
    whole = take(sources, WHOLE, 7)
    assert_equal(take(sources, WHOLE, 4, start=3), whole[3:])
    tail = take(sources, WHOLE, 2, start=5, process_index=1, process_count=2)
    assert_equal(tail, [jax.tree.map(lambda value: value[2:], batch) for batch in whole[5:]])


def test_every_record_comes_once_per_epoch_in_changing_order() -> None:
    stream = [n for batch in take([MemorySource(6)], PLAIN, 9) for n in records(batch)]
    epochs = [stream[i : i + 6] for i in range(0, 36, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_index_wraps_into_int32() -> None:
    batch = take([MemorySource()], PLAIN, 1, start=2**29)[0]  # sample number 2**31
    np.testing.assert_array_equal(batch.index, [0, 1, 2, 3])


def test_images_and_mask_stay_aligned_under_augmentation() -> None:
    data = dataclasses.replace(SMALL, synthesis=SynthesisConfig(probability=0.0))
    flipped = cropped = 0
    for batch in take([MemorySource(background=True)], data, 6):
        rise = batch.composite[..., 1].astype(int) - batch.target[..., 1]
        inside = batch.mask[..., 0] == 1
        assert np.all(rise[inside] >= 1)  # the green step of the composite, up to rounding
        assert np.all(rise[~inside] <= 1)
        plate = 255 - batch.background.astype(int)
        np.testing.assert_allclose(plate, batch.target, atol=1)
        flipped += np.sum(batch.target[:, 0, 0, 1] > batch.target[:, 0, -1, 1])
        cropped += np.sum(np.ptp(batch.target[..., 0].astype(int), axis=(1, 2)) < 150)
    assert 0 < flipped < 24
    assert cropped > 12


def test_photographs_are_always_recolored_and_pairs_by_probability() -> None:
    def share_remade(source: MemorySource, probability: float) -> float:
        synthesis = SynthesisConfig(probability=probability, families=("photometric", "curves"))
        batches = take([source], dataclasses.replace(PLAIN, synthesis=synthesis), 10)
        remade = []
        for batch in batches:
            rise = batch.composite.astype(int) - batch.target
            inside = np.broadcast_to(batch.mask == 1, rise.shape)
            outside = np.broadcast_to(batch.mask == 0, rise.shape)
            for i in range(len(rise)):
                assert np.mean(rise[i][outside[i]] != 0) < 0.2  # the soft edge at most
                remade.append(np.mean(rise[i][inside[i]] ** 2) > 20)
        return float(np.mean(remade))

    assert share_remade(MemorySource(photos=True), 0.0) == 1.0
    assert share_remade(MemorySource(), 0.0) == 0.0
    assert share_remade(MemorySource(), 1.0) == 1.0
    assert 0.2 < share_remade(MemorySource(), 0.5) < 0.8


def test_a_share_of_photographs_stays_as_it_is() -> None:
    def batches(unchanged: float):
        data = dataclasses.replace(PLAIN, synthesis=SynthesisConfig(unchanged=unchanged))
        return take([MemorySource(photos=True)], data, 10)

    kept = [np.all(b.composite == b.target, (1, 2, 3)) for b in batches(0.4)]
    assert 0.2 < np.mean(kept) < 0.6
    assert not any(np.all(b.composite == b.target, (1, 2, 3)).any() for b in batches(0.0))
    assert all(np.all(b.composite == b.target) for b in batches(1.0))


@pytest.mark.parametrize(("weights", "expected"), [(None, 0.25), ((3.0, 1.0), 0.75)])
def test_joined_sets_are_drawn_by_weight_or_size(weights, expected: float) -> None:
    # Told apart by their heights: red is 4 * row + 1.
    sources = [MemorySource(2, height=40), MemorySource(6, height=50)]
    data = dataclasses.replace(PLAIN, weights=weights, name="a+b")
    shares = [np.mean(batch.target[:, -1, 0, 0] < 170) for batch in take(sources, data, 12)]
    assert np.mean(shares) == pytest.approx(expected, abs=0.05)


def test_mixing_plates_and_no_plates_is_refused() -> None:
    with pytest.raises(DatasetValidationError, match="with and without background"):
        loader.train_batches_from([MemorySource(), MemorySource(background=True)], PLAIN, seed=0)


def test_unreadable_record_is_named() -> None:
    source = MemorySource(name="torn")
    source.broken = 2
    with pytest.raises(DatasetValidationError, match="torn2_1_1"):
        take([source], PLAIN, 5)


def test_missing_data_set_is_named(tmp_path) -> None:
    data = dataclasses.replace(PLAIN, name="absent", data_dir=str(tmp_path))
    for function in (
        lambda: loader.train_batches(data, seed=0),
        lambda: loader.steps_per_epoch(data),
        lambda: loader.eval_batches("absent", data_dir=tmp_path),
    ):
        with pytest.raises(MissingDatasetError, match="'absent' is not built"):
            function()


def test_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(DatasetValidationError, match=r"batch size 4 .* 3 processes"):
        loader.train_batches_from([MemorySource()], PLAIN, seed=0, process_count=3)


def test_closed_batches_end() -> None:
    batches = loader.train_batches_from([MemorySource()], PLAIN, seed=0)
    next(batches)
    batches.close()
    batches.close()
    assert list(batches) == []


def test_steps_per_epoch_drops_the_rest(monkeypatch) -> None:
    monkeypatch.setattr(loader, "open_source", lambda name, *_: MemorySource(int(name[1:])))
    steps = [
        loader.steps_per_epoch(dataclasses.replace(PLAIN, name=name))
        for name in ("a9", "a9+a3", "a2")
    ]
    assert steps == [2, 3, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["print(next(batches).index)", "print((held := next(batches)).index)"]
)
def test_a_program_that_forgets_to_close_ends_quietly(line: str, tmp_path) -> None:
    program = tmp_path / "forgetful.py"
    # Large enough for shared memory, which must not be in use when Python ends.
    start = ONE_WORKER.replace("image_size=16", "image_size=256")
    program.write_text(f"{start}    {line}\n")
    result = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "[0 1]\n", "")
