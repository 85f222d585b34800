"""The images on which the runs of a study differ most, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from jaxharm.evaluation.gallery import data_uri
from jaxharm.evaluation.images import KEPT, kept_picture
from jaxharm.images.resize import thumbnail
from jaxharm.studies.ablation import Job
from jaxharm.studies.paired import read_images

STRIPS = 6
_SIDE = 224  # pixels; the page shows them smaller
Values = Mapping[str, float]  # image -> value


@dataclass(frozen=True)
class Picture:
    """One picture of a strip: its label, a value or nothing, and the address that holds it."""

    label: str
    value: str
    uri: str


@dataclass(frozen=True)
class Strip:
    """One image: its name, and the composite, the photograph and every run's result."""

    image: str
    pictures: tuple[Picture, ...]


def strips(jobs: Sequence[Job], metric: str, decimals: int) -> list[Strip]:
    """Chooses the images whose metric differs most between the runs, the largest difference first.

    Of each run the first seed is shown that all of them have; without a common one, nothing is.

    Args:
        jobs: finished ones; the measured ones count.
        metric: of their per_image.csv; the mean over the common seeds decides.
        decimals: of its values.
    """
    by_run: dict[str, dict[int, Job]] = {}
    for job in jobs:
        if job.run.measured and (job.folder / "eval" / "kept").is_dir():
            by_run.setdefault(job.run.name, {})[job.seed] = job
    if len(by_run) < 2:
        return []
    seeds = sorted(set.intersection(*(set(of) for of in by_run.values())))
    if not seeds:
        return []
    values = {run: _mean([of[s] for s in seeds], metric) for run, of in by_run.items()}
    shown = {run: of[seeds[0]] for run, of in by_run.items()}
    chosen = _most_different(values, shown)
    return [
        _strip(image, shown, {run: f"{of[image]:.{decimals}f}" for run, of in values.items()})
        for image in chosen
    ]


def _mean(jobs: Sequence[Job], metric: str) -> Values:
    every = [read_images(job.folder / "eval" / "per_image.csv", metric) for job in jobs]
    return {image: float(np.mean([of[image] for of in every])) for image in every[0]}


def _most_different(values: Mapping[str, Values], shown: Mapping[str, Job]) -> list[str]:
    spread: dict[str, float] = {}
    for image in next(iter(values.values())):
        of = [values[run].get(image, np.nan) for run in values]
        if np.isfinite(of).all() and all(_picture(job, image, KEPT[-1]) for job in shown.values()):
            spread[image] = max(of) - min(of)
    different = (image for image, size in spread.items() if size > 0)
    return sorted(different, key=lambda image: spread[image], reverse=True)[:STRIPS]


def _strip(image: str, shown: Mapping[str, Job], values: Mapping[str, str]) -> Strip:
    first = next(iter(shown.values()))
    files = [(name, _picture(first, image, name)) for name in KEPT[:-1]]
    files += [(run, _picture(job, image, KEPT[-1])) for run, job in shown.items()]
    pictures = [
        Picture(name, values.get(name, ""), data_uri(thumbnail(_read(file), _SIDE)))
        for name, file in files
        if file  # not every system has a true picture
    ]
    return Strip(image, tuple(pictures))


def _picture(job: Job, image: str, name: str) -> Path | None:
    subset, composite_id = image.split("/", 1)
    file = kept_picture(job.folder / "eval" / "kept", subset, composite_id, name)
    return file if file.is_file() else None


def _read(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))
