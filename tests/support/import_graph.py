"""Who refers to whom among the files of the two packages, read from the source text."""

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jaxharm", "data_pipelines")
DOTTED = re.compile(rf"({'|'.join(PACKAGES)})(\.\w+)+(:\w+)?")

Edges = Mapping[str, set[str]]


def source_files() -> list[Path]:
    """Every Python file of both packages."""
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def module_name(file: Path) -> str:
    """The dotted name that a file is imported by; a package's own code is `package.__init__`."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def imported(file: Path) -> Iterator[str]:
    """Dotted names of every import in a file, at any depth of the code, also for types only."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named_in_strings(file: Path) -> Iterator[str]:
    """Strings that are the dotted name of something in the packages: imports in disguise."""
    for node in ast.walk(ast.parse(file.read_text())):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and DOTTED.fullmatch(text):
            yield text.replace(":", ".")


@functools.cache
def references() -> Edges:
    """Module -> the other modules of both packages that it imports or names in a string."""
    files = {module_name(file): file for file in source_files()}
    edges: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for target in (*imported(file), *named_in_strings(file)):
            found = _defined_in(target, files)
            if found not in (None, name):
                edges[name].add(found)
    return edges


def _defined_in(target: str, modules: Iterable[str]) -> str | None:
    """The module that `a.b.Name` comes from: the longest part of it that is a file."""
    steps = target.split(".")
    while steps:
        for name in (".".join(steps), ".".join([*steps, "__init__"])):
            if name in modules:
                return name
        steps.pop()
    return None


def siblings(edges: Edges) -> Iterator[tuple[str, Edges]]:
    """For every folder: the references among its files and folders, each taken as one node."""
    folders = {".".join(name.split(".")[:-1]) for name in edges}
    for folder in sorted(folders):
        inside: dict[str, set[str]] = defaultdict(set)
        depth = len(folder.split("."))
        for name, targets in edges.items():
            for target in targets:
                if all(module.startswith(f"{folder}.") for module in (name, target)):
                    first, second = (m.split(".")[depth] for m in (name, target))
                    if first != second:
                        inside[first].add(second)
        yield folder, inside


def circles(edges: Edges) -> list[list[str]]:
    """Groups of nodes of which each reaches each other."""
    reached = {node: _reachable(node, edges) for node in edges}
    found = {
        tuple(sorted(other for other in reached[node] if node in reached.get(other, ())))
        for node in edges
        if node in reached[node]
    }
    return [list(group) for group in sorted(found)]


def _reachable(start: str, edges: Edges) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(edges.get(node, ()))
    return seen
