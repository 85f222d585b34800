"""What `jaxharm harmonize` does with one image: the stages, and the time each takes."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images import read_image, read_mask, write_image
from jaxharm.inference import Edit, Harmonizer, Parameters, Restyle
from jaxharm.inference.harmonize import load_inputs, render_inputs
from jaxharm.inference.pixels import Inputs
from jaxharm.papers.propih.restyle import strip


class Stopwatch:
    """Seconds per stage, summed over calls, which may come from several threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.pixels = 0  # rendered
        self.image_bytes = 0  # of the largest image: composite, mask, background, result
        self._lock = threading.Lock()

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Adds the time spent inside to `stage`."""
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
        main = "render" if "render" in self.seconds else "harmonize"
        if self.pixels:
            megapixels = self.pixels / 1e6
            rate = 1e3 * self.seconds[main] / megapixels
            parts.append(f"{megapixels:.1f} megapixels, {main} {rate:.1f} ms for each")
        return ", ".join(parts)


@dataclass(frozen=True)
class Loaded:
    """The decoded files of one image."""

    inputs: Inputs
    icc_profile: bytes | None


def load_files(
    watch: Stopwatch, composite: Path, mask: Path | None, background: Path | None
) -> Loaded:
    """Reads and checks the files of one image."""
    with watch.time("read"):
        image = read_image(composite)
        images = (
            image.pixels,
            None if mask is None else read_mask(mask),
            None if background is None else read_image(background).pixels,
        )
    with watch.time("prepare"):
        return Loaded(load_inputs(*images), image.icc_profile)


@dataclass(frozen=True)
class Job:
    """What to do with every image.

    Attributes:
        strength, edit: as for `jaxharm.render`.
        watch: where the time is noted.
        harmonizer: the model with its weights; None: `given` replaces it.
        given: parameters for every image, or a folder with <name>.json for each.
        save: file for the parameters of the one image; in folder mode the folder for <name>.json.
        restyle: which stage of a model that has stages; None: its default.
    """

    strength: float
    edit: Edit
    watch: Stopwatch
    harmonizer: Harmonizer | None = None
    given: Parameters | Path | None = None
    save: Path | None = None
    restyle: Restyle | None = None

    @property
    def is_parametric(self) -> bool:
        """Whether there are parameters: predicted or given."""
        return self.harmonizer is None or self.harmonizer.is_parametric

    def parameters(self, name: str, inputs: Inputs) -> Parameters:
        """The parameters of one image, predicted or given."""
        if isinstance(self.given, Parameters):
            return self.given
        if self.given is not None:
            return Parameters.load(self.given / f"{name}.json")
        if self.harmonizer is None:
            raise InputError("neither a model nor parameters were given")
        with self.watch.time("predict"):
            return self.harmonizer.predict_inputs(inputs)

    def render(self, name: str, inputs: Inputs, parameters: Parameters) -> np.ndarray:
        """The result of one image from its parameters, which are saved where that was asked."""
        if self.save is not None:
            parameters.save(self.save / f"{name}.json" if self.save.is_dir() else self.save)
        self.watch.count(inputs)
        with self.watch.time("render"):
            return render_inputs(inputs, parameters, self.strength, self.edit)

    def run(self, name: str, inputs: Inputs) -> dict[str, np.ndarray]:
        """The results of one image by the ending of their names, "" for the main one.

        Of all stages the main one is their strip, and `_stage1` ... are the stages.
        """
        if self.is_parametric or self.harmonizer is None:
            return {"": self.render(name, inputs, self.parameters(name, inputs))}
        self.watch.count(inputs)
        with self.watch.time("harmonize"):
            result = self.harmonizer.run(inputs, self.strength, restyle=self.restyle)
        if self.restyle is None or self.restyle.stage != "all":
            return {"": result}
        row = strip(inputs, result[..., :3], self.restyle.rounding)
        return {"": row, **{f"_stage{k}": image for k, image in enumerate(result, 1)}}


def write_results(path: Path, results: Mapping[str, np.ndarray], icc_profile: bytes | None) -> None:
    """Writes the results of `Job.run`; the main one, which says that all is done, last."""
    for ending, pixels in reversed(list(results.items())):
        file = path.with_name(f"{path.stem}{ending}{path.suffix}")
        write_image(file, pixels, icc_profile=icc_profile)
