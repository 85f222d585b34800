"""Gives mutated files to every reader: nothing but a sentence or a result may come of them.

    python benchmarks/fuzz_readers.py --count 20000

makes `--count` pictures, masks, lists, tables and JSON files, each a sound one that was changed by
the seed `--seed` and its number alone, and reads them in processes of their own. A fault is an
exception that is not the reader's own, a death of the process, more than `--seconds`, or more than
`--mebibytes` of memory for one file. Ends with status 1 and the faults, each with its number, which
`--only` repeats and whose file `--keep` leaves in a folder.
"""

import argparse
import io
import json
import logging
import multiprocessing
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

import jaxharm
from data_pipelines.building.images import ImageProblem, decode_mask, decode_rgb, read_header
from data_pipelines.building.lists import lists_by_split, read_composites, read_ids
from data_pipelines.building.report import Report
from data_pipelines.datasets.coco import read_annotations
from data_pipelines.datasets.wikiart import read_paintings
from data_pipelines.making.ccharmony.chart import parse_colors, parse_place
from data_pipelines.samples.label_file import read_labels
from data_pipelines.verify import read_index
from jaxharm.errors import InputError
from jaxharm.images import read_image, read_mask
from jaxharm.studies.bradley_terry import read_votes
from jaxharm.training.compare import read_record
from jaxharm.weights.portable import load_weights

ALLOWED = (InputError, ImageProblem)
_BATCH = 100  # files that one process reads


class Source(NamedTuple):
    """A sound file, and what reads such files."""

    name: str
    data: bytes
    readers: tuple[Callable[[Path], object], ...]


def _picture(name: str, data: bytes) -> Source:
    readers = [read_image, read_mask]
    if Path(name).suffix in (".png", ".jpg"):
        readers += [_build_photo, _build_mask]
    return Source(name, data, tuple(readers))


def _build_photo(path: Path) -> object:
    header = read_header(path, is_mask=False, max_megapixels=200)
    return decode_rgb(path, path.read_bytes(), orientation=header.orientation)


def _build_mask(path: Path) -> object:
    read_header(path, is_mask=True, max_megapixels=200)
    return decode_mask(path, path.read_bytes())


def _list(path: Path) -> object:
    report = Report("")
    found = read_composites(path, report), read_ids(path, report), read_paintings(path, report)
    return found, lists_by_split(path.parent, ("fuzz",), report)


def _annotations(path: Path) -> object:
    found = read_annotations(path, Report(""))
    return [drawing.levels() for _, drawing in found]


