"""Around the work on each image of `jaxharm harmonize`: its files, and the time each stage takes."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxharm.images import MaskChoice, Tags, read_image, read_mask, write_image
from jaxharm.images.composing import Placement
from jaxharm.inference.harmonize import load_inputs, result_tags
from jaxharm.interfaces import AnyRunner, Inputs


class Stopwatch:
    """Seconds per stage, summed over calls, which may come from several threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.pixels = 0  # rendered
        self.image_bytes = 0  # of the largest image: composite, mask, background, result
        self._lock = threading.Lock()

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Adds the time spent inside to `stage`; a `jaxharm.interfaces.Timer`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                spent = time.perf_counter() - start
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def count(self, inputs: Inputs) -> None:
        """Notes the size of an image that is rendered."""
        arrays = (inputs.composite, inputs.composite, inputs.mask, inputs.background)
        self.pixels += inputs.mask.size
        size = sum(array.nbytes for array in arrays if array is not None)
        self.image_bytes = max(self.image_bytes, size)

    def report(self) -> str:
        """One line: the stages in the order they began, rendering also per megapixel of image."""
        parts = [f"{stage} {seconds:.2f} s" for stage, seconds in self.seconds.items()]
        if self.pixels:
            megapixels = self.pixels / 1e6
            rate = 1e3 * self.seconds["render"] / megapixels
            parts.append(f"{megapixels:.1f} megapixels, render {rate:.1f} ms for each")
        return ", ".join(parts)


@dataclass(frozen=True)
class PlainJob:
    """Harmonizes each image with the defaults of a model's options; see `jaxharm.commands.Job`."""

    runner: AnyRunner
    strength: float

    def run(self, name: str, inputs: Inputs) -> Mapping[str, np.ndarray]:
        """The result of one image."""
        del name
        return {"": self.runner.run(inputs, self.strength, self.runner.Options())}


@dataclass(frozen=True)
class Loaded:
    """The decoded files of one image, and what its result says about itself."""

    inputs: Inputs
    tags: Tags


def load_files(
    watch: Stopwatch,
    composite: Path,
    mask: Path | None,
    background: Path | None,
    choice: MaskChoice,
    placement: Placement | None = None,
) -> Loaded:
    """Reads and checks the files of one image.

    Args:
        watch: measures the stages.
        composite, mask, background: the files.
        choice: what the user says of the mask.
        placement: where a cut-out lies, and how large; None: it has the background's size.
    """
    with watch.time("read"):
        image = read_image(composite)
        weights = None if mask is None else read_mask(mask, choice, composite=image)
        plate = None if background is None else read_image(background)
    with watch.time("prepare"):
        inputs = load_inputs(image, weights, plate, placement)
    return Loaded(inputs, result_tags(image, pasted_on=plate if mask is None else None))


def result_files(path: Path, results: Mapping[str, np.ndarray]) -> list[Path]:
    """The files that `write_results` writes, the main one first."""
    return [path.with_name(f"{path.stem}{ending}{path.suffix}") for ending in results]


def write_results(
    watch: Stopwatch, path: Path, results: Mapping[str, np.ndarray], tags: Tags
) -> list[Path]:
    """Writes the results of a job; the main one, which shows that all is done, last.

    Returns:
        The files, the main one first.
    """
    files = result_files(path, results)
    with watch.time("write"):
        # Where the main picture exists, all of them do.
        for file, pixels in reversed(list(zip(files, results.values(), strict=True))):
            write_image(file, pixels, tags)
    return files
