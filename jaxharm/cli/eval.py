"""Evaluate a trained system on a data set: tables, metrics.json and a gallery in --out.

Of a run, --workdir is enough: its run.json holds config, overlays, settings and data sets.

Examples:
  jaxharm eval --workdir RUN
  jaxharm eval --workdir RUN --data NAME
  jaxharm eval --config MODEL/RUN --checkpoint WEIGHTS --out DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from data_pipelines.loader import eval_batches
from data_pipelines.reading import dataset_info
from jaxharm.cli.command import local_path, run_module
from jaxharm.cli.run_arguments import (
    add_config_arguments,
    add_process_arguments,
    config_epilog,
    config_of,
    join_processes,
    recorded,
)
from jaxharm.compiler import enable_compilation_cache, matmul_precision
from jaxharm.config import RunConfig
from jaxharm.errors import InputError
from jaxharm.evaluation.columns import REFERENCE
from jaxharm.evaluation.fitting import example_batch, fitted_figures
from jaxharm.evaluation.gallery import Gallery
from jaxharm.evaluation.images import ImageSaver, SampleSaver
from jaxharm.evaluation.of_system import evaluate_system
from jaxharm.evaluation.report import as_table, write_report
from jaxharm.evaluation.result import Observer
from jaxharm.inference.options import check_strength
from jaxharm.metrics import get_protocol
from jaxharm.metrics.lpips import load_lpips
from jaxharm.ops.dispatch import override
from jaxharm.progress import tracked
from jaxharm.registry import make_system
from jaxharm.storage import is_bucket, path_of
from jaxharm.training import parallel
from jaxharm.training.compare import read_record
from jaxharm.training.logging import RECORD
from jaxharm.weights.deployed import load_for_eval

epilog = config_epilog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add_config_arguments(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    for option, what in (
        ("--workdir", "folder of a training run"),
        ("--checkpoint", "weights folder"),
    ):
        source.add_argument(option, dest="weights", metavar="DIR", help=f"{what}, or its address")
    add = parser.add_argument
    add("--out", type=local_path, help="folder for the results; default: RUN/eval of a run")
    add("--save-images", action="store_true", help="write every prediction as PNG")
    add("--gallery-images", type=int, default=60, metavar="N", help="images in gallery.html")
    add(
        "--keep-images",
        type=int,
        default=0,
        metavar="N",
        help="small pictures of N images in kept/",
    )
    add("--maps", action="store_true", help="show what explains a prediction in gallery.html")
    add("--strength", type=float, default=1.0, help="0 composite ... 1 result (default)")
    add("--lpips-weights", type=local_path, help="adds LPIPS; made by jaxharm convert lpips")
    add_process_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Evaluates; every process of a run calls it."""
    config = _config(arguments)
    arguments.out = arguments.out or _default_out(config, arguments)
    with override(config.ops.implementation), matmul_precision(config.matmul_precision):
        _evaluate(config, arguments)
    return 0


def _config(arguments: argparse.Namespace) -> RunConfig:
    """That of --config, else what the run itself recorded."""
    if arguments.config is not None:
        return config_of(arguments)
    place = arguments.weights
    if not is_bucket(place) and not (path_of(place) / RECORD).is_file():
        raise InputError(f"{place} has no {RECORD}: name the config of these weights with --config")
    return recorded(arguments, place)


def _default_out(config: RunConfig, arguments: argparse.Namespace) -> Path:
    """A folder in the run's; another one for other data than those it was evaluated on."""
    place = arguments.weights
    if is_bucket(place) or not (path_of(place) / RECORD).is_file():
        raise InputError(f"--out is missing: name a folder of this machine; {place} holds no run")
    own = read_record(place)["config"]["eval"]
    data = (config.eval.data, config.eval.split)
    name = "eval" if data == (own["data"], own["split"]) else "_".join(("eval", *data))
    return path_of(place) / name.replace("/", "_")


def _evaluate(config: RunConfig, arguments: argparse.Namespace) -> None:
    check_strength(arguments.strength)
    enable_compilation_cache()
    join_processes(arguments)
    protocol = get_protocol(config.eval.protocol)
    lpips = load_lpips(arguments.lpips_weights) if arguments.lpips_weights else None
    system = make_system(config, total_steps=1)
    batches = eval_batches(
        config.eval.data,
        data_dir=config.data.data_dir,
        **config.eval.loading,
        **protocol.loading,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    mesh = parallel.make_mesh(jax.local_devices())  # every process evaluates its own share
    example = example_batch(config.system, config.model)
    state = parallel.on_mesh(load_for_eval(arguments.weights, system, example), mesh)
    if arguments.maps and not jax.eval_shape(system.figures, state, example):
        raise InputError("this system has no figures that explain a prediction; leave --maps out")
    trained = parallel.Trained(system, state, parallel.make_predict(system, mesh))
    explain = parallel.make_figures(system, mesh)
    gallery = Gallery(arguments.gallery_images, system.measures or REFERENCE)
    sample = SampleSaver(arguments.out / "kept", arguments.keep_images)
    observers: list[Observer] = [gallery, sample]
    if arguments.save_images:
        observers.append(ImageSaver(arguments.out / "images"))
    result = evaluate_system(
        system,
        trained.variables(),
        trained,
        tracked(batches, "evaluating", batches.total),
        protocol,
        observers=observers,
        figures=fitted_figures(lambda b: explain(state, b), system.name, config.model)
        if arguments.maps
        else None,
        lpips=lpips,
        strength=arguments.strength,
    )
    about = _about(config, arguments)
    write_report(result, arguments.out, about=about)
    gallery.write(result, arguments.out / "gallery.html", about=about)
    sample.write(result)
    if jax.process_index() == 0:
        print(as_table(result, about))
        print(f"table, gallery and metrics.json in {arguments.out}")


def _about(config: RunConfig, arguments: argparse.Namespace) -> dict[str, str]:
    """What the results are of, for their heads."""
    about = {"model": config.system, "weights": arguments.weights}
    about["strength"] = f"{arguments.strength:g}"
    about["data"] = f"{config.eval.data} {config.eval.split}"
    notes = dataset_info(config.eval.data, config.data.data_dir).metadata
    return about | ({"held out": notes["held_out"]} if notes.get("held_out") else {})


def main(argv: Sequence[str] | None = None) -> int:
    """`python eval.py`: returns the exit status."""
    return run_module(sys.modules[__name__], sys.argv[1:] if argv is None else argv, prog="eval.py")
