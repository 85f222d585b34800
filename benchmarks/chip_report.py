"""One report of this machine's GPUs or TPU: its tests, kernels and training steps, within minutes.

    python benchmarks/chip_report.py --out build/chip                    # at most 8 minutes
    python benchmarks/chip_report.py --out build/chip --repos DIR        # beside the official code

Writes report.md and report.json. In this order, and as far as the minutes reach, what is left out named:

1. `pytest -m gpu` or `-m tpu`: kernels against float64, repeats, whole steps, all devices;
2. benchmarks/kernels.py: time of each kernel as a share of the speed of a copy;
3. benchmarks/train_step.py: the step of every model in bfloat16 and float32, by jax.numpy and with
   kernels, and the share of the chip's published peak;
4. benchmarks/against_official.py, where checkouts are given (GPU).

Each part is a process of its own, so that one that fails or hangs leaves the others. On a CPU it runs
too, for a look at the report; the tests are then left out.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from published import main_configs

from jaxharm.chips.targets import CHIPS
from jaxharm.errors import InputError, run_command

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
KERNELS = {"gpu": "pallas_gpu", "tpu": "pallas_tpu"}
TESTS = ("tests/ops", "tests/distributed/test_kernels_in_steps.py")
# The most that a part may take of what is left: the later ones shall have some.
SHARES = {"device": 0.2, "tests": 0.4, "kernels": 0.4, "step": 0.5, "official": 1.0}
# In a process of its own: the one that asks holds the memory of a GPU, and a TPU as a whole.
_ASK = """
import json, jax
from jaxharm.ops import dispatch
device, count = jax.devices()[0], jax.device_count()
about = {"kind": device.device_kind, "count": count, "platform": dispatch.platform()}
print(json.dumps({**about, "jax": jax.__version__}))
"""
# JAX's names of devices -> ours; GPUs are found by their title.
TPUS = {"TPU v5 lite": "v5e", "TPU v5e": "v5e", "TPU v5": "v5p", "TPU v6 lite": "v6e"}


@dataclass
class Report:
    """What was found, and until when there is time.

    Attributes:
        folder: where the report is written.
        end: by `time.monotonic`.
        parts: name -> figures, in the order in which they were made.
        left_out: name -> why there are no figures.
    """

    folder: Path
    end: float
    parts: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, kind: str, command: Sequence[str]) -> str | None:
        """Output of a command that ended in time; else None, and `left_out` says why."""
        seconds = (self.end - time.monotonic()) * SHARES[kind]
        if seconds < 5:
            self.left_out[name] = "no time was left"
            return None
        print(f"{name} (at most {seconds:.0f} s)", flush=True)
        try:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self.left_out[name] = f"it was stopped after {seconds:.0f} s"
            return None
        if done.returncode:
            last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            self.left_out[name] = f"status {done.returncode}: {' '.join(last[-1:])[:300]}"
        return done.stdout


def peak_of(kind: str) -> float | None:
    """Published bfloat16 operations per second of a kind of device, as JAX names it."""
    named = CHIPS.get(TPUS.get(kind, ""))
    words = kind.split()
    found = [chip for chip in CHIPS.values() if all(word in words for word in chip.title.split())]
    chip = named or (found[0] if found else None)
    return chip.peak if chip else None


def steps(chip: str) -> Iterator[tuple[str, str, str]]:
    """(config, precision, implementation), what matters most first."""
    kernels = [KERNELS[chip]] if chip in KERNELS else []
    for precision in ("bfloat16", "float32"):
        for implementation in ("reference", *kernels):
            for config in main_configs().values():
                yield config, precision, implementation


def make(report: Report, options: argparse.Namespace) -> None:
    """Fills the report."""
    asked = report.run("device", "device", ("-c", _ASK))
    if asked is None or "device" in report.left_out:
        raise InputError(f"JAX finds no device here: {report.left_out['device']}")
    device = report.parts["device"] = json.loads(asked.splitlines()[-1])
    chip, kind = device["platform"], device["kind"]
    if chip == "cpu":
        report.left_out["tests"] = "there is no chip here"
    else:
        command = ("-m", "pytest", "-q", "-m", chip, "-p", "no:cacheprovider", *TESTS)
        if (text := report.run("tests", "tests", command)) is not None:
            report.parts["tests"] = text.strip().splitlines()[-1]
    out = report.folder / "kernels"
    command = (str(BENCHMARKS / "kernels.py"), "--repeats", "5", "--out", str(out))
    if report.run("kernels", "kernels", command) is not None and (out / "kernels.json").is_file():
        report.parts["kernels"] = json.loads((out / "kernels.json").read_text())
    report.parts["steps"] = list(_measured_steps(report, options, chip, peak_of(kind)))
    if options.repos:
        _official(report, options, chip)


def _measured_steps(
    report: Report, options: argparse.Namespace, chip: str, peak: float | None
) -> Iterator[dict[str, Any]]:
    file = report.folder / "step.json"
    for config, precision, implementation in steps(chip):
        name = f"{config}, {precision}, {implementation}"
        file.unlink(missing_ok=True)
        command = [str(BENCHMARKS / "train_step.py"), "--config", config, "--precision", precision]
        command += ["--batch", str(options.batch), "--json", str(file)]
        command += ["--set", f"ops.implementation={implementation}"]
        command += ["--size", str(options.size)] if options.size else []
        command += ["--peak-tflops", str(peak / 1e12)] if peak else []
        if report.run(name, "step", command) is not None and file.is_file():
            yield {"config": config, "implementation": implementation, **_read(file)}
    file.unlink(missing_ok=True)


def _official(report: Report, options: argparse.Namespace, chip: str) -> None:
    if chip != "gpu":
        report.left_out["official code"] = "PyTorch runs on GPUs here"
        return
    out = report.folder / "official.json"
    command = [str(BENCHMARKS / "against_official.py"), "--repos", str(options.repos)]
    command += ["--device", "cuda", "--out", str(out)]
    if report.run("official code", "official", command) is not None and out.is_file():
        report.parts["official code"] = _read(out)


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def as_markdown(report: Report) -> str:
    """The report to read."""
    device = report.parts["device"]
    lines = [f"# {device['count']} x {device['kind']}, jax {device['jax']}", ""]
    lines += [f"Tests: {report.parts.get('tests', 'none')}", ""]
    lines += ["| training step | by | ms | images/s | share of peak |", "|---|---|---|---|---|"]
    for row in report.parts["steps"]:
        mfu = f"{row['mfu']:.1%}" if "mfu" in row else ""
        lines.append(
            f"| {row['title']} | {row['implementation']} | {row['seconds'] * 1e3:.2f} | "
            f"{row['images_per_second']:.1f} | {mfu} |"
        )
    if "official code" in report.parts:
        lines += ["", "| beside the official code | forward | training step |", "|---|---|---|"]
        for row in report.parts["official code"]["cases"]:
            ratios = [_ratio(row[part]) for part in ("forward", "step")]
            lines.append(f"| {row['name']} | {ratios[0]} | {ratios[1]} |")
    if "kernels" in report.parts:
        lines += ["", (report.folder / "kernels" / "kernels.md").read_text().strip()]
    if report.left_out:
        lines += ["", "Not measured:", ""]
        lines += [f"- {name}: {re.sub(r'[|`]', '', why)}" for name, why in report.left_out.items()]
    return "\n".join(lines) + "\n"


def _ratio(times: dict[str, float]) -> str:
    ours = f"ours {times['ours'] * 1e3:.1f} ms"
    if "official" not in times:
        return ours
    return f"{ours}, official {times['official'] * 1e3:.1f} ms, {times['official'] / times['ours']:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes and writes the report; returns the exit status: 1 where a test failed."""
    options = _parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(options.out.resolve(), time.monotonic() + 60 * options.minutes)
    make(report, options)
    text = as_markdown(report)
    (options.out / "report.md").write_text(text)
    record = {**report.parts, "left_out": report.left_out}
    (options.out / "report.json").write_text(json.dumps(record, indent=1) + "\n")
    print(text)
    return int("failed" in str(report.parts.get("tests", "")))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for report.md and report.json")
    add("--minutes", type=float, default=8.0, help="for all of it")
    add("--batch", type=int, default=16, help="images of a training step")
    add("--size", type=int, help="sides of them; default: of each config")
    add("--repos", type=Path, help="folder with the official checkouts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
