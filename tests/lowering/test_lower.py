"""Lowering: stages, concat-free writes and outputs, on networks small enough to see."""

from __future__ import annotations

import pytest
import torch

from inception_fast.errors import PlanError
from inception_fast.graph import ir
from inception_fast.graph.passes.merge_siblings import merge_siblings
from inception_fast.lowering.lower import lower
from inception_fast.plan.memory import lifetimes, lower_bound
from inception_fast.plan.plan import (
    ConvStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    Sensitivity,
    convolutions_of,
    destinations_of,
)
from tests.backends.cases import CASES
from tests.graph.build import Build


def plan_of(name: str) -> Plan:
    return lower(CASES[name]())[0]


def test_branches_share_stages() -> None:
    plan = plan_of("merged_siblings")
    names = [[plan.steps[i].name for i in stage] for stage in plan.stages]
    assert [len(stage) for stage in names] == [1, 2]
    merged = plan.steps[0]
    assert isinstance(merged, ConvStep)
    assert [d.slice.channels for d in merged.destinations] == [13, 6, 11, 5]
    assert [d.relu for d in merged.destinations] == [True, False, True, False]


def test_concat_is_written_in_place() -> None:
    """The slices that steps write tile the concat, and no step copies."""
    plan = plan_of("merged_siblings")
    output = plan.outputs[0].buffer
    writes = [d.slice for s in plan.steps for d in destinations_of(s) if d.slice.buffer == output]
    assert sorted((w.start, w.channels) for w in writes) == [(0, 13), (13, 7), (20, 6), (26, 5)]
    assert not any(isinstance(s, PointwiseStep) for s in plan.steps)


def test_taps_hold_padding_and_dilation() -> None:
    conv = plan_of("conv_dilated").steps[0].conv  # type: ignore[union-attr]
    assert conv.taps == tuple((dy, dx) for dy in (-2, 0, 2) for dx in (-3, 0, 3))


def test_a_window_that_is_read_in_part_has_only_those_taps() -> None:
    build = Build(4, 7, 5)
    graph = merge_siblings(build.graph(build.conv("x", 3, (1, 3)), build.conv("x", 2, (3, 1))), taps=True)
    plan, constants = lower(graph)
    conv = plan.steps[0].conv  # type: ignore[union-attr]
    assert conv.taps == ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
    assert constants[conv.weight].shape == (5, 5, 4)


@pytest.mark.parametrize(
    "width, padding, kept", [(9, (0, 1, 0, 1), True), (2, (0, 1, 0, 1), False), (3, (0,) * 4, True)]
)
def test_sums_over_taps_that_windows_see_are_kept(width: int, padding: tuple[int, int, int, int], kept: bool) -> None:
    build = Build(4, 5, width)
    build.conv("x", 6, (1, 3), padding=padding)
    weight = build.params["p0"] = build.params["p0"].double() / 3
    plan, constants = lower(build.graph())
    got = constants[plan.steps[0].conv.weight].double().transpose(1, 2).view_as(weight)  # type: ignore[union-attr]
    lost = (got - weight).sum(3).abs()
    assert (lost <= 1.2e-7 * weight.abs().amin(3)).all() == kept
    assert torch.equal(got, weight.float().double()) != kept


def test_pair_keeps_its_intermediate_to_itself() -> None:
    plan = plan_of("factorized_pairs")
    assert all(isinstance(s, PairStep) for s in plan.steps) and len(plan.steps) == 5
    assert len(plan.buffers) == 6, "the input and one a step"
    pair = plan.steps[0]
    assert isinstance(pair, PairStep) and convolutions_of(pair) == (pair.first, pair.second)


