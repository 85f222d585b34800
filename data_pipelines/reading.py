"""Opens built data sets by name, with random access to their undecoded records.

A data set is stored in <data_dir>/<name>/[<config>/]<version>/ as array_record files. Reading needs
its name and the data directory only, not the code of its builder.
"""

import json
import os
import shlex
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.building.items import EVALUATED
from data_pipelines.building.record_format import ABSENT, ENCODED_KEYS
from data_pipelines.building.report import reason_of
from jaxharm.storage import is_bucket, local_copy, path_of

DEFAULT_CONFIG = {"iharmony4": "all", "artist_retouched": "both"}
_BUILDERS = ("iharmony4", "ffhqh", "artist_retouched", "realhm", "ccharmony", "coco_wikiart")
_INFO_FILE = "dataset_info.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclass(frozen=True)
class BuiltInfo:
    """A built data set's description, read from its folder without opening its records.

    Attributes:
        name: `<name>` or `<name>/<config>`.
        path: the version directory.
        kind: "paired" (composite, mask, real), "photos" (photograph and mask only) or "painterly"
            (photographs with objects, and paintings).
        splits: split -> number of records.
        fingerprint: hash of ids and image bytes of all records in order; a training run stores it.
        metadata: what the builder stored: options, excluded items, warnings, license, `held_out`.
    """

    name: str
    path: Path
    kind: Literal["paired", "photos", "painterly"]
    splits: dict[str, int]
    fingerprint: str
    metadata: dict[str, Any]

    @property
    def evaluated(self) -> str | None:
        """The split that a run on this set is evaluated on, unless told otherwise."""
        return next((split for split in EVALUATED if split in self.splits), None)


class RecordSource:
    """The undecoded records of one split; picklable, safe to read from several threads.

    A record is a dict. Encoded images are bytes: `real`, `mask`, for a paired set `composite`, and
    `background` if the set has plates. The rest are str ids (`composite_id`, `mask_id`, `real_id`,
    or only `photo_id`), str `subset`, int `height` and `width`, float `fg_ratio` (share of
    foreground) and bool `mask_is_binary`.

    In a painterly set, a photograph has bytes `content` and `mask_levels` (every object has a gray
    level of its own above 0) and int `levels`, the number of objects; a painting has bytes `style`.
    """

    def __init__(self, info: BuiltInfo, split: str) -> None:
        self.info = info
        self.split = split
        self._lock = threading.Lock()
        self._source: Any = None
        self._subsets: list[str] = []

    def __len__(self) -> int:
        return len(self._open())

    def __getitem__(self, index: int) -> dict[str, Any]:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"record {index} of {size}")
        try:
            record = self._open()[index % size]
        # The reader's errors have no common type, and name no file.
        except Exception as error:
            raise self._damaged(self._file_of(index % size), error) from error
        present = {key: value for key, value in record.items() if value != ABSENT}
        return {key: self._plain(key, value) for key, value in present.items()}

    def __repr__(self) -> str:
        return f"RecordSource({self.info.name!r}, split={self.split!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"info": self.info, "split": self.split}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _open(self) -> Any:
        """The reader; opened at first use, because every worker process needs one of its own."""
        if self._source is None:
            # Checked again inside the lock: another thread may have opened it in between.
            with self._lock:
                if self._source is None:
                    try:
                        self._source = self._reader()
                    except Exception as error:
                        raise self._damaged(self.info.path, error) from error
        return self._source

    def _reader(self) -> Any:
        import tensorflow_datasets as tfds

        for file, _ in self._files():
            if not file.is_file():
                raise self._damaged(file, FileNotFoundError("it is not there"))
        for file, length in self._files():
            self._check_length(file, length)
        builder = tfds.builder_from_directory(self.info.path)
        features = builder.info.features
        self._subsets = features["subset"].names
        undecoded = {key: tfds.decode.SkipDecoding() for key in ENCODED_KEYS if key in features}
        return builder.as_data_source(split=self.split, decoders=undecoded)

    def _files(self) -> list[tuple[Path, int]]:
        """The files of the split in order, and the number of records in each."""
        stored = json.loads((self.info.path / _INFO_FILE).read_text())
        splits = {split["name"]: split for split in stored["splits"]}
        found = []
        for name in self.split.split("+"):
            lengths = splits[name]["shardLengths"]
            for shard, length in enumerate(lengths):
                file = (
                    splits[name]
                    .get("filepathTemplate", _TEMPLATE)
                    .format(
                        DATASET=stored["name"],
                        SPLIT=name,
                        FILEFORMAT=stored["fileFormat"],
                        SHARD_X_OF_Y=f"{shard:05d}-of-{len(lengths):05d}",
                    )
                )
                found.append((self.info.path / file, int(length)))
        return found

    def _check_length(self, file: Path, length: int) -> None:
        """Or a wrong number in the description would leave records out without a word."""
        from array_record.python.array_record_module import ArrayRecordReader

        try:
            reader = ArrayRecordReader(str(file))
            count = reader.num_records()
            reader.close()
        except Exception as error:  # of no common type, like those of reading
            raise self._damaged(file, error) from error
        if count != length:
            wrong = ValueError(f"{file.name} has {count} records, not {length}")
            raise self._damaged(self.info.path / _INFO_FILE, wrong)

    def _file_of(self, index: int) -> Path:
        """The file that holds a record; the folder where that cannot be known."""
        try:
            for file, length in self._files():
                if index < length:
                    return file
                index -= length
        except (OSError, ValueError, LookupError, TypeError):
            pass
        return self.info.path

    def _damaged(self, file: Path, error: Exception) -> Exception:
        """What to raise for an error of the reader: which file of which data set, and what to do."""
        if isinstance(error, DatasetValidationError):
            return error
        parts = self.info.name.split("/")
        root = next(p.parent for p in self.info.path.parents if p.name == parts[0])
        return DatasetValidationError(
            f"{file} of data set {self.info.name!r} is damaged or cut off or missing "
            f"({reason_of(error)}): python -m data_pipelines.verify {self.info.name} --data-dir "
            f"{shlex.quote(str(root))} lists what is lost; build it again: "
            f"{_build_command(parts, root)}"
        )

    def _plain(self, key: str, value: Any) -> Any:
        if key in ENCODED_KEYS:
            return value
        if key == "subset":
            return self._subsets[int(value)]
        if key.endswith("_id"):
            return value.decode()
        if key == "fg_ratio":
            return float(value)
        return bool(value) if key == "mask_is_binary" else int(value)


