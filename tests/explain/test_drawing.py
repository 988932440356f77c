"""The picture of a network: well-formed, complete, and nothing on top of another."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import inception_fast.models as models
from inception_fast.backends import Lowering
from inception_fast.explain.block_picture import BlockPicture
from inception_fast.explain.blocks import find_blocks
from inception_fast.explain.network import draw
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.plan.plan import Plan, destinations_of
from tests.bench.nets import SIZE, Small

SVG = "{http://www.w3.org/2000/svg}"


class TwoOutputs(nn.Module):
    """Returns what it goes on to read as well, so a block has two ends."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 3), nn.Conv2d(4, 6, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.a(x).relu()
        return x, self.b(x), self.c(x)


NETWORKS = {
    "small": (Small, SIZE),
    "two outputs": (TwoOutputs, 9),
    "one step": (lambda: nn.Conv2d(3, 4, 1), 5),
    "inception_v3": (models.InceptionV3, 299),
    "inception_resnet_v1": (models.InceptionResnetV1, 160),
}


def plan_of(name: str) -> Plan:
    build, size = NETWORKS[name]
    graph, _ = optimize_graph(capture(build().eval(), torch.zeros(1, 3, size, size)).graph, Lowering())
    return lower(graph)[0]


PLANS = {name: plan_of(name) for name in NETWORKS}


@pytest.fixture(params=NETWORKS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return PLANS[request.param]


def shapes(svg: str, attribute: str) -> dict[str, tuple[float, ...]]:
    """x, y, width and height of the rectangles that carry an attribute, by its value; each value once."""
    found = {}
    for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        key = rect.get(attribute)
        if key is not None:
            assert key not in found, f"{key} is drawn twice"
            found[key] = tuple(float(rect.get(k, "nan")) for k in ("x", "y", "width", "height"))
    return found


def test_every_step_is_drawn_once(plan: Plan) -> None:
    assert set(shapes(draw(plan, "a network"), "data-step")) == set(plan.step_names)


def test_every_slice_is_drawn_once(plan: Plan) -> None:
    pieces = [d.slice for step in plan.steps for d in destinations_of(step)]
    expected = {f"{p.buffer}:{p.start}:{p.channels}" for p in pieces}
    source = plan.buffers[plan.input]
    expected.add(f"{plan.input}:0:{source.channels}")
    assert set(shapes(draw(plan, "a network"), "data-slice")) == expected


def test_nothing_is_outside_the_page_or_on_another(plan: Plan) -> None:
    svg = draw(plan, "a network")
    _, _, width, height = map(float, ElementTree.fromstring(svg).get("viewBox", "").split())
    boxes = [*shapes(svg, "data-step").values(), *shapes(svg, "data-slice").values()]
    for x, y, w, h in boxes:
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
    for (ax, ay, aw, ah), (bx, by, bw, bh) in combinations(boxes, 2):
        apart = ax + aw <= bx + 0.2 or bx + bw <= ax + 0.2 or ay + ah <= by + 0.2 or by + bh <= ay + 0.2
        assert apart


def test_a_line_ends_at_each_slice_of_a_concat(plan: Plan) -> None:
    """One line a slice, and its end is above the slice."""
    for block in (b for b in find_blocks(plan) if not b.chain):
        picture = BlockPicture(plan, block, 500.0)
        for buffer, box in picture.bars.items():
            ends = sorted(line.link.ends()[1] for line in picture.lines if line.link.target is box)
            pieces = [d.slice for i in block.steps for d in destinations_of(plan.steps[i]) if d.slice.buffer == buffer]
            assert len(ends) == len(pieces)
            assert all(abs(x - box.x) <= box.width / 2 for x in ends)
            assert len(set(ends)) == len(ends)


def test_lines_go_down(plan: Plan) -> None:
    for block in (b for b in find_blocks(plan) if not b.chain):
        picture = BlockPicture(plan, block, 500.0)
        for line in picture.lines:
            heights = [y for _, y in picture.points(line)]
            assert heights == sorted(heights)


def test_words_are_escaped() -> None:
    title = '<b> & "quotes" ]]>'
    root = ElementTree.fromstring(draw(PLANS["one step"], title, title))
    words = [t.text for t in root.iter(f"{SVG}text")]
    assert Counter(words)[title] == 2
    assert root.find(f"{SVG}title").text == title


def test_the_blocks_of_inception_v3_are_its_own() -> None:
    blocks = find_blocks(PLANS["inception_v3"])
    mixed = [f"Mixed_{b}" for b in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")]
    assert [b.title for b in blocks] == ["Conv2d_1a_3x3 … maxpool2", *mixed, "avgpool … fc"]
    assert [b.chain for b in blocks] == [True, *(False for _ in mixed), True]


def test_blocks_cover_the_plan_in_order(plan: Plan) -> None:
    assert [i for block in find_blocks(plan) for i in block.steps] == list(range(len(plan.steps)))
