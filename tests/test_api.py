"""The public surface of the package."""

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import jaxharm
from jaxharm import registry

ROOT = Path(__file__).resolve().parent.parent


def test_public_names_exist_and_are_listed():
    for name in jaxharm.__all__:
        assert getattr(jaxharm, name) is not None
    assert dir(jaxharm) == sorted(jaxharm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jaxharm.nothing


def test_version_is_that_of_the_project():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{jaxharm.__version__}"\n' in text


@pytest.mark.parametrize("file", sorted((ROOT / "tests/papers").glob("*/case.py")), ids=str)
def test_models_of_the_contract_are_registered(file):
    """What programs outside of this project call stays; a new paper adds names and changes none."""
    case = importlib.import_module(f"papers.{file.parent.name}.case")
    assert set(case.CONTRACT) <= set(jaxharm.list_models())


def test_unknown_model_and_option_name_the_valid_ones():
    name = jaxharm.list_models()[0]
    with pytest.raises(ValueError, match=f"unknown model '{name}x'; known: .*{name}"):
        jaxharm.create_model(f"{name}x")
    field = dataclasses.fields(registry.get(name).config())[0].name
    with pytest.raises(
        ValueError, match=f"unknown option nonsense of model '{name}'; valid: {field}"
    ):
        jaxharm.create_model(name, nonsense=1)


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


def test_import_beside_a_clone_finds_the_package(tmp_path):
    """A folder of the same name, as `git clone` makes one, must not be taken for the package."""
    (tmp_path / "jaxharm" / "jaxharm").mkdir(parents=True)
    code = "import jaxharm; print(jaxharm.__version__, jaxharm.Harmonizer.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.split() == [jaxharm.__version__, "Harmonizer"], done.stderr


def test_packages_of_an_extra_are_named_where_they_are_missing():
    code = (
        "import sys; sys.modules['starlette.applications'] = sys.modules['starlette'] = None\n"
        "from jaxharm.__main__ import main; sys.exit(main(['studio', '--no-browser']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "pip install 'jaxharm[studio]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_extra_that_is_named_exists():
    import tomllib

    from jaxharm.errors import EXTRAS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


def test_the_cache_of_compiled_programs_is_on_for_the_library(tmp_path, monkeypatch):
    import jax

    monkeypatch.setenv("JAXHARM_CACHE", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        jaxharm.Harmonizer(cache=False)
        assert jax.config.jax_compilation_cache_dir is None
        jaxharm.Harmonizer()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path)
        jax.config.update("jax_compilation_cache_dir", "elsewhere")
        jaxharm.Harmonizer()
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
