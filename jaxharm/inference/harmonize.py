"""`harmonize` for one call, `Harmonizer` for many: composite and mask in, the same size out."""

import os
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxharm import registry
from jaxharm.compiler import enable_compilation_cache
from jaxharm.errors import InputError
from jaxharm.images import ImageFile, read_mask
from jaxharm.images.codec import ImageLike, as_picture
from jaxharm.images.composing import Placement, placement_of
from jaxharm.images.decoded import Tags
from jaxharm.inference.loading import check_size, load_network, runner_class
from jaxharm.inference.options import check_strength, make_options
from jaxharm.inference.pixels import check_inputs
from jaxharm.interfaces import AnyRunner, Inputs, Params, RunnerSettings, Timer, untimed


def harmonize(
    composite: ImageLike,
    mask: ImageLike | None = None,
    *,
    background: ImageLike | None = None,
    model: str | nn.Module | None = None,
    variables: Params | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    size: int | None = None,
    strength: float | None = None,
    options: object | None = None,
    at: tuple[int, int] | None = None,
    scale: float | None = None,
    **fields: object,
) -> np.ndarray:
    """Adjusts the foreground of a composite so that it fits its background.

    Weights are loaded on every call: use a `Harmonizer` for more than one image.

    Args:
        composite: u8, u16 or float (in [0,1]) [h,w,3] or [h,w,4], sRGB-encoded; or an image file,
            in the color space of its profile. With four channels and no mask it is a cut-out, pasted over `background` by its alpha.
        mask: [h,w] or [h,w,1], 1 = foreground, soft edges welcome: bool, float in [0,1], or
            integers scaled by their type (0 and 1 alone are labels); or an image file.
        background: [h,w,3], the scene without the object, or the painting that it is pasted on;
            `python -m jaxharm models` says which models read one.
        model, variables, checkpoint, size: as for `Harmonizer`.
        strength: 0 leaves the composite, 1 is the model's result; None: what the manifest of the
            checkpoint recommends, and 1 where it recommends nothing.
        options: choices that this model offers (its page in the docs lists them), as the dataclass
            of its room; None: its defaults.
        at, scale: place a cut-out of any size on the background, as `jaxharm.compose` does; with
            neither, it has the background's size.
        fields: the same choices by keyword, instead of `options`.

    Returns:
        [h,w,3] or [h,w,4] in the composite's dtype and size (several of them, [n,h,w,c], where the
        options ask for several results). Pixels with mask 0 are those of the composite, bit for bit
        (of a model that pastes objects on paintings: those of the painting); alpha and color space
        are those of the composite (a pasted cut-out is opaque, in size and color space of its
        background, and has 16 bits where that has).

    Raises:
        InputError: no weights, options that the model does not have, or input that does not fit;
            the message says what to do.
    """
    run = Harmonizer(model, variables=variables, checkpoint=checkpoint, size=size)
    return run(
        composite,
        mask,
        background=background,
        strength=strength,
        options=options,
        at=at,
        scale=scale,
        **fields,
    )


