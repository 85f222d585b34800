"""Writes a prediction for image editors: the curves as a 1D LUT, the shading as a gray image.

The two are layers over the composite, both under the foreground's mask: the LUT first, then the
gray image in the mode Multiply, on the encoded (not linear) values. Inside an opaque mask that
is the rendering. What a LUT or a multiplied image cannot express is refused.
"""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxharm.errors import InputError
from jaxharm.images import check_output, write_image, write_whole
from jaxharm.images.bit_depth import from_unit
from jaxharm.inference.options import check_strength
from jaxharm.inference.tiles import enlarge_rows
from jaxharm.papers.pih.edit import Edit
from jaxharm.papers.pih.parameters import Parameters

_LEAST_STEPS = 4096


def export_cube(
    path: str | os.PathLike[str],
    parameters: Parameters,
    *,
    strength: float = 1.0,
    edit: Edit | None = None,
) -> None:
    """Writes the curves as a 1D LUT in the .cube format (Adobe Cube LUT Specification 1.0).

    Args:
        path: file ending in .cube.
        parameters: of a prediction.
        strength, edit: as for `jaxharm.render`; they are worked into the curves.

    Raises:
        InputError: another suffix, no writable folder, or an edit that no LUT expresses: a blend,
            shading alone, or a strength (also per channel) of curves and shading together.
    """
    if Path(path).suffix.lower() != ".cube":
        raise InputError(f"cannot write {path}: a LUT file ends in .cube")
    write_whole(path, cube_text(parameters, strength=strength, edit=edit).encode())


def cube_text(parameters: Parameters, *, strength: float = 1.0, edit: Edit | None = None) -> str:
    """The content of the file that `export_cube` writes; InputError as there."""
    table = curve_table(parameters, strength=strength, edit=edit)
    lines = [
        'TITLE "jaxharm curves"',
        f"LUT_1D_SIZE {len(table)}",
        "DOMAIN_MIN 0.0 0.0 0.0",
        "DOMAIN_MAX 1.0 1.0 1.0",
        *(f"{red:.8f} {green:.8f} {blue:.8f}" for red, green, blue in table),
    ]
    return "\n".join(lines) + "\n"


def curve_table(
    parameters: Parameters, *, strength: float = 1.0, edit: Edit | None = None
) -> np.ndarray:
    """The curves at evenly spaced values from 0 to 1: f64[n,3], n from 4097.

    The knots and the ends of the flat parts are entries of the table, so that a reader that
    interpolates linearly gets the curves exactly.

    Raises:
        InputError: see `export_cube`.
    """
    edit = edit or Edit()
    check_strength(strength)
    if edit.parts == "shading":
        raise InputError("a LUT holds curves, and this edit takes the shading only")
    if edit.blend != "all":
        raise InputError(f"a LUT cannot hold the blend {edit.blend}: it mixes the channels")
    shaded = parameters.shading is not None and edit.parts == "all"
    weights = strength * np.array(edit.channels)
    if shaded and (weights != 1).any():
        raise InputError(
            "a strength of curves and shading together fits no LUT: export the curves only, or "
            "with strength 1"
        )
    knots = parameters.curves.shape[1]
    # Knot i is at (2i+1)/2k: an entry wherever the steps are a multiple of 2k.
    steps = 2 * knots * -(-_LEAST_STEPS // (2 * knots))
    values = np.linspace(0, 1, steps + 1)
    positions = (np.arange(knots) + 0.5) / knots
    curves = [np.interp(values, positions, curve.astype(np.float64)) for curve in parameters.curves]
    # A strength below 1 mixes with the identity, which is a curve as well.
    column = values[:, None]
    return column + weights * (np.stack(curves, 1) - column)


def export_shading(
    path: str | os.PathLike[str],
    parameters: Parameters,
    size: tuple[int, int],
    *,
    strength: float = 1.0,
    edit: Edit | None = None,
) -> None:
    """Writes the shading map at (height, width) as a 16-bit gray image: 65535 is a gain of 1.

    Args:
        path: .png or .tif file.
        parameters: of a prediction.
        size: of the image that the map belongs to.
        strength, edit: as for `jaxharm.render`; the shading strength is worked into the map.

    Raises:
        InputError: another suffix, no writable folder, no shading, or an edit that no gain map
            expresses: a blend, or a strength (also per channel).
    """
    edit = edit or Edit()
    check_output(path, dtype=np.uint16)
    check_strength(strength)
    if parameters.shading is None or edit.parts == "curves":
        raise InputError("there is no shading to export: these are curves only")
    if edit.blend != "all" or {strength, *edit.channels} != {1.0}:
        raise InputError(
            "a shading map cannot hold a blend or a strength of the whole change; the shading "
            "strength it can"
        )
    shading = np.asarray(edit.gain(jnp.asarray(parameters.shading)))
    large = enlarge_rows(shading, size, slice(0, size[0]))
    write_image(path, from_unit(large, np.dtype(np.uint16))[..., None])
