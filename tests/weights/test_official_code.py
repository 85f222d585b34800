"""Modules of a checkout are imported where they lie, and leave no trace in the interpreter."""

import sys

import pytest

from jaxharm.errors import InputError
from jaxharm.weights.official_code import Checkout, quiet


def checkout(tmp_path, name, text):
    folder = tmp_path / name
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "__init__.py").write_text("")
    (folder / "models" / "network.py").write_text(text)
    return Checkout(folder)


def test_checkouts_with_modules_of_one_name_do_not_meet(tmp_path):
    loaded = [
        checkout(tmp_path, name, f"NAME = {name!r}").load("models.network")[0] for name in "ab"
    ]
    assert [module.NAME for module in loaded] == ["a", "b"]
    assert not [name for name in sys.modules if name.split(".")[0] == "models"]
    assert not [path for path in sys.path if path.startswith(str(tmp_path))]


def test_what_is_not_used_need_not_be_installed(tmp_path):
    text = "from no_such_package.deep import Thing\nclass Own(Thing): pass"
    absent = ("no_such_package", "no_such_package.deep")
    (module,) = checkout(tmp_path, "a", text).load("models.network", absent=absent)
    assert module.Own()
    assert "no_such_package" not in sys.modules


def test_an_installed_package_is_not_replaced(tmp_path):
    text = "from json import dumps\nTEXT = dumps([1])"
    (module,) = checkout(tmp_path, "a", text).load("models.network", absent=("json",))
    assert module.TEXT == "[1]"


def test_what_is_missing_is_named(tmp_path):
    given = checkout(tmp_path, "a", "import no_such_package")
    with pytest.raises(
        InputError, match=r"a cannot be imported: No module named 'no_such_package'"
    ):
        given.load("models.network")


def test_official_code_prints_nothing(capsys):
    with quiet():
        print("a line per step")
    assert capsys.readouterr().out == ""
