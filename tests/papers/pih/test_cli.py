"""Commands around the parameters of parametric models: keep, edit, export, plot, clips."""

import json

import numpy as np
import pytest
from PIL import Image
from support.random_variables import random_weights

from jaxharm.__main__ import main
from jaxharm.images import read_image, write_image
from jaxharm.papers.pih.model import PIHConfig
from jaxharm.papers.pih.parameters import Parameters
from jaxharm.weights.portable import save_weights

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 65535, (40, 30, 3), np.uint16)
PLATE = IMAGE[::-1]
MASK = np.zeros((40, 30), np.uint8)
MASK[10:30, 8:20] = 255
MASK[9, 8:20] = 100
OUTSIDE = MASK == 0


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights folder of a small pih_light."""
    config = PIHConfig.tiny(light=True)
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder, "pih_light", config, random_weights("pih_light", config))
    return folder


@pytest.fixture
def files(tmp_path):
    """Arguments that name a composite, its mask and its plate, all in tmp_path."""
    write_image(tmp_path / "a.png", IMAGE)
    write_image(tmp_path / "b.png", PLATE)
    Image.fromarray(MASK).save(tmp_path / "m.png")
    return tmp_path / "a.png", tmp_path / "m.png", "--background", tmp_path / "b.png"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_a_saved_edit_renders_again_bit_for_bit_without_weights(
    tmp_path, files, weights, monkeypatch, capsys
):
    keep = ("--checkpoint", weights, "--save-params", tmp_path / "p.json", "--profile")
    assert run("harmonize", *files, "-o", tmp_path / "one.png", *keep) == 0
    printed = capsys.readouterr().out
    for stage in ("read", "prepare", "load", "predict", "render", "write", "peak memory"):
        assert stage in printed
    monkeypatch.setattr("jaxharm.inference.Harmonizer.__init__", None)  # no network
    again = ("harmonize", *files, "--params", tmp_path / "p.json", "-o")
    assert run(*again, tmp_path / "two.png") == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    result = read_image(tmp_path / "two.png").pixels
    np.testing.assert_array_equal(result[OUTSIDE], IMAGE[OUTSIDE])
    assert (result[~OUTSIDE] != IMAGE[~OUTSIDE]).mean() > 0.9

    edits = [
        ("--curves-only",),
        ("--shading-only",),
        ("--shading-strength", "2"),
        ("--channels", "1,0.5,0"),
        ("--blend", "luminance"),
        ("--blend", "color"),
        ("--single-alpha",),
        ("--strength", "0.5"),
    ]
    seen = {result.tobytes()}
    for edit in edits:
        assert run(*again, tmp_path / "edit.png", *edit) == 0
        edited = read_image(tmp_path / "edit.png").pixels
        np.testing.assert_array_equal(edited[OUTSIDE], IMAGE[OUTSIDE])
        seen.add(edited.tobytes())
    assert len(seen) == len(edits) + 1  # every one of them does something


def test_parameters_go_to_a_whole_folder_or_each_to_its_own(tmp_path, weights):
    source = tmp_path / "in"
    (source / "masks").mkdir(parents=True)
    for index, name in enumerate("xyz"):
        size = (30 + index, 40)
        image = np.asarray(Image.fromarray((IMAGE >> 8).astype(np.uint8)).resize(size))
        write_image(source / f"{name}.png", image)
        Image.fromarray(MASK).resize(size).save(source / f"masks/{name}.png")
    folder = ("harmonize", "--folder", source, "-o")
    kept = ("--checkpoint", weights, "--save-params", tmp_path / "params")
    assert run(*folder, tmp_path / "one", *kept) == 0
    assert {f.name for f in (tmp_path / "params").iterdir()} == {f"{n}.json" for n in "xyz"}
    assert run(*folder, tmp_path / "two", "--params", tmp_path / "params") == 0
    assert run(*folder, tmp_path / "same", "--params", tmp_path / "params/x.json") == 0
    for name, same in (("x", True), ("y", False)):
        one, two, other = (
            (tmp_path / out / f"{name}.png").read_bytes() for out in ("one", "two", "same")
        )
        assert one == two
        assert (one == other) is same
    (tmp_path / "params/y.json").write_text("{}")
    assert run(*folder, tmp_path / "three", "--params", tmp_path / "params") == 2
    assert {f.name for f in (tmp_path / "three").glob("*.png")} == {"x.png", "z.png"}


def test_exports_beside_the_result(tmp_path, files, weights):
    exports = ("--export-cube", tmp_path / "p.cube", "--export-shading", tmp_path / "s.png")
    status = run(
        "harmonize", *files, "-o", tmp_path / "o.png", "--checkpoint", weights, *exports,
        "--save-params", tmp_path / "p.json",
    )  # fmt: skip
    assert status == 0
    assert "LUT_1D_SIZE 4097" in (tmp_path / "p.cube").read_text()
    shading = read_image(tmp_path / "s.png").pixels
    assert shading.dtype == np.uint16
    assert shading.shape == IMAGE.shape
    lowest = Parameters.load(tmp_path / "p.json").shading.min()
    assert shading.min() >= np.floor(lowest * 65535)


def test_plot_has_the_curves_at_their_positions(tmp_path, capsys):
    curves = np.full((3, 4), 0.5, np.float32)
    curves[0] = 0.25, 0.25, 0.75, 0.75
    curves[2, :2] = 1
    Parameters(curves, None).save(tmp_path / "p.json")
    assert run("plot-curves", tmp_path / "p.json", "-o", tmp_path / "c.png") == 0
    picture = read_image(tmp_path / "c.png").pixels.astype(int)
    left, top, side = 78, 66, 720

    def is_at(x, y, channel):
        color = picture[round(top + (1 - y) * side), round(left + x * side)]
        return color.argmax() == channel and color.max() - np.median(color) > 60

    for x, y in ((0.03, 0.25), (0.125, 0.25), (0.375, 0.25), (0.625, 0.75), (0.97, 0.75)):
        assert is_at(x, y, 0), (x, y)
    assert is_at(0.06, 0.5, 1)  # flat before the first knot
    assert is_at(0.06, 1.0, 2)
    assert not is_at(0.2, 0.8, 0)
    assert run("plot-curves", tmp_path / "none.json", "-o", tmp_path / "c.png") == 2
    assert run("plot-curves", tmp_path / "p.json", "-o", tmp_path / "c.xyz") == 2
    assert capsys.readouterr().err.count("error: ") == 2


def frames(folder, count=12):
    """A clip: still picture, noise that makes the predictions jitter, a cut after eight frames."""
    folder.mkdir()
    (folder / "masks").mkdir()
    base = np.asarray(Image.fromarray((IMAGE >> 8).astype(np.uint8)).resize((60, 80)))
    mask = Image.fromarray(MASK).resize((60, 80))
    for index in range(count):
        picture = base if index < 8 else 255 - base // 2
        noise = RANDOM.normal(0, 12, picture.shape)
        write_image(folder / f"f{index:03d}.png", np.clip(picture + noise, 0, 255).astype(np.uint8))
        mask.save(folder / f"masks/f{index:03d}.png")


def test_a_clip_flickers_less_and_keeps_its_cut(tmp_path, weights, capsys):
    frames(tmp_path / "in")
    (tmp_path / "in/masks/f003.png").unlink()  # a frame that fails keeps its place
    clip = ("harmonize", "--folder", tmp_path / "in", "--checkpoint", weights)
    curves = {}
    for name, options in (("each", ()), ("smooth", ("--temporal", "3"))):
        keep = ("-o", tmp_path / name, "--save-params", tmp_path / f"{name}_params")
        assert run(*clip, *keep, *options) == 2
        assert "11 made, 0 kept, 1 failed" in capsys.readouterr().out
        records = sorted((tmp_path / f"{name}_params").iterdir())
        assert len(records) == 11
        curves[name] = np.array([Parameters.load(record).curves for record in records])
    for scene in (slice(0, 7), slice(7, 11)):
        each, smooth = curves["each"][scene], curves["smooth"][scene]
        jitter = np.abs(np.diff(each, axis=0)).mean()
        assert np.abs(np.diff(smooth, axis=0)).mean() < 0.7 * jitter
        assert np.abs(each.mean(0) - smooth.mean(0)).mean() < jitter  # no drift
    cut = np.abs(curves["smooth"][7] - curves["smooth"][6]).mean()
    assert cut > 0.8 * np.abs(curves["each"][7] - curves["each"][6]).mean()

    (tmp_path / "smooth/f005.png").unlink()
    before = {file: file.read_bytes() for file in (tmp_path / "smooth").glob("*.png")}
    assert run(*clip, "-o", tmp_path / "smooth", "--temporal", "3") == 2
    assert "1 made, 10 kept, 1 failed" in capsys.readouterr().out
    after = {file: file.read_bytes() for file in (tmp_path / "smooth").glob("*.png")}
    assert before.items() <= after.items()
    assert len(after) == 11


def test_errors_are_one_sentence_and_status_2(tmp_path, files, weights, capsys):
    Parameters(np.full((3, 4), 0.5), None).save(tmp_path / "p.json")
    document = json.loads((tmp_path / "p.json").read_text())
    document["curves"]["red"][0] = 7
    (tmp_path / "bad.json").write_text(json.dumps(document))
    out = (*files, "-o", tmp_path / "o.png")
    given, good = ("--params", tmp_path / "p.json"), ("--checkpoint", weights)
    folder = ("--folder", tmp_path, "-o", tmp_path / "out")
    cases = {
        (*out, "--params", tmp_path / "none.json"): "none.json do not exist",
        (
            *out,
            "--params",
            tmp_path / "bad.json",
        ): "is no parameters file: the curves span 0.5 to 7",
        (*out, "--params", tmp_path / "a.png"): "it is not JSON",
        (*out, "--params", tmp_path): "cannot read parameters",
        (*out, *given, *good): "leave --checkpoint out",
        (*out, *given, "--model", "pih"): "leave --model out",
        (*out, *given, "--size", "64"): "leave --size out",
        (*out, *given, "--save-params", tmp_path / "q.json"): "leave --save-params out",
        (*folder, *given, "--temporal"): "leave --temporal out",
        (*out, *good, "--temporal"): "--temporal smooths over the frames of a --folder",
        (*folder, *good, "--temporal", "0"): "at least 1 frame",
        (*folder, *good, "--export-cube", tmp_path / "p.cube"): "--export-cube goes with one image",
        (*folder, *good, "--export-shading", tmp_path / "s.png"): "--export-shading goes with one",
        (*out, *given, "--curves-only", "--shading-only"): "leave nothing",
        (*out, *given, "--channels", "1,1"): "--channels 1,1 is not like 1,1,0.5",
        (*out, *given, "--channels", "1,a,1"): "--channels 1,a,1 is not like",
        (*out, *given, "--channels", "1,1,2"): "are not three numbers",
        (*out, *given, "--blend", "hue"): "'hue' is not one of",
        (*out, *given, "--shading-strength", "-1"): "shading strength -1 is not between",
        (*out, *given, "--export-shading", tmp_path / "s.png"): "no shading to export",
        (*out, *given, "--export-cube", tmp_path / "p.lut"): "ends in .cube",
        (*out, *given, "--export-cube", tmp_path / "no/p.cube"): "its folder does not exist",
        (*out, *good, "--save-params", tmp_path / "no/p.json"): "its folder does not exist",
    }
    for arguments, sentence in cases.items():
        assert run("harmonize", *arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("error: "), arguments
        assert sentence in error, (arguments, error)
        assert error.count("\n") == 1
    assert not (tmp_path / "o.png").exists()
