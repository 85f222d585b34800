"""Built data sets that tests of several folders share, and trees to build from."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def demo_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that holds the built `demo` data set."""
    from data_pipelines.build import build

    data_dir = tmp_path_factory.mktemp("data")
    build("demo", data_dir=data_dir)
    return data_dir


def random_image(height: int = 40, width: int = 48, *, seed: int = 0) -> np.ndarray:
    """A smooth photograph-like image, u8[h,w,3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def box_mask(height: int = 40, width: int = 48) -> np.ndarray:
    """A mask with one rectangle, u8[h,w], 0 or 255."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    return mask


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an RGB or gray image in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1] if image.ndim == 3 else image)[1])


def write_tree(
    root: Path, lists: dict[str, Sequence[str]], *, size: tuple[int, int] = (40, 48)
) -> Path:
    """Writes a tree in iHarmony4 layout: the named lists and the three files of every line."""
    for name, composites in lists.items():
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("".join(f"{composite}\n" for composite in composites))
        for i, composite in enumerate(composites):
            real_id, fg, _ = composite.rsplit(".", 1)[0].rsplit("_", 2)
            seed = sum(map(ord, real_id))
            real, mask = random_image(*size, seed=seed), box_mask(*size)
            changed = real.copy()
            changed[mask > 0] = 255 - changed[mask > 0] // 2 - i
            write_image(root / "composite_images" / composite, changed)
            write_image(root / "masks" / f"{real_id}_{fg}.png", mask)
            write_image(root / "real_images" / f"{real_id}.jpg", real)
    return root
