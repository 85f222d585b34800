"""Harmonize one composite, or every composite of a folder.

One image:  python -m jaxharm harmonize composite.png mask.png -o out.png --checkpoint WEIGHTS
Cut-out:    python -m jaxharm harmonize cutout_rgba.png --background plate.png -o out.png ...
Folder:     python -m jaxharm harmonize --folder DIR -o OUT_DIR --checkpoint WEIGHTS

The output has the size, bit depth, alpha and color profile of the composite; outside the mask its
pixels are those of the composite (bit for bit in PNG, TIFF, WebP and BMP; JPEG is lossy).

Folder: composites are the images of DIR (of DIR/composite_images, if there is one). The files of
the composite <name>.* (or <name>_composite.*) are, the first that exists:
  mask        <name>_mask.*, masks/<name>.*, masks/<name>_mask.*, and for iHarmony4 names
              <photo>_<object>_<version>: masks/<photo>_<object>.*
  background  <name>_bg.*, backgrounds/<name>.*, bg/<name>.* (optional)
masks/, backgrounds/ and bg/ lie in DIR. Files ending in _mask, _bg, _real or _gt are no composites.
The folders comp/, mask/ and style/ (the paintings) of ProPIH do as well, their files of one name.
A composite with alpha, a background and no mask is a cut-out. Results are OUT_DIR/<name>.png (.tif
for TIFF). Those that exist are kept, so that a second run resumes; --overwrite makes them again.
Pairs that failed are listed at the end, and the exit status is then 2.

Parametric models (pih, pih_light) predict curves and a shading map, which can be kept and used again:
--save-params p.json writes them, --params p.json renders with them, on this image or another one,
without the network and without weights (with --folder: one file for all, or a folder of
<name>.json). What of them is taken over: --strength, --curves-only, --shading-only,
--shading-strength, --channels, --blend, --single-alpha. For image editors: --export-cube writes the curves as a 1D
LUT, --export-shading the shading map as a 16-bit gray image, to be laid over in the mode Multiply.

ProPIH paints the object of a composite, pasted on the painting --background, in stages: --stage 1
changes its colors, 4 (default) paints strokes as well, auto leaves the choice to the exit head, if
it has been trained. --stage all writes a strip of composite, mask, painting and the four results to
OUT, and each result to OUT_stage1 ... OUT_stage4. Outside of the mask pixels are those of the painting.

Clips: --folder FRAMES --temporal takes the composites, in order of name, as frames of a clip and
smooths curves and shading over time, by a straight line fitted to the 7 frames before and after
(--temporal N: to N), never across a cut.
"""

import argparse
import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.errors import InputError

if TYPE_CHECKING:
    from jaxharm.cli.job import Job, Stopwatch
    from jaxharm.inference import Edit, Restyle
    from jaxharm.papers.pih.edit import Parts