def sources() -> list[Source]:
    """A sound file of every kind."""
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (23, 31, 3), np.uint8)
    alpha = np.dstack([rgb, rgb[..., :1]])
    exif = Image.Exif()
    exif[0x0112], exif[0x8298] = 6, "nobody"
    found = []
    for suffix, kind in (
        *((".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP"), (".bmp", "BMP"), (".gif", "GIF")),
        *((".tif", "TIFF"), (".avif", "AVIF"), (".jp2", "JPEG2000"), (".ppm", "PPM")),
        *((".tga", "TGA"), (".qoi", "QOI")),
    ):
        buffer = io.BytesIO()
        options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF") else {}
        Image.fromarray(rgb).save(buffer, kind, **options)
        found.append(_picture(f"a{suffix}", buffer.getvalue()))
    for mode in ("1", "L", "P", "LA", "I;16"):
        buffer = io.BytesIO()
        image = Image.fromarray(rgb[..., 0])
        image = (
            Image.fromarray(rgb[..., 0].astype(np.uint16))
            if mode == "I;16"
            else image.convert(mode)
        )
        image.save(buffer, "PNG", compress_level=0)
        found.append(_picture("m.png", buffer.getvalue()))
    for pixels, options in (
        (rgb.astype(np.uint16) * 257, {"compression": "lzw", "predictor": True}),
        (alpha.astype(np.uint16) * 257, {"extrasamples": ["unassalpha"], "tile": (16, 16)}),
        (np.moveaxis(rgb, -1, 0).astype(np.uint16), {"planarconfig": "separate"}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, photometric="rgb", **options)
        found.append(_picture("deep.tif", buffer.getvalue()))
    return found + _texts()


def _texts() -> list[Source]:
    """Sound lists, tables and JSON files."""
    curve = [0.1, 0.4, 0.7, 1.0]
    shading = {"height": 1, "width": 1, "data": "eJxjYGiwBwABAgCB"}
    look = {"format": "jaxharm-parameters-1", "single_alpha": False, "shading": shading}
    look["curves"] = {"red": curve, "green": curve, "blue": curve}
    polygon = [[2, 2, 20, 2, 20, 12, 2, 12]]
    runs = {"size": [23, 31], "counts": [100, 200, 413]}
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 23, "width": 31}],
        "annotations": [
            {"id": 1, "image_id": 1, "iscrowd": 0, "segmentation": polygon, "area": 180},
            {"id": 2, "image_id": 1, "iscrowd": 0, "segmentation": runs},
        ],
    }
    place = {"corners": [[0, 0], [9, 0], [9, 9], [0, 9]], "crop": [0, 0, 5, 5]}
    manifest = {"format": "jaxharm-weights-1", "model": "pih_light", "config": {}, "sha256": "0"}
    run = {"config": {"system": "toy"}, "dataset": {"a": {"fingerprint": "1"}}}
    votes = "image,method_a,method_b,winner\n1,A,B,A\n2,B,C,tie\n3,A,C,C\n"
    index = "subset,composite,height,width,mask_area\nA,a_1_1.jpg,23,31,99.5\n"
    names = "a_1_1.jpg\nb_2_1.png\nCubism/c.jpg,3\n"
    colors = "".join(f"{i},{2 * i},{3 * i}\n" for i in range(24))
    packed = [
        ("look.json", json.dumps(look), jaxharm.Parameters.load),
        ("instances.json", json.dumps(coco), _annotations),
        ("place.json", json.dumps(place), lambda p: parse_place(p.read_bytes(), "place")),
        ("manifest.json", json.dumps(manifest), lambda p: load_weights(p.parent)),
        ("run.json", json.dumps(run), read_record),
        ("votes.csv", votes, read_votes),
        ("labels.csv", "id,stage\na,1\nb,2\n", lambda p: read_labels(p, 4)),
        ("index.csv", index, read_index),
        ("colors.csv", colors, lambda p: parse_colors(p.read_bytes(), "colors")),
        ("fuzz_train.txt", names, _list),
    ]
    return [Source(name, text.encode(), (reader,)) for name, text, reader in packed]


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """A sound file with one to four changes."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 5))):
        if not changed:
            break
        place = int(random.integers(len(changed)))
        # Half of all changes near the beginning, where headers are.
        place = place % 64 if random.random() < 0.5 else place
        place = min(place, len(changed) - 1)
        length = int(random.integers(1, 9))
        match int(random.integers(8)):
            case 0:
                changed[place] ^= 1 << int(random.integers(8))
            case 1:
                changed[place : place + length] = random.bytes(length)
            case 2:
                del changed[place:]
            case 3:
                del changed[place : place + length]
            case 4:
                changed[place:place] = changed[place : place + 8 * length] * length
            case 5:
                extremes = (b"\xff", b"\0", b"\x7f", b"\x80")
                changed[place : place + length] = extremes[random.integers(4)] * length
            case 6:
                words = (b"null", b"-1", b"1e999", b'"', b"[" * 3000, b"{}", b"NaN", b",", b"\n")
                words += (
                    b"99999999999999999999",
                    b"..",
                    b"/",
                    b"\\",
                    b";",
                    b"\xff\xfe",
                    b"\r",
                    b"\t",
                )
                changed[place : place + length] = words[random.integers(len(words))]
            case _:
                other = int(random.integers(len(changed)))
                changed[place : place + length] = changed[other : other + length]
    return bytes(changed)


def _worker(numbers: Sequence[int], options: argparse.Namespace, pipe: Connection) -> None:
    """Reads the files of these numbers; sends each number before it, and what went wrong after."""
    warnings.simplefilter("ignore")
    logging.disable()
    known = sources()
    signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as name:
        for number in numbers:
            pipe.send((number, None))
            random = np.random.default_rng([options.seed, number])
            source = known[int(random.integers(len(known)))]
            folder = Path(options.keep or name)
            path = folder / (f"{number}_{source.name}" if options.keep else source.name)
            path.write_bytes(mutate(source.data, random))
            for reader in source.readers:
                fault = _try(reader, path, options)
                if fault:
                    pipe.send((number, f"{source.name}, {reader.__qualname__}: {fault}"))
            if not options.keep:
                path.unlink()


class _TooLongError(BaseException):
    """Not an Exception, which a reader might catch."""


def _too_long(number: int, frame: object) -> None:
    raise _TooLongError


def _try(reader: Callable[[Path], object], path: Path, options: argparse.Namespace) -> str:
    """What is wrong with how a reader takes a file; "" for a result or a sentence."""
    before = _peak(reset=True)
    signal.setitimer(signal.ITIMER_REAL, options.seconds)
    try:
        reader(path)
    except _TooLongError:
        return f"more than {options.seconds} s"
    except ALLOWED as error:
        if "\n" in str(error).strip():
            return f"several lines: {error}"
    except Exception:
        return traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    used = (_peak() - before) / 1024
    return f"{used:.0f} MiB of memory" if used > options.mebibytes else ""


def _peak(*, reset: bool = False) -> int:
    """KiB of memory that this process has at most had in use since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def faults(numbers: Sequence[int], options: argparse.Namespace) -> Iterator[tuple[int, str]]:
    """Reads all files, a process for each batch; yields number and fault."""
    context = multiprocessing.get_context("fork")
    left = list(numbers)
    while left:
        batch = left[:_BATCH]
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(batch, options, theirs))
        process.start()
        theirs.close()
        last = batch[0]
        try:
            while True:
                last, fault = ours.recv()
                if fault:
                    yield last, fault
        except EOFError:
            process.join()
        if process.exitcode:
            yield last, f"the process ended with status {process.exitcode}"
        left = left[batch.index(last) + 1 :] if process.exitcode else left[_BATCH:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 where there were faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mebibytes", type=float, default=256.0)
    parser.add_argument("--only", type=int, help="the number of one file")
    parser.add_argument("--keep", help="folder that gets the files")
    options = parser.parse_args(arguments)
    numbers = range(options.count) if options.only is None else [options.only]
    kinds: Counter[str] = Counter()
    for number, fault in faults(numbers, options):
        kinds[fault.splitlines()[-1][:120]] += 1
        print(f"file {number}: {fault}", flush=True)
    print(f"{len(numbers)} files, {sum(kinds.values())} faults")
    for kind, times in kinds.most_common():
        print(f"  {times} x {kind}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
