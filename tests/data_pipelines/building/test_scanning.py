"""The checks of a scanned tree: missing files, links, overlap of splits, orphans."""

import errno
import struct
import unicodedata

import pytest
from support.fixtures_data import box_mask, random_image, write_image, write_tree
from support.trees import LISTS, kinds_of, stems

from data_pipelines.build import build
from data_pipelines.building import records
from data_pipelines.building.files import FileIndex
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.report import Report
from data_pipelines.in_place import open_folder


@pytest.mark.parametrize(
    ("folder", "name", "kind"),
    [
        ("composite_images", "b_2_1.jpg", "missing_composite"),
        ("masks", "b_2.png", "missing_mask"),
        ("real_images", "b.jpg", "missing_real"),
    ],
)
def test_missing_files_stop_or_are_left_out(toy, tmp_path, folder, name, kind):
    (toy / folder / name).unlink()
    assert kinds_of(toy) == (kind,)
    info = build("folder", manual_dir=toy, data_dir=tmp_path, on_error="skip")
    assert info.splits == {"train": 3, "test": 1}
    assert info.metadata["skipped"] == {kind: 1}


def test_other_letter_case_and_endings_are_found(toy):
    (toy / "real_images/b.jpg").rename(toy / "real_images/B.JPG")
    (toy / "composite_images/z_1_1.jpg").unlink()
    write_image(toy / "composite_images/z_1_1.png", random_image())
    (toy / "masks").rename(toy / "Masks")
    source = open_folder(toy, "train")
    assert [source[i]["composite_id"] for i in range(4)] == stems(LISTS["toy_train.txt"])


def test_links_out_of_the_tree_are_never_followed(toy, tmp_path):
    outside = tmp_path / "secret.jpg"
    (toy / "real_images/b.jpg").rename(outside)
    (toy / "real_images/b.jpg").symlink_to(outside)
    assert kinds_of(toy, on_error="skip") == ("path_traversal",)


def test_links_within_the_tree_are_fine(toy):
    (toy / "real_images/b.jpg").rename(toy / "b.jpg")
    (toy / "real_images/b.jpg").symlink_to("../b.jpg")
    assert len(open_folder(toy, "train")) == 4


def test_a_composite_in_two_splits_is_an_error_and_a_photograph_a_warning(tmp_path, caplog):
    tree = write_tree(
        tmp_path / "toy", {"toy_train.txt": ["a_1_1.jpg"], "toy_val.txt": ["a_1_2.jpg"]}
    )
    open_folder(tree, "train")
    assert "photograph toy/a in train and val" in caplog.text
    write_tree(tree, {"toy_val.txt": ["a_1_1.jpg"]})
    assert kinds_of(tree, on_error="skip") == ("split_overlap",)


def test_orphans_are_warned_of(toy, tmp_path):
    write_image(toy / "masks/nobody_1.png", box_mask())
    info = build("folder", manual_dir=toy, data_dir=tmp_path)
    assert info.metadata["warnings"] == {"orphan_file": 1}


def test_several_kinds_come_in_one_exception(toy):
    (toy / "masks/b_2.png").unlink()
    write_image(toy / "real_images/z.jpg", random_image(41, 48))
    (toy / "toy_test.txt").write_text("../t_1_1.jpg\nnot a name\n")
    assert set(kinds_of(toy)) == {
        *("missing_mask", "size_mismatch", "path_traversal", "bad_list_line"),
    }


def test_damage_that_only_a_full_decode_shows_stops_the_build_and_leaves_nothing(toy, tmp_path):
    path = toy / "composite_images/z_1_2.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetValidationError) as error:
        build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    assert error.value.kinds == ("unreadable_image",)
    assert list((tmp_path / "data").iterdir()) == []
    info = build("folder", manual_dir=toy, data_dir=tmp_path / "data", on_error="skip")
    assert info.splits == {"train": 3, "test": 1}
    assert info.metadata["skipped"] == {"unreadable_image": 1}


def test_links_to_shared_storage_can_be_allowed(toy, tmp_path):
    (toy / "real_images").rename(tmp_path / "shared")
    (toy / "real_images").symlink_to(tmp_path / "shared")
    (toy / "masks/b_2.png").rename(tmp_path / "mask.png")
    (toy / "masks/b_2.png").symlink_to(tmp_path / "mask.png")
    with pytest.raises(DatasetValidationError, match="--follow-links"):
        build("folder", manual_dir=toy, data_dir=tmp_path / "data")
    info = build("folder", manual_dir=toy, data_dir=tmp_path / "data", follow_links=True)
    assert info.splits == {"train": 4, "test": 1}


def test_accents_in_one_part_or_two_are_the_same_name(tmp_path):
    composed = "Mu\u0308ller \u00e9tude"
    forms = [unicodedata.normalize(form, composed) for form in ("NFC", "NFD")]
    tree = write_tree(tmp_path / "toy", {"toy_train.txt": [f"{forms[0]}_1_1.jpg"]})
    for folder in ("composite_images", "masks", "real_images"):
        for file in (tree / folder).iterdir():
            file.rename(file.with_name(unicodedata.normalize("NFD", file.name)))
    assert len(open_folder(tree, "train")) == 1
    (tree / "toy_train.txt").write_text(f"{forms[1]}_1_1.jpg\n", encoding="utf-8")
    assert len(open_folder(tree, "train")) == 1


def test_what_macos_keeps_beside_files_is_passed_over(toy):
    for folder in ("composite_images", "masks", "real_images"):
        for file in list((toy / folder).iterdir()):
            file.with_name(f"._{file.name}").write_bytes(b"\0\5\26\7")
    report = Report("")
    assert not any(stem.startswith(".") for stem in FileIndex(toy / "masks", toy, report).stems())
    assert len(open_folder(toy, "train")) == 4


@pytest.mark.parametrize("error", [struct.error("odd"), RecursionError(), MemoryError()])
def test_an_error_that_nobody_foresaw_is_one_of_its_item(toy, tmp_path, monkeypatch, error):
    decode = records.decode_rgb

    def fail(path, data, **options):
        if path.name == "b_2_1.jpg":
            raise error
        return decode(path, data, **options)

    monkeypatch.setattr(records, "decode_rgb", fail)
    with pytest.raises(DatasetValidationError) as caught:
        build("folder", manual_dir=toy, data_dir=tmp_path)
    assert caught.value.kinds == ("unforeseen",)
    info = build("folder", manual_dir=toy, data_dir=tmp_path, on_error="skip")
    assert info.metadata["skipped"] == {"unforeseen": 1}


def test_a_full_disk_is_no_fault_of_an_item():
    report = Report("", on_error="skip")
    with pytest.raises(DatasetValidationError, match="No space"), report.item("a"):
        raise OSError(errno.ENOSPC, "No space left on device")
