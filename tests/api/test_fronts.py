"""Networks that take images as they come from a decoder: one engine, the module's own results."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import inception_fast as ifast
from inception_fast.backends import names
from inception_fast.plan.engine_file import read_engine
from inception_fast.plan.plan import PadStep
from tests.api.fronts import FRONTS, Front, Network, network
from tests.backends.harness import here_on_the_cpu
from tests.graph.check import relative_error

BOUNDS = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 3e-3, "int8": 5e-2}


def truth(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(module).double()(x)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("backend", names())
def test_every_backend(backend: str, name: str, padding: int, precision: str) -> None:
    here_on_the_cpu(backend)
    front = FRONTS[name]
    module = network(front, padding)
    fast = ifast.optimize(module, front.images(1), backend=backend, precision=precision, strict=True)
    assert type(fast) is ifast.FastModel
    for batch in (1, 3):
        x = front.images(batch)
        got = fast(x)
        assert got.dtype is torch.float32
        assert relative_error(got.double(), truth(module, x)) <= BOUNDS[precision]


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_int8(backend: str, name: str) -> None:
    here_on_the_cpu(backend)
    front = FRONTS[name]
    module = network(front)
    fast = ifast.optimize(module, front.images(8), backend=backend, precision="int8", strict=True)
    x = front.images(3)
    assert relative_error(fast(x).double(), truth(module, x)) <= BOUNDS["int8"]


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("normalised", "uint8 [N, 3, 19, 23]"),
        ("channels last", "uint8 [N, 19, 23, 3]"),
        ("channels last, of numbers", "float32 [N, 19, 23, 3]"),
    ],
)
def test_the_report_says_what_images_are_taken(name: str, images: str) -> None:
    front = FRONTS[name]
    report = ifast.optimize(network(front), front.images(1), backend="reference", strict=True).report()
    assert report.images == images
    assert str(report).startswith(f"takes {images}\n")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_bytes_are_made_numbers_in_one_step(precision: str) -> None:
    front = FRONTS["normalised"]
    fast = ifast.optimize(network(front), front.images(8), precision=precision, strict=True)
    kinds = [step.kind for step in fast.plan.steps]
    assert kinds.count("pad") == 1 and "pointwise" not in kinds
    (step,) = (s for s in fast.plan.steps if isinstance(s, PadStep))
    assert fast.plan.buffers[step.source.buffer].dtype == "uint8"


def test_colours_in_another_order_cost_no_step() -> None:
    plain, other = (
        ifast.optimize(network(FRONTS[n]), FRONTS[n].images(1), strict=True) for n in ("divided", "another order")
    )
    assert [s.kind for s in plain.plan.steps] == [s.kind for s in other.plan.steps]


def views(x: Tensor) -> list[Tensor]:
    """The same images in other memory."""
    frame = torch.full([s + 4 for s in x.shape], 77 if x.dtype == torch.uint8 else torch.nan, dtype=x.dtype)
    inner = frame[2:-2, 1:-3, 3:-1, 2:-2]
    inner.copy_(x)
    turned = x.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    offset = torch.empty(x.numel() + 1, dtype=x.dtype)[1:].view(x.shape).copy_(x)
    return [inner, turned, offset, x.flip(2).flip(2)]


@pytest.mark.parametrize("name", ["normalised", "channels last", "channels last, of numbers", "margins"])
@pytest.mark.parametrize("backend", names())
def test_strides_and_offsets(backend: str, name: str) -> None:
    here_on_the_cpu(backend)
    front = FRONTS[name]
    module = network(front)
    fast = ifast.optimize(module, front.images(1), backend=backend, strict=True)
    for x in (front.images(1), front.images(3)):
        want = truth(module, x)
        for other in views(x):
            assert torch.equal(other, x)
            assert relative_error(fast(other).double(), want) <= BOUNDS["fp32"]


def test_little_contrast_keeps_its_digits() -> None:
    front = FRONTS["centred"]
    module = network(front)
    fast = ifast.optimize(module, front.images(1), strict=True)
    x = torch.randint(126, 130, (3, 3, 19, 23), dtype=torch.uint8)
    assert relative_error(fast(x).double(), truth(module, x)) <= BOUNDS["fp32"]


def test_results_are_in_the_models_own_type() -> None:
    front = FRONTS["divided"]
    module = network(front).bfloat16()
    fast = ifast.optimize(module, front.images(1), precision="fp32", strict=True)
    assert fast(front.images(3)).dtype is torch.bfloat16
    wide = network(front).double()
    assert ifast.optimize(wide, front.images(1), strict=True)(front.images(1)).dtype is torch.float64


@pytest.mark.parametrize("name", ["normalised", "channels last"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_files(name: str, precision: str, tmp_path: Path) -> None:
    front = FRONTS[name]
    fast = ifast.optimize(network(front), front.images(8), precision=precision, strict=True)
    fast.save(tmp_path / "m.ifast")
    loaded, metadata = ifast.load(tmp_path / "m.ifast"), read_engine(tmp_path / "m.ifast").metadata
    assert metadata.input_dtype == "uint8" and metadata.output_dtype == "float32"
    assert metadata.input_layout == ("NHWC" if front.last else None)
    x = front.images(3)
    assert torch.equal(loaded(x), fast(x))
    assert torch.equal(copy.deepcopy(fast)(x), fast(x))


def test_out_and_static() -> None:
    front = FRONTS["channels last"]
    fast = ifast.optimize(network(front), front.images(1), strict=True)
    x = front.images(3)
    want = fast(x).clone()
    out = torch.full((3, 7), torch.nan)
    assert fast(x, out) is out and torch.equal(out, want)
    call = fast.static(x)
    assert torch.equal(call(), want)
    x.copy_(front.images(3).flip(0))
    assert torch.equal(call(), fast(x)) and not torch.equal(call(), want)
    with pytest.raises(ifast.InputError, match=r"out.*float32"):
        fast(x, torch.empty(3, 7, dtype=torch.float16))


def test_says_what_does_not_fit() -> None:
    last, first = (
        ifast.optimize(network(FRONTS[n]), FRONTS[n].images(1), strict=True) for n in ("channels last", "divided")
    )
    with pytest.raises(ifast.InputError, match=r"x: got torch\.float32, expected torch\.uint8"):
        first(torch.zeros(1, 3, 19, 23))
    with pytest.raises(ifast.InputError, match=r"expected \[N, 19, 23, 3\].*size differs.*\[N, H, W, C\]"):
        last(torch.zeros(1, 18, 23, 3, dtype=torch.uint8))
    with pytest.raises(ifast.InputError, match=r"expected \[N, 19, 23, 3\].*channels differ"):
        last(torch.zeros(1, 3, 19, 23, dtype=torch.uint8))


@pytest.mark.parametrize(
    "function",
    [lambda x: (x + 1).float(), lambda x: (x * 2) / 255, lambda x: (255 - x).float(), lambda x: x.half().float()],
    ids=["sum", "product", "difference", "half"],
)
def test_arithmetic_of_bytes_is_pytorchs(function: object) -> None:
    """It wraps around, or rounds to less than float32 has."""
    front = Front(function)  # type: ignore[arg-type]
    module, x = network(front), front.images(2)
    with pytest.raises(ifast.UnsupportedOpError, match="changes the type"):
        ifast.optimize(module, x, strict=True)
    fast = ifast.optimize(module, x)
    assert relative_error(fast(x).double(), truth(module, x)) <= BOUNDS["fp32"]


class Returning(Network):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x[:, [2, 1, 0]]


def test_bytes_that_are_returned_are_pytorchs() -> None:
    module = Returning(FRONTS["divided"]).eval()
    x = FRONTS["divided"].images(2)
    with pytest.raises(ifast.UnsupportedOpError, match="returns"):
        ifast.optimize(module, x, strict=True)
    _, order = ifast.optimize(module, x)(x)
    assert torch.equal(order, x[:, [2, 1, 0]])


def test_several_sizes() -> None:
    front = FRONTS["channels last"]
    module = network(front)
    fast = ifast.optimize(module, front.images(1), sizes="any")
    for x in (front.images(2), front.images(2, 15, 17)):
        assert relative_error(fast(x).double(), truth(module, x)) <= BOUNDS["fp32"]


def test_swap() -> None:
    front = FRONTS["channels last"]
    module, x = network(front), front.images(2)
    want = truth(module, x)
    ifast.swap(module, x)
    with torch.no_grad():
        assert relative_error(module(x).double(), want) <= BOUNDS["fp32"]
