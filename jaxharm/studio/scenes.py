"""Pictures and scenes of the studio, kept in memory until newer ones need the room."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxharm.images import ImageFile
from jaxharm.inference.harmonize import Harmonizer
from jaxharm.interfaces import Inputs
from jaxharm.studio.limits import GoneError
from jaxharm.studio.uploads import Scene, Upload
from jaxharm.studio.views import Region, encoded, is_small_enough, rendered, scaled, small_inputs


@dataclass(frozen=True)
class Picture:
    """An uploaded file, decoded; the file itself is kept for a mask, which needs its composite."""

    upload: Upload
    image: ImageFile

    @property
    def memory(self) -> int:
        """Bytes."""
        return self.image.pixels.nbytes + len(self.upload.data)


@dataclass(frozen=True)
class Look:
    """How a model's prediction is to be applied.

    Attributes:
        model: name under which the server offers it.
        run: the model.
        prediction: with the user's changes.
        strength, options: of the runner.
        key: tells looks apart whose results differ.
    """

    model: str
    run: Harmonizer
    prediction: Any
    strength: float
    options: Any
    key: Hashable


@dataclass
class OpenScene:
    """A scene with what was made of it.

    Attributes:
        scene: the checked pictures.
        small: the same at a size that is shown at once.
        predictions: (model, what it depends on) -> prediction.
    """

    scene: Scene
    small: Inputs
    predictions: dict[Hashable, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _whole: tuple[Hashable, np.ndarray] | None = None

    @classmethod
    def of(cls, scene: Scene) -> "OpenScene":
        """A scene that is opened."""
        return cls(scene, small_inputs(scene.inputs))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.scene.inputs.mask.shape
        return height, width

    @property
    def memory(self) -> int:
        """Bytes, a result included."""
        inputs = self.scene.inputs
        arrays = (inputs.composite, inputs.composite, inputs.mask, inputs.background)
        return sum(array.nbytes for array in arrays if array is not None) * 5 // 4

    def predict(self, model: str, run: Harmonizer, options: Any) -> Any:
        """The model's prediction, made once; of a parametric model the options do not matter."""
        runner = run.runner
        key: Hashable = model if runner.parametric else (model, options)
        with self.lock:
            if key not in self.predictions:
                inputs = self.scene.inputs
                self.predictions[key] = runner.predict(runner.prepare(inputs, options), options)
            return self.predictions[key]

    def result(self, look: Look) -> np.ndarray:
        """The whole picture of a look, at full size, with alpha; the last one is kept."""
        with self.lock:
            if self._whole is None or self._whole[0] != look.key:
                self._whole = None  # before the next one takes its room
                result = apply(look, self.scene.inputs)
                self._whole = look.key, result
            return self._whole[1]

    def view(self, region: Region, look: Look | None) -> bytes:
        """A region as a JPEG: of the composite without a look."""
        inputs, small = self.scene.inputs, self.small
        if look is not None and not look.run.runner.parametric:
            pixels = self.result(look)[region.slices][..., :3]
            return encoded(pixels, inputs.space, region.size)
        if is_small_enough(region, small.mask.shape[:2], self.size):
            region, inputs = scaled(region, self.size, small.mask.shape[:2]), small
        if look is None:
            pixels = inputs.composite[region.slices]
        else:
            shown = look.prediction, look.strength, look.options
            pixels = rendered(look.run, inputs, region, *shown)
        return encoded(pixels, inputs.space, region.size)


def apply(look: Look, inputs: Inputs) -> np.ndarray:
    """The look on pictures of any size and depth."""
    return look.run.runner.apply(inputs, look.prediction, look.strength, look.options)


class Store:
    """Things by secret names, within a limit of memory: the ones not used for longest are dropped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def put(self, thing: Any) -> str:
        """Keeps a thing that tells its `memory`; returns its name."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[name] = thing
            while len(self._kept) > 1 and sum(t.memory for t in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
        return name

    def get(self, name: object, kind: type) -> Any:
        """The thing of a name; GoneError where it is no longer here."""
        with self._lock:
            thing = self._kept.get(str(name))
            if not isinstance(thing, kind):
                raise GoneError("this picture is no longer here: load it again")
            self._kept.move_to_end(str(name))
            return thing
