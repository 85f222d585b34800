"""Harmonize one composite, or every composite of a folder.

One image:  python -m jaxharm harmonize composite.png mask.png -o out.png [--checkpoint WEIGHTS]
Cut-out:    python -m jaxharm harmonize cutout_rgba.png --background plate.png -o out.png ...
            of another size than its background, with --at X,Y and --scale S
Folder:     python -m jaxharm harmonize --folder DIR -o OUT_DIR ...
Clip:       python -m jaxharm harmonize clip.mp4 masks/ -o out.mp4 [--temporal] ...
            masks: a folder with one for each frame, a clip, or one picture; the sound is copied

The output has the size, bit depth, alpha and color profile of the composite; outside the mask its
pixels are those of the composite (bit for bit in PNG, TIFF, WebP and BMP; JPEG is lossy).

Folder: composites are the images of DIR (of DIR/composite_images, if there is one; of DIR/images
beside DIR/masks, if DIR itself holds no picture). The files of the composite <name>.* (or
<name>_composite.*) are, the first that exists:
  mask        <name>_mask.*, masks/<name>.*, masks/<name>_mask.*, and for iHarmony4 names
              <photo>_<object>_<version>: masks/<photo>_<object>.*, unless <photo>_<object> is
              itself a composite of the folder
  background  <name>_bg.*, backgrounds/<name>.*, bg/<name>.* (optional)
masks/, backgrounds/ and bg/ lie in DIR. A file ending in _mask, _bg, _real or _gt is no composite,
unless it has a mask of its own and the picture that it would belong to is not there.
The folders comp/, mask/ and style/ (paintings) do as well, their files of one name.
A composite with alpha, a background and no mask is a cut-out. Results are OUT_DIR/<name>.png (.tif
for TIFF); OUT_DIR may be a new folder in DIR, but none that pictures are read from.

OUT_DIR/report.csv names every file of DIR as made, kept, failed or skipped, with the reason. The
exit status is 2 where one failed; the others are done all the same.
A second run keeps the results that were made from the same pictures (by their content), weights
and options, and makes the others again. A file that it did not make, or that was changed since, it
leaves alone and reports as failed. --overwrite makes all again, also over such files.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm import registry
from jaxharm.cli.clip_names import is_clip
from jaxharm.cli.command import local_path, warnings_in_one_line
from jaxharm.cli.compose import add_placement
from jaxharm.cli.flags import all_flags, given_of, replacing_flags
from jaxharm.errors import InputError

if TYPE_CHECKING:
    from jaxharm.cli.folder_report import FolderReport
    from jaxharm.cli.job import Stopwatch
    from jaxharm.cli.pairing import Pair
    from jaxharm.cli.record import Record, Settings
    from jaxharm.commands import Job
    from jaxharm.images import MaskChoice

CHANNELS = ("auto", "alpha", "gray", "red", "green", "blue")  # jaxharm.images.masks.Channel
_OF_THE_MODEL = ("checkpoint", "model", "size")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command: the shared ones, and a group per paper's room."""
    parser.add_argument("composite", nargs="?", type=local_path, help="image file, 8 or 16 bits")
    parser.add_argument("mask", nargs="?", type=local_path, help="mask file, white = foreground")
    parser.add_argument("-o", "--output", required=True, type=local_path, help="file, or folder")
    parser.add_argument("--folder", type=local_path, help="folder of composites, instead of one")
    parser.add_argument("--background", type=local_path, help="the scene without the object")
    add_placement(parser)
    masks = parser.add_argument_group("masks that could mean several things")
    masks.add_argument("--mask-channel", choices=CHANNELS, default=CHANNELS[0])
    masks.add_argument("--label", type=int, help="gray value or palette entry of the foreground")
    masks.add_argument("--invert-mask", action="store_true", help="black = foreground")
    parser.add_argument("--model", help="registered name; default: the one of the checkpoint")
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="weights, or a run; default: those that ship"
    )
    parser.add_argument("--size", type=int, help="side in pixels that the network predicts at")
    parser.add_argument(
        "--strength",
        type=float,
        help="0 composite ... 1 result; default: what the weights recommend, else 1",
    )
    parser.add_argument("--overwrite", action="store_true", help="folder: make all results again")
    parser.add_argument("--profile", action="store_true", help="print times and peak memory")
    for flags in all_flags():
        flags.add_arguments(parser.add_argument_group(flags.title))
    parser.description = "\n\n".join([__doc__ or "", *(flags.about for flags in all_flags())])


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    # Before the imports of JAX and of the networks, which take seconds.
    _check(arguments)
    started = time.perf_counter()
    from jaxharm.cli.folder import show_warning
    from jaxharm.cli.job import Stopwatch

    watch = Stopwatch()
    with warnings_in_one_line(show_warning):
        work = _folder if arguments.folder is not None else _one
        status = (_clip if arguments.clip else work)(arguments, watch)
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
    arguments.clip = is_clip(arguments.composite)  # which the papers' flags want to know
    if (arguments.folder is None) == (arguments.composite is None):
        raise InputError("give either COMPOSITE and MASK, or --folder DIR")
    replacing = replacing_flags(arguments)
    if replacing is None and arguments.checkpoint is None:
        if arguments.model is not None:
            raise InputError(
                f"--checkpoint is missing: no weights of {arguments.model} were named; python -m "
                "jaxharm models says where to get some, and without --model the weights that ship "
                "with jaxharm are taken"
            )
        arguments.checkpoint = registry.SHIPPED
    if replacing is not None:
        flags, reason = replacing
        useless = [f"--{name}" for name in _OF_THE_MODEL if getattr(arguments, name) is not None]
        useless += [
            option
            for other in all_flags()
            if other.title != flags.title
            for option in given_of(other, arguments)
        ]
        if useless:
            raise InputError(f"{reason}: leave {useless[0]} out")
    _check_written(arguments)
    if arguments.strength is not None and not 0 <= arguments.strength <= 1:
        raise InputError(f"--strength {arguments.strength} is not between 0 and 1")
    told = [arguments.mask_channel != CHANNELS[0], arguments.label is not None]
    if arguments.folder is None and arguments.mask is None and any([*told, arguments.invert_mask]):
        raise InputError("--mask-channel, --label and --invert-mask go with a MASK: give its file")
    if arguments.folder is not None and arguments.background is not None:
        raise InputError("--background goes with one image; a folder finds them by name (--help)")
    if (arguments.at is not None or arguments.scale is not None) and (
        arguments.mask is not None or arguments.background is None
    ):
        raise InputError("--at and --scale place a cut-out on its --background, without a MASK")
    for flags in all_flags():
        flags.check(arguments)


