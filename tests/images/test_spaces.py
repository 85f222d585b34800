"""Color spaces: what profiles mean, the way back, and what is said instead of a wrong color."""

import struct
import zlib

import numpy as np
import pytest
from imagecodecs import cms_profile, cms_transform
from PIL import Image

from jaxharm.errors import InputError
from jaxharm.images import Tags, read_image, spaces, write_image
from jaxharm.images.decoded import DamagedError
from jaxharm.images.png import Color
from jaxharm.images.spaces import profile_from_png, space_of

D50 = (0.3457, 0.3585)
PROPHOTO = (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
PROFILES = {
    "Adobe RGB": bytes(cms_profile("adobergb")),
    "Display P3": profile_from_png(Color(cicp=(12, 13, 0, 1))),
    "ProPhoto": bytes(cms_profile("rgb", whitepoint=D50, primaries=PROPHOTO, gamma=1.8)),
    "BT.2020": profile_from_png(Color(cicp=(9, 14, 0, 1))),
    "linear": profile_from_png(Color(gamma=1.0)),
    "gAMA 1/1.8": profile_from_png(Color(gamma=1 / 1.8)),
}
SRGB = bytes(cms_profile("srgb"))
COLORS = np.random.default_rng(0).integers(0, 65536, (50, 40, 3), np.uint16)


def by_littlecms(pixels, profile):
    """Every pixel by littlecms in floating point, clipped."""
    unit = np.ascontiguousarray(pixels / np.float32(65535), np.float32)
    options = {"colorspace": "rgb", "outcolorspace": "rgb", "outdtype": "float32", "intent": 1}
    return np.clip(cms_transform(unit, profile, SRGB, **options), 0, 1)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_means_what_littlecms_says(name):
    space = space_of(PROFILES[name])
    assert space.tables is not None
    np.testing.assert_allclose(
        space.to_srgb(COLORS), by_littlecms(COLORS, PROFILES[name]), atol=0.001
    )
    gray = np.full((1, 1, 3), 0.5, np.float32)
    np.testing.assert_allclose(space.to_srgb(space.from_srgb(gray)), gray, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", PROFILES)
def test_what_does_not_change_keeps_its_bits(name, dtype):
    space = space_of(PROFILES[name])
    pixels = COLORS.astype(dtype) if dtype == np.uint16 else (COLORS >> 8).astype(dtype)
    np.testing.assert_array_equal(space.changed(pixels, space.to_srgb(pixels)), pixels)
    # Within sRGB, a change arrives as it was meant, to a level of 8 bits.
    inside = np.full((1, 1, 3), (90, 120, 60), np.uint8)
    pixel = np.rint(space.from_srgb(inside / np.float32(255)) * np.iinfo(dtype).max).astype(dtype)
    brighter = space.to_srgb(pixel) + np.float32(0.1)
    after = space.to_srgb(space.changed(pixel, brighter))
    assert np.abs(after - brighter).max() < (1 / 255 if dtype == np.uint8 else 1e-3)


def test_a_profile_without_matrix_goes_through_littlecms(monkeypatch):
    profile = PROFILES["Adobe RGB"]
    tables = space_of(profile).tables
    plain = spaces.Space(profile, None)
    table = spaces.Space(profile, tables)
    np.testing.assert_allclose(plain.to_srgb(COLORS), table.to_srgb(COLORS), atol=0.001)
    np.testing.assert_array_equal(plain.changed(COLORS, plain.to_srgb(COLORS)), COLORS)


def test_srgb_is_no_other_space():
    same = (None, SRGB, profile_from_png(Color(srgb=True)), profile_from_png(Color(gamma=0.45455)))
    assert [space_of(profile) for profile in same] == [None] * 4
    assert profile_from_png(Color(cicp=(1, 13, 0, 1))) is None


def with_chunks(path, *chunks):
    """An 8-bit PNG with further chunks behind its header."""
    Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(path)
    data = path.read_bytes()
    made = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(data[:33] + made + data[33:])
    return path


def test_the_words_of_a_png_become_a_profile(tmp_path):
    gamma = (b"gAMA", struct.pack(">I", 55556))
    named = (b"cICP", bytes([12, 13, 0, 1]))
    for chunks, profile in (([gamma], PROFILES["gAMA 1/1.8"]), ([named], PROFILES["Display P3"])):
        found = read_image(with_chunks(tmp_path / "a.png", *chunks)).icc_profile
        np.testing.assert_allclose(
            space_of(found).to_srgb(COLORS), space_of(profile).to_srgb(COLORS), atol=1e-3
        )


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        ((b"cICP", bytes([9, 16, 0, 1])), "PQ, which is high dynamic range"),
        ((b"cICP", bytes([9, 18, 0, 1])), "HLG, which is high dynamic range"),
        ((b"cICP", bytes([22, 13, 0, 1])), r"cICP 22, 13, 0, 1\) are not supported"),
        ((b"iCCP", b"x\0\0" + zlib.compress(SRGB.replace(b"RGB ", b"RGB ", 1))), None),
    ],
)
def test_high_dynamic_range_is_refused(tmp_path, chunk, reason):
    file = with_chunks(tmp_path / "a.png", chunk)
    if reason is None:
        assert read_image(file).icc_profile == SRGB
        return
    with pytest.raises(InputError, match=reason):
        read_image(file)


def test_a_profile_of_high_dynamic_range_is_refused():
    entry = b"cicp" + struct.pack(">II", 144, 12)
    body = b"cicp\0\0\0\0" + bytes([9, 16, 0, 1])
    profile = SRGB[:128] + struct.pack(">I", 1) + entry + body
    with pytest.raises(DamagedError, match="PQ, which is high dynamic range"):
        space_of(profile)


def test_a_bomb_is_neither_unpacked_nor_kept(tmp_path):
    bomb = b"x\0\0" + zlib.compress(bytes(20 * 2**20), 9)
    file = with_chunks(tmp_path / "a.png", (b"iCCP", bomb))
    with pytest.warns(UserWarning, match="has more than 8 MiB: it is left out"):
        assert read_image(file).icc_profile is None


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_profiles_that_do_not_belong_to_the_picture_are_left_out(tmp_path, suffix):
    gray = bytes(cms_profile("gray", whitepoint=D50, gamma=1.8))
    pixels = np.full((8, 8, 3), 100, np.uint8)
    for profile, reason in ((gray, "is for GRAY pictures"), (b"no profile" * 30, "is damaged")):
        write_image(tmp_path / f"a{suffix}", pixels, Tags(profile))
        with pytest.warns(UserWarning, match=reason):
            loaded = read_image(tmp_path / f"a{suffix}")
        assert loaded.icc_profile is None
        assert np.abs(loaded.pixels.astype(int) - pixels).max() <= 2


def test_a_gray_picture_keeps_the_meaning_of_its_gray_profile(tmp_path):
    gray = bytes(cms_profile("gray", whitepoint=D50, gamma=1.8))
    write_image(tmp_path / "g.tif", COLORS[..., :1], Tags(gray))
    loaded = read_image(tmp_path / "g.tif")
    assert loaded.icc_profile[16:20] == b"RGB "
    linear = (loaded.pixels[..., 0] / 65535) ** 1.8
    expected = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    found = space_of(loaded.icc_profile).to_srgb(loaded.pixels)
    np.testing.assert_allclose(found, expected[..., None].repeat(3, 2), atol=0.002)
