"""One set of rules for masks, whether they come from files, arrays or data sets."""

import warnings

import numpy as np
import pytest
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.images import ImageFile, MaskChoice, read_mask, write_image
from jaxharm.images.bit_depth import to_unit
from jaxharm.images.decoded import Decoded, upright
from jaxharm.images.masks import check_mask, to_bytes, understand

MASK = np.eye(6, 5, dtype=np.float32)


def pixels(dtype, channels, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (37, 23, channels), dtype, endpoint=True)


@pytest.mark.parametrize(
    "mask",
    [
        MASK,
        MASK.astype(np.float64),
        MASK.astype(bool),
        MASK.astype(np.uint8),
        (255 * MASK).astype(np.uint8),
        (65535 * MASK).astype(np.uint16),
        MASK[..., None],
    ],
)
def test_every_kind_of_mask_means_the_same(mask):
    checked = check_mask(mask, (6, 5))
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, MASK)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (MASK * 0, "mask is empty"),
        (MASK[:, :4], "the mask is 4x6 pixels and the composite 5x6"),
        (MASK * 255, "spans 0 to 255, not 0 to 1"),
        (MASK * np.nan, "spans nan"),
        (MASK.astype(np.int64), "the mask is int64"),
        (np.dstack([MASK] * 3), r"shape \[6, 5, 3\]"),
    ],
)
def test_bad_masks_are_refused(mask, reason):
    with pytest.raises(InputError, match=reason):
        check_mask(mask, (6, 5))


def test_a_mask_of_everything_is_suspicious():
    with pytest.warns(UserWarning, match="is it inverted"):
        check_mask(np.ones((6, 5), bool), (6, 5))


def test_masks_come_from_gray_color_or_alpha(tmp_path):
    mask = pixels(np.uint8, 1)[..., 0]
    Image.fromarray(mask).save(tmp_path / "gray.png")
    write_image(tmp_path / "rgb.png", np.stack([mask] * 3, -1))
    rgba = pixels(np.uint8, 4)
    rgba[..., 3] = mask
    write_image(tmp_path / "alpha.png", rgba)
    opaque = np.dstack([mask, mask, mask, np.full_like(mask, 255)])
    write_image(tmp_path / "opaque.png", opaque)
    for name in ("gray", "rgb", "alpha", "opaque"):
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), mask)
    deep = pixels(np.uint16, 1)
    deep[0, 0] = 0
    write_image(tmp_path / "deep.png", deep)
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png"), deep[..., 0])


def test_masks_of_data_sets_come_to_8_bits():
    soft = np.array([[0, 60, 128, 255]], np.uint8)
    labels = (soft > 100).astype(np.uint8)
    np.testing.assert_array_equal(to_bytes(soft), soft)
    np.testing.assert_array_equal(to_bytes(soft.astype(np.uint16) * 257), soft)
    for binary in (labels, labels.astype(np.uint16)):
        found = understand(Decoded(binary[..., None]))
        np.testing.assert_array_equal(to_bytes(found.values), 255 * labels)
        assert (found.were_labels, found.notes) == (True, ())


SHAPE = np.zeros((24, 32), np.uint8)
SHAPE[6:18, 8:22] = 1
SOFT = np.clip(np.outer(np.arange(24), np.arange(32)), 0, 255).astype(np.uint8)


def palette(indices, colors):
    image = Image.fromarray(indices, "L").convert("P")
    image.putpalette(np.array(colors, np.uint8).ravel().tolist())
    image.putdata(indices.ravel().tolist())
    return image


def photo():
    return np.random.default_rng(3).integers(0, 256, (24, 32, 3), np.uint8)


def rgba(color, alpha):
    return np.dstack([np.broadcast_to(np.asarray(color, np.uint8), (24, 32, 3)), alpha])


