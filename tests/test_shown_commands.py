"""Every command that the product prints, or that README, documentation and configs show.

All of them parse, and what they name exists. Those that need no data of others are run, with the
smallest networks: they are marked slow.
"""

import argparse
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.fixtures_data import box_mask, random_image, write_image
from support.shown_commands import ROOT, shown_commands, words_of

from data_pipelines import build as build_command
from data_pipelines.building.findings import MissingDatasetError
from data_pipelines.building.next_steps import next_steps, program
from data_pipelines.reading import DEFAULT_CONFIG, dataset_info
from jaxharm import cli
from jaxharm.cli import harmonize
from jaxharm.cli.data import _COMMANDS as DATA_COMMANDS
from jaxharm.config_file import load_config, published_configs
from jaxharm.studies.ablation import load_study

SHOWN = shown_commands()
STUDY = next(name for name in published_configs() if "/study" in name)
CONFIG = next(name for name in published_configs() if name.endswith("/minibsds"))
# What stands for a value in a text, and a value.
PLACEHOLDERS = {"C": CONFIG, "DATASET": "demo", "RUN": "run", "X,Y": "1,2"}


class Parsed(BaseException):
    """Ends a command when its arguments are read; no handler of errors holds it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """The arguments that a command reads from its words; a refusal is an error."""

    def parse_and_stop(parser, argv):
        raise Parsed(read(parser, argv))

    read = argparse.ArgumentParser.parse_args
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        try:
            status = DATA_COMMANDS[words[1]]()(words[2:]) if words[0] == "data" else cli.run(words)
        except Parsed as stopped:
            return stopped.arguments
    raise AssertionError(f"ended with status {status}")


def check(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parses a command and loads what it names: configs, overlays, settings, studies, builders."""
    if words[0].startswith("benchmarks/"):
        source = (ROOT / words[0]).read_text()
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
        return
    arguments = parsed(words, monkeypatch)
    if words[0] in ("train", "eval") and arguments.config:
        load_config(arguments.config, arguments.overlay, arguments.set)
    elif words[0] == "study":
        load_study(arguments.study)
    elif words[0] == "harmonize" and "COMPOSITE" not in words:
        harmonize._check(arguments)
    elif words[:2] == ["data", "build"]:
        place = Path(arguments.manual_dir or "x")
        build_command._builder_class(arguments.dataset, arguments.name, place, arguments.max_side)


def test_the_commands_are_found():
    """So that no change of a text's form makes the tests below idle."""
    places = {shown.place for shown in SHOWN}
    assert {"README.md", "docs/quickstart.md", "docs/data.md", "docs/guides/retoucher.md"} <= places
    assert len(SHOWN) > 80
    assert words_of('ssh POD --command "jaxharm train --config C --workdir W"')[0] == "train"
    assert words_of("jaxharm data build folder [--max-side 9]   # so") == (
        ["data", "build", "folder", "--max-side", "9"]
    )
    assert words_of("run = jaxharm.Harmonizer()") == words_of("import jaxharm as j") == []


def test_commands_that_are_shown_parse_and_name_what_there_is(monkeypatch, capsys):
    wrong = []
    for shown in SHOWN:
        numbers = {"S": "0.5" if shown.words[0] == "compose" else STUDY}
        words = [{**PLACEHOLDERS, **numbers}.get(word, word) for word in shown.words]
        try:
            check(words, monkeypatch)
        except (Exception, SystemExit) as error:  # all of them in one message
            said = capsys.readouterr().err.strip().splitlines()
            wrong.append(f"{shown.place}: {shown.line}: {error or ''} {said[-1] if said else ''}")
    assert not wrong, "\n".join(wrong)


def table_of_builds() -> dict[str, set[str]]:
    """Config -> the data sets that the table of docs/data.md names for it."""
    section = (ROOT / "docs/data.md").read_text().partition("## Which config needs which build")[2]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", section.partition("\n## ")[0], re.MULTILINE)
    return {
        config: set(re.findall(r"`([^`]+)`", sets))
        for configs, sets in rows
        for config in re.findall(r"`([^`]+)`", configs)
    }


def test_the_table_says_which_config_needs_which_build():
    needed = {}
    for name in published_configs():
        if "/study" in name:
            continue
        config = load_config(name)
        sets = {
            *config.data.name.split("+"),
            config.eval.data,
            *config.data.paintings.name.split("+"),
        }
        if config.data.unpaired.enabled:
            sets |= set(config.data.unpaired.composites.split("+"))
        needed[name] = {
            f"{one}/{DEFAULT_CONFIG[one]}" if one in DEFAULT_CONFIG else one
            for one in sets - {"", "textures", "own"}
        }
    assert table_of_builds() == needed


