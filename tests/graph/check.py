"""What every pass must hold to, whatever else a test asserts about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.segments import segment_slices

TOLERANCE = 1e-12


def relative_error(got: torch.Tensor, truth: torch.Tensor) -> float:
    """L2 norm of the difference over that of the truth; NaN where either holds a NaN or infinity."""
    assert got.shape == truth.shape
    return float((got - truth).norm() / truth.norm().clamp_min(torch.finfo(truth.dtype).tiny))


def random_input(graph: ir.Graph, batch: int = 2, seed: int = 0) -> torch.Tensor:
    assert isinstance(graph.input.op, ir.Input)
    return torch.randn(batch, *graph.input.op.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kinds(graph: ir.Graph) -> Counter[str]:
    return Counter(node.op.kind for node in graph.nodes)


def all_values(graph: ir.Graph, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every value of the graph in float64, by name."""
    names = list(graph.by_name)
    return dict(zip(names, interpret(graph, x, values=names), strict=True))


def assert_agree(
    before: ir.Graph, truth: dict[str, torch.Tensor], after: ir.Graph, got: dict[str, torch.Tensor]
) -> None:
    """The outputs are the same, and every value that kept its name kept its meaning."""
    for name in before.outputs:
        assert truth[name].isfinite().all() and truth[name].count_nonzero(), f"%{name} proves nothing"
    shared = [(name, name) for name in truth if name in got]
    for old, new in [*zip(before.outputs, after.outputs, strict=True), *shared]:
        assert relative_error(got[new], truth[old]) <= TOLERANCE, new


def assert_same_values(before: ir.Graph, after: ir.Graph, batch: int = 2) -> None:
    """Both graphs compute the same in float64, as :func:`assert_agree` has it."""
    x = random_input(before, batch)
    assert_agree(before, all_values(before, x), after, all_values(after, x))


def check_pass(transform: Callable[..., ir.Graph], before: ir.Graph, **options: bool) -> ir.Graph:
    """Applies a pass and returns its result, once it is known to be valid, equal, pure and idempotent."""
    text = str(before)
    params = {name: tensor.clone() for name, tensor in before.params.items()}

    after = transform(before, **options)

    assert str(before) == text, "the pass changed its argument"
    assert all(torch.equal(before.params[n], params[n]) for n in params), "the pass changed a parameter"
    seen: set[str] = set()
    for node in after.nodes:
        assert seen.issuperset(node.inputs) and node.name not in seen, f"{node} is out of order"
        seen.add(node.name)
    assert_same_values(before, after)
    assert kinds(transform(after, **options)) == kinds(after), "a second run changes more"
    return after


def assert_concats_in_place(graph: ir.Graph) -> None:
    """What lowering relies on: one step writes each input of each concat, to one place."""
    placed = [value for node in graph.of_kind(ir.Concat) for value in node.inputs]
    assert len(placed) == len(set(placed))
    for node in graph.of_kind(ir.Concat):
        assert node.op == ir.Concat(in_place=True) and len(node.inputs) > 1
        for value in node.inputs:
            producer = graph.by_name[value]
            assert not isinstance(producer.op, ir.Input | ir.Concat | ir.Flatten)
            if isinstance(producer.op, ir.Slice):
                assert producer in (segment_slices(graph, graph.by_name[producer.inputs[0]]) or ())