FULL = SHAPE * np.uint8(255)
# What is in the file; what it means (1 = foreground); what is said about it, if anything.
MEANINGS = {
    "labels 0 and 1": (SHAPE, SHAPE, None),
    "labels 0 and 2": (SHAPE * 2, SHAPE, "no value but 0, 2 of 255: 2 is taken as 1"),
    "labels 0 and 38": (SHAPE * 38, SHAPE, "38 is taken as 1"),
    "half": (SHAPE * 128, SHAPE * 128 / 255, None),
    "16 bits of 8": (SOFT.astype(np.uint16), SOFT / 255, "taken as 8 bits"),
    "16-bit labels": (SHAPE.astype(np.uint16), SHAPE, None),
    "16-bit label 7": (SHAPE.astype(np.uint16) * 7, SHAPE, "7 is taken as 1"),
    "faint": (SOFT // 5, (SOFT // 5) / 255, "no value above 51 of 255"),
    "black is 1": (np.where(SHAPE, 255, 1).astype(np.uint8), SHAPE, "lowest value, 1 of 255"),
    "0 nowhere": (
        np.where(SHAPE, 255, 60).astype(np.uint8),
        np.where(SHAPE, 1, 60 / 255),
        "all of the picture changes",
    ),
    "cut-out": (np.dstack([photo(), FULL]), SHAPE, None),
    "white and alpha": (rgba(255, FULL), SHAPE, None),
    "black and alpha": (rgba(0, FULL), SHAPE, None),
    "opaque": (np.dstack([FULL] * 3 + [np.full_like(FULL, 255)]), SHAPE, None),
    "two masks": (
        np.dstack([SOFT] * 3 + [np.maximum(FULL, 9)]),
        np.maximum(FULL, 9) / 255,
        "alpha is taken",
    ),
    "one color": (FULL[..., None] * np.array([1, 0, 0], np.uint8), SHAPE, "one color"),
    "soft color": (
        (SOFT[..., None] * np.array([0, 1, 0.5])).astype(np.uint8),
        SOFT / 255,
        "one color",
    ),
    "dark color": (SHAPE[..., None] * np.array([0, 0, 128], np.uint8), SHAPE, "one color"),
    "a photograph": (photo(), photo() @ [0.299, 0.587, 0.114] / 255, "brightness is taken"),
    "palette of two": (palette(SHAPE, [(0, 0, 0), (128, 0, 0)]), SHAPE, "two colors"),
    "gray palette": (palette(SHAPE, [(0, 0, 0), (255, 255, 255)]), SHAPE, None),
}


@pytest.mark.parametrize("name", MEANINGS)
@pytest.mark.filterwarnings("ignore:the mask")
def test_what_masks_mean(tmp_path, name, recwarn):
    stored, meaning, note = MEANINGS[name]
    save(tmp_path / "m.png", stored)
    found = to_unit(read_mask(tmp_path / "m.png"))
    np.testing.assert_allclose(found, meaning, atol=0.003)
    said = [str(warning.message) for warning in recwarn]
    assert [note in text for text in said] == ([True] if note else []), said


def save(path, stored):
    if isinstance(stored, Image.Image):
        stored.save(path)
    else:
        write_image(path, stored if stored.ndim == 3 else stored[..., None])


REFUSED = {
    "several labels": (SHAPE + (SOFT > 200), "the values 0, 1, 2, which look like several"),
    "palette": (palette(SHAPE + (SOFT > 200), np.eye(3) * 200), "entries 0, 1, 2 of a palette"),
    "flat colors": (
        np.eye(3, dtype=np.uint8)[SHAPE + (SOFT > 200)] * np.uint8(255),
        "3 flat colors",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_labels_of_several_objects_need_a_choice(tmp_path, name):
    stored, reason = REFUSED[name]
    save(tmp_path / "m.png", stored)
    with pytest.raises(InputError, match=f"{reason}.*--label N"):
        read_mask(tmp_path / "m.png")
    second = (SHAPE + (SOFT > 200) == 2) * 255
    if name == "flat colors":
        chosen = MaskChoice("blue")
        with pytest.raises(InputError, match="--mask-channel"):
            read_mask(tmp_path / "m.png", MaskChoice(label=2))
    else:
        chosen = MaskChoice(label=2)
        with pytest.raises(InputError, match="no pixel has the label 5: there are 0, 1, 2"):
            read_mask(tmp_path / "m.png", MaskChoice(label=5))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", chosen), second)


def test_what_a_user_says_decides(tmp_path):
    save(tmp_path / "m.png", np.dstack([photo(), FULL]))
    for index, channel in enumerate(("red", "green", "blue", "alpha")):
        found = read_mask(tmp_path / "m.png", MaskChoice(channel))
        expected = FULL if channel == "alpha" else photo()[..., index]
        assert np.abs(found.astype(int) - expected).max() <= 4
    inverted = read_mask(tmp_path / "m.png", MaskChoice(invert=True))
    np.testing.assert_array_equal(inverted, 255 - FULL)
    save(tmp_path / "g.png", FULL)
    with pytest.raises(InputError, match="it has no alpha"):
        read_mask(tmp_path / "g.png", MaskChoice("alpha"))


def test_the_noise_of_jpeg_is_not_a_soft_edge(tmp_path):
    Image.fromarray(FULL).save(tmp_path / "m.jpg", quality=75)
    with pytest.warns(UserWarning, match="is a JPEG: values within 16"):
        mask = read_mask(tmp_path / "m.jpg")
    far = np.abs(mask.astype(int) - FULL) > 0
    assert far.mean() < 0.05


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("height", [24, 32])
def test_a_mask_lies_as_it_is_seen_unless_its_size_says_otherwise(tmp_path, turn, height):
    shown = np.arange(height * 32, dtype=np.uint16).reshape(height, 32, 1)
    shown[-1] = 65535
    composite = ImageFile(np.repeat(shown, 3, 2), orientation=turn)
    write_image(tmp_path / "seen.png", shown)
    sides = turn >= 5 and height != 32
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(
            read_mask(tmp_path / "seen.png", composite=composite), shown[..., 0]
        )
        assert len(said) == (turn > 1 and not sides)
    if sides:
        stored = np.ascontiguousarray(shown.swapaxes(0, 1))
        write_image(tmp_path / "stored.png", stored)
        with pytest.warns(UserWarning, match="it is turned as that is"):
            mask = read_mask(tmp_path / "stored.png", composite=composite)
        np.testing.assert_array_equal(mask, upright(stored, turn)[..., 0])


@pytest.mark.parametrize("excess", [1e-7, -1e-8, 5e-5])
def test_floats_a_rounding_outside_of_the_range_are_clipped(excess):
    mask = MASK.copy()
    mask[0, 0] = excess if excess < 0 else 1 + excess
    checked = check_mask(mask, (6, 5))
    assert checked.min() == 0
    assert checked.max() == 1
    with pytest.raises(InputError, match=r"spans 0 to 1.00100\d+, not 0 to 1"):
        check_mask(MASK * np.float32(1.001), (6, 5))
