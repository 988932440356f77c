import math
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inception_fast.errors import InputError
from inception_fast.graph import interpreter, ir
from inception_fast.graph.interpreter import interpret
from tests.graph.build import Build
from tests.graph.check import random_input


def run(b: Build, *outputs: str, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """A random input and the first output for it."""
    graph = b.graph(*outputs)
    x = random_input(graph)
    return x, interpret(graph, x, dtype)[0]


def conv_by_taps(x: torch.Tensor, weight: torch.Tensor, op: ir.Conv2d) -> torch.Tensor:
    """A convolution as one matrix product for each position of the kernel's window."""
    top, left, bottom, right = op.padding
    n, c, h, w = x.shape
    padded = torch.zeros(n, c, h + top + bottom, w + left + right, dtype=x.dtype)
    padded[:, :, top : top + h, left : left + w] = x
    kh, kw = weight.shape[2:]
    oh = (padded.shape[2] - op.dilation[0] * (kh - 1) - 1) // op.stride[0] + 1
    ow = (padded.shape[3] - op.dilation[1] * (kw - 1) - 1) // op.stride[1] + 1
    out = torch.zeros(n, len(weight), oh, ow, dtype=x.dtype)
    for i in range(kh):
        for j in range(kw):
            rows = torch.arange(oh) * op.stride[0] + i * op.dilation[0]
            columns = torch.arange(ow) * op.stride[1] + j * op.dilation[1]
            out += torch.einsum("oc,nchw->nohw", weight[:, :, i, j], padded[:, :, rows][:, :, :, columns])
    return out


def test_convolution_is_exact_on_small_integers() -> None:
    b = Build(3, 7, 9)
    y = b.conv("x", (2, 4), (3, 2), bias=True, stride=(2, 1), padding=(1, 0, 2, 3), dilation=(1, 2), name="y")
    b.params = {k: torch.randint(-4, 5, v.shape, generator=b.generator).float() for k, v in b.params.items()}
    graph = b.graph(y)
    op = graph.by_name["y"].op
    x = random_input(graph).mul(3).round()
    truth = conv_by_taps(x, graph.params[op.weight].double(), op) + graph.params[op.bias].double().view(1, -1, 1, 1)
    (out,) = interpret(graph, x)
    assert torch.equal(out, truth) and tuple(out.shape[1:]) == graph.shapes["y"]


def test_residual_comes_before_the_activation_of_each_segment() -> None:
    b = Build(5, 4, 3)
    plain = b.conv("x", 5, bias=True)
    op = b.nodes[-1].op
    fused = b.node(
        ir.Conv2d(op.weight, op.bias, (1, 1), (0,) * 4, (1, 1), (ir.Segment(2, True), ir.Segment(3))), "x", "x"
    )
    graph = b.graph(plain, fused)
    x = random_input(graph)
    base, out = interpret(graph, x)
    truth = base + x
    truth[:, :2] = truth[:, :2].clamp_min(0)
    assert torch.equal(out, truth)


def test_pair_is_its_two_convolutions() -> None:
    b = Build(3, 6, 7)
    first = b.conv("x", 4, (1, 3), relu=True)
    second = b.conv(first, 3, (3, 1), residual="x", relu=True)
    ops = b.nodes[-2].op, b.nodes[-1].op
    paired = b.node(ir.ConvPair(*ops), "x", "x")
    graph = b.graph(second, paired)
    one, two = interpret(graph, random_input(graph))
    assert torch.equal(one, two)


@pytest.mark.parametrize("flat", [True, False])
def test_batchnorm(flat: bool) -> None:
    b = Build(4, 5, 3)
    y = b.batchnorm(b.flat("x") if flat else "x", eps=0.25)
    op, params = b.nodes[-1].op, {k: v.double() for k, v in b.params.items()}
    x, out = run(b, y)
    x = x.mean((2, 3), keepdim=True) if flat else x
    mean, var, weight, bias = (params[n].view(1, -1, 1, 1) for n in (op.mean, op.var, op.weight, op.bias))
    truth = (x - mean) / (var + 0.25).sqrt() * weight + bias
    torch.testing.assert_close(out, truth.flatten(1) if flat else truth, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("relu", [True, False])
def test_pointwise_ops(relu: bool) -> None:
    b = Build(4, 5, 3)
    a = b.affine("x", relu=relu)
    op = b.nodes[-1].op
    s, r, c = b.add("x", a, relu=relu), b.relu("x"), b.node(ir.Copy(), "x")
    graph = b.graph(a, s, r, c)
    x = random_input(graph)
    act = torch.relu if relu else nn.Identity()
    scale, shift = (graph.params[n].double().view(1, -1, 1, 1) for n in (op.scale, op.shift))
    got = interpret(graph, x)
    for value, truth in zip(
        got, (act(x * scale + shift), act(x + act(x * scale + shift)), x.clamp_min(0), x), strict=True
    ):
        assert torch.equal(value, truth)


def test_channels() -> None:
    b = Build(4, 5, 3)
    s = b.slice("x", 1, 2)
    x, out = run(b, b.concat(s, "x", s))
    assert torch.equal(out, x[:, [1, 2, 0, 1, 2, 3, 1, 2]])


@pytest.mark.parametrize(
    ("op", "module"),
    [
        (ir.MaxPool((3, 2), (2, 1), (1, 0), (1, 2)), nn.MaxPool2d((3, 2), (2, 1), (1, 0), (1, 2))),
        (ir.MaxPool((3, 3), (2, 2), (0, 0), ceil_mode=True), nn.MaxPool2d(3, 2, ceil_mode=True)),
        (ir.AvgPool((3, 2), (2, 1), (1, 1), True, False), nn.AvgPool2d((3, 2), (2, 1), 1, True, False)),
        (ir.AvgPool((3, 3), (1, 1), (1, 1)), nn.AvgPool2d(3, 1, 1)),
        (ir.AdaptiveAvgPool((2, 3)), nn.AdaptiveAvgPool2d((2, 3))),
        (ir.Resize((9, 4), True), nn.UpsamplingBilinear2d((9, 4))),
        (ir.Resize((9, 4), False), nn.Upsample((9, 4), mode="bilinear", align_corners=False)),
        (ir.Flatten(), nn.Flatten()),
    ],
)
def test_same_as_the_module(op: ir.Op, module: nn.Module) -> None:
    b = Build(4, 8, 9)
    x, out = run(b, b.node(op, "x"))
    assert torch.equal(out, module(x))
    assert tuple(out.shape[1:]) == b.graph().shapes[b.nodes[-1].name]


Truth = Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor]
FUNCTIONS: dict[str, tuple[Callable[[Build], ir.Op], Truth]] = {
    "softmax": (lambda b: ir.Softmax(), lambda x, p: x.softmax(1)),
    "log softmax": (lambda b: ir.Softmax(log=True), lambda x, p: x.log_softmax(1)),
    "pad": (lambda b: ir.Pad((1, 2, 0, 3)), lambda x, p: F.pad(x, (2, 3, 1, 0))),
    "pad of numbers": (lambda b: ir.Pad((1, 2, 0, 3), -0.75, b.param(4), b.param(4)), lambda x, p: F.pad(
        x * p["p0"].view(4, 1, 1) + p["p1"].view(4, 1, 1), (2, 3, 1, 0), value=-0.75)),
    "max pool": (lambda b: ir.MaxPool((3, 3), (2, 2), (1, 1)), lambda x, p: F.max_pool2d(x, 3, 2, 1)),
    "max pool with margins": (lambda b: ir.MaxPool((3, 3), (2, 2), (0, 0), outside=(0, 1, 2, 0)),
                              lambda x, p: F.max_pool2d(F.pad(x, (1, 0, 0, 2), value=-math.inf), 3, 2)),
    "average pool": (lambda b: ir.AvgPool((3, 3), (2, 2), (1, 1)), lambda x, p: F.avg_pool2d(x, 3, 2, 1)),
    "affine": (lambda b: ir.Affine(b.param(4), b.param(4)),
               lambda x, p: x * p["p0"].view(4, 1, 1) + p["p1"].view(4, 1, 1)),
    "depthwise": (lambda b: ir.DepthwiseConv2d(b.param(4, 1, 3, 3), None, (1, 1), (0, 0, 0, 0), (1, 1)),
                  lambda x, p: F.conv2d(x, p["p0"], groups=4)),
    "convolution": (lambda b: ir.Conv2d(b.param(5, 4, 1, 1), None, (1, 1), (0, 0, 0, 0), (1, 1), (ir.Segment(5),)),
                    lambda x, p: F.conv2d(x, p["p0"])),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_op_is_pytorch_s_function(name: str) -> None:
    make, truth = FUNCTIONS[name]
    b = Build(4, 8, 10)
    x, out = run(b, b.node(make(b), "x"))
    expected = truth(x, {key: p.double() for key, p in b.params.items()})
    torch.testing.assert_close(out, expected, rtol=1e-13, atol=1e-13)
    assert expected.min() < 0 or name == "softmax"


@pytest.mark.parametrize("gate", [(4, 5, 3), (1, 5, 3), (4, 1, 1), (1, 1, 1), (4,), (1,)])
def test_gates_of_images(gate: tuple[int, ...]) -> None:
    x, factors = torch.randn(2, 4, 5, 3), torch.randn(2, *gate)
    out = interpreter.apply_op(ir.Gate(), [x, factors], {})
    assert torch.equal(out, x * factors.view(2, *gate, *(1,) * (3 - len(gate))))


@pytest.mark.parametrize("gate", [(4,), (1,), (4, 1, 1), (1, 1, 1)])
def test_gates_of_vectors(gate: tuple[int, ...]) -> None:
    x, factors = torch.randn(2, 4), torch.randn(2, *gate)
    assert torch.equal(interpreter.apply_op(ir.Gate(), [x, factors], {}), x * factors.flatten(1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_local_response_norm_in_every_dtype(dtype: torch.dtype) -> None:
    b = Build(5, 4, 3)
    x, out = run(b, b.node(ir.LocalResponseNorm(3, 0.5, 0.75, 2.0), "x"), dtype=dtype)
    truth = F.local_response_norm(x.to(dtype).double(), 3, 0.5, 0.75, 2.0)
    assert out.dtype == dtype
    assert (out.double() - truth).norm() <= 8 * torch.finfo(dtype).eps * truth.norm()


def test_linear_layers_and_sums_have_no_activation_unless_they_say_so() -> None:
    b = Build(4, 1, 1)
    linear = ir.Linear(b.param(4, 4), None)
    flat = b.node(ir.Flatten(), "x")
    x, out = run(b, b.node(ir.Add(), flat, b.node(linear, flat)))
    x = x.flatten(1)
    truth = x + x @ b.params[linear.weight].double().T
    torch.testing.assert_close(out, truth, rtol=1e-13, atol=1e-13)
    assert truth.min() < 0


@pytest.mark.parametrize("relu", [True, False])
def test_average_pool_adds_its_bias_last(relu: bool) -> None:
    b = Build(4, 8, 9)
    bias = b.param(4)
    x, out = run(b, b.node(ir.AvgPool((3, 3), (2, 2), (1, 1), count_include_pad=False, bias=bias, relu=relu), "x"))
    truth = nn.AvgPool2d(3, 2, 1, count_include_pad=False)(x) + b.params[bias].double().view(1, -1, 1, 1)
    assert torch.equal(out, truth.clamp_min(0) if relu else truth)


@pytest.mark.parametrize("relu", [True, False])
def test_linear_and_normalize(relu: bool) -> None:
    b = Build(4, 1, 1)
    linear = ir.Linear(b.param(3, 4), b.param(3), relu)
    value = b.node(linear, b.node(ir.Flatten(), "x"))
    x, out = run(b, b.node(ir.Normalize(1e-12), value))
    truth = x.flatten(1) @ b.params[linear.weight].double().T + b.params[linear.bias].double()
    truth = truth.clamp_min(0) if relu else truth
    torch.testing.assert_close(out, truth / truth.square().sum(1, keepdim=True).sqrt(), rtol=1e-13, atol=0)


def test_normalize_bounds_the_norm_of_each_pixel() -> None:
    b = Build(2, 1, 2)
    graph = b.graph(b.node(ir.Normalize(0.5), "x"))
    x = torch.tensor([[[[3.0, 0.1]], [[4.0, 0.0]]]])
    (out,) = interpret(graph, x)
    torch.testing.assert_close(out, torch.tensor([[[[0.6, 0.2]], [[0.8, 0.0]]]]).double(), rtol=1e-7, atol=0)


def test_relu_keeps_nan() -> None:
    b = Build(1, 1, 2)
    (out,) = interpret(b.graph(b.relu("x")), torch.tensor([[[[torch.nan, -1.0]]]]))
    assert out.isnan().tolist() == [[[[True, False]]]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_computes_in_the_dtype_asked_for(dtype: torch.dtype) -> None:
    b = Build(3, 6, 5)
    _, out = run(b, b.batchnorm(b.conv("x", 4, (3, 3), bias=True)), dtype=dtype)
    _, truth = run(b, b.nodes[-1].name)
    error = (out.double() - truth).norm() / truth.norm()
    assert out.dtype == dtype and error < 8 * torch.finfo(dtype).eps
    assert dtype == torch.float64 or error > torch.finfo(dtype).eps / 8


def test_values_by_name_in_any_order() -> None:
    b = Build(3, 6, 5)
    c = b.conv("x", 2)
    y = b.relu(c)
    graph = b.graph(y)
    x = random_input(graph)
    got = interpret(graph, x, values=[y, "x", c, c])
    assert torch.equal(got[1], x) and torch.equal(got[0], got[2].relu()) and got[3] is got[2]


def test_every_batch_size() -> None:
    b = Build(3, 6, 5)
    graph = b.graph(b.linear(b.flat(b.conv("x", 4, (3, 3))), 2))
    x = random_input(graph, batch=3)
    (whole,) = interpret(graph, x)
    parts = [interpret(graph, image[None])[0] for image in x]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-13, atol=1e-15)


def test_values_are_freed_after_their_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Build(3, 6, 5)
    value = b.relu("x", name="first")
    for i in range(6):
        value = b.maxpool(value, name=f"pool{i}")
    graph = b.graph(b.add(value, "first"))
    made: list[weakref.ref[torch.Tensor]] = []
    peak = 0
    apply_op = interpreter.apply_op

    def watched(*args: object) -> torch.Tensor:
        nonlocal peak
        out = apply_op(*args)
        made.append(weakref.ref(out))
        peak = max(peak, sum(ref() is not None for ref in made))
        return out

    monkeypatch.setattr(interpreter, "apply_op", watched)
    interpret(graph, random_input(graph))
    assert peak == 3  # the first value, the newest and the one it was made from


def test_wrong_arguments() -> None:
    b = Build(3, 6, 5)
    graph = b.graph(b.relu("x"))
    with pytest.raises(InputError, match=r"x: got \(2, 4, 6, 5\), expected \('N', 3, 6, 5\)"):
        interpret(graph, torch.zeros(2, 4, 6, 5))
    with pytest.raises(InputError, match="values: got missing"):
        interpret(graph, torch.zeros(2, 3, 6, 5), values=["missing"])
