"""Writes records of a built paired data set back to image files in iHarmony4 layout.

python -m data_pipelines.export demo --data-dir DATA --split test --count 3 --out DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.images import ImageProblem
from data_pipelines.building.record_format import Record
from data_pipelines.building.report import Report
from data_pipelines.reading import open_source
from jaxharm.errors import run_command
from jaxharm.progress import tracked

# Key of an encoded image -> its folder, and the key of the id that names its file.
_FILES = {
    "composite": ("composite_images", "composite_id"),
    "mask": ("masks", "mask_id"),
    "real": ("real_images", "real_id"),
    "background": ("bg", "mask_id"),
}


def export(name: str, *, data_dir: str | None, split: str, count: int, out: Path) -> list[str]:
    """Writes the stored bytes of `count` records, evenly spread over the split, to image files.

    Returns:
        The composites' file names, in the order of the list `<name>_<split>.txt` written beside them.

    Raises:
        DatasetValidationError: the data set is not built or holds no composites, count is below 1,
            or records that cannot be read or written: the others are written then.
    """
    source = open_source(name, data_dir, split)
    if source.info.kind != "paired":
        raise DatasetValidationError(
            f"data set {name!r} of kind {source.info.kind} holds no composites to export"
        )
    if count < 1:
        raise DatasetValidationError(f"--count {count} must be at least 1")
    total = len(source)
    report = Report(f"{name}, split {split}")
    names = []
    chosen = min(count, total)
    for position in tracked(range(chosen), f"exporting {name}, {split}", chosen):
        index = position * total // chosen
        with report.item(f"record {index}"):
            try:
                record = source[index]
            except DatasetValidationError as error:
                raise ImageProblem("unreadable_record", str(error)) from error
            names.append(_write_files(record, out))
    (out / f"{name.replace('/', '_')}_{split}.txt").write_text("".join(f"{n}\n" for n in names))
    report.raise_errors()
    return names


def _write_files(record: Record, out: Path) -> str:
    """Writes the files of a record; returns the composite's name."""
    composite = ""
    for key, (folder, id_key) in _FILES.items():
        if key not in record:
            continue
        # Stored bytes are those of the source file; its kind is known from the first bytes.
        suffix = ".png" if record[key][:4] == b"\x89PNG" else ".jpg"
        path = out / folder / (record[id_key] + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record[key])
        composite = path.name if key == "composite" else composite
    return composite


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.export", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--data-dir")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    return run_command(lambda: _export(args))


def _export(args: argparse.Namespace) -> None:
    try:
        names = export(
            args.name, data_dir=args.data_dir, split=args.split, count=args.count, out=args.out
        )
    except OSError as error:
        raise DatasetValidationError(f"--out {args.out} cannot be written: {error}") from error
    print(f"{len(names)} composites with masks and real images in {args.out}")


if __name__ == "__main__":
    sys.exit(main())
