"""Changes of the light on an object, which may differ from place to place within it.

Three families of `recoloring.recolor`. `gain` is one gain for each channel: a curve per channel
undoes it. `gain_field` is a smooth field of gains, `poisson` lets the colors of other surroundings
leak in from the outline: no curve undoes these, as equal pixels are changed in different ways.

Gains are factors on linear light from 2**-2 to 2**2: a common part of at most LIGHT_STOPS and one
for each channel of at most COLOR_STOPS.

Source: Perez et al., Poisson Image Editing (2003); docs/data.md, "Recoloring".
"""

from collections.abc import Callable

import cv2
import numpy as np
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

from data_pipelines.samples.placement import bounding_box
from jaxharm.images.color import from_linear, to_linear
from jaxharm.images.color_changes import another_camera

# Numbers of pixels (row * width + column) i64[n] -> their changed colors f32[n,3], 0-255 scale.
PlacedChange = Callable[[np.ndarray], np.ndarray]
Draw = Callable[[np.random.Generator], PlacedChange]
# Photograph u8[h,w,3] and mask f32[h,w] in [0,1] -> a function that draws changes for them.
LightFamily = Callable[[np.ndarray, np.ndarray], Draw]

LIGHT_STOPS, COLOR_STOPS = 1.6, 0.4
CONTRAST = (2.0, 3.2)  # stops between the darkest and the brightest place of a field
LEAK = (0.4, 0.8)  # share of the difference to the other surroundings that is taken over
_DEGREE = 3
_GRID = 5  # control points of a field along each side: two cubic pieces
_SOLVE_SIDE = 64  # pixels; the leaking colors are smooth, so a small picture is solved
_ANCHOR = 1e-6  # keeps the equations solvable for an object that fills the picture
_LINEAR = to_linear(np.arange(256) / 255).astype(np.float32)


def gain(real: np.ndarray, mask: np.ndarray) -> Draw:
    """One gain for each channel, the same for the whole object."""
    del mask

    def draw(rng: np.random.Generator) -> PlacedChange:
        stops = rng.uniform(-LIGHT_STOPS, LIGHT_STOPS) + rng.uniform(-COLOR_STOPS, COLOR_STOPS, 3)
        return lambda at: brighten(real.reshape(-1, 3).take(at, axis=0), stops)

    return draw


def gain_field(real: np.ndarray, mask: np.ndarray) -> Draw:
    """A smooth random field of gains, one for each channel."""

    def draw(rng: np.random.Generator) -> PlacedChange:
        stops = stops_field(mask, rng).reshape(-1, 3)
        return lambda at: brighten(real.reshape(-1, 3).take(at, axis=0), stops.take(at, axis=0))

    return draw


