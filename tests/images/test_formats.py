"""Every depth, format, layout, photometric, alpha, orientation and profile: the same pixels."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from jaxharm.errors import InputError
from jaxharm.images import Tags, read_image, tiff, write_image
from jaxharm.images.decoded import DamagedError, associated, straight, upright

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAYOUTS = {
    "strips": {},
    "planes": {"planarconfig": "separate"},
    "tiles": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "big": {"bigtiff": True, "compression": "lzw"},
    "big-endian": {"byteorder": ">"},
}
ALPHAS = {"none": None, "straight": "unassalpha", "premultiplied": "assocalpha"}


def picture(dtype, channels, alpha=False):
    """[20,14,c]; with alpha, its values are rounded so that multiplying by it loses nothing."""
    random = np.random.default_rng(channels)
    top = np.iinfo(dtype).max
    pixels = random.integers(0, top, (20, 14, channels + alpha), dtype, endpoint=True)
    if alpha:
        pixels[:4, :, -1], pixels[4:8, :, -1] = 0, top
        pixels = straight(associated(pixels))
    return pixels


# White-is-zero with premultiplied alpha no program writes, and no rule says what is multiplied.
KINDS = [
    (photometric, alpha)
    for photometric in ("minisblack", "miniswhite", "rgb")
    for alpha in ALPHAS
    if (photometric, alpha) != ("miniswhite", "premultiplied")
]


@pytest.mark.parametrize(("photometric", "alpha"), KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff(tmp_path, dtype, layout, photometric, alpha):
    pixels = picture(dtype, 3 if photometric == "rgb" else 1, alpha != "none")
    stored = associated(pixels) if alpha == "premultiplied" else pixels.copy()
    if photometric == "miniswhite":
        stored[..., 0] = ~stored[..., 0]
    if layout == "planes":
        stored = np.moveaxis(stored, -1, 0)
    elif stored.shape[2] == 1:
        stored = stored[..., 0]
    if layout == "planes" and stored.shape[0] == 1:
        stored = stored[0]
    tags = [(274, "H", 1, 6, True), (33432, "s", 0, "me", True)]
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric=photometric,
        extrasamples=[ALPHAS[alpha]] if ALPHAS[alpha] else None,
        extratags=tags,
        iccprofile=SRGB,
        resolution=(300, 300),
        resolutionunit="inch",
        metadata=None,
        **LAYOUTS[layout],
    )
    loaded = read_image(tmp_path / "a.tif")
    color = np.repeat(pixels[..., :1], 3, 2) if photometric != "rgb" else pixels[..., :3]
    expected = np.concatenate([color, pixels[..., -1:]], 2) if alpha != "none" else color
    np.testing.assert_array_equal(loaded.pixels, upright(expected, 6))
    assert loaded.tags == Tags(SRGB, (300, 300), "me", alpha == "premultiplied")
    # What is written is what was read, in its kind too.
    write_image(tmp_path / "b.tif", loaded.pixels, loaded.tags)
    again = read_image(tmp_path / "b.tif")
    np.testing.assert_array_equal(again.pixels, loaded.pixels)
    assert again.tags == loaded.tags
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        kinds = [kind.name.lower() for kind in file.pages[0].extrasamples]
        assert kinds == ([ALPHAS[alpha]] if ALPHAS[alpha] else [])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png(tmp_path, dtype, channels, orientation):
    pixels = picture(dtype, channels)
    exif = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 274, 3, 1, orientation, 0, 0)
    data = png(pixels, [(b"iCCP", b"p\0\0" + zlib.compress(SRGB)), (b"eXIf", exif)])
    (tmp_path / "a.png").write_bytes(data)
    loaded = read_image(tmp_path / "a.png")
    alpha = pixels[..., -1:] if channels in (2, 4) else pixels[..., :0]
    color = pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, 2)
    np.testing.assert_array_equal(
        loaded.pixels, upright(np.concatenate([color, alpha], 2), orientation)
    )
    assert loaded.icc_profile == SRGB
    assert loaded.orientation == orientation


def png(pixels, chunks):
    """A PNG by the letter of its specification, as no encoder at hand writes all kinds."""
    height, width, channels = pixels.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in big_endian)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, color_type, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in every
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palettes_and_few_bits(tmp_path, bits):
    indices = np.random.default_rng(0).integers(0, 2**bits, (20, 14), np.uint8)
    gray = indices * np.uint8(255 // (2**bits - 1))
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
    colors = np.zeros((3, 2**bits), np.uint16)
    colors[:] = palette[: 2**bits].T.astype(np.uint16) * 257
    if bits == 8:
        tifffile.imwrite(tmp_path / "p.tif", indices, photometric="palette", colormap=colors)
        np.testing.assert_array_equal(read_image(tmp_path / "p.tif").pixels, palette[indices])
    for file in ("g.tif", "g.png"):
        image = Image.fromarray(gray)
        image = image.convert("1") if bits == 1 else image
        image.save(tmp_path / file)
        np.testing.assert_array_equal(read_image(tmp_path / file).pixels[..., 0], gray)


def test_a_jpeg_inside_a_tiff(tmp_path):
    smooth = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    assert np.abs(read_image(tmp_path / "a.tif").pixels.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [
        *((np.uint8, suffix) for suffix in (".png", ".tif", ".webp", ".jpg")),
        *((np.uint16, suffix) for suffix in (".png", ".tif")),
    ],
)
def test_resolution_and_copyright_are_kept(tmp_path, dtype, suffix):
    tags = Tags(SRGB, (240, 240), "All rights reserved")
    write_image(tmp_path / f"a{suffix}", picture(dtype, 3), tags)
    loaded = read_image(tmp_path / f"a{suffix}").tags
    assert loaded.icc_profile == SRGB
    assert loaded.copyright == tags.copyright
    np.testing.assert_allclose(loaded.dpi, tags.dpi, atol=0.02)


@pytest.mark.parametrize(
    ("channels", "dtype", "options", "reason"),
    [
        (3, np.uint16, {"photometric": "cielab"}, "CIELAB encoding"),
        (3, np.uint8, {"photometric": "cielab"}, "CIELAB encoding"),
        (4, np.uint16, {"photometric": "separated"}, "SEPARATED encoding"),
        (4, np.uint8, {"photometric": "separated"}, "SEPARATED encoding"),
        (3, np.uint8, {"photometric": "ycbcr"}, "YCBCR encoding"),
        (5, np.uint16, {"photometric": "rgb"}, "5 channels"),
        (4, np.uint16, {"photometric": "rgb", "extrasamples": ["unspecified"]}, "ExtraSamples 0"),
        (3, np.uint32, {"photometric": "rgb"}, "32-bit samples"),
        (3, np.int16, {"photometric": "rgb"}, "have a sign"),
        (3, np.float32, {"photometric": "rgb"}, "floating-point samples"),
        (3, np.float16, {"photometric": "rgb"}, "floating-point samples"),
    ],
)
def test_tiffs_that_are_refused_say_what_they_are(tmp_path, channels, dtype, options, reason):
    stored = np.ones((20, 14, channels), dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata=None, **options)
    with pytest.raises(InputError, match=reason):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"#?RADIANCE", "Radiance"),
        (b"8BPS", "Photoshop"),
        (b"P6\n2 2\n65535\n", "PPM of more than 8 bits"),
        (b"\0\0\0\x1cftypavif", "Pillow"),
        (b"some text", "not an image"),
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"RIFF\0\0\0\0WEBP", "not an image"),
        (b"II*\0\x08\0\0\0", "truncated"),
    ],
)
def test_other_files_are_named(tmp_path, start, what):
    padded = (
        start.ljust(64, b"\0") if start and not start.startswith((b"\x89PNG", b"II*")) else start
    )
    (tmp_path / "a.png").write_bytes(padded)
    with pytest.raises(InputError, match=what):
        read_image(tmp_path / "a.png")


def test_a_large_picture_is_read_and_a_lie_about_its_size_is_not(tmp_path):
    Image.fromarray(np.zeros((100, 100), np.uint8)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match="truncated"):
        read_image(tmp_path / "a.png")
    data[16:24] = struct.pack(">II", 2**30, 2**30)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"has 1073741824x1073741824 pixels"):
        read_image(tmp_path / "a.png")


def test_notes_that_decoders_stumble_over_do_no_harm(tmp_path):
    note = b"Comment\0\0" + zlib.compress(b"a" * 2_000_000)
    pixels = picture(np.uint8, 3)
    (tmp_path / "a.png").write_bytes(png(pixels, [(b"zTXt", note)]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_damaged_exif_block_does_no_harm(tmp_path):
    pixels = picture(np.uint8, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"
    )
    (tmp_path / "a.webp").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp").pixels, pixels)


def test_other_pictures_of_a_file_are_told_of(tmp_path):
    frames = [Image.fromarray(picture(np.uint8, channels)) for channels in (3, 3)]
    frames[1].putpixel((0, 0), (1, 2, 3))
    for name in ("a.tif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.warns(UserWarning, match=f"{name} holds 2 pictures; the first is used"):
            read_image(tmp_path / name)


def test_a_16_bit_png_may_mark_one_color_as_transparent(tmp_path):
    pixels = picture(np.uint16, 3)
    marked = struct.pack(">3H", *pixels[0, 0])
    (tmp_path / "a.png").write_bytes(png(pixels, [(b"tRNS", marked)]))
    loaded = read_image(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(loaded[..., :3], pixels)
    assert loaded[0, 0, 3] == 0
    assert loaded[1:, :, 3].min() == 65535


def test_a_decoder_of_another_kind_agrees(tmp_path):
    pixels = picture(np.uint16, 3)
    write_image(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(
        cv2.imread(tmp_path / "a.tif", cv2.IMREAD_UNCHANGED)[..., ::-1], pixels
    )


def test_a_small_tiff_that_claims_a_large_picture_is_refused_before_memory_is_taken():
    file = io.BytesIO()
    pixels = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(file, pixels, photometric="rgb", tile=(16, 16))
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as written:
        width, height = (written.pages.first.tags[tag].valueoffset for tag in (256, 257))
    data = bytearray(file.getvalue())
    for place in (width, height):
        struct.pack_into("<H", data, place, 20000)
    with pytest.raises(DamagedError, match="holds 16 of the 1562500 pieces"):
        tiff.decode(bytes(data))


def test_a_qoi_that_claims_more_pixels_than_it_can_hold(tmp_path):
    file = tmp_path / "a.qoi"
    header = b"qoif" + (8000).to_bytes(4, "big") * 2 + b"\x03\x00"
    file.write_bytes(header + bytes(5000))
    with pytest.raises(InputError, match="too few bytes for its size"):
        read_image(file)
