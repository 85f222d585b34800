"""`jaxharm convert vgg19`: the frozen encoder of ProPIH, from any ImageNet VGG-19."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from jaxharm.cli.convert import check_file, describe
from jaxharm.errors import InputError
from jaxharm.images import read_image, write_whole
from jaxharm.images.codec import READ_SUFFIXES
from jaxharm.images.resize import shrink
from jaxharm.papers.propih.encoder import normalized_encoder
from jaxharm.weights.torch_file import read_torch_file

FILE = "vgg_normalised.safetensors"
_LONG_SIDE = 512  # of the images that activations are measured on, in pixels
_SHORT_SIDE = 16  # the encoder's smallest


def execute(arguments: argparse.Namespace) -> int:
    """Writes the encoder and its manifest to OUT_DIR; prints the latter and what to do next."""
    if arguments.set:
        raise InputError("--set is for models; vgg19 has no options but --preprocessing")
    check_file(arguments.checkpoint)
    files = _image_files(arguments.images)
    preprocessing = arguments.preprocessing or "torchvision"
    state = normalized_encoder(
        read_torch_file(arguments.checkpoint),
        map(_read, files),
        preprocessing=preprocessing,
        source=str(arguments.checkpoint),
    )
    data = save(state)
    manifest = {
        "encoder": "VGG-19 to conv4_1, normalized",
        "file": FILE,
        "sha256": hashlib.sha256(data).hexdigest(),
        "parameters": sum(array.size for array in state.values()),
        "source": describe(arguments.checkpoint),
        "preprocessing": preprocessing,
        "images": len(files),
        "long_side": _LONG_SIDE,
    }
    try:
        arguments.out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {arguments.out_dir}: {error.strerror}") from None
    text = json.dumps(manifest, indent=1)
    write_whole(arguments.out_dir / FILE, data)
    write_whole(arguments.out_dir / "manifest.json", f"{text}\n".encode())
    print(text)
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
