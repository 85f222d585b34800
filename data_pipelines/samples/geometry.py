"""Crops, mirrors, resizes and recolors all images of a sample alike.

Source: docs/data.md, "Samples". The rule for crops without foreground: docs/papers/issam.md,
"Training".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_pipelines.samples.options import DataOptions
from jaxharm.images import color_changes
from jaxharm.images.bit_depth import quantize
from jaxharm.images.resize import resize_image, resize_mask

_CROP_TRIES = 50


@dataclass(frozen=True)
class Geometry:
    """A crop (top, left, height, width) in native pixels, and whether it is mirrored."""

    box: tuple[int, int, int, int]
    flip: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Crops and mirrors an array [h,w] or [h,w,c]; returns a view."""
        top, left, height, width = self.box
        view = image[top : top + height, left : left + width]
        return view[:, ::-1] if self.flip else view


def draw_geometry(
    mask: np.ndarray,
    rng: np.random.Generator,
    *,
    flip: float = 0.0,
    crop_scale: tuple[float, float] | None = None,
    crop_ratio: tuple[float, float] = (0.75, 4 / 3),
    keep_background: float = 0.05,
    image_size: int = 256,
) -> Geometry:
    """Draws a crop that contains foreground, and a flip.

    A crop is drawn again while its mask, resized to `image_size`, would sum to at most one pixel,
    except with probability `keep_background` per draw; after `_CROP_TRIES` the whole image is used.

    Args:
        mask: u8[h,w], the native mask.
        rng: the generator that everything is drawn from.
        flip: probability of a horizontal flip.
        crop_scale: range of the crop's share of the area; None keeps the whole image.
        crop_ratio: range of width / height of the crop, log-uniform.
        keep_background: probability of accepting a crop without foreground.
        image_size: side of the square that the crop is resized to.
    """
    flipped = bool(rng.random() < flip)
    whole = (0, 0, *mask.shape)
    if crop_scale is None:
        return Geometry(whole, flipped)
    for _ in range(_CROP_TRIES):
        box = draw_crop(mask.shape, rng, scale=crop_scale, ratio=crop_ratio)
        top, left, height, width = box
        # Scaling by image_size**2 / (height * width) predicts the sum after resizing, so that only
        # the accepted crop is resized.
        total = mask[top : top + height, left : left + width].sum(dtype=np.int64) / 255
        if total * image_size**2 > height * width or rng.random() < keep_background:
            return Geometry(box, flipped)
    return Geometry(whole, flipped)


def draw_augmentation(
    mask: np.ndarray,
    rng: np.random.Generator,
    data: DataOptions,
    *,
    keep_background: float | None = None,
) -> Geometry:
    """Draws a crop and a flip with the options of a run.

    Args:
        mask: u8[h,w], the native mask.
        rng: the generator that everything is drawn from.
        data: the run's options.
        keep_background: replaces that of `data`.
    """
    augment = data.augment
    return draw_geometry(
        mask,
        rng,
        flip=augment.flip,
        crop_scale=augment.crop_scale,
        crop_ratio=augment.crop_ratio,
        keep_background=augment.keep_background if keep_background is None else keep_background,
        image_size=data.image_size,
    )


def draw_crop(
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """Draws the box of a random crop.

    Args:
        size: (height, width) of the image.
        rng: the generator that the box is drawn from.
        scale: range of the share of the area, uniform.
        ratio: range of width / height, log-uniform.

    Returns:
        (top, left, height, width) inside the image. If ten boxes do not fit into the image, the
        largest centered one whose aspect is in range.
    """
    height, width = size
    for _ in range(10):
        area = rng.uniform(*scale) * height * width
        # Uniform in the logarithm, so that a ratio and its inverse are equally likely.
        aspect = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1])))
        h, w = round(np.sqrt(area / aspect)), round(np.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    aspect = np.clip(width / height, *ratio)
    h, w = min(height, round(width / aspect)), min(width, round(height * aspect))
    return (height - h) // 2, (width - w) // 2, h, w


def apply_geometry(
    images: Mapping[str, np.ndarray],
    geometry: Geometry,
    size: tuple[int, int],
    *,
    image_resize: str,
    mask_resize: str,
) -> dict[str, np.ndarray]:
    """Crops, mirrors and resizes all images of a record alike.

    Args:
        images: `mask` u8[h,w] and any others u8[h,w,3], all of one size.
        geometry: from `draw_geometry`.
        size: (height, width) of the result.
        image_resize, mask_resize: modes of `jaxharm.images.resize`.

    Returns:
        The same keys: u8[height,width,3], and `mask` f32[height,width,1].
    """
    # OpenCV and Pillow need contiguous pixels, which a cropped or mirrored view does not have.
    views = {key: np.ascontiguousarray(geometry(image)) for key, image in images.items()}
    return {
        key: resize_mask(view, size, mask_resize)
        if key == "mask"
        else resize_image(view, size, image_resize)
        for key, view in views.items()
    }


def recolor_alike(
    images: Mapping[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Applies one random change of colors to every image of a sample; the mask is kept.

    The foreground keeps its relation to the background, but a network cannot memorize the colors of
    a photograph, which it does on small data sets.

    Args:
        images: "mask", and images u8[h,w,3] with the other keys.
        rng: the generator that the change is drawn from.
    """
    sample = images["real"].reshape(-1, 3)[:: max(1, images["real"].size // 6000)]
    change = color_changes.another_camera(sample, rng)
    return {
        key: image if key == "mask" else quantize(change(image.reshape(-1, 3))).reshape(image.shape)
        for key, image in images.items()
    }
