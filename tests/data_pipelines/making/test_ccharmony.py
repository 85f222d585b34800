"""Making a ccHarmony: charts, matching against the published matrices, targets, reports, errors."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.fixtures_data import box_mask, write_image

from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.making.ccharmony import __main__ as make_ccharmony
from data_pipelines.making.ccharmony import chart as color_chart
from data_pipelines.making.ccharmony import matrices as published_matrices
from data_pipelines.making.ccharmony.composites import Options
from jaxharm.images.bit_depth import quantize
from jaxharm.images.chart import PATCHES, STANDARD
from jaxharm.images.polynomial import fit, transfer, transform

IMAGES = [f"Camera_{i:02d}" for i in range(12)]
LISTS = {
    "train": [*(f"{name}_a" for name in IMAGES[:11]), f"{IMAGES[0]}_b"],
    "test": [f"{IMAGES[11]}_a"],
}
SIZE = (40, 48)  # of the part that is used; the chart stands beside it
SIDE = 12  # of a patch


def light(i):
    """A diagonal light and an offset, mild enough that nothing clips."""
    rng = np.random.default_rng(i)
    return rng.uniform(0.7, 0.98, 3), rng.uniform(2, 8, 3)


def photograph(i):
    """A scene of muted colors beside a chart, under light i: u8[h,w,3]."""
    rng = np.random.default_rng(100 + i)
    coarse = rng.integers(70, 170, (4, 5, 3), np.uint8)
    scene = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    chart = STANDARD.reshape(4, 6, 3)[::-1].repeat(SIDE, 0).repeat(SIDE, 1)
    canvas = np.full((max(SIZE[0], 4 * SIDE), SIZE[1] + 6 * SIDE, 3), 128.0)
    canvas[: SIZE[0], : SIZE[1]] = scene
    canvas[: 4 * SIDE, SIZE[1] :] = chart
    gain, offset = light(i)
    return np.clip(canvas * gain + offset, 0, 255).astype(np.uint8)


def place():
    left, right, bottom = SIZE[1] - 0.5, SIZE[1] + 6 * SIDE - 0.5, 4 * SIDE - 0.5
    corners = [[left, -0.5], [right, -0.5], [right, bottom], [left, bottom]]
    return {"corners": corners, "crop": [0, 0, SIZE[1], SIZE[0]]}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("charts")
    for i, name in enumerate(IMAGES):
        write_image(root / f"photographs/{name}.png", photograph(i))
        (root / "charts").mkdir(exist_ok=True)
        (root / f"charts/{name}.json").write_text(json.dumps(place()))
    for split, names in LISTS.items():
        (root / f"{split}_list.txt").write_text("\n".join(names))
        for name in names:
            write_image(root / f"masks/{name}.png", box_mask(*SIZE))
    return root


@pytest.fixture
def source(original, tmp_path) -> Path:
    """A copy of the tree that a test may spoil: links to the files of the original."""
    for path in original.rglob("*"):
        copy = tmp_path / "source" / path.relative_to(original)
        if path.is_dir():
            copy.mkdir(parents=True)
        else:
            copy.hardlink_to(path)
    return tmp_path / "source"


def spoil(path: Path, data) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def kinds(source: Path, **options) -> tuple[str, ...]:
    with pytest.raises(DatasetValidationError) as error:
        make_ccharmony.make(source, source.parent / "out", **options)
    return error.value.kinds


def colors_csv(colors) -> str:
    return "\r\n".join(",".join(map(str, color)) for color in colors)


# Reading a chart ------------------------------------------------------------------------------


def test_patches_are_read_in_their_order_from_a_slanted_chart():
    chart = STANDARD.astype(np.uint8).reshape(4, 6, 3)[::-1].repeat(30, 0).repeat(30, 1)
    corners = np.array([[31, 12], [205, 25], [190, 150], [20, 118]], np.float32)
    flat = np.array([[0, 0], [180, 0], [180, 120], [0, 120]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(flat, corners)
    photo = cv2.warpPerspective(chart, matrix, (230, 170), flags=cv2.INTER_NEAREST)
    read = color_chart.measure(photo, color_chart.ChartPlace(corners.astype(float), None), "x")
    np.testing.assert_array_equal(read, STANDARD)
    assert PATCHES[0] == "white"


def test_the_standard_chart_is_the_published_one(shared):
    charts = json.loads((shared / "data/ccharmony/charts.json").read_text())
    np.testing.assert_array_equal(STANDARD, charts["chart_srgb"])
    assert list(PATCHES) == charts["patch_names"]


# Matching -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden(shared):
    (file,) = shared.glob("golden/*/polymatch.npz")
    return dict(np.load(file))


@pytest.mark.parametrize("i", range(4))
def test_golden_matrices(golden, i):
    colors = golden[f"patch_{i}"]
    fits = {
        "fit_to_std": fit(colors, STANDARD),
        "fit_from_std": fit(STANDARD, colors),
        "loose_to_std": fit(colors, STANDARD, linear=True),
    }
    for name, matrix in fits.items():
        np.testing.assert_allclose(matrix, golden[f"{name}_{i}"], rtol=0, atol=1e-8)
    # The Adobe chart, which stands in the official file too, made none of the published matrices.
    assert np.abs(fit(colors, golden["chart_adobe"]) - golden[f"pub_to_std_{i}"]).max() > 1e-2
    forward = "loose_to_std" if i == 3 else "fit_to_std"
    np.testing.assert_allclose(fits[forward], golden[f"pub_to_std_{i}"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(fits["fit_from_std"], golden[f"pub_from_std_{i}"], rtol=0, atol=1e-8)
    assert np.abs(fits["fit_to_std"] - golden[f"fit_to_std_truncated_{i}"]).max() > 1e-3


def test_golden_transfer(golden):
    image, mask = golden["image"], golden["mask"]
    pixels = image.reshape(-1, 3)
    forward, reverse = golden["pub_to_std_0"], golden["pub_from_std_1"]
    standard = transform(pixels, forward)
    np.testing.assert_allclose(standard, golden["std_float"].reshape(-1, 3), rtol=0, atol=1e-8)
    np.testing.assert_array_equal(
        quantize(standard, rounding="truncate"), golden["std_u8"].reshape(-1, 3)
    )
    carried, clipped = transfer(pixels, forward, reverse)
    np.testing.assert_array_equal(carried, golden["tgt_u8_two_step"].reshape(-1, 3))
    assert 0 <= clipped <= 1
    once, _ = transfer(pixels, forward, reverse, quantize_intermediate=False)
    expected = golden["tgt_u8_clipped_float_intermediate"].reshape(-1, 3)
    np.testing.assert_array_equal(once, expected)
    never_clipped = quantize(
        transform(golden["std_float"].reshape(-1, 3), reverse), rounding="truncate"
    )
    expected = golden["tgt_u8_float_intermediate"].reshape(-1, 3)
    np.testing.assert_array_equal(never_clipped, expected)
    composite = np.where(mask[..., None] > 127, carried.reshape(image.shape), image)
    np.testing.assert_array_equal(composite, golden["composite_u8"])


def test_the_published_matrices_are_reproduced(shared, capsys):
    data = shared / "data/ccharmony"
    paths = data / "patch_colors.zip", data / "polynomial_matching_coefficients.zip"
    arguments = ["check", "--patch-colors", str(paths[0]), "--coefficients", str(paths[1])]
    assert make_ccharmony.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "340 of 350" in printed
    assert "350 of 350" in printed
    found = published_matrices.compare(*paths)
    exceptions = "IMG_0305 IMG_0456 IMG_0549 IMG_0553 OlympusEPL6_0035 OlympusEPL6_0123"
    exceptions += " PanasonicGX1_0049 SamsungNX2000_0184"
    assert found.linear == tuple(exceptions.split())
    assert found.other == ("8D5U5599", "IMG_0290")
    assert found.medians == pytest.approx((5.0, 3.4), abs=0.05)


# Making ---------------------------------------------------------------------------------------


def test_a_made_set_is_built_and_the_background_is_untouched(original, tmp_path):
    out = tmp_path / "ccHarmony"
    options = Options(ending="png")
    assert make_ccharmony.make(original, out, options) == {"train": 120, "test": 10}
    info = build("ccharmony", manual_dir=tmp_path, data_dir=tmp_path / "data")
    assert info.splits == {"train": 120, "test": 10}
    real = cv2.imread(str(out / "real_images/Camera_03.png"))[..., ::-1]
    np.testing.assert_array_equal(real, photograph(3)[: SIZE[0], : SIZE[1]])
    inside = box_mask(*SIZE) > 0
    with (out / "quality_composites.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["composite"].startswith("Camera_03_a")]
    assert len({row["target"] for row in rows}) == 10
    assert "Camera_03" not in {row["target"] for row in rows}
    for row in rows:
        composite = cv2.imread(str(out / f"composite_images/{row['composite']}.png"))[..., ::-1]
        np.testing.assert_array_equal(composite[~inside], real[~inside])
        # The lights are affine, so the scene under the target's light is known.
        gain, offset = light(3)
        there, shift = light(IMAGES.index(row["target"]))
        expected = (real[inside] - offset) / gain * there + shift
        assert np.abs(composite[inside] - expected).mean() < 3
    quality = json.loads((out / "quality.json").read_text())
    assert quality["images"] == 12
    assert quality["matrices"] == {"polynomial": 12}
    assert quality["chart_residual_to_standard"]["max"] < 2


def test_a_stopped_run_is_completed_and_changed_charts_are_made_again(source, tmp_path):
    out = tmp_path / "out"
    make_ccharmony.make(source, out)
    composite = out / "composite_images/Camera_05_a_3.jpg"
    before, first = composite.stat().st_mtime_ns, composite.read_bytes()
    make_ccharmony.make(source, out)
    assert composite.stat().st_mtime_ns == before
    (out / "made/Camera_05_a.json").unlink()
    make_ccharmony.make(source, out)
    assert composite.stat().st_mtime_ns != before
    assert composite.read_bytes() == first
    with pytest.raises(DatasetValidationError, match="choose another --out"):
        make_ccharmony.make(source, out, Options(seed=1))
    spoil(source / "charts/Camera_05.csv", colors_csv(STANDARD * 0.7))
    make_ccharmony.make(source, out)
    assert composite.read_bytes() != first


def test_given_matrices_are_used_as_they_are(source, tmp_path):
    matrices = tmp_path / "matrices"
    matrices.mkdir()
    identity = np.eye(3, 11)
    np.save(matrices / "Camera_02.npy", identity)
    np.save(matrices / "Camera_02_reverse.npy", identity)
    (source / "charts/Camera_02.json").unlink()
    spoil(source / "masks/Camera_02_a.png", cv2.imencode(".png", box_mask(48, 120))[1].tobytes())
    make_ccharmony.make(source, tmp_path / "out", coefficients=matrices, linear=["Camera_04"])
    quality = json.loads((tmp_path / "out/quality.json").read_text())
    assert quality["matrices"] == {"given": 1, "linear": 1, "polynomial": 10}
    (matrices / "Camera_02_reverse.npy").unlink()
    with pytest.raises(DatasetValidationError, match="lacks one of Camera_02"):
        make_ccharmony.make(source, tmp_path / "out", coefficients=matrices)


# Bad input ------------------------------------------------------------------------------------

OUTSIDE = {**place(), "corners": [[90, 0], [200, 0], [200, 47], [90, 47]]}
SWAPPED = {**place(), "corners": place()["corners"][2:] + place()["corners"][:2]}
WHITE = STANDARD.copy()
WHITE[0] = 255


@pytest.mark.parametrize(
    ("file", "content", "kind", "text"),
    [
        ("charts/Camera_01.csv", colors_csv(STANDARD[:20]), "bad_chart", "'blue sky' is missing"),
        ("charts/Camera_01.csv", colors_csv(WHITE), "saturated_chart", "'white'"),
        ("charts/Camera_01.csv", "a,b,c", "bad_chart", "Camera_01.csv:1"),
        ("charts/Camera_01.json", json.dumps(OUTSIDE), "bad_chart", "outside the photograph"),
        ("charts/Camera_01.json", json.dumps(SWAPPED), "bad_chart", "miss a chart's"),
        ("charts/Camera_01.json", "{}", "bad_chart", "not a chart's place"),
        (
            "masks/Camera_01_a.png",
            cv2.imencode(".png", box_mask(9, 9))[1].tobytes(),
            "size_mismatch",
            "9x9",
        ),
        ("train_list.txt", "Camera_77_a", "missing_real", "Camera_77.jpg"),
        ("train_list.txt", "Camera", "bad_list_line", "'Camera'"),
    ],
)
def test_bad_input_is_named(source, file, content, kind, text):
    spoil(source / file, content)
    with pytest.raises(DatasetValidationError, match=text) as error:
        make_ccharmony.make(source, source.parent / "out")
    assert kind in error.value.kinds


def test_a_missing_chart_stops_or_is_left_out(source, tmp_path):
    (source / "charts/Camera_01.json").unlink()
    assert kinds(source) == ("missing_chart",)
    counts = make_ccharmony.make(source, tmp_path / "out", on_error="skip")
    assert counts == {"train": 110, "test": 10}
    assert "Camera_01_a" not in (tmp_path / "out/train_list.txt").read_text()


def test_too_few_images_whose_light_fits(source, tmp_path):
    for name in IMAGES[2:4]:
        np.save(tmp_path / f"{name}.npy", np.eye(3, 11))
        np.save(tmp_path / f"{name}_reverse.npy", 9 * np.eye(3, 11))
    assert kinds(source, coefficients=tmp_path) == ("few_targets",)


def test_a_chart_in_a_saturated_photograph(source):
    bright = photograph(1)
    bright[3 * SIDE : 4 * SIDE, SIZE[1] : SIZE[1] + SIDE] = 255
    spoil(source / "photographs/Camera_01.png", cv2.imencode(".png", bright)[1].tobytes())
    assert kinds(source) == ("saturated_chart",)


def test_a_chart_in_view_is_warned_of(source, tmp_path, caplog):
    spoil(source / "charts/Camera_01.json", json.dumps({"corners": place()["corners"]}))
    whole = box_mask(*photograph(1).shape[:2])
    spoil(source / "masks/Camera_01_a.png", cv2.imencode(".png", whole)[1].tobytes())
    make_ccharmony.make(source, tmp_path / "out")
    assert "chart_in_view" in caplog.text


def test_the_command_says_what_is_next_and_ends_with_status_2_on_bad_input(source, capsys):
    arguments = ["make", "--source", str(source), "--out", str(source.parent / "out")]
    assert make_ccharmony.main(arguments) == 0
    assert "build ccharmony" in capsys.readouterr().out
    (source / "photographs/Camera_01.png").unlink()
    assert make_ccharmony.main(arguments) == 2
    assert "missing_real" in capsys.readouterr().err
    arguments[2] = str(source / "none")
    assert make_ccharmony.main(arguments) == 2
    assert make_ccharmony.main(["check", "--patch-colors", "x", "--coefficients", "y"]) == 2
