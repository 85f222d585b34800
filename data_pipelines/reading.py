"""Opens built data sets by name: random access to undecoded records.

A data set lies in <data_dir>/<name>/[<config>/]<version>/ as array_record files. Only its name and
the data directory are needed to read it; the builder's code is not.
"""

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.building.record_format import ABSENT, ENCODED_KEYS

DEFAULT_CONFIG = {"iharmony4": "all", "artist_retouched": "both"}
_BUILDERS = ("iharmony4", "ffhqh", "artist_retouched", "realhm", "ccharmony", "coco_wikiart")
_INFO_FILE = "dataset_info.json"


@dataclass(frozen=True)
class BuiltInfo:
    """What is known of a built data set without reading its records.

    Attributes:
        kind: "paired" (composite, mask, real), "photos" (photograph and mask only) or "painterly"
            (photographs with objects, and paintings).
        fingerprint: hash of ids and image bytes of all records in order, for a run's record.
        metadata: what the builder noted: source, options, skipped items, licenses, `held_out`.
    """

    name: str
    path: Path
    kind: Literal["paired", "photos", "painterly"]
    splits: dict[str, int]
    fingerprint: str
    metadata: dict[str, Any]


class RecordSource:
    """The undecoded records of one split; picklable, safe to read from several threads.

    Every record is a dict with bytes `real`, `mask` and, for a paired set, `composite` (the
    encoded files), `background` where the set has plates, str ids (`composite_id`, `mask_id`, `real_id`, or `photo_id`), str `subset`,
    int `height` and `width`, float `fg_ratio` and bool `mask_is_binary`.

    A painterly set has photographs, with bytes `content` and `mask_levels` (every object has its
    own gray level above 0) and int `levels`, their number, and paintings, with bytes `style`.
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
        record = self._open()[index % size]
        present = {key: value for key, value in record.items() if value != ABSENT}
        return {key: self._plain(key, value) for key, value in present.items()}

    def __repr__(self) -> str:
        return f"RecordSource({self.info.name!r}, split={self.split!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"info": self.info, "split": self.split}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _open(self) -> Any:
        """The reader, opened at the first use: a worker process opens its own."""
        if self._source is None:
            with self._lock:
                if self._source is None:
                    self._source = self._reader()
        return self._source

    def _reader(self) -> Any:
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(self.info.path)
        features = builder.info.features
        self._subsets = features["subset"].names
        undecoded = {key: tfds.decode.SkipDecoding() for key in ENCODED_KEYS if key in features}
        return builder.as_data_source(split=self.split, decoders=undecoded)

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


def resolve_data_dir(data_dir: str | os.PathLike | None) -> Path:
    """The directory of built data sets: the argument, TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def built_path(name: str, data_dir: str | os.PathLike | None = None) -> Path:
    """The version directory of a built data set.

    Args:
        name: `<name>` or `<name>/<config>`; iharmony4 alone means iharmony4/all,
            artist_retouched alone artist_retouched/both.
        data_dir: see `resolve_data_dir`.

    Raises:
        MissingDatasetError: if it is not there; says what was looked for and how to build it.
    """
    root = resolve_data_dir(data_dir)
    parts = name.split("/")
    if not 1 <= len(parts) <= 2 or not all(part.isidentifier() for part in parts):
        raise DatasetValidationError(
            f"data set name {name!r} is not of the form <name> or <name>/<config>, both of "
            f"letters, digits and underscores"
        )
    if len(parts) == 1 and name in DEFAULT_CONFIG:
        parts.append(DEFAULT_CONFIG[name])
    folder = root.joinpath(*parts)
    versions = sorted(
        (path.parent for path in folder.glob(f"[0-9]*.[0-9]*.[0-9]*/{_INFO_FILE}")),
        key=lambda path: [int(number) for number in path.name.split(".")],
    )
    if not versions:
        there = list_built(root)
        raise MissingDatasetError(
            f"data set {'/'.join(parts)!r} is not built: no {folder}{os.sep}<version>{os.sep}"
            f"{_INFO_FILE} (built there: {', '.join(there) or 'nothing'}); build it with: "
            f"{_build_command(parts, root)}"
        )
    return versions[-1]


def list_built(data_dir: str | os.PathLike | None = None) -> list[str]:
    """The names (`<name>` or `<name>/<config>`) of all data sets built in a data directory."""
    root = resolve_data_dir(data_dir)
    found = [*root.glob(f"*/[0-9]*/{_INFO_FILE}"), *root.glob(f"*/*/[0-9]*/{_INFO_FILE}")]
    names = {path.parent.parent.relative_to(root).as_posix() for path in found}
    return sorted(name for name in names if ".incomplete" not in name and name[0] != ".")


def dataset_info(name: str, data_dir: str | os.PathLike | None = None) -> BuiltInfo:
    """Splits, counts, kind and fingerprint of a built data set.

    Raises:
        MissingDatasetError: if it is not built.
        DatasetValidationError: if what lies there was not written by `data_pipelines.build`.
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
    except (OSError, ValueError, KeyError) as error:
        raise DatasetValidationError(
            f"{path} was not written by data_pipelines.build or is damaged ({error!r}); delete "
            f"it and build it again"
        ) from error


def open_source(
    name: str, data_dir: str | os.PathLike | None = None, split: str = "train"
) -> RecordSource:
    """Random access to the undecoded records of a built data set.

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
    command = "python -m data_pipelines.build"
    if parts[0] == "demo":
        return f"{command} demo --data-dir {root}"
    if parts[0] in _BUILDERS:
        return f"{command} {'/'.join(parts)} --manual-dir DIR --data-dir {root}"
    return f"{command} folder --name {parts[0]} --manual-dir DIR --data-dir {root}"
