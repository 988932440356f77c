"""How steps, buffers and what flows between them look."""

from __future__ import annotations

from collections.abc import Sequence

from inception_fast.explain.labels import TIMES, channels, epilogue, headline
from inception_fast.explain.svg import Canvas, Point, smooth
from inception_fast.plan.plan import ConvStep, PairStep, Plan, PoolStep, Slice, destinations_of

NODE_WIDTH, NODE_HEIGHT = 104.0, 38.0
SLAB_HEIGHT, BAR_HEIGHT = 15.0, 22.0
NARROWEST_SLICE = 30.0
ARROW = 5.0
COLOURS = {
    "1x1": ("#3b82f6", "#e3eefe", f"1{TIMES}1 convolution or linear layer"),
    "window": ("#0f9d8f", "#dcf5f1", "convolution over a window"),
    "pair": ("#9257e8", "#f0e7fd", "two convolutions in one step, the tensor between them never in memory"),
    "pool": ("#e8890c", "#fdeed6", "pooling"),
    "other": ("#64748b", "#eef1f5", "elementwise"),
    "input": ("#94a3b8", "#f1f5f9", "the network's input"),
}
"""By kind of step: its line and what it writes, its fill, what the legend says."""
STYLE = (
    "text{font-family:Inter,system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',Arial,sans-serif;fill:#1e293b}"
    ".h{font-size:12.5px;font-weight:600;text-anchor:middle}.s{font-size:10.5px;fill:#475569;text-anchor:middle}"
    ".w{font-size:10.5px;font-weight:600;fill:#fff;text-anchor:middle}.b{font-size:15px;font-weight:700}"
    ".d{font-size:10.5px;font-weight:600;text-anchor:middle}.n{font-size:11px;fill:#64748b}"
    ".g{font-size:10px;fill:#94a3b8;text-anchor:middle}.t{font-size:26px;font-weight:700}"
    ".u{font-size:14px;fill:#475569}"
)


PANEL = "#f8fafc"


def definitions() -> str:
    """Arrowheads, one a colour."""
    return "".join(
        f'<marker id="{kind}" viewBox="0 0 10 10" refX="2" refY="5" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L10 5L0 10z" fill="{line}"/></marker>'
        for kind, (line, _, _) in COLOURS.items()
    )


def node_width(plan: Plan, index: int) -> float:
    """Enough for both lines of a step's words."""
    step = plan.steps[index]
    below = len(f"{channels(step)}  {epilogue(step)}".strip())
    return max(NODE_WIDTH, 7.6 * len(headline(plan, step)) + 16, 6.2 * below + 14)


def slices_of(plan: Plan, buffer: int) -> list[Slice]:
    """The slices that steps write of a buffer, in order of channels; the whole of the input."""
    pieces = [d.slice for step in plan.steps for d in destinations_of(step) if d.slice.buffer == buffer]
    return sorted(pieces, key=lambda p: p.start) or [Slice(buffer, 0, plan.buffers[buffer].channels)]


def slice_span(plan: Plan, width: float, piece: Slice) -> tuple[float, float]:
    """Centre of a slice from the middle of its buffer's bar, and its width: by channels, but wide enough to label."""
    pieces = slices_of(plan, piece.buffer)
    spare = width - NARROWEST_SLICE * len(pieces)
    widths = [NARROWEST_SLICE + spare * p.channels / plan.buffers[piece.buffer].channels for p in pieces]
    index = pieces.index(piece)
    return sum(widths[:index]) + widths[index] / 2 - width / 2, widths[index]


