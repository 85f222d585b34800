"""Makes the runs of a study that are not finished, one after the other, and keeps its reports.

Every run is a process of its own (`jaxharm train`, then `jaxharm eval`): a run that fails or is
killed leaves the others alone, and nothing of one run can reach into the next.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from jaxharm.config import Packing
from jaxharm.errors import InputError
from jaxharm.images import write_whole
from jaxharm.studies.ablation import Job, Study
from jaxharm.studies.packing import packed_commands, train_arguments
from jaxharm.studies.report import write_reports
from jaxharm.weights.same_run import differences

COMMAND = (sys.executable, "-m", "jaxharm")
# Of every run, for the page: small pictures of images, the same ones of each run.
SHOWN = ("--gallery-images", "12", "--keep-images", "120")
_RECORD = "ablation.json"
_RANKS = ("JAX_PROCESS_ID", "SLURM_PROCID", "JOB_COMPLETION_INDEX")


class _StoppedError(Exception):
    """The run was asked to stop, and has saved its state."""


def run_jobs(
    study: Study, jobs: Sequence[Job], workdir: Path, packing: Packing | None = None
) -> None:
    """Makes what is missing, and prints the table.

    Args:
        study: what is compared.
        jobs: its runs, as `plan` lists them.
        workdir: gets the reports, after every run.
        packing: trains first, all seeds of a run by one command; None: every run by its own.

    Raises:
        InputError: a folder holds another run than the one that belongs there.
    """
    finished = [is_finished(job) for job in jobs]  # all of them first: a mix-up costs no run
    try:
        if packing is not None:
            missing = [job for job, done in zip(jobs, finished, strict=True) if not done]
            _train_packed(missing, packing)
        for job, done in zip(jobs, finished, strict=True):
            _tell(job, jobs, done)
            if not done:
                _make(job, trained=packing is not None)
                report(study, jobs, workdir)
    except _StoppedError:
        print("stopped on request; run the same command again to resume")
        raise SystemExit(0) from None
    print(report(study, jobs, workdir), end="")


def run_job(study: Study, jobs: Sequence[Job], number: int, workdir: Path) -> None:
    """Makes one job of a plan, unless it is finished; several may be at work at the same time.

    Args:
        study, jobs, workdir: as for `run_jobs`.
        number: of the job, from 1.

    Raises:
        InputError: as `run_jobs`; no such job; or one that it starts from is not finished.
        SystemExit: with a status that is not 0, if the run failed or was stopped before its end:
            what starts it must not take it for done.
    """
    if not 1 <= number <= len(jobs):
        raise InputError(f"--job {number}: the study has the jobs 1 to {len(jobs)}")
    job = jobs[number - 1]
    for needed in (jobs[n - 1] for n in job.needs):
        if not is_finished(needed):
            raise InputError(
                f"job {number} ({job.label}) starts from {needed.label}, which is not finished; make "
                f"that one first, with --job {needed.number}"
            )
    done = is_finished(job)
    _tell(job, jobs, done)
    if not done:
        try:
            _make(job, trained=False)
        except _StoppedError:
            raise SystemExit("stopped on request; run the same command again to resume") from None
        report(study, jobs, workdir)


def report(study: Study, jobs: Sequence[Job], workdir: Path) -> str:
    """Writes the reports of what is finished; returns the table, empty where nothing is."""
    finished = [job for job in jobs if is_finished(job)]
    if not (_first_process() and any(job.run.measured for job in finished)):
        return ""
    return write_reports(study, finished, workdir, planned=len(jobs))


def is_finished(job: Job) -> bool:
    """Whether the job's folder holds this very run, complete.

    Raises:
        InputError: it holds another run.
    """
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


def _tell(job: Job, jobs: Sequence[Job], done: bool) -> None:
    what = "finished before" if done else job.folder
    print(f"[{job.number}/{len(jobs)}] {job.label}: {what}", flush=True)


def _make(job: Job, *, trained: bool) -> None:
    _note(job, finished=False)
    shared = train_arguments(job)
    if not trained:
        _call("train", shared, job.label)
    if job.run.measured:
        _call("eval", [*shared, "--out", str(job.folder / "eval"), *SHOWN], job.label)
    _note(job, finished=True)


def _train_packed(jobs: Sequence[Job], packing: Packing) -> None:
    for job in jobs:
        _note(job, finished=False)
    for label, arguments in packed_commands(jobs, packing):
        print(f"training {label}", flush=True)
        _call("train", arguments, label)


def _note(job: Job, *, finished: bool) -> None:
    """Writes beside the run which one it is, and whether it is complete."""
    if _first_process():
        text = json.dumps({"config": job.record, "finished": finished}) + "\n"
        job.folder.mkdir(parents=True, exist_ok=True)
        write_whole(job.folder / _RECORD, text.encode())


def _first_process() -> bool:
    """Whether this is the only process of a run, or the first of several that share it."""
    return all(int(os.environ.get(name) or 0) == 0 for name in _RANKS)


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
        raise _StoppedError
    if status:
        raise SystemExit(f"{command} of {label} ended with status {status}")
