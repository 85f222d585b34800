"""Bit depth, alpha, orientation and profile survive; damaged files are refused with a reason."""

import errno
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from jaxharm.errors import InputError
from jaxharm.images import Tags, check_output, read_image, write_image

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(dtype, channels, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (37, 23, channels), dtype, endpoint=True)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".tif", np.uint8),
        (".tif", np.uint16),
        (".webp", np.uint8),
    ],
)
def test_round_trip_keeps_every_bit_and_the_profile(tmp_path, suffix, dtype, channels):
    image = pixels(dtype, channels)
    write_image(tmp_path / f"a{suffix}", image, Tags(PROFILE))
    loaded = read_image(tmp_path / f"a{suffix}")
    assert loaded.pixels.dtype == dtype
    np.testing.assert_array_equal(loaded.pixels, image)
    assert loaded.icc_profile == PROFILE
    assert [file.name for file in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_tagged_16_bit_files_are_read_by_others(tmp_path, suffix):
    gray = pixels(np.uint16, 1)
    write_image(tmp_path / f"a{suffix}", gray, Tags(PROFILE))
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.info["icc_profile"] == PROFILE
        np.testing.assert_array_equal(np.array(image), gray[..., 0])


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib", "predictor": True, "tile": (16, 16)},
        {"compression": "zstd"},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"planarconfig": "separate"},
    ],
    ids=lambda options: "-".join(options),
)
def test_16_bit_tiffs_of_other_programs(tmp_path, options):
    image = pixels(np.uint16, 3)
    stored = np.moveaxis(image, -1, 0) if "planarconfig" in options else image
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", metadata=None, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, image)


def test_a_gray_tiff_may_count_from_white(tmp_path):
    gray = pixels(np.uint16, 1)
    tifffile.imwrite(tmp_path / "a.tif", ~gray[..., 0], photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels[..., :1], gray)


@pytest.mark.parametrize(
    ("photometric", "reason"), [("separated", "SEPARATED encoding"), ("cielab", "CIELAB encoding")]
)
def test_16_bit_tiffs_that_need_a_color_conversion_are_refused(tmp_path, photometric, reason):
    image = pixels(np.uint16, 4 if photometric == "separated" else 3)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=photometric, metadata=None)
    with pytest.raises(InputError, match=reason):
        read_image(tmp_path / "a.tif")


def test_bmp_and_jpeg(tmp_path):
    image = pixels(np.uint8, 3)
    write_image(tmp_path / "a.bmp", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp").pixels, image)
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    write_image(tmp_path / "a.jpg", smooth, Tags(PROFILE))
    loaded = read_image(tmp_path / "a.jpg")
    assert np.abs(loaded.pixels.astype(int) - smooth).max() <= 2
    assert loaded.icc_profile == PROFILE


def test_gray_and_palette_become_rgb(tmp_path):
    gray = pixels(np.uint8, 1)[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "gray.png").pixels, np.stack([gray] * 3, -1)
    )
    colors = Image.fromarray(pixels(np.uint8, 3)).quantize(8)
    colors.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "palette.png").pixels, np.array(colors.convert("RGB"))
    )


def test_orientation_is_applied(tmp_path):
    image = Image.fromarray(pixels(np.uint8, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png").pixels, np.rot90(np.array(image), -1)
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_arrays_of_any_layout_are_written(tmp_path, suffix, channels):
    image = pixels(np.uint16, channels)
    one_row = np.lib.stride_tricks.as_strided(image, (1, *image.shape[1:]), (0, *image.strides[1:]))
    for layout in (np.asfortranarray(image), image[..., :1].T.T, image[::-1, ::-1], one_row):
        write_image(tmp_path / f"a{suffix}", layout)
        found = read_image(tmp_path / f"a{suffix}").pixels
        np.testing.assert_array_equal(found, np.broadcast_to(layout, found.shape))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, suffix, dtype, share):
    file = tmp_path / f"a{suffix}"
    write_image(file, pixels(dtype, 3))
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=f"cannot read image .*a{suffix}: the file is truncated"):
        read_image(file)


def test_truncated_jpeg_is_refused(tmp_path):
    write_image(tmp_path / "a.jpg", pixels(np.uint8, 3))
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.jpg: Pillow: .*truncated"):
        read_image(tmp_path / "a.jpg")


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(InputError, match=r"text\.png: it is not an image of a known format"):
        read_image(tmp_path / "text.png")
    with pytest.raises(InputError, match="cannot read image"):
        read_image(tmp_path)
    Image.new("CMYK", (4, 4)).save(tmp_path / "cmyk.jpg")
    with pytest.raises(InputError, match="its CMYK encoding is not supported"):
        read_image(tmp_path / "cmyk.jpg")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match="floating-point samples are not supported"):
        read_image(tmp_path / "float.tif")


@pytest.mark.parametrize(
    ("name", "dtype", "channels", "reason"),
    [
        ("a.gif", np.uint8, 3, "unknown suffix"),
        ("a.jpg", np.uint16, 3, "8 bits only"),
        ("a.jpg", np.uint8, 4, "no alpha"),
        ("a.png", np.float32, 3, "not uint8 or uint16"),
    ],
)
def test_formats_that_cannot_hold_the_pixels_are_refused(name, dtype, channels, reason):
    with pytest.raises(InputError, match=reason):
        check_output(name, dtype=dtype, channels=channels)


def test_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose a folder that is writable"):
        write_image(tmp_path / "file" / "a.png", pixels(np.uint8, 3))


def test_a_full_disk_is_named_and_nothing_half_written_stays(tmp_path, monkeypatch):
    def full(partial, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left on device; make room there"):
        write_image(tmp_path / "out.png", np.zeros((4, 4, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def exif_block(*entries, values=b""):
    """EXIF bytes of entries (tag, type, count, value), little endian; `values` lie behind them."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries))
    return head + packed + b"\0\0\0\0" + values


TURN = (0x0112, 3, 1, 6)
ODD_FIELDS = {
    # -1/64 second as an exposure: what rewrites the block fails on it.
    "negative": (exif_block(TURN, (0x829A, 10, 1, 38), values=struct.pack("<ii", -1, 64)), -1),
    "behind the end": (exif_block(TURN, (0x829A, 5, 1, 2**31 - 1)), -1),
    "unknown type": (exif_block((0x829A, 99, 1, 0), TURN), -1),
    "orientation in words": (exif_block((0x0112, 2, 4, 0x00786973)), 0),
    "no entries": (b"Exif\0\0II*\0\xff\xff\xff\xff", 0),
}


@pytest.mark.parametrize("name", ODD_FIELDS)
@pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning")
def test_an_odd_exif_field_costs_neither_pixels_nor_orientation(tmp_path, name):
    block, turns = ODD_FIELDS[name]
    image = pixels(np.uint8, 3)
    Image.fromarray(image).save(tmp_path / "odd.png", exif=block)
    np.testing.assert_array_equal(read_image(tmp_path / "odd.png").pixels, np.rot90(image, turns))


@pytest.mark.parametrize(
    ("name", "width"), [("a.webp", 16384), ("a.jpg", 65501), ("a.jpeg", 65501)]
)
def test_a_picture_too_wide_for_its_format_is_refused(tmp_path, name, width):
    with pytest.raises(InputError, match="pixels a side"):
        write_image(tmp_path / name, np.zeros((1, width, 3), np.uint8))
    write_image(tmp_path / name, np.zeros((1, width - 1, 3), np.uint8))


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 251 + ".png")
    write_image(path, np.zeros((2, 2, 3), np.uint8))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
