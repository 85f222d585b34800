"""A video file, frame by frame: decoded, harmonized, encoded, with its sound.

However long the clip, a few frames are in memory. Where frames are smoothed over time, the clip is
decoded twice: once to be looked at, and once to be made when the frames after are known.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxharm.cli.clip_names import WRITTEN, is_clip
from jaxharm.cli.pairing import natural_key
from jaxharm.commands import ClipJob, Job
from jaxharm.errors import InputError
from jaxharm.images import ImageFile, MaskChoice, read_image, read_mask
from jaxharm.images.codec import READ_SUFFIXES
from jaxharm.images.decoded import Decoded
from jaxharm.images.masks import understand
from jaxharm.inference.harmonize import load_inputs
from jaxharm.interfaces import Inputs
from jaxharm.progress import progress

if TYPE_CHECKING:
    from jaxharm.cli.job import Stopwatch


@dataclass(frozen=True)
class Files:
    """The files of a clip.

    Attributes:
        clip: the composites.
        masks: a folder with a picture for each frame, a clip of masks, or one picture for all frames.
        background: the same of plates; None: there are none.
        out: the clip to write.
        choice: what the user says of mask files.
    """

    clip: Path
    masks: Path
    background: Path | None
    out: Path
    choice: MaskChoice


def harmonize_clip(job: Job, files: Files, watch: "Stopwatch") -> int:
    """Harmonizes a clip; returns the number of its frames.

    Raises:
        InputError: a file that cannot be read, too few masks, or a name that cannot be written.
    """
    if files.out.suffix.lower() not in WRITTEN:
        raise InputError(f"cannot write {files.out}: a clip ends in one of {', '.join(WRITTEN)}")
    with _opened(files.clip) as container:
        total = container.streams.video[0].frames or None
    names = (f"{files.out.stem}_{number:06}" for number in itertools.count())
    with _Writer(files, total) as writer:
        for result in _results(job, files, names, watch):
            with watch.time("write"):
                writer.write(result)
    if files.masks.is_dir() and len(_files_of(files.masks)) > writer.frames:
        warnings.warn(
            f"{files.masks} has more masks than {files.clip} has frames ({writer.frames}): the first "
            "ones were taken; do they belong together?",
            stacklevel=2,
        )
    return writer.frames


def _results(
    job: Job, files: Files, names: Iterator[str], watch: "Stopwatch"
) -> Iterator[np.ndarray]:
    """The frames of the result, in order."""
    if not isinstance(job, ClipJob):
        for name, inputs in zip(names, _inputs(files, watch), strict=False):
            yield job.run(name, inputs)[""]
        return
    again, looked = itertools.tee(names)
    seen = (
        job.look(name, inputs) for name, inputs in zip(looked, _inputs(files, watch), strict=False)
    )
    for name, smoothed, inputs in zip(again, job.smooth(seen), _inputs(files, watch), strict=False):
        assert smoothed is not None  # every frame was looked at
        yield job.finish(name, inputs, smoothed)[""]


def _inputs(files: Files, watch: "Stopwatch") -> Iterator[Inputs]:
    """The checked pictures of each frame."""
    masks = _masks(files)
    plates = _pictures(files.background, _plate) if files.background else itertools.repeat(None)
    for number, frame in enumerate(_frames(files.clip)):
        try:
            mask, plate = next(masks), next(plates)
        except StopIteration:
            raise InputError(
                f"{files.clip} has more frames than {files.masks} has masks ({number}): give one for "
                "each frame, or a single picture for all of them"
            ) from None
        with watch.time("prepare"):
            inputs = load_inputs(ImageFile(frame, name=f"frame {number}"), mask, plate)
        watch.count(inputs)
        yield inputs


def _masks(files: Files) -> Iterator[np.ndarray]:
    def of_frame(frame: np.ndarray) -> np.ndarray:
        # Noise of the encoder around black and white is taken away, as in a JPEG.
        return understand(Decoded(frame, lossy=True), files.choice).values

    return _pictures(files.masks, lambda path: read_mask(path, files.choice), of_frame)


def _plate(path: Path) -> ImageFile:
    return read_image(path)


def _pictures(
    path: Path, read: Callable[[Path], Any], of_frame: Callable[[np.ndarray], Any] = ImageFile
) -> Iterator[Any]:
    """A picture for each frame: of a folder, of a clip, or the same one for ever."""
    if path.is_dir():
        return map(read, _files_of(path))
    if is_clip(path):
        return map(of_frame, _frames(path))
    return itertools.repeat(read(path))


def _files_of(folder: Path) -> list[Path]:
    """The pictures of a folder, as people number them."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in READ_SUFFIXES]
    if not found:
        raise InputError(f"{folder} holds no pictures")
    return sorted(found, key=lambda file: natural_key(file.name))


