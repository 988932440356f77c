"""Functions of one number, over a sweep of float32's bits, against float64: in units of the last place."""

from __future__ import annotations

import pytest
import torch

from inception_fast.activation import Activation, activate
from inception_fast.plan.plan import Buffer, Constant, Destination, Output, Plan, PointwiseStep, Slice
from tests.cpu.single_step import make_native, run_guarded

CHANNELS = 61
STRIDE = 10007
"""Of the sweep over all bits; prime."""
TINY = 1e-43
"""What may be added where a result has few digits left: products of numbers that had few themselves."""
SPECIAL = (
    0.0,
    -0.0,
    float("inf"),
    -float("inf"),
    float("nan"),
    1e-45,
    -1e-45,
    1.17549435e-38,
    3.4028235e38,
    -3.4028235e38,
)

# Of the result, in units of its last place.
BOUNDS = [
    (Activation("sigmoid"), 2.5),
    (Activation("tanh"), 3),
    (Activation("silu"), 3.5),
    (Activation("gelu"), 7),
    # Of a cubic up to 90, whose rounding the exponential multiplies.
    (Activation("gelu_tanh"), 200),
    (Activation("hardsigmoid"), 1.5),
    (Activation("hardswish"), 2.5),
    (Activation("elu", 0.75), 2.5),
    (Activation("leaky_relu", 0.125), 0.5),
    (Activation("prelu", slope="slope"), 0.5),
    (Activation("clamp", -0.5, 0.75), 0),
    (Activation("clamp_min", -0.25), 0),
    (Activation("clamp_max", beta=0.5), 0),
    (Activation("power", 0.0), 0),
    (Activation("power", 2.0), 0.5),
    (Activation("power", 3.0), 1.5),
    (Activation("power", -3.0), 0.51),
    (Activation("power", 0.5), 0.5),
    (Activation("power", -0.5), 1.5),
    (Activation("power", -1.0), 0.5),
    (Activation("power", -2.0), 2),
    (Activation("power", 5.0), 0.51),
    (Activation("power", 4.0), 0.51),
    (Activation("power", 0.3), 0.51),
    (Activation("power", -0.75), 0.51),
    (Activation("power", 17.3), 0.51),
]


def sweep(step: int = STRIDE) -> torch.Tensor:
    """``[1, CHANNELS, 1, W]`` of every kind of number, and many where the functions bend."""
    bits = torch.arange(-(2**31), 2**31, step).to(torch.int32).view(torch.float32)
    middle = torch.linspace(-20, 20, 100_003)
    values = torch.cat([torch.tensor(SPECIAL), bits, middle])
    return values[: len(values) // CHANNELS * CHANNELS].view(1, 1, -1, CHANNELS).permute(0, 3, 1, 2)


def apply(activation: Activation, x: torch.Tensor, slope: torch.Tensor, isa: str) -> torch.Tensor:
    """By a pointwise step that does nothing else."""
    _, channels, height, width = x.shape
    buffers = tuple(Buffer(name, height, width, channels, name) for name in ("input", "output"))
    everything = Slice(0, 0, channels)
    step = PointwiseStep("f", everything, Destination(Slice(1, 0, channels), False, activation))
    constants = {"slope": Constant((channels,), "float32")} if activation.slope else {}
    dtype = str(x.dtype).removeprefix("torch.")
    plan = Plan(dtype, buffers, (step,), ((0,),), constants, (Output(1, False),), 0)
    (result,) = run_guarded(make_native(plan, {"slope": slope}, isa), plan, x)
    return result


def truth_of(activation: Activation, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """float64; by formulas that, other than PyTorch's, lose no digits where the result is small."""
    x = x.double()
    if activation.function == "gelu":
        return x * torch.special.log_ndtr(x).exp()
    if activation.function == "gelu_tanh":
        return x * torch.sigmoid((8 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))
    return activate(x, activation, {"slope": slope.double()})


def name_of(value: Activation | float) -> str:
    return f"{value.function}, {value.alpha}" if isinstance(value, Activation) else ""


@pytest.mark.parametrize(("activation", "ulps"), BOUNDS, ids=name_of)
def test_float32(activation: Activation, ulps: float, isa: str) -> None:
    x, slope = sweep(), torch.randn(CHANNELS)
    got, truth = apply(activation, x, slope, isa), truth_of(activation, x, slope)
    assert torch.equal(got.isnan(), truth.isnan())
    infinite = truth.float().isinf()
    assert torch.equal(got[infinite], truth.float()[infinite])
    known = truth.isfinite() & ~infinite
    error, unit = (got.double() - truth).abs()[known], _last_place(truth[known])
    assert (error <= ulps * unit + TINY).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_rounded_once(isa: str, dtype: torch.dtype) -> None:
    x = sweep().to(dtype)
    for function in ("gelu", "tanh", "hardswish"):
        activation = Activation(function)
        got, wide = (apply(activation, v, torch.empty(0), isa) for v in (x, x.float()))
        torch.testing.assert_close(got, wide.to(dtype), rtol=0, atol=0, equal_nan=True)


def _last_place(x: torch.Tensor) -> torch.Tensor:
    """The distance of float32's numbers at ``x``."""
    exponent = torch.frexp(x).exponent.clamp(min=-125)
    return torch.ldexp(torch.ones_like(x), exponent - 24)