def test_linear_over_an_image_is_a_convolution() -> None:
    """Rows come before columns, as in a flattened channel."""
    graph = CASES["linear_over_image"]()
    plan, constants = lower(graph)
    (step,) = plan.steps
    assert isinstance(step, ConvStep) and step.conv.in_channels == 6 and step.conv.stride == (1, 1)
    assert step.conv.taps == tuple((row, column) for row in range(3) for column in range(5))
    (linear,) = graph.of_kind(ir.Linear)
    weight = graph.params[linear.op.weight].float()
    assert torch.equal(constants[step.conv.weight].transpose(1, 2).flatten(1), weight)
    assert plan.outputs[0].flat


def test_outputs_that_live_elsewhere_are_copied() -> None:
    plan = plan_of("repeated_outputs")
    copies = [s.name for s in plan.steps if isinstance(s, PointwiseStep)]
    assert len(copies) == 3, "the input, the inner value and the piece; the concat and the last value are outputs"
    assert [o.buffer for o in plan.outputs][1] == [o.buffer for o in plan.outputs][3]


def test_merged_and_lone_values_have_no_idle_memory() -> None:
    for name in CASES:
        plan = plan_of(name)
        lives = lifetimes(plan.steps, plan.stages)
        sizes = {i: b.size for i, b in enumerate(plan.buffers) if b.home == "arena"}
        assert plan.arena <= 1.25 * lower_bound(sizes, lives), name


def test_unprepared_concat_is_refused() -> None:
    build = Build(4, 5, 5)
    build.concat(build.conv("x", 3), build.conv("x", 2))
    with pytest.raises(PlanError, match="eliminate_concat"):
        lower(build.graph())


@pytest.mark.parametrize("kind", ["twice", "in two", "flattened"])
def test_a_concat_that_cannot_be_in_place_is_refused(kind: str) -> None:
    build = Build(4, 2, 2)
    conv = build.conv("x", 3)
    if kind == "flattened":
        flat = build.node(ir.Flatten(), conv)
        parts = [(flat, build.linear(build.flat("x"), 2))]
    else:
        parts = [(conv, conv)] if kind == "twice" else [(conv, build.conv("x", 2)), (build.conv("x", 1), conv)]
    for values in parts:
        build.node(ir.Concat(in_place=True), *values)
    graph = build.graph(*(node.name for node in build.nodes[-len(parts) :]))
    with pytest.raises(PlanError, match="cannot be written in place"):
        lower(graph)


def test_batchnorm_is_refused() -> None:
    build = Build(4, 5, 5)
    build.batchnorm("x")
    with pytest.raises(PlanError, match="fold_batchnorm"):
        lower(build.graph())


def test_arithmetic_on_a_flattened_image_is_refused() -> None:
    """Its channels would be in another order."""
    build = Build(4, 5, 5)
    flat = build.node(ir.Flatten(), "x")
    build.node(ir.ReLU(), flat)
    with pytest.raises(PlanError, match="flattened 5x5"):
        lower(build.graph())


@pytest.mark.parametrize(("shape", "allowed"), [((4, 1, 1), True), ((4, 1, 2), False), ((4, 2, 1), False)])
def test_a_flattened_pixel_is_a_vector(shape: tuple[int, int, int], allowed: bool) -> None:
    build = Build(*shape)
    build.node(ir.Affine(build.param(shape[0]), build.param(shape[0])), build.node(ir.Flatten(), "x"))
    if allowed:
        lower(build.graph())
    else:
        with pytest.raises(PlanError, match=f"flattened {shape[1]}x{shape[2]} image"):
            lower(build.graph())


@pytest.mark.parametrize(("start", "channels"), [(0, 3), (1, 2)])
def test_a_segment_that_no_slice_names_is_refused(start: int, channels: int) -> None:
    build = Build(4, 5, 5)
    merged = build.conv("x", (2, 3))
    build.slice(merged, 2, 3)
    build.slice(merged, start, channels)
    with pytest.raises(PlanError, match="no Slice names the segment at channel 0"):
        lower(build.graph(*(node.name for node in build.nodes[-2:])))