@pytest.mark.parametrize(
    ("kind", "splits", "words"),
    [
        (
            "paired",
            ["train", "val"],
            ["verify", "train --data x --workdir runs/x", "eval --workdir"],
        ),
        ("paired", ["test"], ["verify", "eval --workdir RUN --data x --set data.data_dir='a b'"]),
        ("photos", ["train"], ["verify", "--data OTHER+x"]),
        ("photos", ["test"], ["verify", "no split train"]),
        ("painterly", ["train", "test"], ["verify", "configs that read it"]),
    ],
)
def test_a_build_names_what_its_set_can_serve_for(kind, splits, words, monkeypatch):
    lines = next_steps("x", kind, splits, Path("a b"))
    assert len(lines) == len(words)
    for line, wanted in zip(lines, words, strict=True):
        assert wanted in line
        if ": " + program() in line:
            check(shlex.split(line.partition(f"{program()} ")[2]), monkeypatch)


@pytest.mark.parametrize("name", ["iharmony4/all_1024", "artist_retouched", "demo", "mine"])
def test_the_remedy_for_a_set_that_is_not_built_builds_it(name, tmp_path, monkeypatch):
    with pytest.raises(MissingDatasetError, match="build it with: ") as error:
        dataset_info(name, tmp_path)
    words = words_of(str(error.value).partition("build it with: ")[2])
    check(words, monkeypatch)
    place = Path("x")
    _, built, _ = build_command._builder_class(words[2], parsed(words, monkeypatch).name, place, 0)
    assert built in (name, f"{name}/{DEFAULT_CONFIG.get(name)}")


def write_own_pictures(folder: Path) -> None:
    """The files that the commands for own pictures read, in the working folder."""
    for i in range(6):
        picture, mask = random_image(seed=i), box_mask()
        changed = np.where(mask[..., None] > 0, picture // 2 + 20, picture)
        for file, pixels in (
            (f"my_pairs/p{i}.jpg", changed),
            (f"my_pairs/p{i}_mask.png", mask),
            (f"my_pairs/p{i}_real.jpg", picture),
            (f"my_photos/images/{i}.jpg", picture),
            (f"my_photos/masks/{i}.png", mask),
            (f"pictures/p{i}.png", changed),
            (f"pictures/p{i}_mask.png", mask),
        ):
            write_image(folder / file, pixels)
    (folder / "my_photos/photos_train.txt").write_text("0\n1\n2\n3\n")
    (folder / "my_photos/photos_test.txt").write_text("4\n5\n")
    for name in ("composite.png", "composite.tif", "shot1.tif", "shot2.tif", "plate.png"):
        write_image(folder / name, random_image())
    for name in ("mask.png", "mask1.png", "mask2.png"):
        write_image(folder / name, box_mask())
    cutout = np.dstack([random_image(seed=3), box_mask()])
    Image.fromarray(cutout).save(folder / "cutout_rgba.png")
    Image.fromarray(cutout).save(folder / "cutout.png")
    write_image(folder / "background.jpg", random_image(300, 700))


def run_small(words: list[str]) -> int:
    """Runs a command; training with the smallest networks and few steps."""
    weights = ["runs/mine" if word == "WEIGHTS" else word for word in words]
    return cli.run([*weights, *(["--overlay", "smoke"] if words[0] == "train" else [])])


@pytest.mark.slow
def test_the_commands_for_own_pictures_run(tmp_path, monkeypatch, capsys):
    """Those of the quick start and of the pages on pictures, and what the builds print."""
    write_own_pictures(tmp_path)
    monkeypatch.chdir(tmp_path)
    quick = [shown.words for shown in SHOWN if shown.place == "docs/quickstart.md"]
    pages = ("docs/guides/retoucher.md", "docs/guides/masks.md")
    guides = [shown.words for shown in SHOWN if shown.place in pages]
    mine = [words for words in quick if "WEIGHTS" not in words]
    first = ["harmonize", "data", "train", "eval", "harmonize"]
    assert [words[0] for words in mine[:5]] == first
    later = [words for words in quick if "WEIGHTS" in words]
    # Of another network, and of a program that is not installed.
    later += [words for words in guides if "--stage" not in words and words[0] != "mask"]
    for words in [*mine, *later]:
        assert run_small(words) == 0, words
        said = capsys.readouterr().out
        if words[:2] != ["data", "build"]:
            continue
        printed = re.findall(rf"^next: {re.escape(program())} (.+)$", said, re.MULTILINE)
        assert len(printed) == 3
        for line in printed:
            assert run_small(shlex.split(line)) == 0, line
        assert json.loads(Path(shlex.split(printed[2])[-1], "eval/metrics.json").read_text())
    assert Path("out.png").is_file()
