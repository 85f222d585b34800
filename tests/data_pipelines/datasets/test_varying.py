"""The builder varying: three composites of every object, the same whatever the order."""

import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.datasets.varying import SUBSETS
from data_pipelines.export import export
from data_pipelines.reading import open_source
from data_pipelines.samples.decode import decode_record
from data_pipelines.verify import verify


def test_every_object_of_a_folder_comes_once_in_every_subset(toy, tmp_path):
    info = build("varying", manual_dir=toy, data_dir=tmp_path / "data", name="lit")
    assert (info.kind, info.splits) == ("paired", {"train": 9, "test": 3})
    assert verify("lit", tmp_path / "data") == []
    source = open_source("lit", tmp_path / "data", "train")
    records = [source[i] for i in range(9)]
    assert [r["composite_id"] for r in records[:4]] == ["z_1_1", "z_1_2", "z_1_3", "b_2_1"]
    assert [r["subset"] for r in records[:3]] == list(SUBSETS) == ["gain", "gain_field", "poisson"]
    for record in records:
        assert record["real"] == (toy / f"real_images/{record['real_id']}.jpg").read_bytes()
        assert record["mask"] == (toy / f"masks/{record['mask_id']}.png").read_bytes()
        images = decode_record(record)
        outside = images["mask"] == 0
        np.testing.assert_array_equal(images["composite"][outside], images["real"][outside])
        assert np.mean(images["composite"][~outside] != images["real"][~outside]) > 0.5


def test_composites_do_not_depend_on_the_other_records(toy, tmp_path):
    build("varying", manual_dir=toy, data_dir=tmp_path / "data", name="lit")
    names = (toy / "toy_train.txt").read_text().split()
    (toy / "toy_train.txt").write_text("\n".join(reversed(names[1:])))
    build("varying", manual_dir=toy, data_dir=tmp_path / "data", name="fewer")
    one, other = (
        {r["subset"] + r["composite_id"]: r["composite"] for r in map(source.__getitem__, range(n))}
        for source, n in (
            (open_source("lit", tmp_path / "data", "train"), 9),
            (open_source("fewer", tmp_path / "data", "train"), 9),
        )
    )
    assert one == other


def test_photographs_without_pairs_and_with_plates(tmp_path):
    tree = tmp_path / "pics"
    for i, name in enumerate(("b", "a")):
        write_image(tree / "images" / f"{name}.jpg", random_image(seed=i))
        write_image(tree / "masks" / f"{name}.png", box_mask())
        write_image(tree / "bg" / f"{name}.png", random_image(seed=7))
    (tree / "pics_val.txt").write_text("b\na\n")
    build("varying", manual_dir=tree, data_dir=tmp_path / "data", name="lit")
    record = open_source("lit", tmp_path / "data", "val")[4]
    ids = [record[key] for key in ("composite_id", "mask_id", "real_id")]
    assert ids == ["a_1_2", "a_1", "a"]
    assert record["background"] == (tree / "bg/a.png").read_bytes()
    assert verify("lit", tmp_path / "data") == []
    export("lit", data_dir=tmp_path / "data", split="val", count=6, out=tmp_path / "out")
    build("folder", manual_dir=tmp_path / "out", data_dir=tmp_path / "data", name="again")
    assert len(open_source("again", tmp_path / "data", "val")) == 6


def test_a_name_of_its_own_is_needed(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    with pytest.raises(DatasetValidationError, match="of builder folder; choose another --name"):
        build("varying", manual_dir=toy, data_dir=tmp_path / "data")
