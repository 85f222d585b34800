"""Official parameter names -> ours: the rules a model gives and how they are applied."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxharm import registry
from jaxharm.errors import InputError
from jaxharm.interfaces import NameMap, Params, PyTree, Rule


def conv(value: np.ndarray) -> np.ndarray:
    """Convolution OIHW -> HWIO (depthwise (C,1,k,k) -> (k,k,1,C) as well)."""
    return value.transpose(2, 3, 1, 0)


def linear(value: np.ndarray) -> np.ndarray:
    """Dense (out,in) -> (in,out)."""
    return value.T


def from_torch(name: str, state_dict: Mapping[str, np.ndarray], **overrides: object) -> Params:
    """Converts an official state dict to the variables of `create_model(name, **overrides)`.

    Args:
        name: a registered model.
        state_dict: official tensor name -> array in the official layout.
        overrides: Config fields that differ from the model's preset.

    Returns:
        {"params": ..., "batch_stats": ...} of float32 numpy arrays.

    Raises:
        InputError: missing or unknown names (listed), or a shape that the model does not have.
    """
    config = registry.model_config(name, **overrides)
    torch_names = registry.get(name).torch_names
    if torch_names is None:
        raise InputError(f"{name} has no official checkpoints to convert")
    names = torch_names()(config)
    wanted = [rule.torch_name for rule in names.rules]
    missing = [n for n in wanted if n not in state_dict]
    unknown = sorted(set(state_dict) - set(wanted) - set(names.dropped))
    if missing or unknown:
        raise InputError(
            f"this is not a checkpoint of {name}: {_shown('missing', missing)}; {_shown('unknown', unknown)}"
        )
    shapes = _shapes(name, overrides)
    variables: dict[str, PyTree] = {}
    for rule in names.rules:
        given, expected = np.asarray(state_dict[rule.torch_name]), shapes.pop(rule.path)
        value = _transformed(rule, given)
        if value is None or value.shape != expected:
            raise InputError(
                f"this is not a checkpoint of {name}: {rule.torch_name} has shape "
                f"{list(given.shape)}, which does not fit {list(expected)} of "
                f"{'/'.join(rule.path)}"
            )
        value = np.asarray(value, np.float32)
        node = variables
        for part in rule.path[:-1]:
            node = node.setdefault(part, {})
        node[rule.path[-1]] = value
    if shapes:
        raise ValueError(f"the name map of {name} leaves out {sorted('/'.join(p) for p in shapes)}")
    return variables


def recognized(state_dict: Mapping[str, np.ndarray]) -> list[str]:
    """The models that an official checkpoint may be of, by its names, and shapes where those leave
    several.

    Args:
        state_dict: official tensor name -> array, as `read_torch_file` gives it.
    """
    given, found = set(state_dict), []
    for model in registry.list_models():
        entry = registry.get(model)
        if entry.torch_names is None:
            continue
        known = entry.torch_names()(registry.model_config(model, **entry.official))
        wanted = {rule.torch_name for rule in known.rules}
        if wanted <= given <= wanted | set(known.dropped):
            found.append(model)
    # Building a network to learn its shapes takes a second: only where it decides.
    return [name for name in found if len(found) == 1 or _fits(name, state_dict)]


def _fits(name: str, state_dict: Mapping[str, np.ndarray]) -> bool:
    try:
        from_torch(name, state_dict, **registry.get(name).official)
    except InputError:
        return False
    return True


def to_torch(
    name: str, variables: Params, template: Mapping[str, np.ndarray], **overrides: object
) -> dict[str, np.ndarray]:
    """Converts our variables to an official state dict: the inverse of `from_torch`.

    Args:
        name: a registered model.
        variables: of `create_model(name, **overrides)`.
        template: a state dict of the official network, such as a fresh one. It gives names, shapes
            and dtypes, and the tensors that ours lacks.
        overrides: Config fields that differ from the model's preset.

    Returns:
        Official tensor name -> array in the official layout, in the order of `template`.

    Raises:
        InputError: the model has no official layout, or `template` is of another network.
    """
    torch_names = registry.get(name).torch_names
    if torch_names is None:
        raise InputError(f"{name} has no official layout to convert to")
    return state_dict(torch_names()(registry.model_config(name, **overrides)), variables, template)


def state_dict(
    names: NameMap, variables: Params, template: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Our variables of any network with a name map as an official state dict; see `to_torch`."""
    found = dict(template)
    for rule in names.rules:
        ours: PyTree = variables
        for part in rule.path:
            ours = ours[part]
        ours, theirs = np.asarray(ours), template.get(rule.torch_name)
        # A transform moves numbers about, so where it puts their positions tells how to go back.
        moved = (
            None if theirs is None else rule.transform(np.arange(theirs.size).reshape(theirs.shape))
        )
        if theirs is None or moved is None or moved.shape != ours.shape:
            shape = None if theirs is None else list(theirs.shape)
            raise InputError(
                f"{rule.torch_name} of the template has shape {shape}, which does not fit "
                f"{list(ours.shape)} of {'/'.join(rule.path)}"
            )
        value = np.empty(theirs.size, theirs.dtype)
        value[moved.ravel()] = ours.ravel()
        found[rule.torch_name] = value.reshape(theirs.shape)
    return found


def _transformed(rule: Rule, value: np.ndarray) -> np.ndarray | None:
    """The tensor in our layout; None where it has not the rank that the layout is of."""
    try:
        return rule.transform(value)
    except (ValueError, IndexError):
        return None


def _shown(kind: str, names: Sequence[str]) -> str:
    if not names:
        return f"none {kind}"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{len(names)} {kind} ({', '.join(names[:8])}{more})"


def _shapes(name: str, overrides: Mapping[str, object]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path -> shape of every variable of the model."""
    model = registry.create_model(name, **overrides)
    side = model.config.default_size
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32)
    tree = jax.eval_shape(
        lambda key, c, m: model.init(key, c, m, background=c), jax.random.key(0), image, mask
    )
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {tuple(str(k.key) for k in path): tuple(leaf.shape) for path, leaf in leaves}
