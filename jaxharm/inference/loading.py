"""Which network, and which weights: a registered name or a module, variables or a checkpoint."""

import os
from pathlib import Path
from typing import NamedTuple

from flax import linen as nn

from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.inference.pixel_runner import PixelRunner
from jaxharm.inference.runner import config_of
from jaxharm.interfaces import AnyRunner, Params
from jaxharm.weights.card import recommended_strength
from jaxharm.weights.portable import check_variables, find_weights, load_weights


class Network(NamedTuple):
    """A model's registry name, its Flax module, weights that fit it, and the strength they ask for."""

    name: str
    module: nn.Module
    variables: Params
    strength: float = 1.0


def load_network(
    model: str | nn.Module | None,
    variables: Params | None,
    checkpoint: str | os.PathLike[str] | None,
) -> Network:
    """Loads and checks the weights; the arguments are those of `Harmonizer`.

    Raises:
        InputError: no weights for a named model, two of them, or weights of another model.
    """
    if variables is not None and checkpoint is not None:
        raise InputError("give variables or checkpoint, not both")
    if variables is None and checkpoint is None:
        if model is not None:
            raise InputError(
                "weights are missing: give checkpoint= or variables= for this model (python -m "
                "jaxharm models lists where to get some), or leave model out for the weights that "
                "ship with jaxharm"
            )
        checkpoint = registry.SHIPPED
    if variables is None:
        return _from_checkpoint(str(checkpoint), model)
    if model is None:
        raise InputError("variables alone do not say which model they are of; give model=")
    name, module = _name_and_module(model)
    check_variables(variables, name, config_of(module))
    return Network(name, module, variables)


def runner_class(entry: registry.Entry) -> type[AnyRunner]:
    """The class that applies the models of an entry to images."""
    return PixelRunner if entry.runner is None else entry.runner()


def check_size(size: int | None, module: nn.Module) -> int | None:
    """`size`; InputError where the network cannot predict at that side."""
    config = config_of(module)
    if size is not None and (size < config.min_size or size % config.size_multiple):
        raise InputError(
            f"size {size} does not suit the model: it needs a multiple of {config.size_multiple}, "
            f"at least {config.min_size}"
        )
    return size


def _from_checkpoint(path: str, model: str | nn.Module | None) -> Network:
    if Path(path).suffix in (".pth", ".pt", ".ckpt"):
        raise InputError(
            f"{path} is a PyTorch file; convert it first: python -m jaxharm convert NAME {path} OUT_DIR"
        )
    folder = find_weights(path)
    name, config, variables = load_weights(folder)
    strength = recommended_strength(folder)
    if model is None:
        return Network(name, registry.build_model(name, config), variables, strength)
    wanted, module = _name_and_module(model)
    if wanted != name:
        raise InputError(f"checkpoint {path} is of model {name}, not {wanted}")
    if isinstance(model, nn.Module):
        check_variables(variables, name, config_of(module))
        return Network(name, module, variables, strength)
    return Network(name, module.clone(config=config), variables, strength)


def _name_and_module(model: str | nn.Module) -> tuple[str, nn.Module]:
    """The registry name and the module of either; a module's class may have several names."""
    if isinstance(model, str):
        return model, registry.create_model(model)
    reference = f"{type(model).__module__}:{type(model).__qualname__}"
    names = [name for name in registry.list_models() if registry.get(name).model() is type(model)]
    if not names:
        raise InputError(f"{reference} is no registered model; known: {registry.list_models()}")
    # Several names may share a class (sizes of one network): the one with this very Config, if any.
    exact = [name for name in names if registry.model_config(name) == config_of(model)]
    return (exact or names)[0], model
