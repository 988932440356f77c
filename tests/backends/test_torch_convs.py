"""The ``torch`` backend's and the reference's convolutions on small integers, where every sum is exact, against the
definition of a convolution; and what happens where a library's kernel is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import get_backend, torch_convs
from inception_fast.backends.reference import padded
from inception_fast.backends.torch import TorchExecutor
from inception_fast.backends.torch_convs import (
    PLAIN,
    AtenConv,
    ConvKernel,
    CudnnConv,
    OneDnnConv,
    Proven,
    defined_conv,
    fused_conv,
)
from inception_fast.errors import PlanError
from inception_fast.plan.plan import Convolution
from tests.backends.harness import CPU
from tests.cpu.single_step import Pair, convolve, expected, plan_of, random_problem, values_of
from tests.graph.check import relative_error

EAGER = ("torch", "reference")
PROBLEMS = 120
"""Per backend and seed."""


def check(backend: str, seed: int, **changes: object) -> None:
    rng = random.Random(seed)
    problem = replace(random_problem(rng), **changes)  # type: ignore[arg-type]
    plan = plan_of(problem)
    x, constants = values_of(problem, plan, integers=True)
    typed = {k: constants[k].to(getattr(torch, c.dtype)) for k, c in plan.constants.items()}
    executor = get_backend(backend).compile(plan, typed, device=CPU, precision="fp32")
    executor.run(torch.full_like(x, float("nan")).float())
    for got, want in zip(executor.run(x.float()), expected(problem, x, constants), strict=True):
        assert torch.equal(got, want.float()), problem


@pytest.mark.parametrize("backend", EAGER)
def test_exact(backend: str) -> None:
    torch.manual_seed(0)
    for seed in range(PROBLEMS):
        check(backend, seed)


@pytest.mark.parametrize("backend", EAGER)
def test_exact_with_one_channel_and_long_strides(backend: str) -> None:
    """Where the strides of a memory format say little, and oneDNN was found wrong."""
    torch.manual_seed(0)
    for seed in range(PROBLEMS):
        problem = random_problem(random.Random(seed))
        stride = ((1, 2, 8)[seed % 3], (3, 4, 8)[seed // 3 % 3])
        size = tuple(-(-extent // step) for extent, step in zip(problem.source_size, stride, strict=True))
        check(backend, seed, in_channels=1, source_channels=problem.source_start + 1, stride=stride, size=size)


@pytest.mark.parametrize("backend", [*EAGER, "cpu"])
@pytest.mark.parametrize("features", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_linear_layer_of_few_outputs(backend: str, features: int, batch: int) -> None:
    """oneDNN's reordered weights are wrong for one output behind a flattened image."""
    torch.manual_seed(features)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16 * 12 * 15, features)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape))
    x = torch.randint(-3, 4, (batch, 16, 12, 15)).float()
    got = ifast.optimize(model, x[:1], backend=backend)(x)
    with torch.no_grad():
        assert torch.equal(got.double(), model.double()(x.double()))


@pytest.mark.parametrize("pads", [(4, 0, 0, 0), (0, 3, 0, 0), (0, 0, 2, 0), (0, 0, 0, 5), (1, 2, 2, 1)])
@pytest.mark.parametrize("backend", [*EAGER, "cpu"])
def test_padding_whose_sides_differ(backend: str, pads: tuple[int, ...]) -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, (1, 2), stride=(1, 8))
            self.same = nn.Conv2d(3, 5, 3, padding=1)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            x = nn.functional.pad(x, pads)
            return [self.conv(x), self.same(x)]

    torch.manual_seed(0)
    model, x = Padded().eval(), torch.randn(2, 3, 6, 5)
    got = ifast.optimize(model, x[:1], backend=backend)(x)
    with torch.no_grad():
        truth = model.double()(x.double())
    for a, b in zip(got, truth, strict=True):
        assert relative_error(a.double(), b) < 2e-6


@pytest.mark.parametrize(
    ("tap", "size", "rows", "columns"),
    [
        ((1, 0), (4, 6), slice(1, 5), slice(0, 6)),
        ((0, 1), (5, 5), slice(0, 5), slice(1, 6)),
        ((0, 0), (4, 6), slice(0, 4), slice(0, 6)),
        ((0, 0), (5, 5), slice(0, 5), slice(0, 5)),
    ],
    ids=["top", "left", "bottom", "right"],
)
def test_one_side_is_cropped(tap: Pair, size: Pair, rows: slice, columns: slice) -> None:
    x = torch.randn(2, 3, 5, 6)
    conv = Convolution("w", None, 3, 1, (tap,), (1, 1))
    assert torch.equal(padded(x, conv, tap, (1, 1), size), x[:, :, rows, columns])


