"""What the documentation says exists: cited sections, config keys, files, figures."""

import dataclasses
import re
import typing
from pathlib import Path

import pytest

from jaxharm import registry
from jaxharm.config import TrainConfig
from jaxharm.fields import field_types

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAPERS = sorted((ROOT / "docs" / "papers").glob("*.md"))
SECTIONS = (
    "Idea",
    "Figure",
    "Network",
    "Rendering",
    "Losses",
    "Training",
    "Inference",
    "Evaluation",
    "Published numbers",
    "What we decided",
    "Config fields",
    "Checkpoints",
    "Known failures",
)


def titles(page: Path) -> list[str]:
    """Second-level headings, in order; those inside of code blocks are none."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("page", PAPERS, ids=ids(PAPERS))
def test_a_paper_s_page_has_every_section_in_order(page: Path) -> None:
    optional = {"Rendering", "Evaluation"}
    assert titles(page) == [s for s in SECTIONS if s not in optional or s in titles(page)]


def test_cited_pages_and_sections_exist() -> None:
    wrong = []
    files = [
        p
        for d in ("jaxharm", "data_pipelines", "configs", "tests")
        for p in (ROOT / d).rglob("*.py")
    ]
    for file in files:
        # A citation may run over the end of a line, of a docstring or of a comment.
        text = re.sub(r"\s*\n\s*#?\s*", " ", file.read_text())
        for page, title in re.findall(r'(docs/[\w/]+\.md)(?:, "([^"]+)")?', text):
            if not (ROOT / page).is_file():
                wrong.append(f"{file.relative_to(ROOT)}: {page} does not exist")
            elif title and title not in titles(ROOT / page):
                wrong.append(f"{file.relative_to(ROOT)}: {page} has no section {title!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_files_that_are_named_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # names what was there before, too
    named = re.findall(
        r"`((?:jaxharm|configs|data_pipelines|tests|benchmarks|docs)/[\w./]+)`", page.read_text()
    )
    assert not [path for path in named if not (ROOT / path).exists()]


def option_names() -> set[str]:
    """Every key that `--set` knows, of any model, with the groups that lead to it."""
    names: set[str] = set()

    def walk(cls: type, prefix: str) -> None:
        hints = field_types(cls)
        for field in dataclasses.fields(cls):
            names.add(prefix + field.name)
            for kind in (hints[field.name], *typing.get_args(hints[field.name])):
                if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                    walk(kind, f"{prefix}{field.name}.")

    walk(TrainConfig, "")
    for entry in registry.entries():
        walk(entry.config(), "model.")
        walk(entry.objective(), "objective.")
    return names


def test_options_that_are_named_exist() -> None:
    known, wrong = option_names(), []
    for page in PAGES:
        text = page.read_text()
        named = set(re.findall(r"--set ([\w.]+)=", text))
        named |= set(
            re.findall(r"`((?:objective|model|data|optim|eval|checkpoint|log)\.[a-z_.]+)[`=]", text)
        )
        # The third column of a paper's decisions names fields of its model.
        decisions = text.partition("## What we decided")[2].partition("\n## ")[0]
        for row in re.findall(r"^\|(.+)\|$", decisions, re.MULTILINE):
            fields = re.findall(r"`([a-z_0-9]+)`", row.rpartition("|")[2])
            named |= {f"model.{field}" for field in fields}
        wrong += [
            f"{page.name}: {name}"
            for name in sorted(named - known - {"key"})
            if not name.endswith(".py")
        ]
    assert not wrong, wrong
