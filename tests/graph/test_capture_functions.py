"""Activations, gates, softmax, local response norms, grouped convolutions and padded pools, each against its model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.activation import Activation
from inception_fast.errors import UnsupportedOpError
from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from tests.graph.capturing import SHAPE, Model, check, example
from tests.graph.check import assert_same_values, kinds
from tests.graph.passes.test_random_graphs import Options

C, H, W = SHAPE
Forward = Callable[[Any, Tensor], Any]
LARGEST = torch.finfo(torch.float32).max

FUNCTIONS: dict[str, tuple[Forward, Activation]] = {
    "sigmoid": (lambda m, x: torch.sigmoid(x), Activation("sigmoid")),
    "expit": (lambda m, x: torch.special.expit(x), Activation("sigmoid")),
    "tanh": (lambda m, x: x.tanh(), Activation("tanh")),
    "silu": (lambda m, x: F.silu(x), Activation("silu")),
    "silu in place": (lambda m, x: F.silu(x + 1, inplace=True), Activation("silu")),
    "swish": (lambda m, x: x * torch.sigmoid(x), Activation("silu")),
    "swish, the other way round": (lambda m, x: torch.sigmoid(x) * x, Activation("silu")),
    "hardsigmoid": (lambda m, x: F.hardsigmoid(x), Activation("hardsigmoid")),
    "hardswish": (lambda m, x: F.hardswish(x), Activation("hardswish")),
    "hardswish of two": (lambda m, x: x * F.hardsigmoid(x), Activation("hardswish")),
    "gelu": (lambda m, x: F.gelu(x), Activation("gelu")),
    "gelu by tanh": (lambda m, x: F.gelu(x, approximate="tanh"), Activation("gelu_tanh")),
    "elu": (lambda m, x: F.elu(x, 0.7), Activation("elu", 0.7)),
    "elu with a scale": (lambda m, x: torch.ops.aten.elu(x, 0.7, 1.5, 1), Activation("elu", 0.7)),
    "selu": (lambda m, x: F.selu(x), Activation("elu", 1.6732632423543772)),
    "celu": (lambda m, x: F.celu(x, 0.5), Activation("elu", 1.0)),
    "leaky": (lambda m, x: F.leaky_relu(x), Activation("leaky_relu", 0.01)),
    "leaky in place": (lambda m, x: F.leaky_relu_(x * 2, 0.2), Activation("leaky_relu", 0.2)),
    "as steep as can be": (lambda m, x: F.leaky_relu(x, LARGEST), Activation("leaky_relu", LARGEST)),
    "one slope": (lambda m, x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype)), Activation("leaky_relu", 0.25)),
    "relu6": (lambda m, x: F.relu6(4 * x), Activation("clamp", 0.0, 6.0)),
    "hardtanh": (lambda m, x: F.hardtanh(x, -0.5, 0.25), Activation("clamp", -0.5, 0.25)),
    "clamp": (lambda m, x: x.clamp(-0.25, 0.5), Activation("clamp", -0.25, 0.5)),
    "clip": (lambda m, x: torch.clip(x, max=0.5), Activation("clamp_max", beta=0.5)),
    "clamp_min": (lambda m, x: x.clamp_min(-0.125), Activation("clamp_min", -0.125)),
    "clamp_max": (lambda m, x: x.clamp_max(0.75), Activation("clamp_max", beta=0.75)),
    "maximum": (lambda m, x: torch.maximum(torch.tensor(0.5), x), Activation("clamp_min", 0.5)),
    "maximum of an image of one number": (
        lambda m, x: torch.maximum(x, torch.full((1, 1, 1, 1), 0.5)),
        Activation("clamp_min", 0.5),
    ),
    "minimum": (lambda m, x: torch.minimum(x, torch.tensor(0.5)), Activation("clamp_max", beta=0.5)),
    "threshold": (lambda m, x: F.threshold(x, 0.5, 0.5), Activation("clamp_min", 0.5)),
    "square": (lambda m, x: x.square(), Activation("power", 2.0)),
    "product with itself": (lambda m, x: x * x, Activation("power", 2.0)),
    "cube": (lambda m, x: x**3, Activation("power", 3.0)),
    "root": (lambda m, x: torch.sqrt(F.relu(x)), Activation("power", 0.5)),
    "reciprocal root": (lambda m, x: torch.rsqrt(F.relu(x) + 1), Activation("power", -0.5)),
    "reciprocal": (lambda m, x: 1 / (F.relu(x) + 1), Activation("power", -1.0)),
    "power of a tensor": (lambda m, x: F.relu(x).pow(torch.tensor([1.5])), Activation("power", 1.5)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    forward, expected = FUNCTIONS[name]
    captured, _ = check(forward)
    assert [n.op.activation for n in captured.graph.of_kind(ir.Activate)][-1] == expected


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: torch.maximum(x, torch.tensor(0.0)),
        lambda m, x: F.threshold(x, 0.0, 0.0),
        lambda m, x: F.hardtanh(x, 0.0, float("inf")),
        lambda m, x: x.clip(min=0),
    ],
)
def test_another_way_to_write_a_relu(forward: Forward) -> None:
    assert check(forward)[1] == ["ReLU"]


def test_a_bound_that_is_none() -> None:
    assert check(lambda m, x: x.clamp_max(float("inf")) + 1)[1] == ["Affine"]
    assert check(lambda m, x: x.pow(1.0) + 1)[1] == ["Affine"]


def test_slopes_by_channel() -> None:
    prelu = nn.PReLU(C)
    prelu.weight.data = torch.linspace(-0.5, 0.75, C)
    captured, found = check(lambda m, x: m.act(x), act=prelu)
    assert found == ["Activate"] and captured.graph.nodes[1].op.activation.slope == "act.weight"
    _, found = check(lambda m, x: torch._prelu_kernel(x, m.slopes.view(1, C, 1, 1)), slopes=prelu.weight.detach())
    assert found == ["Activate"]


@pytest.mark.parametrize("function", [lambda v: v * v, lambda v: v * torch.sigmoid(v), lambda v: v**2])
def test_products_of_a_vector_with_itself(function: Callable[[Tensor], Tensor]) -> None:
    found = check(lambda m, x: function(x.mean((2, 3))))[1]
    assert found[-2:] == ["Activate", "Flatten"] and "Gate" not in found


GATES: dict[str, tuple[Forward, int]] = {
    "squeeze": (lambda m, x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), 1),
    "expanded": (lambda m, x: x * torch.sigmoid(x.mean((2, 3)))[:, :, None, None].expand_as(x), 1),
    "expanded by names": (lambda m, x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)).expand(-1, -1, H, W), 1),
    "expanded in part": (lambda m, x: x * torch.sigmoid(x[:, :1].mean((2, 3), keepdim=True)).expand(-1, C, 1, 1), 1),
    "viewed": (lambda m, x: x.mean((2, 3)).tanh().view(-1, C, 1, 1) * x, 1),
    "of pixels": (lambda m, x: x * torch.sigmoid(x[:, 1:2]), 1),
    "by a linear layer": (lambda m, x: x * torch.sigmoid(m.fc(x.mean((2, 3))))[:, :, None, None], 1),
    "of a linear layer": (lambda m, x: m.fc(x.mean((2, 3))) * torch.sigmoid(x.amax((2, 3))), 1),
    "of a linear layer, by another": (lambda m, x: m.fc(x.mean((2, 3))) * m.fc(x.amax((2, 3))), 1),
    "of its ReLU": (lambda m, x: x * F.relu(x), 1),
    "of its sigmoid twice": (lambda m, x: x * (2 * torch.sigmoid(x)), 1),
    "of a part of its sigmoid": (lambda m, x: x[:, :2] * torch.sigmoid(x)[:, :2], 1),
    "of another's sigmoid": (lambda m, x: x * torch.sigmoid(-x), 1),
    "of all": (lambda m, x: x * torch.tanh(x), 1),
    "of vectors": (lambda m, x: x.mean((2, 3)) * x.amax((2, 3)), 1),
    "one number an image": (lambda m, x: x * x[:, :1].mean((2, 3), keepdim=True), 1),
    "of a vector by an image of one pixel": (lambda m, x: x.mean((2, 3)) * x.amax((2, 3), keepdim=True).flatten(1), 1),
}


@pytest.mark.parametrize("name", GATES)
def test_gate(name: str) -> None:
    forward, count = GATES[name]
    assert check(forward, fc=nn.Linear(C, C))[1].count("Gate") == count


NO_GATES: dict[str, Forward] = {
    "rows": lambda m, x: x * x.mean((2, 3)).view(-1, 1, C, 1),
    "columns": lambda m, x: x.transpose(2, 3) * x.mean((2, 3)).view(-1, 1, 1, C),
    "one column": lambda m, x: x * F.adaptive_avg_pool2d(x, (C, 1)),
    "one row": lambda m, x: x * F.adaptive_avg_pool2d(x, (1, W)),
    "images by images": lambda m, x: x.mean((2, 3), keepdim=True) * x.mean((2, 3)),
    "images by images, of one function": lambda m, x: (
        x.mean((2, 3), keepdim=True) * torch.sigmoid(x.mean((2, 3), keepdim=True)).flatten(1)
    ),
    "vectors in two rows": lambda m, x: x.mean((2, 3)).view(-1, 2, C // 2) * x[:, :2].amax((2, 3)).view(-1, 2, 1),
    "seen otherwise": lambda m, x: x.view(-1, C, W, C) * x.mean((2, 3), keepdim=True),
    "channels repeated": lambda m, x: x[:, :1].expand(-1, 3, -1, -1) * F.relu(x[:, :1]),
    "channels repeated, of itself": lambda m, x: x[:, :1] * x[:, :1].expand(-1, 3, -1, -1),
    "images repeated": lambda m, x: x.mean((2, 3), keepdim=True).expand_as(x) * x.amax((2, 3), keepdim=True),
}


@pytest.mark.parametrize("name", NO_GATES)
def test_products_that_no_gate_is(name: str) -> None:
    """On images as high as they have channels, where rows could be taken for channels."""
    with pytest.raises(UnsupportedOpError) as caught:
        capture(Model(NO_GATES[name]), example((C, C, W)))
    assert caught.value.reason in (
        "it multiplies tensors of shapes that are neither equal nor a gate's",
        "it is applied to images whose channels are not their first dimension",
    )


@pytest.mark.parametrize("log", [False, True])
def test_softmax(log: bool) -> None:
    function = F.log_softmax if log else F.softmax
    captured, found = check(lambda m, x: (function(x.mean((2, 3)), dim=-1), function(x, dim=1)))
    assert found.count("Softmax") == 2
    assert all(n.op.log == log for n in captured.graph.of_kind(ir.Softmax))


@pytest.mark.parametrize(("size", "alpha", "beta", "k"), [(3, 1e-4, 0.75, 1.0), (2, 0.5, 0.5, 2.0), (1, 1.0, 1.0, 0.5)])
def test_local_response_norm(size: int, alpha: float, beta: float, k: float) -> None:
    captured, _ = check(lambda m, x: m.norm(x), norm=nn.LocalResponseNorm(size, alpha, beta, k))
    assert [n.op for n in captured.graph.of_kind(ir.LocalResponseNorm)] == [ir.LocalResponseNorm(size, alpha, beta, k)]
    after, _ = optimize_graph(captured.graph, Options(False, False, False))
    assert kinds(after) == {"Input": 1, "LocalResponseNorm": 1}


def neighbours(
    x: Tensor, around: tuple[int, ...] = (0, 0, 0, 0, 1, 1), kernel: Any = (3, 1, 1), *more: Any, value: float = 0.0
) -> Tensor:
    """The mean of squares over neighbouring channels, as PyTorch has it."""
    return F.avg_pool3d(F.pad(x.square().unsqueeze(1), around, value=value), kernel, *more or (1,)).squeeze(1)


RESPONSES: dict[str, tuple[Forward, ir.LocalResponseNorm]] = {
    "a mean alone": (lambda m, x: x / neighbours(x), ir.LocalResponseNorm(3, 1.0, 1.0, 0.0)),
    "step by step": (lambda m, x: x / ((2 * neighbours(x) + 3) * 0.5 + 1) ** 0.5,
                     ir.LocalResponseNorm(3, 1.0, 0.5, 2.5)),
    "alpha of the sum": (lambda m, x: x / torch.add(neighbours(x), 4, alpha=0.25),
                         ir.LocalResponseNorm(3, 1.0, 1.0, 1.0)),
    "one channel": (lambda m, x: x / neighbours(x, (0, 0, 0, 0, 0, 0), 1), ir.LocalResponseNorm(1, 1.0, 1.0, 0.0)),
    "seen flat": (lambda m, x: (x.view(-1, C, H * W) / neighbours(x).view(-1, C, H * W)).view(-1, C, H, W),
                  ir.LocalResponseNorm(3, 1.0, 1.0, 0.0)),
    "two channels": (lambda m, x: x / neighbours(x, (0, 0, 0, 0, 1, 0), (2, 1, 1)),
                     ir.LocalResponseNorm(2, 1.0, 1.0, 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", RESPONSES)
def test_local_response_norm_written_out(name: str) -> None:
    forward, op = RESPONSES[name]
    captured, _ = check(forward)
    assert [n.op for n in captured.graph.of_kind(ir.LocalResponseNorm)] == [op]


MEAN = "a mean over neighbouring channels, which may only normalise its own tensor"
PADS = "only height and width can be padded"
RUN = "the window is no run of channels"
NO_RESPONSES: dict[str, tuple[Forward, str]] = {
    "of another tensor": (lambda m, x: F.relu(x) / neighbours(x), MEAN),
    "images by images": (lambda m, x: x / neighbours(x).view(-1, 1, C, H, W), MEAN),
    "a power twice": (lambda m, x: x / (neighbours(x) ** 0.5) ** 2, MEAN),
    "a sum after the power": (lambda m, x: x / (neighbours(x) ** 0.5 + 1), MEAN),
    "a factor after the power": (lambda m, x: x / (neighbours(x) ** 0.5 * 2), MEAN),
    "returned": (lambda m, x: neighbours(x), f"the model returns {MEAN}"),
    "a sum with a vector": (lambda m, x: x / (neighbours(x) + torch.ones(C, 1, 1)), "a tensor in place of a number"),
    "rows, too": (lambda m, x: x / neighbours(x, (0, 0, 1, 1, 1, 1), (3, 3, 1)), PADS),
    "columns, too": (lambda m, x: x / neighbours(x, (1, 1, 0, 0, 1, 1), (3, 1, 3)), PADS),
    "ones around": (lambda m, x: x / neighbours(x, value=1.0), PADS),
    "the batch, too": (lambda m, x: x / neighbours(x, (0, 0, 0, 0, 1, 1, 0, 0)), PADS),
    "of no squares": (lambda m, x: F.pad(x.unsqueeze(1), (0, 0, 0, 0, 1, 1)), PADS),
    "of squares moved": (lambda m, x: F.pad((x.square() + 1).unsqueeze(1), (0, 0, 0, 0, 1, 1)), PADS),
    "of cubes": (lambda m, x: F.pad((x**3).unsqueeze(1), (0, 0, 0, 0, 1, 1)), PADS),
    "of squares seen otherwise": (lambda m, x: F.pad(x.square(), (0, 0, 0, 0, 1, 1)), PADS),
    "pixels": (lambda m, x: x / neighbours(x, (0, 0, 0, 0, 1, 1), (3, 1, 9)), RUN),
    "strides": (lambda m, x: neighbours(x, (0, 0, 0, 0, 1, 1), (3, 1, 1), (1, 2, 1)), RUN),
    "padding by the pool": (lambda m, x: neighbours(x, (0, 0, 0, 0, 1, 1), (3, 1, 1), 1, (1, 0, 0)), RUN),
    "another divisor": (lambda m, x: neighbours(x, (0, 0, 0, 0, 1, 1), (3, 1, 1), 1, 0, False, True, 2), RUN),
    "those behind": (lambda m, x: x / neighbours(x, (0, 0, 0, 0, 0, 2)), "its window is not centred"),
    "those before": (lambda m, x: x / neighbours(x, (0, 0, 0, 0, 2, 0)), "its window is not centred"),
    "one behind": (lambda m, x: x / neighbours(x, (0, 0, 0, 0, 0, 1), (2, 1, 1)), "its window is not centred"),
}


@pytest.mark.parametrize("name", NO_RESPONSES)
def test_what_is_no_local_response_norm(name: str) -> None:
    forward, reason = NO_RESPONSES[name]
    with pytest.raises(UnsupportedOpError) as caught:
        capture(Model(forward), example())
    assert caught.value.reason == reason


@pytest.mark.parametrize("size", [(3, 4), (7, 2), (9, 11), (2, 2)])
@pytest.mark.parametrize("function", [F.adaptive_avg_pool2d, F.adaptive_max_pool2d])
def test_adaptive_pool(function: Callable[..., Tensor], size: tuple[int, int]) -> None:
    kind = "AdaptiveAvgPool" if function is F.adaptive_avg_pool2d else "AdaptiveMaxPool"
    assert check(lambda m, x: function(x, size))[1] == [kind]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(C, C, 3, padding=1, groups=C),
        nn.Conv2d(C, C, (1, 3), stride=(2, 1), dilation=(1, 2), groups=C, bias=False),
    ],
)
def test_depthwise(layer: nn.Conv2d) -> None:
    captured, found = check(lambda m, x: F.silu(m.norm(m.layer(x))), layer=layer, norm=norm(C))
    assert found == ["DepthwiseConv2d", "BatchNorm", "Activate"]
    after, _ = optimize_graph(captured.graph, Options(True, True, True))
    assert kinds(after) == {"Input": 1, "DepthwiseConv2d": 1}
    assert_same_values(captured.graph, after)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("groups", "out"), [(2, 6), (2, 4), (4, 8)])
def test_groups(groups: int, out: int, bias: bool) -> None:
    layer = nn.Conv2d(C, out, 3, padding=1, groups=groups, bias=bias)
    captured, found = check(lambda m, x: F.relu(m.norm(m.layer(x))), layer=layer, norm=norm(out))
    assert found.count("Conv2d") == groups
    after, _ = optimize_graph(captured.graph, Options(False, False, False))
    assert kinds(after) == {"Input": 1, "Slice": groups, "Conv2d": groups, "Concat": 1}
    assert_same_values(captured.graph, after)


def test_as_many_groups_as_are_served() -> None:
    _, found = check(lambda m, x: m.layer(x), shape=(128, 2, 2), layer=nn.Conv2d(128, 64, 1, groups=64))
    assert found.count("Conv2d") == 64
    with pytest.raises(UnsupportedOpError, match="65 groups, at most 64 are served"):
        capture(Model(lambda m, x: m.layer(x), layer=nn.Conv2d(130, 65, 1, groups=65)), example((130, 2, 2)))


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    for index, tensor in enumerate((*layer.parameters(), layer.running_mean, layer.running_var)):
        tensor.data = torch.linspace(0.5, 1.5, channels) + index / 8
    return layer


PADDED_POOLS: dict[str, Forward] = {
    "max": lambda m, x: F.max_pool2d(F.pad(x, (1, 0, 0, 2)), 3, 2),
    "average": lambda m, x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 2),
    "adaptive": lambda m, x: F.adaptive_avg_pool2d(F.pad(x, (1, 2)), (3, 4)),
    "numbers": lambda m, x: F.avg_pool2d(F.pad(x, (1, 0, 0, 2), value=0.5), 2),
    "as large as can be": lambda m, x: F.max_pool2d(F.pad(x, (1, 0), value=LARGEST), 2),
    "numbers twice": lambda m, x: F.avg_pool2d(F.pad(F.pad(x, (1, 0), value=0.5), (0, 1, 2, 0), value=0.5), 2),
    "nothing": lambda m, x: F.avg_pool2d(F.pad(x, ()), 2),
}


@pytest.mark.parametrize("name", PADDED_POOLS)
def test_numbers_around_a_pool(name: str) -> None:
    assert check(PADDED_POOLS[name])[1][::2] == ["Pad"]


def test_other_numbers_around_numbers() -> None:
    assert check(lambda m, x: F.avg_pool2d(F.pad(F.pad(x, (1, 0)), (0, 1), value=2.0), 2))[1][:2] == ["Pad", "Pad"]


def test_numbers_around_a_convolution() -> None:
    layer = nn.Conv2d(C, 3, 3)
    assert check(lambda m, x: m.layer(F.pad(x, (1, 0, 0, 2), value=0.5)), layer=layer)[1] == ["Pad", "Conv2d"]


def test_what_a_layer_needs_is_named_after_it_and_the_layer_keeps_its_name() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.linear(m.groups(m.pool(F.pad(x, (1, 0)))).flatten(1))

    members = {"pool": nn.AvgPool2d(2), "groups": nn.Conv2d(C, 4, (3, 5), groups=2), "linear": nn.Linear(4, 3)}
    names = [n.name for n in check(forward, **members)[0].graph.nodes]
    assert names[1:3] == ["pool.pad", "pool"]
    assert names[3:8] == ["groups.slice", "groups.group0", "groups.slice_1", "groups.group1", "groups"]
    assert names[8:] == ["flatten", "linear"]


OUTSIDE: dict[str, Forward] = {
    "same, as TensorFlow has it": lambda m, x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2),
    "besides padding, rounded up": lambda m, x: F.max_pool2d(
        F.pad(x, (1, 0, 1, 1), value=-torch.inf), 3, 2, 1, ceil_mode=True
    ),
    "twice": lambda m, x: F.max_pool2d(F.pad(F.pad(x, (1, 0), value=-torch.inf), (0, 1), value=-torch.inf), 3),
    "as far as a window sees a pixel": lambda m, x: F.max_pool2d(F.pad(x, (2, 2, 1, 1), value=-torch.inf), (2, 3), 1),
    "dilated": lambda m, x: F.max_pool2d(F.pad(x, (4, 0, 0, 4), value=-torch.inf), 3, 1, 0, 2),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_minus_infinity_around_a_max_pool(name: str) -> None:
    assert check(OUTSIDE[name])[1] == ["MaxPool"]


def test_generalised_mean() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x.clamp(min=1e-6).pow(m.p), (x.size(-2), x.size(-1))).pow(1.0 / m.p)

    _, found = check(forward, p=torch.ones(1) * 3)
    assert found == ["Activate", "Activate", "AvgPool", "Activate"]
