"""Resizing against the arrays that the published loaders produce."""

import json

import numpy as np
import pytest
from PIL import Image
from support.tiers import first_is_quick

from jaxharm import metrics
from jaxharm.images.bit_depth import to_unit
from jaxharm.images.resize import IMAGE_MODES, resize_image, resize_mask, shrink, thumbnail

_MODES = {
    "default_256": ("linear_noaa", "linear_binary"),
    "iharmony4_eval_256": ("cubic_aa", "nearest_binary"),
    "harmonizer_256": ("linear_aa", "nearest_binary"),
}


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "metrics" / "resize.npz")


@pytest.mark.golden
@pytest.mark.parametrize("protocol", _MODES)
def test_protocol_arrays(golden, protocol):
    image_mode, mask_mode = _MODES[protocol]
    for key in ("composite", "real"):
        ours = resize_image(golden[f"native/{key}"], (256, 256), image_mode).astype(int)
        assert abs(ours - golden[f"{protocol}/{key}"]).max() <= 1
    ours = resize_mask(golden["native/mask"], (256, 256), mask_mode)
    np.testing.assert_array_equal(ours[..., 0], golden[f"{protocol}/mask"])


@pytest.mark.golden
def test_soft_mask_before_the_threshold(golden):
    ours = resize_mask(golden["native/mask"], (256, 256), "linear")
    np.testing.assert_allclose(ours[..., 0], golden["default_256/mask_soft"], atol=1e-6)


@pytest.mark.golden
def test_dithered_masks(golden):
    soft = golden["dither/soft"]
    onebit = resize_mask(soft, soft.shape, "nearest_binary")
    np.testing.assert_array_equal(onebit[..., 0] > 0, golden["dither/onebit"] > 0)
    small = resize_mask(soft, (48, 64), "nearest_binary")
    np.testing.assert_array_equal(small[..., 0] > 0, golden["dither/onebit_64x48"] > 0)


@pytest.mark.parametrize("mode", IMAGE_MODES)
def test_the_same_size_is_the_same_image(mode):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize_image(image, (9, 7), mode), image)


def test_masks_at_the_same_size():
    mask = np.array([[0, 127, 128, 255]], np.uint8)
    np.testing.assert_allclose(resize_mask(mask, (1, 4), "linear")[0, :, 0], mask[0] / 255.0)
    np.testing.assert_array_equal(resize_mask(mask, (1, 4), "linear_binary")[0, :, 0], [0, 0, 1, 1])


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="unknown resize mode 'bicubic'"):
        resize_image(np.zeros((4, 4, 3), np.uint8), (2, 2), "bicubic")
    with pytest.raises(ValueError, match="float32"):
        resize_mask(np.zeros((4, 4), np.float32), (2, 2), "linear")


def test_8_bit_images_shrink_as_pillow_does():
    image = np.random.default_rng(1).integers(0, 255, (40, 30, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((9, 11), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(shrink(image, (11, 9)), to_unit(expected))
    deep = shrink(image.astype(np.uint16) * 257, (11, 9))
    np.testing.assert_allclose(deep, to_unit(expected), atol=1.01 / 255)


def test_thumbnails_keep_the_aspect_ratio_and_never_enlarge():
    image = np.zeros((40, 30, 3), np.uint8)
    assert thumbnail(image, 20).shape == (20, 15, 3)
    assert thumbnail(image, 400).shape == image.shape


_KEYS = {"MSE": "mse", "fMSE": "fmse", "PSNR": "psnr", "fPSNR": "fpsnr", "SSIM": "ssim"}


@pytest.mark.golden
@pytest.mark.parametrize("index", first_is_quick([0, 1, 2]))
def test_identity_under_every_protocol(shared, index):
    entry = json.loads((shared / "golden" / "metrics" / "manifest.json").read_text())["protocols"][
        index
    ]
    root, name = shared / "data" / entry["set"], entry["composite"].removesuffix(".jpg")
    real_id, mask_id = name.split("_")[0], name.rsplit("_", 1)[0]
    composite = np.asarray(Image.open(root / "composite_images" / f"{name}.jpg").convert("RGB"))
    real = np.asarray(Image.open(root / "real_images" / f"{real_id}.jpg").convert("RGB"))
    mask = np.asarray(Image.open(root / "masks" / f"{mask_id}.png").convert("L"))
    for protocol_name, values in entry["protocols"].items():
        protocol = metrics.get_protocol(protocol_name)
        size = (protocol.size, protocol.size) if protocol.size else composite.shape[:2]
        images = [
            resize_image(x, size, protocol.image_resize)[None] / np.float32(255)
            for x in (composite, real)
        ]
        ours = metrics.measure(
            *images, resize_mask(mask, size, protocol.mask_resize)[None], protocol=protocol
        )
        for key, golden in values.items():
            if key == "fg_ratio":
                continue
            relative = 2e-3 if "MSE" in key else 0
            absolute = {"SSIM": 1e-5}.get(key, 0.01 if "PSNR" in key else 0)
            np.testing.assert_allclose(
                ours[_KEYS[key]][0],
                golden,
                rtol=relative,
                atol=absolute,
                err_msg=f"{protocol_name} {key}",
            )
