"""Writes the frozen encoder that training needs, made from any ImageNet VGG, to a folder."""

import argparse
from pathlib import Path

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images import read_image
from jaxharm.images.codec import READ_SUFFIXES
from jaxharm.images.resize import shrink
from jaxharm.papers.propih.encoder import Network, normalized_encoder
from jaxharm.weights.lpips_package import read_lpips_package
from jaxharm.weights.tensor_file import write_network
from jaxharm.weights.torch_file import check_file, describe_file, read_torch_file

FILE = "vgg_normalised.safetensors"
_TORCH_SUFFIXES = (".pth", ".pt")
_ABOUT: dict[Network, str] = {
    "vgg19": "VGG-19 to conv4_1, normalized",
    "vgg16": "VGG-16 to conv4_1, normalized; conv3_4, which VGG-16 lacks, is the identity",
}
_PACKAGE_LICENSE = (
    "VGG-16: torchvision, BSD-3-Clause, trained on the photographs of ImageNet, which are for "
    "non-commercial research"
)
_LONG_SIDE = 256  # of the images that activations are measured on: the size ProPIH is trained at
_SHORT_SIDE = 16  # the encoder's smallest


def write_encoder(arguments: argparse.Namespace) -> int:
    """`jaxharm convert vgg19|vgg16`: writes the encoder and its manifest; prints the latter."""
    path: Path = arguments.checkpoint
    network: Network = arguments.name
    from_package = network == "vgg16" and path.suffix not in _TORCH_SUFFIXES
    if not from_package:
        check_file(path)
    files = _image_files(arguments.images, network)
    preprocessing = arguments.preprocessing or "torchvision"
    state = normalized_encoder(
        read_lpips_package(path, network) if from_package else read_torch_file(path),
        map(_read, files),
        network=network,
        preprocessing=preprocessing,
        source=str(path),
    )
    about = {
        "encoder": _ABOUT[network],
        **({"license": _PACKAGE_LICENSE} if from_package else {}),
        "source": describe_file(path) if path.is_file() else {"folder": path.name},
        "preprocessing": preprocessing,
        "images": len(files),
        "long_side": _LONG_SIDE,
    }
    print(write_network(arguments.out_dir, FILE, state, about))
    encoder = f"--set objective.encoder={arguments.out_dir / FILE}"
    print(f"next: train ProPIH with {encoder} --set model.vgg_input_range=0_1")
    return 0


def _image_files(folder: Path | None, network: Network) -> list[Path]:
    """The images of a folder, by name."""
    if folder is None:
        raise InputError(
            f"{network} is normalized on images: name a folder of some hundred various ones by --images"
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
