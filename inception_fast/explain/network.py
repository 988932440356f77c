"""The whole network as one picture: blocks from top to bottom, then in the next column.

A block hangs between two bars. A bar is a buffer; each of its slices has the colour of the step that writes it, and of
the line that comes from there. No concat is to be seen because there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from inception_fast.explain.block_picture import BOX_GAP, ROW_GAP, BlockPicture
from inception_fast.explain.blocks import Block, find_blocks
from inception_fast.explain.columns import fill_columns
from inception_fast.explain.labels import TIMES
from inception_fast.explain.paint import (
    ARROW,
    BAR_HEIGHT,
    NODE_HEIGHT,
    PANEL,
    SLAB_HEIGHT,
    STYLE,
    Painter,
    definitions,
    node_width,
)
from inception_fast.explain.svg import Canvas
from inception_fast.plan.plan import Plan, destinations_of

NARROWEST = 460.0
MARGIN, PADDING, TITLE_HEIGHT, STAGE_WIDTH, GUTTER, HEADER = 28.0, 14.0, 32.0, 36.0, 34.0, 112.0
ASPECT = 1.6
"""Width over height that the number of columns aims at."""


@dataclass(frozen=True)
class _Placed:
    block: Block
    picture: BlockPicture | None
    """None for a chain."""
    height: float
    column: int
    y: float

    @property
    def bar_top(self) -> float:
        """Of the bar that ends the block."""
        return self.y + self.height - BAR_HEIGHT


def draw(plan: Plan, title: str, subtitle: str = "") -> str:
    """The Plan as an SVG document, with ``title`` and ``subtitle`` above the picture."""
    return _Drawing(plan).render(title, subtitle)


class _Drawing:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.canvas = plan, Canvas()
        self.paint = Painter(plan, self.canvas)
        blocks = find_blocks(plan)
        natural = [BlockPicture(plan, b, NARROWEST).needed for b in blocks if not b.chain]
        self.width = max([NARROWEST, *natural])
        self.panel = self.width + STAGE_WIDTH + 2 * PADDING
        self.pitch = max(node_width(plan, i) for b in blocks if b.chain for i in b.steps) + 1.6 * BOX_GAP
        self.placed = self._arrange(blocks)

    def render(self, title: str, subtitle: str) -> str:
        self.canvas.text(MARGIN, MARGIN + 20, title, class_="t")
        self.canvas.text(MARGIN, MARGIN + 44, subtitle, class_="u")
        self.paint.legend(MARGIN, MARGIN + 66)
        for before, placed in zip([None, *self.placed], self.placed, strict=False):
            if before is None or before.column != placed.column:
                self._bar(placed, placed.block.source, placed.y - BAR_HEIGHT, again=before is not None)
            if before is not None and before.column != placed.column:
                self._carry_over(before, placed)
            self._block(placed)
        columns = self.placed[-1].column + 1
        width = 2 * MARGIN + columns * self.panel + (columns - 1) * GUTTER
        height = max(p.y + p.height for p in self.placed) + MARGIN
        return self.canvas.render(width, height, style=STYLE, definitions=definitions(), title=title)

    def _arrange(self, blocks: list[Block]) -> list[_Placed]:
        pictures = [None if b.chain else BlockPicture(self.plan, b, self.width) for b in blocks]
        heights = [self._height(b, p) for b, p in zip(blocks, pictures, strict=True)]
        columns = fill_columns(heights, self.panel + GUTTER, HEADER + BAR_HEIGHT, ASPECT)
        placed: list[_Placed] = []
        for block, picture, height, column in zip(blocks, pictures, heights, columns, strict=True):
            above = placed[-1] if placed and placed[-1].column == column else None
            y = above.y + above.height if above else HEADER + BAR_HEIGHT
            placed.append(_Placed(block, picture, height, column, y))
        return placed

    def _height(self, block: Block, picture: BlockPicture | None) -> float:
        """From bar to bar, the lower one with it."""
        if picture is not None:
            return TITLE_HEIGHT + picture.height
        rows = -(-len(block.steps) // self._per_row())
        return TITLE_HEIGHT + rows * (ROW_GAP + NODE_HEIGHT + SLAB_HEIGHT) + ROW_GAP + BAR_HEIGHT

    def _per_row(self) -> int:
        return max(1, int((self.width + self.pitch * 0.15) // self.pitch))

    def _left(self, column: int) -> float:
        return MARGIN + column * (self.panel + GUTTER)

    def _middle(self, column: int) -> float:
        return self._left(column) + PADDING + STAGE_WIDTH + self.width / 2

    def _bar(self, placed: _Placed, buffer: int, y: float, again: bool = False) -> None:
        self.paint.bar(buffer, self._middle(placed.column), y, self.width, again)
        self.paint.size(buffer, self._left(placed.column) + PADDING + STAGE_WIDTH / 2 - 6, y)

    def _block(self, placed: _Placed) -> None:
        block, left = placed.block, self._left(placed.column)
        # The panel ends short of both bars, which belong to the neighbours as well.
        tall = placed.height - BAR_HEIGHT - 10
        self.canvas.rect(left, placed.y + 5, self.panel, tall, layer="ground", rx=10, fill=PANEL)
        self.canvas.halo(left + PADDING, placed.y + 25, block.title, ground=PANEL, class_="b")
        self.canvas.halo(left + PADDING, placed.y + 42, self._facts(block), ground=PANEL, class_="n")
        if placed.picture is None:
            self._chain(placed)
        else:
            self._branches(placed, placed.picture)

    def _facts(self, block: Block) -> str:
        buffer, steps = self.plan.buffers[block.source], len(block.steps)
        stages = sum(1 for stage in self.plan.stages if any(i in block.steps for i in stage))
        counted = f"{steps} step{'s' * (steps > 1)} in {stages} stage{'s' * (stages > 1)}"
        return f"{buffer.height}{TIMES}{buffer.width}, {counted}"

    def _chain(self, placed: _Placed) -> None:
        """Steps in a line, from left to right; the last one writes the bar."""
        steps, per_row = placed.block.steps, self._per_row()
        left = self._middle(placed.column) - self.pitch * (min(per_row, len(steps)) - 1) / 2
        above = placed.y + TITLE_HEIGHT + ROW_GAP
        row_height = ROW_GAP + NODE_HEIGHT + SLAB_HEIGHT
        spots = [(left + self.pitch * (k % per_row), above + row_height * (k // per_row)) for k in range(len(steps))]
        self.paint.arrow([(spots[0][0], placed.y), spots[0]], self.paint.kind(self.paint.writer(placed.block.source)))
        for index, (x, y), after in zip(steps, spots, [*spots[1:], None], strict=True):
            width, kind = node_width(self.plan, index), self.paint.kind(index)
            target = destinations_of(self.plan.steps[index])[0].slice
            self.paint.node(index, x, y, width)
            if after is None:
                self.paint.arrow([(x, y + NODE_HEIGHT), (x, placed.bar_top)], kind)
                self._bar(placed, target.buffer, placed.bar_top)
                continue
            self.paint.slab(target, x, y + NODE_HEIGHT, width)
            if after[1] == y:
                level, reach = y + NODE_HEIGHT / 2, after[0] - node_width(self.plan, index + 1) / 2 - ARROW
                self.paint.path(f"M{x + width / 2:.1f} {level:.1f}H{reach:.1f}", kind)
            else:
                self.paint.arrow([(x, y + NODE_HEIGHT + SLAB_HEIGHT), after], kind)

    def _branches(self, placed: _Placed, picture: BlockPicture) -> None:
        middle, top = self._middle(placed.column), placed.y + TITLE_HEIGHT
        source = self.paint.writer(placed.block.source)
        for line in picture.lines:
            points = [(middle + x, top + y) for x, y in picture.points(line)]
            if line.from_above:
                points[0] = (points[0][0], placed.y)
            self.paint.arrow(points, self.paint.kind(source if line.from_above else line.writer), line.residual)
        rows: dict[float, int] = {}
        for index, box in picture.nodes.items():
            x, y = middle + box.x, top + picture.span(box)[0]
            self.paint.node(index, x, y, box.width)
            for port in picture.ports[index]:
                if port.slab:
                    self.paint.slab(port.piece, x + port.offset, y + NODE_HEIGHT, port.width)
            rows[y] = next(n for n, stage in enumerate(self.plan.stages) if index in stage)
        for y, stage in rows.items():
            self.canvas.text(self._left(placed.column) + PADDING + 8, y + NODE_HEIGHT / 2 + 4, str(stage), class_="g")
        for buffer, box in picture.bars.items():
            y = top + picture.span(box)[0]
            if box.width == self.width:
                self._bar(placed, buffer, y)
            else:
                self.paint.bar(buffer, middle + box.x, y, box.width)

    def _carry_over(self, last: _Placed, first: _Placed) -> None:
        """From the bar at the end of a column up to the same buffer at the top of the next."""
        start, bottom = self._middle(last.column) + self.width / 2, last.bar_top + BAR_HEIGHT / 2
        end, top = self._left(first.column), first.y - BAR_HEIGHT / 2
        turn, gutter = 8.0, self._left(last.column) + self.panel + GUTTER / 2
        self.paint.path(
            f"M{start:.1f} {bottom:.1f}H{gutter - turn:.1f}q{turn} 0 {turn} -{turn}V{top + turn:.1f}"
            f"q0 -{turn} {turn} -{turn}H{end:.1f}",
            "input",
        )
