"""Paste a cut-out on a background: composite, mask and plate.

Example:
  jaxharm compose cutout.png background.jpg --at 640,210 --scale 0.5 -o composite.png

Writes composite.png, composite_mask.png and composite_bg.png: the names by which
`jaxharm harmonize --folder` finds them. Outside of the cut-out the pixels are those of the
background, in its color space; soft edges are scaled and blended by alpha.
"""

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

from jaxharm.cli.command import local_path, warnings_in_one_line
from jaxharm.errors import InputError

_LOSSY = (".jpg", ".jpeg")  # masks and plates are kept as PNG beside such a composite


def add_placement(parser: argparse.ArgumentParser) -> None:
    """Declares --at and --scale."""
    parser.add_argument(
        "--at",
        type=_place,
        metavar="X,Y",
        help="pixel of the background at which the cut-out's left upper corner lies; may lie "
        "outside, as in --at=-20,300; default: the middle on the middle",
    )
    parser.add_argument(
        "--scale", type=float, metavar="S", help="factor of the cut-out's size; default 1"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add = parser.add_argument
    add("cutout", type=local_path, help="picture with alpha, 8 or 16 bits")
    add("background", type=local_path, help="picture that it is pasted on")
    add("-o", "--output", required=True, type=local_path, help="file of the composite")
    add_placement(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Writes the three pictures; returns the exit status."""
    with warnings_in_one_line():
        _write(arguments)
    return 0


def _write(arguments: argparse.Namespace) -> None:
    from jaxharm.images import check_output, read_image, write_image
    from jaxharm.images.bit_depth import from_unit
    from jaxharm.images.composing import compose

    check_output(arguments.output)
    files = _files(arguments.output)
    for file in files:
        for read in (arguments.cutout, arguments.background):
            if file.is_file() and read.exists() and file.samefile(read):
                raise InputError(f"{file} would replace {read}, which is read: choose another name")
    background = read_image(arguments.background)
    scale = 1.0 if arguments.scale is None else arguments.scale
    made = compose(read_image(arguments.cutout), background, at=arguments.at, scale=scale)
    if arguments.output.suffix.lower() in _LOSSY:
        warnings.warn("JPEG is lossy: the background changes slightly; use .png", stacklevel=2)
    tags = replace(background.tags, premultiplied=False)
    mask = from_unit(made.mask[..., None], made.image.dtype)
    # A mask holds shares, no colors.
    pictures = (
        (made.image, tags),
        (mask, replace(tags, icc_profile=None)),
        (made.background, tags),
    )
    for file, (pixels, said) in zip(files, pictures, strict=True):
        write_image(file, pixels, said)
        print(f"wrote {file}")


def _files(output: Path) -> tuple[Path, Path, Path]:
    """The files of composite, mask and plate."""
    suffix = ".png" if output.suffix.lower() in _LOSSY else output.suffix
    mask, plate = (output.with_name(f"{output.stem}_{role}{suffix}") for role in ("mask", "bg"))
    return output, mask, plate


def _place(text: str) -> tuple[int, int]:
    """X,Y -> the two numbers."""
    try:
        column, row = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y, such as 640,210") from None
    return column, row
