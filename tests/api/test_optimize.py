"""optimize and FastModel."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.models.layers import BasicConv2d
from tests.integrations.networks import SIZE, assert_same_results, network, photos
from tests.nn.modules import lively


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_same_outputs(model: nn.Module, backend: str, batch: int) -> None:
    fast = ifast.optimize(model, photos(2), backend=backend)
    with torch.no_grad():
        assert_same_results(fast(photos(batch)), copy.deepcopy(model).double()(photos(batch).double()))


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_precisions(model: nn.Module, precision: str) -> None:
    """Results come in the input's dtype, be it the model's or the Plan's."""
    fast = ifast.optimize(model, photos(1), precision=precision)
    plan_dtype = getattr(torch, fast.plan.dtype)
    truth = copy.deepcopy(model).double()(photos(3).double())
    bound = {"fp32": 1e-5, "tf32": 5e-3, "fp16": 5e-3, "bf16": 4e-2}[precision]
    for dtype in {torch.float32, plan_dtype}:
        got = fast(photos(3).to(dtype))
        assert got.logits.dtype == got.maps["map"].dtype == dtype
        assert_same_results(got, truth, rtol=bound)
    assert fast.precision == precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_in_other_dtypes(dtype: torch.dtype) -> None:
    """Their weights are taken as they are; sums are float32 at least."""
    model = network().to(dtype)
    x = photos(2).to(dtype)
    got = ifast.optimize(model, x)(x)
    assert got.logits.dtype == dtype
    bound = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-5}[dtype]
    assert_same_results(got, copy.deepcopy(model).double()(x.double()), rtol=bound)


def test_takes_any_strides(fast: ifast.FastModel) -> None:
    x = photos(4, (2 * SIZE[0], SIZE[1]))[::2, :, ::2].flip(0)
    expected = fast(x.contiguous())
    for same in (x, x.contiguous(memory_format=torch.channels_last), x.permute(3, 0, 2, 1).clone().permute(1, 3, 2, 0)):
        assert torch.equal(fast(same).logits, expected.logits)


def test_feature_maps_are_channels_last(fast: ifast.FastModel) -> None:
    assert fast(photos(3)).maps["map"].is_contiguous(memory_format=torch.channels_last)


def test_the_input_is_not_changed(model: nn.Module, backend: str) -> None:
    x = photos(2)
    before = x.clone()
    ifast.optimize(model, x, backend=backend)(x)
    assert torch.equal(x, before)


def test_results_are_the_callers(model: nn.Module, backend: str) -> None:
    """Writing to them changes neither later results nor the input."""
    fast, x = ifast.optimize(model, photos(2), backend=backend), photos(2)
    first = fast(x)
    expected = first.logits.clone(), first.maps["map"].clone()
    first.logits.fill_(7.0)
    first.maps["map"].fill_(7.0)
    again = fast(x)
    assert torch.equal(again.logits, expected[0]) and torch.equal(again.maps["map"], expected[1])


class Pair(NamedTuple):
    first: Any
    second: Any


STRUCTURES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "tensor": lambda a, b: a,
    "tuple": lambda a, b: (a, b),
    "tuple of one": lambda a, b: (b,),
    "list": lambda a, b: [b, a],
    "dict": lambda a, b: {"b": b, "a": a},
    "ordered dict": lambda a, b: OrderedDict(z=a, y=b),
    "named tuple": lambda a, b: Pair(b, a),
    "nested": lambda a, b: Pair({"x": [a, (b, None)]}, [1, "two", a]),
    "empty parts": lambda a, b: {"maps": [], "a": a, "none": ()},
}