class Harmonizer:
    """A model with its weights, loaded once; calls may come from several threads.

    Compilations are cached per shape. A parametric model needs one network shape and three
    rendering shapes whatever the images' sizes; others need one per size rounded up to a few
    pixels, or a single one where `size` is set.

    Attributes:
        name: registry name of the model.
        model: the Flax module.
        size: side that the network predicts at, or None (chosen per image).
        strength: what a call takes that gives none.
        runner: what applies the model to checked images; `runner.Options` are its options.
    """

    def __init__(
        self,
        model: str | nn.Module | None = None,
        *,
        variables: Params | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        size: int | None = None,
        timer: Timer = untimed,
        cache: bool = True,
    ) -> None:
        """Loads and checks the weights.

        Args:
            model: a registered name or a module of `create_model`; with `checkpoint`, None takes
                the model that the checkpoint names.
            variables: {"params": ..., "batch_stats": ...} of that model.
            checkpoint: a weights folder, or the folder of a run; not both. Without a model,
                variables and checkpoint, the weights that ship with jaxharm ("shipped"): a small
                network, see its model card. Weights are never made up.
            size: side that the network predicts at (the image is squashed to a square); None:
                the model's own size, or the image's where the model gives pixels and the image
                is small.
            timer: called with the name of every stage of the work, as a context around it.
            cache: keeps compiled programs on disk (`jaxharm.compiler.enable_compilation_cache`), so that
                the next process starts in a fraction of the time; a cache that the program has set
                for JAX itself stays.

        Raises:
            InputError: a model without weights, or two of them, weights of another model, a size
                the model refuses.
        """
        if cache and not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
            enable_compilation_cache()
        network = load_network(model, variables, checkpoint)
        self.name, self.model, self.strength = network.name, network.module, network.strength
        self.size = check_size(size, self.model)
        entry = registry.get(self.name)
        settings = RunnerSettings(self.name, entry.needs_background, self.size, timer)
        self.runner: AnyRunner = runner_class(entry)(self.model, network.variables, settings)

    def __call__(
        self,
        composite: ImageLike,
        mask: ImageLike | None = None,
        *,
        background: ImageLike | None = None,
        strength: float | None = None,
        options: object | None = None,
        at: tuple[int, int] | None = None,
        scale: float | None = None,
        **fields: object,
    ) -> np.ndarray:
        """Harmonizes one image; see `harmonize`."""
        strength = self.strength if strength is None else strength
        check_strength(strength)
        chosen = make_options(self.runner, options, fields)
        inputs = load_inputs(composite, mask, background, placement_of(at, scale))
        return self.runner.run(inputs, strength, chosen)

    # Any: the class of a prediction is known to the model's own room only.
    def predict(
        self,
        composite: ImageLike,
        mask: ImageLike | None = None,
        *,
        background: ImageLike | None = None,
        at: tuple[int, int] | None = None,
        scale: float | None = None,
    ) -> Any:
        """A parametric model's proposal for one image, to be kept, edited and applied again.

        Args:
            composite, mask, background, at, scale: as for `harmonize`.

        Returns:
            The record of the model's room, such as `jaxharm.Parameters`, which `jaxharm.render`
            applies to this image or another one, without network or weights.

        Raises:
            InputError: the model is not parametric, or input that does not fit.
        """
        if not self.runner.parametric:
            raise InputError(f"{self.name} predicts pixels: it has no parameters to keep")
        chosen = make_options(self.runner)
        inputs = load_inputs(composite, mask, background, placement_of(at, scale))
        return self.runner.predict(self.runner.prepare(inputs, chosen), chosen)

    def warm_up(self, height: int, width: int, dtype: type[np.generic] = np.uint8) -> None:
        """Compiles what an image of this size and dtype needs, ahead of the first call."""
        blank = np.zeros((height, width, 3), dtype)
        mask = np.zeros((height, width), np.float32)
        mask[: (height + 1) // 2] = 1
        self(blank, mask, background=blank if self.runner.settings.needs_background else None)


def result_tags(composite: ImageFile, *, pasted_on: ImageFile | None) -> Tags:
    """What a result says about itself: what its composite says.

    Args:
        composite: as it was read.
        pasted_on: the background of a cut-out without a mask, whose colors the result has.
    """
    if pasted_on is None:
        return composite.tags
    return replace(composite.tags, icc_profile=pasted_on.tags.icc_profile)


def load_inputs(
    composite: ImageLike | ImageFile,
    mask: ImageLike | None,
    background: ImageLike | ImageFile | None,
    placement: Placement | None = None,
) -> Inputs:
    """Reads what is a file and checks everything; InputError says what does not fit.

    Arrays are sRGB; a file is in the color space of its profile.
    """
    picture = as_picture(composite)
    plate = None if background is None else as_picture(background)
    if isinstance(mask, str | os.PathLike):
        mask = read_mask(mask, composite=picture)
    return check_inputs(
        picture.pixels,
        None if mask is None else np.asarray(mask),
        None if plate is None else plate.pixels,
        space=picture.space,
        background_space=None if plate is None else plate.space,
        placement=placement,
    )
