"""What a step costs, against numbers that were counted by hand on hand-made Plans."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from inception_fast.plan.cost import constant_bytes, elements_written, item_size, operations, traffic
from inception_fast.plan.plan import Plan, Step
from tests.plan.bytes_plan import bytes_plan
from tests.plan.functions_plan import functions_plan
from tests.plan.tiny_engine import quantized_plan, tiny_plan


def named(plan: Plan, name: str) -> Step:
    return next(step for step in plan.steps if step.name == name)


def of_windows(*kernel: int) -> Plan:
    plan = tiny_plan()
    steps = tuple(replace(s, kernel=kernel) if s.name == "maximum" else s for s in plan.steps)
    return replace(plan, steps=steps)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "uint8", "int8", "float16", "bfloat16"])
def test_sizes_are_pytorchs(dtype: str) -> None:
    assert item_size(dtype) == torch.empty(0, dtype=getattr(torch, dtype)).element_size()


@pytest.mark.parametrize(
    ("plan", "step", "count"),
    [
        # A multiply and an add for each of 6x6 pixels, 5 results, 9 taps and 3 channels.
        (tiny_plan(), "conv", 2 * 36 * 5 * 9 * 3),
        (tiny_plan(), "pair", 2 * (36 * 4 * 3 * 2 + 36 * 3 * 3 * 4)),
        (tiny_plan(), "pool", 9 * 8 * 9),
        (tiny_plan(), "maximum", 8 * 9),
        (of_windows(2, 3), "maximum", 8 * 6),
        (of_windows(3, 2), "maximum", 8 * 6),
        (tiny_plan(), "pointwise", 9 * 8),
        (tiny_plan(), "resize", 36 * 8),
        (functions_plan(), "depthwise", 2 * 36 * 8 * 9),
        (functions_plan(), "norm", 2 * 36 * 8 * 5),
        (functions_plan(), "gate", 36 * 8),
        (functions_plan(), "softmax", 8),
        (bytes_plan(), "pool", 16 * 4 * 4),
        (bytes_plan(), "numbers", 7 * 9 * 3),
    ],
)
def test_operations(plan: Plan, step: str, count: int) -> None:
    assert operations(plan, named(plan, step)) == count


@pytest.mark.parametrize(
    ("plan", "step", "elements", "constants", "moved"),
    [
        # 3 channels are read and 5 written, of 6x6 pixels.
        (tiny_plan(), "conv", 36 * 5, 4 * (135 + 5), 2 * 4 * 36 * 8),
        (tiny_plan("bfloat16"), "conv", 36 * 5, 2 * 135 + 4 * 5, 2 * 2 * 36 * 8),
        # With a residual of 3 channels.
        (tiny_plan(), "pair", 36 * 3, 4 * (24 + 36), 2 * 4 * 36 * (2 + 3 + 3)),
        (tiny_plan(), "pool", 9 * 8, 4 * 8, 2 * 4 * 8 * (36 + 9)),
        (tiny_plan(), "pointwise", 9 * 8, 4 * 16, 2 * 4 * 8 * (9 + 9 + 9)),
        (tiny_plan(), "normalize", 36 * 8, 0, 2 * 4 * 8 * (36 + 36)),
        (functions_plan(), "conv", 36 * 8, 4 * (8 * 9 * 3 + 5), 2 * 4 * 36 * (3 + 8)),
        (functions_plan(), "gate", 36 * 8, 0, 2 * 4 * 8 * (36 + 1 + 36)),
        # Elements of a byte between the float32 of the input and of the outputs.
        (quantized_plan(), "conv", 36 * 4, 4 * 9 * 3 + 4 * 4 + 4 * 4, 2 * 36 * (4 * 3 + 4)),
        (quantized_plan(), "add", 36 * 4, 0, 2 * 36 * 4 * (1 + 1 + 4)),
        (quantized_plan(), "head", 5, 5 * 4 + 5 * 4, 2 * (4 + 4 * 5)),
        # Bytes come in.
        (bytes_plan(), "numbers", 63 * 3, 4 * 6, 2 * (36 * 3 + 4 * 63 * 3)),
        (bytes_plan("uint8"), "numbers", 63 * 3, 4 * 6, 2 * (36 * 3 + 63 * 3)),
        (bytes_plan("uint8"), "part", 36 * 2, 4 * 2, 2 * (36 * 2 + 4 * 36 * 2)),
    ],
)
def test_memory_that_two_images_touch(plan: Plan, step: str, elements: int, constants: int, moved: int) -> None:
    found = named(plan, step)
    assert elements_written(plan, found) == elements
    assert constant_bytes(plan, found) == constants
    assert traffic(plan, found, 2) == moved + constants