@pytest.mark.parametrize("tf32", [False, True])
def test_cudnn_stays_on_for_gpus(tf32: bool) -> None:
    """As PyTorch's context manager for its settings switches the library itself off by default."""
    plan = plan_of(random_problem(random.Random(0)))
    constants = {k: torch.zeros(c.shape) for k, c in plan.constants.items()}
    executor = TorchExecutor(plan, constants, CPU, allow_tf32=tf32)
    cudnn, before = torch.backends.cudnn, torch.backends.cudnn.allow_tf32
    with executor._library_settings(torch.device("cuda")):
        assert (cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32) == (True, True, tf32)
    assert cudnn.allow_tf32 == before


CONV = Convolution("w", "b", 3, 4, ((-1, 0), (0, 0), (1, 2)), (1, 2))
CONSTANTS = {"w": torch.arange(36.0).view(4, 3, 3) - 17, "b": torch.arange(4.0)}
SOURCE, SIZE = (7, 9), (7, 4)


@pytest.mark.parametrize("taps", [CONV.taps, ((0, -1), (0, 0), (0, 2)), ((-1, 1), (0, 0), (2, 1))])
def test_definition(taps: tuple[Pair, ...]) -> None:
    x = torch.randint(-3, 4, (2, 3, *SOURCE)).double()
    constants = {k: v.double() for k, v in CONSTANTS.items()}
    want = convolve(x, constants["w"], taps, CONV.stride, SIZE) + constants["b"].view(-1, 1, 1)
    assert torch.equal(defined_conv(x, replace(CONV, taps=taps), constants, SIZE), want)


def test_definition_in_bands_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randint(-3, 4, (2, 3, *SOURCE)).float()
    whole = defined_conv(x, CONV, CONSTANTS, SIZE)
    for elements in (1, 400, 1000):
        monkeypatch.setattr(torch_convs, "BAND_ELEMENTS", elements)
        assert torch.equal(defined_conv(x, CONV, CONSTANTS, SIZE), whole)


@pytest.mark.parametrize(
    ("rows", "columns", "stride", "source", "size", "padding"),
    [
        ((-1, 0, 1), (-1, 0, 1), (1, 1), (4, 5), (4, 5), [1, 1]),
        ((-2, -1, 0), (-1, 0), (1, 1), (4, 5), (6, 6), [2, 1]),
        ((-2, 0, 2), (-2,), (1, 3), (4, 1), (4, 2), [0, 0]),
        ((0,), (-2, -1), (1, 1), (3, 4), (3, 7), [0, 0]),
        ((-1,), (0,), (2, 1), (2, 4), (2, 4), [0, 0]),
    ],
)
def test_windows_in_padding_alone_are_not_the_librarys(
    rows: tuple[int, ...], columns: tuple[int, ...], stride: Pair, source: Pair, size: Pair, padding: list[int]
) -> None:
    """oneDNN ends the process over some of them."""
    taps = tuple((dy, dx) for dy in rows for dx in columns)
    conv = Convolution("w", "b", 4, 5, taps, stride)
    constants = {"w": torch.arange(20.0 * len(taps)).view(5, len(taps), 4) - 17, "b": torch.arange(5.0)}
    x = torch.randint(-3, 4, (4, 4, *source)).float().contiguous(memory_format=torch.channels_last)
    want = convolve(x.double(), constants["w"].double(), taps, stride, size) + constants["b"].view(-1, 1, 1)
    for make in (AtenConv, OneDnnConv):
        kernel = make(conv, constants, source, size, False)
        assert kernel.padding == padding
        assert torch.equal(kernel(x, None).double(), want)


@pytest.mark.parametrize("make", [*PLAIN, OneDnnConv], ids=["channels last", "contiguous", "oneDNN"])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_each_kernel_by_itself(make: type[AtenConv], relu: bool, adds: bool, bias: bool) -> None:
    """None of them is in want of another that it would give way to."""
    conv = CONV if bias else replace(CONV, bias=None)
    x = torch.randint(-3, 4, (2, 3, *SOURCE)).float().contiguous(memory_format=torch.channels_last)
    residual = torch.randint(-90, 90, (2, 4, *SIZE)).float().contiguous(memory_format=torch.channels_last)
    want = convolve(x.double(), CONSTANTS["w"].double(), conv.taps, conv.stride, SIZE)
    want += (CONSTANTS["b"].view(-1, 1, 1) if bias else 0) + (residual if adds else 0)
    got = make(conv, CONSTANTS, SOURCE, SIZE, relu)(x, residual if adds else None)
    assert torch.equal(got.double(), want.relu() if relu else want)


