"""Makes the ten composites of one foreground: chooses their lights and writes the files.

Source: docs/data.md, "Recoloring".
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_pipelines.building.images import FOREGROUND, ImageProblem
from data_pipelines.building.report import Report
from data_pipelines.datasets.ccharmony import COMPOSITES_PER_FOREGROUND
from data_pipelines.making.ccharmony.photos import (
    Foreground,
    Light,
    read_foreground_mask,
    read_used_part,
)
from jaxharm.images.polynomial import transfer

FOLDERS = ("composite_images", "masks", "real_images")
MADE = "made"  # folder of one file per finished foreground, by which a stopped run goes on


# A composite for the quality report: composite, split, target (str), clipped and fmse (float).
CompositeRecord = dict[str, str | float]


@dataclass(frozen=True)
class Options:
    """How composites are made.

    Attributes:
        seed: with a foreground's id, decides the images whose light it gets.
        max_clip: largest share of a foreground's values that may be clipped in the new light.
        quantize_intermediate: rounds colors under the standard light to 8 bits, as published.
        ending: "jpg" (the published layout) or "png" (lossless).
    """

    seed: int = 0
    max_clip: float = 0.05
    quantize_intermediate: bool = True
    ending: str = "jpg"


def choose_targets(
    pixels: np.ndarray, foreground: Foreground, lights: Mapping[str, Light], options: Options
) -> list[tuple[str, np.ndarray, float]]:
    """Draws ten other images and computes the foreground in the light of each.

    Images are drawn uniformly without replacement; one in whose light too much clips is rejected.

    Args:
        pixels: u8[n,3] of the foreground.

    Returns:
        (image id, u8[n,3], share of clipped values) for each of the ten.

    Raises:
        ImageProblem: few_targets.

    Source: docs/papers/giftnet.md, "Training".
    """
    # Sorted, and seeded by the foreground's id: independent of the order in which files are found.
    others = sorted(set(lights) - {foreground.image})
    rng = np.random.default_rng([options.seed, zlib.crc32(foreground.name.encode())])
    chosen = []
    for index in rng.permutation(len(others)):
        converted, clipped = transfer(
            pixels,
            lights[foreground.image].to_standard,
            lights[others[index]].from_standard,
            quantize_intermediate=options.quantize_intermediate,
        )
        if clipped <= options.max_clip:
            chosen.append((others[index], converted, clipped))
        if len(chosen) == COMPOSITES_PER_FOREGROUND:
            return chosen
    raise ImageProblem(
        "few_targets",
        f"{foreground.name}: {len(chosen)} of {len(others)} other images, "
        f"{COMPOSITES_PER_FOREGROUND} are needed",
    )


def make_foreground(
    foreground: Foreground,
    lights: Mapping[str, Light],
    out: Path,
    options: Options,
    signature: str,
    report: Report,
) -> list[CompositeRecord]:
    """Writes the photograph, the mask and the ten composites, unless it was done before.

    Returns:
        One entry per composite, for the quality report.
    """
    done = out / MADE / f"{foreground.name}.json"
    before = _read_done(done)
    if before.get("signature") == signature:
        return before["composites"]
    light = lights[foreground.image]
    real = read_used_part(foreground, light, report)
    mask = read_foreground_mask(foreground, real.shape[:2])
    inside = mask >= FOREGROUND
    pixels = real[inside]
    records: list[CompositeRecord] = []
    for k, (target, converted, clipped) in enumerate(
        choose_targets(pixels, foreground, lights, options), 1
    ):
        composite = real.copy()
        composite[inside] = converted
        name = f"{foreground.name}_{k}"
        _write(out / "composite_images" / f"{name}.{options.ending}", composite)
        error = float(np.mean((converted.astype(np.float64) - pixels) ** 2))
        records.append(
            {"composite": name, "split": foreground.split, "target": target}
            | {"clipped": round(clipped, 5), "fmse": round(error, 3)}
        )
    _write(out / "masks" / f"{foreground.name}.png", mask)
    _write_real(out, foreground, light, real, options)
    done.write_text(json.dumps({"signature": signature, "composites": records}) + "\n")
    return records


def _read_done(file: Path) -> dict[str, Any]:
    """What was noted of a finished foreground; nothing where the note was cut off."""
    try:
        before = json.loads(file.read_text()) if file.is_file() else {}
    except (ValueError, RecursionError):
        return {}
    return before if isinstance(before, dict) else {}


def _write_real(
    out: Path, foreground: Foreground, light: Light, real: np.ndarray, options: Options
) -> None:
    """Writes the used part of a photograph; copies its file if nothing needs to be changed."""
    path = out / "real_images" / f"{foreground.image}.{options.ending}"
    whole = light.place is None or light.place.crop is None
    if whole and foreground.photograph.suffix.lower() == path.suffix:
        shutil.copyfile(foreground.photograph, path)
    else:
        _write(path, real)


def _write(path: Path, image: np.ndarray) -> None:
    # Quality 100 without chroma subsampling, so that the files add as little as possible to the
    # difference between composite and photograph.
    flags = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    bgr = image[..., ::-1] if image.ndim == 3 else image
    encoded = cv2.imencode(path.suffix, bgr, flags if path.suffix == ".jpg" else [])[1]
    # Renamed when complete, so that a stopped run leaves no truncated image.
    partial = path.with_suffix(".partial")
    partial.write_bytes(encoded.tobytes())
    partial.replace(path)


def digest_lights(lights: Mapping[str, Light]) -> str:
    """A hash of all lights, since a composite's light is drawn from all of them."""
    digest = hashlib.sha256()
    for name, light in sorted(lights.items()):
        digest.update(f"{name}\0{light.place}\0".encode())
        digest.update(light.to_standard.tobytes() + light.from_standard.tobytes())
    return digest.hexdigest()


def signature_of(foreground: Foreground, digest: str) -> str:
    """A hash of all that a foreground's composites depend on; they are made again if it changes."""
    stats = [path.stat() for path in (foreground.photograph, foreground.mask)]
    files = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    return hashlib.sha256(f"{foreground.split}{files}{digest}".encode()).hexdigest()
