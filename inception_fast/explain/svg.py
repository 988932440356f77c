"""SVG as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

Point = tuple[float, float]


class Canvas:
    """Collects shapes; ``layer`` chooses what lies over what."""

    LAYERS = ("ground", "lines", "shapes", "words")

    def __init__(self) -> None:
        self._layers: dict[str, list[str]] = {name: [] for name in self.LAYERS}

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        layer: str = "shapes",
        title: str = "",
        **style: object,
    ) -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        inside = f"<title>{escape(title)}</title>" if title else ""
        self._layers[layer].append(f"<rect {place}{_attributes(style)}>{inside}</rect>")

    def path(self, commands: str, *, layer: str = "lines", **style: object) -> None:
        self._layers[layer].append(f'<path d="{commands}"{_attributes(style)}/>')

    def text(self, x: float, y: float, words: str, *, layer: str = "words", **style: object) -> None:
        self._layers[layer].append(f'<text x="{x:.1f}" y="{y:.1f}"{_attributes(style)}>{escape(words)}</text>')

    def halo(self, x: float, y: float, words: str, *, ground: str, **style: Any) -> None:
        """Text that interrupts the lines behind it, which are on ``ground``."""
        # Drawn twice, because not every renderer knows paint-order.
        outline: dict[str, Any] = {"stroke": ground, "stroke_width": 5, "stroke_linejoin": "round"}
        self.text(x, y, words, layer="shapes", **style, **outline)
        self.text(x, y, words, **style)

    def render(self, width: float, height: float, *, style: str, definitions: str = "", title: str = "") -> str:
        """The whole document, on white."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img">'
        )
        body = [f'<g class="{name}">\n' + "\n".join(shapes) + "\n</g>" for name, shapes in self._layers.items()]
        ground = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
        return "\n".join(
            [
                head,
                f"<title>{escape(title)}</title>",
                f"<style>{style}</style>",
                f"<defs>{definitions}</defs>",
                ground,
                *body,
                "</svg>\n",
            ]
        )


def smooth(points: Sequence[Point]) -> str:
    """A line through points that leaves and arrives vertically; between points of one x it is straight."""
    (x, y), *rest = points
    commands = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        if abs(to_x - x) < 0.05:
            commands.append(f"V{to_y:.1f}")
        else:
            middle = (y + to_y) / 2
            commands.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return "".join(commands)


def _attributes(style: dict[str, object]) -> str:
    """``class_`` and ``stroke_width`` as ``class`` and ``stroke-width``."""
    names = {name: name.rstrip("_").replace("_", "-") for name in style}
    return "".join(f" {names[k]}={quoteattr(str(v))}" for k, v in style.items() if v is not None)
