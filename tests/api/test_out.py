"""``fast(x, out=y)`` and ``fast.static(x)``: the caller's memory on both sides of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import get_backend
from tests.integrations.networks import SIZE, Result, network, photos

X = photos(2)
MAP = (2, 20, SIZE[0] - 2, SIZE[1] - 2)


def empty(
    make: Callable[[tuple[int, ...]], torch.Tensor] | None = None, dtype: torch.dtype = torch.float32, batch: int = 2
) -> Result:
    """A result full of NaN; ``make`` gives the maps their memory."""
    shape = (batch, *MAP[1:])
    maps = [make(shape) if make else torch.empty(shape, memory_format=torch.channels_last) for _ in range(2)]
    filled = [m.to(dtype).copy_(torch.full(shape, float("nan"))) if make is None else m for m in maps]
    for m in filled:
        m.fill_(float("nan"))
    logits = torch.full((batch, 5), float("nan"), dtype=dtype)
    return Result(logits, {"map": filled[0], "again": filled[1]})


def tensors(result: Any) -> list[torch.Tensor]:
    return [result.logits, result.maps["map"], result.maps["again"]]


def assert_equal(got: Any, expected: Any) -> None:
    for a, b in zip(tensors(got), tensors(expected), strict=True):
        assert torch.equal(a, b)


def channels_last(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, memory_format=torch.channels_last)


def inside(shape: tuple[int, ...]) -> torch.Tensor:
    """In the middle of something larger, at an odd address."""
    n, c, h, w = shape
    return torch.full((n + 1, c + 3, h + 1, w + 2), 7.0)[1:, 1 : c + 1, :h, 1 : w + 1]


def misaligned(shape: tuple[int, ...]) -> torch.Tensor:
    n, c, h, w = shape
    return torch.empty(n * c * h * w + 1)[1:].view(n, h, w, c).permute(0, 3, 1, 2)


@pytest.mark.parametrize("make", [channels_last, torch.empty, inside, misaligned])
def test_writes_there(backend: str, model: nn.Module, make: Any) -> None:
    fast = ifast.optimize(model, X, backend=backend)
    expected, out = fast(X), empty(make)
    places = [t.data_ptr() for t in tensors(out)]
    assert fast(X, out=out) is out
    assert_equal(out, expected)
    assert [t.data_ptr() for t in tensors(out)] == places
    # Once more in the same memory, for another batch of values.
    fast(X + 1, out=out)
    assert_equal(out, fast(X + 1))


def test_nothing_beside_it_is_touched(model: nn.Module) -> None:
    fast, whole = ifast.optimize(model, X), torch.full((2, 11, 9, 24), 7.0)
    part = whole[:, 1 : 1 + MAP[2], 1 : 1 + MAP[3], 2:22].permute(0, 3, 1, 2)
    out = empty(channels_last)._replace(maps={"map": part, "again": channels_last(MAP)})
    fast(X, out=out)
    assert torch.equal(part, fast(X).maps["map"])
    part.fill_(7.0)
    assert torch.equal(whole, torch.full_like(whole, 7.0))


def test_slices_of_one_tensor(model: nn.Module) -> None:
    """Two outputs side by side in the channels of one tensor, as a concat would have them."""
    fast, whole = ifast.optimize(model, X), channels_last((2, 40, *MAP[2:]))
    out = empty(channels_last)._replace(maps={"map": whole[:, :20], "again": whole[:, 20:]})
    fast(X, out=out)
    assert_equal(out, fast(X))


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_reduced_precision(model: nn.Module, given: torch.dtype) -> None:
    """Outputs have the input's dtype, whichever of the two it is."""
    fast = ifast.optimize(model, X, precision="bf16")
    x, out = X.to(given), empty(lambda shape: channels_last(shape).to(given), given)
    fast(x, out=out)
    assert_equal(out, fast(x))


