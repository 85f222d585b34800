"""Arguments that train and eval share: the run's config, and the processes that it is spread over."""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from data_pipelines.reading import dataset_info
from jaxharm import registry
from jaxharm.config import Json, RunConfig
from jaxharm.config_file import config_from_json, load_config
from jaxharm.errors import InputError
from jaxharm.overrides import describe
from jaxharm.training.compare import read_record
from jaxharm.training.parallel import initialize_distributed
from jaxharm.weights.same_run import decides


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares --config, --data, --overlay and --set."""
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="a published config, MODEL/RUN as under configs/, or a Python file; with --help, its "
        "fields are listed",
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="a built data set, instead of that of the config: sets data.name, data.split, eval.data "
        "and eval.split. Several may be joined by '+'. Without --config, the weights that "
        "ship are trained on",
    )
    parser.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="NAME",
        help="named change of the config, such as smoke; may be repeated",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one field of the config, such as optim.lr=1e-4; may be repeated",
    )


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares how several processes find each other; TPU pods and Slurm need none of it."""
    group = parser.add_argument_group("several processes")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    group.add_argument("--num-processes", type=int, metavar="N")
    group.add_argument("--process-id", type=int, metavar="I")
    group.add_argument(
        "--start-limit",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long to wait for the others; default 300",
    )


def add_repeat_argument(parser: argparse.ArgumentParser) -> None:
    """Declares --from-run, which stands for --config and its overlays."""
    parser.add_argument(
        "--from-run",
        metavar="RUN",
        help="repeat a run, whose folder or run.json this is, instead of --config; --set still "
        "changes fields, and the data sets must be those of that run",
    )


class Repeated(NamedTuple):
    """The config of a run that is to be repeated, and the description of its training data."""

    config: RunConfig
    dataset: Json | None


def repeated(arguments: argparse.Namespace) -> Repeated:
    """What --from-run names.

    Raises:
        InputError: overlays beside it, no run there, or one whose settings changed on its way.
    """
    if arguments.config is not None:
        raise InputError("give either --config or --from-run, not both")
    if arguments.data is not None:
        raise InputError("--data goes with --config: --from-run repeats a run on its own data")
    record = _record_of(arguments.from_run, arguments.overlay)
    changed = {
        key: session["step"]
        for session in record.get("resumed", ())
        for key in session.get("changes", ())
        if decides(key)
    }
    if changed:
        places = ", ".join(f"{key} at step {step}" for key, step in changed.items())
        raise InputError(
            f"{arguments.from_run} cannot be repeated by one config: it changed {places}"
        )
    return Repeated(config_from_json(record["config"], arguments.set), record.get("dataset"))


def recorded(arguments: argparse.Namespace, run: str) -> RunConfig:
    """The config of a run as its run.json holds it, with the data sets and settings of the arguments.

    Raises:
        InputError: no run is there, or overlays beside it.
    """
    values = _record_of(run, arguments.overlay)["config"]
    if arguments.data is None:
        return config_from_json(values, arguments.set)
    chosen = data_settings(arguments.data, config_from_json(values, _place(arguments)))
    return config_from_json(values, [*chosen, *arguments.set])


def _record_of(run: str, overlays: Sequence[str]) -> Json:
    """The run.json of a run."""
    if overlays:
        raise InputError("--overlay goes with --config; a run's record holds its overlays already")
    return read_record(run)


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """The config that the arguments name, with overlays, data sets and settings applied."""
    name = arguments.config
    if name is None and arguments.data is not None:
        name = next(entry.own_pairs for entry in registry.entries() if entry.own_pairs)
        print(f"config: {name}, as there is no --config")
    if name is None:
        raise InputError("--config is missing: name a published config, MODEL/RUN, or a file")
    if arguments.data is None:
        return load_config(name, arguments.overlay, arguments.set)
    chosen = data_settings(arguments.data, load_config(name, arguments.overlay, _place(arguments)))
    # Applied before --set, which may still choose other splits.
    return load_config(name, arguments.overlay, [*chosen, *arguments.set])


def _place(arguments: argparse.Namespace) -> list[str]:
    """The settings that say where data sets are; others may fit those of --data only."""
    return [item for item in arguments.set if item.partition("=")[0].strip() == "data.data_dir"]


def data_settings(names: str, config: RunConfig) -> list[str]:
    """The settings that make a run train and evaluate on built data sets.

    Args:
        names: of the sets, joined by "+". The first one with a split val, validation or test is
            evaluated on.
        config: of the run; it says where the sets are.

    Raises:
        InputError: one is not built, is of paintings, or none can be evaluated on.
    """
    infos = [dataset_info(name.strip(), config.data.data_dir) for name in names.split("+")]
    for info in infos:
        if info.kind == "painterly" and not config.data.paintings.name:
            raise InputError(
                f"{info.name} has objects and paintings: name a config that reads them with --config"
            )
    evaluated = next((info for info in infos if info.evaluated), None)
    if evaluated is None:
        found = "; ".join(f"{info.name} has {', '.join(info.splits)}" for info in infos)
        raise InputError(
            f"--data {names}: no split val, validation or test to evaluate on ({found}); add a list "
            "of files for one and build the set again"
        )
    return [
        f"data.name={'+'.join(info.name for info in infos)}",
        "data.weights=none",
        "data.split=train",
        f"eval.data={evaluated.name}",
        f"eval.split={evaluated.evaluated}",
    ]


def join_processes(arguments: argparse.Namespace) -> None:
    """Joins this process to the others of the run; call it before any other use of JAX."""
    initialize_distributed(
        arguments.coordinator,
        arguments.num_processes,
        arguments.process_id,
        start_limit=arguments.start_limit,
    )


def config_epilog(argv: Sequence[str]) -> str:
    """For `--help`: every field of the config that the command line names; else how to see them."""
    parser = argparse.ArgumentParser(add_help=False)
    for flag in ("--config", "--overlay", "--set"):
        parser.add_argument(flag, action="append", default=[])
    named, _ = parser.parse_known_args(argv)
    if not named.config:
        return "add --config CONFIG to --help to list every field that --set accepts"
    return describe(load_config(named.config[-1], named.overlay, named.set))
