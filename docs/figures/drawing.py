"""A few shapes for block diagrams, written as SVG text that reads on light and on dark pages.

Boxes bring their own pale fill and dark text; lines and free text are a middle gray that stands out
from white and from black.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LINE = "#808790"
_INK = "#1b1f24"
_FILLS = {
    "data": "#dbe7f5",  # images, masks, features
    "net": "#fbe3c0",  # trained layers
    "frozen": "#e3dcf1",  # layers that are not trained
    "op": "#d8eedb",  # formulas without weights
}
_FONT = "font-family='Helvetica, Arial, sans-serif'"
_SIZE = 15
_LEADING = 18

Point = tuple[float, float]


@dataclass
class Drawing:
    """One figure: shapes are added in any order, arrows by the names of boxes.

    Attributes:
        width, height: of the picture, in pixels.
        title: what a screen reader says.
    """

    width: int
    height: int
    title: str
    _parts: list[str] = field(default_factory=list)
    _boxes: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)

    def box(self, name: str, at: Point, size: Point, text: str, kind: str = "data") -> None:
        """A rounded box with centered lines; `at` is its middle."""
        (x, y), (w, h) = at, size
        self._boxes[name] = (x, y, w, h)
        self._parts.append(
            f"<rect x='{x - w / 2}' y='{y - h / 2}' width='{w}' height='{h}' rx='6' "
            f"fill='{_FILLS[kind]}' stroke='{_LINE}'/>"
        )
        self._lines((x, y), text, _INK, "middle")

    def note(self, at: Point, text: str, anchor: str = "middle") -> None:
        """Free text in gray."""
        self._lines(at, text, _LINE, anchor)

    def arrow(
        self,
        start: str,
        end: str,
        *,
        via: Sequence[Point] = (),
        sides: str = "",
        dashed: bool = False,
    ) -> None:
        """An arrow between two boxes.

        Args:
            start, end: names of boxes.
            via: corners in between.
            sides: where it leaves and enters: two letters of l, r, t, b; otherwise the nearest.
            dashed: for what steers, where plain arrows carry features.
        """
        leave, enter = sides or self._nearest(start, end)
        points = [self._port(start, leave), *via, self._port(end, enter)]
        path = " ".join(f"{x},{y}" for x, y in points)
        dashes = "stroke-dasharray='5 4' " if dashed else ""
        self._parts.append(
            f"<polyline points='{path}' fill='none' stroke='{_LINE}' stroke-width='1.6' "
            f"{dashes}marker-end='url(#tip)'/>"
        )

    def polyline(self, points: Sequence[Point], color: str) -> None:
        """A colored line, for small plots."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>"
        )

    def cell(self, at: Point, size: float, gray: int) -> None:
        """A gray square, for small maps; `at` is its upper left corner."""
        self._parts.append(
            f"<rect x='{at[0]}' y='{at[1]}' width='{size}' height='{size}' "
            f"fill='rgb({gray},{gray},{gray})'/>"
        )

    def save(self, folder: Path, name: str) -> None:
        """Writes `<name>.svg`."""
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' "
            f"width='{self.width}' role='img' aria-label='{html.escape(self.title, quote=True)}'>"
            "<defs><marker id='tip' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' "
            f"markerHeight='7' orient='auto'><path d='M0,0 L10,5 L0,10 z' fill='{_LINE}'/></marker>"
            "</defs>"
        )
        (folder / f"{name}.svg").write_text("\n".join([head, *self._parts, "</svg>"]) + "\n")

    def _lines(self, at: Point, text: str, color: str, anchor: str) -> None:
        lines = text.split("\n")
        top = at[1] - (len(lines) - 1) * _LEADING / 2 + _SIZE * 0.35
        for i, line in enumerate(lines):
            self._parts.append(
                f"<text x='{at[0]}' y='{top + i * _LEADING}' text-anchor='{anchor}' {_FONT} "
                f"font-size='{_SIZE}' fill='{color}'>{html.escape(line)}</text>"
            )

    def _port(self, name: str, side: str) -> Point:
        x, y, w, h = self._boxes[name]
        return {
            "l": (x - w / 2, y),
            "r": (x + w / 2, y),
            "t": (x, y - h / 2),
            "b": (x, y + h / 2),
        }[side]

    def _nearest(self, start: str, end: str) -> str:
        (x0, y0, w0, h0), (x1, y1, w1, h1) = self._boxes[start], self._boxes[end]
        if abs(x1 - x0) - (w0 + w1) / 2 > abs(y1 - y0) - (h0 + h1) / 2:
            return "rl" if x1 > x0 else "lr"
        return "bt" if y1 > y0 else "tb"
