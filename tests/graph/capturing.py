"""Small models made of one function, captured and compared with themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.interpreter import interpret

SHAPE = (4, 7, 9)


class Model(nn.Module):
    """``forward(self, x)`` as a module; ``members`` become its submodules and buffers."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **members: Any) -> None:
        super().__init__()
        self.function = forward
        for name, member in members.items():
            if isinstance(member, Tensor):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def example(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """One image; a batch of one is what torch.export would take for a constant."""
    return torch.zeros(1, *shape)


def relative_error(captured: Captured, model: nn.Module, x: Tensor) -> float:
    """Largest relative L2 distance between the captured graph and the model itself, both in float64."""
    with torch.no_grad():
        returned = copy.deepcopy(model).double()(x.double())
    truth = [leaf for leaf in pytree.tree_leaves(returned) if isinstance(leaf, Tensor)]
    ours = interpret(captured.graph, x)
    assert [t.shape for t in ours] == [t.shape for t in truth]
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, truth, strict=True))


def check(
    forward: Callable[[Any, Tensor], Any], *, shape: tuple[int, int, int] = SHAPE, **members: Any
) -> tuple[Captured, list[str]]:
    """Captures the function, compares it with itself on three images, and returns the kinds of its ops."""
    model = Model(forward, **members)
    captured = capture(model, example(shape))
    x = torch.randn(3, *shape)
    assert relative_error(captured, model, x) <= 1e-12
    kinds = [node.op.kind for node in captured.graph.nodes]
    assert kinds[0] == "Input"
    return captured, kinds[1:]


def check_captured(captured: Captured, model: nn.Module, photos: Tensor, truth: Any) -> None:
    """A whole network's Graph gives ``truth``, the network's own output for ``photos`` in float64, two of which are
    proven to differ; and its parameters and convolutions are the network's."""
    ours = interpret(captured.graph, photos)
    for tensor, true in zip(ours, pytree.tree_leaves(truth), strict=True):
        assert (true[0] - true[1]).norm() > 0.1 * true[0].norm(), "the photographs hardly differ"
        assert (tensor - true).norm() <= 1e-12 * true.norm()
    rebuilt = captured.structure.unflatten(ours)
    assert pytree.tree_structure(rebuilt) == pytree.tree_structure(truth)

    state = model.state_dict()
    for node in captured.graph.nodes:
        if node.op.kind in ("Conv2d", "Linear"):
            assert isinstance(model.get_submodule(node.name), nn.Conv2d | nn.Linear) and node.origin == node.name
    computed = {name for name in captured.graph.params if name not in state}
    assert all(torch.equal(p, state[name]) for name, p in captured.graph.params.items() if name not in computed)
    assert all(".affine." in f".{name}" for name in computed)
