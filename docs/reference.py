"""Tables of the documentation that are made from the code, when the site is built.

Every option has one home, the frozen dataclass that holds it; what it means is read from there, so
that no page can tell another story. Nothing here names a paper: models come from the registry.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from jaxharm import registry
from jaxharm.config import TrainConfig
from jaxharm.fields import field_types, type_words
from jaxharm.inference.loading import runner_class
from jaxharm.metrics.protocols import PROTOCOLS


def model_fields(name: str) -> str:
    """Tables of a registered model's Config, its Objective, and its options in use."""
    entry = registry.get(name)
    parts = [
        _titled("Network", "model", entry.config()),
        _titled("Losses", "objective", entry.objective()),
    ]
    options = runner_class(entry).Options
    if entry.listed and dataclasses.fields(options):
        parts += [f"**In use** (`jaxharm.{options.__name__}`)", _table(options, "")]
    return "\n\n".join(parts)


def objective_fields(name: str) -> str:
    """The table of a registered model's Objective alone."""
    return _titled("Losses", "objective", registry.get(name).objective())


def all_model_fields() -> str:
    """One section per model that has options of its own."""
    names: dict[tuple[type, type], list[str]] = {}
    for name in registry_names():
        entry = registry.get(name)
        names.setdefault((entry.config(), entry.objective()), []).append(name)
    parts = []
    for (config, objective), models in names.items():
        parts.append(f"## {', '.join(f'`{name}`' for name in models)}")
        for name in models:
            preset = registry.get(name).preset
            if preset:
                values = ", ".join(f"`model.{key}={_value(v)}`" for key, v in preset.items())
                parts.append(f"`{name}` starts from {values}.")
        parts += [
            _titled("Network", "model", config, level=3),
            _titled("Losses", "objective", objective, level=3),
        ]
    return "\n\n".join(parts)


def run_fields() -> str:
    """Tables of TrainConfig and of the groups inside it."""
    elsewhere = ("model", "objective")  # the page on the models' options
    plain = [
        f.name
        for f in dataclasses.fields(TrainConfig)
        if f.name not in elsewhere and not _group(TrainConfig, f.name)
    ]
    parts = ["## The run", _table(TrainConfig, "", only=plain)]
    for field in dataclasses.fields(TrainConfig):
        group = _group(TrainConfig, field.name)
        if group is not None:
            parts += [f"## `{field.name}`", _first_line(group), _table(group, f"{field.name}.")]
    return "\n\n".join(parts)


def registry_names() -> list[str]:
    """Every registered name, helpers such as teachers included."""
    return [entry.name for entry in registry.entries()]


def models_table() -> str:
    """What `jaxharm models` prints, as a table."""
    rows = ["| model | parameters | memory | side | paper | license of the code |"]
    rows.append("|---|---:|---:|---:|---|---|")
    for name in registry.list_models():
        entry = registry.get(name)
        size = registry.model_config(name).default_size
        memory = f"{entry.memory_mib} MiB" if entry.memory_mib else "not measured"
        rows.append(
            f"| `{name}` | {entry.parameters:,} | {memory} | {size} | {_cell(entry.paper)} "
            f"| {_cell(entry.license)} |"
        )
    return "\n".join(rows)


def official_files_table() -> str:
    """Where official weights are, as `jaxharm models` prints it."""
    rows = ["| model | file | trained on | license of the weights | sha256 | how to use it |"]
    rows.append("|---|---|---|---|---|---|")
    for name in registry.list_models():
        entry = registry.get(name)
        if entry.weights:
            rows.append(f"| `{name}` | {_cell(entry.weights)} | | | | |")
        rows += [
            f"| `{name}` | [{f.file}]({f.page}) | {_cell(f.contents)} | {_cell(f.license)} "
            f"| {f.sha256 or 'not known'} | `{f.use}` |"
            for f in entry.official_files
        ]
    return "\n".join(rows)


