"""`jaxharm harmonize` with ProPIH: stages, strips, the official folder layout, bad input."""

import shutil

import numpy as np
import pytest
from support.random_variables import random_weights

from jaxharm.__main__ import main
from jaxharm.images import read_image, write_image
from jaxharm.papers.propih.model import ProPIHConfig
from jaxharm.weights.portable import save_weights

RANDOM = np.random.default_rng(0)
IMAGE, PAINTING = RANDOM.integers(0, 255, (2, 40, 30, 3), np.uint8)
MASK = np.zeros((40, 30, 3), np.uint8)
MASK[10:30, 8:20] = 255
MASK[9, 8:20] = 100


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights folder of a small ProPIH with an exit head, and one without."""
    folder = tmp_path_factory.mktemp("weights")
    for name, exit_head in (("gru", True), ("plain", False)):
        config = ProPIHConfig.tiny(exit_head=exit_head)
        save_weights(folder / name, "propih", config, random_weights("propih", config))
    return folder


@pytest.fixture
def files(tmp_path):
    """The arguments that name composite, mask and painting."""
    for name, image in (("a", IMAGE), ("m", MASK), ("p", PAINTING)):
        write_image(tmp_path / f"{name}.png", image)
    return [tmp_path / "a.png", tmp_path / "m.png", "--background", tmp_path / "p.png"]


def harmonize(*arguments):
    return main(["harmonize", *map(str, arguments)])


def test_stages_of_one_image(tmp_path, weights, files):
    out, given = tmp_path / "o.png", ("--model", "propih", "--checkpoint", weights / "gru")
    assert harmonize(*files, "-o", tmp_path / "all.png", *given, "--stage", "all") == 0
    row = read_image(tmp_path / "all.png").pixels
    assert row.shape == (40, 7 * 30, 3)
    panels = np.split(row, 7, axis=1)
    outside = MASK[..., 0] == 0
    for panel in (panels[0], *panels[2:]):
        np.testing.assert_array_equal(panel[outside], PAINTING[outside])
    np.testing.assert_array_equal(panels[0][MASK[..., 0] == 255], IMAGE[MASK[..., 0] == 255])
    np.testing.assert_array_equal(panels[1], MASK)
    for number in range(1, 5):
        image = read_image(tmp_path / f"all_stage{number}.png").pixels
        np.testing.assert_array_equal(image, panels[2 + number])
        assert harmonize(*files, "-o", out, *given, "--stage", number) == 0
        np.testing.assert_array_equal(read_image(out).pixels, image)
    for threshold, number in ((0, 1), (1, 4)):
        auto = ("--stage", "auto", "--exit-threshold", threshold)
        assert harmonize(*files, "-o", out, *given, *auto) == 0
        np.testing.assert_array_equal(read_image(out).pixels, panels[2 + number])


def official_folder(folder):
    for name, image in (("comp", IMAGE), ("mask", MASK), ("style", PAINTING)):
        (folder / name).mkdir(parents=True)
        for number in (1, 2):
            ending = "png" if name == "mask" else "bmp"
            write_image(folder / name / f"{number}.{ending}", np.roll(image, number, 0))


def test_folders_comp_mask_and_style_go_together_by_name(tmp_path, weights, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    official_folder(source)
    write_image(source / "comp/3.png", IMAGE)
    write_image(source / "mask/3.png", MASK)
    given = ("--folder", source, "-o", out, "--checkpoint", weights / "plain", "--stage", "all")
    assert harmonize(*given) == 2
    printed = capsys.readouterr()
    assert "2 made, 0 kept, 1 failed" in printed.out
    assert "failed: 3.png: propih needs a background image" in printed.err
    names = {f"{n}{ending}.png" for n in (1, 2) for ending in ("", *STAGE_ENDINGS)}
    assert {file.name for file in out.glob("*.png")} == names
    for number in (1, 2):
        panels = np.split(read_image(out / f"{number}.png").pixels, 7, axis=1)
        np.testing.assert_array_equal(panels[2], np.roll(PAINTING, number, 0))
        np.testing.assert_array_equal(panels[1], np.roll(MASK, number, 0))


def test_labels_stand_above_the_strip(tmp_path, weights, capsys):
    write_image(tmp_path / "c.png", IMAGE)
    write_image(tmp_path / "m.png", MASK)
    write_image(tmp_path / "p.png", PAINTING)
    files = (tmp_path / "c.png", tmp_path / "m.png", "--background", tmp_path / "p.png")
    given = (*files, "--checkpoint", weights / "plain", "--stage", "all")
    assert harmonize(*given, "-o", tmp_path / "plain.png") == 0
    assert harmonize(*given, "-o", tmp_path / "labeled.png", "--label-strip") == 0
    plain, labeled = (read_image(tmp_path / f"{n}.png").pixels for n in ("plain", "labeled"))
    band = len(labeled) - len(plain)
    np.testing.assert_array_equal(labeled[band:], plain)
    for panel in np.split(labeled[:band], 7, axis=1):
        assert panel.max() == 255
        assert panel.min() < 128
    assert harmonize(*files, "--checkpoint", weights / "plain", "-o", "x.png", "--label-strip") == 2
    assert "--label-strip goes with --stage all" in capsys.readouterr().err


STAGE_ENDINGS = [f"_stage{number}" for number in range(1, 5)]


def test_official_panels_are_reproduced_bit_for_bit(tmp_path, weights, shared):
    """Panels 1 to 3 and the background of 4 to 7 need no weights (docs/papers/propih.md, "Inference")."""
    examples = shared / "data/propih_examples"
    for name in ("comp", "mask", "style"):
        shutil.copytree(examples / name, tmp_path / "in" / name)
    given = ("--checkpoint", weights / "plain", "--stage", "all", "--save-rounding", "trunc")
    assert harmonize("--folder", tmp_path / "in", "-o", tmp_path / "out", *given) == 0
    for number in range(1, 9):
        ours, theirs = (
            np.split(read_image(folder / f"{number}.png").pixels, 7, axis=1)
            for folder in (tmp_path / "out", examples / "output_png")
        )
        for panel in range(3):
            np.testing.assert_array_equal(ours[panel], theirs[panel], err_msg=f"{number} {panel}")
        outside = read_image(examples / "mask" / f"{number}.png").pixels[..., 0] == 0
        for panel in range(3, 7):
            np.testing.assert_array_equal(ours[panel][outside], theirs[panel][outside])
            assert np.any(ours[panel][~outside] != theirs[0][~outside])


def test_errors_are_one_sentence_and_status_2(tmp_path, weights, files, capsys):
    write_image(tmp_path / "low.png", PAINTING[:39])
    write_image(tmp_path / "tiny.png", IMAGE[:12, :12])
    write_image(tmp_path / "tiny_m.png", MASK[8:20, 4:16])
    out, plain = ("-o", tmp_path / "o.png"), ("--checkpoint", weights / "plain")
    official_folder(tmp_path / "in")
    folder = ("-o", tmp_path / "out", *plain)
    tiny = [tmp_path / "tiny.png", tmp_path / "tiny_m.png", "--background", tmp_path / "tiny.png"]
    cases = {
        (*files, *out, *plain, "--stage", "5"): "stage 5: choose one of 1, 2, 3, 4, auto, all",
        (*files, *out, *plain, "--stage", "best"): "stage 'best': choose one of",
        (*files, *out, *plain, "--stage", "auto"): "no exit head",
        (*files, *out, *plain, "--exit-threshold", "0.4"): "goes with --stage auto",
        (*files[:2], *out, *plain): "propih needs a background image",
        (*files[:3], tmp_path / "low.png", *out, *plain): "background is 30x39 pixels",
        (*tiny, *out, *plain): "12x12 pixels and this model needs at least 16",
        (*files, *out, *plain, "--size", "100"): "a multiple of 8, at least 16",
        (*files, *out, *plain, "--curves-only"): "propih has no curves",
        (*files, *out, "--params", tmp_path / "x.json", "--stage", "1"): "leave --stage out",
        ("--folder", tmp_path / "in", *folder, "--stage", "auto"): "no exit head",
    }
    for arguments, sentence in cases.items():
        assert harmonize(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("error: "), arguments
        assert sentence in error
        assert error.count("\n") == 1
    threshold = ("--stage", "auto", "--exit-threshold", "1.5")
    assert harmonize(*files, *out, "--checkpoint", weights / "gru", *threshold) == 2
    assert "threshold 1.5 is not in [0, 1]" in capsys.readouterr().err


def test_other_models_refuse_the_options(tmp_path, files, capsys):
    from support import toy_system

    from jaxharm import registry

    config = toy_system.ToyConfig()
    save_weights(tmp_path / "w", registry.get("toy").name, config, random_weights("toy", config))
    call = (*files, "-o", tmp_path / "o.png", "--checkpoint", tmp_path / "w")
    for option in (("--stage", "2"), ("--save-rounding", "trunc")):
        assert harmonize(*call, *option) == 2
        assert f"toy has no stages: {option[0]} does not go with it" in capsys.readouterr().err
