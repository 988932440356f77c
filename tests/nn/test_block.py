"""What every drop-in module does: weights, memory formats, copies, bad input, compilation."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from tests.nn.modules import assert_same, lively

SHAPE = (2, 12, 7, 9)


def test_follows_loaded_weights(block: nn.Module, fast: nn.Module) -> None:
    assert_same(fast, block, *SHAPE)
    other = lively(Inception(12, 4, 6, 8, 2, 4, 4), seed=7)
    fast.load_state_dict(other.state_dict())
    assert_same(fast, other, *SHAPE)
    fast.load_state_dict(lively(copy.deepcopy(block), seed=8).state_dict(), assign=True)
    assert_same(fast, lively(block, seed=8), *SHAPE)


@torch.no_grad()
def test_follows_every_other_change(block: nn.Module, fast: nn.Module) -> None:
    """In place, a buffer, new memory for a parameter, a new parameter, a new layer; on either of the two modules."""
    assert_same(fast, block, *SHAPE)
    block.branch1.conv.weight.mul_(2)
    assert_same(fast, block, *SHAPE)
    fast.branch1.bn.running_mean.add_(1)
    assert_same(fast, block, *SHAPE)
    fast.branch1.conv.weight.data = block.branch1.conv.weight.data * 2
    assert_same(fast, block, *SHAPE)
    block.branch1.conv.weight = nn.Parameter(block.branch1.conv.weight * 2)
    assert_same(fast, block, *SHAPE)
    fast.branch1 = lively(BasicConv2d(12, 3, kernel_size=1), seed=3)
    x = assert_same(fast, block, *SHAPE)
    assert fast(x).shape[1] == 3 + 8 + 4 + 4


def test_half_precision_weights(block: nn.Module, fast: nn.Module) -> None:
    x = torch.randn(SHAPE)
    with torch.no_grad():
        expected = fast(x)
        got = fast.bfloat16()(x.bfloat16())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [SHAPE, (1, 12, 7, 9), (2, 12, 1, 1)])
def test_keeps_the_memory_format(
    block: nn.Module, fast: nn.Module, layout: torch.memory_format, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape).contiguous(memory_format=layout)
    with torch.no_grad():
        got = fast(x)
        assert got.is_contiguous(memory_format=layout)
        torch.testing.assert_close(got, block(x), rtol=1e-4, atol=1e-5)


def test_one_channel_is_nchw() -> None:
    """Its strides fit both formats; PyTorch takes them for NCHW, and so does a view behind it."""
    layer = lively(BasicConv2d(1, 4, kernel_size=3))
    fast = ifast.nn.ConvBNReLU.from_torch(layer)
    x = torch.randn(2, 1, 5, 6)
    with torch.no_grad():
        assert fast(x).stride() == layer(x).stride()


def test_odd_strides(block: nn.Module, fast: nn.Module) -> None:
    x = torch.randn(4, 24, 14, 9)[::2, ::2, ::2]
    with torch.no_grad():
        torch.testing.assert_close(fast(x), block(x), rtol=1e-4, atol=1e-5)


def test_copies_are_independent(block: nn.Module, fast: nn.Module) -> None:
    assert_same(fast, block, *SHAPE)
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert twin.key != fast.key
        with torch.no_grad():
            twin.branch1.conv.weight.mul_(3)
        assert_same(twin, twin.original, *SHAPE)
        assert_same(fast, block, *SHAPE)
        assert twin.original.branch1 is twin.branch1


class Wide(nn.Module):
    """Has an attribute, a method and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out_channels = nn.Conv2d(3, 8, 1), 8
        self.register_buffer("scale", torch.full((1, 8, 1, 1), 2.0), persistent=False)

    def describe(self) -> str:
        return f"{self.out_channels} channels"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x) * self.scale)


def test_gives_what_the_original_has() -> None:
    module = lively(Wide())
    fast = ifast.nn.InceptionBlock.from_torch(module)
    assert (fast.out_channels, fast.describe()) == (8, "8 channels")
    assert set(fast.state_dict()) == {"conv.weight", "conv.bias"} and fast.scale is module.scale
    assert [n for n, _ in fast.named_modules()] == ["", "conv"]
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = fast.missing
    assert_same(fast, module, 2, 3, 4, 5)


def test_mode_is_that_of_the_original(block: nn.Module, fast: nn.Module) -> None:
    fast.train()
    assert block.training and block.branch1.bn.training
    with pytest.raises(ifast.InputError, match=r"training: got True, expected False: InceptionBlock is for inference"):
        fast(torch.randn(SHAPE))
    fast.eval()
    assert not block.training
    assert_same(fast, block, *SHAPE)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(12, 7, 9), r"x: got rank 3 \(shape \[12, 7, 9\]\), expected rank 4"),
        (torch.zeros(2, 11, 7, 9), r"x: got shape \[2, 11, 7, 9\], expected \[N, 12, H, W\]"),
        (torch.zeros(SHAPE, dtype=torch.float64), r"x: got torch.float64, expected torch.float32"),
        (torch.zeros(SHAPE, device="meta"), "x: got device meta, expected cpu"),
        (None, "x: got NoneType, expected a torch.Tensor"),
    ],
)
def test_bad_input(fast: nn.Module, x: object, message: str) -> None:
    fast(torch.zeros(SHAPE))
    with pytest.raises(ifast.InputError, match=message):
        fast(x)