def protocols_table() -> str:
    """The named protocols with every choice that differs from the default one.

    Protocols that differ in size alone share a row.
    """
    base, rows = PROTOCOLS["default_256"], {}
    for name, protocol in PROTOCOLS.items():
        changes = ", ".join(
            f"`{f.name}={_value(getattr(protocol, f.name))}`"
            for f in dataclasses.fields(protocol)
            if f.name not in ("name", "size", "note")
            and getattr(protocol, f.name) != getattr(base, f.name)
        )
        rows.setdefault((changes, protocol.note), []).append((name, protocol.size))
    lines = ["| protocol | side | differs from `default_256` in | source |", "|---|---|---|---|"]
    for (changes, note), found in rows.items():
        names = ", ".join(f"`{name}`" for name, _ in found)
        sides = ", ".join(str(size or "native") for _, size in found)
        lines.append(f"| {names} | {sides} | {changes} | {_cell(note)} |")
    return "\n".join(lines)


def _titled(title: str, prefix: str, cls: type, *, level: int = 0) -> str:
    heading = f"{'#' * level} {title}" if level else f"**{title}** (`{prefix}.*`)"
    if not dataclasses.fields(cls):
        return f"{heading}\n\nNo options."
    return f"{heading}\n\n{_table(cls, f'{prefix}.')}"


def _table(cls: type, prefix: str, *, only: list[str] | None = None) -> str:
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for key, hint, default, meaning in _rows(cls, prefix):
        if only is None or key in only:
            shown = "required" if default is dataclasses.MISSING else f"`{_value(default)}`"
            rows.append(
                f"| `{key}` | {_cell(hint.removeprefix('collections.abc.'))} | {shown} | {_cell(meaning)} |"
            )
    return "\n".join(rows)


def _rows(cls: type, prefix: str) -> Iterator[tuple[str, str, Any, str]]:
    """Key, type, default and meaning of every field, those of groups inside included."""
    meanings = field_meanings(cls)
    hints = field_types(cls)
    for field in dataclasses.fields(cls):
        key, default = f"{prefix}{field.name}", _default(field)
        group = _group(cls, field.name)
        if group is None:
            yield key, type_words(hints[field.name]), default, meanings.get(field.name, "")
            continue
        if default is None:
            yield key, f"{group.__name__} or none", None, meanings.get(field.name, "")
        yield from _rows(group, f"{key}.")


def _group(cls: type, name: str) -> type | None:
    """The dataclass that a field holds, if it does."""
    hint = typing.get_type_hints(cls)[name]
    for option in (hint, *typing.get_args(hint)):
        if isinstance(option, type) and dataclasses.is_dataclass(option):
            return option
    return None


def _default(field: Any) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def field_meanings(cls: type) -> dict[str, str]:
    """What the fields of a dataclass mean: comments, strings below, or "Attributes" sections."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            meanings |= _attribute_section(inspect.getdoc(base) or "")
            meanings |= _beside_fields(base)
    return meanings


def _attribute_section(doc: str) -> dict[str, str]:
    section = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", doc, re.MULTILINE)
    if not section:
        return {}
    found: dict[str, str] = {}
    names: list[str] = []
    for line in textwrap.dedent(section.group(1)).splitlines():
        start = re.match(r"([a-z_0-9]+(?:, [a-z_0-9]+)*): (.*)", line)
        if start:
            names = start.group(1).split(", ")
            found |= {name: start.group(2) for name in names}
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _beside_fields(cls: type) -> dict[str, str]:
    """Comments behind a field, and strings on the line below it."""
    source = textwrap.dedent(inspect.getsource(cls))
    lines = source.splitlines()
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.ClassDef):
        return {}
    found: dict[str, str] = {}
    for node, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        statement = lines[node.lineno - 1 : node.end_lineno]
        comments = [m.group(1) for line in statement if (m := re.search(r"#\s*(.*)$", line))]
        if comments:
            found[node.target.id] = " ".join(comments)
        if (
            isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[node.target.id] = " ".join(below.value.value.split())
    return found


def _value(value: Any) -> str:
    """A value as it is typed behind --set."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(_value(v) for v in value) or "()"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) or dataclasses.is_dataclass(value):
        return "{}" if not value else "..."
    return str(value) or "(empty)"


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