def test_sensitivities_go_with_their_convolutions() -> None:
    build = Build(4, 5, 5)
    row = ir.Conv2d(build.param(4, 4, 1, 3), None, (1, 1), (0, 1, 0, 1), (1, 1), (ir.Segment(4),))
    column = ir.Conv2d(build.param(4, 4, 3, 1), None, (1, 1), (1, 0, 1, 0), (1, 1), (ir.Segment(4),))
    build.node(ir.ConvPair(row, column), build.conv("x", 4, name="lone"), name="pair")
    found = {name: Sensitivity(i + 1.0, i + 2.0) for i, name in enumerate(("lone", "pair.first", "pair.second"))}
    plan, _ = lower(build.graph(), "float32", found)
    assert [conv.sensitivity for step in plan.steps for conv in convolutions_of(step)] == list(found.values())
    plan, _ = lower(build.graph())
    assert not any(conv.sensitivity for step in plan.steps for conv in convolutions_of(step))


@pytest.mark.parametrize("size", [(2, 5), (5, 2), (2, 2)])
def test_an_uneven_adaptive_pool_has_windows_of_its_own(size: ir.Pair) -> None:
    build = Build(4, 5, 5)
    build.node(ir.AdaptiveAvgPool(size), "x")
    (pool,) = lower(build.graph())[0].steps
    assert isinstance(pool, PoolStep) and pool.adaptive and (pool.kernel, pool.stride) == ((1, 1), (1, 1))


def test_an_adaptive_pool_has_neither_padding_nor_overlap() -> None:
    build = Build(4, 6, 10)
    build.node(ir.AdaptiveAvgPool((3, 2)), "x")
    (pool,) = lower(build.graph())[0].steps
    assert isinstance(pool, PoolStep)
    assert (pool.kernel, pool.stride, pool.padding, pool.padding_end) == ((2, 5), (2, 5), (0, 0), (0, 0))


@pytest.mark.parametrize(("op", "mode"), [(ir.AdaptiveMaxPool, "max"), (ir.AdaptiveAvgPool, "avg")])
def test_what_an_adaptive_pool_takes_of_its_windows(op: type[ir.AdaptiveMaxPool], mode: str) -> None:
    for size in ((2, 2), (4, 5)):
        build = Build(3, 6, 6)
        build.node(op(size), "x")
        (step,) = lower(build.graph())[0].steps
        assert isinstance(step, PoolStep) and step.mode == mode


def test_a_max_pools_margins_are_padding() -> None:
    """Each end has its own."""
    build = Build(3, 9, 9)
    build.node(ir.MaxPool((5, 5), (1, 1), (1, 2), outside=(1, 0, 2, 1)), "x")
    (step,) = lower(build.graph())[0].steps
    assert isinstance(step, PoolStep)
    assert (step.padding, step.padding_end) == ((2, 2), (3, 3))
    build.nodes[-1] = ir.Node("pool", ir.MaxPool((5, 5), (1, 1), (1, 2), outside=(0, 0, 3, 0)), ("x",))
    (step,) = lower(build.graph())[0].steps
    assert isinstance(step, PoolStep)
    assert (step.padding, step.padding_end) == ((1, 2), (4, 2))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_weights_of_other_dtypes_are_rounded_once(dtype: str) -> None:
    """Each to the nearest: only float32's make up for one another."""
    build = Build(3, 9, 9)
    build.conv("x", 4, (3, 3))
    graph = build.graph()
    exact = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 3
    # Between two float16, by so little that float32 does not tell.
    exact[0, 0, 0, 0] = 1 + 2.0**-11 + 2.0**-40
    graph.params["p0"] = exact
    (weight,) = lower(graph, dtype)[1].values()
    assert torch.equal(weight, exact.flatten(2).transpose(1, 2).to(getattr(torch, dtype)))


@pytest.mark.parametrize(("name", "dtype"), [("input_of_bytes", "uint8"), ("conv_1x1", "float16")])
def test_what_comes_in(name: str, dtype: str) -> None:
    plan, _ = lower(CASES[name](), "float16")
    assert plan.input_dtype == dtype and {b.dtype for b in plan.buffers if b.home != "input"} == {None}
