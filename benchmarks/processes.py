"""The same run in one process and in several, on one device and on several: are they equal?

    python benchmarks/processes.py --config MODEL/RUN [MODEL/RUN ...] --set data.data_dir=DATA

Each config is trained for 20 steps (overlay smoke, batch 4) on one device, by one process with 2 and
4 devices, and by 2 and 4 processes with one device each, and is then evaluated in the same way. All
differ in the order of their sums only. It prints the largest differences from one device, of the
losses, of the weights (as shares of the largest weight of a tensor) and of the evaluation, and the
number of evaluated images; status 1 where a difference is above --limit or an image is missing.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

LAYOUTS = ((1, 1), (1, 2), (1, 4), (2, 1), (4, 1))  # processes, devices of each
SETTINGS = {
    "steps": 20,
    "data.batch_size": 4,
    "log.images_every": 0,
    "log.every": 1,
    "checkpoint.every": 20,
}


@dataclass(frozen=True)
class Outcome:
    """What a run left: its losses, weights, and the means and number of its evaluated images."""

    losses: np.ndarray
    weights: dict[str, np.ndarray]
    means: np.ndarray
    images: int


def run(config: str, layout: tuple[int, int], settings: list[str], folder: Path) -> Outcome:
    """Trains and evaluates in a layout."""
    workdir, out = folder / "run", folder / "eval"
    base = ("--config", config, "--overlay", "smoke", "--workdir", str(workdir))
    own = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    together(layout, "train", *base, *own, *settings)
    together(layout, "eval", *base, *own, *settings, "--out", str(out))
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    found = json.loads((out / "metrics.json").read_text())["All"]
    return Outcome(
        np.array([row["loss"] for row in rows if row["kind"] == "train"]),
        load_file(workdir / "weights" / "weights.safetensors"),
        np.array([found[name] for name in ("mse", "psnr", "fmse")]),
        found["count"],
    )


def together(layout: tuple[int, int], command: str, *arguments: str) -> None:
    """Runs a command in all processes of a layout; all must end with status 0."""
    count, devices = layout
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    joined = ("--coordinator", coordinator, "--num-processes", str(count), "--process-id")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "jaxharm", command, *arguments]
            + ([*joined, str(number)] if count > 1 else []),
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(count)
    ]
    told = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("\n".join(told))


def differences(found: Outcome, expected: Outcome) -> tuple[float, float, float]:
    """The largest relative differences of losses, weights and evaluation."""
    loss = np.abs(found.losses / expected.losses - 1).max()
    weights = max(
        float(np.abs(found.weights[name] - value).max() / max(np.abs(value).max(), 1e-3))
        for name, value in expected.weights.items()
    )
    return float(loss), weights, float(np.abs(found.means / expected.means - 1).max())


def main() -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", nargs="+", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--limit", type=float, default=1e-3)
    arguments = parser.parse_args()
    settings = [f"--set={setting}" for setting in arguments.settings]
    bad = 0
    for config in arguments.config:
        print(f"{config}\n| processes | devices | losses | weights | evaluation | images |")
        print(f"|{'---|' * 6}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="processes-"))
        expected: Outcome | None = None
        for layout in LAYOUTS:
            found = run(config, layout, settings, folder / "x".join(map(str, layout)))
            expected = expected or found
            far = differences(found, expected)
            bad += max(far) > arguments.limit or found.images != expected.images
            cells = [str(layout[0]), str(layout[0] * layout[1]), *(f"{v:.1e}" for v in far)]
            print(f"| {' | '.join([*cells, str(found.images)])} |", flush=True)
        shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