def _check_written(arguments: argparse.Namespace) -> None:
    """Refuses to write over a file that is read, also through a link or another letter case."""
    options = [(name, flags) for flags in all_flags() for name in flags.names]
    written = {"output": arguments.output}
    written |= {name: getattr(arguments, name) for name, flags in options if name in flags.written}
    read = [arguments.composite, arguments.mask, arguments.background]
    read += [getattr(arguments, name) for name, flags in options if name not in flags.written]
    for name, file in written.items():
        for other in read:
            if file is None or not isinstance(other, Path) or not file.is_file():
                continue
            if other.exists() and file.samefile(other):
                raise InputError(
                    f"--{name.replace('_', '-')} {file} would replace {other}, which is read: "
                    "choose another name"
                )


def job_of(arguments: argparse.Namespace, watch: "Stopwatch") -> "Job":
    """Loads the model, or what replaces it."""
    from jaxharm.cli.job import PlainJob
    from jaxharm.compiler import enable_compilation_cache
    from jaxharm.inference import Harmonizer
    from jaxharm.weights.card import read_card

    enable_compilation_cache()
    replacing = replacing_flags(arguments)
    if replacing is not None:
        return replacing[0].job(_with_strength(arguments, 1.0), None, watch.time)
    with watch.time("load"):
        run = Harmonizer(
            arguments.model,
            checkpoint=arguments.checkpoint,
            size=arguments.size,
            timer=watch.time,
        )
    if arguments.checkpoint == registry.SHIPPED:
        card = read_card(registry.SHIPPED)
        print(f"weights that ship with jaxharm: {run.name}, license {card.license}")
    if arguments.strength is None and run.strength != 1:
        print(f"strength {run.strength:g}, as these weights recommend; --strength 1 for all of it")
    arguments = _with_strength(arguments, run.strength)
    own = registry.get(run.name).flags
    flags = own() if own else None
    for other in all_flags():
        given = given_of(other, arguments)
        if given and (flags is None or other.title != flags.title):
            raise InputError(f"{run.name} has no {other.lacking}: {given[0]} does not go with it")
    if flags is None:
        return PlainJob(run.runner, arguments.strength)
    return flags.job(arguments, run.runner, watch.time)


