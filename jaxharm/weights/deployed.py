"""The networks that a checkpoint or a weights folder holds, without what only training needs."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxharm.config import to_json
from jaxharm.interfaces import System, TrainState
from jaxharm.schema import HostBatch
from jaxharm.storage import local_copy
from jaxharm.weights.checkpoint import BEST, DAMAGED, FAILED, LAST
from jaxharm.weights.checkpoint_checks import (
    check_model,
    check_shapes,
    manager_options,
    read_state,
    reading,
    state_shapes,
)
from jaxharm.weights.integrity import check_parts, check_record
from jaxharm.weights.portable import MANIFEST_FILE, load_variables, unless_shipped

_NETWORKS = ("params", "collections", "ema")


def load_for_eval(place: str | Path, system: System, sample_batch: HostBatch) -> TrainState:
    """The networks of a checkpoint as a state that `system.predict` can use; no optimizer.

    Args:
        place: a run's folder (its best checkpoint, else its last, else its weights), a folder of
            checkpoints, one checkpoint, or a weights folder; on this machine or in a bucket; or
            "shipped".
        system: the system of the config under evaluation.
        sample_batch: any batch; only shapes and dtypes are read.

    Raises:
        InputError: nothing is there, it is damaged, or it is of another model or shape.
    """
    path = local_copy(unless_shipped(place), _without_events).resolve()
    target = jax.eval_shape(system.init, jax.random.key(0), sample_batch)
    state = TrainState(
        jnp.int32(0), jax.random.key(0), params={}, collections={}, opt_state={}, ema={}
    )
    folder = find_checkpoint(path)
    if folder is None:
        name, model_config, variables = load_variables(path)
        check_model(path, (name, to_json(model_config)), system)
        return jax.device_put(system.with_variables(state, variables))
    with reading(folder):
        manager = ocp.CheckpointManager(
            folder.parent, options=manager_options(None, read_only=True)
        )
        record = manager.restore(
            int(folder.name), args=ocp.args.Composite(record=ocp.args.JsonRestore())
        ).record
        manager.close()
        check_record(record)
        networks = read_state(folder, _NETWORKS)
        check_parts(record, networks)
    check_model(folder, (record["config"]["system"], record["config"]["model"]), system)
    state = state.replace(step=np.int32(record["step"]), **networks)
    # Only the deployed model must fit: a run may have trained it with other networks beside it.
    saved, wanted = (state_shapes(system.variables(s)) for s in (state, target))
    check_shapes(folder, saved, wanted)
    return jax.device_put(state)


def init_from(path: str | Path, system: System, state: TrainState, batch: HostBatch) -> TrainState:
    """`state` with the weights of another run or a weights folder; step and optimizer stay new."""
    variables = system.variables(load_for_eval(path, system, batch))
    return system.with_variables(state, variables)


def _without_events(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(("tensorboard/", DAMAGED, FAILED))]


def find_checkpoint(path: Path) -> Path | None:
    """The checkpoint folder (`.../<step>`) that `path` stands for; None where it has none."""
    if (path / MANIFEST_FILE).is_file():
        return None
    if path.name.isdigit() and (path / "state").is_dir():
        return path
    for folder in (path / BEST, path / LAST, path):
        if folder.is_dir():
            steps = [int(item.name) for item in folder.iterdir() if item.name.isdigit()]
            if steps:
                return folder / str(max(steps))
    return None
