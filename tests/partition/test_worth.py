"""What a region does, counted by hand, and which ones are worth an engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from inception_fast.graph.export import constants_of, export_call, export_images
from inception_fast.partition.regions import Found, find_regions
from inception_fast.partition.worth import Work, objection
from tests.partition.models import model, trunk


def found(module: nn.Module, x: torch.Tensor) -> Found:
    program = export_images(module.eval(), x)
    return find_regions(program.graph, constants_of(program))


def test_work_of_a_region() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, (1, 3)))
    (region,) = found(
        nn.Sequential(layers, *(nn.ReLU() for _ in range(4)), nn.Softplus()), torch.zeros(1, 3, 9, 11)
    ).regions
    # Maps of 4x5, then 4x3.
    first, second = 8 * 4 * 5, 4 * 4 * 3
    assert region.work == Work(
        operators=8,
        convolutions=2,
        multiply_adds=first * 27 + second * 24,
        elements=3 * 9 * 11 + second,
        fused=2 * first + 4 * second,
    )


def test_fixed_batches_count() -> None:
    program = export_call(trunk().eval(), (torch.zeros(5, 3, 16, 16),), {}, ())
    (fixed,) = find_regions(program.graph, constants_of(program)).regions
    (open_,) = found(trunk(), torch.zeros(1, 3, 16, 16)).regions
    one, five = open_.work, fixed.work
    assert (five.operators, five.convolutions) == (one.operators, one.convolutions)
    pairs = ((five.multiply_adds, one.multiply_adds), (five.elements, one.elements), (five.fused, one.fused))
    assert all(a == 5 * b for a, b in pairs)


def test_what_is_worth_an_engine() -> None:
    block = Work(operators=20, convolutions=7, multiply_adds=2_000_000, elements=4_000, fused=20_000)
    assert objection(block) is None
    assert "no convolution" in str(objection(replace(block, convolutions=0)))
    for worse in ({"operators": 2, "fused": 0}, {"elements": 2_000_000}):
        assert "too few" in str(objection(replace(block, **worse)))
    for better in ({"operators": 40}, {"multiply_adds": 10**9}, {"elements": 0}, {"fused": 10**6}):
        assert replace(block, **better).gain > block.gain


@pytest.mark.parametrize("name", ["between branches", "several in a row", "two outside users", "gate of nobody"])
def test_nothing_comes_back_into_a_region(name: str) -> None:
    regions = found(model(name), torch.zeros(1, 3, 24, 24)).regions
    assert len(regions) > 1
    for region in regions:
        outside = {user for node in region.members for user in node.users} - region.members.keys()
        behind = set(outside)
        for node in region.entry.graph.nodes:
            if behind.intersection(node.all_input_nodes):
                behind.add(node)
        assert behind.isdisjoint(region.members) and region.entry not in behind
    assert sum(len(r.members) for r in regions) == len({n for r in regions for n in r.members})
