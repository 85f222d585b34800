"""Reads a checkpoint; says in one sentence where it is not whole or not of the run at hand."""

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxharm import registry
from jaxharm.config import Json, to_json
from jaxharm.errors import InputError
from jaxharm.interfaces import Params, System, TrainState
from jaxharm.weights.integrity import named_leaves


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Keeps orbax from logging, with a traceback, the errors that it raises as well."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turns whatever a damaged checkpoint raises into one sentence."""
    hook = sys.unraisablehook
    try:
        with quiet_orbax():
            yield
    except Exception as error:
        # Orbax leaves half-run coroutines; what they print when collected says nothing new.
        sys.unraisablehook = lambda _: None
        reason = str(error).split("\n")[0][:160] or type(error).__name__
        if isinstance(error, AttributeError | TypeError | KeyError):
            reason = "its metadata cannot be read"  # what the format's reader says then is no help
        older = [p.name for p in folder.parent.iterdir() if p.name.isdigit() and p != folder]
        instead = f" to go on from step {max(map(int, older))}" if older else " to start again"
        raise InputError(
            f"checkpoint {folder} is damaged or incomplete ({reason}); delete that folder{instead}"
        ) from None
    finally:
        gc.collect()
        sys.unraisablehook = hook


def check_model(folder: Path, saved: tuple[str, Json], system: System) -> None:
    """Raises InputError if the checkpoint holds another model than the system's."""
    wanted = (system.name, to_json(system.config.model))
    # A phase of a model, such as the training of one part, has a registry name of its own.
    names = {system.name, system.config.system}
    if saved[0] not in names or _completed(system.name, saved[1]) != wanted[1]:
        raise InputError(
            f"{folder} holds a model {saved[0]!r} of {saved[1]}, the config asks for {wanted[0]!r} "
            f"of {wanted[1]}"
        )


def _completed(name: str, saved: Json) -> Json:
    """The options of a saved model `name`; one that is younger than the checkpoint has its default."""
    return {**to_json(registry.get(name).config()()), **saved}


def check_shapes(folder: Path, saved: dict[str, list[int]], wanted: dict[str, list[int]]) -> None:
    """Raises InputError, naming the arrays, unless the checkpoint has the run's shapes."""
    different = sorted(k for k in {**saved, **wanted} if saved.get(k) != wanted.get(k))
    if different:
        key = different[0]
        raise InputError(
            f"checkpoint {folder} does not fit this config: {len(different)} arrays differ, such as "
            f"{key} ({saved.get(key, 'absent')} there, {wanted.get(key, 'absent')} here)"
        )


def state_shapes(tree: TrainState | Params) -> dict[str, list[int]]:
    """Path of every leaf and its shape, the same for a state and for the metadata of a saved one."""
    shapes = {}
    for name, leaf in named_leaves(tree):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        shapes[name] = list(leaf.shape)
    return shapes


def saved_tree(folder: Path) -> Params:
    """Tree of shapes and dtypes of a checkpoint's state."""
    tree: Params = ocp.StandardCheckpointer().metadata(folder / "state").item_metadata.tree
    return tree


def read_state(folder: Path, parts: Sequence[str] | None = None) -> dict[str, Params]:
    """The parts of a checkpoint's state, all of them if None are named, as numpy arrays."""
    tree = saved_tree(folder)
    tree = {name: value for name, value in tree.items() if parts is None or name in parts}
    wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    arguments = ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy, partial_restore=True)
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone())
    with ocp.Checkpointer(handler, multiprocessing_options=alone()) as reader:
        return reader.restore(folder / "state", args=arguments)


def manager_options(keep: int | None, *, read_only: bool = False) -> ocp.CheckpointManagerOptions:
    """Those of a folder of checkpoints that exists already."""
    return ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=False,
        read_only=read_only,
        multiprocessing_options=alone(),
    )


def alone() -> ocp.options.MultiprocessingOptions:
    """Or orbax would wait until every process of the run calls it as well."""
    this = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process{this}"
    )