BACKENDS = ["cpu", "torch", "reference"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wants", ["weights", "image"])
def test_a_gradient_is_refused_when_it_is_asked_for(block: nn.Module, backend: str, wants: str) -> None:
    """And not before: an inference without ``torch.no_grad()`` is one, in-place layers behind it among it."""
    fast = ifast.nn.InceptionBlock.from_torch(block.requires_grad_(wants == "weights"), backend=backend)
    x = torch.randn(SHAPE, requires_grad=wants == "image")
    with torch.no_grad():
        expected = block(x)
    got = nn.Sequential(fast, nn.ReLU(inplace=True), nn.Dropout(inplace=True)).eval()(x)
    torch.testing.assert_close(got.detach(), expected.relu(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ifast.InputError, match=r"^backward: got a gradient wanted .* torch\.no_grad\(\).*\.original"):
        got.sum().backward()
    assert not any(p.grad is not None for p in block.parameters())
    with torch.no_grad():
        assert not fast(x).requires_grad
    assert not fast(x.detach()).requires_grad or wants == "weights"


def test_no_gradient_is_wanted_of_frozen_weights(block: nn.Module, fast: nn.Module) -> None:
    block.requires_grad_(False)
    assert not fast(torch.randn(SHAPE)).requires_grad


class Twice(BasicConv2d):
    """Returns one tensor twice, and another one."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = super().forward(x)
        return {"map": y, "pooled": nn.functional.adaptive_avg_pool2d(y, 1).flatten(1), "again": y}


def test_gradients_of_several_outputs() -> None:
    layer = lively(Twice(3, 4, kernel_size=1))
    got, expected = ifast.nn.InceptionBlock.from_torch(layer)(torch.ones(2, 3, 4, 5)), layer(torch.ones(2, 3, 4, 5))
    for name in expected:
        torch.testing.assert_close(got[name].detach(), expected[name].detach(), rtol=1e-4, atol=1e-5)
        with pytest.raises(ifast.InputError, match=r"^backward: got a gradient wanted"):
            got[name].sum().backward()


@pytest.mark.parametrize("tracer", ["compile", "jit"])
@pytest.mark.filterwarnings("ignore:.torch.jit:")
def test_gradients_in_traces(fast: nn.Module, block: nn.Module, tracer: str) -> None:
    """A trace with gradients runs; only its backward pass does not."""
    torch._dynamo.reset()
    x, model = torch.randn(SHAPE), nn.Sequential(fast, nn.Tanh())
    traced = torch.compile(model, fullgraph=True, backend="aot_eager") if tracer == "compile" else None
    traced = traced or torch.jit.trace(model, x)
    got = traced(x)
    torch.testing.assert_close(got.detach(), block(x).tanh().detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises((RuntimeError, ifast.InputError), match="a gradient wanted through a fast"):
        got.sum().backward()


class Mixed(BasicConv2d):
    """Under autocast a convolution's output has the lower type, a pooled image its own."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().forward(x), nn.functional.max_pool2d(x, 2)


@torch.no_grad()
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast(backend: str, low: torch.dtype, given: torch.dtype) -> None:
    """The original's types, and float32's accuracy: only what goes in and comes out is rounded."""
    layer = lively(Mixed(3, 4, kernel_size=3))
    fast = ifast.nn.InceptionBlock.from_torch(layer, backend=backend)
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(3)).to(given)
    exact = copy.deepcopy(layer).double()(x.double())
    with torch.autocast("cpu", low):
        got, originals = fast(x), layer(x)
    for g, o, e in zip(got, originals, exact, strict=True):
        assert g.dtype == o.dtype
        assert (g.double() - e).norm() <= max(torch.finfo(g.dtype).eps, 1e-5) * e.norm()
    assert originals[0].dtype == low and originals[1].dtype == given
    assert fast(x.float())[0].dtype == torch.float32
    with torch.autocast("cpu", low), pytest.raises(ifast.InputTypeError, match=r"x: got torch.float64"):
        fast(x.double())


@torch.no_grad()
def test_autocast_in_a_compiled_model(fast: nn.Module, block: nn.Module) -> None:
    torch._dynamo.reset()
    first = nn.Conv2d(3, 12, 1)
    compiled = torch.compile(nn.Sequential(first, fast), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 7, 9)
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            got, expected = compiled(x), block(first(x))
        assert got.dtype == expected.dtype == (torch.bfloat16 if enabled else torch.float32)
        torch.testing.assert_close(got, expected, rtol=0.05, atol=0.05)


def test_too_small_an_image() -> None:
    fast = ifast.nn.ConvBNReLU.from_torch(lively(BasicConv2d(3, 4, kernel_size=5)))
    with pytest.raises(ifast.InputError, match="x: got images of 3x4x4, for which the model itself fails"):
        fast(torch.zeros(1, 3, 4, 4))


@torch.no_grad()
def test_inside_a_compiled_model(block: nn.Module, fast: nn.Module) -> None:
    """At sizes seen and unseen, one after the other, without a break in the graph."""
    model = nn.Sequential(nn.Sigmoid(), fast, nn.Tanh())
    plain = nn.Sequential(nn.Sigmoid(), block, nn.Tanh())
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for shape in [SHAPE, (3, 12, 7, 9), (3, 12, 8, 5)]:
        assert_same(compiled, plain, *shape)
    block.branch1.conv.weight.mul_(2)
    assert_same(compiled, plain, *SHAPE)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_opcheck(fast: nn.Module, layout: torch.memory_format) -> None:
    x = torch.randn(SHAPE).contiguous(memory_format=layout)
    torch.library.opcheck(torch.ops.inception_fast.run, (x, fast.key))
