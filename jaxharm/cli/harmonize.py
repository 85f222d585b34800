"""Harmonize one composite, or every composite of a folder.

One image:  python -m jaxharm harmonize composite.png mask.png -o out.png --checkpoint WEIGHTS
Cut-out:    python -m jaxharm harmonize cutout_rgba.png --background plate.png -o out.png ...
Folder:     python -m jaxharm harmonize --folder DIR -o OUT_DIR --checkpoint WEIGHTS

The output has the size, bit depth, alpha and colour profile of the composite; outside the mask its
pixels are those of the composite (bit for bit in PNG, TIFF, WebP and BMP; JPEG is lossy).

Folder: composites are the images of DIR (of DIR/composite_images, if there is one). The files of
the composite <name>.* (or <name>_composite.*) are, the first that exists:
  mask        <name>_mask.*, masks/<name>.*, masks/<name>_mask.*, and for iHarmony4 names
              <photo>_<object>_<version>: masks/<photo>_<object>.*
  background  <name>_bg.*, backgrounds/<name>.*, bg/<name>.* (optional)
masks/, backgrounds/ and bg/ lie in DIR. Files ending in _mask, _bg, _real or _gt are no composites.
A composite with alpha, a background and no mask is a cut-out. Results are OUT_DIR/<name>.png (.tif
for TIFF). Those that exist are kept, so that a second run resumes; --overwrite makes them again.
Pairs that failed are listed at the end, and the exit status is then 2.
"""

import argparse
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from jaxharm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("composite", nargs="?", type=Path, help="image file, 8 or 16 bits")
    parser.add_argument("mask", nargs="?", type=Path, help="mask file, white = foreground")
    parser.add_argument("-o", "--output", required=True, type=Path, help="file, or folder")
    parser.add_argument("--folder", type=Path, help="folder of composites, instead of one")
    parser.add_argument("--background", type=Path, help="the scene without the object")
    parser.add_argument("--model", help="registered name; default: the one of the checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="weights folder or folder of a run")
    parser.add_argument("--size", type=int, help="side in pixels that the network predicts at")
    parser.add_argument("--strength", type=float, default=1.0, help="0 composite ... 1 result")
    parser.add_argument("--overwrite", action="store_true", help="folder: make all results again")
    parser.add_argument("--profile", action="store_true", help="print time and peak memory")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    if (arguments.folder is None) == (arguments.composite is None):
        raise InputError("give either COMPOSITE and MASK, or --folder DIR")
    if arguments.checkpoint is None:
        raise InputError(
            "--checkpoint is missing: there are no built-in weights; python -m jaxharm models says "
            "where to get some"
        )
    if not 0 <= arguments.strength <= 1:
        raise InputError(f"--strength {arguments.strength} is not between 0 and 1")
    started = time.perf_counter()
    with _warnings_on_stderr():
        status = _folder(arguments) if arguments.folder is not None else _one(arguments)
    if arguments.profile:
        print(f"{time.perf_counter() - started:.2f} s, peak memory {_peak_mib():.0f} MiB")
    return status


def _one(arguments: argparse.Namespace) -> int:
    from jaxharm.inference import Harmonizer
    from jaxharm.io import check_output, read_image, read_mask, write_image

    check_output(arguments.output)
    if not arguments.output.absolute().parent.is_dir():
        raise InputError(f"cannot write {arguments.output}: its folder does not exist")
    image = read_image(arguments.composite)
    mask = None if arguments.mask is None else read_mask(arguments.mask)
    background = None if arguments.background is None else read_image(arguments.background).pixels
    channels = image.pixels.shape[2] if mask is not None else 3
    check_output(arguments.output, dtype=image.pixels.dtype, channels=channels)
    if arguments.output.suffix.lower() in (".jpg", ".jpeg"):
        warnings.warn("JPEG is lossy: the background changes slightly; use .png", stacklevel=2)
    run = Harmonizer(arguments.model, checkpoint=arguments.checkpoint, size=arguments.size)
    result = run(image.pixels, mask, background=background, strength=arguments.strength)
    write_image(arguments.output, result, icc_profile=image.icc_profile)
    return 0


def _folder(arguments: argparse.Namespace) -> int:
    from jaxharm.cli.folder import find_pairs, make_output_folder, run_pairs

    if arguments.background is not None:
        raise InputError("--background goes with one image; a folder finds them by name (--help)")
    pairs, failures = find_pairs(arguments.folder, arguments.output)
    make_output_folder(arguments.output)
    todo = [pair for pair in pairs if arguments.overwrite or not pair.output.exists()]
    if todo:
        from jaxharm.inference import Harmonizer

        run = Harmonizer(arguments.model, checkpoint=arguments.checkpoint, size=arguments.size)
        failures |= run_pairs(run, todo, strength=arguments.strength)
    made = len([pair for pair in todo if pair.composite not in failures])
    print(f"{made} made, {len(pairs) - len(todo)} kept, {len(failures)} failed")
    for path, reason in sorted(failures.items()):
        print(f"failed: {path.name}: {reason}", file=sys.stderr)
    return 2 if failures else 0


@contextmanager
def _warnings_on_stderr():
    """Shows warnings as one line, without the source line that raised them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: print(
            f"warning: {message}", file=sys.stderr
        )
        yield


def _peak_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