_STAGES = ("stage", "exit_threshold", "save_rounding")


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
    parser.add_argument("--profile", action="store_true", help="print times and peak memory")
    stages = parser.add_argument_group("ProPIH: objects on paintings")
    stages.add_argument("--stage", metavar="1..4|auto|all", help="whose result; default 4")
    stages.add_argument(
        "--exit-threshold",
        type=float,
        metavar="P",
        help="auto: leave where the exit head's probability reaches this (0.5)",
    )
    stages.add_argument(
        "--save-rounding",
        choices=("nearest", "trunc"),
        help="trunc: as the official code stores results",
    )
    edit = parser.add_argument_group("parametric models: keep, edit, export")
    edit.add_argument("--save-params", type=Path, metavar="JSON", help="keep curves and shading")
    edit.add_argument("--params", type=Path, metavar="JSON", help="render with these, no network")
    edit.add_argument("--curves-only", action="store_true", help="leave the shading out")
    edit.add_argument("--shading-only", action="store_true", help="leave the curves out")
    edit.add_argument(
        "--shading-strength",
        type=float,
        default=1.0,
        metavar="A",
        help="0 no shading, 1 as predicted, up to 10 exaggerates",
    )
    edit.add_argument(
        "--channels", metavar="R,G,B", default="1,1,1", help="strength per channel, 0 to 1"
    )
    edit.add_argument(
        "--blend",
        default="all",
        metavar="all|luminance|color",
        help="change the luminance only, or the color only",
    )
    edit.add_argument(
        "--single-alpha",
        action="store_true",
        help="blend soft edges once: no rim around hair",
    )
    edit.add_argument("--export-cube", type=Path, metavar="CUBE", help="curves as a 1D LUT")
    edit.add_argument("--export-shading", type=Path, metavar="PNG", help="16-bit gain map")
    edit.add_argument(
        "--temporal",
        nargs="?",
        type=int,
        const=7,
        metavar="N",
        help="folder: frames of a clip, smoothed over N frames before and after (7)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    _check(arguments)
    started = time.perf_counter()
    from jaxharm.cli.job import Stopwatch

    watch = Stopwatch()
    with _warnings_on_stderr():
        status = (_folder if arguments.folder is not None else _one)(arguments, watch)
    if arguments.profile:
        seconds = time.perf_counter() - started
        print(watch.report())
        print(
            f"{seconds:.2f} s in all; peak memory {_peak_mib():.0f} MiB, of which "
            f"{watch.image_bytes / 2**20:.0f} MiB for composite, mask, background and result"
        )
    return status


def _check(arguments: argparse.Namespace) -> None:
    """Refuses combinations that mean nothing, before anything slow is done."""
    if (arguments.folder is None) == (arguments.composite is None):
        raise InputError("give either COMPOSITE and MASK, or --folder DIR")
    if arguments.params is not None:
        for name in ("checkpoint", "model", "size", "save_params", "temporal", *_STAGES):
            if getattr(arguments, name) is not None:
                option = name.replace("_", "-")
                raise InputError(f"--params renders without the network: leave --{option} out")
    elif arguments.checkpoint is None:
        raise InputError(
            "--checkpoint is missing: there are no built-in weights; python -m jaxharm models says "
            "where to get some"
        )
    if arguments.exit_threshold is not None and arguments.stage != "auto":
        raise InputError("--exit-threshold goes with --stage auto")
    if arguments.curves_only and arguments.shading_only:
        raise InputError("--curves-only and --shading-only leave nothing; give one of them")
    if not 0 <= arguments.strength <= 1:
        raise InputError(f"--strength {arguments.strength} is not between 0 and 1")
    if arguments.folder is None and arguments.temporal is not None:
        raise InputError("--temporal smooths over the frames of a --folder")
    if arguments.temporal is not None and arguments.temporal < 1:
        raise InputError(f"--temporal {arguments.temporal}: at least 1 frame before and after")
    if arguments.folder is not None:
        for name in ("background", "export_cube", "export_shading"):
            if getattr(arguments, name) is not None:
                option = name.replace("_", "-")
                why = "; a folder finds them by name (--help)" if name == "background" else ""
                raise InputError(f"--{option} goes with one image{why}")
    for path in (arguments.save_params, arguments.export_cube, arguments.export_shading):
        if path is not None and arguments.folder is None and not path.absolute().parent.is_dir():
            raise InputError(f"cannot write {path}: its folder does not exist")


def _job(arguments: argparse.Namespace, watch: "Stopwatch") -> "Job":
    """Loads the model or the parameters."""
    from jaxharm.cli.job import Job
    from jaxharm.compiler import enable_compilation_cache
    from jaxharm.inference import Edit, Harmonizer, Parameters

    enable_compilation_cache()
    edit = _edit(arguments)
    if arguments.params is not None:
        if arguments.folder is not None and arguments.params.is_dir():
            return Job(arguments.strength, edit, watch, given=arguments.params)
        return Job(arguments.strength, edit, watch, given=Parameters.load(arguments.params))
    with watch.time("load"):
        run = Harmonizer(arguments.model, checkpoint=arguments.checkpoint, size=arguments.size)
    asked = [
        option
        for option in ("save_params", "export_cube", "export_shading", "temporal")
        if getattr(arguments, option) is not None
    ]
    if not run.is_parametric and (asked or edit != Edit()):
        what = f"--{asked[0].replace('_', '-')}" if asked else "an edit beyond --strength"
        raise InputError(f"{run.name} has no curves and no shading: {what} does not go with it")
    restyle = _restyle(arguments)
    if restyle is not None and not run.has_stages:
        given = next(name for name in _STAGES if getattr(arguments, name) is not None)
        option = given.replace("_", "-")
        raise InputError(f"{run.name} has no stages: --{option} does not go with it")
    run.check_restyle(restyle)
    return Job(arguments.strength, edit, watch, run, save=arguments.save_params, restyle=restyle)


def _restyle(arguments: argparse.Namespace) -> "Restyle | None":
    """What the options of ProPIH ask for; None where there is none."""
    from jaxharm.inference import Restyle

    given = {name: getattr(arguments, name) for name in _STAGES}
    if all(value is None for value in given.values()):
        return None
    choice = Restyle()
    if given["stage"] is not None:
        text = given["stage"]
        choice = replace(choice, stage=int(text) if text.isdecimal() else text)
    if given["exit_threshold"] is not None:
        choice = replace(choice, exit_threshold=given["exit_threshold"])
    return replace(choice, rounding=given["save_rounding"] or choice.rounding)


def _edit(arguments: argparse.Namespace) -> "Edit":
    from jaxharm.inference import Edit

    try:
        red, green, blue = (float(part) for part in arguments.channels.split(","))
    except ValueError:
        raise InputError(f"--channels {arguments.channels} is not like 1,1,0.5") from None
    parts: Parts = "all"
    if arguments.curves_only or arguments.shading_only:
        parts = "curves" if arguments.curves_only else "shading"
    return Edit(
        parts,
        arguments.shading_strength,
        arguments.blend,
        (red, green, blue),
        arguments.single_alpha,
    )


def _one(arguments: argparse.Namespace, watch: "Stopwatch") -> int:
    from jaxharm.cli.job import load_files, write_results
    from jaxharm.images import check_output
    from jaxharm.papers.pih.export import export_cube, export_shading

    check_output(arguments.output)
    if not arguments.output.absolute().parent.is_dir():
        raise InputError(f"cannot write {arguments.output}: its folder does not exist")
    if arguments.output.suffix.lower() in (".jpg", ".jpeg"):
        warnings.warn("JPEG is lossy: the background changes slightly; use .png", stacklevel=2)
    loaded = load_files(watch, arguments.composite, arguments.mask, arguments.background)
    inputs, name = loaded.inputs, arguments.output.stem
    channels = 3 if inputs.alpha is None else 4
    check_output(arguments.output, dtype=inputs.composite.dtype, channels=channels)
    job = _job(arguments, watch)
    if job.is_parametric:
        parameters = job.parameters(name, inputs)
        strength, edit = job.strength, job.edit
        if arguments.export_cube is not None:
            export_cube(arguments.export_cube, parameters, strength=strength, edit=edit)
        if arguments.export_shading is not None:
            height, width = inputs.mask.shape
            path, size = arguments.export_shading, (height, width)
            export_shading(path, parameters, size, strength=strength, edit=edit)
        results = {"": job.render(name, inputs, parameters)}
    else:
        results = job.run(name, inputs)
    icc_profile = loaded.icc_profile
    del loaded, inputs  # encoding needs memory of its own
    with watch.time("write"):
        write_results(arguments.output, results, icc_profile)
    return 0


def _folder(arguments: argparse.Namespace, watch: "Stopwatch") -> int:
    from jaxharm.cli.folder import find_pairs, make_output_folder, run_clip, run_pairs

    pairs, failures = find_pairs(arguments.folder, arguments.output)
    make_output_folder(arguments.output)
    if arguments.save_params is not None:
        make_output_folder(arguments.save_params)
    todo = [pair for pair in pairs if arguments.overwrite or not pair.output.exists()]
    if todo:
        job = _job(arguments, watch)
        if arguments.temporal is None:
            failures |= run_pairs(job, todo)
        else:
            failures |= run_clip(job, pairs, todo, arguments.temporal)
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
