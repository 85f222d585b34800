"""Builds a data set: `python -m data_pipelines.build DATASET --manual-dir DIR --data-dir DIR`."""

import argparse
import contextlib
import fcntl
import io
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.findings import DatasetValidationError, MissingDatasetError
from data_pipelines.building.next_steps import next_steps
from data_pipelines.building.report import OnError, logger
from data_pipelines.datasets import artist_retouched, iharmony4
from data_pipelines.datasets.artist_retouched import ArtistRetouched
from data_pipelines.datasets.ccharmony import Ccharmony
from data_pipelines.datasets.coco_wikiart import CocoWikiart
from data_pipelines.datasets.demo import Demo
from data_pipelines.datasets.ffhqh import Ffhqh
from data_pipelines.datasets.folder import Folder, Photos, named_builder
from data_pipelines.datasets.iharmony4 import Iharmony4
from data_pipelines.datasets.realhm import Realhm
from data_pipelines.datasets.varying import Varying
from data_pipelines.reading import (
    DEFAULT_CONFIG,
    BuiltInfo,
    dataset_info,
    resolve_data_dir,
)
from jaxharm.errors import run_command

NAMED: dict[str, type[TreeBuilder]] = {"folder": Folder, "photos": Photos, "varying": Varying}
FIXED: dict[str, type[TreeBuilder]] = {
    "artist_retouched": ArtistRetouched,
    "ccharmony": Ccharmony,
    "coco_wikiart": CocoWikiart,
    "demo": Demo,
    "ffhqh": Ffhqh,
    "iharmony4": Iharmony4,
    "realhm": Realhm,
}
# Builders that also accept DATASET/<part>: a function (part, max_side) -> configuration.
CONFIGURED: dict[str, Callable[[str, int], tfds.core.BuilderConfig]] = {
    "artist_retouched": artist_retouched.config_for,
    "iharmony4": iharmony4.config_for,
}
_STAGING = ".building"


def build(
    dataset: str,
    *,
    manual_dir: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    name: str | None = None,
    max_side: int = 0,
    on_error: OnError = "raise",
    max_megapixels: float = 200.0,
    follow_links: bool = False,
    split_seed: int | None = None,
) -> BuiltInfo:
    """Builds a data set, unless the same files were built with the same options before.

    The new data set is moved into place when it is complete; an earlier build from other files or
    options is replaced then.

    Args:
        dataset: iharmony4[/hcoco, /hadobe5k, /hflickr, /hday2night], artist_retouched[/both,
            /after_only], realhm, ccharmony, ffhqh, coco_wikiart, folder, photos, varying, demo.
            A part may end in the longest side, as the names of built sets do: iharmony4/all_1024.
        manual_dir: the user's files; default <data_dir>/downloads/manual.
        data_dir: folder of built data sets; default TFDS_DATA_DIR, then ~/tensorflow_datasets.
        name: name of a `folder`, `photos` or `varying` data set; default the name of its folder.
        max_side: longest side of stored images, 0 for native.
        on_error: "skip" excludes unusable items of the kinds that may be skipped.
        max_megapixels: larger files are refused.
        follow_links: whether links may lead out of the data set's folder, as to shared storage.
        split_seed: which photographs a `folder` without lists holds back; None: those of 0.

    Returns:
        The description of the built data set.

    Raises:
        DatasetValidationError: lists all faults of the files, or names the wrong argument.
    """
    root = resolve_data_dir(data_dir).absolute()
    source_dir = Path(manual_dir).absolute() if manual_dir else root / "downloads" / "manual"
    cls, full_name, chosen = _builder_class(dataset, name, source_dir, max_side)
    if split_seed is not None:
        if not issubclass(cls, Folder):
            raise DatasetValidationError("--split-seed is for folder: others have splits")
        chosen["split_seed"] = split_seed
    options = {"max_side": max_side, "on_error": on_error, "max_megapixels": max_megapixels}
    options |= {"follow_links": follow_links, **chosen}
    _check_arguments(cls, source_dir, max_side, max_megapixels)
    return _build(cls, full_name, root, source_dir, options)


