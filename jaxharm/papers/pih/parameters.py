"""A prediction of curves and shading, as a record and as a JSON file.

The file is text. Curves are plain numbers, each the shortest decimal of its float32; the shading
map is packed, since a 512x512 map would take megabytes of digits:

    {"format": "jaxharm-parameters-1", "single_alpha": false,
     "curves": {"red": [32 numbers], "green": [...], "blue": [...]},
     "shading": {"height": 512, "width": 512, "data": "..."}}      or "shading": null

"data" is base64 of zlib of little-endian float32, row by row from the top left. Reading gives back
every bit, so that a rendering from the file equals the first one.
"""

import base64
import binascii
import json
import os
import zlib
from dataclasses import dataclass

import numpy as np

from jaxharm.errors import InputError
from jaxharm.images import read_file, write_whole

FORMAT = "jaxharm-parameters-1"
CHANNELS = ("red", "green", "blue")
_MOST_KNOTS = 4096
_LARGEST_SIDE = 4096
# A gain of 1 may come out of float32 arithmetic a little above 1.
_ABOVE_ONE = 1e-6


@dataclass(frozen=True, eq=False)
class Parameters:
    """Curves and shading predicted for an image: they can be kept, edited and rendered again.

    Attributes:
        curves: f32[3,k], k of 2 to 4096, in R, G, B order: values in [0,1] at the positions
            (i+0.5)/k; outside the first and last position a curve is flat.
        shading: f32[h,w], gain map in [0,1] that is stretched over the whole image, whatever its
            size; None: no shading.
        single_alpha: how soft edges are blended (`PIHConfig.single_alpha`).

    Raises:
        InputError: another shape, or a value outside its range or not finite.
    """

    curves: np.ndarray
    shading: np.ndarray | None
    single_alpha: bool = False

    def __post_init__(self) -> None:
        # The record is frozen for its users; what it is given is copied and checked here.
        curves = _floats("the curves", self.curves)
        if curves.ndim != 2 or curves.shape[0] != 3 or not 2 <= curves.shape[1] <= _MOST_KNOTS:
            raise InputError(
                f"the curves have shape {list(curves.shape)}, not [3,k] with k of 2 to {_MOST_KNOTS}"
            )
        object.__setattr__(self, "curves", curves)
        if self.shading is None:
            return
        shading = _floats("the shading map", self.shading)
        if shading.ndim != 2 or not 1 <= min(shading.shape) <= max(shading.shape) <= _LARGEST_SIDE:
            raise InputError(
                f"the shading map has shape {list(shading.shape)}, not [h,w] with sides of 1 to "
                f"{_LARGEST_SIDE}"
            )
        object.__setattr__(self, "shading", shading)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the JSON file (see the module); InputError where that is not possible."""
        write_whole(path, self.document())

    def document(self) -> bytes:
        """The content of the JSON file."""
        document = {
            "format": FORMAT,
            "single_alpha": self.single_alpha,
            "curves": {
                name: [float(str(value)) for value in curve]  # shortest decimal of the float32
                for name, curve in zip(CHANNELS, self.curves, strict=True)
            },
            "shading": None if self.shading is None else _pack(self.shading),
        }
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Parameters":
        """Reads what `save` wrote, bit for bit.

        Raises:
            InputError: no such file, or one that is no such record; the sentence says why.
        """
        try:
            document = json.loads(read_file(path))
        except FileNotFoundError:
            raise InputError(f"parameters {path} do not exist") from None
        except OSError as error:
            raise InputError(f"cannot read parameters {path}: {error.strerror}") from None
        except (ValueError, RecursionError):  # the latter: a file of ten thousand brackets
            raise InputError(f"{path} is no parameters file: it is not JSON") from None
        try:
            return cls(*_fields(document))
        except InputError as error:
            raise InputError(f"{path} is no parameters file: {error}") from None


def _fields(document: object) -> tuple[np.ndarray, np.ndarray | None, bool]:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f'it has no "format": "{FORMAT}" (--save-params writes such files)')
    curves, shading = document.get("curves"), document.get("shading", ...)
    if not isinstance(curves, dict) or set(curves) != set(CHANNELS):
        raise InputError(f'"curves" must hold {", ".join(CHANNELS)}')
    # Checked before numpy sees them: lists of unequal lengths would become an array of objects.
    if len({len(v) if isinstance(v, list) else -1 for v in curves.values()}) > 1:
        raise InputError('the three "curves" must be lists of equally many numbers')
    if shading is ...:
        raise InputError('"shading" is missing (null stands for none)')
    single_alpha = document.get("single_alpha")
    if not isinstance(single_alpha, bool):
        raise InputError('"single_alpha" must be true or false')
    values = _floats("the curves", [curves[name] for name in CHANNELS])
    return values, None if shading is None else _unpack(shading), single_alpha


def _floats(what: str, values: object) -> np.ndarray:
    """f32 copy of `values`, in [0,1]."""
    try:
        array = np.array(values)
        numeric = array.dtype.kind in "fiu"
    except ValueError:  # ragged lists
        numeric = False
    if not numeric:
        raise InputError(f"{what} must be numbers")
    if array.size and not (array.min() >= 0 and array.max() <= 1 + _ABOVE_ONE):  # also refuses NaN
        raise InputError(f"{what} span {array.min():g} to {array.max():g}, not 0 to 1")
    return array.astype(np.float32)


def _pack(shading: np.ndarray) -> dict[str, int | str]:
    data = base64.b64encode(zlib.compress(shading.astype("<f4").tobytes())).decode()
    return {"height": shading.shape[0], "width": shading.shape[1], "data": data}


def _unpack(packed: object) -> np.ndarray:
    damaged = 'its "shading" is damaged: it needs height, width and data (packed float32)'
    if not isinstance(packed, dict) or not {"height", "width", "data"} <= set(packed):
        raise InputError(damaged)
    size = (packed["height"], packed["width"])
    if not all(isinstance(n, int) and 1 <= n <= _LARGEST_SIDE for n in size):
        raise InputError(
            f'the sides of the "shading" must be whole numbers of 1 to {_LARGEST_SIDE}'
        )
    count = 4 * size[0] * size[1]
    try:
        # At most one byte too many is unpacked, whatever the data claim to hold: a small file must
        # not fill the memory.
        raw = zlib.decompressobj().decompress(
            base64.b64decode(packed["data"], validate=True), count + 1
        )
    except (TypeError, binascii.Error, zlib.error, ValueError):
        raise InputError(damaged) from None
    if len(raw) != count:
        raise InputError(
            f'its "shading" does not hold {size[0]}x{size[1]} values: the file is damaged'
        )
    return np.frombuffer(raw, "<f4").reshape(size)
