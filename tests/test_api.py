"""The public surface of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

import jaxharm

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
