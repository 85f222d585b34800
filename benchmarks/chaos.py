"""A fault campaign: runs that are killed, stopped and damaged must end as if nothing had happened.

    python benchmarks/chaos.py --config MODEL/demo --kills 60 --damages 25

A short run on the demo data is made once without disturbance. Then the same run is killed at random
moments (SIGKILL, SIGTERM, its data worker, one of two processes) and started again until it is
finished; files of a run that was stopped half way are damaged (bytes flipped in every kind of file);
its disk is full; a process hangs; one does not come. Every outcome must be the undisturbed one, bit
for bit (two processes: their own), or one sentence. It prints the table of outcomes and the goodput
of a run that was killed five times beside its time by the clock; status 1 where something else came.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

STEPS, HALF = 30, 15
SETTINGS = {
    "steps": STEPS,
    "checkpoint.every": 5,
    "eval.every": 10,
    "eval.protocol": "default_64",  # the size that the overlay smoke trains at: quick
    "log.every": 1,
}
KINDS = ("SIGKILL", "SIGTERM", "worker", "one of two")
_LOG = "metrics.jsonl"  # rows of text, without a digest
DAMAGED = (
    *("last/*/state/d/*", "last/*/state/manifest.ocdbt", "last/*/state/_METADATA"),
    *("last/*/state/ocdbt.process_0/d/*", "last/*/record/metadata", "last/*/_CHECKPOINT_METADATA"),
    *("best/*/state/d/*", "best/*/record/metadata", "weights/*", "run.json", _LOG),
    *("data/demo/*/*train*", "data/demo/*/dataset_info.json", "data/demo/*/features.json"),
)


class Campaign:
    """The runs of a campaign, all in one folder.

    Attributes:
        outcomes: (kind of fault, outcome) -> how often.
        bad: descriptions of outcomes that may not be.
    """

    def __init__(self, config: str, folder: Path, seed: int) -> None:
        self._config, self.folder, self.random = config, folder, random.Random(seed)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.bad: list[str] = []
        self._environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        self._environment["JAXHARM_CACHE"] = str(folder / "cache")
        self.data = folder / "data"
        build = ("data", "build", "demo", "--data-dir", str(self.data))
        subprocess.run([sys.executable, "-m", "jaxharm", *build], check=True, capture_output=True)

    def start(self, workdir: Path, *more: str, data: Path | None = None) -> subprocess.Popen[str]:
        """Starts the run, or goes on with it, as the first of a process group."""
        settings = {**SETTINGS, "data.data_dir": str(data or self.data)}
        command = [
            "train",
            "--config",
            self._config,
            "--overlay",
            "smoke",
            "--workdir",
            str(workdir),
        ]
        command += [f"--set={key}={value}" for key, value in settings.items()]
        return subprocess.Popen(
            [sys.executable, "-m", "jaxharm", *command, *more],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def pair(self, workdir: Path, *more: str) -> list[subprocess.Popen[str]]:
        """Starts the run in two processes."""
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            address = f"localhost:{probe.getsockname()[1]}"
        joined = ("--coordinator", address, "--num-processes", "2", "--start-limit", "45")
        joined = (*joined, "--process-id")
        return [self.start(workdir, *joined, str(number), *more) for number in range(2)]

    def note(self, fault: str, outcome: str, *, good: bool, told: str = "") -> None:
        """Counts an outcome."""
        self.outcomes[fault, outcome] += 1
        if not good:
            self.bad.append(f"{fault}: {outcome}: {told[-2000:]}")
        print(f"{fault}: {outcome}", flush=True)


def result(workdir: Path) -> str:
    """What must be equal: the hash of the weights, and the curve without what the clock decides."""
    weights = json.loads((workdir / "weights" / "manifest.json").read_text())["sha256"]
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    clock = ("images_per_second", "data_wait")
    return json.dumps([weights, [{k: v for k, v in r.items() if k not in clock} for r in rows]])


def weights(found: str) -> str:
    """Of a `result`, the hash of the weights."""
    return str(json.loads(found)[0])


def kill(campaign: Campaign, kind: str, workdir: Path, longest: float) -> tuple[bool, bool]:
    """Disturbs one session of a run; returns whether the run is finished, and was disturbed at all."""
    two = kind == "one of two"
    more = ("--set", "data.num_workers=1") if kind == "worker" else ()
    processes = campaign.pair(workdir) if two else [campaign.start(workdir, *more)]
    time.sleep(campaign.random.uniform(1, longest))
    victim = campaign.random.choice(processes)
    disturbed = victim.poll() is None
    if disturbed and kind == "worker":
        workers = [child for child in _children(victim.pid) if "spawn_main" in _command(child)]
        if workers:
            os.kill(campaign.random.choice(workers), signal.SIGKILL)
        else:
            victim.kill()
    elif disturbed:
        victim.send_signal(signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
    start, told = time.monotonic(), ""
    for process in processes:
        try:
            told += process.communicate(timeout=150)[0]
        except subprocess.TimeoutExpired:
            campaign.note(kind, "still there after 150 s", good=False)
            process.kill()
    took = time.monotonic() - start
    if two and took > 90:
        campaign.note(kind, f"the other ended after {took:.0f} s", good=False, told=told)
    if kind == "worker" and "Traceback" in told:
        campaign.note(kind, "a traceback", good=False, told=told)
    if kind == "SIGTERM" and processes[0].returncode not in (0, -signal.SIGTERM):
        campaign.note(kind, f"status {processes[0].returncode}", good=False, told=told)
    return "finished" in told, disturbed


def _children(process: int) -> list[int]:
    """Of all its threads."""
    found = [file.read_text() for file in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(child) for child in " ".join(found).split()]


def _command(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


def chains(campaign: Campaign, kind: str, count: int, expected: str, longest: float) -> None:
    """Kills and starts again, run after run, until there were enough kills."""
    kills = number = 0
    while kills < count:
        number += 1
        workdir = campaign.folder / f"{kind.replace(' ', '_')}-{number}"
        finished, own = False, 0
        while not finished and kills < count and own < 8:
            finished, disturbed = kill(campaign, kind, workdir, longest)
            kills, own = kills + disturbed, own + disturbed
        told = ""
        if not finished:
            for process in (
                campaign.pair(workdir) if kind == "one of two" else [campaign.start(workdir)]
            ):
                told += process.communicate()[0]
        same = result(workdir) == expected
        for _ in range(own):
            campaign.note(kind, "the same bits" if same else "OTHER NUMBERS", good=same, told=told)
        left = [
            path.name for path in workdir.rglob("*") if "tmp" in path.name or "partial" in path.name
        ]
        if left:
            campaign.note(kind, f"left behind: {left[0]}", good=False)


def damage(campaign: Campaign, pattern: str, half: Path, expected: str) -> None:
    """Flips a byte in a file of a run that was stopped half way, or of its data, and goes on."""
    workdir = campaign.folder / f"damaged-{time.time_ns()}"
    shutil.copytree(half, workdir)
    data = workdir / "data"
    shutil.copytree(campaign.data, data)
    files = sorted(path for path in workdir.glob(pattern) if path.is_file())
    file = campaign.random.choice(files)
    content = bytearray(file.read_bytes())
    place = campaign.random.randrange(len(content))
    content[place] ^= 1 << campaign.random.randrange(8)
    file.write_bytes(content)
    process = campaign.start(workdir, data=data)
    told = process.communicate()[0]
    if process.returncode == 2 and "Traceback" not in told and "error: " in told.splitlines()[-1]:
        campaign.note(pattern, "one sentence", good=True)
    elif process.returncode == 0 and result(workdir) == expected:
        campaign.note(pattern, "the same bits", good=True)
    elif pattern == _LOG and weights(result(workdir)) == weights(expected):
        campaign.note(pattern, "the same weights; a row of the log is lost or changed", good=True)
    else:
        campaign.note(pattern, f"status {process.returncode}", good=False, told=f"{file} {told}")
    shutil.rmtree(workdir)


def disk_full(campaign: Campaign, expected: str) -> None:
    """A small disk that is full, and then is not."""
    place = campaign.folder / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True
    )
    if mounted.returncode:
        print("disk full: not tried, since only root may make a small disk")
        return
    try:
        process = campaign.start(place / "run")
        told = process.communicate()[0]
        sentence = process.returncode == 2 and "Traceback" not in told
        campaign.note(
            "disk full", "one sentence" if sentence else told[-300:], good=sentence, told=told
        )
        subprocess.run(["mount", "-o", "remount,size=500m", place], check=True)
        told = campaign.start(place / "run").communicate()[0]
        same = result(place / "run") == expected
        campaign.note("disk enlarged", "the same bits" if same else "OTHER", good=same, told=told)
    finally:
        subprocess.run(["umount", place], check=False)


def hung(campaign: Campaign) -> None:
    """One of two processes stops moving: the other one must not wait for ever."""
    # The limit counts while a step compiles too, and a busy machine takes long for that.
    first, second = campaign.pair(campaign.folder / "hung", "--set", "log.hang_limit=300")
    file = campaign.folder / "hung" / "metrics.jsonl"
    while not file.is_file() or not file.read_text():
        time.sleep(0.2)
        if second.poll() is not None:
            told = second.communicate()[0]
            campaign.note("a process hangs", "ended before its first step", good=False, told=told)
            first.communicate()
            return
    second.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    told = first.communicate(timeout=900)[0]
    took = time.monotonic() - start
    second.kill()
    ended = first.returncode != 0 and took < 120
    campaign.note("a process hangs", f"the other ends after {took:.0f} s", good=ended, told=told)


def missing(campaign: Campaign) -> None:
    """A process that does not come is named."""
    joined = ("--coordinator", "localhost:9871", "--num-processes", "3", "--process-id", "0")
    process = campaign.start(campaign.folder / "missing", *joined, "--start-limit", "5")
    told = process.communicate(timeout=120)[0]
    good = process.returncode == 2 and "these did not come within 5 s: 1, 2" in told
    campaign.note(
        "a process is missing", "it is named" if good else told[-300:], good=good, told=told
    )


def clocked(campaign: Campaign) -> str:
    """The goodput of a run that is killed five times, and its time by the clock."""
    workdir, begin = campaign.folder / "clocked", time.monotonic()
    rows = workdir / "metrics.jsonl"
    for step in (4, 9, 14, 19, 24):
        process = campaign.start(workdir)
        while not (rows.is_file() and f'"step": {step}' in rows.read_text()):
            time.sleep(0.02)
        process.kill()
        process.wait()
    campaign.start(workdir).communicate()
    wall = time.monotonic() - begin
    found = json.loads((workdir / "run.json").read_text())["goodput"]
    return f"goodput of a run killed five times: {json.dumps(found)}; by the clock {wall:.1f} s"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the campaign; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, help="a run on the demo data")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of kills")
    parser.add_argument("--damages", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    campaign = Campaign(arguments.config, folder, arguments.seed)
    campaign.start(folder / "first").communicate()  # fills the cache of compiled programs
    begin = time.monotonic()
    campaign.start(folder / "undisturbed").communicate()
    longest, expected = time.monotonic() - begin, result(folder / "undisturbed")
    print(f"an undisturbed run takes {longest:.0f} s", flush=True)
    told = [process.communicate()[0] for process in campaign.pair(folder / "pair")]
    if not (folder / "pair" / "weights").is_dir():
        raise SystemExit("\n".join(["the undisturbed run of two processes failed:", *told]))
    two = result(folder / "pair")
    share = -(-arguments.kills // len(arguments.kinds))
    for kind in arguments.kinds:
        chains(campaign, kind, share, two if kind == "one of two" else expected, longest)
    half = folder / "half"
    process = campaign.start(half)
    rows = half / "metrics.jsonl"
    while not (rows.is_file() and f'"step": {HALF}' in rows.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    for number in range(arguments.damages):
        damage(campaign, DAMAGED[number % len(DAMAGED)], half, expected)
    disk_full(campaign, expected)
    hung(campaign)
    missing(campaign)
    print("| fault | outcome | times |\n|---|---|---|")
    for (fault, outcome), times in campaign.outcomes.items():
        print(f"| {fault} | {outcome} | {times} |")
    print(clocked(campaign))
    for line in campaign.bad:
        print(f"BAD {line}")
    shutil.rmtree(folder)
    return 1 if campaign.bad else 0


if __name__ == "__main__":
    sys.exit(main())
