"""Faults that were planted, and what is left of networks that show them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from inception_fast.backends.cpu import CpuExecutor
from inception_fast.plan.plan import ConvStep, PoolStep
from tests.fuzz import description as d
from tests.fuzz.checks import failure
from tests.fuzz.generate import generate
from tests.fuzz.setting import Ready, Setting
from tests.fuzz.shrink import shrink, smaller
from tests.fuzz.sweep import Found, smallest

PLAIN_POOL = d.Network((1, 1, 1), (d.Pool("max", (1, 1)),))


def fault(monkeypatch: pytest.MonkeyPatch, concerns: Callable[[Ready], bool]) -> None:
    """Results of ``cpu`` are wrong where a lowered network is of a kind."""
    right = Ready.run

    def run(self: Ready, executor: object, x: torch.Tensor | None = None) -> list[torch.Tensor]:
        results = right(self, executor, x)  # type: ignore[arg-type]
        return [r + 1 for r in results] if isinstance(executor, CpuExecutor) and concerns(self) else results

    monkeypatch.setattr(Ready, "run", run)


def found(seeds: range, kind: str) -> Found:
    """Of the first seed that fails, once the network has some layers to lose."""
    for seed in seeds:
        network, setting = generate(seed, exact=True), Setting("cpu", threads=2)
        wrong = failure(network, setting)
        if wrong is not None and len(list(d.all_layers(network.layers))) > 8:
            assert wrong.kind == kind
            return smallest(seed, network, setting, wrong)
    raise AssertionError("no seed fails")


def overhangs(made: Ready) -> bool:
    """A pool whose last window reaches past the image and its padding."""
    for step in made.plan.steps:
        if isinstance(step, PoolStep):
            source, target = made.plan.buffers[step.source.buffer], made.plan.buffers[step.destination.slice.buffer]
            extents = ((source.height, target.height), (source.width, target.width))
            for axis, (size, out) in enumerate(extents):
                if (out - 1) * step.stride[axis] + step.kernel[axis] > size + 2 * step.padding[axis]:
                    return True
    return False


def test_a_pool_in_ceil_mode_is_all_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("inception_fast._native")
    fault(monkeypatch, overhangs)
    left = found(range(100), "truth")
    (pool,) = left.network.layers
    assert isinstance(pool, d.Pool) and pool.ceil
    assert left.network.batch == 1 and max(left.network.image) <= 3 and left.setting.threads == 1
    assert repr(pool) in str(left) and f"seed {left.seed} " in str(left)


def test_two_layers_that_are_needed_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A concat whose second part begins at an odd channel, behind a convolution of several taps."""
    pytest.importorskip("inception_fast._native")

    def concerns(made: Ready) -> bool:
        convs = [step for step in made.plan.steps if isinstance(step, ConvStep) and len(step.conv.taps) > 1]
        return any(d.slice.start % 2 == 1 for step in convs for d in step.destinations)

    fault(monkeypatch, concerns)
    left = found(range(100), "truth")
    (concat,) = left.network.layers
    assert isinstance(concat, d.Concat) and len(concat.paths) == 2
    (conv,) = (layer for layer in d.all_layers(concat.paths[1]))
    assert isinstance(conv, d.Conv) and sorted(conv.kernel) == [1, 2] and conv.channels == 1


def test_what_raises_is_kept_apart_from_what_is_wrong() -> None:
    """Another error on the way is not followed."""
    start = d.Network((3, 5, 5), (d.Relu(), d.Norm(), d.Pool("max", (2, 2))), batch=3)
    assert shrink(start, lambda n: any(isinstance(x, d.Pool) for x in n.layers)) == PLAIN_POOL
    wrong = failure(start, Setting("no such backend"))
    assert wrong is not None and wrong.kind != "truth"


def test_nothing_smaller_is_tried_twice_or_without_end() -> None:
    tried: list[d.Network] = []

    def fails(network: d.Network) -> bool:
        tried.append(network)
        return len(network.layers) > 1

    start = generate(14)
    assert len(shrink(start, fails).layers) == 2
    assert len(tried) == len(set(tried))
    tried.clear()
    shrink(start, lambda network: bool(tried.append(network)), trials=7)  # type: ignore[func-returns-value]
    assert len(tried) == 7


@pytest.mark.parametrize("seed", range(20))
def test_neighbours_are_others(seed: int) -> None:
    network = generate(seed)
    assert network not in list(smaller(network))
