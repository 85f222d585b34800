"""Measure which kernels are best on this machine's device, and keep that for every later command.

Every operation that a training step of the config calls is run by each of its implementations: checked
against the reference, then timed. A run whose config names no ops.implementation does the same at its
start; tuned before, it starts at once, and so do evaluation and harmonizing at these sizes.

Example:
  jaxharm tune --config MODEL/RUN --set precision=bfloat16
"""

import argparse

from jaxharm.cli.run_arguments import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add_config_arguments(parser)
    parser.add_argument(
        "--again", action="store_true", help="measure also what was measured before"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    from jaxharm.chips.step import example_batch
    from jaxharm.cli.run_arguments import config_of
    from jaxharm.compiler import enable_compilation_cache, matmul_precision
    from jaxharm.errors import InputError
    from jaxharm.ops import dispatch, tuned
    from jaxharm.registry import make_system
    from jaxharm.training.kernel_choice import calls_of, decided
    from jaxharm.training.parallel import check_batch_size, make_mesh

    config = config_of(arguments)
    if not dispatch.kernels_exist(dispatch.platform()):
        raise InputError(
            f"there are no kernels for {dispatch.platform()}: run this on a machine with a GPU or TPU"
        )
    enable_compilation_cache()
    mesh = make_mesh()
    check_batch_size(config.data.batch_size, config.accumulate, mesh)
    batch = example_batch(config, config.data.batch_size)
    system = make_system(config, total_steps=1)
    kind = dispatch.device_kind()
    with matmul_precision(config.matmul_precision):
        calls = calls_of(system, config.parallel, mesh, batch)
        rows = decided(calls, {} if arguments.again else tuned.read(kind), print)
    if not rows:
        print(f"a step of {config.system} calls no operation that has kernels for {kind}")
        return 0
    for key, row in rows.items():
        print(key)
        for name, trial in row["trials"].items():
            mark = "->" if name == row["chosen"] else "  "
            print(f"  {mark} {name:18} {_told(trial)}")
    print(f"kept in {tuned.add(kind, rows)}")
    return 0


def _told(trial: dict[str, object]) -> str:
    if trial["reason"]:
        return f"not usable: {trial['reason']}"
    error = "" if trial["error"] is None else f"  error {trial['error']:.1e}"
    return f"{trial['milliseconds']:.3f} ms{error}"
