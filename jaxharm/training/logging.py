"""Records of a run: console lines, metrics.jsonl, TensorBoard, run.json. Process 0 only."""

import importlib.metadata
import json
import math
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from jaxharm.config import Json, TrainConfig, to_json
from jaxharm.images.bit_depth import from_unit
from jaxharm.interfaces import Metrics
from jaxharm.schema import HostArray, HostBatch, present
from jaxharm.training.clock import goodput
from jaxharm.training.tensorboard import EventFile
from jaxharm.weights.same_run import Changes

_PACKAGES = ("jaxharm", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")
CURVE, RECORD = "metrics.jsonl", "run.json"  # names in a run folder
CLOCK = ("images_per_second", "data_wait")  # what depends on the machine, not on the run
_SHOWN_ELSEWHERE = ("loss", "lr", *CLOCK)
_GRID_ROWS = 4


class Window:
    """Metrics and times since the last report; sums and counts, so that means are exact."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self.reset()

    def reset(self) -> None:
        """Starts a new window now; also called after pauses, which then count nowhere."""
        self._sums: dict[str, list[float]] = {}
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

    def add_wait(self, seconds: float) -> None:
        """Notes time the loop spent waiting for data."""
        self._waited += seconds

    def add(self, metrics: Metrics) -> None:
        """Adds one step's name -> (sum, count)."""
        self._steps += 1
        for name, (total, count) in metrics.items():
            sums = self._sums.setdefault(name, [0.0, 0.0])
            sums[0] += float(total)
            sums[1] += float(count)

    def seconds_per_step(self) -> float:
        """Mean duration of this window's steps."""
        return (time.perf_counter() - self._start) / max(self._steps, 1)

    def means(self) -> dict[str, float]:
        """Mean of every metric, images per second and the share of time spent waiting for data.

        A metric that no step of the window counted, such as another stream's, is left out.
        """
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        values = {k: total / count for k, (total, count) in self._sums.items() if count}
        values["images_per_second"] = self._steps * self._batch_size / elapsed
        values["data_wait"] = min(self._waited / elapsed, 1.0)
        return values


class RunLog:
    """Writers of one run. `active` is False on every process but the first: nothing is written.

    After a resume at step `start`, later rows of an interrupted attempt are removed, so that
    metrics.jsonl holds every step once.
    """

    def __init__(
        self,
        workdir: Path,
        config: TrainConfig,
        total: int,
        start: int,
        *,
        active: bool,
        label: str = "",
    ):
        self._total, self._active, self._label = total, active, label
        self._board: EventFile | None = None
        if not active:
            return
        self._rows_file = workdir / CURVE
        _drop_rows_after(self._rows_file, start)
        if config.log.tensorboard:
            self._board = EventFile(workdir / "tensorboard", start)

    def message(self, text: str) -> None:
        """One line on the console."""
        if self._active:
            print(f"{self._label}{text}", flush=True)

    def training(self, step: int, window: Window) -> None:
        """Reports a window of steps that ends at `step`."""
        values = window.means()
        left = (self._total - step) * window.seconds_per_step()
        terms = "  ".join(
            f"{k} {v:.4g}"
            for k, v in values.items()
            if k not in _SHOWN_ELSEWHERE and "norm" not in k
        )
        self.message(
            f"step {step}/{self._total}  loss {values.get('loss', math.nan):.5g}  {terms}  "
            f"lr {values.get('lr', math.nan):.3g}  {values['images_per_second']:.1f} images/s  "
            f"data wait {values['data_wait']:.0%}  ETA {_clock(left)}"
        )
        self._write(step, "train", values)

    def evaluation(
        self, step: int, summary: Mapping[str, Json], baseline: Json, *, best: bool
    ) -> None:
        """Reports an evaluation.

        Args:
            step: after which.
            summary: subset -> metric -> value.
            baseline: metric -> value of the untouched composites of all subsets.
            best: whether no earlier one of the run was better.
        """
        flat = {
            f"{subset}/{name}": float(value)
            for subset, row in summary.items()
            for name, value in row.items()
            if isinstance(value, int | float)
        }
        shown = "  ".join(
            f"{key} {value:.4g}{_beside(baseline, key.removeprefix('All/'))}"
            for key, value in flat.items()
            if key.startswith("All/")
        )
        self.message(f"eval at step {step}: {shown}{'  (best so far)' if best else ''}")
        self._write(step, "eval", flat)

    def images(self, step: int, batch: HostBatch, predicted: HostArray) -> None:
        """A grid for TensorBoard: rows of composite, mask, prediction, target."""
        if self._board is not None:
            self._board.image(step, "samples", image_grid(batch, predicted))

    def close(self) -> None:
        """Closes TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        if not self._active:
            return
        row = {"step": step, "kind": kind, **{k: _json_number(v) for k, v in values.items()}}
        with self._rows_file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            self._board.scalars(step, {f"{kind}/{name}": v for name, v in values.items()})


def image_grid(batch: HostBatch, predicted: HostArray) -> HostArray:
    """u8[rows*h, 4*w, 3]: composite, mask, prediction, target of the first samples."""
    rows, target = [], present(batch.target, "target")
    for i in range(min(_GRID_ROWS, len(predicted))):
        mask = np.repeat(from_unit(batch.mask[i], np.uint8), 3, axis=-1)
        cells = [batch.composite[i], mask, from_unit(predicted[i], np.uint8), target[i]]
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows, axis=0)


def _beside(baseline: Json, name: str) -> str:
    """The composite's own value, where it has one of its own."""
    own = baseline.get(name)
    if not isinstance(own, int | float) or name == "count":
        return ""
    return f" (composite {own:.4g})"


def write_run_record(
    workdir: Path,
    config: TrainConfig,
    mesh: Mesh,
    start: int,
    dataset: Json | None,
    changes: Changes,
    argv: Sequence[str] | None = None,
    *,
    together: Sequence[int] = (),
) -> None:
    """Writes run.json; a resumed run keeps its first record and adds to "resumed".

    "config" and "dataset" are always those of the latest session; what an earlier session had
    instead stands, with old and new value, in the "changes" of the one that changed it. "starts"
    lists all sessions, each with its step, config and dataset, also those that ended before they
    saved anything.

    Args:
        start: step at which this session begins.
        dataset: description of the training data, as its loader gives it.
        changes: settings that differ from the session before.
        argv: the command, default this process's.
        together: the seeds that this session trains in one program, where they are several.
    """
    session = {
        "step": start,
        "argv": list(sys.argv if argv is None else argv),
        "devices": {
            "kind": mesh.devices.flat[0].device_kind,
            "platform": mesh.devices.flat[0].platform,
            "count": mesh.size,
            "processes": jax.process_count(),
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "git_revision": _git_revision(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    if together:
        session["seeds_in_one_program"] = list(together)
    settings: Json = {
        "config": to_json(config),
        "seed": config.seed,
        "dataset": dict(dataset) if dataset else None,
    }
    file = workdir / RECORD
    before = _read_record(file)
    begun = {"step": start, "started": session["started"], **settings}
    settings["starts"] = [*before.get("starts", []), begun]
    if start and before:
        record = {**before, **settings}
        session["changes"] = {key: list(change) for key, change in changes.items()}
        record.setdefault("resumed", []).append(session)
    else:
        record = {**settings, **session}
    _write_record(file, record)


def note_operations(workdir: Path, ops: Mapping[str, Sequence[str]]) -> None:
    """Adds to run.json what implementations this session's step runs by: known once it is compiled."""
    file = workdir / RECORD
    record = _read_record(file)
    session = record["resumed"][-1] if record.get("resumed") else record
    session["operations"] = {op: list(names) for op, names in ops.items()}
    _write_record(file, record)


def note_kernels(workdir: Path, kernels: Json) -> None:
    """Adds to run.json which implementations were tried and chosen: see `choose_kernels`."""
    record = _read_record(workdir / RECORD)
    record["kernels"] = kernels
    _write_record(workdir / RECORD, record)


def noted_kernels(workdir: Path) -> Json:
    """What `note_kernels` wrote; {} where there is nothing."""
    found = _read_record(workdir / RECORD).get("kernels")
    return found if isinstance(found, dict) else {}


def note_time(workdir: Path, step: int, seconds: Mapping[str, float]) -> Json:
    """Adds to run.json how far this session came and where its time went.

    Args:
        workdir: of the run.
        step: the last one that is done.
        seconds: of `Clock.seconds`.

    Returns:
        The `goodput` of all sessions so far, which run.json holds as well.
    """
    file = workdir / RECORD
    record = _read_record(file)
    if not record.get("starts"):  # somebody took it away
        return {}
    record["starts"][-1] |= {"reached": step, "seconds": dict(seconds)}
    record["goodput"] = goodput(record["starts"])
    _write_record(file, record)
    found: Json = record["goodput"]
    return found


def _read_record(file: Path) -> Json:
    """The record; nothing where there is none, or one that is damaged."""
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(file: Path, record: Json) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(file)


def _drop_rows_after(file: Path, step: int) -> None:
    if not file.is_file():
        return
    kept = []
    lines = file.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            keep = json.loads(line)["step"] <= step
        except (ValueError, LookupError, TypeError, RecursionError):
            if number < len(lines):  # the last one is what a killed run was writing
                warnings.warn(
                    f"line {number} of {file} is damaged and left out of it", stacklevel=2
                )
            continue
        if keep:
            kept.append(line + "\n")
    partial = file.with_suffix(".partial")
    partial.write_text("".join(kept))
    partial.replace(file)


def _versions() -> dict[str, str]:
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return {name: installed[name] for name in _PACKAGES if name in installed}


def _git_revision() -> str | None:
    """Revision of the checkout this file lies in; None outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
