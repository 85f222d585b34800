"""The control whose targets are other records': everything but the target stays as it is."""

import dataclasses

import numpy as np
import pytest
from support.memory_source import MemorySource

from data_pipelines import loader
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.samples.paired import other_records
from jaxharm.config import (
    AugmentConfig,
    DataConfig,
    PaintingsConfig,
    SynthesisConfig,
    UnpairedConfig,
)

DATA = DataConfig(
    batch_size=4,
    image_size=32,
    num_threads=1,
    augment=AugmentConfig(flip=0.5, crop_scale=(0.5, 1.0)),
    synthesis=SynthesisConfig(probability=0.5),
    unpaired=UnpairedConfig(enabled=True),
)
SHUFFLED = dataclasses.replace(DATA, shuffle_targets=True)


def take(data, count=6, *, sources=None, **options):
    sources = sources or [MemorySource(7)]
    with loader.train_batches_from(sources, data, **{"seed": 3, **options}) as batches:
        return [next(batches) for _ in range(count)]


def record(image) -> int:
    """The number of the record that a photograph is of."""
    return int(image[0, 0, 2])


def test_every_record_gets_the_target_of_one_other_record():
    partner = {}
    for plain, shuffled in zip(take(DATA), take(SHUFFLED), strict=True):
        for name, value in plain.arrays().items():
            if name != "target":
                np.testing.assert_array_equal(shuffled.arrays()[name], value, err_msg=name)
        for own, other in zip(plain.target, shuffled.target, strict=True):
            partner.setdefault(record(own), set()).add(record(other))
    assert len(partner) == 7
    assert all(len(others) == 1 for others in partner.values())
    assert all(other != own for own, (other,) in partner.items())
    # A whole photograph, not a crop of one.
    assert shuffled.target[0, 0, 0, 0] < 8


def test_who_gets_whom_depends_on_the_seed_and_on_nothing_else():
    first = take(SHUFFLED, 3)
    again = take(SHUFFLED, 1, start=2)
    np.testing.assert_array_equal(first[2].target, again[0].target)
    orders = {tuple(other_records(50, (seed, 4, 0))) for seed in range(5)}
    assert len(orders) == 5
    for order in orders:
        assert sorted(order) == list(range(50))
        assert (np.array(order) != np.arange(50)).all()


def test_where_there_are_no_targets_it_is_refused():
    plain = dataclasses.replace(
        SHUFFLED, unpaired=UnpairedConfig(), synthesis=SynthesisConfig(probability=0.0)
    )
    with pytest.raises(DatasetValidationError, match="has one record"):
        take(plain, sources=[MemorySource(1)])
    own = dataclasses.replace(plain, paintings=PaintingsConfig(name="own"))
    with pytest.raises(DatasetValidationError, match=r"data\.shuffle_targets has no meaning"):
        take(own, sources=[MemorySource(5, background=True)])
    painted = dataclasses.replace(plain, paintings=PaintingsConfig(name="other"))
    with pytest.raises(DatasetValidationError, match=r"data\.shuffle_targets has no meaning"):
        take(painted, paintings=[MemorySource(5, name="other")])
