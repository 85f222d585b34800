"""Exports, read by other software and laid over the composite, are the rendering."""

import cv2
import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.interfaces import Inputs
from jaxharm.papers.pih.edit import Edit
from jaxharm.papers.pih.export import curve_table, export_cube, export_shading
from jaxharm.papers.pih.full_size import render_full_size as render
from jaxharm.papers.pih.parameters import Parameters

RANDOM = np.random.default_rng(0)
SHADING = 0.5 + RANDOM.random((9, 9), np.float32) / 2


def curves_and_image(knots):
    """Curves with steep parts, and a 16-bit image with every value near a knot or an end."""
    curves = RANDOM.random((3, knots), np.float32)
    image = RANDOM.integers(0, 65536, (64, 64, 3), np.uint16)
    image[0, :, :] = np.linspace(0, 65535, 64).astype(np.uint16)[:, None]
    near = np.rint((np.arange(knots) + 0.5) / knots * 65535).astype(np.uint16)
    image[1, : min(knots, 64), :] = near[:64, None]
    return Parameters(curves, SHADING), Inputs(image, None, np.ones((64, 64), np.float32), None)


def apply_by_opencolorio(cube, image):
    """The 16-bit image through the LUT file as OpenColorIO reads and applies it."""
    ocio = pytest.importorskip("PyOpenColorIO", reason="OpenColorIO is in the test extra")
    transform = ocio.FileTransform(str(cube), interpolation=ocio.INTERP_LINEAR)
    processor = ocio.Config.CreateRaw().getProcessor(transform).getDefaultCPUProcessor()
    pixels = np.ascontiguousarray(image.astype(np.float32) / np.float32(65535))
    processor.applyRGB(pixels)
    return pixels


@pytest.mark.parametrize("knots", [8, 16, 32, 64])
def test_cube_in_opencolorio_is_our_rendering(tmp_path, knots):
    parameters, inputs = curves_and_image(knots)
    export_cube(tmp_path / "p.cube", parameters)
    read = apply_by_opencolorio(tmp_path / "p.cube", inputs.composite)
    ours = render(inputs, parameters, edit=Edit(parts="curves"))
    assert np.abs(np.rint(read * 65535) - ours).max() <= 1


def test_strength_and_channels_are_worked_into_the_cube(tmp_path):
    parameters, inputs = curves_and_image(32)
    edit = Edit(parts="curves", channels=(1, 0, 0.25))
    export_cube(tmp_path / "p.cube", parameters, strength=0.5, edit=edit)
    read = apply_by_opencolorio(tmp_path / "p.cube", inputs.composite)
    ours = render(inputs, parameters, 0.5, edit)
    assert np.abs(np.rint(read * 65535) - ours).max() <= 1


def test_cube_file_is_plain_text_with_knots_and_flat_ends(tmp_path):
    parameters, _ = curves_and_image(32)
    export_cube(tmp_path / "p.cube", parameters)
    lines = (tmp_path / "p.cube").read_text().splitlines()
    assert lines[1:4] == ["LUT_1D_SIZE 4097", "DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0"]
    table = np.array([[float(number) for number in line.split()] for line in lines[4:]])
    assert table.shape == (4097, 3)
    np.testing.assert_allclose(table[64::128], parameters.curves.T, atol=1e-8)
    assert (table[:65] == table[64]).all()
    assert (table[-65:] == table[-65]).all()


def test_cube_and_shading_laid_over_the_composite_are_the_rendering(tmp_path):
    parameters, inputs = curves_and_image(32)
    edit = Edit(shading_strength=1.5)
    export_shading(tmp_path / "s.png", parameters, (64, 64), edit=edit)
    gain = cv2.imread(str(tmp_path / "s.png"), cv2.IMREAD_UNCHANGED)
    assert gain.dtype == np.uint16
    assert gain.shape == (64, 64)
    steps = np.linspace(0, 1, 4097)
    values = inputs.composite / 65535
    table = curve_table(parameters, edit=edit)
    curved = np.stack([np.interp(values[..., c], steps, table[:, c]) for c in range(3)], -1)
    ours = render(inputs, parameters, edit=edit)
    assert np.abs(curved * gain[..., None] - ours).max() <= 1.1


def test_what_the_files_cannot_hold_is_refused(tmp_path):
    parameters, _ = curves_and_image(8)
    cases = [
        ({"edit": Edit(parts="shading")}, "takes the shading only"),
        ({"edit": Edit(blend="color")}, "cannot hold the blend color"),
        ({"strength": 0.5}, "strength of curves and shading together fits no LUT"),
        ({"edit": Edit(channels=(1, 1, 0))}, "strength of curves and shading together"),
        ({"strength": 2}, "strength 2 is not between"),
    ]
    for arguments, reason in cases:
        with pytest.raises(InputError, match=reason):
            export_cube(tmp_path / "p.cube", parameters, **arguments)
    cases = [
        ({"edit": Edit(parts="curves")}, "no shading to export"),
        ({"edit": Edit(blend="color")}, "cannot hold a blend or a strength"),
        ({"strength": 0.5}, "cannot hold a blend or a strength"),
    ]
    for arguments, reason in cases:
        with pytest.raises(InputError, match=reason):
            export_shading(tmp_path / "s.png", parameters, (9, 9), **arguments)
    with pytest.raises(InputError, match=r"ends in \.cube"):
        export_cube(tmp_path / "p.txt", parameters)
    with pytest.raises(InputError, match="8 bits only"):
        export_shading(tmp_path / "s.jpg", parameters, (9, 9))
    assert not list(tmp_path.iterdir())
