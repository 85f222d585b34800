"""Runs in every kind of storage: trained, killed, gone on with elsewhere, evaluated, used.

    python benchmarks/storage_matrix.py --config MODEL/demo

For a path, file://, and every stand-in server that is installed (moto for s3://, gcp-storage-emulator
for gs://; with s3fs and gcsfs), the demo data are put there, a run of 20 steps is killed after its
first checkpoint is there, and the same command is given again without the copies of the first
machine. Then the run is evaluated, one picture is harmonized with its weights, and TensorBoard's file
is read. It prints a table and ends with status 1 unless every row has the weights of a run that
nothing disturbed, bit for bit.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec
import numpy as np
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

STEPS = 20
SETTINGS = {"steps": STEPS, "checkpoint.every": 5, "eval.every": 10, "log.every": 5}
COLUMNS = ("storage", "killed after", "resumed at", "weights", "evaluated", "harmonized", "events")
S3 = {"FSSPEC_S3_ENDPOINT_URL": "http://127.0.0.1:5055", "FSSPEC_S3_KEY": "k"}
GS = {
    "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9055",
    "FSSPEC_GCS_TOKEN": "anon",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks a service that the stand-in lacks
}


@contextlib.contextmanager
def server(command: Sequence[str]) -> Iterator[None]:
    """Runs a stand-in server while the block runs."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(5)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def storages(folder: Path) -> Iterator[dict[str, tuple[str, dict[str, str]]]]:
    """Kind of storage -> address of an empty folder there, and the environment that it needs."""
    found = {
        "path": (f"{folder}/plain", {}),
        "file://": (f"file://{folder}/file", {}),
    }
    installed = {n for n in ("moto", "s3fs", "gcsfs", "gcp_storage_emulator") if _there(n)}
    with contextlib.ExitStack() as stack:
        if {"moto", "s3fs"} <= installed:
            port = S3["FSSPEC_S3_ENDPOINT_URL"].rpartition(":")[2]
            stack.enter_context(server([sys.executable, "-m", "moto.server", "-p", port]))
            found["s3:// (moto)"] = ("s3://bucket/x", {**S3, "FSSPEC_S3_SECRET": "s"})
        if {"gcsfs", "gcp_storage_emulator"} <= installed:
            port = GS["STORAGE_EMULATOR_HOST"].rpartition(":")[2]
            emulator = "from gcp_storage_emulator.__main__ import main; main()"
            options = ("start", "--host", "127.0.0.1", "--port", port, "--in-memory")
            stack.enter_context(server([sys.executable, "-c", emulator, *options]))
            found["gs:// (emulator)"] = ("gs://bucket/x", GS)
        yield found


def _there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


