"""PIH on images of any size: curves and shading are predicted small and rendered at full size."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from jaxharm.images.codec import ImageLike
from jaxharm.images.resize import shrink
from jaxharm.inference.harmonize import load_inputs
from jaxharm.inference.options import check_strength, choose
from jaxharm.inference.pixels import seen_background, seen_composite, with_alpha
from jaxharm.inference.runner import BaseRunner, apply_network
from jaxharm.interfaces import Array, Inputs, Params
from jaxharm.papers.pih.edit import Edit
from jaxharm.papers.pih.full_size import render_full_size
from jaxharm.papers.pih.parameters import Parameters
from jaxharm.papers.pih.plate import fill_plate

if TYPE_CHECKING:
    from jaxharm.papers.pih.model import PIHConfig


class Seen(NamedTuple):
    """What the network sees: f32[1,s,s,c] in [0,1]; the background may be missing."""

    composite: np.ndarray
    mask: np.ndarray
    background: np.ndarray | None


@partial(jax.jit, static_argnums=0)
def predict_arrays(
    model: nn.Module, variables: Params, composite: Array, mask: Array, background: Array | None
) -> tuple[Array, Array | None]:
    """Curves [3,k] and shading [s,s] of f32[1,s,s,c] inputs; a missing background is filled in.

    The small model has no shading.
    """
    if background is None:
        background = fill_plate(composite, mask)
    output = apply_network(model, variables, composite, mask, background)
    shading = output.aux.get("shading")
    return output.aux["curves"][0], None if shading is None else shading[0, ..., 0]


class PIHRunner(BaseRunner[Edit, Seen, Parameters]):
    """Predicts `Parameters` at the network's size; `Edit` says what of them is rendered."""

    Options = Edit
    parametric = True
    fills_background = True
    outputs: tuple[str, ...] = ("image", "curves", "shading")

    def as_is(self, height: int, width: int) -> bool:
        """See `jaxharm.interfaces.Runner`."""
        return height == width == self._side

    def _prepare(self, inputs: Inputs, options: Edit) -> Seen:
        del options
        return network_inputs(inputs, self._side)

    def _predict(self, prepared: Seen, options: Edit) -> Parameters:
        del options
        curves, shading = predict_arrays(self.model, self._variables, *prepared)
        config = self._config
        return Parameters(
            np.asarray(curves), np.asarray(shading) if config.masking else None, config.single_alpha
        )

    def _apply(
        self, inputs: Inputs, prediction: Parameters, strength: float, options: Edit
    ) -> np.ndarray:
        return render_full_size(inputs, prediction, strength, options)

    @property
    def _side(self) -> int:
        return self.settings.size or self._config.default_size

    @property
    def _config(self) -> "PIHConfig":
        config: PIHConfig = self.model.config
        return config


def network_inputs(inputs: Inputs, side: int) -> Seen:
    """Composite, mask and background shrunk to side x side, two at a time."""
    size = (side, side)
    with ThreadPoolExecutor(1) as pool:
        composite = pool.submit(seen_composite, inputs, size)
        # Pillow's filter overshoots by a rounding where a mask is 0 or 1.
        mask = np.clip(shrink(inputs.mask, size), 0, 1)
        plate = seen_background(inputs, size)
    return Seen(
        composite.result()[None], mask[None, ..., None], None if plate is None else plate[None]
    )


def render(
    composite: ImageLike,
    mask: ImageLike | None,
    parameters: Parameters | str | os.PathLike[str],
    *,
    background: ImageLike | None = None,
    strength: float = 1.0,
    options: Edit | None = None,
    **fields: Any,
) -> np.ndarray:
    """Applies a prediction without the model: no network, no weights.

    On the image it was predicted for, the result is that of `Harmonizer` at the same strength,
    bit for bit.

    Args:
        composite, mask, background, strength: as for `harmonize`.
        parameters: of `Harmonizer.predict`, or the file they were saved in; of this image or of
            another one of any size.
        options, fields: an `Edit`, or its fields by keyword.

    Returns and raises: as `harmonize`.
    """
    check_strength(strength)
    edit = choose("pih", Edit, options, fields)
    if not isinstance(parameters, Parameters):
        parameters = Parameters.load(parameters)
    inputs = load_inputs(composite, mask, background)
    return with_alpha(render_full_size(inputs, parameters, strength, edit), inputs)
