"""The command export: stored bytes become files again, and bad input is refused."""

import pytest
from support.fixtures_data import box_mask, random_image, write_image
from support.trees import LISTS

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.export import export, main
from data_pipelines.reading import RecordSource


def test_exported_files_are_the_stored_bytes_and_are_listed(toy, tmp_path):
    build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    out = tmp_path / "out"
    names = export("toy", data_dir=tmp_path / "data", split="train", count=9, out=out)
    assert names == LISTS["toy_train.txt"]
    assert (out / "toy_train.txt").read_text().splitlines() == names
    for file in ("composite_images/z_1_2.jpg", "masks/z_1.png", "real_images/z.jpg"):
        assert (out / file).read_bytes() == (toy / file).read_bytes()


def test_bad_input_ends_with_status_2(toy, tmp_path, capsys):
    data = tmp_path / "data"
    build("folder", manual_dir=toy, data_dir=data)
    pics = tmp_path / "pics"
    write_image(pics / "images/p.jpg", random_image())
    write_image(pics / "masks/p.png", box_mask())
    (pics / "pics_train.txt").write_text("p\n")
    build("photos", manual_dir=pics, data_dir=data)
    for arguments, words in (
        (["pics", "--split", "train"], "of kind photos holds no composites"),
        (["toy", "--count", "0"], "--count 0 must be at least 1"),
        (["absent"], "is not built"),
        (["toy", "--split", "val"], "has no split 'val'"),
    ):
        assert main([*arguments, "--data-dir", str(data), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert words in error
    assert not (tmp_path / "out").exists()


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_written(
    toy, tmp_path, monkeypatch
):
    build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    read = RecordSource.__getitem__

    def fail(source, index):
        if index == 1:
            raise DatasetValidationError("train file is damaged")
        return read(source, index)

    monkeypatch.setattr(RecordSource, "__getitem__", fail)
    out = tmp_path / "out"
    with pytest.raises(DatasetValidationError, match="train file is damaged") as error:
        export("toy", data_dir=tmp_path / "data", split="train", count=9, out=out)
    assert error.value.kinds == ("unreadable_record",)
    left = LISTS["toy_train.txt"][:1] + LISTS["toy_train.txt"][2:]
    assert (out / "toy_train.txt").read_text().splitlines() == left
