"""Checks a built data set: `python -m data_pipelines.verify NAME --data-dir DIR`."""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.building.images import FOREGROUND, ImageProblem, decode_levels, decode_rgb
from data_pipelines.building.record_format import Record, add_to_fingerprint, record_id
from data_pipelines.building.records import limited_size
from data_pipelines.reading import BuiltInfo, dataset_info, open_source
from jaxharm.csv_files import read_table
from jaxharm.errors import run_command
from jaxharm.progress import tracked

AREA_TOLERANCE = 0.005
_SHOWN = 50
_INDEX_COLUMNS = ("subset", "composite", "height", "width", "mask_area")


@dataclass(frozen=True)
class IndexRow:
    """A line of an index: a composite's native size and the sum of its mask / 255."""

    height: int
    width: int
    mask_area: float


Index = dict[tuple[str, str], IndexRow]


def verify(
    name: str,
    data_dir: str | os.PathLike | None = None,
    *,
    index: str | os.PathLike | None = None,
) -> list[str]:
    """Reads and decodes every record of a built data set and lists what is wrong.

    Checks that every record can be read, that every image decodes completely to the recorded size,
    that ids occur once, the shares of foreground, and the fingerprint of all bytes.

    Args:
        name, data_dir: as for `reading.open_source`.
        index: a CSV file (or .csv.gz) with the columns subset, composite, height, width,
            mask_area; the `test` split must hold the composites of its sub-datasets with these
            sizes and, within 0.5 %, these mask areas.

    Returns:
        One line per fault.

    Raises:
        MissingDatasetError: if the data set is not built.
        DatasetValidationError: if the index cannot be read.
    """
    try:
        info = dataset_info(name, data_dir)
    except MissingDatasetError:  # bad input, while a damaged data set is a finding
        raise
    except DatasetValidationError as error:
        return [str(error)]
    rows = read_index(Path(index)) if index else {}
    return list(_problems(info, data_dir, rows))


def _problems(info: BuiltInfo, data_dir: str | os.PathLike | None, rows: Index) -> Iterator[str]:
    digest = hashlib.sha256()
    seen: dict[tuple[str, str], str] = {}
    areas: Index = {}
    whole = True  # whether the fingerprint is over all records
    for split, count in info.splits.items():
        source = open_source(info.name, data_dir, split)
        for i in tracked(range(count), f"verifying {info.name}, {split}", count):
            try:
                record = source[i]
            except Exception as error:  # the reader's errors have no common type
                yield f"{split}[{i}]: the record cannot be read: {error.__cause__ or error}"
                whole = False
                continue
            add_to_fingerprint(digest, split, record)
            label = f"{split}[{i}] {record_id(record)}"
            first = seen.setdefault((record["subset"], record_id(record)), label)
            if first != label:
                yield f"{label}: the same id as {first}"
            if info.kind == "painterly":
                yield from (f"{label}: {text}" for text in _painterly_problems(record))
                continue
            try:
                mask = _checked_mask(record)
            except ImageProblem as problem:
                yield f"{label}: {problem}"
                continue
            yield from (f"{label}: {text}" for text in _record_problems(record, mask))
            # Kept instead of the masks, which would not fit into memory.
            if rows and split == "test":
                area = float(mask.sum(dtype=np.int64)) / 255
                areas[record["subset"], record_id(record)] = IndexRow(
                    mask.shape[0], mask.shape[1], area
                )
    if whole and digest.hexdigest() != info.fingerprint:
        yield "the fingerprint of the records differs from the one stored by the build"
    if rows:
        yield from _index_problems(rows, areas, int(info.metadata["max_side"]))


def _checked_mask(record: Record) -> np.ndarray:
    return decode_levels(Path("mask"), record["mask"])


def _record_problems(record: Record, mask: np.ndarray) -> Iterator[str]:
    size = (record["height"], record["width"])
    if mask.shape != size:
        yield f"mask is {mask.shape[1]}x{mask.shape[0]}, recorded {size[1]}x{size[0]}"
    yield from _image_problems(record, ("composite", "real", "background"))
    share = float((mask >= FOREGROUND).mean())
    # The recorded share is that of the native mask; a mask that was scaled differs a little.
    if abs(share - record["fg_ratio"]) > 0.02 or share in (0.0, 1.0):
        yield f"foreground ratio {share:.4f}, recorded {record['fg_ratio']:.4f}"


