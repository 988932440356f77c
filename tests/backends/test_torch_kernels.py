"""Which of PyTorch's pools is which step of a Plan, and numbers that half precision cannot hold."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F

from inception_fast.backends import get_backend
from inception_fast.backends.torch_kernels import _library_pools, pool_kernel
from inception_fast.plan.plan import Buffer, Constant, Destination, Output, Plan, PointwiseStep, PoolStep, Slice
from tests.backends.harness import CPU
from tests.plan.definition import plan_outputs, pooled

Pair = tuple[int, int]


def pool_of(mode: str, kernel: Pair, stride: Pair, begin: Pair, end: Pair, divisor: str = "window") -> PoolStep:
    target = Destination(Slice(1, 0, 3), False)
    return PoolStep("pool", mode, Slice(0, 0, 3), target, kernel, stride, begin, end, divisor)  # type: ignore[arg-type]


def is_the_librarys(step: PoolStep, x: torch.Tensor, size: Pair, ceil: bool) -> bool:
    """Whether PyTorch's pool, tried, gives what the step is defined to give."""
    try:
        if step.mode == "max":
            result = F.max_pool2d(x, step.kernel, step.stride, step.padding, ceil_mode=ceil)
        else:
            counts = step.divisor == "window"
            result = F.avg_pool2d(x, step.kernel, step.stride, step.padding, ceil, count_include_pad=counts)
    except RuntimeError:
        return False
    return result.shape[2:] == size and torch.allclose(result, pooled(step, x, size, None), rtol=1e-12, atol=1e-12)


def sides(rng: random.Random) -> tuple[int, ...]:
    """Kernel, stride, extent, padding and size along one axis; every window sees a pixel, and most sizes are one that
    a pool of PyTorch's has.
    """
    kernel, stride, extent = rng.randint(1, 5), rng.randint(1, 4), rng.randint(1, 9)
    begin = rng.randint(0, kernel - 1)
    end = rng.choice((begin, begin, rng.randint(0, kernel)))
    most = (extent + begin - 1) // stride + 1
    # A kernel larger than its padded image is never the library's, whatever that makes of it.
    kernel = min(kernel, extent + 2 * begin)
    span = extent + 2 * begin - kernel
    size = rng.choice((span // stride + 1, -(-span // stride) + 1, rng.randint(1, most)))
    return kernel, stride, extent, begin, end, min(max(size, 1), most)


@pytest.mark.parametrize("seed", range(8))
def test_pools_of_the_library(seed: int) -> None:
    rng, found = random.Random(seed), set()
    for _ in range(150):
        kernel, stride, extent, begin, end, size = zip(sides(rng), sides(rng), strict=True)
        step = pool_of(rng.choice(("max", "avg")), kernel, stride, begin, end, rng.choice(("window", "inside")))
        x = torch.randn(3, 3, *extent, dtype=torch.float64)
        for ceil in (False, True):
            expected = is_the_librarys(step, x, size, ceil)
            assert _library_pools(step, extent, size, ceil) == expected, (step, extent, size, ceil)
            found.add((step.mode, ceil, expected))
        got = pool_kernel(step, extent, size, None)(x)
        assert torch.allclose(got, pooled(step, x, size, None), rtol=1e-12, atol=1e-12), (step, extent, size)
    assert len(found) == 8


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [((3, 4), (9, 9), (0, 0), (1, 1)), ((5, 6), (4, 4), (1, 0), (1, 1)), ((5, 6), (3, 9), (0, 0), (2, 1))],
)
def test_averages_that_are_not_over_the_whole_image(kernel: Pair, stride: Pair, padding: Pair, size: Pair) -> None:
    """In one way each: a smaller window, one that begins outside, a second one."""
    step, x = pool_of("avg", kernel, stride, padding, (0, 0)), torch.randn(2, 3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(pool_kernel(step, (5, 6), size, None)(x), pooled(step, x, size, None))


@pytest.mark.parametrize(("stride", "size"), [((1, 1), (5, 6)), ((2, 3), (3, 2)), ((2, 2), (2, 2))])
def test_a_window_of_one_pixel_is_a_copy(stride: Pair, size: Pair) -> None:
    step, x = pool_of("max", (1, 1), stride, (0, 0), (0, 0)), torch.randn(2, 3, 5, 6)
    result = pool_kernel(step, (5, 6), size, None)(x)
    assert torch.equal(result, pooled(step, x, size, None))
    assert result.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("constants", [{"scale": 1e5}, {"shift": -1e5}, {"scale": 3e4, "shift": 1e5}, {"scale": 2.0}])
def test_constants_that_half_precision_cannot_hold(backend: str, adds: bool, constants: dict[str, float]) -> None:
    """Results that it can hold: ``x`` undoes what they do."""
    named = {k: Constant((2,), "float32") for k in constants}
    buffers = (Buffer("x", 1, 3, 4, "input"), Buffer("y", 1, 3, 2, "output"))
    other = Slice(0, 2, 2) if adds else None
    names = [k if k in constants else None for k in ("scale", "shift")]
    step = PointwiseStep("pointwise", Slice(0, 0, 2), Destination(Slice(1, 0, 2), False), names[0], names[1], other)
    plan = Plan("float16", buffers, (step,), ((0,),), named, (Output(1, False),), 0)
    values = {k: torch.full((2,), v) for k, v in constants.items()}
    x = torch.randn(2, 4, 1, 3) / 16
    if "shift" in constants:
        x[:, :2] += 6e4 if "scale" not in constants else -3.0
    x = x.half()
    want = plan_outputs(plan, values, x)[0]
    got = get_backend(backend).compile(plan, values, device=CPU, precision="fp16").run(x)[0]
    assert want.isfinite().all()
    torch.testing.assert_close(got.double(), want, rtol=2e-3, atol=2e-3)
