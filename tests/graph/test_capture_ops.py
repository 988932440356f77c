"""Every ATen op that capture knows, in a model of its own, against that model in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.graph import ir
from tests.graph.capturing import SHAPE, check

C, H, W = SHAPE
Forward = Callable[[Any, Tensor], Any]


def weight(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 0.5


def conv(*args: Any, **kwargs: Any) -> nn.Conv2d:
    return nn.Conv2d(C, 5, *args, **kwargs)


def norm(layer: nn.Module) -> nn.Module:
    for tensor in (*layer.parameters(), layer.running_mean, layer.running_var):
        tensor.data = weight(*tensor.shape)
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        conv(3),
        conv((1, 5), stride=(2, 1), padding=(0, 2), bias=False),
        conv(3, dilation=(1, 2), padding=(2, 1)),
        conv(3, padding="same"),
        conv((2, 4), padding="same", dilation=(1, 2)),
        conv((4, 2), padding="valid"),
    ],
    ids=str,
)
def test_convolution(layer: nn.Conv2d) -> None:
    captured, kinds = check(lambda m, x: m.layer(x), layer=layer)
    assert kinds == ["Conv2d"]
    node = captured.graph.nodes[1]
    assert (node.name, node.origin, node.op.weight) == ("layer", "layer", "layer.weight")


def test_even_same_padding_is_larger_at_the_bottom_and_right() -> None:
    captured, _ = check(lambda m, x: m.layer(x), layer=conv((2, 4), padding="same"))
    assert captured.graph.nodes[1].op.padding == (0, 1, 1, 2)


def test_the_general_convolution_op() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return torch.convolution(x, m.w, None, (2, 1), (1, 0), (1, 1), False, (0, 0), 1)

    assert check(forward, w=weight(3, C, 3, 2))[1] == ["Conv2d"]


def test_zero_padding_goes_into_the_convolution() -> None:
    captured, kinds = check(lambda m, x: m.layer(F.pad(F.pad(x, (1, 0)), (2, 0, 3, 1))), layer=conv(3, padding=1))
    assert kinds == ["Conv2d"]
    assert captured.graph.nodes[1].op.padding == (4, 4, 2, 1)


def test_zero_pad_module() -> None:
    assert check(lambda m, x: m.layer(m.pad(x)), pad=nn.ZeroPad2d((0, 1, 2, 0)), layer=conv(3))[1] == ["Conv2d"]


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"eps": 0.1}], ids=str)
def test_batch_norm(options: dict[str, Any]) -> None:
    captured, kinds = check(lambda m, x: m.bn(x), bn=norm(nn.BatchNorm2d(C, **options)))
    assert kinds == ["BatchNorm"]
    assert captured.graph.nodes[1].op.mean == "bn.running_mean"


def test_batch_norm_of_flat_features() -> None:
    _, kinds = check(lambda m, x: m.bn(m.fc(x.mean((2, 3)))), fc=nn.Linear(C, 6), bn=norm(nn.BatchNorm1d(6)))
    assert kinds == ["AdaptiveAvgPool", "Flatten", "Linear", "BatchNorm"]


@pytest.mark.parametrize(
    "relu",
    [
        F.relu,
        torch.relu,
        nn.ReLU(),
        nn.ReLU(inplace=True),
        lambda y: y.clamp(min=0),
        lambda y: y.clamp_min(0.0),
        lambda y: y.clamp_(min=0),
    ],
)
def test_relu(relu: Callable[[Tensor], Tensor]) -> None:
    assert check(lambda m, x: relu(m.layer(x)), layer=conv(1))[1] == ["Conv2d", "ReLU"]


POOLS: list[tuple[Forward, ir.Op]] = [
    (lambda m, x: F.max_pool2d(x, 3, 2), ir.MaxPool((3, 3), (2, 2), (0, 0))),
    (lambda m, x: F.max_pool2d(x, 2), ir.MaxPool((2, 2), (2, 2), (0, 0))),
    (lambda m, x: F.max_pool2d(x, (3, 2), 2, (1, 0), (1, 3), ceil_mode=True),
     ir.MaxPool((3, 2), (2, 2), (1, 0), (1, 3), True)),
    (lambda m, x: F.max_pool2d(x, 3, 1, 1, return_indices=True)[0], ir.MaxPool((3, 3), (1, 1), (1, 1))),
    (lambda m, x: F.avg_pool2d(x, 3, 1, 1), ir.AvgPool((3, 3), (1, 1), (1, 1))),
    (lambda m, x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), ir.AvgPool((3, 3), (2, 2), (1, 1), True)),
    (lambda m, x: F.avg_pool2d(x, (2, 3), count_include_pad=False), ir.AvgPool((2, 3), (2, 3), (0, 0), False, False)),
    (lambda m, x: F.avg_pool2d(x, x.shape[2:]), ir.AvgPool((H, W), (H, W), (0, 0))),
    (lambda m, x: F.adaptive_avg_pool2d(x, (7, 3)), ir.AdaptiveAvgPool((7, 3))),
    (lambda m, x: F.adaptive_avg_pool2d(x, (None, 1)), ir.AdaptiveAvgPool((7, 1))),
    (lambda m, x: F.adaptive_max_pool2d(x, 1), ir.MaxPool((H, W), (H, W), (0, 0))),
    (lambda m, x: x.mean((-1, -2), keepdim=True), ir.AdaptiveAvgPool((1, 1))),
    (lambda m, x: x.amax((2, 3), keepdim=True), ir.MaxPool((H, W), (H, W), (0, 0))),
    (lambda m, x: F.interpolate(x, (5, 11), mode="bilinear"), ir.Resize((5, 11), False)),
    (lambda m, x: F.interpolate(x, (5, 11), mode="bilinear", align_corners=True), ir.Resize((5, 11), True)),
    (lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear"), ir.Resize((14, 18), False)),
    (lambda m, x: F.interpolate(x, scale_factor=1.3, mode="bilinear", align_corners=True), ir.Resize((9, 11), True)),
    (lambda m, x: F.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True),
     ir.Resize((9, 11), False)),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "op"), POOLS, ids=[str(op) for _, op in POOLS])
def test_pooling_and_resizing(forward: Forward, op: ir.Op) -> None:
    captured, _ = check(forward)
    (node,) = captured.graph.nodes[1:]
    assert node.op == op


FLATTENINGS: list[Forward] = [
    lambda m, x: x.mean((2, 3)),
    lambda m, x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    lambda m, x: F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1),
    lambda m, x: F.adaptive_avg_pool2d(x, 1).view(-1, C),
    lambda m, x: x.mean((2, 3), keepdim=True).reshape(x.shape[0], C).contiguous(),
    lambda m, x: x.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1),
    lambda m, x: x.mean((2, 3), keepdim=True).squeeze((2, 3)),
    lambda m, x: x.mean((2, 3), keepdim=True)[:, :, 0, 0],
    lambda m, x: x.flatten(2).mean(-1),
    lambda m, x: x.view(x.shape[0], C, -1).mean(2).view(-1, C, 1, 1).flatten(1),
]


@pytest.mark.parametrize("forward", FLATTENINGS)
def test_every_way_to_flatten_a_pooled_image(forward: Forward) -> None:
    assert check(forward)[1] == ["AdaptiveAvgPool", "Flatten"]


def test_flatten_keeps_rows_and_columns_in_order() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.fc(F.max_pool2d(x, 3).flatten(1))

    assert check(forward, fc=nn.Linear(C * 2 * 3, 5))[1] == ["MaxPool", "Flatten", "Linear"]


def test_a_flattened_value_read_twice_is_flattened_once() -> None:
    def forward(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.mean((2, 3))
        return flat, m.fc(flat)

    assert check(forward, fc=nn.Linear(C, 5))[1] == ["AdaptiveAvgPool", "Flatten", "Linear"]


LINEARS: dict[str, Forward] = {
    "linear": lambda m, x: F.linear(x, m.w, m.b),
    "linear without bias": lambda m, x: F.linear(x, m.w),
    "addmm": lambda m, x: torch.addmm(m.b, x, m.w.t(), beta=0.5, alpha=3),
    "addmm, doubled": lambda m, x: torch.addmm(m.b, x, m.w.t(), beta=2, alpha=2),
    "addmm with a row": lambda m, x: torch.addmm(m.b[None], x, m.w.t()),
    "matmul": lambda m, x: x @ m.w.t(),
    "mm": lambda m, x: torch.mm(x, m.w.t()),
}


@pytest.mark.parametrize("forward", LINEARS.values(), ids=list(LINEARS))
def test_linear(forward: Forward) -> None:
    _, kinds = check(lambda m, x: forward(m, x.mean((2, 3))), w=weight(6, C), b=weight(6))
    assert kinds == ["AdaptiveAvgPool", "Flatten", "Linear"]


AFFINES: dict[str, Forward] = {
    "scalar": lambda m, x: 2 * x - 1,
    "division": lambda m, x: (x - 127.5) / 128,
    "negation": lambda m, x: -x,
    "rsub": lambda m, x: 1 - x,
    "rsub with alpha": lambda m, x: torch.rsub(x, 1, alpha=3),
    "add with alpha": lambda m, x: torch.add(x, m.v, alpha=0.3),
    "in place": lambda m, x: (x * 3).add_(m.v).div_(2).sub_(1).mul_(4),
    "vector [1, C, 1, 1]": lambda m, x: x * m.v + m.v,
    "vector [C, 1, 1]": lambda m, x: m.v[0] * x,
    "vector from the left": lambda m, x: m.v - x,
    "one number": lambda m, x: x * m.v[0, 0] + m.v.mean(),
    "literals": lambda m, x: (x - torch.tensor([1.0, 2, 3, 4]).view(1, C, 1, 1)) / torch.tensor(0.5),
    "division by almost nothing": lambda m, x: x / 4e-39,
    "computed": lambda m, x: x * (m.v + 1e-3).rsqrt() + torch.arange(C).view(C, 1, 1),
}


@pytest.mark.parametrize("forward", AFFINES.values(), ids=list(AFFINES))
def test_arithmetic_with_constants_is_one_affine(forward: Forward) -> None:
    captured, kinds = check(forward, v=weight(1, C, 1, 1))
    assert kinds == ["Affine"]
    op = captured.graph.nodes[1].op
    assert {captured.graph.params[name].shape for name in (op.scale, op.shift)} == {(C,)}
    assert {captured.graph.params[name].dtype for name in (op.scale, op.shift)} == {torch.float64}


def test_affine_of_flat_features() -> None:
    assert check(lambda m, x: x.mean((2, 3)) * m.v, v=weight(C))[1] == ["AdaptiveAvgPool", "Affine", "Flatten"]


def test_an_affine_read_twice_is_computed_once() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = 2 * x - 1
        return torch.cat([F.relu(y), F.max_pool2d(y, 3, 1, 1)], 1)

    assert check(forward)[1] == ["Affine", "ReLU", "MaxPool", "Concat"]


def test_multiplication_by_one_and_addition_of_zero_vanish() -> None:
    assert check(lambda m, x: F.relu(x * 1 + 0))[1] == ["ReLU"]


ADDITIONS: dict[str, tuple[Forward, list[str]]] = {
    "add": (lambda x, y: x + y, ["Add"]),
    "add in place": (lambda x, y: (x * 1).add_(y), ["Add"]),
    "residual": (lambda x, y: y * 0.17 + x, ["Affine", "Add"]),
    "alpha": (lambda x, y: torch.add(x, y, alpha=0.2), ["Affine", "Add"]),
    "sub": (lambda x, y: x - y, ["Affine", "Add"]),
    "flat": (lambda x, y: x.mean((2, 3)) + y.amax((2, 3)), ["AdaptiveAvgPool", "MaxPool", "Add", "Flatten"]),
}


@pytest.mark.parametrize(("forward", "expected"), ADDITIONS.values(), ids=list(ADDITIONS))
def test_addition(forward: Callable[[Tensor, Tensor], Tensor], expected: list[str]) -> None:
    _, kinds = check(lambda m, x: forward(x, m.layer(x)), layer=nn.Conv2d(C, C, 1))
    assert kinds == ["Conv2d", *expected]


def test_addition_of_a_flattened_and_a_flat_value() -> None:
    _, kinds = check(lambda m, x: x.mean((2, 3)) + m.fc(x.amax((2, 3))), fc=nn.Linear(C, C))
    assert kinds == ["AdaptiveAvgPool", "MaxPool", "Flatten", "Linear", "Flatten", "Add"]


@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("eps", [1e-12, 3.0])
def test_normalize_flat(keepdim: bool, eps: float) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.fc(x.mean((2, 3)))
        length = y.norm(2, 1, keepdim).clamp_min(eps)
        return y / (length if keepdim else length.unsqueeze(1))

    captured, kinds = check(forward, fc=nn.Linear(C, 6))
    assert kinds[2:] == ["Linear", "Normalize"]
    assert captured.graph.nodes[-1].op.eps == eps


def test_normalize_a_pooled_image() -> None:
    assert check(lambda m, x: F.normalize(x.mean((2, 3))))[1] == ["AdaptiveAvgPool", "Normalize", "Flatten"]


NORMALISATIONS: list[tuple[Forward, float]] = [
    (lambda m, x: F.normalize(x, eps=0.5), 0.5),
    (lambda m, x: F.normalize(x, dim=-3), 1e-12),
    (lambda m, x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True), 0.0),
    (lambda m, x: x.div(x.norm(p=2, dim=1, keepdim=True).clamp(min=1e-3).expand_as(x)), 1e-3),
]


@pytest.mark.parametrize(("forward", "eps"), NORMALISATIONS)
def test_normalize_pixels(forward: Forward, eps: float) -> None:
    captured, kinds = check(forward)
    assert kinds == ["Normalize"]
    assert captured.graph.nodes[1].op.eps == eps


SLICES: dict[str, tuple[Forward, list[str]]] = {
    "slice": (lambda m, x: x[:, 1:3], ["Slice"]),
    "negative slice": (lambda m, x: x[:, -2:, :, :], ["Slice"]),
    "narrow": (lambda m, x: x.narrow(1, 2, 2), ["Slice"]),
    "slice of a slice": (lambda m, x: x[:, 1:][:, 1:2], ["Slice"]),
    "select": (lambda m, x: x[:, 2].unsqueeze(1), ["Slice"]),
    "select from the end": (lambda m, x: x.select(1, -1).unsqueeze(1), ["Slice"]),
    "chunk": (lambda m, x: x.chunk(2, 1)[1], ["Slice"]),
    "uneven chunk": (lambda m, x: x.chunk(3, dim=1), ["Slice", "Slice"]),
    "split": (lambda m, x: x.split([1, 3], 1)[1], ["Slice"]),
    "tensor_split": (lambda m, x: x.tensor_split(2, 1)[0], ["Slice"]),
    "unbind": (lambda m, x: torch.stack(x.unbind(1)[1:3], 1), ["Slice"]),
    "unbind in another order": (lambda m, x: torch.stack(x.unbind(1)[::-1], 1), ["Select"]),
    "flip": (lambda m, x: x.flip(1), ["Select"]),
    "turned and back": (lambda m, x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)[:, 1:], ["Slice"]),
    "sliced while turned": (lambda m, x: x.permute(0, 2, 3, 1)[..., 1:3].movedim(-1, 1), ["Slice"]),
    "moved while turned": (
        lambda m, x: (x.transpose(1, 3) * m.v.flatten() + 1).transpose(-1, 1)[:, 1:],
        ["Slice", "Affine"],
    ),
    "flipped while turned": (lambda m, x: x.movedim(1, 3).flip(3).movedim(3, 1), ["Select"]),
    "index": (lambda m, x: x[:, [2, 0, -1, 0]], ["Select"]),
    "uneven split": (lambda m, x: x.split(3, 1), ["Slice", "Slice"]),
    "split from the end of the dimensions": (lambda m, x: x.split([1, 3], -3)[1], ["Slice"]),
    "unbind from the end of the dimensions": (lambda m, x: torch.stack(x.unbind(-3)[1:3], -3), ["Slice"]),
    "flip from the end of the dimensions": (lambda m, x: x.flip(-3), ["Select"]),
    "index from the end of the dimensions": (lambda m, x: x.index_select(-3, torch.tensor([3, 1])), ["Select"]),
    "turned from the end of the dimensions": (
        lambda m, x: x.permute(0, -2, -1, 1).permute(0, -1, 1, -2)[:, 1:],
        ["Slice"],
    ),
    "index of one": (lambda m, x: x[:, [2]], ["Slice"]),
    "a plane times one number": (lambda m, x: (x[:, 0] * torch.full((1, 1), 2.0)).unsqueeze(1), ["Slice", "Affine"]),
    "slice from the end of the dimensions": (lambda m, x: torch.ops.aten.slice.Tensor(x, -3, 1, 3), ["Slice"]),
    "select from the end of the dimensions": (lambda m, x: x.select(-3, 1).unsqueeze(-3), ["Slice"]),
    "whole rows": (lambda m, x: F.relu(torch.ops.aten.slice.Tensor(x, 2, 0, H)), ["ReLU"]),
    "index in order": (lambda m, x: x[:, [1, 2]], ["Slice"]),
    "index_select": (lambda m, x: x.index_select(1, torch.tensor([3, 1])), ["Select"]),
    "moved, then in another order": (lambda m, x: (x * m.v + 1).flip(1), ["Select", "Affine"]),
    "put together again": (lambda m, x: F.relu(torch.cat(x.chunk(4, 1), 1)), ["ReLU"]),
    "affine slice": (lambda m, x: (x * m.v)[:, 1:3] + 1, ["Slice", "Affine"]),
    "whole": (lambda m, x: F.relu(x[:, :, :, :]), ["ReLU"]),
}


@pytest.mark.parametrize(("forward", "expected"), SLICES.values(), ids=list(SLICES))
def test_slices_of_channels(forward: Forward, expected: list[str]) -> None:
    assert check(forward, v=weight(C, 1, 1))[1] == expected


def test_more_channels_than_rows_apart() -> None:
    assert check(lambda m, x: torch.stack(x.unbind(1)[::-1], 1), shape=(4, 2, 3))[1] == ["Select"]


def test_channels_normalised_one_by_one_are_one_affine() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        parts = [torch.unsqueeze(x[:, c], 1) * (0.1 * c + 0.3) + (c - 1.5) for c in range(C)]
        return torch.cat(parts, 1)

    captured, kinds = check(forward)
    assert kinds == ["Affine"]
    assert captured.graph.nodes[1].name == "affine"


def test_some_channels_normalised_others_not() -> None:
    captured, kinds = check(lambda m, x: torch.cat([x[:, :1], x[:, 1:3] * 2, x[:, 3:] + 1], 1))
    assert kinds == ["Affine"]
    op = captured.graph.nodes[1].op
    assert captured.graph.params[op.scale].tolist() == [1, 2, 2, 1]
    assert captured.graph.params[op.shift].tolist() == [0, 0, 0, 1]


CONCATS: dict[str, tuple[Forward, list[str]]] = {
    "two": (lambda m, x: torch.cat([F.relu(x), x], 1), ["ReLU", "Concat"]),
    "negative dimension": (lambda m, x: torch.cat((F.relu(x), x), -3), ["ReLU", "Concat"]),
    "one": (lambda m, x: torch.cat([F.relu(x)], 1), ["ReLU"]),
    "twice the same": (lambda m, x: torch.cat([x, x], 1), ["Select"]),
    "flat": (lambda m, x: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1),
             ["AdaptiveAvgPool", "MaxPool", "Concat", "Flatten"]),
    "stacked planes": (lambda m, x: torch.stack([x[:, 0], F.relu(x[:, 0])], 1), ["Slice", "ReLU", "Concat"]),
}  # fmt: skip


@pytest.mark.parametrize(("forward", "expected"), CONCATS.values(), ids=list(CONCATS))
def test_concatenation(forward: Forward, expected: list[str]) -> None:
    assert check(forward)[1] == expected


SPELLINGS: dict[str, tuple[Forward, list[str]]] = {
    "concat": (lambda m, x: torch.concat([F.relu(x), x], dim=1), ["ReLU", "Concat"]),
    "concatenate": (lambda m, x: torch.concatenate([F.relu(x), x], axis=1), ["ReLU", "Concat"]),
    "hstack": (lambda m, x: torch.hstack([F.relu(x), x]), ["ReLU", "Concat"]),
    "hstack of flat": (lambda m, x: torch.hstack([x.mean((2, 3)), x.amax((2, 3))]),
                       ["AdaptiveAvgPool", "MaxPool", "Concat", "Flatten"]),
    "add of a keyword": (lambda m, x: torch.add(input=x, other=3, alpha=2), ["Affine"]),
    "subtract": (lambda m, x: torch.subtract(x, 3, alpha=2), ["Affine"]),
    "subtract a tensor": (lambda m, x: torch.subtract(m.v, x), ["Affine"]),
    "multiply": (lambda m, x: x.multiply(m.v), ["Affine"]),
    "multiply by a number": (lambda m, x: torch.multiply(x, 3), ["Affine"]),
    "divide": (lambda m, x: torch.divide(x, m.v), ["Affine"]),
    "true_divide": (lambda m, x: x.true_divide(3), ["Affine"]),
    "negative": (lambda m, x: torch.negative(x), ["Affine"]),
    "clip": (lambda m, x: x.clip(0), ["ReLU"]),
    "clip by keyword": (lambda m, x: torch.clip(x, min=0.0), ["ReLU"]),
    "clamp": (lambda m, x: x.clamp(min=0), ["ReLU"]),
    "clamp_min": (lambda m, x: torch.clamp_min(x, 0), ["ReLU"]),
}  # fmt: skip


@pytest.mark.parametrize(("forward", "expected"), SPELLINGS.values(), ids=list(SPELLINGS))
def test_second_names_are_the_first_ones(forward: Forward, expected: list[str]) -> None:
    assert check(forward, v=weight(C, 1, 1))[1] == expected


IDENTITIES: dict[str, Forward] = {
    "dropout": lambda m, x: m.drop(x),
    "dropout2d": lambda m, x: F.dropout2d(x, training=False),
    "alpha_dropout": lambda m, x: F.alpha_dropout(x, training=False),
    "dropout without effect": lambda m, x: F.dropout(x, 0.0, training=True),
    "native dropout": lambda m, x: torch.native_dropout(x, 0.5, False)[0],
    "flattened and back": lambda m, x: x.flatten(-2).view(x.shape),
    "flattened in the middle and back": lambda m, x: x.flatten(1, 2).view(-1, C, H, W),
    "a dimension more and back": lambda m, x: x.unsqueeze(-1).squeeze(4).unsqueeze(2).squeeze(-3),
    "squeezed where it is wide": lambda m, x: x.squeeze(2),
    "clone": lambda m, x: x.clone(),
    "contiguous": lambda m, x: x.contiguous(memory_format=torch.channels_last),
    "detach": lambda m, x: x.detach(),
    "identity": lambda m, x: m.identity(x),
    "same dtype": lambda m, x: x.to(x.dtype).type_as(x),
    "same device": lambda m, x: x.to(x.device),
    "no_grad": torch.no_grad()(lambda m, x: x),
}


@pytest.mark.parametrize("forward", IDENTITIES.values(), ids=list(IDENTITIES))
def test_what_does_nothing_leaves_no_trace(forward: Forward) -> None:
    _, kinds = check(lambda m, x: F.relu(forward(m, x)), drop=nn.Dropout(), identity=nn.Identity())
    assert kinds == ["ReLU"]


def test_weight_standardisation_is_computed_once() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(m.layer.weight, (1, 2, 3), keepdim=True)
        return F.conv2d(x, (m.layer.weight - mean) / (var + 1e-5).sqrt() * m.gain.exp(), m.layer.bias)

    captured, kinds = check(forward, layer=conv(3), gain=weight(5, 1, 1, 1))
    assert kinds == ["Conv2d"]
    op = captured.graph.nodes[1].op
    assert (op.weight, op.bias) == ("conv2d.weight", "layer.bias")
    assert captured.graph.params[op.weight].dtype == torch.float64


def test_weight_norm() -> None:
    layer = nn.utils.parametrizations.weight_norm(conv(3))
    assert check(lambda m, x: m.layer(x), layer=layer)[1] == ["Conv2d"]


def test_frozen_batch_norm_is_an_affine() -> None:
    from torchvision.ops.misc import FrozenBatchNorm2d

    bn = FrozenBatchNorm2d(C)
    for buffer in bn.buffers():
        buffer.copy_(weight(C))
    captured, kinds = check(lambda m, x: m.bn(x), bn=bn)
    assert kinds == ["Affine"]
    assert captured.graph.nodes[1].origin == "bn"
