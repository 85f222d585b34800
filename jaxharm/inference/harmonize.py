"""`harmonize` for one call, `Harmonizer` for many: composite and mask in, the same size out.

Parametric models can be used in two steps: `Harmonizer.predict` gives `Parameters`, which `render`
applies to this image or another one, without network or weights.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.images import read_image, read_mask
from jaxharm.inference import full_image
from jaxharm.inference.pixels import Inputs, check_inputs
from jaxharm.papers.pih.edit import Edit, check_strength
from jaxharm.papers.pih.parameters import Parameters
from jaxharm.papers.propih.early_exit import StageRunner
from jaxharm.papers.propih.restyle import Restyle, StageChoice, check_restyle
from jaxharm.papers.propih.restyle import run as run_stages
from jaxharm.weights.portable import check_variables, load_variables

ImageLike = np.ndarray | str | os.PathLike


def harmonize(
    composite: ImageLike,
    mask: ImageLike | None = None,
    *,
    background: ImageLike | None = None,
    model: str | nn.Module | None = None,
    variables: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike | None = None,
    size: int | None = None,
    strength: float = 1.0,
    edit: Edit | None = None,
    stage: StageChoice | None = None,
    restyle: Restyle | None = None,
) -> np.ndarray:
    """Adjusts the foreground of a composite so that it fits its background.

    Weights are loaded on every call: use a `Harmonizer` for more than one image.

    Args:
        composite: u8, u16 or float (in [0,1]) [h,w,3] or [h,w,4], sRGB-encoded; or an image file.
            With four channels and no mask it is a cut-out, pasted over `background` by its alpha.
        mask: [h,w] or [h,w,1], 1 = foreground, soft edges welcome: bool, float in [0,1], or
            integers scaled by their type (0 and 1 alone are labels); or an image file.
        background: [h,w,3], the scene without the object (`pih`) or the painting (`propih`).
            Where a parametric model is given none, it sees a filled-in plate.
        model, variables, checkpoint, size: as for `Harmonizer`.
        strength: 0 leaves the composite, 1 is the model's result.
        edit: what is taken over of a parametric model's result; None: all.
        stage: of `propih`: 1 (colors) to 4 (strokes too, the default), "auto" (chosen by the exit
            head) or "all".
        restyle: the same with its other options; give one of the two.

    Returns:
        [h,w,3] or [h,w,4] in the composite's dtype and size; with stage="all" four of them,
        [4,h,w,c]. Pixels with mask 0 are those of the composite, bit for bit (of `propih`: those of
        the painting); alpha is that of the composite (a pasted cut-out is opaque).

    Raises:
        InputError: no weights, or input that does not fit; the message says what to do.
    """
    run = Harmonizer(model, variables=variables, checkpoint=checkpoint, size=size)
    return run(
        composite,
        mask,
        background=background,
        strength=strength,
        edit=edit,
        stage=stage,
        restyle=restyle,
    )


def render(
    composite: ImageLike,
    mask: ImageLike | None,
    parameters: Parameters | str | os.PathLike,
    *,
    background: ImageLike | None = None,
    strength: float = 1.0,
    edit: Edit | None = None,
) -> np.ndarray:
    """Applies a parametric model's prediction without the model: no network, no weights.

    On the image it was predicted for, the result is that of `Harmonizer`, bit for bit.

    Args:
        composite, mask, background, strength, edit: as for `harmonize`.
        parameters: of `Harmonizer.predict`, or the file they were saved in; of this image or of
            another one of any size.

    Returns and raises: as `harmonize`.
    """
    if not isinstance(parameters, Parameters):
        parameters = Parameters.load(parameters)
    return render_inputs(load_inputs(composite, mask, background), parameters, strength, edit)


class Harmonizer:
    """A model with its weights, loaded once; calls may come from several threads.

    Compilations are cached per shape: a parametric model needs one network shape and three
    rendering shapes whatever the images' sizes; others one per size rounded up to 32 pixels (those
    in stages: 8 pixels), or a single one where `size` is set.

    Attributes:
        name: registry name of the model.
        model: the Flax module.
        size: side that the network predicts at, or None (chosen per image).
    """

    def __init__(
        self,
        model: str | nn.Module | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        checkpoint: str | os.PathLike | None = None,
        size: int | None = None,
    ) -> None:
        """Loads and checks the weights.

        Args:
            model: a registered name or a module of `create_model`; with `checkpoint`, None takes
                the model that the checkpoint names.
            variables: {"params": ..., "batch_stats": ...} of that model.
            checkpoint: a weights folder, or the folder of a run. Exactly one of the two is needed:
                weights are never made up.
            size: side that the network predicts at (the image is squashed to a square); None:
                the model's own size, or the image's where the model gives pixels and the image
                is small.

        Raises:
            InputError: no weights or two, weights of another model, a size the model refuses.
        """
        if (variables is None) == (checkpoint is None):
            raise InputError(
                "give exactly one of variables and checkpoint: without weights there is nothing to "
                "run (python -m jaxharm models lists where to get them)"
            )
        if variables is None:
            self.name, self.model, variables = _load(Path(str(checkpoint)), model)
        elif model is None:
            raise InputError("variables alone do not say which model they are of; give model=")
        else:
            self.name, self.model = _name_and_module(model)
            check_variables(variables, self.name, self.model.config)
        self.size = _check_size(size, self.model.config)
        self._entry = registry.get(self.name)
        self._variables = jax.device_put(variables)
        self._runner = StageRunner(self.model, self._variables) if self.has_stages else None

    def __call__(
        self,
        composite: ImageLike,
        mask: ImageLike | None = None,
        *,
        background: ImageLike | None = None,
        strength: float = 1.0,
        edit: Edit | None = None,
        stage: StageChoice | None = None,
        restyle: Restyle | None = None,
    ) -> np.ndarray:
        """Harmonizes one image; see `harmonize`."""
        if stage is not None and restyle is not None:
            raise InputError("give either stage or restyle, which has a stage of its own")
        if stage is not None:
            restyle = Restyle(stage=stage)
        self.check_restyle(restyle)
        return self.run(load_inputs(composite, mask, background), strength, edit, restyle)

    def predict(
        self,
        composite: ImageLike,
        mask: ImageLike | None = None,
        *,
        background: ImageLike | None = None,
    ) -> Parameters:
        """The network's proposal for one image, to be kept, edited and given to `render`.

        Args:
            composite, mask, background: as for `harmonize`.

        Raises:
            InputError: the model is not parametric, or input that does not fit.
        """
        return self.predict_inputs(load_inputs(composite, mask, background))

    @property
    def is_parametric(self) -> bool:
        """Whether the model predicts `Parameters`, rather than pixels."""
        return self._entry.strategy == "parametric"

    @property
    def has_stages(self) -> bool:
        """Whether the model restyles an object in stages, so that one has to be chosen."""
        return self._entry.strategy == "stages"

    def check_restyle(self, restyle: Restyle | None) -> None:
        """InputError where this model has no such stages, or no exit head to choose one."""
        if restyle is None:
            return
        if not self.has_stages:
            raise InputError(f"{self.name} has no stages to choose from: leave the stage out")
        check_restyle(restyle, self.model.config)

    def warm_up(self, height: int, width: int, dtype: Any = np.uint8) -> None:
        """Compiles what an image of this size and dtype needs, ahead of the first call."""
        blank = np.zeros((height, width, 3), dtype)
        mask = np.zeros((height, width), np.float32)
        mask[: (height + 1) // 2] = 1
        self(blank, mask, background=blank if self._entry.needs_background else None)

    def run(
        self,
        inputs: Inputs,
        strength: float = 1.0,
        edit: Edit | None = None,
        restyle: Restyle | None = None,
    ) -> np.ndarray:
        """`__call__` of inputs that `load_inputs` has checked."""
        check_strength(strength)
        self.check_restyle(restyle)
        if self.is_parametric:
            return render_inputs(inputs, self.predict_inputs(inputs), strength, edit)
        if edit not in (None, Edit()):
            raise InputError(f"{self.name} has no curves and no shading to edit, only a strength")
        if self._runner is not None:
            config, chosen = self.model.config, restyle or Restyle()
            result = run_stages(self._runner, config, inputs, self.size, strength, chosen)
            return _with_alpha(result, inputs)
        if self._entry.needs_background and inputs.background is None:
            raise InputError(f"{self.name} needs a background image of the composite's size")
        result = full_image.run(self.model, self._variables, inputs, self.size, strength)
        return _with_alpha(result, inputs)

    def predict_inputs(self, inputs: Inputs) -> Parameters:
        """`predict` of inputs that `load_inputs` has checked."""
        if not self.is_parametric:
            raise InputError(f"{self.name} predicts pixels: it has no parameters to keep")
        from jaxharm.papers.pih import runner as parametric

        side = self.size or self.model.config.default_size
        return parametric.predict_parameters(self.model, self._variables, inputs, side)


def load_inputs(
    composite: ImageLike, mask: ImageLike | None, background: ImageLike | None
) -> Inputs:
    """Reads what is a file and checks everything; InputError says what does not fit."""
    return check_inputs(
        _pixels(composite),
        None if mask is None else _mask_pixels(mask),
        None if background is None else _pixels(background),
    )


def render_inputs(
    inputs: Inputs, parameters: Parameters, strength: float = 1.0, edit: Edit | None = None
) -> np.ndarray:
    """`render` of inputs that `load_inputs` has checked."""
    from jaxharm.papers.pih import runner as parametric

    check_strength(strength)
    return _with_alpha(parametric.render(inputs, parameters, strength, edit), inputs)


def _with_alpha(result: np.ndarray, inputs: Inputs) -> np.ndarray:
    if inputs.alpha is None:
        return result
    alpha = np.broadcast_to(inputs.alpha, (*result.shape[:-1], 1))
    return np.concatenate([result, alpha], axis=-1)


def _load(path: Path, model: str | nn.Module | None) -> tuple[str, nn.Module, Mapping[str, Any]]:
    if path.suffix in (".pth", ".pt", ".ckpt"):
        raise InputError(
            f"{path} is a PyTorch file; convert it first: python -m jaxharm convert NAME {path} OUT_DIR"
        )
    name, config, variables = load_variables(path)
    if model is None:
        return name, registry.build_model(name, config), variables
    wanted, module = _name_and_module(model)
    if wanted != name:
        raise InputError(f"checkpoint {path} is of model {name}, not {wanted}")
    if isinstance(model, nn.Module):
        check_variables(variables, name, module.config)
        return name, module, variables
    return name, module.clone(config=config), variables


def _name_and_module(model: str | nn.Module) -> tuple[str, nn.Module]:
    if isinstance(model, str):
        return model, registry.create_model(model)
    reference = f"{type(model).__module__}:{type(model).__qualname__}"
    names = [name for name in registry.list_models() if registry.get(name).model() is type(model)]
    if not names:
        raise InputError(f"{reference} is no registered model; known: {registry.list_models()}")
    exact = [name for name in names if registry.model_config(name) == model.config]
    return (exact or names)[0], model


def _check_size(size: int | None, config: Any) -> int | None:
    if size is None:
        return None
    if size < config.min_size or size % config.size_multiple:
        raise InputError(
            f"size {size} does not suit the model: it needs a multiple of {config.size_multiple}, "
            f"at least {config.min_size}"
        )
    return size


def _pixels(image: ImageLike) -> np.ndarray:
    return read_image(image).pixels if isinstance(image, str | os.PathLike) else np.asarray(image)


def _mask_pixels(mask: ImageLike) -> np.ndarray:
    return read_mask(mask) if isinstance(mask, str | os.PathLike) else np.asarray(mask)