def spoiled(amount: float) -> object:
    """A maker of kernels one element of whose result is wrong."""

    def make(
        conv: Convolution, constants: Mapping[str, torch.Tensor], source: Pair, size: Pair, relu: bool
    ) -> ConvKernel:
        right = PLAIN[0](conv, constants, source, size, relu)

        def kernel(x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
            result = right(x, residual)
            result[-1, -1, -1, -1] += amount
            return result

        return kernel

    return make


@pytest.mark.parametrize("amount", [5.0, float("nan"), float("inf")])
@pytest.mark.parametrize("adds", [False, True])
def test_a_wrong_kernel_gives_way_to_the_next(amount: float, adds: bool) -> None:
    kernel = Proven([spoiled(amount), PLAIN[0]], 2)(CONV, CONSTANTS, SOURCE, SIZE, False, adds)  # type: ignore[list-item]
    x = torch.randint(-3, 4, (2, 3, *SOURCE)).float().contiguous(memory_format=torch.channels_last)
    residual = torch.ones(2, 4, *SIZE) if adds else None
    want = convolve(x.double(), CONSTANTS["w"].double(), CONV.taps, CONV.stride, SIZE)
    want += CONSTANTS["b"].view(-1, 1, 1) + adds
    assert torch.equal(kernel(x, residual).double(), want)


@pytest.mark.parametrize("size", [(6, 4), (7, 3), (1, 4)])
def test_a_result_of_another_size_gives_way_too(size: Pair) -> None:
    def make(*arguments: object) -> ConvKernel:
        right = PLAIN[0](*arguments)  # type: ignore[arg-type]
        return lambda x, residual: right(x, residual)[:, :, : size[0], : size[1]]

    kernel = Proven([make, PLAIN[0]], 2)(CONV, CONSTANTS, SOURCE, SIZE, False)
    assert kernel(torch.zeros(2, 3, *SOURCE), None).shape == (2, 4, *SIZE)


@pytest.mark.parametrize(
    ("dtype", "amount", "tf32"),
    [
        (torch.float64, 1e-8, False),
        (torch.float32, 1e-3, False),
        (torch.float32, 3e-2, True),
        (torch.float16, 3e-2, False),
        (torch.bfloat16, 0.2, False),
    ],
)
def test_how_wrong_a_kernel_may_be(dtype: torch.dtype, amount: float, tf32: bool) -> None:
    """Far less than ``amount`` of the whole result; what its own rounding makes."""
    constants = {"w": CONSTANTS["w"].to(dtype), "b": CONSTANTS["b"].to(torch.promote_types(dtype, torch.float32))}

    def make(*arguments: object) -> ConvKernel:
        right = PLAIN[0](*arguments)  # type: ignore[arg-type]
        return lambda x, residual: right(x, residual) * (1 + amount)

    Proven(PLAIN[:1], 2, tf32)(CONV, constants, SOURCE, SIZE, False)
    with pytest.raises(PlanError, match="is wrong"):
        Proven([make], 2, tf32)(CONV, constants, SOURCE, SIZE, False)


def test_products_of_tf32() -> None:
    """Rounded to eleven bits, which is far too little for float32."""

    def make(*arguments: object) -> ConvKernel:
        right = PLAIN[0](*arguments)  # type: ignore[arg-type]
        return lambda x, residual: right(x, residual) * (1 + 2.0**-11)

    Proven([make], 2, tf32=True)(CONV, CONSTANTS, SOURCE, SIZE, False)
    with pytest.raises(PlanError, match="is wrong"):
        Proven([make], 2)(CONV, CONSTANTS, SOURCE, SIZE, False)


def test_where_every_kernel_is_wrong_compiling_fails() -> None:
    with pytest.raises(PlanError, match=r"convolution w \(3 to 4 channels, \(7, 9\) to \(7, 4\) pixels"):
        Proven([spoiled(5.0)], 2)(CONV, CONSTANTS, SOURCE, SIZE, False)  # type: ignore[list-item]


def test_weights_that_overflow_say_nothing_of_a_kernel() -> None:
    constants = {**CONSTANTS, "w": CONSTANTS["w"].clone()}
    constants["w"][0] = float("inf")
    constants["w"][1] = 3e38
    kernel = Proven(PLAIN[:1], 1)(CONV, constants, SOURCE, SIZE, True)
    assert kernel(torch.zeros(1, 3, *SOURCE), None)[0, 0].isnan().all()


def test_a_single_sum_that_cancels_is_no_fault_of_the_kernel() -> None:
    """Of the proof's own images: the bias takes away all but a thousandth of the one sum there is."""
    weight = torch.tensor([[[1.0, -2.0, 0.5, 1.5]]], dtype=torch.float16)
    conv = Convolution("w", "b", 4, 1, ((0, 0),), (1, 1))
    x = torch.randn(1, 1, 1, 4, generator=torch.Generator().manual_seed(0)).half()
    bias = -(x.double().flatten() @ weight.double().flatten()).float().view(1) * 0.999
    Proven(PLAIN, 1)(conv, {"w": weight, "b": bias}, (1, 1), (1, 1), relu=False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("taps", [((-1, -1), (0, 0), (1, 1)), ((-1, 0), (0, 0), (1, 2))], ids=["square", "uneven"])
def test_cudnns_fused_forms(
    taps: tuple[Pair, ...], adds: bool, relu: bool, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PyTorch's operators for them are defined to do, here on a CPU, is what the kernel asks of them."""
    asked: list[str] = []

    def sums(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        assert weight.is_contiguous(memory_format=torch.channels_last)
        return torch.nn.functional.conv2d(x, weight, *rest)  # type: ignore[call-overload,no-any-return]

    def fused(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        asked.append("fused")
        return sums(x, weight, *rest).relu()

    def fused_sum(x: torch.Tensor, weight: torch.Tensor, z: torch.Tensor, alpha: float, *rest: object) -> torch.Tensor:
        asked.append("fused")
        assert z.is_contiguous(memory_format=torch.channels_last)
        return (sums(x, weight, *rest) + alpha * z).relu()

    monkeypatch.setattr(torch, "cudnn_convolution_relu", fused)
    monkeypatch.setattr(torch, "cudnn_convolution_add_relu", fused_sum)
    conv = replace(CONV, taps=taps, bias="b" if bias else None)
    kernel = CudnnConv(conv, CONSTANTS, SOURCE, SIZE, relu)
    x = torch.randint(-3, 4, (2, 3, *SOURCE)).float().contiguous(memory_format=torch.channels_last)
    residual = torch.randint(-90, 90, (2, 4, *SIZE)).float() if adds else None
    want = convolve(x.double(), CONSTANTS["w"].double(), taps, conv.stride, SIZE)
    want += (CONSTANTS["b"].view(-1, 1, 1) if bias else 0) + (0 if residual is None else residual)
    assert torch.equal(kernel(x, residual).double(), want.relu() if relu else want)
    assert asked == ["fused"] * relu


def test_cudnns_bias_is_of_the_weights_dtype() -> None:
    constants = {"w": CONSTANTS["w"].bfloat16(), "b": CONSTANTS["b"]}
    for conv in (CONV, replace(CONV, bias=None)):
        assert CudnnConv(conv, constants, SOURCE, SIZE, True).bias.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("there", [True, False])
def test_which_library_has_a_fused_convolution(
    dtype: torch.dtype, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN for all but float64; oneDNN for float32, and for the halves that it packs on this processor."""
    packs = {torch.float32: True, torch.float64: False}
    packs[torch.float16] = torch.ops.mkldnn._is_mkldnn_fp16_supported()
    packs[torch.bfloat16] = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: there)
    assert fused_conv(torch.device("cuda"), dtype) is (CudnnConv if there and dtype != torch.float64 else None)
    here = torch.backends.mkldnn.is_available()
    assert fused_conv(CPU, dtype) is (OneDnnConv if here and packs[dtype] else None)
    assert fused_conv(torch.device("meta"), dtype) is None
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: there)
    assert fused_conv(torch.device("meta"), dtype) is None
    if not there:
        assert fused_conv(CPU, dtype) is None


def test_trying_a_kernel_draws_nothing_from_the_callers_generator() -> None:
    before = torch.get_rng_state()
    Proven(PLAIN, 2)(CONV, CONSTANTS, SOURCE, SIZE, relu=True, adds=True)
    assert torch.equal(torch.get_rng_state(), before)
