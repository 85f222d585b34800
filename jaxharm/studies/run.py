"""Makes the runs of a study that are not finished, one after the other, and keeps its table.

Every run is a process of its own (`jaxharm train`, then `jaxharm eval`): a run that fails or is
killed leaves the others alone, and nothing of one run can reach into the next.
"""

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from jaxharm.config import Packing
from jaxharm.errors import InputError
from jaxharm.studies.ablation import Job, Study, read_results, summarize, table
from jaxharm.studies.packing import packed_commands, train_arguments
from jaxharm.studies.paired import paired_rows, paired_table
from jaxharm.studies.subsets import subset_table
from jaxharm.weights.same_run import differences

COMMAND = (sys.executable, "-m", "jaxharm")
_RECORD = "ablation.json"


def run_jobs(
    study: Study, jobs: Sequence[Job], workdir: Path, packing: Packing | None = None
) -> None:
    """Makes what is missing, and prints the table.

    Args:
        study: what is compared.
        jobs: its runs, as `plan` lists them.
        workdir: gets table.md and results.json, after every run.
        packing: trains first, all seeds of a run by one command; None: every run by its own.

    Raises:
        InputError: a folder holds another run than the one that belongs there.
    """
    finished = [_is_finished(job) for job in jobs]  # all of them first: a mix-up costs no run
    if packing is not None:
        _train_packed([job for job, done in zip(jobs, finished, strict=True) if not done], packing)
    for number, (job, done) in enumerate(zip(jobs, finished, strict=True), 1):
        label = f"[{number}/{len(jobs)}] {job.run.name} seed {job.seed}"
        print(f"{label}: {'finished before' if done else job.folder}", flush=True)
        if not done:
            _make(job, trained=packing is not None)
            _report(study, jobs, workdir)
    print(_report(study, jobs, workdir), end="")


def _is_finished(job: Job) -> bool:
    """Whether the job's folder holds this very run, complete."""
    file = job.folder / _RECORD
    if not file.is_file():
        return False
    before = json.loads(file.read_text())
    if before["config"] != job.record:
        key, change = next(differences(before["config"], job.record))
        raise InputError(
            f"{job.folder} holds another run: its {key} was {change.old!r} and is now "
            f"{change.new!r}; delete the folder or choose another --workdir"
        )
    return bool(before["finished"])


def _make(job: Job, *, trained: bool) -> None:
    _note(job, finished=False)
    shared, label = train_arguments(job), f"{job.run.name} seed {job.seed}"
    if not trained:
        _call("train", shared, label)
    if job.run.measured:
        more = ["--out", str(job.folder / "eval"), "--gallery-images", "12"]
        _call("eval", [*shared, *more], label)
    _note(job, finished=True)


def _train_packed(jobs: Sequence[Job], packing: Packing) -> None:
    for job in jobs:
        _note(job, finished=False)
    for label, arguments in packed_commands(jobs, packing):
        print(f"training {label}", flush=True)
        _call("train", arguments, label)


def _note(job: Job, *, finished: bool) -> None:
    """Writes beside the run which one it is, and whether it is complete."""
    job.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"config": job.record, "finished": finished}) + "\n"
    (job.folder / _RECORD).write_text(text)


def _call(command: str, arguments: Sequence[str], label: str) -> None:
    """Runs `jaxharm train` or `eval`; on a request to stop, lets it save its state first."""
    process = subprocess.Popen([*COMMAND, command, *arguments])
    requests: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        requests.append(number)
        process.terminate()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if requests:
        print("stopped on request; run the same command again to resume")
        raise SystemExit(0)
    if status:
        raise SystemExit(f"{command} of {label} ended with status {status}")


def _report(study: Study, jobs: Sequence[Job], workdir: Path) -> str:
    results = read_results(jobs)
    if not results:
        return ""
    summary = summarize(study, results)
    reference, columns = summary["reference"], summary["columns"]
    rows = paired_rows(_files(jobs), reference, columns)
    text = table(summary) + subset_table(study.rows, results, columns)
    text += paired_table(rows, reference, columns)
    everything = {**summary, "paired": rows}
    plain = json.dumps(everything, indent=1, default=dataclasses.asdict)
    (workdir / "results.json").write_text(plain + "\n")
    (workdir / "table.md").write_text(text)
    return text


def _files(jobs: Sequence[Job]) -> dict[str, dict[int, Path]]:
    """Run -> seed -> the measurements of every image, of the jobs that are finished."""
    found: dict[str, dict[int, Path]] = {}
    for job in jobs:
        file = job.folder / "eval" / "per_image.csv"
        if job.run.measured and file.is_file():
            found.setdefault(job.run.name, {})[job.seed] = file
    return found
