"""The same bits: run after run, in every batch, from every thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import nn

import inception_fast as ifast
from tests.integrations.networks import Result, photos


def bits(result: Result) -> tuple[torch.Tensor, torch.Tensor]:
    return result.logits, result.maps["map"]


def same(a: Result, b: Result) -> bool:
    return all(torch.equal(x, y) for x, y in zip(bits(a), bits(b), strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_run_after_run(model: nn.Module, backend: str, precision: str) -> None:
    """From one engine and from another, with other calls in between."""
    first = ifast.optimize(model, photos(1), backend=backend, precision=precision)
    expected = first(photos(5))
    for fast in (first, ifast.optimize(model, photos(1), backend=backend, precision=precision)):
        fast(photos(2, seed=3))
        assert same(fast(photos(5)), expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_batch_invariant(model: nn.Module, backend: str, precision: str, threads: int) -> None:
    """The bits of an image depend neither on the size of its batch, nor on its place, nor on its neighbours' values."""
    if backend == "triton" and threads > 1:
        pytest.skip("kernels on a GPU, and the interpreter's, do not know of PyTorch's threads")
    torch.set_num_threads(threads)
    fast = ifast.optimize(model, photos(1), backend=backend, precision=precision, batch_invariant=True)
    x = photos(5)
    alone = [bits(fast(image[None])) for image in x]
    for places in ([0, 1, 2], [4, 3, 2, 1, 0], [3] * 8):
        for kind, together in enumerate(bits(fast(x[places]))):
            for place, image in enumerate(places):
                assert torch.equal(together[place], alone[image][kind][0]), (places, place)
    huge = x[:3].clone()
    huge[1] *= 1e30
    assert torch.equal(fast(huge).logits[[0, 2]], fast(x[:3]).logits[[0, 2]])


def test_threads(model: nn.Module, backend: str) -> None:
    """Several threads at once, with other inputs and batches, each get what they would get alone."""
    fast = ifast.optimize(model, photos(1), backend=backend)
    jobs = [photos(1 + i % 3, seed=i) for i in range(4)]
    expected = [fast(x) for x in jobs]
    start = Barrier(len(jobs))

    def run(index: int) -> bool:
        start.wait()
        return all(same(fast(jobs[index]), expected[index]) for _ in range(3))

    with ThreadPoolExecutor(len(jobs)) as pool:
        assert all(pool.map(run, range(len(jobs))))


def test_threads_that_optimize(model: nn.Module) -> None:
    """Exports that run at the same time do not mix."""
    expected = ifast.optimize(model, photos(1))(photos(2))
    start = Barrier(3)

    def run(_: int) -> bool:
        start.wait()
        return same(ifast.optimize(model, photos(1))(photos(2)), expected)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(run, range(3)))
