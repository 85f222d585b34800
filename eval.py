"""Evaluates a trained system on a data set: result files and a gallery in --out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.loader import eval_batches
from data_pipelines.reading import dataset_info
from jaxharm.compiler import enable_compilation_cache
from jaxharm.config import TrainConfig, load_config
from jaxharm.errors import run_command
from jaxharm.evaluation.evaluate import evaluate
from jaxharm.evaluation.gallery import Gallery
from jaxharm.evaluation.images import ImageSaver
from jaxharm.evaluation.padding import example_batch, padded_maps, padded_predict
from jaxharm.evaluation.report import as_table, write_report
from jaxharm.metrics import get_protocol
from jaxharm.metrics.lpips import load_lpips
from jaxharm.ops.dispatch import override
from jaxharm.registry import make_system
from jaxharm.training import parallel
from jaxharm.weights.checkpoint import load_for_eval


def run(args: argparse.Namespace) -> None:
    """Evaluates as the arguments say; every process of a run calls it."""
    config = load_config(args.config, args.overlay, args.set)
    with override(config.ops.implementation):
        _evaluate(config, args)


def _evaluate(config: TrainConfig, args: argparse.Namespace) -> None:
    enable_compilation_cache()
    parallel.initialize_distributed()
    protocol = get_protocol(config.eval.protocol)
    lpips = load_lpips(args.lpips_weights) if args.lpips_weights else None
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
    state = parallel.on_mesh(
        load_for_eval(args.weights, system, example_batch(config.system, config.model)), mesh
    )
    predict, explain = parallel.make_predict(system, mesh), parallel.make_maps(system, mesh)
    gallery, saver = Gallery(args.gallery_images), ImageSaver(args.out / "images")
    result = evaluate(
        padded_predict(lambda batch: predict(state, batch), config.model),
        batches,
        protocol,
        observers=[gallery, saver] if args.save_images else [gallery],
        maps=padded_maps(lambda b: explain(state, b), config.model) if args.maps else None,
        lpips=lpips,
    )
    about = {"model": config.system, "weights": str(args.weights)}
    about["data"] = f"{config.eval.data} {config.eval.split}"
    notes = dataset_info(config.eval.data, config.data.data_dir).metadata
    about |= {"held out": notes["held_out"]} if notes.get("held_out") else {}
    write_report(result, args.out, about=about)
    gallery.write(result, args.out / "gallery.html", about=about)
    if jax.process_index() == 0:
        print(as_table(result, about))


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the arguments; returns the exit status."""
    parser = argparse.ArgumentParser(description="Evaluate a trained system.")
    add = parser.add_argument
    add("--config", required=True, help="file under configs/")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", dest="weights", type=Path, help="folder of a training run")
    source.add_argument("--checkpoint", dest="weights", type=Path)
    add("--out", required=True, type=Path, help="folder for the results")
    add("--overlay", action="append", default=[], help="as in train.py")
    add("--set", action="append", default=[], metavar="KEY=VALUE")
    add("--save-images", action="store_true", help="write every prediction as PNG")
    add("--gallery-images", type=int, default=60, help="images in gallery.html")
    add("--maps", action="store_true", help="show what explains a prediction in gallery.html")
    add("--lpips-weights", type=Path, help="adds LPIPS; see metrics/lpips.py")
    args = parser.parse_args(argv)
    return run_command(lambda: run(args), user_errors=(DatasetValidationError,))


if __name__ == "__main__":
    raise SystemExit(main())