def test_kernels_write_to_it(fast: ifast.FastModel, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = fast.executor_for(X.device)[1]
    seen: list[dict[int, torch.Tensor]] = []
    run = executor.run
    monkeypatch.setattr(executor, "run", lambda x, out=None: (seen.append(dict(out or {})), run(x, out))[1])
    out = empty(channels_last)
    fast(X, out=out)
    assert {t.data_ptr() for t in seen[0].values()} == {out.logits.data_ptr(), out.maps["map"].data_ptr()}
    fast(X, out=empty(misaligned))
    assert len(seen[1]) == 1, "an address that is no multiple of 64 gets a copy"


def test_autograd_sees_the_write(fast: ifast.FastModel) -> None:
    """A tensor that a backward pass needs was overwritten: PyTorch says so."""
    out, weight = empty(channels_last), torch.ones(2, 5, requires_grad=True)
    out.logits.zero_()
    loss = (weight * out.logits).sum()
    fast(X, out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def wrong(**changed: Any) -> Any:
    good = empty(channels_last)
    maps = {**good.maps, **{k: v for k, v in changed.items() if k != "logits"}}
    return Result(changed.get("logits", good.logits), maps)


OVERLAPPING = channels_last((2, 21, *MAP[2:]))
BAD: list[tuple[Any, str]] = [
    (torch.empty(2, 5), r"out: got Tensor, expected a named tuple of logits, maps"),
    (
        Result(torch.empty(2, 5), {"map": channels_last(MAP)}),
        r"out.maps: got the keys .*, expected a dict with the keys",
    ),
    (wrong(logits=torch.empty(3, 5)), r"out.logits: got shape \[3, 5\], expected \[2, 5\] for this input"),
    (wrong(map=channels_last((2, 20, 9, 8))), r"out.maps\['map'\]: got shape .*, expected \[2, 20, 9, 7\]"),
    (wrong(logits=torch.empty(2, 5).double()), r"out.logits: got torch.float64, expected torch.float32, as the input"),
    (wrong(logits=torch.empty(2, 5, device="meta")), r"out.logits: got device meta, expected cpu, as the input"),
    (wrong(logits=[1.0]), r"out.logits: got list, expected a torch.Tensor"),
    (wrong(logits=torch.empty(5).expand(2, 5)), r"out.logits: got strides \(0, 1\), expected every element at a place"),
    (
        wrong(map=OVERLAPPING[:, :20], again=OVERLAPPING[:, 1:]),
        r"out.maps\['again'\]: got memory that overlaps out.maps\['map'\]'s",
    ),
    (
        wrong(logits=torch.empty(2, 5, requires_grad=True)),
        r"out.logits: got requires_grad=True with grad enabled, expected torch.no_grad",
    ),
]


@pytest.mark.parametrize(("out", "message"), BAD)
def test_bad_memory(fast: ifast.FastModel, out: Any, message: str) -> None:
    for call in (lambda: fast(X, out=out), lambda: fast.static(X, out=out)):
        with pytest.raises(ifast.InputError, match=message) as raised:
            call()
        assert raised.value.argument.startswith("out")


def test_overlap_with_the_input(fast: ifast.FastModel) -> None:
    memory = torch.zeros(2 * 3 * SIZE[0] * SIZE[1])
    x = memory.view(2, 3, *SIZE).copy_(X)
    out = wrong(logits=memory[-10:].view(2, 5))
    with pytest.raises(ifast.InputError, match=r"out.logits: got memory that overlaps x's"):
        fast(x, out=out)
    assert torch.equal(x, X)


def test_the_input_is_checked_too(fast: ifast.FastModel) -> None:
    with pytest.raises(ifast.InputError, match="x: got rank 3"):
        fast(X[0], out=empty())


@torch.no_grad()
def test_compiled_over(fast: ifast.FastModel) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, out: fast(x, out=out), fullgraph=True, backend="aot_eager")
    out = empty(channels_last)
    compiled(X, out)
    assert_equal(out, fast(X))


def test_static(backend: str, model: nn.Module) -> None:
    fast = ifast.optimize(model, X, backend=backend)
    x = X.clone()
    call = fast.static(x)
    first = call()
    assert call.input is x and first is call.outputs
    assert_equal(first, fast(X))
    places = [t.data_ptr() for t in tensors(first)]
    x.copy_(X + 1)
    assert call() is first
    assert_equal(first, fast(X + 1))
    assert [t.data_ptr() for t in tensors(first)] == places


def test_static_with_the_callers_outputs(fast: ifast.FastModel) -> None:
    out = empty(inside)
    call = fast.static(X, out=out)
    assert call() is out
    assert_equal(out, fast(X))


def test_static_of_a_bad_input(fast: ifast.FastModel) -> None:
    with pytest.raises(ifast.InputError, match="x: got rank 3"):
        fast.static(X[0])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["triton", "cuda", "torch"])
def test_on_a_device(name: str, precision: str) -> None:
    if not get_backend(name).availability().available or "cuda" not in get_backend(name).devices():
        pytest.skip(f"{name} takes no CUDA tensors here")
    x = X.cuda()
    fast = ifast.optimize(network().cuda(), x, backend=name, precision=precision)
    expected = fast(x)
    out = Result(
        torch.full((2, 5), float("nan"), device="cuda"),
        {
            k: torch.full(MAP, float("nan"), device="cuda").contiguous(memory_format=torch.channels_last)
            for k in expected.maps
        },
    )
    fast(x, out=out)
    assert_equal(out, expected)
    call, twice = fast.static(x), fast(x + 1)
    assert_equal(call(), expected)
    x.add_(1)
    assert_equal(call(), twice)
