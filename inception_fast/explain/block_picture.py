"""One block: its steps in rows, a row a stage, between the bar of the buffer it reads and that of the one it writes."""

from __future__ import annotations

from dataclasses import dataclass

from inception_fast.explain.blocks import Block
from inception_fast.explain.geometry import Box, Link, place, row_width
from inception_fast.explain.paint import BAR_HEIGHT, NODE_HEIGHT, SLAB_HEIGHT, node_width, slice_span
from inception_fast.plan.plan import Plan, Slice, Step, destinations_of, sources_of

SEGMENT_WIDTH = 62.0
ROW_GAP = 36.0
BOX_GAP, LINE_WIDTH = 16.0, 10.0
INNER_BAR = 0.72
"""Width of a bar inside a block over that of one between blocks."""


@dataclass(frozen=True)
class Port:
    """Where a destination leaves its step.

    Attributes:
        offset, width: of its share of the step's lower edge, from the step's centre.
        slab: the buffer is this destination's own and is drawn right under it.
    """

    piece: Slice
    offset: float
    width: float
    slab: bool


@dataclass(frozen=True)
class Line:
    """A link with the step that wrote what flows along it (None for what the block reads)."""

    link: Link
    writer: int | None
    residual: bool

    @property
    def from_above(self) -> bool:
        """Whether it comes from the bar that the block reads."""
        return self.link.source.row == 0


