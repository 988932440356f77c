"""Capture takes copies, and leaves the model and PyTorch as they were."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.errors import CaptureError, InputError
from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.interpreter import interpret
from tests.graph.capturing import Model, example, relative_error


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 3, bias=False)
        self.bn = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def block() -> Block:
    model = Block().eval()
    for tensor in (*model.parameters(), model.bn.running_mean, model.bn.running_var):
        tensor.data.uniform_(0.5, 1.5)
    return model


def test_parameters_keep_their_names_and_types() -> None:
    captured = capture(block(), example())
    assert sorted(captured.graph.params) == ["bn.bias", "bn.running_mean", "bn.running_var", "bn.weight", "conv.weight"]
    assert [node.name for node in captured.graph.nodes] == ["input", "conv", "bn", "relu"]
    assert [node.origin for node in captured.graph.nodes] == ["", "conv", "bn", ""]
    assert captured.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types(dtype: torch.dtype) -> None:
    model = block().to(dtype)
    captured = capture(model, example().to(dtype))
    assert captured.dtype == dtype
    assert {p.dtype for p in captured.graph.params.values()} == {dtype}
    assert relative_error(captured, model, torch.randn(2, 4, 7, 9)) <= 1e-12


def test_half_precision_with_float32_normalisation() -> None:
    model = block()
    model.conv.half()
    captured = capture(model, example().half())
    assert captured.graph.params["conv.weight"].dtype == torch.float16
    assert captured.graph.params["bn.weight"].dtype == torch.float32


def test_weights_are_copies() -> None:
    model = block()
    captured = capture(model, example())
    x = torch.randn(2, 4, 7, 9)
    before = interpret(captured.graph, x)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    assert torch.equal(interpret(captured.graph, x)[0], before[0])
    assert before[0].abs().sum() > 0


def test_weights_are_contiguous_and_need_no_gradient() -> None:
    params = capture(block().to(memory_format=torch.channels_last), example()).graph.params
    assert all(p.is_contiguous() and not p.requires_grad and p.device.type == "cpu" for p in params.values())


def test_nan_weights_stay() -> None:
    model = block()
    model.conv.weight.data[2] = float("nan")
    captured = capture(model, example())
    out = interpret(captured.graph, torch.randn(2, 4, 7, 9))[0]
    assert out[:, 2].isnan().all() and out[:, :2].isfinite().all() and out[:, 3:].isfinite().all()


def test_one_layer_called_twice_shares_its_weights() -> None:
    model = Model(lambda m, x: m.conv(m.conv(x)), conv=nn.Conv2d(4, 4, 3))
    graph = capture(model, example()).graph
    assert [node.name for node in graph.nodes] == ["input", "conv", "conv_1"]
    assert [node.origin for node in graph.nodes] == ["", "conv", "conv"]
    assert sorted(graph.params) == ["conv.bias", "conv.weight"]


def test_names_of_computed_parameters_keep_clear_of_the_model_s() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return x * m.scale

    holder = nn.Module()
    holder.scale = nn.Parameter(torch.full((4, 1, 1), 3.0))
    model = Model(lambda m, x: F.conv2d(x * 2, m.affine.scale.expand(4, 4, 1, 1) + 1) * m.affine.scale, affine=holder)
    captured = capture(model, example())
    assert len(set(captured.graph.params)) == len(captured.graph.params) == 5
    assert "affine.scale" not in captured.graph.params
    assert relative_error(captured, model, torch.randn(2, 4, 7, 9)) <= 1e-12


def test_auxiliary_branches_that_nobody_reads_are_left_out() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        m.unused(x).softmax(1)
        return m.used(x)

    graph = capture(Model(forward, unused=nn.Conv2d(4, 3, 1), used=nn.Conv2d(4, 5, 1)), example()).graph
    assert [node.name for node in graph.nodes] == ["input", "used"]
    assert sorted(graph.params) == ["used.bias", "used.weight"]


def test_an_output_that_is_the_input_is_a_copy() -> None:
    graph = capture(Model(lambda m, x: (x, F.relu(x), x)), example()).graph
    assert [node.op.kind for node in graph.nodes] == ["Input", "ReLU", "Copy"]
    assert graph.outputs == ("copy", "relu", "copy")


class Remembering(nn.Module):
    """Keeps activations and counts in every way that modules do."""

    def __init__(self) -> None:
        super().__init__()
        self.block = block()
        self.last = None
        self.calls = 0
        self.features: list[Tensor] = []
        self.by_name: dict[str, Tensor] = {}
        self.nested = ({"all": [self.features]},)
        self.look = self.remember
        self.also = functools.partial(self.remember, name="again")

    def remember(self, output: Tensor, name: str = "block") -> None:
        self.features.append(output)
        self.nested[0]["all"][0].append(output)
        self.by_name[name] = output

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.block(x)
        self.look(self.last)
        self.also(self.last)
        self.first_time = self.last
        return self.last * 2


def test_the_model_is_left_as_it_was() -> None:
    model = Remembering().eval()
    kept = torch.ones(1)
    model.features.append(kept)
    model.block.bn.weight.requires_grad_(False)
    weights = copy.deepcopy(model.state_dict())
    flags = [(m.training, [p.requires_grad for p in m.parameters()]) for m in model.modules()]
    image = example().requires_grad_()

    capture(model, image)

    assert [(m.training, [p.requires_grad for p in m.parameters()]) for m in model.modules()] == flags
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert (model.last, model.calls, model.by_name) == (None, 0, {})
    assert len(model.features) == 1 and model.features[0] is kept
    assert not hasattr(model, "first_time")
    assert image.grad is None and image.requires_grad and torch.equal(image, example())


@pytest.mark.parametrize("fails", [lambda m, x: 1 / 0, lambda m, x: x if x.sum() > 1 else -x], ids=["itself", "traced"])
def test_the_model_is_left_as_it_was_by_a_failure(fails: Callable[[Any, Tensor], Any]) -> None:
    def forward(m: Any, x: Tensor) -> Any:
        m.seen.append(x)
        m.count += 1
        return fails(m, x)

    model = Model(forward, seen=[], count=torch.zeros(1))
    with pytest.raises((InputError, CaptureError)):
        capture(model, example())
    assert model.seen == [] and model.count == 0


def test_pytorch_is_left_as_it_was() -> None:
    random = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = capture(block(), example())
        assert torch.is_autocast_enabled("cpu")
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
    assert inside.dtype == torch.float32
    capture(Model(lambda m, x: F.relu(x)), example())
    assert not torch.equal(random, torch.get_rng_state()), "block() draws, so the comparison below means something"
    torch.set_rng_state(random)
    capture(Model(lambda m, x: F.relu(x)), example())
    assert torch.equal(random, torch.get_rng_state())


def test_in_inference_mode() -> None:
    with torch.inference_mode():
        model = block()
        captured: Captured = capture(model, example())
    assert not any(p.is_inference() for p in captured.graph.params.values())
    assert relative_error(captured, block().to(torch.float32), torch.randn(2, 4, 7, 9)) > 1e-3
    assert len(captured.graph.nodes) == 4


@pytest.mark.parametrize("images", [1, 2, 5])
def test_the_example_may_have_any_batch_size(images: int) -> None:
    model = block()
    captured = capture(model, torch.zeros(images, 4, 7, 9))
    for batch in (1, 4):
        assert relative_error(captured, model, torch.randn(batch, 4, 7, 9)) <= 1e-12


def test_a_tuple_of_one_example() -> None:
    assert len(capture(block(), (example(),)).graph.nodes) == 4
