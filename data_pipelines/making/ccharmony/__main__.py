"""Makes a data set like ccHarmony from photographs with a color chart.

    python -m data_pipelines.making.ccharmony make --source PHOTOGRAPHS --out ccHarmony
    python -m data_pipelines.making.ccharmony check --patch-colors COLORS --coefficients MATRICES

The foreground of a photograph is converted to the standard light and from there to the light of
another photograph, by polynomials fitted to the photographs' color charts. The layout of a source
folder is described in data_pipelines/making/ccharmony/photos.py. `check` fits published matrices
again from published patch colors and compares.

Source: docs/data.md, "Recoloring".
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.building.report import OnError, Report
from data_pipelines.datasets.ccharmony import COMPOSITES_PER_FOREGROUND, PUBLISHED
from data_pipelines.making.ccharmony.composites import (
    FOLDERS,
    MADE,
    CompositeRecord,
    Options,
    digest_lights,
    make_foreground,
    signature_of,
)
from data_pipelines.making.ccharmony.matrices import compare, load_matrices
from data_pipelines.making.ccharmony.photos import Foreground, Light, read_lights, scan
from data_pipelines.making.ccharmony.report import write_report
from jaxharm.errors import run_command
from jaxharm.progress import tracked

_RECIPE = "make_ccharmony.json"


def make(
    source: Path,
    out: Path,
    options: Options | None = None,
    *,
    coefficients: Path | None = None,
    linear: Sequence[str] = (),
    on_error: OnError = "raise",
) -> dict[str, int]:
    """Writes a data set in ccHarmony's published layout, with a quality report.

    Existing files are kept, so that a run that was stopped goes on when it is repeated; other
    options need another folder.

    Args:
        source: folder of photographs, charts, masks and lists.
        out: gets the data set.
        options: how composites are made.
        coefficients: folder or zip of matrices that are used instead of fitting.
        linear: ids of the images whose matrix to the standard light is fitted with linear terms.
        on_error: "skip" excludes unusable images and foregrounds.

    Returns:
        Number of composites per split.

    Raises:
        DatasetValidationError: lists everything that cannot be used.
    """
    options = options or Options()
    report = Report(str(source), on_error=on_error)
    foregrounds, lights = _read(source, coefficients, frozenset(linear), report)
    _claim(out, options)
    made, records = _make_all(foregrounds, lights, out, options, report)
    report.raise_errors()
    report.log()
    for split, names in made.items():
        (out / f"{split}_list.txt").write_text("".join(f"{name}\n" for name in names))
    write_report(out, lights, records)
    return {split: COMPOSITES_PER_FOREGROUND * len(names) for split, names in made.items()}


def _read(
    source: Path, coefficients: Path | None, linear: frozenset[str], report: Report
) -> tuple[list[Foreground], dict[str, Light]]:
    """Reads the source folder; raises the error for everything that is wrong with it."""
    if not source.is_dir():
        report.error("missing_root", str(source))
        report.raise_errors()
    given = load_matrices(coefficients) if coefficients else {}
    foregrounds = scan(source, report)
    lights = read_lights(source, foregrounds, given, linear, report)
    report.raise_errors()
    return foregrounds, lights


def _make_all(
    foregrounds: Sequence[Foreground],
    lights: Mapping[str, Light],
    out: Path,
    options: Options,
    report: Report,
) -> tuple[dict[str, list[str]], list[CompositeRecord]]:
    """Writes all composites; returns the finished foregrounds by split, and what was made."""
    made: dict[str, list[str]] = {split: [] for split in PUBLISHED}
    records: list[CompositeRecord] = []
    digest = digest_lights(lights)
    for foreground in tracked(foregrounds, "making composites", len(foregrounds)):
        if foreground.image not in lights:
            continue
        with report.item(foreground.name):
            signature = signature_of(foreground, digest)
            records += make_foreground(foreground, lights, out, options, signature, report)
            made[foreground.split].append(foreground.name)
    return made, records


def _claim(out: Path, options: Options) -> None:
    """Stores the options in the folder and refuses others, so that recipes are never mixed."""
    for folder in (*FOLDERS, MADE):
        (out / folder).mkdir(parents=True, exist_ok=True)
    recipe, now = out / _RECIPE, asdict(options)
    if recipe.exists():
        before = json.loads(recipe.read_text())
        if before != now:
            raise DatasetValidationError(
                f"{out} was made with {before}, not {now}; choose another --out"
            )
    recipe.write_text(json.dumps(now) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.making.ccharmony",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="makes the data set")
    making.add_argument(
        "--source", type=Path, required=True, help="photographs, charts, masks, lists"
    )
    making.add_argument("--out", type=Path, required=True, help="gets the data set")
    making.add_argument("--coefficients", type=Path, help="matrices to use instead of fitting")
    making.add_argument("--linear-fit", nargs="*", default=[], metavar="IMAGE")
    making.add_argument("--seed", type=int, default=0)
    making.add_argument("--max-clip", type=float, default=0.05)
    making.add_argument("--float-intermediate", action="store_true", help="round once, not twice")
    making.add_argument("--ending", choices=("jpg", "png"), default="jpg")
    making.add_argument("--on-error", choices=("raise", "skip"), default="raise")
    checking = commands.add_parser("check", help="fits published matrices again")
    checking.add_argument("--patch-colors", type=Path, required=True, help="folder or zip of .csv")
    checking.add_argument("--coefficients", type=Path, required=True, help="folder or zip of .npy")
    args = parser.parse_args(argv)
    command = _make if args.command == "make" else _check
    return run_command(lambda: command(args))


def _make(args: argparse.Namespace) -> None:
    """The command `make`."""
    options = Options(args.seed, args.max_clip, not args.float_intermediate, args.ending)
    counts = make(
        args.source,
        args.out,
        options,
        coefficients=args.coefficients,
        linear=args.linear_fit,
        on_error=args.on_error,
    )
    print(f"{args.out}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))
    print(f"quality report: {args.out / 'quality.json'}")
    print(f"next: python -m data_pipelines.build ccharmony --manual-dir {args.out} --data-dir DATA")


def _check(args: argparse.Namespace) -> None:
    """The command `check`."""
    found = compare(args.patch_colors, args.coefficients)
    total = found.images
    print(f"to the standard light: {len(found.forward)} of {total} matrices reproduced by the fit")
    print(f"from it: {len(found.reverse)} of {total}")
    print(f"linear fit instead ({len(found.linear)}): {' '.join(found.linear)}")
    print(f"neither ({len(found.other)}): {' '.join(found.other)}")
    print("median residual of the patches: {:.2f} and {:.2f} levels".format(*found.medians))


if __name__ == "__main__":
    sys.exit(main())
