"""The parameters record and its file: every bit comes back, every damage gives one sentence."""

import json

import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.papers.pih.parameters import Parameters

RANDOM = np.random.default_rng(0)
CURVES = RANDOM.random((3, 32), np.float32)
SHADING = 0.5 + RANDOM.random((20, 31), np.float32) / 2


@pytest.mark.parametrize("shading", [SHADING, None], ids=["shading", "curves only"])
def test_every_bit_comes_back(tmp_path, shading):
    curves = CURVES.copy()
    curves[0, :3] = 0, 1e-42, np.nextafter(np.float32(1), np.float32(0))
    Parameters(curves, shading, single_alpha=True).save(tmp_path / "p.json")
    loaded = Parameters.load(tmp_path / "p.json")
    assert loaded.curves.tobytes() == curves.tobytes()
    assert loaded.single_alpha is True
    if shading is None:
        assert loaded.shading is None
    else:
        assert loaded.shading.tobytes() == shading.tobytes()
        assert loaded.shading.shape == shading.shape
    assert [file.name for file in tmp_path.iterdir()] == ["p.json"]


def test_curves_are_readable_numbers(tmp_path):
    Parameters(CURVES, None).save(tmp_path / "p.json")
    document = json.loads((tmp_path / "p.json").read_text())
    assert document["curves"]["green"][3] == pytest.approx(float(CURVES[1, 3]), abs=1e-7)
    assert "0.8506244" not in document  # the digits are those of float32, not of float64
    assert max(len(str(v)) for v in document["curves"]["red"]) <= 13


@pytest.mark.parametrize(
    ("curves", "shading", "reason"),
    [
        (CURVES[:2], None, r"the curves have shape \[2, 32\]"),
        (CURVES[:, :1], None, "k of 2 to"),
        (CURVES * 2, None, "the curves span .* not 0 to 1"),
        (CURVES * np.nan, None, "the curves span nan"),
        (CURVES.astype(str), None, "the curves must be numbers"),
        (CURVES, SHADING[0], r"the shading map has shape \[31\]"),
        (CURVES, SHADING[:0], r"the shading map has shape \[0, 31\]"),
        (CURVES, -SHADING, "the shading map span"),
    ],
)
def test_records_that_mean_nothing_are_refused(curves, shading, reason):
    with pytest.raises(InputError, match=reason):
        Parameters(curves, shading)


def damage(document, path, value):
    node = document
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("format",), "jaxharm-parameters-9", 'no "format"'),
        (("curves",), None, '"curves" must hold red, green, blue'),
        (("curves", "blue"), None, '"curves" must hold red, green, blue'),
        (("curves", "blue"), [0.5], "equally many numbers"),
        (("curves", "blue"), 0.5, "equally many numbers"),
        (("curves", "blue"), ["a"] * 32, "the curves must be numbers"),
        (("curves", "blue"), [[0.5]] * 32, "the curves must be numbers"),
        (("curves", "blue"), [7.0] * 32, "span"),
        (("shading",), None, '"shading" is missing'),
        (("shading",), 5, '"shading" is damaged'),
        (("shading", "data"), None, '"shading" is damaged'),
        (("shading", "data"), "!!!", '"shading" is damaged'),
        (("shading", "data"), "AAAA", '"shading" is damaged'),
        (("shading", "height"), 21, "does not hold 21x31 values"),
        (("shading", "height"), 19, "does not hold 19x31 values"),
        (("shading", "height"), 10**9, "whole numbers of 1 to"),
        (("shading", "width"), "31", "whole numbers of 1 to"),
        (("single_alpha",), "no", '"single_alpha" must be true or false'),
    ],
)
def test_damaged_files_give_one_sentence(tmp_path, path, value, reason):
    file = tmp_path / "p.json"
    Parameters(CURVES, SHADING).save(file)
    document = json.loads(file.read_text())
    damage(document, path, value)
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=reason) as caught:
        Parameters.load(file)
    assert str(caught.value).startswith(f"{file} is no parameters file: ")
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "text.json").write_text("curves")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match='no "format"'):
        Parameters.load(tmp_path / "list.json")
    for name in ("text.json", "binary.json"):
        with pytest.raises(InputError, match="it is not JSON"):
            Parameters.load(tmp_path / name)
    with pytest.raises(InputError, match="do not exist"):
        Parameters.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot read parameters"):
        Parameters.load(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        Parameters(CURVES, None).save(tmp_path / "none" / "p.json")