def _with_strength(arguments: argparse.Namespace, default: float) -> argparse.Namespace:
    """The arguments with a strength, also where none was typed."""
    strength = default if arguments.strength is None else arguments.strength
    return argparse.Namespace(**{**vars(arguments), "strength": strength})


def _one(arguments: argparse.Namespace, watch: "Stopwatch") -> int:
    from jaxharm.cli.job import load_files, write_results
    from jaxharm.images import check_output
    from jaxharm.images.composing import placement_of

    check_output(arguments.output)
    if not arguments.output.absolute().parent.is_dir():
        raise InputError(f"cannot write {arguments.output}: its folder does not exist")
    if arguments.output.suffix.lower() in (".jpg", ".jpeg"):
        warnings.warn("JPEG is lossy: the background changes slightly; use .png", stacklevel=2)
    with ThreadPoolExecutor(1) as pool:
        # Python's work, done while the decoders do theirs outside of it.
        loading = pool.submit(job_of, arguments, watch)
        loaded = load_files(
            watch,
            arguments.composite,
            arguments.mask,
            arguments.background,
            _choice(arguments),
            placement_of(arguments.at, arguments.scale),
        )
    inputs = loaded.inputs
    channels = 3 if inputs.alpha is None else 4
    check_output(
        arguments.output,
        dtype=inputs.composite.dtype,
        channels=channels,
        size=inputs.mask.shape,
    )
    results = loading.result().run(arguments.output.stem, inputs)
    watch.count(inputs)
    tags = loaded.tags
    del loaded, inputs  # encoding needs memory of its own
    for file in write_results(watch, arguments.output, results, tags):
        print(f"wrote {file}")
    return 0


def _clip(arguments: argparse.Namespace, watch: "Stopwatch") -> int:
    from jaxharm.cli.clip import Files, harmonize_clip

    if arguments.mask is None:
        raise InputError(
            "a clip needs masks: a folder with one for each frame, a clip, or a picture"
        )
    if not arguments.output.absolute().parent.is_dir():
        raise InputError(f"cannot write {arguments.output}: its folder does not exist")
    files = Files(
        arguments.composite,
        arguments.mask,
        arguments.background,
        arguments.output,
        _choice(arguments),
    )
    frames = harmonize_clip(job_of(arguments, watch), files, watch)
    print(f"wrote {arguments.output}, {frames} frames")
    return 0


def _choice(arguments: argparse.Namespace) -> "MaskChoice":
    """What the user says of masks."""
    from jaxharm.images import MaskChoice

    return MaskChoice(arguments.mask_channel, arguments.label, arguments.invert_mask)


