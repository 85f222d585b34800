"""Arguments that train and eval share: the run's config, and the processes that it is spread over."""

import argparse
from collections.abc import Sequence

from jaxharm.config import RunConfig
from jaxharm.config_file import load_config
from jaxharm.overrides import describe
from jaxharm.training.parallel import initialize_distributed


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares --config, --overlay and --set."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="CONFIG",
        help="a published config, MODEL/RUN as under configs/, or a Python file; with --help, its "
        "fields are listed",
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


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """The config that the arguments name, with overlays and settings applied."""
    return load_config(arguments.config, arguments.overlay, arguments.set)


def join_processes(arguments: argparse.Namespace) -> None:
    """Joins this process to the others of the run; call it before any other use of JAX."""
    initialize_distributed(arguments.coordinator, arguments.num_processes, arguments.process_id)


def config_epilog(argv: Sequence[str]) -> str:
    """For `--help`: every field of the config that the command line names; else how to see them."""
    parser = argparse.ArgumentParser(add_help=False)
    for flag in ("--config", "--overlay", "--set"):
        parser.add_argument(flag, action="append", default=[])
    named, _ = parser.parse_known_args(argv)
    if not named.config:
        return "add --config CONFIG to --help to list every field that --set accepts"
    return describe(load_config(named.config[-1], named.overlay, named.set))