class SkippingSource:
    """A source whose records that cannot be read are replaced by the ones that follow them.

    Attributes:
        info: of the source.
    """

    def __init__(self, source: RecordSource, limit: int) -> None:
        """`limit`: how many records may be replaced."""
        self._source, self._limit, self.info = source, limit, source.info
        self._bad: set[int] = set()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = index
        while True:
            try:
                return self._source[number]
            except DatasetValidationError as error:
                if number not in self._bad:
                    self._bad.add(number)
                    if len(self._bad) > min(self._limit, len(self) - 1):
                        raise
                    warnings.warn(
                        f"{error}; record {number} is skipped and the next one taken instead "
                        f"({len(self._bad)} of at most {self._limit})",
                        stacklevel=2,
                    )
                number = (number + 1) % len(self)


def resolve_data_dir(data_dir: str | os.PathLike | None) -> Path:
    """The directory of built data sets: the argument, TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Raises:
        InputError: it is in a bucket; data sets there are read, by `built_path`, and not written.
    """
    return path_of(_place(data_dir))


def located(data_dir: str | os.PathLike | None) -> str:
    """The same directory as an absolute path, or as the address of a bucket."""
    place = _place(data_dir)
    return place if is_bucket(place) else str(path_of(place).absolute())


def _place(data_dir: str | os.PathLike | None) -> str:
    return str(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def _root(data_dir: str | os.PathLike | None, name: str = "") -> Path:
    """As `resolve_data_dir`; of a bucket, a copy with the data set `name` and what there is beside."""

    def needed(names: list[str]) -> list[str]:
        return [n for n in names if n.endswith(_INFO_FILE) or (name and n.startswith(f"{name}/"))]

    return local_copy(_place(data_dir), needed)


def built_path(name: str, data_dir: str | os.PathLike | None = None) -> Path:
    """Finds the newest version directory of a built data set.

    Args:
        name: `<name>` or `<name>/<config>`; iharmony4 alone means iharmony4/all,
            artist_retouched alone artist_retouched/both.
        data_dir: see `resolve_data_dir`.

    Raises:
        MissingDatasetError: if there is none; names the missing folder and the command to build it.
    """
    parts = name.split("/")
    if not 1 <= len(parts) <= 2 or not all(part.isidentifier() for part in parts):
        raise DatasetValidationError(
            f"data set name {name!r} is not of the form <name> or <name>/<config>, both of "
            f"letters, digits and underscores"
        )
    if len(parts) == 1 and name in DEFAULT_CONFIG:
        parts.append(DEFAULT_CONFIG[name])
    root = _root(data_dir, "/".join(parts))
    folder = root.joinpath(*parts)
    versions = sorted(
        (path.parent for path in folder.glob(f"[0-9]*.[0-9]*.[0-9]*/{_INFO_FILE}")),
        # As numbers, since as text 1.10.0 comes before 1.9.0.
        key=lambda path: [int(number) for number in path.name.split(".")],
    )
    if not versions:
        available = list_built(data_dir)
        raise MissingDatasetError(
            f"data set {'/'.join(parts)!r} is not built: no {folder}{os.sep}<version>{os.sep}"
            f"{_INFO_FILE} (data sets in {root}: {', '.join(available) or 'none'}); build it with: "
            f"{_build_command(parts, root)}"
        )
    return versions[-1]


def list_built(data_dir: str | os.PathLike | None = None) -> list[str]:
    """Lists the names (`<name>` or `<name>/<config>`) of all data sets in a data directory."""
    root = _root(data_dir)
    found = [*root.glob(f"*/[0-9]*/{_INFO_FILE}"), *root.glob(f"*/*/[0-9]*/{_INFO_FILE}")]
    names = {path.parent.parent.relative_to(root).as_posix() for path in found}
    # TFDS writes into a folder <version>.incomplete<random>; hidden folders are builds under way.
    return sorted(name for name in names if ".incomplete" not in name and name[0] != ".")


def dataset_info(name: str, data_dir: str | os.PathLike | None = None) -> BuiltInfo:
    """Reads the splits, counts, kind and fingerprint of a built data set.

    Raises:
        MissingDatasetError: if it is not built.
        DatasetValidationError: if its folder was not written by `data_pipelines.build`.
    """
    path = built_path(name, data_dir)
    try:
        stored = json.loads((path / _INFO_FILE).read_text())
        metadata = json.loads((path / "metadata.json").read_text())
        splits = {
            split["name"]: sum(int(length) for length in split["shardLengths"])
            for split in stored["splits"]
        }
        return BuiltInfo(name, path, metadata["kind"], splits, metadata["fingerprint"], metadata)
    # Whatever stands there instead of what a build writes.
    except Exception as error:
        raise DatasetValidationError(
            f"{path} was not written by data_pipelines.build or is damaged ({error!r}); delete "
            f"it and build it again"
        ) from error


def open_source(
    name: str, data_dir: str | os.PathLike | None = None, split: str = "train"
) -> RecordSource:
    """Opens a split of a built data set for random access to its undecoded records.

    Args:
        name: `<name>` or `<name>/<config>`, as given to `data_pipelines.build`.
        data_dir: directory of built data sets; default TFDS_DATA_DIR, then ~/tensorflow_datasets.
        split: a split's name, or several joined by "+" (`train+validation`).

    Returns:
        A picklable `RecordSource` with `len()` and `[index]`, in the order of the lists.

    Raises:
        MissingDatasetError: if the data set is not built.
        DatasetValidationError: if it has no such split.
    """
    info = dataset_info(name, data_dir)
    unknown = [part for part in split.split("+") if part not in info.splits]
    if unknown:
        raise DatasetValidationError(
            f"data set {name!r} at {info.path} has no split {unknown[0]!r}; it has "
            f"{', '.join(f'{part} ({count})' for part, count in info.splits.items())}"
        )
    return RecordSource(info, split)


def _build_command(parts: list[str], root: Path) -> str:
    command, data_dir = "python -m data_pipelines.build", shlex.quote(str(root))
    if parts[0] == "demo":
        return f"{command} demo --data-dir {data_dir}"
    if parts[0] in _BUILDERS:
        return f"{command} {'/'.join(parts)} --manual-dir DIR --data-dir {data_dir}"
    return f"{command} folder --name {parts[0]} --manual-dir DIR --data-dir {data_dir}"