def _folder(arguments: argparse.Namespace, watch: "Stopwatch") -> int:
    from jaxharm.cli.folder import make_output_folder
    from jaxharm.cli.folder_report import FolderReport
    from jaxharm.cli.pairing import find_pairs
    from jaxharm.cli.record import Record

    out_dir = arguments.output
    listing = find_pairs(arguments.folder, out_dir)
    report = FolderReport(arguments.folder, out_dir, listing)
    make_output_folder(out_dir)
    record = Record(out_dir, _settings(arguments, listing.pairs), listing.pairs)
    todo: dict[Pair, str] = {}
    for pair in listing.pairs:
        decision = record.decide(pair, overwrite=arguments.overwrite)
        if decision.make:
            todo[pair] = decision.reason
        elif decision.refused:
            report.failures[pair.composite] = decision.reason
        else:
            report.kept.append(pair.composite)
    try:
        if todo:
            # A result takes about what its composite takes, and certainly half of it.
            sizes = (p.composite.stat().st_size for p in todo if p.composite.is_file())
            make_output_folder(out_dir, sum(sizes) // 2)
            _make(arguments, watch, record, report, todo)
    finally:
        report.write()
    return report.show()


def _make(
    arguments: argparse.Namespace,
    watch: "Stopwatch",
    record: "Record",
    report: "FolderReport",
    todo: "Mapping[Pair, str]",
) -> None:
    """Makes the results `todo`, whose values say why again, and adds them to the report."""
    from jaxharm.cli.folder import Files, run_clip, run_pairs
    from jaxharm.commands import ClipJob

    job = job_of(arguments, watch)
    record.start()
    files = Files(watch, record, _choice(arguments))
    try:
        if isinstance(job, ClipJob):
            run_clip(job, files, report.listing.pairs, list(todo))
        else:
            run_pairs(job, files, list(todo))
    finally:
        reasons = {pair.composite: reason for pair, reason in todo.items()}
        report.made = {path: reasons[path] for path in reasons if path in files.done}
        report.failures |= {p: text for p, text in files.failures.items() if p in reasons}
        report.notes = files.notes
        report.stopped = files.stopped or report.stopped


def _settings(arguments: argparse.Namespace, pairs: "Sequence[Pair]") -> "Settings":
    """What the results of a folder depend on beside each one's own pictures."""
    from jaxharm.cli.record import Settings, describe, hash_path

    values: dict[str, object] = {"strength": _strength(arguments)}
    values |= {"model": arguments.model, "size": arguments.size}
    choice = vars(_choice(arguments))
    values |= {
        f"mask_{key}": value for key, value in choice.items() if value not in ("auto", False)
    }
    if arguments.checkpoint is not None:
        values["checkpoint"] = _weights(arguments.checkpoint)
    written = []
    for flags in all_flags():
        for name in flags.names:
            value = getattr(arguments, name)
            if value is None:
                continue
            if name in flags.written:
                written.append(f"{name}={value.absolute()}")
            elif isinstance(value, Path):
                values[name] = hash_path(value) if value.exists() else str(value)
            else:
                values[name] = value
        if flags.makes_clip(arguments):
            found = [describe(pair) for pair in pairs]
            values["frames"] = [{k: v["sha256"] for k, v in files.items()} for files in found]
    return Settings({k: v for k, v in values.items() if v is not None}, tuple(written))


def _strength(arguments: argparse.Namespace) -> float | None:
    """The strength that results will have; None where loading the weights will say what is wrong."""
    from jaxharm.weights.card import recommended_strength

    if arguments.strength is not None or arguments.checkpoint is None:
        return 1.0 if arguments.strength is None else float(arguments.strength)
    try:
        return recommended_strength(arguments.checkpoint)
    except InputError:
        return None


def _weights(checkpoint: str) -> list[object]:
    """What tells weights from others; "" where there are none, which loading them will say."""
    from jaxharm.weights.portable import find_weights, read_manifest

    try:
        manifest = read_manifest(find_weights(checkpoint))
    except InputError:
        return []
    return [manifest["model"], manifest["config"], manifest["sha256"]]


def _peak_mib() -> float:
    import resource

    # macOS counts in bytes, Linux in kibibytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
