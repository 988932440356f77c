"""What must hold of a network on a backend, and what was wrong where it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

import inception_fast as ifast
from inception_fast.bench.accuracy import flatten
from inception_fast.plan.plan import ConvStep, PointwiseStep, PoolStep, Step
from tests.fuzz.description import Network
from tests.fuzz.module import module
from tests.fuzz.promise import Excess, excess
from tests.fuzz.setting import Ready, Setting, ready

REDRAWS, MANY_IMAGES = 8, 64
"""Where an error is above its bound."""
GROSS = 20.0
"""Times the bound: no chance."""


@dataclass(frozen=True)
class Failure:
    """What was wrong; two failures of one kind may have one cause."""

    kind: str
    text: str


class Wrong(Exception):
    """A result that is not what it must be."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def failure(network: Network, setting: Setting) -> Failure | None:
    """What is wrong with a network's results, None where nothing is."""
    try:
        with torch.no_grad():
            if setting.captured:
                check_captured(network, setting)
            else:
                check(network, setting)
    except Wrong as wrong:
        return Failure(wrong.kind, str(wrong))
    except Exception as error:
        return Failure(type(error).__name__, f"{type(error).__name__}: {error}")
    return None


def check(network: Network, setting: Setting) -> None:
    """The way of the Graph.

    Raises:
        Wrong: something does not hold; and whatever the package raises.
    """
    made = ready(network, setting)
    executor = made.executor("direct" if network.exact else "")
    results = made.run(executor)
    if network.exact and setting.precision == "fp32":
        same_bits("truth", results, flatten(made.net.double()(made.x.double())))
    elif network.exact or setting.quantized:
        if network.exact or all(map(_has_exact_int8, made.plan.steps)):
            same_bits("reference", results, made.run(made.reference()))
    else:
        check_promise(network, made, results)
    same_bits("repeated", made.run(executor), results)
    if len(made.x) > 1 and (setting.invariant or setting.backend == "cpu"):
        same_bits("alone", made.run(executor, made.x[-1:]), [r[-1:] for r in results])
        same_bits("turned", made.run(executor, made.x.flip(0)), [r.flip(0) for r in results])


def check_captured(network: Network, setting: Setting) -> None:
    """The public way: the module's own structure, and the promise."""
    net, x = module(network)
    fast = ifast.optimize(net, x, precision=setting.precision, backend=setting.backend, strict=True)
    results, want = fast(x), net(x)
    if type(results) is not type(want):
        raise Wrong("structure", f"got {type(results)}, expected {type(want)}")
    if isinstance(want, dict) and list(want) != list(results):
        raise Wrong("structure", f"got {list(results)}, expected {list(want)}")
    same_bits("shape", *([torch.zeros(t.shape) for t in flatten(r)] for r in (results, want)))
    same_bits("repeated", flatten(fast(x)), flatten(results))
    if not setting.quantized:
        found = excess(flatten(results), net, x, setting.precision, setting.factor)
        if found.ratio > 1 and not _is_chance(network, replace(setting, captured=False), found):
            raise Wrong("error", found.text)


def check_promise(network: Network, made: Ready, results: list[Tensor]) -> None:
    """Raises Wrong where an error is too large, and says so where it is only with Winograd's algorithm."""
    setting = made.setting
    found = _excess(made, results)
    if found.ratio <= 1 or _is_chance(network, setting, found):
        return
    if setting.backend == "cpu" and _excess(made, made.run(made.executor("direct"))).ratio <= 1:
        raise Wrong("winograd", f"{found.text}; direct convolutions keep it")
    raise Wrong("error", found.text)


def _excess(made: Ready, results: list[Tensor]) -> Excess:
    return excess(results, made.net, made.x, made.setting.precision, made.setting.factor)


def _is_chance(network: Network, setting: Setting, found: Excess) -> bool:
    """Whether the bound holds where there is more to average over.

    The error of a few numbers is a matter of chance, eager's as well as ours. In float32 it is what these images, and
    the sums that happen to cancel in them, make of it: many images decide. Half precisions round the weights too, and
    ours are others than eager's once the normalisation is folded into them: other parameters decide, by the median.
    """
    if found.ratio > GROSS:
        return False
    if setting.precision == "fp32":
        made = ready(replace(network, batch=MANY_IMAGES), setting)
        return _excess(made, made.run(made.executor())).ratio <= 1
    others = [ready(replace(network, seed=network.seed + 1 + i), setting) for i in range(REDRAWS)]
    return median(_excess(made, made.run(made.executor())).ratio for made in others) <= 1


def _has_exact_int8(step: Step) -> bool:
    """Whether a quantised step's result is defined to the bit; float32 arithmetic may end one quantum apart."""
    match step:
        case PointwiseStep():
            arithmetic = (step.scale, step.shift, step.other, step.destination.activation)
            return all(part is None for part in arithmetic)
        case PoolStep():
            return not step.adaptive
        case _:
            return isinstance(step, ConvStep)


def same_bits(kind: str, results: list[Tensor], truth: list[Tensor]) -> None:
    if len(results) != len(truth):
        raise Wrong(kind, f"{len(results)} outputs in place of {len(truth)}")
    for i, (got, want) in enumerate(zip(results, truth, strict=True)):
        if got.shape != want.shape:
            raise Wrong(kind, f"output {i} is {tuple(got.shape)} in place of {tuple(want.shape)}")
        if not torch.equal(got.double(), want.double()):
            differ = int((got.double() != want.double()).sum())
            raise Wrong(kind, f"{differ} of {want.numel()} numbers differ in output {i}")
