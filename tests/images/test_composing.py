"""Cut-outs on backgrounds: place, size, soft edges, depth, color; in Python and by the command."""

import itertools

import numpy as np
import pytest
from imagecodecs import cms_profile, cms_transform

import jaxharm
from jaxharm.__main__ import main
from jaxharm.errors import InputError
from jaxharm.images import Tags, read_image, write_image
from jaxharm.images.composing import Placement, compose

PROFILES = {
    "sRGB": None,
    "Adobe RGB": bytes(cms_profile("adobergb")),
    "Display P3": bytes(
        cms_profile(
            "rgb",
            whitepoint=(0.3127, 0.3290),
            primaries=(0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
            gamma=2.2,
        )
    ),
}
RED = (0.8, 0.2, 0.1)
DEPTHS = (np.uint8, np.uint16)


def top(dtype):
    return 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)


def picture(height, width, dtype=np.uint8, *, seed=0):
    """Noise, so that a displaced pixel is found."""
    values = np.random.default_rng(seed).random((height, width, 3))
    return (values * top(dtype)).astype(dtype)


def disc(side=40, dtype=np.uint8, color=RED, hidden=0.0):
    """A soft disc of one color; what its alpha hides has another one."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip(side * 0.35 - np.hypot(x, y), 0, 4)[..., None] / 4
    shown = np.where(alpha > 0, np.asarray(color), hidden)
    return np.rint(np.concatenate([shown, alpha], -1) * top(dtype)).astype(dtype)


@pytest.mark.parametrize(("over", "under"), list(itertools.product(DEPTHS, DEPTHS)))
def test_the_deeper_depth_is_kept_and_the_background_untouched(over, under):
    expected = np.uint16 if np.uint16 in (over, under) else np.uint8
    background = picture(50, 60, under)
    made = compose(disc(dtype=over), background, at=(7, 3))
    assert made.image.dtype == made.background.dtype == expected
    outside = made.mask == 0
    stored = background * np.uint16(257) if expected != under else background
    np.testing.assert_array_equal(made.image[outside], stored[outside])
    np.testing.assert_array_equal(made.background, stored)
    inside = made.mask == 1
    np.testing.assert_allclose(
        made.image[inside] / top(expected), np.broadcast_to(RED, (inside.sum(), 3)), atol=0.003
    )
    rows, columns = np.nonzero(made.mask)
    assert (rows.min() + rows.max(), columns.min() + columns.max()) == (2 * 3 + 39, 2 * 7 + 39)


@pytest.mark.parametrize("scale", [0.31, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_what_alpha_hides_never_shows_at_an_edge(scale, hidden):
    """A soft edge between one color and another holds mixtures of the two alone."""
    ground = (0.2, 0.3, 0.9)
    background = np.broadcast_to(np.float32(ground), (80, 80, 3))
    made = compose(disc(dtype=np.uint16, hidden=hidden), background, scale=scale)
    assert made.image.dtype == np.uint16
    soft = made.mask[..., None]
    expected = np.float32(RED) * soft + np.float32(ground) * (1 - soft)
    assert ((soft > 0) & (soft < 1)).sum() > 20
    np.testing.assert_allclose(made.image / 65535, expected, atol=3e-4)


def test_scaling_keeps_area_and_middle():
    for scale in (0.25, 0.6, 2.0):
        background = np.zeros((101, 121, 3), np.uint8)
        made = compose(disc(), background, scale=scale)
        whole = compose(disc(), background)
        assert made.mask.sum() == pytest.approx(whole.mask.sum() * scale**2, rel=0.02)
        middle = [(index * made.mask).sum() / made.mask.sum() for index in np.indices((101, 121))]
        np.testing.assert_allclose(middle, [50, 60], atol=0.6)


@pytest.mark.parametrize("at", [(-20, -20), (45, 30), (-10, 40), (50, -25)])
@pytest.mark.parametrize("scale", [1.0, 0.8])
def test_partly_outside_is_the_part_of_a_larger_background(at, scale):
    large = picture(150, 160)
    small = large[50:100, 50:110]
    made = compose(disc(), small, at=at, scale=scale)
    whole = compose(disc(), large, at=(at[0] + 50, at[1] + 50), scale=scale)
    np.testing.assert_allclose(made.mask, whole.mask[50:100, 50:110], atol=2e-6)
    difference = made.image.astype(int) - whole.image[50:100, 50:110]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(("over", "under"), list(itertools.product(PROFILES, PROFILES)))
def test_colors_are_those_of_the_profiles(over, under, tmp_path):
    write_image(tmp_path / "cutout.png", disc(dtype=np.uint16), Tags(PROFILES[over]))
    ground = picture(50, 60)
    write_image(tmp_path / "ground.png", ground, Tags(PROFILES[under], dpi=(300, 300)))
    made = compose(tmp_path / "cutout.png", tmp_path / "ground.png")
    expected = np.float32([[RED]])
    if over != under:
        profiles = [PROFILES[name] or bytes(cms_profile("srgb")) for name in (over, under)]
        expected = cms_transform(
            expected, *profiles, colorspace="rgb", outcolorspace="rgb", outdtype="float32", intent=1
        )
    inside = made.mask == 1
    shown = made.image[inside].mean(0) / 65535
    np.testing.assert_allclose(shown, np.clip(expected[0, 0], 0, 1), atol=0.002)
    np.testing.assert_array_equal(made.background, ground * np.uint16(257))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"at": (60, 0)}, "lies outside of the background of 60x50 pixels"),
        ({"at": (0, -40)}, "the cut-out, 40x40 pixels at 0,-40, lies outside"),
        ({"at": (-38, -38)}, "or only with its transparent part inside"),
        ({"scale": 0}, "scale 0 is not a factor above 0"),
        ({"scale": -1.5}, "scale -1.5 is not"),
        ({"scale": float("nan")}, "scale nan is not"),
        ({"scale": 1e308}, "scale 1e+308 is not"),
        ({"at": (1.5, 2)}, "at (1.5, 2) is no place"),
        ({"at": (1, 2, 3)}, "at (1, 2, 3) is no place"),
    ],
)
def test_what_makes_no_composite_is_refused(arguments, words):
    with pytest.raises(InputError) as error:
        compose(disc(), picture(50, 60), **arguments)
    assert words in str(error.value)


def test_a_huge_scale_costs_what_is_seen_of_it():
    with pytest.warns(UserWarning, match="covers 100%"):
        made = compose(disc(), picture(50, 60), at=(-(10**7), -(10**7)), scale=5e5)
    np.testing.assert_array_equal(made.mask, 1)
    for scale in np.linspace(0.013, 3.7, 60):  # no rounding leads out of the cut-out
        assert compose(disc(33), picture(50, 60), scale=scale).mask.max() > 0.1
    assert Placement(scale=1e-9).size_of(40, 40) == (1, 1)


@pytest.mark.parametrize(("suffix", "depth"), [(".png", np.uint8), (".tif", np.uint16)])
def test_the_command_writes_composite_mask_and_plate(tmp_path, monkeypatch, capsys, suffix, depth):
    monkeypatch.chdir(tmp_path)
    write_image("cutout.png", disc(dtype=depth))
    profile = PROFILES["Display P3"]
    write_image("ground.png", picture(50, 60, depth), Tags(profile, dpi=(300, 300)))
    arguments = ["compose", "cutout.png", "ground.png", "--at=-5,3", "--scale", "0.9"]
    assert main([*arguments, "-o", f"made{suffix}"]) == 0
    files = [f"made{suffix}", f"made_mask{suffix}", f"made_bg{suffix}"]
    assert capsys.readouterr().out == "".join(f"wrote {file}\n" for file in files)
    image, mask, plate = map(read_image, files)
    made = jaxharm.compose("cutout.png", "ground.png", at=(-5, 3), scale=0.9)
    np.testing.assert_array_equal(image.pixels, made.image)
    np.testing.assert_array_equal(plate.pixels, read_image("ground.png").pixels)
    assert mask.pixels.dtype == depth
    np.testing.assert_allclose(mask.pixels[..., 0] / top(depth), made.mask, atol=0.5 / 255)
    assert (image.icc_profile, plate.icc_profile, mask.icc_profile) == (profile, profile, None)
    assert image.tags.dpi == pytest.approx((300, 300), abs=0.1)


def test_a_composite_as_jpeg_has_its_mask_and_plate_without_loss(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image("cutout.png", disc())
    write_image("ground.png", picture(50, 60))
    assert main(["compose", "cutout.png", "ground.png", "-o", "made.jpg"]) == 0
    said = capsys.readouterr()
    assert "wrote made_mask.png\nwrote made_bg.png" in said.out
    assert said.err == "warning: JPEG is lossy: the background changes slightly; use .png\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scale", "0"], "scale 0 is not a factor"),
        (["--at", "999,0"], "lies outside of the background"),
        (["-o", "made.xyz"], "unknown suffix"),
        (["-o", "cutout.png"], "cutout.png would replace cutout.png, which is read"),
        (["-o", "it.png"], "it_bg.png would replace it_bg.png, which is read"),
        (["opaque"], "opaque.png has no alpha, so that nothing says what is cut out"),
    ],
)
def test_the_command_refuses_in_one_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    write_image("cutout.png", disc())
    for name in ("it_bg.png", "opaque.png"):
        write_image(name, picture(50, 60))
    cutout = "cutout.png"
    if arguments == ["opaque"]:
        cutout, arguments = "opaque.png", []
    output = [] if "-o" in arguments else ["-o", "made.png"]
    assert main(["compose", cutout, "it_bg.png", *arguments, *output]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "made.png").exists()
    with pytest.raises(SystemExit):
        main(["compose", cutout, "it_bg.png", "--at", "12", "-o", "made.png"])
    assert "'12' is not X,Y, such as 640,210" in capsys.readouterr().err
