"""`jaxharm mask`: rembg is called where it is, with its network's file in place; nothing is fetched."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from jaxharm.__main__ import main
from jaxharm.images import read_image, write_image

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder, with a picture and a network's file, and rembg's in its place."""
    write_image(tmp_path / "a.png", PICTURE)
    write_image(tmp_path / "deep.png", PICTURE.astype(np.uint16) * 257)
    (tmp_path / "u2net.onnx").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setenv("MODEL_CHECKSUM_DISABLED", "")

    def remove(image, *, session, only_mask):
        assert os.environ["MODEL_CHECKSUM_DISABLED"] == "1"  # or rembg might download
        assert (session, only_mask) == ("session of u2net", True)
        np.testing.assert_array_equal(image, PICTURE)
        return image[..., 1]

    fake = SimpleNamespace(remove=remove, new_session=lambda name: f"session of {name}")
    monkeypatch.setitem(sys.modules, "rembg", fake)
    return tmp_path


@pytest.mark.parametrize("name", ["a.png", "deep.png"])
def test_the_mask_is_written(place, capsys, name):
    assert main(["mask", name, "-o", "m.png"]) == 0
    assert capsys.readouterr().out == "wrote m.png\n"
    np.testing.assert_array_equal(read_image("m.png").pixels[..., 0], PICTURE[..., 1])


def test_what_is_missing_is_said(place, monkeypatch, capsys):
    assert main(["mask", "a.png", "-o", "a.png"]) == 2
    assert "would replace the picture" in capsys.readouterr().err
    assert main(["mask", "a.png", "-o", "m.png", "--network", "isnet"]) == 2
    assert (
        f"no network at {place / 'isnet.onnx'}, and none is downloaded" in capsys.readouterr().err
    )
    monkeypatch.setitem(sys.modules, "rembg", None)
    assert main(["mask", "a.png", "-o", "m.png"]) == 2
    assert "pip install 'rembg[cpu]'" in capsys.readouterr().err
    assert not (place / "m.png").exists()
