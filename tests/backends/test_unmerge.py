"""A merged convolution and its parts compute the same."""

from __future__ import annotations

from dataclasses import replace

import torch

from inception_fast.backends.unmerge import unmerge
from inception_fast.lowering.lower import lower
from inception_fast.plan.plan import ConvStep, Slice
from tests.backends.cases import CASES


def test_parts_tile_the_whole() -> None:
    plan, constants = lower(CASES["merged_siblings"]())
    (step,) = (s for s in plan.steps if isinstance(s, ConvStep) and len(s.destinations) == 4)
    parts, rows = unmerge(replace(step, residual=Slice(7, 2, 35)), constants)
    assert [p.destinations for p in parts] == [(d,) for d in step.destinations]
    assert [p.residual for p in parts] == [Slice(7, 2, 13), Slice(7, 15, 6), Slice(7, 21, 11), Slice(7, 32, 5)]
    for kind in ("weight", "bias"):
        names = [getattr(p.conv, kind) for p in parts]
        assert torch.equal(torch.cat([rows[n] for n in names]), constants[getattr(step.conv, kind)])
        assert [len(rows[n]) for n in names] == [p.conv.out_channels for p in parts]


def test_a_convolution_without_bias_stays_so() -> None:
    plan, constants = lower(CASES["union_of_taps"]())
    (step,) = (s for s in plan.steps if isinstance(s, ConvStep))
    parts, rows = unmerge(step, constants)
    assert [p.conv.bias for p in parts] == [None, None]
    assert [p.residual for p in parts] == [None, None]
    assert len(rows) == 2
