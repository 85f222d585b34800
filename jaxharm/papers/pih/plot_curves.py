"""Draw the curves of a parameters file: knots at their true positions, flat ends, identity.

Example:  python -m jaxharm plot-curves p.json -o curves.png
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_SIZE, _DPI = (8.32, 8.56), 100  # inches
_AREA = (0.09375, 0.08178, 0.86538, 0.84112)  # of the curves: left, bottom, width, height
_COLORS = {"red": "#d6402b", "green": "#2a9245", "blue": "#2f63d1"}
_FRAME, _GRID, _TEXT = "#8a8f98", "#e7e9ed", "#30343b"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("params", type=Path, help="file that harmonize --save-params wrote")
    parser.add_argument("-o", "--output", required=True, type=Path, help="image file")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    import numpy as np

    from jaxharm.images import check_output, write_image
    from jaxharm.papers.pih.parameters import Parameters

    check_output(arguments.output, dtype=np.uint8)
    parameters = Parameters.load(arguments.params)
    write_image(arguments.output, draw_curves(parameters.curves))
    return 0


def draw_curves(curves: "np.ndarray") -> "np.ndarray":
    """Draws the three curves in one plot, input to the right and output upwards, from 0 to 1.

    Args:
        curves: f32[3,k], values at the positions (i+0.5)/k.

    Returns:
        u8[856,832,3]. Each knot is a dot; left of the first and right of the last the curve is
        flat. Dashed: the identity.
    """
    import numpy as np

    # The bare figure and canvas, not pyplot: that looks for a display and keeps every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = FigureCanvasAgg(Figure(figsize=_SIZE, dpi=_DPI))
    axes = canvas.figure.add_axes(_AREA)
    knots = curves.shape[1]
    for (name, color), curve in zip(_COLORS.items(), curves, strict=True):
        x = np.concatenate([[0], (np.arange(knots) + 0.5) / knots, [1]])
        y = np.concatenate([curve[:1], curve, curve[-1:]])
        # Without markers at both ends: there is no knot there.
        axes.plot(
            x,
            y,
            color=color,
            label=name,
            marker="o",
            markersize=4.5 if knots <= 64 else 2.3,
            markevery=slice(1, knots + 1),
            clip_on=False,
            zorder=3,
        )
    axes.plot([0, 1], [0, 1], "--", color=_FRAME, linewidth=1, label="identity")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="input (sRGB-encoded)", ylabel="output")
    axes.set_title(f"Curves, {knots} knots", loc="left", color=_TEXT, fontsize=14, pad=14)
    axes.set_xticks(np.linspace(0, 1, 11), minor=True)
    axes.set_yticks(np.linspace(0, 1, 11), minor=True)
    axes.grid(which="both", color=_GRID)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, pad=8, labelcolor=_TEXT, labelsize=11)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_TEXT, fontsize=12)
    axes.spines[:].set_color(_FRAME)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=4,
        frameon=False,
        labelcolor=_TEXT,
        fontsize=11,
        handlelength=1.6,
        columnspacing=1.4,
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