class Row:
    """The commands of one row of the table."""

    def __init__(self, config: str, place: str, environment: dict[str, str], folder: Path) -> None:
        self._config = ("--config", config, "--overlay", "smoke")
        self.run, self.data, self._folder = f"{place}/run", f"{place}/data", folder
        cache = {"JAXHARM_CACHE": str(folder / "cache"), "JAX_PLATFORMS": "cpu"}
        self._environment = {**os.environ, **environment, **cache}
        self._settings = [f"--set={k}={v}" for k, v in SETTINGS.items()]
        self.machine()

    def machine(self) -> None:
        """What follows runs as on a machine that has no copies; compiled programs stay."""
        for kind in ("copies", "runs"):
            shutil.rmtree(self._folder / "cache" / kind, ignore_errors=True)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Starts `jaxharm ...`."""
        return subprocess.Popen(
            [sys.executable, "-m", "jaxharm", *command],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def train(self) -> subprocess.Popen[str]:
        """Starts the run, or goes on with it."""
        where = ("--workdir", self.run, "--set", f"data.data_dir={self.data}")
        return self.start("train", *self._config, *where, *self._settings)

    def kill(self) -> str:
        """Kills the run once a checkpoint is there; returns which one."""
        process, files = self.train(), self.files()
        while process.poll() is None:
            files.invalidate_cache()
            found = files.glob(f"{self._path(self.run)}/last/*/_CHECKPOINT_METADATA")
            steps = [str(name).split("/")[-2] for name in found]
            whole = [step for step in steps if step.isdigit()]  # others are being written
            if whole:
                process.kill()
                process.wait()
                return whole[-1]
            time.sleep(0.2)
        return f"not killed: {process.communicate()[0]}"

    def go_on(self) -> str:
        """Gives the command again; returns the step at which it went on."""
        said = self.train().communicate()[0]
        steps = [line.split()[-1] for line in said.splitlines() if line.startswith("resumed at")]
        return steps[0] if steps else said

    def evaluate(self) -> str:
        """Evaluates; returns the number of images."""
        out = self._folder / f"eval-{time.time_ns()}"
        where = ("--workdir", self.run, "--set", f"data.data_dir={self.data}", "--out", str(out))
        said = self.start("eval", *self._config, *where).communicate()[0]
        file = out / "metrics.json"
        return f"{json.loads(file.read_text())['All']['count']} images" if file.is_file() else said

    def harmonize(self) -> str:
        """Harmonizes a picture with the run's weights; returns its size."""
        random = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
        mask = np.zeros((300, 400), np.uint8)
        mask[100:200, 100:200] = 255
        names = [str(self._folder / name) for name in ("c.png", "m.png", "o.png")]
        Image.fromarray(random).save(names[0])
        Image.fromarray(mask).save(names[1])
        Path(names[2]).unlink(missing_ok=True)
        files = (*names[:2], "-o", names[2], "--checkpoint", self.run)
        said = self.start("harmonize", *files).communicate()[0]
        return "x".join(map(str, Image.open(names[2]).size)) if Path(names[2]).is_file() else said

    def events(self) -> str:
        """Reads TensorBoard's files; returns the last step that they have."""
        files, last = self.files(), 0
        files.invalidate_cache()
        for name in files.glob(f"{self._path(self.run)}/tensorboard/events*"):
            data = files.cat_file(name)
            while data:
                length = int.from_bytes(data[:8], "little")
                last = max(last, Event.FromString(data[12 : 12 + length]).step)
                data = data[16 + length :]
        return f"to step {last}"

    def weights(self) -> str:
        """The hash of the weights that the run left."""
        files = self.files()
        files.invalidate_cache()
        manifest = json.loads(files.cat_file(f"{self._path(self.run)}/weights/manifest.json"))
        return str(manifest["sha256"])

    def files(self) -> fsspec.AbstractFileSystem:
        """The file system of the place."""
        os.environ.update(
            {k: v for k, v in self._environment.items() if k in GS or k.startswith("FSSPEC")}
        )
        fsspec.config.set_conf_env(fsspec.config.conf)
        files, _ = fsspec.core.url_to_fs(self.run)
        return files

    def _path(self, place: str) -> str:
        return str(fsspec.core.url_to_fs(place)[1])


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, help="a run on the demo data")
    parser.add_argument("--only", default="", help="kinds of storage that contain this text")
    arguments = parser.parse_args()
    config = arguments.config
    folder = Path(tempfile.mkdtemp())
    bad = 0
    with storages(folder) as places:
        demo = folder / "demo"
        build = ("data", "build", "demo", "--data-dir", str(demo))
        subprocess.run([sys.executable, "-m", "jaxharm", *build], check=True, capture_output=True)
        undisturbed = Row(config, str(folder / "undisturbed"), {}, folder)
        shutil.copytree(demo, undisturbed.data)
        undisturbed.train().communicate()
        expected = undisturbed.weights()
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
        for kind, (place, environment) in places.items():
            if arguments.only not in kind:
                continue
            row = Row(config, place, environment, folder)
            files = row.files()
            if "://" in place and not place.startswith("file"):
                with contextlib.suppress(FileExistsError):
                    files.mkdir("bucket")
            files.put(f"{demo}/", f"{row._path(row.data)}/", recursive=True)
            killed = row.kill()
            row.machine()
            resumed = row.go_on()
            same = row.weights() == expected
            cells = [kind, killed, resumed, "the same bits" if same else "DIFFERENT"]
            cells += [row.evaluate(), row.harmonize(), row.events()]
            good = (
                same and killed.isdigit() and resumed.isdigit() and cells[-1].endswith(f" {STEPS}")
            )
            bad += not good
            print(f"| {' | '.join(cells)} |", flush=True)
    shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
