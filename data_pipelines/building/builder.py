"""The TFDS builder that all data sets share: scan a tree, check it, write its records.

Records are written shard by shard in the order of the lists, in one process and without TensorFlow,
because images stay encoded bytes. TFDS writes into a temporary folder and renames it at the end, so
a build that was stopped leaves no incomplete data set.
"""

import abc
import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_pipelines.building.features import record_features
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.items import Item, Kind, Tree
from data_pipelines.building.record_format import add_to_fingerprint
from data_pipelines.building.records import Limits, RecordLoader
from data_pipelines.building.report import OnError, Report, logger
from data_pipelines.building.scanning import scan_checked
from jaxharm.progress import progress

# TFDS holds the encoded records of one shard in memory while it writes them.
SHARD_BYTES = 256 * 2**20
_PROGRESS_SECONDS = 30.0
Examples = Iterator[tuple[str, dict[str, Any]]]


class TreeBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base class of all builders: scans a tree, checks all of it, writes the records.

    Subclasses set `kind` and `license`, define `scan` and, if needed, `subsets`. `report` can be
    read after a build.

    Args:
        max_side: longest side of stored images (0: native). Larger photographs are scaled with
            antialiased bilinear filtering and stored as JPEG 95, masks are made binary again.
        on_error: "raise" fails if there are unusable items (and names all), "skip" excludes those
            that may be skipped.
        max_megapixels: larger files are refused.
        follow_links: whether links may lead out of the data set's folder.
        plates: whether records have a `background`: TFDS fixes the features of a builder when it is
            made, before the tree is scanned.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    kind: ClassVar[Kind] = "paired"
    soft_masks: ClassVar[bool] = False  # see RecordLoader
    always_plates: ClassVar[bool] = False  # whether the layout requires background plates
    # Nothing is downloaded. Unless this is None, TFDS looks for checksum files beside the code, and
    # for that imports a package (importlib_resources) that it does not declare.
    url_infos: ClassVar = None
    license: ClassVar[str] = "unknown: see where you got the files from"

    def __init__(
        self,
        *,
        max_side: int = 0,
        on_error: OnError = "raise",
        max_megapixels: float = 200.0,
        follow_links: bool = False,
        plates: bool = False,
        **kwargs: Any,
    ) -> None:
        self._plates = plates or self.always_plates
        # array_record has random access to records and is read without TensorFlow.
        kwargs.setdefault("file_format", "array_record")
        self._limits = Limits(max_side, max_megapixels)
        self._on_error: OnError = on_error
        self._follow_links = follow_links
        self.report = Report("", on_error=on_error)
        self._checked: dict[Path, Tree] = {}
        super().__init__(**kwargs)

    @property
    def subsets(self) -> tuple[str, ...]:
        """The possible values of a record's `subset`."""
        return (self.name,)

    @abc.abstractmethod
    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """Lists the items of all splits; what is missing or wrong goes to `report`."""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(self.__doc__ or "").strip(),
            features=record_features(self.kind, self.subsets, plates=self._plates),
            metadata=tfds.core.MetadataDict(),
            license=self.license,
            disable_shuffling=True,  # records keep the order of the lists
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        # Metadata set after the base class has written the records are saved too: TFDS writes
        # metadata.json when this method returns. An error raised here discards the whole build.
        with contextlib.ExitStack() as self._shown:
            super()._download_and_prepare(dl_manager, download_config)
        self.report.raise_errors()
        self.report.log()
        self.info.metadata.update(
            {
                "fingerprint": self._hash.hexdigest(),
                "skipped": self.report.skipped,
                "warnings": self.report.warnings,
            }
        )

    def _shard_iterators_per_split(
        self, dl_manager: Any
    ) -> Mapping[str, Sequence[Callable[[], Examples]]]:
        source_dir = self._source_dir(dl_manager)
        tree = self.checked_tree(source_dir)
        self._hash = hashlib.sha256()
        self._loader = self._record_loader()
        total = sum(len(items) for items in tree.splits.values())
        self._advance = self._shown.enter_context(progress(f"building {self.name}", total))
        self._log = _Log(total)
        self.info.metadata.update(
            {
                "kind": self.kind,
                "builder": type(self).builder_name(),
                "max_side": self._limits.max_side,
                "on_error": self._on_error,
                "license": self.license,
                "held_out": tree.held_out,
                "signature": self.signature(source_dir),
            }
        )
        return {
            split: [
                functools.partial(self._examples, split, shard) for shard in self._shards(items)
            ]
            for split, items in tree.splits.items()
        }

    def _record_loader(self) -> RecordLoader:
        return RecordLoader(self.report, self._limits, soft_masks=self.soft_masks)

    def lacks_plates(self, source_dir: Path) -> bool:
        """Whether the tree has background plates that this builder would not store."""
        splits = self.checked_tree(source_dir).splits.values()
        return not self._plates and any(item.background for items in splits for item in items)

    @classmethod
    def builder_name(cls) -> str:
        """The DATASET argument of the command: `folder` for a data set with a name of its own."""
        return str(cls.name)

    def _source_dir(self, dl_manager: Any) -> Path:
        return Path(dl_manager.manual_dir)

    def checked_tree(self, source_dir: Path) -> Tree:
        """Scans a tree and checks its lists, files and headers; the result is remembered.

        Returns:
            The usable items; splits without any are dropped.

        Raises:
            DatasetValidationError: lists all faults.
        """
        if source_dir not in self._checked:
            self.report = Report(
                f"{self.name} in {source_dir}",
                on_error=self._on_error,
                follow_links=self._follow_links,
            )
            tree = scan_checked(self.scan, source_dir, self.report, self._limits)
            self.report.raise_errors()
            if not tree.splits:
                raise DatasetValidationError(f"{self.report.where} has no usable item")
            self._checked[source_dir] = tree
        return self._checked[source_dir]

    def signature(self, source_dir: Path) -> str:
        """A hash of everything that a build depends on: items, file sizes and times, options."""
        digest = hashlib.sha256(repr((self._limits, self._on_error)).encode())
        for split, items in self.checked_tree(source_dir).splits.items():
            for item in items:
                digest.update(f"{split}\0{item}\0".encode())
                for path in item.files.values():
                    stat = path.stat()
                    digest.update(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.hexdigest()

    def _shards(self, items: Sequence[Item]) -> list[list[Item]]:
        """Cuts a split into consecutive pieces of about SHARD_BYTES."""
        # A scaled image has at most max_side**2 pixels, and a JPEG fewer than two bytes for each.
        largest = 2 * self._limits.max_side**2 or SHARD_BYTES
        shards: list[list[Item]] = [[]]
        size = 0
        for item in items:
            bytes_ = sum(min(path.stat().st_size, largest) for path in item.files.values())
            if shards[-1] and size + bytes_ > SHARD_BYTES:
                shards.append([])
                size = 0
            shards[-1].append(item)
            size += bytes_
        return shards

    def _examples(self, split: str, items: Sequence[Item]) -> Examples:
        """Yields the records of a shard; unusable items are reported and the rest is still checked."""
        for item in items:
            record = self._loader.load(item)
            self._advance()
            self._log.advance()
            if record is not None:
                add_to_fingerprint(self._hash, split, record)
                yield str(item), record


class _Log:
    """Logs every half minute how far a long build is, for those who read a file of it later."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = self._logged = time.monotonic()

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._logged > _PROGRESS_SECONDS:
            self._logged = now
            left = (now - self._start) / self._done * (self._total - self._done)
            logger.info("%d of %d records, %.0f min left", self._done, self._total, left / 60)
