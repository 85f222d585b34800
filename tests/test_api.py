"""The public surface, and the rules that keep the code in layers."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxharm

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "jaxharm").rglob("*.py"), *(ROOT / "data_pipelines").rglob("*.py")])

# What each part of jaxharm may import from the others, besides itself. Nothing reaches up.
_BASE = {"errors", "types"}
_SETTINGS = _BASE | {"config", "registry"}
ALLOWED = {
    "errors": set(),
    "types": {"errors"},
    "config": _BASE,
    "registry": {"errors", "config"},
    "ops": _BASE | {"nn.conv"},  # nn/conv.py: convolutions with fast gradients
    "nn": _BASE | {"ops"},
    "objectives": _BASE | {"ops", "nn"},
    "metrics": _BASE | {"ops"},
    "io": _BASE,
    "convert": _SETTINGS | {"nn", "models"},
    "evaluation": _SETTINGS | {"metrics", "io", "ops", "systems.base"},
    "models": _SETTINGS | {"ops", "nn"},
    "inference": _SETTINGS | {"ops", "nn", "io", "models", "convert"},
    "systems": _SETTINGS | {"ops", "nn", "objectives", "metrics", "models", "convert"},
    "training": _SETTINGS | {"metrics", "io", "convert", "evaluation", "systems.base"},
    "exit_head": _SETTINGS
    | {"ops", "nn", "objectives", "models", "convert", "systems", "training"},
    "compiler": set(),
    "cli": _SETTINGS | {"compiler", "metrics", "io", "convert", "inference", "models"},
    "__main__": {"cli"},
    "__init__": set(),
}


def imported(file: Path) -> Iterator[str]:
    """Dotted names of every import in a file, at any depth of the code."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(file: Path) -> str:
    """The part of jaxharm that a file belongs to."""
    return file.relative_to(ROOT / "jaxharm").parts[0].removesuffix(".py")


def test_imports_go_one_way():
    wrong = []
    for file in FILES:
        if file.is_relative_to(ROOT / "data_pipelines"):
            continue
        part = part_of(file)
        for name in imported(file):
            steps = name.split(".")
            if steps[0] != "jaxharm" or len(steps) < 2 or steps[1] == part:
                continue
            if steps[1] not in ALLOWED[part] and ".".join(steps[1:3]) not in ALLOWED[part]:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_the_two_packages_do_not_know_each_other():
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in FILES
        for name in imported(file)
        if name.split(".")[0] in {"jaxharm", "data_pipelines"} - {file.relative_to(ROOT).parts[0]}
    ]
    assert not wrong


def test_a_model_imports_no_other_model():
    for file in (ROOT / "jaxharm/models").glob("*.py"):
        paper = file.stem.split("_")[0]
        for name in imported(file):
            if name.startswith("jaxharm.models."):
                assert name.split(".")[2].split("_")[0] == paper, f"{file.name} imports {name}"


def test_pytorch_is_used_to_read_its_files_only():
    users = {
        file.name for file in FILES for name in imported(file) if name.split(".")[0] == "torch"
    }
    assert users <= {"torch_file.py"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_public_code_is_documented_and_files_are_short(file):
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree) or not tree.body, "the module has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
    limit = 450 if file.parent.name == "models" else 400
    assert len(file.read_text().splitlines()) <= limit
    assert file.name not in ("utils.py", "helpers.py", "misc.py")


def test_public_names_exist_and_are_listed():
    for name in jaxharm.__all__:
        assert getattr(jaxharm, name) is not None
    assert dir(jaxharm) == sorted(jaxharm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jaxharm.nothing


def test_version_is_that_of_the_project():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{jaxharm.__version__}"\n' in text


def test_contract_models_are_registered_in_order():
    names = [name for name in jaxharm.list_models() if name != "toy"]
    contract = [
        "pih",
        "pih_light",
        "gknet",
        "giftnet",
        "issam",
        "phnet_ffhqh",
        "phnet_iharmony4",
        "propih",
    ]
    assert set(names) <= set(contract)
    assert {"pih", "pih_light", "phnet_ffhqh", "phnet_iharmony4"} <= set(names)


def test_unknown_model_and_option_name_the_valid_ones():
    with pytest.raises(ValueError, match="unknown model 'phnet'; known: phnet_"):
        jaxharm.create_model("phnet")
    with pytest.raises(ValueError, match="unknown option nonsense of model 'pih'; valid: light"):
        jaxharm.create_model("pih", nonsense=1)


def test_import_is_quick_and_touches_no_device():
    code = (
        "import sys, time; start = time.process_time(); import jaxharm; jaxharm.list_models();"
        "print(time.process_time() - start, any(m in sys.modules for m in"
        " ('jax', 'flax', 'numpy', 'cv2', 'PIL', 'tensorflow', 'torch', 'absl')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    seconds, heavy = result.stdout.split()
    assert heavy == "False"
    assert float(seconds) < 0.3
