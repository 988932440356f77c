"""How the executor divides a Plan into launches, and that every division computes the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from inception_fast.backends.cuda_graph import with_index
from inception_fast.graph import ir
from inception_fast.lowering.lower import lower
from inception_fast.plan.plan import Destination, Plan, PoolStep, Slice, destinations_of
from inception_fast.tuning import choice
from inception_fast.tuning.choice import ConfigChoice
from inception_fast.tuning.cost import H200
from inception_fast.tuning.pooling import conv_pool_config, pool_conv_config
from inception_fast.tuning.problem import ConvConfig, ConvProblem
from tests.backends.harness import CPU, assert_close, truth_and_bounds
from tests.graph.check import relative_error
from tests.triton.blocks import block, pool_before_narrowing, pools_that_stay_alone, stem
from tests.triton.exact import DEVICE, requires_triton

pytestmark = requires_triton


def executor(plan: Plan, constants: dict[str, torch.Tensor], **options: bool):
    from inception_fast.backends.triton_executor import TritonExecutor

    return TritonExecutor(plan, constants, DEVICE, **options)


def assert_true(run, graph: ir.Graph, x: torch.Tensor) -> None:
    """The results are the graph's, in memory that has seen NaN."""
    truth, bounds = truth_and_bounds(graph, "fp32", x)
    run.run(torch.full_like(x, float("nan"), device=DEVICE))
    assert_close([t.cpu() for t in run.run(x.to(DEVICE))], truth, bounds)


def test_the_branches_of_a_stage_share_a_launch() -> None:
    graph, x = block(), torch.randn(3, 3, 11, 13)
    plan, constants = lower(graph)
    together = executor(plan, constants)
    launches = together.launches(3)
    assert sorted(len(names) for names in launches) == [1, 1, 1, 2, 2]
    assert sorted(name for names in launches for name in names) == sorted(plan.step_names)
    assert_true(together, graph, x)


def test_one_launch_each_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, constants = lower(block())
    x = torch.randn(2, 3, 11, 13, device=DEVICE)
    (together,) = executor(plan, constants).run(x)
    monkeypatch.setattr(ConfigChoice, "group", lambda self, problems: None)
    apart = executor(plan, constants)
    assert all(len(names) == 1 for names in apart.launches(2))
    assert relative_error(apart.run(x)[0].cpu().double(), together.cpu().double()) < 1e-6


def test_split_sums_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches after each other in one workspace, groups among them."""
    graph, x = block(), torch.randn(2, 3, 11, 13)
    plan, constants = lower(graph)
    split = ConvConfig(128, 32, 16, splits=3)
    monkeypatch.setattr(ConfigChoice, "__call__", lambda self, problem: split)
    monkeypatch.setattr(ConfigChoice, "group", lambda self, problems: split)
    run = executor(plan, constants)
    assert_true(run, graph, x)
    first, second = (run.run(x.to(DEVICE))[0] for _ in range(2))
    assert torch.equal(first, second)


def test_every_launch_is_on_the_executors_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton launches on the current device, whatever device its tensors are on; the kernels run where DEVICE is."""
    from inception_fast.backends import triton_executor

    plan, constants = lower(stem())
    run, entered, current = executor(plan, constants), [], []

    @contextmanager
    def guard(device: torch.device) -> Iterator[None]:
        entered.append(device)
        current.append(device)
        yield
        current.pop()

    def launch(*arguments: object) -> None:
        assert current == [torch.device("cuda", 3)]
        launches.append(arguments)

    launches: list[object] = []
    monkeypatch.setattr(run, "_device", torch.device("cuda", 3))
    monkeypatch.setattr(torch.cuda, "device", guard)
    for name in vars(triton_executor):
        if name.startswith("launch_"):
            monkeypatch.setattr(triton_executor, name, launch)
    run.run(torch.randn(1, 3, 17, 15, device=DEVICE))
    assert entered == [torch.device("cuda", 3)] and len(launches) == len(run.launches(1))


def test_a_device_without_a_number_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert with_index(torch.device("cuda")) == torch.device("cuda", 2)
    assert with_index(torch.device("cuda", 1)) == torch.device("cuda", 1)


def test_profile_has_an_entry_for_each_launch() -> None:
    plan, constants = lower(block())
    run = executor(plan, constants)
    times = run.profile(torch.randn(2, 3, 11, 13, device=DEVICE))
    assert [t.step for t in times] == [names[0] for names in run.launches(2)]
    assert all(t.seconds >= 0 for t in times)
    names = next(names for names in run.launches(2) if len(names) == 2)
    assert next(t for t in times if t.step == names[0]).algorithm == f"with {names[1]}"


