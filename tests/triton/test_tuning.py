"""The rule, the tables, the measurement and what an executor makes of them; no GPU is asked for anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.cli.main import main
from inception_fast.errors import InputError
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.tuning import choice
from inception_fast.tuning.candidates import LIMIT, candidates, interpreted, proposals
from inception_fast.tuning.choice import INVARIANT_IMAGES, ConfigChoice, known_entries
from inception_fast.tuning.cost import A100, H200, Limits, launch_time, padding, shared_bytes
from inception_fast.tuning.group import group_candidates, group_key, is_grouped
from inception_fast.tuning.measure import problems_of, tune
from inception_fast.tuning.problem import ConvConfig, ConvProblem
from inception_fast.tuning.table import Machine, Table, read_table, shipped_table, table_path, write_table
from inception_fast.tuning.workspace import programs_of
from tests.backends.cases import CASES
from tests.triton.blocks import block
from tests.triton.exact import DEVICE, needs_triton
from tests.triton.surveyed import surveyed_configs

PROBLEMS = [
    ConvProblem(1, 64, 2048, 320, 1, 1, "float16", "fp16"),
    ConvProblem(1, 1, 2048, 1000, 1, 1, "bfloat16", "bf16"),
    ConvProblem(8, 22201, 3, 32, 9, 4, "float16", "fp16"),
    ConvProblem(128, 289, 192, 192, 7, 1, "float16", "fp16"),
    ConvProblem(32, 5041, 80, 192, 9, 1, "float32", "tf32"),
    ConvProblem(1, 5, 1, 1, 1, 1, "float32", "fp32"),
]


@pytest.mark.parametrize("limits", [H200, A100], ids=["H200", "A100"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.key)
def test_candidates_fit_and_are_the_same_each_time(problem: ConvProblem, limits: Limits) -> None:
    found = candidates(problem, limits)
    assert 0 < len(found) <= LIMIT and len(set(found)) == len(found)
    assert found == candidates(problem, limits)
    for config in proposals(problem, limits):
        assert shared_bytes(config, problem.itemsize) <= limits.shared_memory
        assert config.m * config.n <= (32768 if limits.matrix_from_shared else 16384) and config.warps in (4, 8)


def test_rule_prefers_small_tiles_for_little_work_and_large_ones_for_much() -> None:
    few, many = candidates(PROBLEMS[0], H200)[0], candidates(PROBLEMS[3], H200)[0]
    assert few.m * few.n <= 64 * 64 < 128 * 64 <= many.m * many.n


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.key)
def test_interpreter_tiles_stay_in_tritons_bounds(problem: ConvProblem) -> None:
    config = interpreted(problem)
    assert max(config.m * config.k, config.n * config.k, config.m * config.n) <= 2**20
    assert config == interpreted(problem.with_images(77))


def test_widths_of_a_tile() -> None:
    for n, widths in ((16, (16,)), (128, (128,)), (192, (128, 64)), (224, (128, 64, 32)), (256, (128, 128))):
        assert ConvConfig(64, n, 32).widths == widths


MACHINE = Machine("NVIDIA Test 9000", "580.1", "3.9.0")


def test_table_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.json"
    assert read_table(path) is None
    table = Table(MACHINE, True, {"b": ConvConfig(64, 96, 16, 4, 3, 6), "c": None, "a": ConvConfig(128, 256, 64, 8, 4)})
    write_table(path, table)
    assert read_table(path) == table
    first = path.read_bytes()
    write_table(path, Table(MACHINE, True, dict(reversed(table.entries.items()))))
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["table.json"]


def test_tables_from_before_splits_load(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(
        '{"gpu": "x", "driver": "any", "triton": "any", "measured": true, "entries": {"a": [64, 32, 16, 4, 3]}}'
    )
    assert read_table(path) == Table(Machine("x", "any", "any"), True, {"a": ConvConfig(64, 32, 16, 4, 3)})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"gpu": "x"}', '{"gpu":"","driver":"","triton":"","measured":true,"entries":{"a":[1,2]}}',
     *(f'{{"gpu":"","driver":"","triton":"","measured":true,"entries":{{"a":{config}}}}}'
       for config in (
           [64, 64, 64, 4, -1], [64, 64, 256, 4, 3], [64, 64, 8, 4, 3], [48, 64, 64, 4, 3], [64, 64, 64, 3, 3],
           [64, 40, 64, 4, 3], [64, 240, 64, 4, 3], [64, 64, 64, 4, 3, 0], [64, 64, 64, 4, 3, 1, 1]
       ))],
)  # fmt: skip
def test_broken_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"table\.json"):
        read_table(path)


def test_tables_are_per_gpu_driver_and_triton(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INCEPTION_FAST_CACHE", str(tmp_path))
    others = [Machine("NVIDIA H200", "580.1", "3.9.0"), Machine(MACHINE.gpu, "590", "3.9.0")]
    others.append(Machine(MACHINE.gpu, "580.1", "3.6.0"))
    assert len({table_path(m) for m in (MACHINE, *others)}) == 4
    assert table_path(MACHINE).is_relative_to(tmp_path)


def _gpu_choice(monkeypatch: pytest.MonkeyPatch, machine: Machine, batch_invariant: bool = False) -> ConfigChoice:
    monkeypatch.setattr(choice, "limits_of", lambda device: H200)
    monkeypatch.setattr(choice, "machine_of", lambda device: machine)
    return ConfigChoice.of(torch.device("cuda"), batch_invariant)


def test_measured_before_shipped_before_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INCEPTION_FAST_CACHE", str(tmp_path))
    machine = Machine("NVIDIA H200", "580.1", "3.9.0")
    shipped = shipped_table(machine.gpu)
    assert shipped is not None
    known, unknown = ConvProblem(128, 289, 768, 640, 1, 1, "float16", "fp16"), PROBLEMS[4]
    assert known.key in shipped.entries and unknown.key not in shipped.entries
    before = _gpu_choice(monkeypatch, machine)
    assert before(known) == shipped.entries[known.key]
    assert before(unknown) == candidates(unknown, H200)[0]
    measured = ConvConfig(32, 32, 32, 4, 5)
    write_table(table_path(machine), Table(machine, True, {known.key: measured}))
    assert _gpu_choice(monkeypatch, machine)(known) == measured
    assert before(known) == shipped.entries[known.key], "an executor keeps the tables that it began with"
    assert known_entries(MACHINE) == {}


def test_batch_invariance_means_one_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INCEPTION_FAST_CACHE", str(tmp_path))
    special = ConvConfig(32, 32, 32, 4, 5)
    key = PROBLEMS[3].with_images(INVARIANT_IMAGES).key
    write_table(
        table_path(MACHINE),
        Table(MACHINE, True, {PROBLEMS[3].with_images(1).key: ConvConfig(64, 64, 64), key: special}),
    )
    chosen = _gpu_choice(monkeypatch, MACHINE, batch_invariant=True)
    assert {chosen(PROBLEMS[3].with_images(n)) for n in (1, 2, 16, 128)} == {special}
    free = _gpu_choice(monkeypatch, MACHINE)
    assert len({free(PROBLEMS[3].with_images(n)) for n in (1, 16, 128)}) > 1


def test_shipped_table_is_the_rules_and_says_so() -> None:
    shipped = shipped_table("NVIDIA H200")
    assert shipped is not None and not shipped.measured
    problem = ConvProblem(128, 289, 768, 640, 1, 1, "bfloat16", "bf16")
    assert shipped.entries[problem.key] == candidates(problem, H200)[0]


def test_what_is_shipped_is_what_is_compiled() -> None:
    """Every configuration in the table is one of those that :mod:`tests.triton.compile_rule` surveys for sm_90."""
    shipped = shipped_table("NVIDIA H200")
    assert shipped is not None
    surveyed: dict[bool, dict[tuple[int, ...], int]] = {False: {}, True: {}}
    for kind, config in surveyed_configs(90, "float16", "fp16"):
        stages = surveyed["group" in kind]
        stages[_kernel(config)] = max(config.stages, stages.get(_kernel(config), 0))
    for key, config in shipped.entries.items():
        if config is not None:
            assert config.stages <= surveyed[" + " in key][_kernel(config)], key


def _kernel(config: ConvConfig) -> tuple[int, ...]:
    return config.m, config.n, config.k, config.warps, config.splits > 1


KEY = re.compile(r"(\d+)x(\d+) pixels, (\d+) to (\d+) channels, (\d+) taps, stride (\d+), 16 bit")


def test_few_products_are_for_channels_that_do_not_exist() -> None:
    """Of every convolution of the six families: an eighth at most, a quarter in groups and of 24 channels.

    96, 160 and 192 channels cost what they are.
    """
    shipped = shipped_table("NVIDIA H200")
    assert shipped is not None
    for key, config in shipped.entries.items():
        for numbers in KEY.findall(key) if config is not None else []:
            problem = ConvProblem(*map(int, numbers), "float16", "fp16")
            share = padding(problem, config)
            if " + " in key or problem.out_channels == 24:
                assert share <= 1 / 4, key
            elif problem.out_channels in (96, 160, 192):
                assert share == 0, key
            else:
                assert share <= 1 / 8, key


@pytest.mark.parametrize("limits", [H200, A100], ids=["H200", "A100"])
def test_rule_splits_long_sums_of_few_tiles(limits: Limits) -> None:
    """As many programs as a GPU has at once, and no sum that is short, nor any of a launch that fills the GPU."""
    long, short, much = PROBLEMS[0], ConvProblem(1, 64, 48, 64, 1, 1, "float16", "fp16"), PROBLEMS[3]
    best = candidates(long, limits)[0]
    assert best.splits > 1
    assert programs_of([(long.pixels, long.out_channels, long.depth)], best) <= 2 * limits.processors
    unsplit = replace(best, splits=1)
    assert launch_time((long,), best, limits) < launch_time((long,), unsplit, limits)
    assert all(c.splits == 1 for p in (short, much) for c in proposals(p, limits))
    group = group_candidates([long, replace(long, in_channels=448, taps=9)], limits)[0]
    assert group.splits > 1


def test_the_table_has_every_family() -> None:
    """A stem, a block and a head of each, as batches of 1 to 128; single convolutions and groups."""
    shipped = shipped_table("NVIDIA H200")
    assert shipped is not None and not shipped.measured
    heads = {"googlenet": 1024, "inception_v3": 2048, "inception_v4": 1536, "inception_resnet_v1": 512}
    for images in (1, 4, 8, 32, 128):
        for depth in heads.values():
            assert ConvProblem(images, 1, depth, 1000, 1, 1, "float16", "fp16").key in shipped.entries
        groups = [key for key in shipped.entries if " + " in key and key.startswith(f"{images}x")]
        assert len(groups) > 40


@needs_triton
def test_tune_takes_the_fastest_and_the_earlier_of_equals() -> None:
    graph, _ = optimize_graph(CASES["merged_siblings"](), get_backend("triton").lowering)
    plan, constants = lower(graph, "float32")
    problems = problems_of(plan, "fp32", (1, 2))
    assert {p.images for (p,) in problems} == {1, 2} and len(problems) == 4
    seconds = iter([3.0, 1.0, 2.0, 1.0, 5.0, 6.0] * len(problems))

    def timer(work: Callable[[], None]) -> float:
        return next(seconds)

    found = list(tune(plan, constants, problems, DEVICE, H200, timer, {}))
    assert [m.problems for m in found] == list(problems)
    for measurement in found:
        assert measurement.best == (candidates(measurement.problems[0], H200)[1], 1.0)


@needs_triton
def test_tune_runs_convolutions_and_groups() -> None:
    """What is timed is a launch of the candidate; here each is run once and nothing is timed."""
    plan, constants = lower(block())
    problems = problems_of(plan, "fp32", (1,))
    group = next(p for p in problems if len(p) > 1)
    wanted = {p: members for p, members in problems.items() if p == group or p[0] in group}
    ran: list[bool] = []

    def timer(work: Callable[[], None]) -> float:
        work()
        ran.append(True)
        return float(len(ran))

    found = list(tune(plan, constants, wanted, DEVICE, H200, timer, {}))
    assert len(ran) == sum(len(m.times) for m in found) > len(found)
    assert found[-1].problems == group and None in [config for config, _ in found[-1].times]


@needs_triton
def test_what_was_measured_decides_about_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INCEPTION_FAST_CACHE", str(tmp_path))
    few, much = [PROBLEMS[0], PROBLEMS[0].with_images(2)], [PROBLEMS[3], PROBLEMS[3].with_images(127)]
    before = _gpu_choice(monkeypatch, MACHINE)
    assert before.group(few) == group_candidates(few, H200)[0] and before.group(much) is None
    measured = ConvConfig(64, 64, 32, 4, 3)
    write_table(table_path(MACHINE), Table(MACHINE, True, {group_key(few): None, group_key(much): measured}))
    after = _gpu_choice(monkeypatch, MACHINE)
    assert after.group(few) is None and after.group(much[::-1]) == measured


@pytest.mark.parametrize("limits", [H200, A100], ids=["H200", "A100"])
def test_rule_for_groups(limits: Limits) -> None:
    """A group is for little work, and its tile fits every convolution in it."""
    for images in (1, 8):
        group = [ConvProblem(images, 64, c, 384, 3, 1, "float16", "fp16") for c in (384, 448)]
        assert is_grouped(group, limits) and not is_grouped(group[:1], limits)
        for config in group_candidates(group, limits):
            assert shared_bytes(config, 2) <= limits.shared_memory and config.m <= 128
    assert not is_grouped([PROBLEMS[3], PROBLEMS[3]], limits)


def test_a_group_prefers_steps_in_one_tap() -> None:
    """160 channels are five steps of 32; in two and a half of 64, each column would be divided."""
    group = [ConvProblem(1, 289, 160, c, 7, 1, "float16", "fp16") for c in (160, 192)]
    assert group_candidates(group, H200)[0].k == 32
    assert candidates(group[0], H200)[0].k == 64


def test_command_writes_the_rules_choices(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    arguments = ["tune", "googlenet", "--size", "63", "--batch", "1", "--precision", "bf16", "--unmeasured", str(file)]
    assert main(arguments) == 0
    table = read_table(file)
    assert table is not None and not table.measured and len(table.entries) > 20


@needs_triton
def test_command_keeps_configurations_and_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything that it does on a GPU but running kernels: the clock is given, and two CPU backends are timed."""
    from inception_fast.backends import auto
    from inception_fast.tuning import measure

    monkeypatch.setenv("INCEPTION_FAST_CACHE", str(tmp_path))
    monkeypatch.setattr(choice, "limits_of", lambda device: H200)
    monkeypatch.setattr(choice, "machine_of", lambda device: MACHINE)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(auto, "CONTENDERS", {"cpu": ("reference", "torch")})
    seconds = iter(range(1, 10**6))
    monkeypatch.setattr(measure, "device_timer", lambda work: float(next(seconds)))
    arguments = ["tune", "googlenet", "--size", "63", "--device", "cpu", "--batch", "1", "--passes"]
    assert main([*arguments, "--precision", "fp32"]) == 0
    table = read_table(table_path(MACHINE))
    assert table is not None and table.measured and len(table.entries) > 20
    # Times only go up, so the first candidate is the fastest.
    problem = ConvProblem(1, 1, 1024, 1000, 1, 1, "float32", "fp32")
    assert table.entries[problem.key] == candidates(problem, H200)[0]
    assert set(table.passes["fp32"]) == {1} and set(table.passes["fp32"][1]) == {"reference", "torch"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_command_needs_a_gpu() -> None:
    assert main(["tune", "googlenet"]) == 2
