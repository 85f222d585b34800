"""The examples run, as they stand."""

import importlib.util
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import jaxharm
from jaxharm.images import write_image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def pictures(size=(48, 64)):
    y, x = np.mgrid[: size[0], : size[1]]
    plate = np.stack([80 + x, 150 - y, 60 + x + y], -1).astype(np.uint8)
    mask = np.zeros(size, np.float32)
    mask[10:30, 20:50] = 1
    composite = plate.copy()
    composite[mask > 0] //= 2
    return composite, mask, plate


def test_every_example_is_listed():
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.name not in ("README.md", "__pycache__"):
            assert f"({path.name}" in listed, path.name


def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / "harmonize.ipynb").read_text())["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "commit it without outputs"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["result"].shape == names["composite"].shape
    assert (tmp_path / "warmer.json").exists()
    assert "same size" in capsys.readouterr().out


def node():
    path = EXAMPLES / "comfyui" / "__init__.py"
    spec = importlib.util.spec_from_file_location("comfyui_node", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_comfyui_node_keeps_its_contract():
    module = node()
    (name,) = module.NODE_CLASS_MAPPINGS
    assert name in module.NODE_DISPLAY_NAME_MAPPINGS
    cls = module.NODE_CLASS_MAPPINGS[name]
    inputs = cls.INPUT_TYPES()
    composite, mask, plate = pictures()
    images = np.stack([composite, plate]).astype(np.float32) / 255
    given = {"image": images, "mask": mask[None], "strength": 0.5}
    assert set(inputs["required"]) == set(given)
    assert {"background", "checkpoint"} == set(inputs["optional"])
    (made,) = getattr(cls(), cls.FUNCTION)(**given)
    assert len(cls.RETURN_TYPES) == len(cls.RETURN_NAMES) == 1
    assert made.dtype == np.float32
    want = jaxharm.harmonize(images[0], mask, strength=0.5)
    np.testing.assert_array_equal(made[0], want)
    (whole,) = cls().harmonize(images, mask[None], 1.0, background=images, checkpoint="")
    assert whole.shape == images.shape


def test_a_round_trip_through_open_raster(tmp_path):
    composite, mask, plate = pictures()
    layer = np.concatenate([composite, (255 * mask[..., None]).astype(np.uint8)], 2)[5:40, 10:60]
    stack = (
        '<image w="64" h="48"><stack><layer name="object" src="data/a.png" x="10" y="5"/>'
        '<layer name="hidden" src="data/a.png" visibility="hidden"/>'
        '<layer name="scene" src="data/b.png"/></stack></image>'
    )
    with zipfile.ZipFile(tmp_path / "in.ora", "w") as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", stack)
        for name, pixels in (("a", layer), ("b", plate)):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            archive.writestr(f"data/{name}.png", buffer.getvalue())
    command = [sys.executable, EXAMPLES / "open_raster.py", tmp_path / "in.ora", tmp_path / "o.ora"]
    subprocess.run(list(map(str, command)), check=True)
    with zipfile.ZipFile(tmp_path / "o.ora") as archive:
        assert archive.namelist()[0] == "mimetype"
        layers = list(ElementTree.fromstring(archive.read("stack.xml")).iter("layer"))
        assert [layer.get("name") for layer in layers][:2] == ["harmonized", "object"]
        made = np.asarray(Image.open(io.BytesIO(archive.read("data/harmonized.png"))))
        merged = np.asarray(Image.open(io.BytesIO(archive.read("mergedimage.png"))))
    np.testing.assert_array_equal(made[..., 3] > 0, mask > 0)
    np.testing.assert_array_equal(merged[mask == 0], plate[mask == 0])
    assert (merged[mask > 0] != composite[mask > 0]).any()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_clip_goes_through_ffmpeg(tmp_path):
    composite, mask, _ = pictures()
    for name, pixels in (
        ("frames", composite),
        ("masks", (255 * mask[..., None]).astype(np.uint8)),
    ):
        (tmp_path / name).mkdir()
        for number in range(4):
            write_image(tmp_path / name / f"{number:03}.png", pixels)
        still = ["-framerate", "25", "-i", str(tmp_path / name / "%03d.png"), "-c:v", "ffv1"]
        command = ["ffmpeg", "-loglevel", "error", *still, str(tmp_path / f"{name}.mkv")]
        subprocess.run(command, check=True)
    script, files = EXAMPLES / "clip_by_ffmpeg.sh", ("frames.mkv", "masks.mkv", "out.mp4")
    command = [str(script), *(str(tmp_path / file) for file in files)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(tmp_path)}
    environment["PYTHONPATH"] = str(EXAMPLES.parent)
    subprocess.run(command, check=True, env=environment, timeout=300)
    told = ["ffprobe", "-loglevel", "error", "-count_frames", "-show_entries"]
    told += ["stream=nb_read_frames,width", "-of", "csv=p=0", str(tmp_path / "out.mp4")]
    assert subprocess.run(told, capture_output=True, text=True).stdout.strip() == "64,4"
