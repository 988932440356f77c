"""Everything that records operators gets ``inception_fast::run``, or a refusal that says why; never memory that nobody
filled. For a FastModel and for blocks in a larger model.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import inception_fast as ifast
from inception_fast.errors import InputError, InputTypeError
from tests.integrations.networks import photos

Net = Callable[[torch.Tensor], torch.Tensor]
OPERATOR = torch.ops.inception_fast.run.default


def model() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*layers[:3]), nn.Sequential(*layers[3:])).eval()


def whole() -> nn.Module:
    return ifast.optimize(model(), photos(1))


def in_place() -> nn.Module:
    swapped = model()
    ifast.swap(swapped, photos(1))
    swapped(photos(2))
    return swapped


def blocks() -> nn.Module:
    first, second = model()
    made = nn.Sequential(ifast.nn.ConvBNReLU.from_torch(first), ifast.nn.ConvBNReLU.from_torch(second)).eval()
    made(photos(2))
    return made


@pytest.fixture(params=[whole, in_place, blocks])
def net(request: pytest.FixtureRequest) -> nn.Module:
    made = request.param()
    parts = [*made.modules(), vars(made).get("forward")]
    assert any(type(m).__module__.startswith("inception_fast") for m in parts)
    return made


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.mark.filterwarnings("ignore")
def test_jit_trace(net: nn.Module) -> None:
    traced = torch.jit.trace(net, photos(2), check_trace=False)
    assert "inception_fast::run" in str(traced.inlined_graph)
    x = photos(2) + 0.5
    assert torch.equal(traced(x), net(x))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(net: nn.Module, mode: str) -> None:
    graph = make_fx(net, tracing_mode=mode)(photos(2))
    assert OPERATOR in {node.target for node in graph.graph.nodes}
    x = photos(2) + 0.5
    assert torch.equal(graph(x), net(x))


def test_make_fx_with_functionalisation(net: nn.Module) -> None:
    graph = make_fx(torch.func.functionalize(net))(photos(2))
    assert OPERATOR in {node.target for node in graph.graph.nodes}
    x = photos(2) + 0.5
    assert torch.equal(graph(x), net(x))


def test_fake_tensors_give_fake_results(net: nn.Module) -> None:
    want = net(photos(2))
    with FakeTensorMode() as mode:
        got = net(mode.from_tensor(photos(2)))
    assert got.shape == want.shape and got.stride() == want.stride() and type(got).__name__ == "FakeTensor"


def test_a_mode_that_only_counts_sees_the_operator(net: nn.Module) -> None:
    x = photos(2)
    with FlopCounterMode(display=False):
        got = net(x)
    assert torch.equal(got, net(x))


@pytest.mark.filterwarnings("ignore")
def test_legacy_onnx_export_is_refused(net: nn.Module, tmp_path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(Exception, match="inception_fast::run"):
        torch.onnx.export(net, (photos(2),), str(tmp_path / "m.onnx"), dynamo=False)


@pytest.mark.parametrize("transform", ["vmap", "jvp", "grad"])
def test_transforms_are_refused(net: nn.Module, transform: str) -> None:
    x = photos(2)
    with torch.enable_grad(), pytest.raises((InputTypeError, InputError), match=r"x: got"):
        if transform == "vmap":
            torch.vmap(net)(x.unsqueeze(0))
        elif transform == "jvp":
            torch.func.jvp(net, (x,), (x,))
        else:
            torch.func.grad(lambda t: net(t).sum())(x)


def test_tensors_without_memory_are_refused(net: nn.Module) -> None:
    freed = photos(2)
    freed.untyped_storage().resize_(0)
    with pytest.raises(InputError, match="over 0 bytes"):
        net(freed)
    with pytest.raises(InputTypeError, match="without memory"):
        net(torch._to_functional_tensor(photos(2)))


def test_lazy_negation(net: nn.Module) -> None:
    x = photos(2)
    negative = torch.complex(x, x).conj().imag
    assert negative.is_neg()
    assert torch.equal(net(negative), net(-x))


def test_bound_memory_must_hold_what_the_tensor_says() -> None:
    fast, x = whole(), photos(2)
    negative = torch.complex(x, x).conj().imag
    with pytest.raises(InputError, match="lazy negation"):
        fast.static(negative)
    out = torch.complex(fast(x), fast(x)).conj().imag
    with pytest.raises(InputError, match=r"out: .*lazy negation"):
        fast(x, out=out)
