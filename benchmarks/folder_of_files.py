"""Harmonizes a folder of mixed and damaged files: is each accounted for, and what do checks cost?

    python benchmarks/folder_of_files.py --count 500

makes `--count` composites in every format that is read, with masks; every fifth has one of ten kinds
of damage. It runs `jaxharm harmonize --folder` and ends with status 1 unless report.csv names every
file once with what is expected of it, every result is there, no input changed, and a second run
keeps everything. Then it prints images per second for the sound pictures, against a plain loop that
reads, renders and writes them with the same overlap, and neither hashes nor reports. Both render
from kept parameters, without a network, so that the share of the checks is at its largest.
"""

import argparse
import csv
import hashlib
import json
import math
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from jaxharm.__main__ import main as jaxharm
from jaxharm.cli.harmonize import add_arguments, job_of
from jaxharm.cli.job import Loaded, Stopwatch, load_files, write_results
from jaxharm.cli.pairing import Pair, find_pairs
from jaxharm.images import MaskChoice, write_image

FORMATS = (
    *("png", "16.png", "apng", "tif", "16.tif", "jpg", "jpeg", "webp", "bmp", "gif", "avif"),
    *("jp2", "ppm", "tga", "qoi"),
)
PART = 50  # pictures of a folder where speed is measured
Damage = Callable[[Path, Path], None]  # of a composite and its mask


