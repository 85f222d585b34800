"""The commands that README, documentation and configs show, as words that can be parsed."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "configs").rglob("*.md")]
)
_START = re.compile(
    r"(?:(?:^|(?<=[\s\"]))(?:python -m )?jaxharm|python -m data_pipelines\.\w+"
    r"|python (?:train|eval)\.py|python benchmarks/\w+\.py) (?=[\w-])"
)
_LIST = ROOT / "docs/reference/commands.md"
_TOOLS = {"train.py": ["train"], "eval.py": ["eval"]}


class Shown(NamedTuple):
    """A command: the file that shows it, its line, and its words behind `jaxharm`."""

    place: str
    line: str
    words: list[str]


def shown_commands() -> list[Shown]:
    """Every command in a code block, in the list of commands, or in the docstring of a config."""
    found = []
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
        lines = [line for block in blocks for line in joined(block)]
        if page == _LIST:
            lines += re.findall(r"^\| `([^`\n]+)` \|", text, re.MULTILINE)
        found += [(page, line) for line in lines]
    for file in sorted((ROOT / "configs").rglob("*.py")):
        docstring = file.read_text().split('"""')[1:2]
        found += [(file, line) for text in docstring for line in joined(text)]
    return [
        Shown(str(file.relative_to(ROOT)), line.strip(), words)
        for file, line in found
        if (words := words_of(line))
    ]


def joined(text: str) -> list[str]:
    """The lines of a text, those that go on behind a backslash as one."""
    return text.replace("\\\n", " ").splitlines()


def words_of(line: str) -> list[str]:
    """The words behind `jaxharm` of the command in a line; none where it holds no command."""
    start = _START.search(line)
    if start is None or line[: start.start()].rstrip().endswith(("import", "=", "for:", "clone")):
        return []
    text = line[start.start() :].partition(" #")[0].partition("; ")[0]
    if "..." in text or re.search(r"\s(?:and|is|are|what)\s|:$", text):  # a sentence about it
        return []
    text = re.sub(r"\[(.*?)\]", r"\1", text).rstrip(' ")`')  # what may be left out is tried
    words = shlex.split(text.replace("\\|", "|"))
    # Of alternatives, the first one.
    words = [word.partition("|")[0] for word in words]
    if words[0] == "jaxharm":
        return words[1:]
    if words[1] == "-m":
        module = words[2].removeprefix("data_pipelines.")
        return words[3:] if words[2] == "jaxharm" else ["data", module, *words[3:]]
    return [*_TOOLS.get(words[1], [words[1]]), *words[2:]]