def _frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a clip, u8 or (where it has more than 8 bits) u16 [h,w,3]."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            turned = getattr(frame, "rotation", 0)
            if turned:
                raise InputError(
                    f"{path} is to be shown turned by {turned} degrees: write it upright first, by "
                    f"ffmpeg -i {path.name} -c:a copy upright.mp4"
                )
            deep = max(component.bits for component in frame.format.components) > 8
            yield frame.to_ndarray(format="rgb48le" if deep else "rgb24")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A clip that is read; InputError where it is none."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no pictures")
            yield container
    except FileNotFoundError:
        raise InputError(f"clip {path} does not exist") from None
    except av.FFmpegError as error:
        raise InputError(f"cannot read clip {path}: {error.strerror}") from None


class _Writer:
    """Writes a clip under its name when it is whole: size, rate, colors and sound of the composites'.

    Attributes:
        frames: written so far.
    """

    def __init__(self, files: Files, total: int | None) -> None:
        self._files, self._total = files, total
        self.frames = 0

    def __enter__(self) -> "_Writer":
        import av

        self._stack = ExitStack()
        out = self._files.out
        kind, encoder, quality = WRITTEN[out.suffix.lower()]
        self._partial = out.with_name(f".jaxharm-{os.getpid()}.part")
        self._source = self._stack.enter_context(_opened(self._files.clip))
        self._times = self._stack.enter_context(_opened(self._files.clip))
        try:
            self._container = self._stack.enter_context(
                av.open(str(self._partial), "w", format=kind)
            )
        except OSError as error:
            self._stack.close()
            raise InputError(f"cannot write {out}: {error.strerror}") from None
        read = self._times.streams.video[0]
        self._clock = self._times.decode(read)
        self._stream: Any = self._container.add_stream(encoder, rate=read.average_rate)
        self._stream.options = quality
        self._stream.codec_context.time_base = read.time_base
        self._audio = {
            stream: self._container.add_stream_from_template(stream)
            for stream in self._source.streams.audio
        }
        self._packets = iter(())
        if self._audio:
            self._packets = (p for p in self._source.demux(*self._audio) if p.dts is not None)
        self._waiting: Any = next(self._packets, None)
        self._advance = self._stack.enter_context(progress("harmonizing", self._total))
        return self

    def write(self, pixels: np.ndarray) -> None:
        """Encodes the next frame, u8 or u16 [h,w,3], with the time of the composite's."""
        import av

        like = next(self._clock)
        deep = pixels.dtype == np.uint16
        pixels = np.ascontiguousarray(pixels[..., :3])
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if deep else "rgb24")
        if self.frames == 0:
            self._begin(like, deep)
        frame = frame.reformat(
            format=self._stream.pix_fmt,
            dst_colorspace=like.colorspace,
            dst_color_range=like.color_range,
        )
        frame.pts, frame.time_base = like.pts, like.time_base
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
        self._sound(until=like.time)
        self.frames += 1
        self._advance()

    def _begin(self, like: Any, deep: bool) -> None:
        """Size and colors of the stream, which the first frame tells."""
        height, width = like.height, like.width
        # Sides that are odd cannot be halved for the colors.
        halved = height % 2 == 0 and width % 2 == 0
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = f"yuv{'420' if halved else '444'}p{'10le' if deep else ''}"
        context = self._stream.codec_context
        for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
            setattr(context, name, getattr(self._times.streams.video[0].codec_context, name))

    def _sound(self, until: float | None) -> None:
        """Copies the sound up to a time, so that both lie side by side in the file."""
        while self._waiting is not None:
            packet = self._waiting
            if until is not None and float(packet.dts * packet.time_base) > until:
                return
            packet.stream = self._audio[packet.stream]
            self._container.mux(packet)
            self._waiting = next(self._packets, None)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        import av

        try:
            if kind is None and self.frames:
                for packet in self._stream.encode():
                    self._container.mux(packet)
                self._sound(until=None)
            self._stack.close()
            if kind is None:
                self._partial.replace(self._files.out)
        except (OSError, av.FFmpegError) as failure:
            reason = failure.strerror
            raise InputError(f"cannot write {self._files.out}: {reason}") from None
        finally:
            self._partial.unlink(missing_ok=True)
