"""Clips: frames in order, times and sound kept, memory of a few frames, sentences for what is wrong."""

import fractions

import numpy as np
import pytest

from jaxharm.__main__ import main
from jaxharm.cli import clip
from jaxharm.images import write_image

av = pytest.importorskip("av", reason="needs pip install 'jaxharm[video]'")
SIZE = (48, 64)
FRAMES = 9


def write_clip(path, frames, *, sound=False, codec="libx264", pts=None, pixels="yuv420p"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        stream.codec_context.time_base = fractions.Fraction(1, 1000)
        audio = container.add_stream("aac", rate=8000) if sound else None
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = pts[number] if pts else 40 * number
            picture.time_base = fractions.Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if audio is not None:
            tone = np.sin(np.arange(8000 * len(frames) // 25) / 4).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            samples.rate = 8000
            container.mux([*audio.encode(samples), *audio.encode()])
    return path


def composites(count=FRAMES):
    """Frames that can be told by their brightness."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = [np.stack([60 + 10 * n + x // 2, 90 + y, 50 + x], -1) for n in range(count)]
    return [np.where(mask() > 0, frame // 2, frame).astype(np.uint8) for frame in frames]


def mask():
    values = np.zeros((*SIZE, 1), np.uint8)
    values[10:30, 20:50] = 255
    return values


@pytest.fixture
def files(tmp_path):
    write_clip(tmp_path / "clip.mp4", composites(), sound=True)
    (tmp_path / "masks").mkdir()
    for number in range(FRAMES):
        write_image(tmp_path / "masks" / f"m{number + 1}.png", mask())
    return tmp_path


def harmonize(folder, *arguments, masks="masks", out="out.mp4", clip="clip.mp4"):
    paths = [str(folder / clip), str(folder / masks), "-o", str(folder / out)]
    return main(["harmonize", *paths, *arguments])


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
    return [time for time, _ in frames], [frame for _, frame in frames]


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(container.streams.audio[0]) if p.dts is not None]


@pytest.mark.parametrize("options", [(), ("--temporal", "2")])
def test_frames_times_and_sound_are_kept(files, options, capsys):
    assert harmonize(files, *options) == 0
    assert f"{FRAMES} frames" in capsys.readouterr().out
    times, frames = read(files / "out.mp4")
    assert times == read(files / "clip.mp4")[0]
    outside = mask()[..., 0] == 0
    for made, composite in zip(frames, read(files / "clip.mp4")[1], strict=True):
        assert abs(made[outside].astype(int) - composite[outside]).mean() < 3  # two encoders
        assert abs(made[~outside].astype(int) - composite[~outside]).mean() > 3
    assert packets(files / "out.mp4") == packets(files / "clip.mp4")
    assert not list(files.glob(".jaxharm-*"))


def test_uneven_times_stay(tmp_path):
    times = [0, 40, 100, 400, 410]
    write_clip(tmp_path / "clip.mkv", composites(5), pts=times)
    write_image(tmp_path / "one.png", mask())
    assert harmonize(tmp_path, masks="one.png", clip="clip.mkv", out="out.mkv") == 0
    assert np.allclose(read(tmp_path / "out.mkv")[0], np.array(times) / 1000, atol=1e-3)


def test_masks_may_be_a_clip_and_sides_odd(tmp_path):
    frames = [frame[:47, :63] for frame in composites(3)]
    write_clip(tmp_path / "clip.mp4", frames, pixels="yuv444p")
    masks = [np.repeat(mask()[:47, :63], 3, 2)] * 3
    write_clip(tmp_path / "masks.mp4", masks, pixels="yuv444p")
    assert harmonize(tmp_path, masks="masks.mp4", out="out.webm") == 0
    assert read(tmp_path / "out.webm")[1][2].shape == (47, 63, 3)


def test_few_frames_are_held(files, monkeypatch):
    """Each frame is asked for when the one before is written, but for those that are smoothed over."""
    ahead, most = [0], [0]
    frames, write = clip._inputs, clip._Writer.write

    def counted(*arguments):
        for inputs in frames(*arguments):
            ahead[0] += 1
            most[0] = max(most[0], ahead[0])
            yield inputs

    def wrote(self, pixels):
        ahead[0] -= 1
        write(self, pixels)

    monkeypatch.setattr(clip, "_inputs", counted)
    monkeypatch.setattr(clip._Writer, "write", wrote)
    assert harmonize(files) == 0
    assert most[0] == 1


def test_parameters_of_every_frame_are_kept(files):
    assert harmonize(files, "--save-params", str(files / "looks")) == 0
    assert len(list((files / "looks").iterdir())) == FRAMES


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: (f / "masks/m9.png").unlink(), "more frames than"),
        (lambda f: [p.unlink() for p in (f / "masks").iterdir()], "holds no pictures"),
        (lambda f: (f / "clip.mp4").unlink(), "does not exist"),
        (lambda f: (f / "clip.mp4").write_bytes(b"no clip at all"), "cannot read clip"),
        (lambda f: write_image(f / "masks/m3.png", mask()[:20]), "same size"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_half_written(files, change, sentence, capsys):
    change(files)
    assert harmonize(files) == 2
    assert sentence in capsys.readouterr().err
    assert not (files / "out.mp4").exists()
    assert not list(files.glob(".jaxharm-*"))


def test_masks_without_a_frame_are_told(files, capsys):
    write_image(files / "masks" / "m10.png", mask())
    assert harmonize(files) == 0
    assert "more masks than" in capsys.readouterr().err


def test_other_names_and_missing_masks_are_refused(files, capsys):
    assert harmonize(files, out="out.gif") == 2
    assert "a clip ends in one of" in capsys.readouterr().err
    assert main(["harmonize", str(files / "clip.mp4"), "-o", str(files / "out.mp4")]) == 2
    assert "a clip needs masks" in capsys.readouterr().err