def stops_field(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a smooth field of gains over an object.

    Args:
        mask: f32[h,w] in [0,1] with a pixel of at least 0.5.
        rng: the generator of everything that is drawn.

    Returns:
        f32[h,w,3], base-2 logarithms within -2..2, 0 outside of the mask's bounding box. The common
        part of the channels differs by CONTRAST between two places of the object.
    """
    box = bounding_box(mask > 0)
    assert box is not None
    left, top, right, bottom = box
    # A spline lies within the range of its control points, and its pieces are a good part of the
    # object long: smooth by construction, at any size of the picture.
    rows, columns = _basis(bottom - top), _basis(right - left)
    light, *colors = (rows @ points @ columns.T for points in rng.normal(size=(4, _GRID, _GRID)))
    inside = mask[top:bottom, left:right] >= 0.5
    low, high = light[inside].min(), light[inside].max()
    contrast = rng.uniform(*CONTRAST)
    darkest = rng.uniform(-LIGHT_STOPS, LIGHT_STOPS - contrast)
    # An object of one pixel has no contrast.
    light = darkest + contrast * (light - low) / max(high - low, 1e-6)
    reach = rng.uniform(0, COLOR_STOPS)
    color = np.stack([reach * part / max(abs(part).max(), 1e-6) for part in colors], axis=-1)
    field = np.zeros((*mask.shape, 3), np.float32)
    # The soft edge was not counted in `low` and `high`.
    field[top:bottom, left:right] = np.clip(light, -LIGHT_STOPS, LIGHT_STOPS)[..., None] + color
    return field


def poisson(real: np.ndarray, mask: np.ndarray) -> Draw:
    """Colors of other surroundings leak into the object, as if it had been blended into them.

    The surroundings are those at another place of the photograph, seen by another camera. Blending
    by gradients keeps the object's gradients and takes the colors at its outline from the
    surroundings. So the change solves Laplace's equation inside of the object, with a share of the
    difference of the two surroundings as boundary values; at the picture's border it is level.
    """
    height, width = mask.shape
    scale = min(1.0, _SOLVE_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(real, size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= 0.5
    membrane = _Membrane(inside)

    def draw(rng: np.random.Generator) -> PlacedChange:
        rows, columns = (
            _mirrored(np.arange(side) + rng.integers(2 * side), side) for side in inside.shape
        )
        moved = small[rows[:, None], columns]
        pixels = moved.reshape(-1, 3)
        other = np.clip(another_camera(pixels, rng)(pixels), 0, 255).reshape(moved.shape)
        share = np.float32(rng.uniform(*LEAK))
        leak = membrane.stretched(share * (other - small.astype(np.float32)))
        leak = cv2.resize(leak, (width, height), interpolation=cv2.INTER_LINEAR).reshape(-1, 3)
        return lambda at: real.reshape(-1, 3).take(at, axis=0) + leak.take(at, axis=0)

    return draw


def brighten(pixels: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Multiplies linear light by 2**stops.

    Args:
        pixels: u8[n,3], sRGB.
        stops: float[n,3] or [3].

    Returns:
        f32[n,3] on the 0-255 scale, not clipped.
    """
    brightened = from_linear(_LINEAR[pixels] * np.exp2(stops.astype(np.float32)))
    return brightened.astype(np.float32) * np.float32(255)


class _Membrane:
    """Stretches boundary values over a region; the equations are factored once for all draws."""

    def __init__(self, inside: np.ndarray) -> None:
        """`inside`: bool[h,w], the region."""
        self._inside = inside
        flat = inside.reshape(-1)
        number = np.cumsum(flat) - 1  # of the unknowns, one for each pixel of the region
        count = int(flat.sum())
        here, there = _neighbors(inside.shape)
        here, there = here[flat[here]], there[flat[here]]
        known = ~flat[there]
        rows, columns = number[here], number[there[~known]]
        # For each pixel of the region: its value times the number of neighbors = their sum.
        degrees = np.bincount(rows, minlength=count) + _ANCHOR
        links = csc_array((np.ones(len(columns)), (rows[~known], columns)), shape=(count, count))
        self._solver = splu(diags_array(degrees, format="csc") - links) if count else None
        self._rows, self._around = rows[known], there[known]

    def stretched(self, values: np.ndarray) -> np.ndarray:
        """Replaces f32[h,w,3] inside of the region by what continues the values around it."""
        result = values.copy()
        if self._solver is not None:
            sums = np.zeros((int(self._inside.sum()), 3))
            np.add.at(sums, self._rows, values.reshape(-1, 3)[self._around])
            result[self._inside] = self._solver.solve(sums)
        return result


def _neighbors(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of all pixels and of their neighbors, right, left, below and above."""
    places = np.arange(shape[0] * shape[1]).reshape(shape)
    first = np.concatenate([places[:, :-1].ravel(), places[:-1].ravel()])
    second = np.concatenate([places[:, 1:].ravel(), places[1:].ravel()])
    return np.concatenate([first, second]), np.concatenate([second, first])


def _basis(side: int) -> np.ndarray:
    """Values of the `_GRID` B-splines at the centers of `side` pixels, f64[side,_GRID]."""
    ends = np.zeros(_DEGREE)
    knots = np.concatenate([ends, np.linspace(0, 1, _GRID + 1 - _DEGREE), ends + 1])
    centers = (np.arange(side) + 0.5) / side
    # Imported here: it takes a quarter of the start of every command, and few runs draw fields.
    from scipy.interpolate import BSpline

    basis: np.ndarray = BSpline.design_matrix(centers, knots, _DEGREE).toarray()
    return basis


def _mirrored(places: np.ndarray, side: int) -> np.ndarray:
    """Brings positions along a side back into the picture, as if it were repeated in mirrors."""
    places = places % (2 * side)
    return np.minimum(places, 2 * side - 1 - places)


FAMILIES: dict[str, LightFamily] = {"gain": gain, "gain_field": gain_field, "poisson": poisson}
