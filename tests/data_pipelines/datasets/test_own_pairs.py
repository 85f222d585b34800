"""The builder folder on pairs as people keep them, and without lists."""

from pathlib import Path

import pytest
from support.fixtures_data import box_mask, random_image, write_image, write_tree

from data_pipelines.build import build
from data_pipelines.build import main as run_build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.in_place import open_folder
from data_pipelines.reading import open_source
from data_pipelines.verify import verify

NAMES = [f"shot {i}" for i in range(6)]


def write_pairs(root: Path, files: dict[str, str], names: list[str] = NAMES) -> Path:
    """Writes pairs; `files` maps a role to the name of its files, the pair's name in place of {}."""
    for seed, name in enumerate(names):
        real, mask = random_image(seed=seed), box_mask()
        changed = real.copy()
        changed[mask > 0] = changed[mask > 0] // 2 + 20
        pictures = {"composite": changed, "mask": mask, "real": real, "bg": real}
        for role, file in files.items():
            write_image(root / file.format(name), pictures[role])
    return root


LAYOUTS = {
    "beside": {"composite": "{}.jpg", "mask": "{}_mask.png", "real": "{}_real.jpg"},
    "marked": {"composite": "{}_composite.png", "mask": "{}_MASK.png", "real": "{}_gt.png"},
    "folders": {"composite": "before/{}.jpg", "mask": "masks/{}.png", "real": "after/{}.jpg"},
    "other_names": {
        "composite": "Composites/{}.jpg",
        "mask": "mask/{}_mask.png",
        "real": "real/{}_real.png",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_pairs(layout, tmp_path):
    files = LAYOUTS[layout]
    root = write_pairs(tmp_path / "mine", files)
    info = build("folder", manual_dir=root, data_dir=tmp_path / "data")
    assert (info.kind, info.splits) == ("paired", {"train": 5, "val": 1})
    assert info.metadata["warnings"] == {}
    source = open_source("mine", tmp_path / "data", "train+val")
    records = {source[i]["composite_id"]: source[i] for i in range(len(source))}
    assert sorted(records) == NAMES
    for role in ("composite", "mask", "real"):
        assert records[NAMES[3]][role] == (root / files[role].format(NAMES[3])).read_bytes()
    assert verify("mine", tmp_path / "data") == []
    assert len(open_folder(root, "train")) == 5


def test_plates_and_the_parent_folder(tmp_path):
    write_pairs(tmp_path / "all/mine", {**LAYOUTS["beside"], "bg": "{}_bg.png"})
    build("folder", manual_dir=tmp_path / "all", data_dir=tmp_path / "data", name="mine")
    assert "background" in open_source("mine", tmp_path / "data")[0]


def test_what_lacks_a_file_is_named_and_what_belongs_to_none_is_told(tmp_path):
    root = write_pairs(tmp_path / "mine", LAYOUTS["beside"])
    (root / "shot 2_real.jpg").unlink()
    write_image(root / "thumbnail.jpg", random_image())
    write_image(root / "old_mask.png", box_mask())
    with pytest.raises(DatasetValidationError) as error:
        build("folder", manual_dir=root, data_dir=tmp_path / "data")
    assert set(error.value.kinds) == {"missing_real", "missing_mask"}
    assert "shot 2_real.jpg" in str(error.value)
    assert "thumbnail_mask.png" in str(error.value)
    info = build("folder", manual_dir=root, data_dir=tmp_path / "data", on_error="skip")
    assert sum(info.splits.values()) == 5
    assert info.metadata["warnings"] == {"orphan_file": 1}


def test_the_seed_chooses_the_photographs_and_lists_come_before_it(tmp_path, capsys):
    root = write_pairs(tmp_path / "mine", LAYOUTS["folders"])
    data = ["--data-dir", str(tmp_path / "data")]

    def held_back(*more: str) -> set[str]:
        assert run_build(["folder", "--manual-dir", str(root), *data, *more]) == 0
        source = open_source("mine", tmp_path / "data", "val")
        return {source[i]["composite_id"] for i in range(len(source))}

    chosen = {seed: held_back("--split-seed", str(seed)) for seed in range(6)}
    assert held_back() == chosen[0]
    assert len(set.union(*chosen.values())) > 1
    assert "chosen by their names and the seed 5" in capsys.readouterr().out
    (root / "mine_train.txt").write_text("shot 0\nshot 1.jpg\n")
    (root / "mine_val.txt").write_text("shot 5\nshot 4\n")
    assert held_back() == {"shot 4", "shot 5"}
    arguments = ["folder", "--manual-dir", str(root), "--split-seed", "1", *data]
    assert run_build(arguments) == 2
    assert "without lists: here is mine_train.txt, mine_val.txt" in capsys.readouterr().err
    assert run_build(["demo", "--split-seed", "1", *data]) == 2
    assert "--split-seed is for folder" in capsys.readouterr().err


def test_composites_of_one_photograph_stay_together(tmp_path):
    # Of each photograph two, known by the name in one layout and by equal files in the other.
    names = [f"p{i}_1_{k}.jpg" for i in range(5) for k in (1, 2)]
    published = write_tree(tmp_path / "published", {"gone_train.txt": names})
    (published / "gone_train.txt").unlink()
    own = write_pairs(tmp_path / "own", LAYOUTS["beside"], [name[:-4] for name in names])
    for name in names:
        first = f"{name[:-5]}1"
        (own / f"{name[:-4]}_real.jpg").write_bytes((own / f"{first}_real.jpg").read_bytes())
    for seed in range(3):
        for root in (published, own):
            arguments = {"manual_dir": root, "data_dir": tmp_path / "data", "split_seed": seed}
            info = build("folder", **arguments)
            assert info.splits == {"train": 8, "val": 2}
            source = open_source(root.name, tmp_path / "data", "val")
            assert source[0]["real"] == source[1]["real"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda root: [f.unlink() for f in root.glob("shot [1-9]*")],
            "one photograph only, shot 0",
        ),
        (lambda root: (root / "train.txt").write_text("shot 0"), "train.txt lacks the name"),
        (lambda root: [f.unlink() for f in root.glob("*_mask.png")], "before/, after/ and masks/"),
    ],
)
def test_what_cannot_be_divided_is_refused(tmp_path, change, words):
    root = write_pairs(tmp_path / "mine", LAYOUTS["beside"])
    change(root)
    with pytest.raises(DatasetValidationError) as error:
        build("folder", manual_dir=root, data_dir=tmp_path / "data")
    assert words in str(error.value)


def test_a_photograph_mostly_stays_where_it_is_when_others_are_added(tmp_path):
    root = write_pairs(tmp_path / "mine", LAYOUTS["beside"], NAMES[:5])

    def held_back() -> set[str]:
        build("folder", manual_dir=root, data_dir=tmp_path / "data")
        return {open_source("mine", tmp_path / "data", "val")[0]["composite_id"]}

    before = held_back()
    write_pairs(root, LAYOUTS["beside"], NAMES)
    assert held_back() in (before, {NAMES[5]})
