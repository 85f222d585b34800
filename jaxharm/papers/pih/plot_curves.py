"""Draw the curves of a parameters file: knots at their true positions, flat ends, identity.

Example:  python -m jaxharm plot-curves p.json -o curves.png
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_SIDE = 720  # of the plotted square, in pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 78, 66, 34, 70  # margins
_OVERSAMPLING = 3
_BACKGROUND, _FRAME, _GRID, _TEXT = "#ffffff", "#8a8f98", "#e7e9ed", "#30343b"
_COLORS = {"red": "#d6402b", "green": "#2a9245", "blue": "#2f63d1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("params", type=Path, help="file that harmonize --save-params wrote")
    parser.add_argument("-o", "--output", required=True, type=Path, help="image file")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    import numpy as np

    from jaxharm.images import check_output, write_image
    from jaxharm.inference import Parameters

    check_output(arguments.output, dtype=np.uint8)
    parameters = Parameters.load(arguments.params)
    write_image(arguments.output, np.asarray(draw_curves(parameters.curves)))
    return 0


def draw_curves(curves: "np.ndarray") -> "Image.Image":
    """The three curves in one plot, input to the right and output upwards, both from 0 to 1.

    Args:
        curves: f32[3,k], values at the positions (i+0.5)/k.

    Returns:
        An RGB image. Each knot is a dot; left of the first and right of the last the curve is
        flat. Dashed: the identity.
    """
    from PIL import Image, ImageDraw

    s = _OVERSAMPLING
    size = (s * (_LEFT + _SIDE + _RIGHT), s * (_TOP + _SIDE + _BOTTOM))
    image = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(image)

    def place(x: float, y: float) -> tuple[float, float]:
        return s * (_LEFT + x * _SIDE), s * (_TOP + (1 - y) * _SIDE)

    _draw_axes(draw, place)
    for step in range(60):  # the identity, dashed
        start, end = step / 60, (step + 0.55) / 60
        draw.line([place(start, start), place(end, end)], fill=_FRAME, width=s)
    knots = curves.shape[1]
    for (_, color), curve in zip(_COLORS.items(), curves.tolist(), strict=True):
        points = [((i + 0.5) / knots, value) for i, value in enumerate(curve)]
        line = [(0.0, curve[0]), *points, (1.0, curve[-1])]
        draw.line([place(*point) for point in line], fill=color, width=2 * s, joint="curve")
        radius = s * (3.2 if knots <= 64 else 1.6)
        for point in points:
            x, y = place(*point)
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)
    _draw_words(draw, place, knots)
    return image.resize((size[0] // s, size[1] // s), Image.Resampling.BOX)


def _draw_axes(draw, place) -> None:
    s = _OVERSAMPLING
    for step in range(11):
        at = step / 10
        draw.line([place(at, 0), place(at, 1)], fill=_GRID, width=s)
        draw.line([place(0, at), place(1, at)], fill=_GRID, width=s)
    draw.line(
        [place(0, 0), place(1, 0), place(1, 1), place(0, 1), place(0, 0)], fill=_FRAME, width=s
    )


def _draw_words(draw, place, knots: int) -> None:
    from PIL import ImageFont

    s = _OVERSAMPLING
    small, large = (ImageFont.load_default(s * points) for points in (15, 18))
    for step in range(6):
        x, y = place(step / 5, 0)
        draw.text((x, y + 10 * s), f"{step / 5:.1f}", fill=_TEXT, font=small, anchor="ma")
        x, y = place(0, step / 5)
        draw.text((x - 10 * s, y), f"{step / 5:.1f}", fill=_TEXT, font=small, anchor="rm")
    x, y = place(0.5, 0)
    draw.text((x, y + 36 * s), "input (sRGB-encoded)", fill=_TEXT, font=small, anchor="ma")
    x, y = place(0, 1)
    draw.text((x, y - 20 * s), "output", fill=_TEXT, font=small, anchor="ls")
    draw.text((x, y - 42 * s), f"Curves, {knots} knots", fill=_TEXT, font=large, anchor="ls")
    x, y = place(1, 1)
    entries = [*_COLORS.items(), ("identity", _FRAME)]
    for name, color in reversed(entries):
        draw.text((x, y - 20 * s), name, fill=_TEXT, font=small, anchor="rs")
        x -= draw.textlength(name, font=small) + 7 * s
        start, middle = x - 22 * s, y - 25 * s
        if name == "identity":  # dashed, as it is drawn
            for dash in (start, x - 9 * s):
                draw.line([(dash, middle), (dash + 9 * s, middle)], fill=color, width=2 * s)
        else:
            draw.line([(start, middle), (x, middle)], fill=color, width=3 * s)
        x -= 40 * s