class Painter:
    """Draws the parts of one Plan on a canvas."""

    def __init__(self, plan: Plan, canvas: Canvas) -> None:
        self.plan, self.canvas = plan, canvas
        self._writer = {
            (d.slice.buffer, d.slice.start): i for i, step in enumerate(plan.steps) for d in destinations_of(step)
        }

    def kind(self, index: int | None) -> str:
        """The key in :data:`COLOURS` of a step; None stands for the network's input."""
        if index is None:
            return "input"
        match self.plan.steps[index]:
            case PairStep():
                return "pair"
            case ConvStep(conv=conv):
                return "1x1" if len(conv.taps) == 1 else "window"
            case PoolStep():
                return "pool"
            case _:
                return "other"

    def writer(self, buffer: int) -> int | None:
        """The step that writes a buffer's first channels; None for the input."""
        return self._writer.get((buffer, 0))

    def arrow(self, points: Sequence[Point], kind: str, dashed: bool = False) -> None:
        """A line down through points, with its head in front of the last."""
        *before, (x, y) = points
        self.path(smooth([*before, (x, y - ARROW)]), kind, dashed)

    def path(self, commands: str, kind: str, dashed: bool = False) -> None:
        self.canvas.path(
            commands,
            fill="none",
            stroke=COLOURS[kind][0],
            stroke_width=2.2,
            stroke_dasharray="6 4" if dashed else None,
            marker_end=f"url(#{kind})",
        )

    def node(self, index: int, x: float, y: float, width: float) -> None:
        """A step, ``x`` in its middle."""
        step = self.plan.steps[index]
        line, fill, _ = COLOURS[self.kind(index)]
        words = headline(self.plan, step)
        below = f"{channels(step)}  {epilogue(step)}".strip()
        self.canvas.rect(
            x - width / 2,
            y,
            width,
            NODE_HEIGHT,
            title=f"{step.name}: {words}, {below}",
            rx=7,
            fill=fill,
            stroke=line,
            stroke_width=1.4,
            data_step=step.name,
        )
        self.canvas.text(x, y + 16, words, class_="h")
        self.canvas.text(x, y + 30, below, class_="s")

    def slab(self, piece: Slice, x: float, y: float, width: float) -> None:
        """A buffer that one step writes, right under it."""
        self._memory(piece, x - width / 2 + 5, y, width - 10, SLAB_HEIGHT)
        self.canvas.text(x, y + 11.5, str(piece.channels), class_="w")

    def bar(self, buffer: int, x: float, y: float, width: float, again: bool = False) -> None:
        """A buffer in its slices, paler where it is only shown ``again``."""
        for piece in slices_of(self.plan, buffer):
            offset, share = slice_span(self.plan, width, piece)
            self._memory(piece, x + offset - share / 2 + 1, y, share - 2, BAR_HEIGHT, again)
            self.canvas.text(x + offset, y + 15, str(piece.channels), class_="d" if again else "w")

    def size(self, buffer: int, x: float, y: float) -> None:
        """Height, width and channels of a buffer, beside its bar."""
        shape = self.plan.buffers[buffer]
        self.canvas.text(x, y + 9, f"{shape.height}{TIMES}{shape.width}", class_="g")
        self.canvas.text(x, y + 20, f"{TIMES}{shape.channels}", class_="g")

    def legend(self, x: float, y: float) -> None:
        shown = {self.kind(i) for i in range(len(self.plan.steps))}
        for kind in (kind for kind in COLOURS if kind in shown):
            line, fill, words = COLOURS[kind]
            self.canvas.rect(x, y - 9, 14, 11, rx=3, fill=fill, stroke=line, stroke_width=1.3)
            self.canvas.text(x + 20, y, words, class_="n")
            x += 44 + 6.4 * len(words)
        self.canvas.rect(x, y - 9, 22, 11, rx=2, fill=COLOURS["input"][0])
        self.canvas.text(
            x + 28,
            y,
            "memory: a slice has the colour of the step that writes it in place; grey numbers are stages",
            class_="n",
        )

    def _memory(self, piece: Slice, x: float, y: float, width: float, height: float, again: bool = False) -> None:
        buffer = self.plan.buffers[piece.buffer]
        index = self._writer.get((piece.buffer, piece.start))
        channels_here = f"channels {piece.start} to {piece.start + piece.channels - 1} of {buffer.channels}"
        self.canvas.rect(
            x,
            y,
            width,
            height,
            title=f"{buffer.name}, {buffer.height}{TIMES}{buffer.width}, {channels_here}",
            rx=3,
            fill=COLOURS[self.kind(index)][1 if again else 0],
            stroke=COLOURS[self.kind(index)][0] if again else None,
            data_slice=None if again else f"{piece.buffer}:{piece.start}:{piece.channels}",
        )