def _check_arguments(
    cls: type[TreeBuilder], source_dir: Path, max_side: int, max_megapixels: float
) -> None:
    if max_side < 0 or max_megapixels <= 0:
        raise DatasetValidationError(
            f"max_side {max_side} must not be negative, max_megapixels {max_megapixels:g} must be "
            f"above 0"
        )
    if cls is not Demo and not source_dir.is_dir():
        raise DatasetValidationError(
            f"missing_root: no folder {source_dir}; pass the folder of your files as --manual-dir:"
            f"\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )


def _build(
    cls: type[TreeBuilder], full_name: str, root: Path, source_dir: Path, options: dict
) -> BuiltInfo:
    """Builds beside the final place and moves the result there, unless it is built already."""
    with _staging(root, full_name) as staging:
        before = _earlier(full_name, root, cls)
        builder = cls(data_dir=staging, **options)
        signature = builder.signature(source_dir)  # also scans and checks all files
        if before and before.metadata["signature"] == signature:
            logger.info("%s is built already from the same files", full_name)
            return before
        # TFDS fixes a builder's features when it is made, and only the scan knows of the plates.
        if builder.lacks_plates(source_dir):
            builder = cls(data_dir=staging, plates=True, **options)
        _write(builder, source_dir)
        _replace(Path(builder.data_dir), root / Path(builder.data_dir).relative_to(staging))
    return dataset_info(full_name, root)


def _write(builder: TreeBuilder, source_dir: Path) -> None:
    """Writes all records into the builder's folder."""
    config = tfds.download.DownloadConfig(manual_dir=source_dir)
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces a download
        builder.download_and_prepare(download_config=config)


def _builder_class(
    dataset: str, name: str | None, source_dir: Path, max_side: int
) -> tuple[type[TreeBuilder], str, dict]:
    """The builder's class, the name that its data set gets, and its constructor arguments."""
    base, _, part = dataset.partition("/")
    if (base not in NAMED and base not in FIXED) or (part and base not in CONFIGURED):
        parts = ("iharmony4/<sub-dataset>", "iharmony4/all_1024", "artist_retouched/after_only")
        known = ", ".join(sorted([*NAMED, *FIXED, *parts]))
        raise DatasetValidationError(f"there is no builder {dataset!r}; choose one of {known}")
    if base in NAMED:
        name = name or source_dir.name
        if name in NAMED or name in FIXED:
            raise DatasetValidationError(
                f"--name {name!r} is the name of a builder; choose another one"
            )
        return named_builder(NAMED[base], name), name, {}
    if name:
        raise DatasetValidationError(
            f"--name is for folder, photos and varying, {base} has its own name"
        )
    if base not in CONFIGURED:
        return FIXED[base], base, {}
    part, side = _part_and_side(part or DEFAULT_CONFIG[base], max_side)
    try:
        config = CONFIGURED[base](part, side)
    except ValueError as error:
        raise DatasetValidationError(str(error)) from error
    return FIXED[base], f"{base}/{config.name}", {"config": config, "max_side": side}


def _part_and_side(part: str, max_side: int) -> tuple[str, int]:
    """all_1024 -> all, 1024: built sets are called so, and configs name them so."""
    match = re.fullmatch(r"(.+)_([1-9]\d*)", part)
    if match is None:
        return part, max_side
    if max_side not in (0, int(match[2])):
        raise DatasetValidationError(f"{part} says --max-side {match[2]}: leave {max_side} out")
    return match[1], int(match[2])


@contextlib.contextmanager
def _staging(root: Path, full_name: str) -> Iterator[Path]:
    """Makes an empty folder on the disk of `root`; removes the leftovers of a killed build.

    A file lock refuses a second build of the same data set; the system releases it with the process.
    """
    holder = root / _STAGING / full_name.replace("/", "-")
    try:
        holder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetValidationError(f"--data-dir {root} cannot be written: {error}") from error
    with (holder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DatasetValidationError(
                f"another process is building {full_name} in {root}; wait for it"
            ) from error
        staging = holder / "data"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(holder, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty while another build runs
                holder.parent.rmdir()


def _earlier(full_name: str, root: Path, cls: type[TreeBuilder]) -> BuiltInfo | None:
    """The data set that already has this name, if any."""
    try:
        before = dataset_info(full_name, root)
    except MissingDatasetError:
        return None
    kind = before.metadata.get("builder")
    if kind != cls.builder_name():
        raise DatasetValidationError(
            f"{before.path} holds a data set {full_name!r} of builder {kind}; choose another "
            f"--name or delete it"
        )
    return before


def _replace(new: Path, final: Path) -> None:
    """Moves a finished data set into place, then removes the earlier one."""
    # Renaming is atomic on one disk: readers find the earlier set or the new one, never a part. Only
    # between the two renames is there none, and the earlier one is then kept under its hidden name.
    final.parent.mkdir(parents=True, exist_ok=True)
    old = final.with_name(f".replaced-{final.name}")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.build", description=__doc__)
    parser.add_argument(
        "dataset",
        help="iharmony4[/<sub-dataset>][_<max-side>] artist_retouched[/after_only] realhm "
        "ccharmony ffhqh coco_wikiart folder photos varying demo",
    )
    parser.add_argument("--manual-dir", help="your files; default <data-dir>/downloads/manual")
    parser.add_argument("--data-dir", help="default TFDS_DATA_DIR, then ~/tensorflow_datasets")
    parser.add_argument("--name", help="name of a folder, photos or varying data set")
    parser.add_argument("--max-side", type=int, default=0, help="longest stored side, 0: native")
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise")
    parser.add_argument("--max-megapixels", type=float, default=200.0)
    parser.add_argument(
        "--follow-links", action="store_true", help="your own links may lead out of the folder"
    )
    parser.add_argument(
        "--split-seed",
        type=int,
        metavar="N",
        help="which photographs a folder without lists holds back for the split val; default 0",
    )
    args = parser.parse_args(argv)
    with _log_to_stderr():
        return run_command(lambda: _build_and_report(args))


def _build_and_report(args: argparse.Namespace) -> None:
    """Builds the data set and prints what is in it and which commands come next."""
    info = build(**vars(args))
    counts = ", ".join(f"{split} {count}" for split, count in info.splits.items())
    print(f"{info.name}: {counts} records in {info.path}")
    if info.metadata["held_out"]:
        print(f"held out: {info.metadata['held_out']}")
    if info.metadata["skipped"]:
        left = ", ".join(f"{kind} {n}" for kind, n in info.metadata["skipped"].items())
        print(f"left out: {left}")
    root = resolve_data_dir(args.data_dir)
    print(*next_steps(info.name, info.kind, info.splits, root), sep="\n")


@contextlib.contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Shows warnings and progress of this package, and of TFDS only errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    noisy = logging.getLogger("absl")
    before = logger.level, logger.propagate, noisy.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    noisy.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate, noisy.level = before


if __name__ == "__main__":
    sys.exit(main())