def _cut(composite: Path, mask: Path) -> None:
    composite.write_bytes(composite.read_bytes()[: composite.stat().st_size // 3])


def _cut_mask(composite: Path, mask: Path) -> None:
    _cut(mask, mask)


def _dead_link(composite: Path, mask: Path) -> None:
    composite.unlink()
    composite.symlink_to("nowhere.png")


def _empty_mask(composite: Path, mask: Path) -> None:
    Image.fromarray(np.zeros(np.array(Image.open(mask)).shape, np.uint8)).save(mask)


def _other_size(composite: Path, mask: Path) -> None:
    Image.fromarray(np.array(Image.open(mask))[1:]).save(mask)


def _float_samples(composite: Path, mask: Path) -> None:
    composite.unlink()
    pixels = np.zeros((*np.array(Image.open(mask)).shape, 3), np.float32)
    tifffile.imwrite(composite.with_suffix(".tif"), pixels, photometric="rgb")


DAMAGES: dict[str, Damage] = {
    "cut": _cut,
    "no bytes": lambda composite, mask: composite.write_bytes(b"") and None,
    "text": lambda composite, mask: composite.write_text("<html>not found</html>") and None,
    "cut mask": _cut_mask,
    "no mask": lambda composite, mask: mask.unlink(),
    "empty mask": _empty_mask,
    "mask of another size": _other_size,
    "link to nowhere": _dead_link,
    "format that is not read": lambda c, mask: c.rename(c.with_suffix(".heic")) and None,
    "floating point": _float_samples,
}


def make_folder(folder: Path, pictures: range, side: int, *, damaged: bool) -> dict[str, str]:
    """Writes the pictures of these numbers; returns the status that is expected of every file."""
    folder.mkdir(parents=True)
    expected = {}
    for index in pictures:
        # Moved on by one in every round, so that each damage meets each format.
        kind = FORMATS[(index + index // len(FORMATS)) % len(FORMATS)]
        composite = folder / f"shot {index}.{kind.removeprefix('16.')}"
        mask = folder / f"shot {index}_mask.png"
        _write_picture(composite, mask, index, side, deep=kind.startswith("16."))
        fault = damaged and index % 5 == 4
        if fault:
            list(DAMAGES.values())[index // 5 % len(DAMAGES)](composite, mask)
        for file in folder.glob(f"shot {index}[._]*"):
            expected[file.name] = "skipped" if file.stem.endswith("_mask") else "made"
            if fault and expected[file.name] == "made":
                expected[file.name] = "failed"
    if damaged:
        for name in ("notes.txt", ".DS_Store", "._shot 0.png", "of nobody_mask.png", "raw.cr2"):
            (folder / name).write_bytes(b"no picture")
            expected[name] = "skipped"
    return expected


def _write_picture(composite: Path, mask: Path, seed: int, side: int, *, deep: bool) -> None:
    random = np.random.default_rng(seed)
    height, width = (int(n) for n in random.integers(side // 2, side, 2, endpoint=True))
    small = random.integers(0, 256, (9, 9, 3), np.uint8)
    smooth = np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    pixels = np.clip(smooth + random.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    if deep:
        write_image(composite, pixels.astype(np.uint16) * 257)
    else:
        kinds = {".apng": "PNG", ".jp2": "JPEG2000"}
        Image.fromarray(pixels).save(composite, kinds.get(composite.suffix))
    shape = np.zeros((height, width), np.uint8)
    shape[height // 4 : height // 2, width // 4 : width // 2] = 255
    Image.fromarray(shape).save(mask)


def check(folder: Path, out: Path, look: Path, expected: dict[str, str]) -> list[str]:
    """What is wrong with two runs over the folder; one line for each fault."""
    before = _contents(folder)
    command = ["harmonize", "--folder", str(folder), "-o", str(out), "--params", str(look)]
    wrong = [] if jaxharm(command) == 2 else ["the exit status is not 2"]
    rows = _report(out)
    wrong += [f"{name}: {n} rows" for name, n in Counter(r["file"] for r in rows).items() if n > 1]
    found = {row["file"]: row["status"] for row in rows}
    for name in {**expected, **found}:
        if expected.get(name) != found.get(name):
            wrong.append(f"{name}: {found.get(name)} instead of {expected.get(name)}")
    wrong += [f"{row['file']}: no reason" for row in rows if row["status"] in ("failed", "skipped")
              and not row["reason"]]  # fmt: skip
    results = {row["result"] for row in rows} - {""}
    pictures = {file.name for file in out.iterdir() if file.suffix in (".png", ".tif")}
    wrong += [f"{name}: in the report or on disk only" for name in results ^ pictures]
    if _contents(folder) != before:
        wrong.append("an input changed")
    jaxharm(command)
    again = Counter(row["status"] for row in _report(out))
    if (again["made"], again["kept"]) != (0, len(results)):
        wrong.append(f"the second run made {again['made']} and kept {again['kept']}")
    return wrong


def _report(out: Path) -> list[dict[str, str]]:
    with (out / "report.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.iterdir() if file.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def plain_loop(folder: Path, out: Path, look: Path) -> None:
    """Reads, renders and writes every picture, with one image read ahead and one written behind."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    command = ["--folder", str(folder), "-o", str(out), "--params", str(look)]
    watch = Stopwatch()
    job = job_of(parser.parse_args(command), watch)
    out.mkdir()

    def read(pair: Pair) -> Loaded:
        return load_files(watch, pair.composite, pair.mask, pair.background, MaskChoice())

    pairs = find_pairs(folder, out).pairs
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming = reader.submit(read, pairs[0])
        writing = None
        for index, pair in enumerate(pairs):
            loaded = coming.result()
            if index + 1 < len(pairs):
                coming = reader.submit(read, pairs[index + 1])
            results = job.run(pair.output.stem, loaded.inputs)
            if writing is not None:
                writing.result()
            writing = writer.submit(write_results, watch, pair.output, results, loaded.tags)
        if writing is not None:
            writing.result()


def speeds(folders: Sequence[Path], place: Path, look: Path, repeats: int) -> tuple[float, float]:
    """Images per second of the command and of the plain loop, over all folders."""
    # Taken in turns folder by folder, in changing order: a machine's speed drifts by more than
    # what is measured.
    count, seconds = 0, Counter[str]()
    for folder in folders:
        pictures = len(find_pairs(folder, place / "none").pairs)
        for repeat in range(repeats + 1):
            for name in ("command", "plain")[:: -1 if repeat % 2 else 1]:
                out = place / f"{name}{repeat}"
                start = time.perf_counter()
                if name == "plain":
                    plain_loop(folder, out, look)
                else:
                    jaxharm(["harmonize", "--folder", str(folder), "-o", str(out),
                             "--params", str(look)])  # fmt: skip
                if repeat:  # the first time compiles
                    seconds[name] += time.perf_counter() - start
                shutil.rmtree(out)
            count += pictures if repeat else 0
    return count / seconds["command"], count / seconds["plain"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the folders, checks and measures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--side", type=int, default=1024, help="longest side of a picture")
    parser.add_argument("--repeats", type=int, default=1, help="of the measurement; 0: none")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        look = place / "look.json"
        curve = (np.linspace(0, 1, 32) ** 1.2).tolist()
        curves = dict.fromkeys(("red", "green", "blue"), curve)
        document = {"format": "jaxharm-parameters-1", "single_alpha": False, "curves": curves}
        look.write_text(json.dumps({**document, "shading": None}))
        expected = make_folder(place / "mixed", range(options.count), options.side, damaged=True)
        wrong = check(place / "mixed", place / "out", look, expected)
        print(f"{len(expected)} files, {len(DAMAGES)} kinds of damage, {len(wrong)} faults")
        print("\n".join(wrong))
        if options.repeats:
            folders = [place / f"sound{part}" for part in range(math.ceil(options.count / PART))]
            for part, folder in enumerate(folders):
                pictures = range(part * PART, min((part + 1) * PART, options.count))
                make_folder(folder, pictures, options.side, damaged=False)
            ours, plain = speeds(folders, place, look, options.repeats)
            print(f"{ours:.2f} images/s; the loop without checks {plain:.2f} ({ours / plain:.1%})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
