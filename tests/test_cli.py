"""`jaxharm harmonize` and `convert`: results, resuming, and one sentence per kind of bad input."""

import json

import numpy as np
import pytest
from PIL import Image, ImageCms
from support import toy_system

from jaxharm import registry
from jaxharm.__main__ import main
from jaxharm.cli.harmonize import CHANNELS
from jaxharm.images import Tags, masks, read_image, write_image
from jaxharm.interfaces import NameMap, Rule
from jaxharm.weights.name_map import conv
from jaxharm.weights.portable import load_weights, save_weights

OTHER = next(name for name in registry.list_models() if name != "toy")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 255, (40, 30, 3), np.uint8)
MASK = np.zeros((40, 30, 1), np.uint8)
MASK[10:30, 8:20] = 255
MASK[9, 8:20] = 100


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A weights folder of the toy model."""
    random = np.random.default_rng(1)
    variables = {
        "params": {
            "in": {"kernel": np.float32(random.normal(0, 0.3, (3, 3, 4, 4)))},
            "norm": {"scale": np.ones(4, np.float32), "bias": np.zeros(4, np.float32)},
            "out": {
                "kernel": np.float32(random.normal(0, 0.3, (1, 1, 4, 3))),
                "bias": np.float32([0.1, -0.1, 0.2]),
            },
        },
        "batch_stats": {"norm": {"mean": np.zeros(4, np.float32), "var": np.ones(4, np.float32)}},
    }
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder, "toy", toy_system.ToyConfig(), variables)
    return folder


def write_pair(folder, name, image=IMAGE, mask=MASK, mask_name=None):
    write_image(folder / f"{name}.png", image)
    mask_file = folder / (mask_name or f"{name}_mask.png")
    mask_file.parent.mkdir(exist_ok=True)
    write_image(mask_file, mask) if mask.dtype == np.uint16 else Image.fromarray(mask[..., 0]).save(
        mask_file
    )


def harmonize(*arguments):
    return main(["harmonize", *map(str, arguments)])


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (IMAGE, ".png"),
        (IMAGE.astype(np.uint16) * 257, ".png"),
        (IMAGE.astype(np.uint16) * 257, ".tif"),
        (np.dstack([IMAGE, IMAGE[..., :1]]), ".png"),
    ],
    ids=["8-bit", "16-bit png", "16-bit tiff", "alpha"],
)
def test_one_image(tmp_path, weights, image, suffix):
    write_image(tmp_path / f"a{suffix}", image, Tags(PROFILE))
    Image.fromarray(MASK[..., 0]).save(tmp_path / "m.png")
    output = tmp_path / f"out{suffix}"
    assert (
        harmonize(
            tmp_path / f"a{suffix}", tmp_path / "m.png", "-o", output, "--checkpoint", weights
        )
        == 0
    )
    result = read_image(output)
    assert result.pixels.dtype == image.dtype
    assert result.icc_profile == PROFILE
    outside = MASK[..., 0] == 0
    np.testing.assert_array_equal(result.pixels[outside], image[outside])
    assert (result.pixels[~outside] != image[~outside]).mean() > 0.3
    if image.shape[2] == 4:
        np.testing.assert_array_equal(result.pixels[..., 3], image[..., 3])


def test_cut_out_strength_and_profile(tmp_path, weights, capsys):
    write_image(tmp_path / "cut.png", np.dstack([IMAGE, MASK]))
    write_image(tmp_path / "plate.png", IMAGE[::-1])
    status = harmonize(
        tmp_path / "cut.png", "--background", tmp_path / "plate.png", "-o", tmp_path / "out.png",
        "--checkpoint", weights, "--strength", "0", "--profile",
    )  # fmt: skip
    assert status == 0
    result = read_image(tmp_path / "out.png").pixels
    solid = MASK[..., 0] == 255
    np.testing.assert_array_equal(result[solid], IMAGE[solid])
    np.testing.assert_array_equal(result[MASK[..., 0] == 0], IMAGE[::-1][MASK[..., 0] == 0])
    assert "peak memory" in capsys.readouterr().out


def folder_of_pairs(folder):
    folder.mkdir()
    write_pair(folder, "beside")
    write_pair(folder, "below", mask_name="masks/below.png")
    write_pair(folder, "a0001_1_2", mask_name="masks/a0001_1.png")
    write_pair(folder, "scene_composite", mask_name="scene_mask.png")
    write_image(folder / "scene_bg.png", IMAGE[::-1])
    write_image(folder / "scene_real.png", IMAGE)
    write_image(folder / "cut.png", np.dstack([IMAGE, MASK]))
    (folder / "backgrounds").mkdir()
    write_image(folder / "backgrounds/cut.png", IMAGE[::-1])
    (folder / "notes.txt").write_text("no image")


def test_folder_pairs_by_name_and_resumes(tmp_path, weights, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    folder_of_pairs(source)
    arguments = ["--folder", source, "-o", out, "--checkpoint", weights]
    assert harmonize(*arguments) == 0
    made = {"beside.png", "below.png", "a0001_1_2.png", "scene.png", "cut.png"}
    assert {file.name for file in out.glob("*.png")} == made
    assert "5 made, 0 kept, 0 failed" in capsys.readouterr().out
    outside = MASK[..., 0] == 0
    for name in ("beside", "below", "a0001_1_2", "scene"):
        result = read_image(out / f"{name}.png").pixels
        np.testing.assert_array_equal(result[outside], IMAGE[outside])
        assert (result[~outside] != IMAGE[~outside]).any()

    (out / "below.png").unlink()
    kept = {file.name: file.stat().st_mtime_ns for file in out.glob("*.png")}
    assert harmonize(*arguments) == 0
    assert "1 made, 4 kept, 0 failed" in capsys.readouterr().out
    assert all((out / name).stat().st_mtime_ns == time for name, time in kept.items())
    assert harmonize(*arguments, "--overwrite") == 0
    assert "5 made, 0 kept, 0 failed" in capsys.readouterr().out


def test_iharmony4_layout(tmp_path, weights):
    for name in ("composite_images", "masks"):
        (tmp_path / "in" / name).mkdir(parents=True)
    write_image(tmp_path / "in/composite_images/a1_2_3.tif", IMAGE)
    Image.fromarray(MASK[..., 0]).save(tmp_path / "in/masks/a1_2.png")
    assert (
        harmonize("--folder", tmp_path / "in", "-o", tmp_path / "o", "--checkpoint", weights) == 0
    )
    assert [file.name for file in (tmp_path / "o").glob("*.tif")] == ["a1_2_3.tif"]


def test_bad_pairs_are_reported_and_the_others_done(tmp_path, weights, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    folder_of_pairs(source)
    write_pair(source, "empty", mask=MASK * 0)
    write_pair(source, "larger", mask=np.pad(MASK, ((0, 1), (0, 0), (0, 0))))
    write_image(source / "lonely.png", IMAGE)
    write_pair(source, "broken")
    (source / "broken.png").write_bytes((source / "broken.png").read_bytes()[:500])
    write_image(source / "beside.bmp", IMAGE)
    assert harmonize("--folder", source, "-o", out, "--checkpoint", weights) == 2
    printed = capsys.readouterr()
    assert "5 made, 0 kept, 5 failed" in printed.out
    for line in (
        "failed: broken.png: cannot read image",
        "failed: empty.png: the mask is empty",
        "failed: larger.png: the mask is 30x41 pixels and the composite 30x40",
        "failed: lonely.png: no mask",
        "failed: beside.png: its result would replace that of beside.bmp",
    ):
        assert line in printed.err
    assert len(list(out.glob("*.png"))) == 5


def test_errors_are_one_sentence_and_status_2(tmp_path, weights, capsys):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "empty", mask=MASK * 0)
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    Image.fromarray(MASK[1:, :, 0]).save(tmp_path / "small.png")
    (tmp_path / "void").mkdir()
    a, mask, out = tmp_path / "a.png", tmp_path / "a_mask.png", ("-o", tmp_path / "o.png")
    good = ("--checkpoint", weights)
    cases = {
        (a, mask, *out, "--model", OTHER): "--checkpoint is missing",
        (a, mask, "--folder", tmp_path, *out, *good): "give either COMPOSITE and MASK, or --folder",
        (*out, *good): "give either COMPOSITE and MASK, or --folder",
        (tmp_path / "none.png", mask, *out, *good): "none.png does not exist",
        (tmp_path / "broken.png", mask, *out, *good): "broken.png: the file is truncated",
        (a, tmp_path / "empty_mask.png", *out, *good): "the mask is empty",
        (a, tmp_path / "small.png", *out, *good): "the mask is 30x39 pixels",
        (a, *out, *good): "no mask given",
        (a, mask, "--background", tmp_path / "small.png", *out, *good): "the background is 30x39",
        (a, mask, "-o", tmp_path / "o.xyz", *good): "unknown suffix",
        (a, mask, "-o", tmp_path / "no/o.png", *good): "its folder does not exist",
        (a, mask, *out, "--checkpoint", tmp_path / "none"): "no weights at",
        (a, mask, *out, "--checkpoint", tmp_path / "void"): "no weights in",
        (a, mask, *out, *good, "--model", OTHER): f"is of model toy, not {OTHER}",
        (a, mask, *out, *good, "--model", "tou"): "unknown model 'tou'; known: toy",
        (a, mask, *out, *good, "--size", "0"): "size 0 does not suit the model",
        (a, mask, *out, *good, "--strength", "2"): "--strength 2.0 is not between 0 and 1",
        (a, mask, *out, *good, "--save-params", tmp_path / "p.json"): "toy has no curves",
        (a, mask, *out, *good, "--curves-only"): "--curves-only does not go with it",
        ("--folder", tmp_path, *out, *good, "--temporal"): "--temporal does not go with it",
        ("--folder", tmp_path / "none", *out, *good): "none does not exist",
        ("--folder", tmp_path / "void", *out, *good): "no composite in",
        ("--folder", tmp_path, "-o", a / "sub", *good): "cannot write to folder",
    }
    for arguments, sentence in cases.items():
        assert harmonize(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("error: "), arguments
        assert sentence in error
        assert error.count("\n") == 1


def test_damaged_and_foreign_weights_are_refused(tmp_path, weights, capsys):
    write_pair(tmp_path, "a")
    damaged = tmp_path / "w"
    damaged.mkdir()
    data = (weights / "weights.safetensors").read_bytes()
    (damaged / "weights.safetensors").write_bytes(data[: len(data) // 2])
    manifest = json.loads((weights / "manifest.json").read_text())
    (damaged / "manifest.json").write_text(json.dumps(manifest))
    call = (tmp_path / "a.png", tmp_path / "a_mask.png", "-o", tmp_path / "o.png", "--checkpoint")
    assert harmonize(*call, damaged) == 2
    assert "incomplete or damaged" in capsys.readouterr().err
    (damaged / "weights.safetensors").write_bytes(data)
    manifest["config"]["features"] = 5
    (damaged / "manifest.json").write_text(json.dumps(manifest))
    assert harmonize(*call, damaged) == 2
    assert "does not fit model 'toy'" in capsys.readouterr().err


def test_warnings_take_one_line(tmp_path, weights, capsys):
    write_pair(tmp_path, "a", mask=np.full_like(MASK, 255))
    arguments = (tmp_path / "a.png", tmp_path / "a_mask.png", "-o", tmp_path / "o.jpg")
    assert harmonize(*arguments, "--checkpoint", weights) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("warning: JPEG is lossy")
    assert lines[1].startswith("warning: the mask covers 100%")


def toy_names(config):
    """An official layout for the toy model."""
    return NameMap(
        [
            Rule("in.weight", ("params", "in", "kernel"), conv),
            Rule("norm.weight", ("params", "norm", "scale")),
            Rule("norm.bias", ("params", "norm", "bias")),
            Rule("norm.running_mean", ("batch_stats", "norm", "mean")),
            Rule("norm.running_var", ("batch_stats", "norm", "var")),
            Rule("out.weight", ("params", "out", "kernel"), conv),
            Rule("out.bias", ("params", "out", "bias")),
        ],
        dropped=["norm.num_batches_tracked"],
    )


@pytest.fixture
def official(tmp_path, monkeypatch):
    """An official file of the toy model, whose released weights go with dropout 0.2."""
    torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")
    entry = registry.get("toy")._replace(torch_names=lambda: toy_names, official={"dropout": 0.2})
    monkeypatch.setitem(registry._ENTRIES, "toy", entry)
    state = {
        "in.weight": torch.arange(144.0).reshape(4, 4, 3, 3),
        "out.weight": torch.ones(3, 4, 1, 1),
        "out.bias": torch.ones(3),
        "norm.num_batches_tracked": torch.tensor(7),
        **{f"norm.{k}": torch.ones(4) for k in ("weight", "bias", "running_mean", "running_var")},
    }
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "toy.pth")
    return tmp_path / "toy.pth"


def test_convert_writes_weights_and_prints_their_manifest(tmp_path, official, capsys):
    assert main(["convert", "toy", str(official), str(tmp_path / "w")]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["model"] == "toy"
    assert manifest["source"]["file"] == "toy.pth"
    assert len(manifest["source"]["sha256"]) == len(manifest["sha256"]) == 64
    name, config, variables = load_weights(tmp_path / "w")
    assert (name, config.dropout) == ("toy", 0.2)
    assert variables["params"]["in"]["kernel"][2, 1, 3, 0] == 0 * 36 + 3 * 9 + 2 * 3 + 1
    arguments = ["convert", "toy", str(official), str(tmp_path / "w"), "--set", "dropout=0.5"]
    assert main(arguments) == 0
    assert load_weights(tmp_path / "w")[1].dropout == 0.5


def test_convert_errors_are_one_sentence(tmp_path, official, capsys):
    (tmp_path / "text.pth").write_text("text")
    out = str(tmp_path / "w")
    cases = {
        ("toy", str(tmp_path / "none.pth"), out): "none.pth does not exist",
        ("tou", str(official), out): "unknown model 'tou'; known: toy",
        ("toy", str(tmp_path / "text.pth"), out): "text.pth",
        ("toy", str(official), out, "--set", "depth=1"): "unknown config key 'depth'",
        ("toy", str(official), out, "--set", "features=5"): "this is not a checkpoint of toy",
        ("toy", str(official), str(official / "w")): "cannot write weights",
    }
    for arguments, sentence in cases.items():
        assert main(["convert", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1


def test_what_a_user_says_of_a_mask_decides(tmp_path, weights, capsys):
    assert CHANNELS == masks.CHANNELS
    write_pair(tmp_path, "a")
    values = MASK // 255 + 2 * (np.indices(MASK.shape)[1] > 20)
    write_image(tmp_path / "labels.png", values.astype(np.uint8))
    files = (tmp_path / "a.png", tmp_path / "labels.png", "-o", tmp_path / "o.png")
    assert harmonize(*files, "--checkpoint", weights) == 2
    assert "choose one with --label N" in capsys.readouterr().err
    assert harmonize(*files, "--checkpoint", weights, "--label", "2", "--invert-mask") == 0
    changed = (read_image(tmp_path / "o.png").pixels != IMAGE).any(-1)
    assert not changed[values[..., 0] == 2].any()
    assert changed[values[..., 0] != 2].mean() > 0.9
    assert harmonize(*files[:1], *files[2:], "--checkpoint", weights, "--label", "2") == 2
    assert "go with a MASK" in capsys.readouterr().err


def test_a_cut_out_of_another_size_is_placed_as_compose_does(
    weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    cutout = np.concatenate([IMAGE, MASK], -1)[::2, ::2]
    write_image("cutout.png", cutout)
    write_image("plate.png", IMAGE[::-1])
    place = ["--at=-3,9", "--scale", "1.5"]
    run = ["--checkpoint", weights]
    at_once = ["cutout.png", "--background", "plate.png", *place]
    assert harmonize(*at_once, "-o", "once.png", *run) == 0
    assert main(["compose", "cutout.png", "plate.png", *place, "-o", "made.png"]) == 0
    files = ["made.png", "made_mask.png", "--background", "made_bg.png"]
    assert harmonize(*files, "-o", "twice.png", *run) == 0
    once, twice = (read_image(name).pixels.astype(int) for name in ("once.png", "twice.png"))
    assert once.shape == IMAGE.shape
    assert np.abs(once - twice).max() <= 2  # the mask in between has 8 bits
    capsys.readouterr()
    for words, sentence in (
        (at_once[:3], "the background is 30x40 pixels and the cut-out 15x20: say where"),
        ([*at_once, "--at", "999,0"], "lies outside of the background"),
        (["made.png", "made_mask.png", *place], "--at and --scale place a cut-out"),
    ):
        assert harmonize(*words, "-o", "o.png", *run) == 2
        assert sentence in capsys.readouterr().err
