"""No option without a user: every config field is set by a config, an overlay or a test, and explained.

Whoever adds an option adds a test that shows what it does, or a config that needs it.
"""

import ast
import dataclasses
import importlib.util
import inspect
from collections import defaultdict
from pathlib import Path

import pytest
from support.config_classes import config_classes

from jaxharm.config_file import find_config, known_overlays, load_config, published_configs
from jaxharm.errors import InputError
from jaxharm.fields import field_types

ROOT = Path(__file__).resolve().parent.parent


def defined_in(cls, name):
    """The class of the hierarchy whose field this is."""
    return next(base for base in cls.__mro__ if name in inspect.get_annotations(base))


def default_of(cls, name):
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def changed_fields(config):
    """(class, name) of the fields of a config, and inside of it, that differ from their default."""
    for field in dataclasses.fields(config):
        value, cls = getattr(config, field.name), type(config)
        if value != default_of(cls, field.name):
            yield defined_in(cls, field.name), field.name
        if dataclasses.is_dataclass(value):
            yield from changed_fields(value)


def set_by_configs():
    found = set()
    for name in published_configs():
        if "/study" in name:
            continue
        found |= set(changed_fields(load_config(name)))
        for overlay in known_overlays(find_config(name)):
            try:
                found |= set(changed_fields(load_config(name, [overlay])))
            except InputError:  # an overlay of this folder that is for its other configs
                continue
    return found


def set_by_tests():
    """Name -> values (syntax trees) that the tests give to arguments, keys and settings so called."""
    values = defaultdict(list)
    for file in (ROOT / "tests").rglob("*.py"):
        if file.name in ("test_fields.py", "test_options.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg:
                values[node.arg].append(node.value)
            elif isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant):
                        values[key.value].append(value)
            elif isinstance(node, ast.Constant) and "=" in str(node.value):
                values[str(node.value).partition("=")[0].rpartition(".")[2]].append(None)
            elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
                first = node.elts[0]
                if isinstance(first, ast.Constant):
                    values[first.value].append(node.elts[1])
    return values


def is_other(value, default):
    """Whether a value in a test is, or may be, another one than the default."""
    try:
        return ast.literal_eval(value) != default
    except (TypeError, ValueError):  # no literal
        return True


def test_every_option_is_set_somewhere():
    by_configs, by_tests = set_by_configs(), set_by_tests()
    fields = {
        (defined_in(cls, name), name) for cls in config_classes() for name in field_types(cls)
    }
    idle = [
        f"{cls.__name__}.{name}"
        for cls, name in sorted(fields - by_configs, key=lambda field: field[1])
        if not any(is_other(value, default_of(cls, name)) for value in by_tests[name])
    ]
    assert not idle, "options that no config, overlay or test sets: test them or remove them"


@pytest.fixture(scope="module")
def meanings():
    """The function of the documentation that finds what a field means."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.field_meanings


@pytest.mark.parametrize("cls", config_classes(), ids=lambda cls: cls.__name__)
def test_every_option_is_explained(cls, meanings):
    assert [name for name in field_types(cls) if not meanings(cls).get(name)] == []
