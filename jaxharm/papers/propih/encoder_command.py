"""Writes the frozen encoder that training needs, made from any ImageNet VGG-19, to a folder."""

import argparse
from pathlib import Path

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images import read_image
from jaxharm.images.codec import READ_SUFFIXES
from jaxharm.images.resize import shrink
from jaxharm.papers.propih.encoder import normalized_encoder
from jaxharm.weights.tensor_file import write_network
from jaxharm.weights.torch_file import check_file, describe_file, read_torch_file

FILE = "vgg_normalised.safetensors"
_LONG_SIDE = 512  # of the images that activations are measured on, in pixels
_SHORT_SIDE = 16  # the encoder's smallest


def write_encoder(arguments: argparse.Namespace) -> int:
    """`jaxharm convert vgg19`: writes the encoder and its manifest; prints the latter."""
    check_file(arguments.checkpoint)
    files = _image_files(arguments.images)
    preprocessing = arguments.preprocessing or "torchvision"
    state = normalized_encoder(
        read_torch_file(arguments.checkpoint),
        map(_read, files),
        preprocessing=preprocessing,
        source=str(arguments.checkpoint),
    )
    about = {
        "encoder": "VGG-19 to conv4_1, normalized",
        "source": describe_file(arguments.checkpoint),
        "preprocessing": preprocessing,
        "images": len(files),
        "long_side": _LONG_SIDE,
    }
    print(write_network(arguments.out_dir, FILE, state, about))
    print(f"next: train ProPIH with --set objective.encoder={arguments.out_dir / FILE}")
    return 0


def _image_files(folder: Path | None) -> list[Path]:
    """The images of a folder, by name."""
    if folder is None:
        raise InputError(
            "vgg19 is normalized on images: name a folder of some hundred various ones by --images"
        )
    if not folder.is_dir():
        raise InputError(f"image folder {folder} does not exist")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in READ_SUFFIXES)
    if not files:
        raise InputError(f"no image in {folder}; known: {', '.join(READ_SUFFIXES)}")
    return files


def _read(file: Path) -> np.ndarray:
    """An image f32[h,w,3] in [0,1], scaled down where it is large."""
    pixels = read_image(file).pixels[..., :3]
    scale = min(1.0, _LONG_SIDE / max(pixels.shape[:2]))
    height, width = (max(_SHORT_SIDE, round(n * scale)) for n in pixels.shape[:2])
    return shrink(pixels, (height, width))
