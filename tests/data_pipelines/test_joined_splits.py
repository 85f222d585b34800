"""Data sets joined by '+', each with a split of its own."""

import pytest
from support.fixtures_data import box_mask, random_image, write_image

from data_pipelines.build import build
from data_pipelines.loader import describe_sources, open_composites, open_sources
from jaxharm.config import DataConfig, PaintingsConfig, UnpairedConfig
from jaxharm.errors import InputError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Sets `a` (train 2, sa 3) and `b` (train 4, val 5) of photographs."""
    root = tmp_path_factory.mktemp("sets")
    for name, splits in (("a", {"train": 2, "sa": 3}), ("b", {"train": 4, "val": 5})):
        for split, count in splits.items():
            ids = [f"{split}{i}" for i in range(count)]
            (root / name).mkdir(exist_ok=True)
            (root / name / f"{name}_{split}.txt").write_text("\n".join(ids))
            for i, photo in enumerate(ids):
                write_image(root / name / f"images/{photo}.jpg", random_image(seed=i))
                write_image(root / name / f"masks/{photo}.png", box_mask())
        build("photos", manual_dir=root / name, data_dir=root / "data", name=name)
    return str(root / "data")


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("a", "train", [("a", 2)]),
        ("a", "train+sa", [("a", 5)]),  # of one set: both splits, as one
        ("a+b", "train", [("a", 2), ("b", 4)]),
        ("a+b", "sa+val", [("a", 3), ("b", 5)]),
        ("a + b", "sa + val", [("a", 3), ("b", 5)]),
        ("a+a+b", "train+sa+train", [("a", 2), ("a", 3), ("b", 4)]),
    ],
)
def test_splits_go_to_their_sets_in_order(data_dir, name, split, expected):
    data = DataConfig(name=name, split=split, data_dir=data_dir)
    opened = [(source.info.name, len(source)) for source in open_sources(data)]
    assert opened == expected
    assert set(describe_sources(data)) == {name for name, _ in expected}


def test_other_streams_have_splits_of_their_own(data_dir):
    unpaired = UnpairedConfig(enabled=True, composites="a+b", composites_split="sa+val")
    data = DataConfig(name="a", split="train+sa", data_dir=data_dir, unpaired=unpaired)
    assert [len(source) for source in open_composites(data)] == [3, 5]
    assert data.parts == (("a", "train+sa"), ("a", "sa"), ("b", "val"))
    assert UnpairedConfig(composites="a+b", composites_split="sa+val").sets == ()
    paintings = PaintingsConfig(name="c+textures", split="train")
    assert paintings.sets == (("c", "train"), ("textures", "train"))
    assert DataConfig(paintings=PaintingsConfig(name="own")).parts == (("demo", "train"),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataConfig(name="a+b+c", split="train+sa"),
        lambda: UnpairedConfig(composites="a+b+c", composites_split="train+sa"),
        lambda: PaintingsConfig(name="a+b+c", split="train+sa"),
    ],
)
def test_a_number_of_splits_that_does_not_fit_is_refused(make):
    with pytest.raises(
        InputError, match=r"='train\+sa' needs one split for all of the 3 .*a\+a\+b"
    ):
        make()
