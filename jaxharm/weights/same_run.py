"""Whether a checkpoint is of the run at hand: every setting that decides numbers is compared."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from jaxharm.config import Json, RunConfig, TrainConfig, to_json
from jaxharm.errors import InputError
from jaxharm.overrides import suggest

# What may change freely: it decides what is kept, shown and where things lie; or, like the number
# of devices, only the last digits. Whatever is not named here is compared.
_FREE = (
    *("checkpoint.every", "checkpoint.keep", "log"),
    *("data.data_dir", "data.num_workers", "data.num_threads", "eval.batch_size"),
    "data.on_error",
    *("parallel", "ops.implementation"),
)
# The length of the run matters only where its schedules are shares of it: see `System`.
_LENGTH = ("steps", "epochs")
DATASET = "dataset"  # beside the config's own keys: what the loader says of the training data


class Change(NamedTuple):
    """What one setting was and is; "absent" where a side has no such setting."""

    old: Any
    new: Any


Changes: TypeAlias = dict[str, Change]  # by dotted key, such as "optim.lr"


def compare_runs(
    folder: Path,
    saved: Json,
    config: RunConfig,
    *,
    dataset: Json | None = None,
    length_matters: bool = True,
    allowed: Sequence[str] = (),
) -> Changes:
    """Compares the run that a checkpoint was written by with the run at hand.

    Args:
        folder: of the checkpoint, for messages.
        saved: its record: "config" and, where it is known, "dataset".
        config: of the run at hand.
        dataset: description of its training data, where it is known.
        length_matters: whether the numbers depend on how long the run is.
        allowed: keys that may differ, or groups of them such as "optim".

    Returns:
        Every difference, those that change no number included.

    Raises:
        InputError: a difference that changes numbers and is not allowed, or a key in `allowed`
            that does not exist.
    """
    old = _completed(_defaults(config), saved["config"])
    new = to_json(config)
    if saved.get(DATASET) is not None and dataset is not None:
        old, new = {**old, DATASET: saved[DATASET]}, {**new, DATASET: dataset}
    _check_allowed(allowed, {*_keys(old), *_keys(new)})
    changes = dict(differences(old, new))
    free = (*_FREE, *(() if length_matters else _LENGTH), *allowed)
    refused = [key for key in changes if key == "system" or not _within(key, free)]
    if refused:
        raise InputError(_refusal(folder, changes, refused))
    return changes


def decides(key: str) -> bool:
    """Whether the numbers of a run may depend on the setting; its length is none of these."""
    return not _within(key, (*_FREE, *_LENGTH))


def _refusal(folder: Path, changes: Changes, refused: Sequence[str]) -> str:
    first = changes[refused[0]]
    more = f" ({len(refused)} settings differ: {', '.join(refused)})" if len(refused) > 1 else ""
    go_on = ""
    if "system" not in refused:
        flags = " ".join(f"--allow-change {key}" for key in refused)
        go_on = f", or go on all the same with {flags}"
    return (
        f"checkpoint {folder} is of another run: its {refused[0]} is {first.old!r}, this config's "
        f"is {first.new!r}{more}; choose another --workdir (to start there from this run's weights "
        f"add --set init_from={folder.parent.parent}){go_on}"
    )


def _check_allowed(allowed: Sequence[str], known: Collection[str]) -> None:
    for key in allowed:
        if key == "system":
            raise InputError("--allow-change system: a run cannot become one of another system")
        if key not in known:
            raise InputError(f"--allow-change {key}: no such setting{suggest(key, known)}")


def _within(key: str, groups: Collection[str]) -> bool:
    """Whether `groups` has the key, or a group that it is in."""
    parts = key.split(".")
    return any(".".join(parts[:end]) in groups for end in range(1, len(parts) + 1))


def _defaults(config: RunConfig) -> Json:
    """Settings of a run of the same kind with nothing but defaults.

    A checkpoint that is older than an option lacks it: the option's default is what it did.
    """
    parts = type(config.model)(), type(config.objective)()
    return to_json(TrainConfig(config.system, *parts))


def _completed(defaults: Json, values: Json) -> Json:
    """`values`, and the defaults that they lack, at every level."""
    return {
        **defaults,
        **{
            key: _completed(defaults[key], value)
            if isinstance(value, dict) and isinstance(defaults.get(key), dict)
            else value
            for key, value in values.items()
        },
    }


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Change]]:
    """Dotted key and both values of every setting in which two JSON objects differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            inner = f"{key}.{name}" if key else name
            yield from differences(old.get(name, "absent"), new.get(name, "absent"), inner)
    elif old != new:
        yield key, Change(old, new)


def _keys(values: Json, prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
