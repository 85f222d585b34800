"""The rules of the house: one paper, one room; imports run one way; no circles; short files."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from support.import_graph import (
    PACKAGES,
    ROOT,
    circles,
    imported,
    module_name,
    references,
    siblings,
    source_files,
)

PAPERS = sorted(
    folder.name for folder in (ROOT / "jaxharm/papers").iterdir() if (folder / "entry.py").exists()
)
# What each room may import from the others. A room is a file or a folder directly in a package; the
# papers share one row. Nothing reaches up.
_WORDS = {"errors", "interfaces"}
ALLOWED = {
    "errors": set(),
    "schema": set(),
    "csv_files": {"errors", "images"},
    "storage": {"errors"},
    "fields": {"errors"},
    "joined": {"errors"},
    "config": {"errors", "fields", "joined"},
    "progress": set(),
    "measures": {"schema"},
    "interfaces": {"config", "images", "measures", "schema"},
    "commands": {"interfaces"},
    "registry": {"commands", "config", "errors", "interfaces"},
    "overrides": {"config", "errors", "fields"},
    "config_file": {"config", "errors", "metrics", "overrides", "registry"},
    "images": {"errors"},
    "nn": {"interfaces", "ops"},
    "ops": _WORDS | {"storage"},
    "losses": {"interfaces"},
    "metrics": _WORDS | {"images"},
    "weights": _WORDS
    | {"config", "fields", "images", "overrides", "registry", "schema", "storage"},
    "training": _WORDS
    | {"config", "images", "measures", "ops", "progress", "schema", "storage", "weights"},
    "evaluation": _WORDS | {"images", "inference", "measures", "metrics", "registry", "schema"},
    "studies": {"config", "config_file", "csv_files", "errors", "evaluation", "images", "measures"}
    | {"overrides", "weights"},
    "inference": _WORDS | {"compiler", "config", "images", "ops", "registry", "weights"},
    "studio": _WORDS
    | {"__init__", "commands", "config", "images", "inference", "registry", "weights"},
    "papers": _WORDS
    | {"commands", "compiler", "config", "fields", "images", "inference", "losses"}
    | {"measures", "nn", "ops", "registry", "schema", "training", "weights"},
    "compiler": set(),
    "chips": _WORDS | {"compiler", "config", "ops", "registry", "schema", "training"},
    "convert": {"weights"},
    "cli": _WORDS
    | {
        "__init__",
        "chips",
        "commands",
        "compiler",
        "config",
        "config_file",
        "convert",
        "evaluation",
    }
    | {"images", "inference", "metrics", "ops", "overrides", "progress", "registry", "studies"}
    | {"storage", "studio", "training", "weights"}
    | {"data_pipelines.build", "data_pipelines.export", "data_pipelines.loader"}
    | {"data_pipelines.making", "data_pipelines.reading", "data_pipelines.verify"},
    "__main__": {"cli"},
    "__init__": _WORDS | {"images", "inference", "registry"},
    "data_pipelines.building": {"errors", "images", "progress"},
    "data_pipelines.reading": {"data_pipelines.building", "storage"},
    "data_pipelines.samples": {"data_pipelines.building", "data_pipelines.reading", "images"}
    | {"csv_files", "errors"},
    "data_pipelines.datasets": {"data_pipelines.building", "data_pipelines.samples", "images"},
    "data_pipelines.in_place": {"data_pipelines.building", "data_pipelines.datasets"},
    "data_pipelines.batching": {"data_pipelines.samples", "errors", "schema"},
    "data_pipelines.loader": {"data_pipelines.batching", "data_pipelines.building"}
    | {"data_pipelines.reading", "data_pipelines.samples"},
    "data_pipelines.build": {"data_pipelines.building", "data_pipelines.datasets"}
    | {"data_pipelines.reading", "errors"},
    "data_pipelines.verify": {"data_pipelines.building", "data_pipelines.reading"}
    | {"csv_files", "errors", "progress"},
    "data_pipelines.export": {"data_pipelines.building", "data_pipelines.reading", "errors"}
    | {"progress"},
    "data_pipelines.making": {"data_pipelines.building", "data_pipelines.datasets", "images"}
    | {"errors", "progress"},
    "data_pipelines.__init__": set(),
}
# Where one package may enter the other: data workers stay free of JAX, and only the command line,
# which lies on top of both, knows the data tools.
INTO_JAXHARM = {"csv_files", "errors", "schema", "images", "progress", "storage"}
INTO_DATA_PIPELINES = {"cli"}
BUILT_ON = {"giftnet": {"issam"}}  # a paper that is built on another one, and says so


def room_of(module: str) -> str:
    """The room of a module, as `ALLOWED` names it."""
    package, room = module.split(".")[:2]
    return room if package == "jaxharm" else f"{package}.{room}"


def crossings() -> dict[str, set[str]]:
    """Room -> the other rooms that its files refer to."""
    found = defaultdict(set)
    for module, targets in references().items():
        found[room_of(module)] |= {room_of(target) for target in targets}
    return {room: targets - {room} for room, targets in found.items()}


def test_imports_run_one_way_and_no_allowance_is_idle():
    used = crossings()
    assert {room: used[room] - ALLOWED.get(room, set()) for room in used} == {
        room: set() for room in used
    }, "imports that are not allowed"
    idle = {room: allowed - used.get(room, set()) for room, allowed in ALLOWED.items()}
    assert not {room: names for room, names in idle.items() if names}, "allowances nobody uses"
    assert set(ALLOWED) == set(used), "rooms without a row, or rows without a room"


def test_the_two_packages_meet_in_few_places_only():
    for room, targets in crossings().items():
        for target in targets:
            if room.startswith("data_pipelines.") and not target.startswith("data_pipelines."):
                assert target in INTO_JAXHARM, f"{room} refers to jaxharm.{target}"
            if target.startswith("data_pipelines.") and not room.startswith("data_pipelines."):
                assert room in INTO_DATA_PIPELINES, f"jaxharm.{room} refers to {target}"


def test_a_paper_refers_to_no_other_paper():
    used = defaultdict(set)
    for module, targets in references().items():
        for target in targets:
            paper, other = (_paper_of(name) for name in (module, target))
            if paper and other and paper != other:
                used[paper].add(other)
    assert dict(used) == BUILT_ON


def _paper_of(module: str) -> str | None:
    steps = module.split(".")
    return steps[2] if steps[:2] == ["jaxharm", "papers"] and steps[2] in PAPERS else None


def test_no_circle_of_files_or_folders():
    """At every level, the files and folders that lie side by side refer to each other one way."""
    found = {
        f"{folder}: {' '.join(circle)}"
        for folder, edges in siblings(references())
        for circle in circles(edges)
    }
    assert not found


# Where every paper may be named: texts for people, the commands of the demo, and studies that
# compare papers.
DOCS = (
    "docs/",
    "configs/comparisons/",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "configs/README.md",
    "mkdocs.yml",
    "Makefile",
)
SEARCHED = ("jaxharm", "data_pipelines", "configs", "tests", "benchmarks", "examples", "docs")
LOOSE = ("*.py", "*.toml", "*.md", "*.yml", "Makefile", ".ci/*", ".github/**/*")


def searched_files() -> list[str]:
    """Every text file of the checkout, as a path from its root."""
    files = {file for folder in SEARCHED for file in (ROOT / folder).rglob("*")}
    files |= {file for pattern in LOOSE for file in ROOT.glob(pattern)}
    return sorted(
        str(file.relative_to(ROOT))
        for file in files
        if file.is_file()
        and "__pycache__" not in file.parts
        and file.suffix not in (".npz", ".png")
    )


def rooms_of(paper: str) -> tuple[str, ...]:
    """Paths under which `paper` may be named."""
    builders = [other for other, bases in BUILT_ON.items() if paper in bases]
    own = [
        f"{room}/{name}/"
        for name in (paper, *builders)
        for room in ("jaxharm/papers", "configs", "tests/papers")
    ]
    data = ["data_pipelines/datasets/coco_wikiart.py"] if paper == "propih" else []
    return (*own, *data, *DOCS, "tests/test_house.py")


def names_outside() -> set[str]:
    """ "<paper> <path>" of every file that names a paper and lies outside its rooms."""
    found = set()
    for path in searched_files():
        try:
            text = re.sub(r"docs/papers/\w+\.md|github\.com/\S+", "", (ROOT / path).read_text())
        except UnicodeDecodeError:
            continue
        named = [paper for paper in PAPERS if re.search(rf"\b{paper}\b", text, re.IGNORECASE)]
        found |= {f"{paper} {path}" for paper in named if not path.startswith(rooms_of(paper))}
    return found


def test_a_paper_is_named_in_its_own_rooms_only():
    """Links to a paper's page or to a repository may be anywhere: they cite a source."""
    assert PAPERS
    found = names_outside()
    print(*sorted(found), sep="\n")
    assert not found


def test_pytorch_is_used_for_official_files_and_official_code_only():
    users = {
        file.name
        for file in source_files()
        for name in imported(file)
        if name.split(".")[0] == "torch"
    }
    assert users <= {"torch_file.py", "official_code.py", "official.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_code_is_documented_and_files_are_short(package):
    wrong = []
    for file in source_files():
        if file.is_relative_to(ROOT / package):
            wrong += [f"{module_name(file)}: {fault}" for fault in _faults(file)]
    assert not wrong


def _faults(file: Path) -> list[str]:
    text = file.read_text()
    tree = ast.parse(text)
    faults = []
    if tree.body and not ast.get_docstring(tree):
        faults.append("the module has no docstring")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            faults += [] if ast.get_docstring(node) else [f"{node.name} has no docstring"]
    if len(text.splitlines()) > 400:
        faults.append("more than 400 lines")
    if file.name in ("utils.py", "helpers.py", "misc.py"):
        faults.append("a name that says nothing")
    return faults