def _image_problems(record: Record, roles: Sequence[str]) -> Iterator[str]:
    size = (record["height"], record["width"])
    for role in roles:
        if role in record:
            try:
                shape = decode_rgb(Path(role), record[role]).shape[:2]
            except ImageProblem as problem:
                yield str(problem)
                continue
            if shape != size:
                yield f"{role} is {shape[1]}x{shape[0]}, recorded {size[1]}x{size[0]}"


def _painterly_problems(record: Record) -> Iterator[str]:
    """Faults of a record of a painterly set: a photograph with objects, or a painting."""
    yield from _image_problems(record, ("content", "style"))
    if ("content" in record) == ("style" in record):
        yield "must have either content (a photograph) or style (a painting)"
    if "content" not in record:
        return
    try:
        levels = decode_levels(Path("mask_levels"), record["mask_levels"])
    except (KeyError, ImageProblem) as problem:
        yield f"mask_levels cannot be read: {problem}"
        return
    size = (record["height"], record["width"])
    if levels.shape != size:
        yield f"mask_levels is {levels.shape[1]}x{levels.shape[0]}, recorded {size[1]}x{size[0]}"
    count, share = len(np.unique(levels[levels > 0])), float((levels > 0).mean())
    if count != record["levels"] or count == 0:
        yield f"has {count} objects, recorded {record['levels']}"
    if abs(share - record["fg_ratio"]) > 0.02:
        yield f"foreground ratio {share:.4f}, recorded {record['fg_ratio']:.4f}"


def read_index(path: Path) -> Index:
    """Reads an index file; keys are (subset, composite id).

    Raises:
        InputError: if it is not there, lacks a column or has something else than numbers.
    """
    found: Index = {}
    for line, row in read_table(path, _INDEX_COLUMNS):
        try:
            size = int(row["height"]), int(row["width"])
            found[row["subset"], os.path.splitext(row["composite"])[0]] = IndexRow(
                *size, float(row["mask_area"])
            )
        except ValueError as error:
            raise DatasetValidationError(f"index {path} line {line}: {error}") from error
    return found


def _index_problems(rows: Index, found: Index, max_side: int) -> Iterator[str]:
    subsets = {subset for subset, _ in found}
    if not subsets:
        yield "the index cannot be compared: the data set has no test split"
    for key, row in rows.items():
        if key[0] not in subsets:
            continue
        label = "/".join(key)
        ours = found.get(key)
        if ours is None:
            yield f"{label}: in the index but not in the test split"
            continue
        native = (row.height, row.width)
        expected = limited_size(native, max_side)
        if (ours.height, ours.width) != expected:
            yield (f"{label}: {ours.width}x{ours.height}, in the index {expected[1]}x{expected[0]}")
            continue
        wanted = row.mask_area / (row.height * row.width)
        share = ours.mask_area / (ours.height * ours.width)
        if abs(share - wanted) > AREA_TOLERANCE * wanted:
            yield f"{label}: mask covers {share:.4%}, in the index {wanted:.4%}"
    for key in found:
        if key not in rows:
            yield f"{'/'.join(key)}: in the test split but not in the index"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0 all right, 1 something is wrong, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.verify", description=__doc__)
    parser.add_argument("name", help="data set, as given to data_pipelines.build")
    parser.add_argument("--data-dir", help="default TFDS_DATA_DIR, then ~/tensorflow_datasets")
    parser.add_argument(
        "--index", help="CSV of sizes and mask areas to compare the test split with"
    )
    args = parser.parse_args(argv)
    return run_command(lambda: _verify(args))


def _verify(args: argparse.Namespace) -> int:
    problems = verify(args.name, args.data_dir, index=args.index)
    if problems:
        print("\n".join(problems[:_SHOWN]))
        if len(problems) > _SHOWN:
            print(f"and {len(problems) - _SHOWN} more")
        print(f"{args.name}: {len(problems)} problems; build the data set again")
        return 1
    info = dataset_info(args.name, args.data_dir)
    counts = ", ".join(f"{split} {count}" for split, count in info.splits.items())
    print(f"{info.name}: {counts} records, all sound; fingerprint {info.fingerprint[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
