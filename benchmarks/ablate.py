"""Runs a study: every run with every seed, then one table. Run it again to resume."""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxharm.errors import InputError, run_command
from jaxharm.studies.ablation import (
    Job,
    Study,
    load_study,
    plan,
    read_results,
    summarize,
    table,
)

_SCRIPTS = Path(__file__).resolve().parent.parent  # where train.py and eval.py are
_RECORD = "ablation.json"


def run(args: argparse.Namespace) -> None:
    """Makes the runs that are not finished, one after the other, and keeps the table up to date."""
    study = load_study(args.study, args.seeds or (), args.only or ())
    jobs = plan(study, args.workdir, args.set)
    finished = [_is_finished(job) for job in jobs]
    for number, (job, done) in enumerate(zip(jobs, finished, strict=True), 1):
        label = f"[{number}/{len(jobs)}] {job.run.name} seed {job.seed}"
        print(f"{label}: {'finished before' if done else job.folder}", flush=True)
        if not done:
            _make(job)
            _report(study, jobs, args.workdir)
    print(_report(study, jobs, args.workdir), end="")


def _is_finished(job: Job) -> bool:
    """Whether the job's folder holds this very run, complete."""
    file = job.folder / _RECORD
    if not file.is_file():
        return False
    before = json.loads(file.read_text())
    if before["config"] != job.record:
        key, old, new = next(_differences(before["config"], job.record))
        raise InputError(
            f"{job.folder} holds another run: its {key} was {old!r} and is now {new!r}; delete the "
            "folder or choose another --workdir"
        )
    return before["finished"]


def _differences(old: Any, new: Any, key: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    elif old != new:
        yield key, old, new


def _make(job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    record = job.folder / _RECORD
    record.write_text(json.dumps({"config": job.record, "finished": False}) + "\n")
    shared = ["--config", job.run.config, "--workdir", str(job.folder)]
    shared += [f"--overlay={name}" for name in job.run.overlays]
    shared += [f"--set={item}" for item in job.sets]
    _call("train.py", shared, job)
    if job.run.measured:
        more = ["--out", str(job.folder / "eval"), "--gallery-images", "12"]
        _call("eval.py", [*shared, *more], job)
    record.write_text(json.dumps({"config": job.record, "finished": True}) + "\n")


def _call(script: str, arguments: Sequence[str], job: Job) -> None:
    """Runs train.py or eval.py; asked to stop, it lets the script save its state first."""
    process = subprocess.Popen([sys.executable, str(_SCRIPTS / script), *arguments])
    asked: list[int] = []

    def stop(number: int, frame: Any) -> None:
        del frame
        asked.append(number)
        process.terminate()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        print("stopped on request; run the same command again to resume")
        raise SystemExit(0)
    if status:
        raise SystemExit(f"{script} of {job.run.name} seed {job.seed} ended with status {status}")


def _report(study: Study, jobs: Sequence[Job], workdir: Path) -> str:
    results = read_results(jobs)
    if not results:
        return ""
    summary = summarize(study, results)
    text = table(summary)
    (workdir / "results.json").write_text(json.dumps(summary, indent=1) + "\n")
    (workdir / "table.md").write_text(text)
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the arguments; returns the exit status."""
    parser = argparse.ArgumentParser(description="Run a study over seeds; run again to resume.")
    parser.add_argument("--study", required=True, type=Path, help="file with get_study()")
    parser.add_argument("--workdir", required=True, type=Path, help="folder of all its runs")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the study's own")
    parser.add_argument("--only", nargs="+", metavar="RUN", help="these runs, and what they need")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of all runs"
    )
    args = parser.parse_args(argv)
    return run_command(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