class Returns(nn.Module):
    def __init__(self, arrange: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.arrange = BasicConv2d(3, 4, 3), arrange

    def forward(self, x: torch.Tensor) -> Any:
        y = self.conv(x)
        return self.arrange(y, y.mean((2, 3)))


def assert_same_nesting(got: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(got, expected)
    elif isinstance(expected, tuple | list):
        assert type(got) is type(expected) and len(got) == len(expected)
        for a, b in zip(got, expected, strict=True):
            assert_same_nesting(a, b)
    elif isinstance(expected, dict):
        assert type(got) is type(expected) and list(got) == list(expected)
        for key in expected:
            assert_same_nesting(got[key], expected[key])
    else:
        assert got == expected


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_of_the_outputs(name: str) -> None:
    model = lively(Returns(STRUCTURES[name]))
    with torch.no_grad():
        assert_same_nesting(ifast.optimize(model, photos(1))(photos(2)), model(photos(2)))


def test_the_model_is_left_as_it_was(model: nn.Module) -> None:
    """Its tensors, modes and attributes, and PyTorch's random numbers and modes."""
    model.stem.conv.weight.requires_grad_(False)
    tensors = {
        name: (t, t.clone(), t.requires_grad, t._version) for name, t in model.state_dict(keep_vars=True).items()
    }
    attributes = {path: dict(m.__dict__) for path, m in model.named_modules()}
    modes = {path: m.training for path, m in model.named_modules()}
    random, grad = torch.get_rng_state(), torch.is_grad_enabled()

    ifast.optimize(model, photos(1))

    assert torch.equal(torch.get_rng_state(), random) and torch.is_grad_enabled() == grad
    assert {path: m.training for path, m in model.named_modules()} == modes
    for path, m in model.named_modules():
        assert m.__dict__.keys() == attributes[path].keys()
    for name, t in model.state_dict(keep_vars=True).items():
        same, value, requires_grad, version = tensors[name]
        assert t is same and torch.equal(t, value) and (t.requires_grad, t._version) == (requires_grad, version)
    model(photos(1)).logits.sum().backward()
    assert model.fc.weight.grad is not None


def test_the_weights_are_those_of_then(model: nn.Module, fast: ifast.FastModel) -> None:
    before = fast(photos(1)).logits
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert torch.equal(fast(photos(1)).logits, before)


def test_examples_in_a_sequence(model: nn.Module, fast: ifast.FastModel) -> None:
    for example in ((photos(4),), [photos(2)]):
        assert torch.equal(ifast.optimize(model, example)(photos(3)).logits, fast(photos(3)).logits)


def test_attributes(fast: ifast.FastModel) -> None:
    assert fast.backend in ifast.backends() and fast.precision == "fp32" and fast.batch_invariant is False
    assert not fast.training and not list(fast.parameters()) and len(fast.plan.steps) > 3
    assert repr(fast) == f"FastModel(backend={fast.backend}, precision=fp32, steps={len(fast.plan.steps)})"


def test_report(fast: ifast.FastModel) -> None:
    report = fast.report()
    assert report.backend == fast.backend and sum(report.steps.values()) == len(fast.plan.steps)
    assert [p["name"] for p in report.passes][:2] == ["fold_batchnorm", "fold_channel_order"]
    assert f"backend {fast.backend}, precision fp32" in str(report) and "fold_batchnorm: " in str(report)


def test_no_gradients(fast: ifast.FastModel) -> None:
    """Neither results nor what is packed inside take part in autograd."""
    assert torch.is_grad_enabled() and not fast(photos(1)).logits.requires_grad
    with torch.no_grad():
        assert not fast(photos(1).requires_grad_()).logits.requires_grad
    with torch.inference_mode():
        fast(photos(1))


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_a_gradient_is_refused_when_it_is_asked_for(backend: str) -> None:
    fast, x = ifast.optimize(network(), photos(1), backend=backend), photos(2).requires_grad_()
    got = fast(x)
    assert_same_results(got, fast(x.detach()))
    for result in (got.logits, got.maps["again"]):
        with pytest.raises(ifast.InputError, match=r"^backward: got a gradient wanted .* torch\.no_grad\(\)"):
            result.sum().backward()
    with pytest.raises(ifast.InputError, match="x: got requires_grad=True with grad enabled"):
        fast(x, out=fast(x.detach()))
    with pytest.raises(ifast.InputError, match="x: got requires_grad=True with grad enabled"):
        fast.static(x)


@torch.no_grad()
@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_autocast_changes_nothing(backend: str) -> None:
    """Neither what is built under it nor what runs under it."""
    x = photos(2)
    plain = ifast.optimize(network(), x, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        fast = ifast.optimize(network(), x, backend=backend)
        for got in (fast(x), plain(x), fast.static(x)()):
            assert torch.equal(got.logits, plain(x).logits) and got.maps["map"].dtype == torch.float32
    assert torch.equal(plain(x).logits, fast(x).logits)


@torch.no_grad()
def test_autocast_has_cast_the_images() -> None:
    """They come back in the type that it gave them; without it, and in other types, they do not fit."""
    x = photos(2)
    fast = ifast.optimize(network(), x)
    rounded = x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found, other = fast(rounded), fast.static(rounded)()
        with pytest.raises(ifast.InputTypeError, match=r"x: got torch.int16 under torch.autocast, expected"):
            fast(x.short())
    wanted = fast(rounded.float()).logits.bfloat16()
    assert torch.equal(found.logits, wanted) and torch.equal(other.logits, wanted)
    with pytest.raises(ifast.InputTypeError, match=r"x: got torch.bfloat16, expected"):
        fast(rounded)


@torch.no_grad()
@pytest.mark.parametrize("sizes", ["example", "any"])
def test_an_empty_batch(sizes: str) -> None:
    """Results of the right shapes, with nothing in them."""
    x = photos(2)
    fast = ifast.optimize(network(), x, sizes=sizes)
    one = fast(x[:1])
    for images in (x[:0], x[:0].clone()):
        found = fast(images)
        assert found.logits.shape == (0, *one.logits.shape[1:]) and found.logits.dtype == torch.float32
        assert found.maps["map"].shape == (0, *one.maps["map"].shape[1:])
        assert fast(images, out=found) is found
    with pytest.raises(ifast.InputError, match="x: got an empty batch"):
        fast.static(x[:0])
    with pytest.raises(ifast.InputError, match=r"image size differs|got shape"):
        fast(x[:0, :, :0])


def test_backends() -> None:
    found = ifast.backends()
    assert found["reference"] == found["torch"] == ifast.Availability(True)
    assert all(a.available or a.reason for a in found.values())


def test_auto_names_the_best_that_can() -> None:
    fast = ifast.optimize(network(), photos(1), backend="auto")
    assert ifast.backends()[fast.backend].available and fast.backend != "reference"