class BlockPicture:
    """Positions of everything in a block, x from the middle of its bars, y from the lower edge of its upper bar.

    Attributes:
        nodes: box of each step, by its index in the Plan.
        ports: of each step.
        bars: box of each buffer that is drawn as a bar, by index; the one that the block reads is not among them.
        lines: everything that flows.
        needed: width of its widest row.
    """

    def __init__(self, plan: Plan, block: Block, width: float) -> None:
        self.plan, self.block = plan, block
        members = {i: plan.steps[i] for i in block.steps}
        self._alive_later = alive_after(plan, block.steps[-1])
        self.bars: dict[int, Box] = {}
        self.ports = {i: self._ports(i) for i in members}
        rows = self._rows(members)
        top = Box(0, width, fixed=True)
        self.nodes = {i: Box(rows["step", i], self._width(i)) for i in members}
        self._make_bars(rows, width)
        self.lines = self._lines(members, top)
        boxes = [top, *self.nodes.values(), *self.bars.values()]
        place(boxes, [line.link for line in self.lines], gap=BOX_GAP, line=LINE_WIDTH, space=width)
        self.needed = max(row_width([box.width for box in boxes if box.row == row], BOX_GAP) for row in rows.values())
        self._tops = self._row_tops(boxes)

    @property
    def height(self) -> float:
        """From the lower edge of the upper bar to the lower edge of the last row."""
        last = max(self._tops)
        return self._tops[last] + self._row_height(last)

    def span(self, box: Box) -> tuple[float, float]:
        """Upper and lower edge of a box; a line's place in a row is as high as the row."""
        top = self._tops[box.row]
        return top, top + self._row_height(box.row)

    def points(self, line: Line) -> list[tuple[float, float]]:
        """Where a line goes."""
        begin, end = line.link.ends()
        points = [(begin, self._leave(line))]
        for box in line.link.via:
            points += [(box.x, y) for y in self.span(box)]
        return [*points, (end, self.span(line.link.target)[0])]

    def _leave(self, line: Line) -> float:
        box = line.link.source
        if line.writer is None or any(box is bar for bar in self.bars.values()):
            return self.span(box)[1]
        slab = any(p.slab and abs(p.offset - (line.link.offsets[0] or 0.0)) < 0.1 for p in self.ports[line.writer])
        return self.span(box)[0] + NODE_HEIGHT + (SLAB_HEIGHT if slab else 0.0)

    def _width(self, index: int) -> float:
        return max(node_width(self.plan, index), sum(port.width for port in self.ports[index]))

    def _is_bar(self, buffer: int) -> bool:
        writes = [d for i in self.block.steps for d in destinations_of(self.plan.steps[i]) if d.slice.buffer == buffer]
        return len(writes) > 1 or buffer in self._alive_later

    def _ports(self, index: int) -> list[Port]:
        pieces = [d.slice for d in destinations_of(self.plan.steps[index])]
        each = node_width(self.plan, index) if len(pieces) == 1 else SEGMENT_WIDTH
        left = -each * len(pieces) / 2
        return [
            Port(piece, left + each * (i + 0.5), each, slab=not self._is_bar(piece.buffer))
            for i, piece in enumerate(pieces)
        ]

    def _rows(self, members: dict[int, Step]) -> dict[tuple[str, int], int]:
        """Row of every step and bar: stages in order, a bar right before its first reader or else at the end."""
        stage_of = {i: number for number, stage in enumerate(self.plan.stages) for i in stage}
        order: dict[tuple[str, int], float] = {("step", i): float(stage_of[i]) for i in members}
        for buffer in sorted({p.piece.buffer for ports in self.ports.values() for p in ports if not p.slab}):
            readers = [stage_of[i] for i, s in members.items() if buffer in {piece.buffer for piece in sources_of(s)}]
            order["bar", buffer] = min(readers) - 0.5 if readers else float("inf")
        levels = {value: row for row, value in enumerate(sorted(set(order.values())), start=1)}
        return {key: levels[value] for key, value in order.items()}

    def _make_bars(self, rows: dict[tuple[str, int], int], width: float) -> None:
        """Bars at the end take the whole width; those inside leave room for the lines that pass them."""
        mine = {buffer: row for (kind, buffer), row in rows.items() if kind == "bar"}
        last = max(rows.values())
        ends = [buffer for buffer, row in mine.items() if row == last]
        each = (width - BOX_GAP * (len(ends) - 1)) / len(ends)
        for buffer, row in mine.items():
            if row == last:
                x = -width / 2 + each / 2 + ends.index(buffer) * (each + BOX_GAP)
                self.bars[buffer] = Box(row, each, x, fixed=True)
            else:
                self.bars[buffer] = Box(row, INNER_BAR * width)

    def _lines(self, members: dict[int, Step], top: Box) -> list[Line]:
        lines = []
        slabs: dict[int, tuple[int, Port]] = {}
        writer_of = {}
        for index, ports in self.ports.items():
            for port in ports:
                writer_of[port.piece.buffer] = index
                if port.slab:
                    slabs[port.piece.buffer] = (index, port)
                else:
                    bar = self.bars[port.piece.buffer]
                    offset = slice_span(self.plan, bar.width, port.piece)[0]
                    lines.append(Line(Link(self.nodes[index], bar, (port.offset, offset)), index, residual=False))
        for index, step in members.items():
            for number, piece in enumerate(sources_of(step)):
                entry = 0.36 * self.nodes[index].width if number else 0.0
                node, residual = self.nodes[index], number > 0
                if piece.buffer in slabs:
                    writer, port = slabs[piece.buffer]
                    lines.append(Line(Link(self.nodes[writer], node, (port.offset, entry)), writer, residual))
                elif piece.buffer in self.bars:
                    link = Link(self.bars[piece.buffer], node, (None, entry))
                    lines.append(Line(link, writer_of[piece.buffer], residual))
                else:
                    lines.append(Line(Link(top, node, (None, entry)), None, residual))
        return lines

    def _row_height(self, row: int) -> float:
        if any(box.row == row for box in self.nodes.values()):
            return NODE_HEIGHT + SLAB_HEIGHT
        return BAR_HEIGHT if any(box.row == row for box in self.bars.values()) else 0.0

    def _row_tops(self, boxes: list[Box]) -> dict[int, float]:
        tops, y = {0: 0.0}, 0.0
        for row in range(1, max(box.row for box in boxes) + 1):
            y += ROW_GAP
            tops[row] = y
            y += self._row_height(row)
        return tops


def alive_after(plan: Plan, index: int) -> set[int]:
    """Buffers written up to a step that a later one reads, or that are the caller's."""
    written = {d.slice.buffer for step in plan.steps[: index + 1] for d in destinations_of(step)}
    read = {piece.buffer for step in plan.steps[index + 1 :] for piece in sources_of(step)}
    return {b for b in written if b in read or plan.buffers[b].home == "output"}
