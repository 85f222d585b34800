"""`demo`: a small data set that is made on your machine from freely licensed photographs.

Nothing is downloaded: the photographs are installed with scikit-image and scikit-learn (licenses in
`demo_photos.py` and in the built data set). Objects are cut out with GrabCut from rough outlines;
each is cropped several times and recolored with seeded random changes. The result is a tree of
files in iHarmony4 layout that is built like any other.
"""

import hashlib
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from PIL import Image

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.items import Tree
from data_pipelines.building.lists import read_composites
from data_pipelines.building.pairs import scan_pairs
from data_pipelines.building.report import Report
from data_pipelines.datasets.demo_photos import PHOTOS, Outline
from data_pipelines.samples.recoloring import recolor

SEED = 2024
MAX_SIDE = 256
# split -> (crops of an object, recolorings of each crop)
PLAN = {"train": (10, 4), "test": (2, 3)}
HELD_OUT = (
    "test: framings and recolorings that are not in train; the photographs and the objects are "
    "those of train"
)
_SHARE = (0.02, 0.75)  # range of the share of foreground in a crop
_MARGIN = 10  # pixels by which the true outline may exceed the rough one
_CORE = 20  # pixels inside the rough outline from which on all is object
_TRIES = 100


class Demo(TreeBuilder):
    """Recolored objects in six freely licensed photographs, at most 256 pixels wide or high.

    Splits: `train` and `test`; `test` holds framings and recolorings that `train` does not, of
    the same photographs and objects, so results on it say nothing about other photographs.
    """

    license: ClassVar[str] = "; ".join(f"{p.file}: {p.license}" for p in PHOTOS.values())

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder. `manual_dir` is a tree written by `write_tree`."""
        names = {split: read_composites(manual_dir / f"demo_{split}.txt", report) for split in PLAN}
        splits = scan_pairs(manual_dir, self.name, names, report)
        return Tree(manual_dir, self.kind, splits, HELD_OUT)

    def signature(self, source_dir: Path) -> str:
        """See TreeBuilder; the tree is a function of the photographs and of the constants above."""
        digest = hashlib.sha256(json.dumps([SEED, MAX_SIDE, PLAN]).encode())
        for photo in PHOTOS.values():
            digest.update(photo.path().read_bytes())
        return digest.hexdigest()

    def lacks_plates(self, source_dir: Path) -> bool:
        """See TreeBuilder; the demo has none."""
        return False

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_tree(Path(folder))
            self._tree_dir = Path(folder)
            super()._download_and_prepare(dl_manager, download_config)

    def _source_dir(self, dl_manager: Any) -> Path:
        return self._tree_dir


def write_tree(out: Path) -> None:
    """Writes the demo's composites, masks, photographs and lists into a folder.

    Raises:
        DatasetValidationError: if the packages with the photographs are not installed.
    """
    for folder in ("composite_images", "masks", "real_images"):
        (out / folder).mkdir()
    photos = {
        name: np.asarray(Image.open(photo.path()).convert("RGB")) for name, photo in PHOTOS.items()
    }
    lists: dict[str, list[str]] = {split: [] for split in PLAN}
    for name, photo in photos.items():
        others = [other for key, other in photos.items() if key != name]
        for thing, outline in PHOTOS[name].objects.items():
            mask = cut_out(photo, outline)
            for split, (framings, recolorings) in PLAN.items():
                for number in range(framings):
                    real_id = f"{name}-{thing}-{split}{number:02d}"
                    # Seeded by name, so that a crop does not depend on how many came before it.
                    rng = np.random.default_rng([SEED, zlib.crc32(real_id.encode())])
                    real, framed = frame(photo, mask, rng)
                    reference = others[int(rng.integers(len(others)))]
                    lists[split] += _write(out, real_id, real, framed, reference, recolorings, rng)
    for split, files in lists.items():
        (out / f"demo_{split}.txt").write_text("".join(f"{file}\n" for file in files))


def cut_out(photo: np.ndarray, outline: Outline) -> np.ndarray:
    """The mask of the object near a rough outline.

    Args:
        photo: u8[h,w,3] RGB.
        outline: (x, y) corners of a polygon, at most about _MARGIN pixels off.

    Returns:
        bool[h,w]: one connected region without holes.
    """
    rough = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(rough, [np.array(outline, np.int32)], 1)
    core = cv2.erode(rough, _disc(_CORE), borderValue=1)
    labels = np.full(rough.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(rough, _disc(_MARGIN)) > 0] = cv2.GC_PR_BGD
    labels[rough > 0] = cv2.GC_PR_FGD
    labels[core > 0] = cv2.GC_FGD
    x, y, width, height = cv2.boundingRect(rough)
    pad = 4 * _MARGIN  # GrabCut learns the colors of the surroundings from this border
    box = np.s_[max(0, y - pad) : y + height + pad, max(0, x - pad) : x + width + pad]
    inner = labels[box].copy()
    cv2.setRNGSeed(SEED)  # GrabCut starts from random clusters of OpenCV's global generator
    colors, surroundings = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, 0, 0)  # a rectangle is ignored in the mode GC_INIT_WITH_MASK
    bgr = np.ascontiguousarray(photo[box][..., ::-1])
    cv2.grabCut(bgr, inner, whole, surroundings, colors, 4, cv2.GC_INIT_WITH_MASK)
    mask = np.zeros_like(rough)
    mask[box] = np.isin(inner, (cv2.GC_FGD, cv2.GC_PR_FGD))
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(3))
    return _largest_filled(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _disc(3)))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _largest_filled(mask: np.ndarray) -> np.ndarray:
    """The largest connected region of a mask, its holes filled: bool[h,w]."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask)
    mask = (regions == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])).astype(np.uint8)
    # A border of background connects all of the outside, so that what is not connected is a hole.
    around = cv2.copyMakeBorder(1 - mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, regions = cv2.connectedComponents(around)
    return (regions != regions[0, 0])[1:-1, 1:-1]


def frame(
    photo: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a random window around an object, perhaps mirrors it, and scales it to MAX_SIDE.

    Args:
        photo: u8[h,w,3].
        mask: bool[h,w].

    Returns:
        The window u8[h',w',3] and its mask, u8 0 or 255, [h',w'].
    """
    height, width = mask.shape
    left, top, across, down = cv2.boundingRect(mask.astype(np.uint8))
    for _ in range(_TRIES):
        zoom, aspect = rng.uniform(0.85, 2.4), rng.uniform(0.75, 1.33)
        side = zoom * max(across / aspect, down * aspect)
        # At most a random 80 to 100 % of the photograph, so that no two windows are the same.
        most = rng.uniform(0.8, 1.0, 2)
        w, h = min(int(side * aspect), int(most[0] * width)), min(int(side), int(most[1] * height))
        x = int(np.clip(left + across / 2 + rng.uniform(-0.25, 0.25) * w - w / 2, 0, width - w))
        y = int(np.clip(top + down / 2 + rng.uniform(-0.25, 0.25) * h - h / 2, 0, height - h))
        if _SHARE[0] <= mask[y : y + h, x : x + w].mean() <= _SHARE[1]:
            break
    else:
        x, y, w, h = 0, 0, width, height
    flip = np.s_[:, :: -1 if rng.random() < 0.5 else 1]
    scale = MAX_SIDE / max(w, h)
    size = (round(w * scale), round(h * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    soft = mask[y : y + h, x : x + w][flip].astype(np.float32)
    small = cv2.resize(
        np.ascontiguousarray(photo[y : y + h, x : x + w][flip]), size, None, 0, 0, how
    )
    hard = cv2.resize(np.ascontiguousarray(soft), size, None, 0, 0, how) > 0.5
    return small, np.where(hard, np.uint8(255), np.uint8(0))


def _write(
    out: Path,
    real_id: str,
    real: np.ndarray,
    mask: np.ndarray,
    reference: np.ndarray,
    recolorings: int,
    rng: np.random.Generator,
) -> list[str]:
    """Writes a photograph, its mask and its composites; returns the composites' file names."""
    _save(out / "real_images" / f"{real_id}.jpg", real)
    (out / "masks" / f"{real_id}_1.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    names = []
    for k in range(1, recolorings + 1):
        inside = (mask > 0).astype(np.float32)
        composite = recolor(real, inside, rng, reference=reference)
        names.append(f"{real_id}_1_{k}.jpg")
        _save(out / "composite_images" / names[-1], composite)
    return names


def _save(path: Path, rgb: np.ndarray) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    path.write_bytes(cv2.imencode(".jpg", rgb[..., ::-1], quality)[1].tobytes())
