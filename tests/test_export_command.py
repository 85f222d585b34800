"""`jaxharm export`: weights to give away, what they say of themselves, and who heeds it."""

import json

import numpy as np
import pytest
from test_cli import IMAGE, MASK, folder_of_pairs, harmonize, weights, write_pair  # noqa: F401

from jaxharm.__main__ import main
from jaxharm.images import read_image
from jaxharm.weights.card import read_card


def export(*arguments):
    return main(["export", *map(str, arguments)])


@pytest.fixture
def evaluated(tmp_path):
    """What `jaxharm eval --out` writes, in short."""
    row = {"fmse": 4.0, "mse": 2.0, "psnr": None, "count": 3, "improved": 2 / 3, "made_worse": 0}
    told = {"model": "toy", "data": "set test", "strength": "0.7"}
    content = {"All": row, "protocol": "default_256", "baseline": {"All": {**row, "fmse": 8.0}}}
    (tmp_path / "eval").mkdir()
    text = json.dumps({**content, "statement": {"evaluated": told}})
    (tmp_path / "eval/metrics.json").write_text(text)
    return tmp_path / "eval"


def test_what_is_given_stands_in_the_manifest(tmp_path, weights, evaluated, capsys):  # noqa: F811
    out = tmp_path / "w"
    told = ("--license", "CC0-1.0", "--attribution", "A, B", "--encoder", "none")
    assert export(weights, out, "--float16", *told, "--measured", evaluated) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "manifest.json").read_text())
    card = read_card(out)
    assert (card.license, card.attribution, card.encoder) == ("CC0-1.0", "A, B", "none")
    (measured,) = card.measured
    assert (measured.data, measured.images, measured.strength) == ("set test", 3, 0.7)
    assert (measured.model, measured.composite["fmse"]) == ({"fmse": 4.0, "mse": 2.0}, 8.0)
    assert (measured.improved, measured.made_worse) == (0.6667, 0)
    # Once more: what is not given stays.
    assert export(out, tmp_path / "again", "--recommend-strength", "0.5") == 0
    again = read_card(tmp_path / "again")
    assert (again.license, again.measured) == (card.license, card.measured)
    assert again.recommended_strength == 0.5


def test_the_recommended_strength_is_the_default_and_said(tmp_path, weights, capsys):  # noqa: F811
    assert export(weights, tmp_path / "w", "--recommend-strength", "0.5") == 0
    write_pair(tmp_path, "a")
    files = (tmp_path / "a.png", tmp_path / "a_mask.png")
    results = {}
    for name, folder, more in (
        ("default", tmp_path / "w", ()),
        ("half", weights, ("--strength", "0.5")),
        ("whole", weights, ()),
        ("chosen", tmp_path / "w", ("--strength", "1")),
    ):
        capsys.readouterr()
        out = tmp_path / f"{name}.png"
        assert harmonize(*files, "-o", out, "--checkpoint", folder, *more) == 0
        assert ("strength 0.5, as these weights" in capsys.readouterr().out) == (name == "default")
        results[name] = read_image(out).pixels
    np.testing.assert_array_equal(results["default"], results["half"])
    np.testing.assert_array_equal(results["chosen"], results["whole"])
    assert (results["half"] != results["whole"])[MASK[..., 0] == 255].any()
    assert (results["half"] != IMAGE).any()


def test_a_folder_is_made_again_where_the_recommendation_differs(tmp_path, weights, capsys):  # noqa: F811
    assert export(weights, tmp_path / "w", "--recommend-strength", "0.5") == 0
    folder_of_pairs(tmp_path / "in")
    call = ("--folder", tmp_path / "in", "-o", tmp_path / "out", "--checkpoint")
    assert harmonize(*call, weights) == 0
    capsys.readouterr()
    assert harmonize(*call, weights, "--strength", "1") == 0
    assert "0 made, 5 kept" in capsys.readouterr().out
    assert harmonize(*call, tmp_path / "w") == 0
    assert "5 made, 0 kept" in capsys.readouterr().out
    assert harmonize(*call, weights, "--strength", "0.5") == 0
    assert "0 made, 5 kept" in capsys.readouterr().out


def test_bad_input_is_one_sentence(tmp_path, weights, evaluated, capsys):  # noqa: F811
    (tmp_path / "other").mkdir()
    (tmp_path / "other/metrics.json").write_text("{}")
    values = json.loads((evaluated / "metrics.json").read_text())
    values["statement"]["evaluated"]["model"] = "another"
    (tmp_path / "of_another").mkdir()
    (tmp_path / "of_another/metrics.json").write_text(json.dumps(values))
    out = tmp_path / "w"
    cases = {
        (tmp_path / "none", out): "no weights at",
        (weights, weights): "name another folder",
        (weights, out, "--recommend-strength", "2"): "recommended_strength=2.0 is not a number",
        (weights, out, "--measured", tmp_path): "cannot read",
        (weights, out, "--measured", tmp_path / "other"): "evaluate again",
        (weights, out, "--measured", tmp_path / "of_another"): "is of model another, not of toy",
    }
    for arguments, sentence in cases.items():
        assert export(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1
        assert not out.exists()