def test_the_batch_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little work shares launches, much does not; with ``batch_invariant`` every batch is divided alike."""
    from inception_fast.backends.triton_launches import plan_launches

    monkeypatch.setattr(choice, "limits_of", lambda device: H200)
    monkeypatch.setattr(choice, "known_entries", lambda machine: {})
    monkeypatch.setattr(choice, "machine_of", lambda device: None)
    plan, _ = lower(block(), "float16")

    def launches(images: int, batch_invariant: bool = False) -> int:
        choose = ConfigChoice.of(torch.device("cuda"), batch_invariant)
        return len(plan_launches(plan, "fp16", images, choose))

    assert launches(1) == len(plan.steps) - 2 and launches(1024) == len(plan.steps)
    assert len({launches(images, batch_invariant=True) for images in (1, 16, 1024)}) == 1


def test_a_bounded_number_of_batch_sizes_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    from inception_fast.backends import triton_executor

    planned: list[int] = []

    def plan_launches(plan: Plan, precision: str, images: int, choose: object) -> list[object]:
        planned.append(images)
        return []

    monkeypatch.setattr(triton_executor, "plan_launches", plan_launches)
    run = executor(*lower(block()))
    limit = triton_executor.MAX_BATCH_SIZES
    for images in (*range(1, limit + 2), limit + 1, 2, 1):
        run.launches(images)
    assert planned == [*range(1, limit + 2), 1]


@pytest.fixture
def pools_go_with_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they can, at any batch size, on any device."""
    for name in ("conv_pool", "pool_conv"):
        monkeypatch.setattr(ConfigChoice, name, lambda self, *_: ConvConfig(64, 64, 16, 8, 2))


@pytest.mark.usefixtures("pools_go_with_convolutions")
@pytest.mark.parametrize("network", [stem, pool_before_narrowing])
def test_max_pools_share_a_launch(network: Callable[[], ir.Graph]) -> None:
    graph = network()
    plan, constants = lower(graph)
    image = plan.buffers[plan.input]
    x = torch.randn(3, image.channels, image.height, image.width)
    together = executor(plan, constants)
    pools = {step.name for step in plan.steps if isinstance(step, PoolStep)}
    assert all(len(names) == 2 for names in together.launches(3) if pools.intersection(names))
    assert_true(together, graph, x)


@pytest.mark.usefixtures("pools_go_with_convolutions")
def test_pools_that_stay_alone() -> None:
    graph = pools_that_stay_alone()
    plan, constants = lower(graph)
    run = executor(plan, constants)
    assert [len(launch) for launch in run.launches(2)] == [1] * len(plan.steps)
    assert_true(run, graph, torch.randn(2, 3, 11, 13))


@pytest.mark.usefixtures("pools_go_with_convolutions")
def test_a_launch_ahead_of_its_place_moves_its_result() -> None:
    """Without that it would write over what its pool still reads; a group that needs it in place forbids it."""
    from inception_fast.backends.triton_launches import PoolLaunch, plan_launches

    def fused(network: ir.Graph) -> tuple[Plan, list[PoolLaunch]]:
        plan, _ = lower(network)
        launches = plan_launches(plan, "fp32", 1, ConfigChoice.of(CPU))
        return plan, [launch for launch in launches if isinstance(launch, PoolLaunch)]

    plan, (launch,) = fused(pool_before_narrowing())
    pool, conv = (plan.steps[i] for i in launch.steps)
    result = destinations_of(conv)[0].slice.buffer
    assert plan.buffers[result].offset == plan.buffers[pool.source.buffer].offset
    assert launch.moved == (result,)
    assert fused(pool_before_narrowing(readers=2))[1] == []


def test_rule_for_pools() -> None:
    """GoogLeNet's first layers pay at a large batch; a deeper convolution, or a small batch, does not."""

    def pool(stride: int) -> PoolStep:
        piece = Slice(0, 0, 64)
        return PoolStep("", "max", piece, Destination(piece, False), (3, 3), (stride, stride), (0, 0), (0, 0))

    first = ConvProblem(128, 112 * 112, 3, 64, 49, 4, "float16", "fp16")
    deep = ConvProblem(128, 56 * 56, 64, 192, 9, 1, "float16", "fp16")
    assert conv_pool_config(first, pool(2), (56, 56), H200) is not None
    assert conv_pool_config(first.with_images(1), pool(2), (56, 56), H200) is None
    assert conv_pool_config(deep, pool(2), (28, 28), H200) is None
    branch = ConvProblem(128, 196, 512, 64, 1, 1, "float16", "fp16")
    assert pool_conv_config(branch, H200) is not None
    assert pool_conv_config(branch.with_images(1), H200) is None
    assert pool_conv_config(replace(branch, out_channels=192), H200) is None
