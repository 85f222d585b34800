"""Measures how many images per second the input pipeline gives, and how long each stage takes.

    python -m benchmarks.input_pipeline --data-dir DIR --name iharmony4 --image-size 256 --workers 4

prints the time per sample of each stage on one core, the throughput of the whole pipeline with and
without on-the-fly synthesis, and the training steps per second for which that is enough. Synthesis
rates are for recoloring every record; a run does so for `data.synthesis.probability` of them.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from data_pipelines import loader
from data_pipelines.samples import recoloring as synthesis
from data_pipelines.samples.decode import decode_record
from data_pipelines.samples.geometry import apply_geometry, draw_geometry
from data_pipelines.samples.paired import reference_pixels
from jaxharm.config import AugmentConfig, DataConfig, SynthesisConfig


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and prints the report."""
    options = _parse(arguments)
    data = DataConfig(
        name=options.name,
        data_dir=options.data_dir,
        split=options.split,
        batch_size=options.batch_size,
        image_size=options.image_size,
        num_workers=options.workers,
        num_threads=options.threads,
        augment=AugmentConfig(crop_scale=(0.5, 1.0)),
    )
    source = loader.open_sources(data)[0]
    readers = f"{options.workers} processes" if options.workers else f"{options.threads} threads"
    print(
        f"{data.name} ({len(source)} records of the first data set), {data.image_size}x"
        f"{data.image_size}, batch {data.batch_size}, {readers}, {os.cpu_count()} cores"
    )
    print("\nCPU time of one core per sample (ms)")
    for stage, ms in stage_times(source, data, count=options.samples).items():
        print(f"  {stage:<22}{ms:8.2f}")
    for title, share in (("as stored", 0.0), ("every record recolored", 1.0)):
        rate = pipeline_rate(
            replace(data, synthesis=SynthesisConfig(probability=share)), seconds=options.seconds
        )
        print(f"\n{title}: {rate:.0f} images/s, {rate / data.batch_size:.2f} batches/s")
        print(f"  {_feeds(rate / data.batch_size, options.step_ms)}")


def stage_times(source: Any, data: DataConfig, *, count: int) -> dict[str, float]:
    """Mean CPU milliseconds per sample of each stage, on the calling thread.

    Args:
        source: undecoded records, as `sources.open_source` returns.
        data: sizes, modes and augmentation.
        count: samples to measure on.
    """
    cv2.setNumThreads(0)
    size = (data.image_size, data.image_size)
    modes = {"image_resize": data.image_resize, "mask_resize": data.mask_resize}
    crop = {
        "flip": data.augment.flip,
        "crop_scale": data.augment.crop_scale,
        "image_size": data.image_size,
    }
    totals: dict[str, float] = {}

    def timed(stage: str, function: Callable[[], Any]) -> Any:
        began = time.thread_time()
        result = function()
        totals[stage] = totals.get(stage, 0.0) + time.thread_time() - began
        return result

    rng = np.random.default_rng(0)
    source[0]  # opens the files
    for index in rng.integers(len(source), size=count).tolist():
        record = timed("read", lambda i=index: source[i])
        images = timed("decode", lambda r=record: decode_record(r))
        geometry = timed(
            "draw crop and flip", lambda m=images["mask"]: draw_geometry(m, rng, **crop)
        )
        arrays = timed(
            "crop, flip and resize",
            lambda i=images, g=geometry: apply_geometry(i, g, size, **modes),
        )
        reference = timed("reference (synthesis)", lambda r=record: reference_pixels(r))
        timed(
            "recolor (synthesis)",
            lambda a=arrays, r=reference: synthesis.recolor(
                a["real"], a["mask"], rng, reference=r, families=data.synthesis.families
            ),
        )
    return {stage: 1e3 * total / count for stage, total in totals.items()}


def pipeline_rate(data: DataConfig, *, seconds: float) -> float:
    """Images per second of wall time that `train_batches` gives once its readers have started."""
    with loader.train_batches(data, seed=0) as batches:
        # What was read ahead before the clock starts must not count: drain more than the buffers.
        for _ in range(2 * max(data.num_threads, 3 * data.num_workers)):
            next(batches)
        count, began = 0, time.perf_counter()
        while count == 0 or time.perf_counter() - began < seconds:
            count += len(next(batches).composite)
        return count / (time.perf_counter() - began)


def _feeds(batches_per_second: float, step_ms: float | None) -> str:
    if step_ms is None:
        return "accelerator step time not measured; give --step-ms to compare"
    wanted = 1e3 / step_ms
    verdict = (
        "the pipeline keeps up" if batches_per_second >= wanted else "the model waits for data"
    )
    return (
        f"a {step_ms:g} ms step takes {wanted:.2f} batches/s: {verdict} "
        f"({batches_per_second / wanted:.2f} of what it could use)"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="built data sets; default TFDS_DATA_DIR")
    parser.add_argument("--name", default="demo", help="one or several joined by +")
    parser.add_argument("--split", default="train")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: threads")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--samples", type=int, default=200, help="for the stage times")
    parser.add_argument("--seconds", type=float, default=10.0, help="per throughput figure")
    parser.add_argument("--step-ms", type=float, help="training step time of an accelerator")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
