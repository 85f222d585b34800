"""Makes FFHQH from FFHQ and portrait masks: `python -m data_pipelines.making.ffhqh`.

The recolorings of the published set are not public. The recipe here is our own: brightness,
contrast, saturation, hue, gamma and color temperature of the person are changed in random order,
each with probability 0.5 and at least two of them. A composite whose foreground differs too little
or too much from the photograph is drawn again.

Source: docs/data.md, "Recoloring"; docs/papers/phnet.md, "What we decided".
"""

import argparse
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from data_pipelines.building.files import FileIndex, find_dir, locate
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.images import (
    FOREGROUND,
    ImageProblem,
    check_mask,
    decode_mask,
    decode_rgb,
    read_header,
)
from data_pipelines.building.report import OnError, Report
from data_pipelines.datasets.ffhqh import SPLIT_RANGES, FfhqPhotos, split_of
from jaxharm.errors import run_command
from jaxharm.images.bit_depth import from_unit
from jaxharm.images.color import LUMA
from jaxharm.progress import tracked

FMSE_RANGE = (30.0, 6000.0)  # 0-255 scale
_MAX_DRAWS = 200
_RECIPE = "make_ffhqh.json"
Edit = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _brightness(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rgb * rng.uniform(0.6, 1.4)


def _contrast(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = (rgb @ LUMA).mean()
    return mean + (rgb - mean) * rng.uniform(0.6, 1.4)


def _saturation(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gray = (rgb @ LUMA)[:, None]
    return gray + (rgb - gray) * rng.uniform(0.5, 1.5)


def _hue(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hsv = cv2.cvtColor(rgb[None].astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * rng.uniform(-0.06, 0.06)) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0].astype(np.float64)


def _gamma(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rgb ** rng.uniform(0.7, 1.4)


def _temperature(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shift = rng.uniform(-0.2, 0.2)
    return rgb * np.array([1 + shift, 1.0, 1 - shift])


EDITS: tuple[Edit, ...] = (_brightness, _contrast, _saturation, _hue, _gamma, _temperature)


def recolor(real: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Makes a composite: the photograph with its foreground recolored.

    Args:
        real: u8[h,w,3].
        mask: bool[h,w], with at least one True.
        rng: draws the changes, their order and their strengths.

    Returns:
        u8[h,w,3], equal to `real` outside the mask, with a foreground MSE within FMSE_RANGE.

    Raises:
        DatasetValidationError: if no draw is in the range, as for a foreground that is all black.
    """
    before = real[mask]
    for _ in range(_MAX_DRAWS):
        # Drawing again until there are two keeps all larger choices equally likely.
        chosen: list[int] = []
        while len(chosen) < 2:
            chosen = [i for i in rng.permutation(len(EDITS)) if rng.random() < 0.5]
        pixels = before / 255.0
        for i in chosen:
            pixels = np.clip(EDITS[i](pixels, rng), 0.0, 1.0)
        after = from_unit(pixels, np.uint8)
        error = np.mean((after.astype(np.float64) - before) ** 2)
        if FMSE_RANGE[0] <= error <= FMSE_RANGE[1]:
            composite = real.copy()
            composite[mask] = after
            return composite
    raise DatasetValidationError(
        f"none of {_MAX_DRAWS} recolorings changes the foreground enough, and not too much"
    )


def make(
    ffhq: Path, masks: Path, out: Path, *, seed: int = 0, on_error: OnError = "raise"
) -> dict[str, int]:
    """Writes comp/, alpha/ and the split lists of FFHQH into `out`.

    Photographs without a mask are ignored. Existing files are kept, so that a run that was stopped
    goes on when it is repeated; another seed needs another folder.

    Args:
        ffhq: the folder images1024x1024 of FFHQ, or its parent.
        masks: 8-bit portrait masks `<id>.png`; 128 and more is the person.
        seed: together with a photograph's id it decides its recoloring.
        out: gets the data set.
        on_error: "skip" excludes unusable photographs and masks.

    Returns:
        Number of composites per split.

    Raises:
        DatasetValidationError: lists everything that cannot be used.
    """
    report = Report(f"FFHQ in {ffhq} with masks in {masks}", on_error=on_error)
    for folder in (ffhq, masks):
        if not folder.is_dir():
            report.error("missing_root", str(folder))
    report.raise_errors()
    pairs = list(_pairs(ffhq, masks, report))
    report.raise_errors()
    _claim(out, seed)
    made: dict[str, list[str]] = {split: [] for split in SPLIT_RANGES}
    for name, photo, mask in tracked(pairs, "making composites", len(pairs)):
        with report.item(name):
            _make_one(name, photo, mask, out, seed)
            made[str(split_of(name))].append(name)
    report.raise_errors()
    report.log()
    return {split: _write_list(out, split, names) for split, names in made.items()}


def _write_list(out: Path, split: str, names: list[str]) -> int:
    """Writes the list of a split; returns its length."""
    (out / f"{split}_split.txt").write_text("".join(f"{name}.png\n" for name in names))
    return len(names)


def _pairs(ffhq: Path, masks: Path, report: Report) -> Iterator[tuple[str, Path, Path]]:
    """Id, photograph and mask for every mask whose name is an FFHQ index."""
    photos = FfhqPhotos(find_dir(ffhq, "images1024x1024") or ffhq, report)
    index = FileIndex(masks, masks, report)
    names = [name for name in index.stems() if split_of(name)]
    if not names:
        report.error("missing_mask", f"{masks}{os.sep}00000.png (or any other FFHQ index)")
    for name in names:
        mask = locate(index, f"{name}.png", "missing_mask", report)
        photo = photos.find(name)
        if photo is None:
            report.error("missing_real", f"{ffhq / name}.png")
        elif mask:
            yield name, photo, mask


def _claim(out: Path, seed: int) -> None:
    """Stores the seed in the folder and refuses another one, so that seeds are never mixed."""
    out.mkdir(parents=True, exist_ok=True)
    recipe = out / _RECIPE
    if recipe.exists():
        before = json.loads(recipe.read_text())["seed"]
        if before != seed:
            raise DatasetValidationError(
                f"{out} was made with seed {before}, not {seed}; choose another --out"
            )
    recipe.write_text(json.dumps({"seed": seed}) + "\n")
    for folder in ("comp", "alpha"):
        (out / folder).mkdir(exist_ok=True)


def _make_one(name: str, photo: Path, mask_path: Path, out: Path, seed: int) -> None:
    """Writes the mask and the composite of one photograph unless both exist."""
    targets = [out / folder / f"{name}.png" for folder in ("alpha", "comp")]
    if all(path.exists() for path in targets):
        return
    # Checked by header first: a photograph of a wrong kind or size is refused before it is decoded.
    for path, is_mask in ((photo, False), (mask_path, True)):
        read_header(path, is_mask=is_mask, max_megapixels=200)
    real = decode_rgb(photo, photo.read_bytes())
    mask = decode_mask(mask_path, mask_path.read_bytes()).pixels
    if mask.shape != real.shape[:2]:
        sizes = f"real {real.shape[1]}x{real.shape[0]}, mask {mask.shape[1]}x{mask.shape[0]}"
        raise ImageProblem("size_mismatch", f"{name}: {sizes}")
    check_mask(mask_path, mask)
    person = mask >= FOREGROUND
    # Seeded by the id, so that a composite does not depend on which photographs came before it.
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    try:
        composite = recolor(real, person, rng)
    except DatasetValidationError as error:
        raise ImageProblem("bad_foreground", f"{photo}: {error}; remove {mask_path}") from error
    images = (np.where(person, np.uint8(255), np.uint8(0)), composite[..., ::-1])
    for path, image in zip(targets, images, strict=True):
        partial = path.with_suffix(".partial")  # a stopped run must not leave half a PNG
        partial.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        partial.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.making.ffhqh")
    parser.add_argument("--ffhq", type=Path, required=True, help="images1024x1024 or its parent")
    parser.add_argument("--masks", type=Path, required=True, help="portrait masks <id>.png")
    parser.add_argument("--out", type=Path, required=True, help="gets comp/, alpha/ and the lists")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise")
    args = parser.parse_args(argv)
    return run_command(lambda: _make(args))


def _make(args: argparse.Namespace) -> None:
    counts = make(args.ffhq, args.masks, args.out, seed=args.seed, on_error=args.on_error)
    print(f"{args.out}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))
    print(
        "next: move it to ffhqh/ beside ffhq/images1024x1024/ and run "
        "python -m data_pipelines.build ffhqh --manual-dir <parent of both>"
    )


if __name__ == "__main__":
    sys.exit(main())
