"""What the blocks say that they did: every tile once, in an order that time allows, and as a picture."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch

from inception_fast.backends.base import BlockTrace, StepTime
from inception_fast.backends.cuda import CudaExecutor, Driver
from inception_fast.backends.cuda_trace import COLUMNS, new_records, record_columns, step_times
from inception_fast.bench.timeline import block_timeline
from inception_fast.cli.main import main
from inception_fast.graph import ir
from tests.backends.cases import CASES
from tests.backends.harness import CPU, lowered, network_input
from tests.cuda.driving import emulator
from tests.graph.build import Build

DRIVERS = get_args(Driver)


def made(graph: ir.Graph, driver: Driver, batch: int) -> tuple[CudaExecutor, torch.Tensor]:
    plan, constants = lowered(graph, "fp16")
    return CudaExecutor(plan, constants, CPU, "fp16", driver), network_input(graph, "fp16", batch)


def traced(name: str, driver: Driver, batch: int = 2) -> tuple[CudaExecutor, torch.Tensor, list[BlockTrace]]:
    executor, x = made(CASES[name](), driver, batch)
    return executor, x, executor.trace(x)


def by_step(blocks: list[BlockTrace]) -> dict[str, list[BlockTrace]]:
    groups: dict[str, list[BlockTrace]] = defaultdict(list)
    for block in blocks:
        groups[block.step].append(block)
    return groups


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ["factorized_pairs", "pools_in_concat", "embedding_head"])
def test_every_tile_is_there_once_in_order_of_time(name: str, driver: Driver) -> None:
    executor, _, blocks = traced(name, driver)
    steps = by_step(blocks)
    assert list(steps) == [step for launch in executor.launches() for step in launch]
    for step, tiles in steps.items():
        assert [b.tile for b in tiles] == list(range(len(tiles))), step
        assert {b.launch for b in tiles} == {i for i, names in enumerate(executor.launches()) if step in names}
    assert min(b.start for b in blocks) == 0
    for b in blocks:
        assert b.start < b.ready <= b.first_chunk <= b.loop_end <= b.done and b.ready < b.done
    assert {b.multiprocessor for b in blocks} <= set(range(4))


def test_columns_are_the_records_of_the_same_pass() -> None:
    executor, x, blocks = traced("factorized_pairs", "stage")
    names = [step for launch in executor.launches() for step in launch]
    columns = executor.trace_columns(x)
    assert columns.dtype == torch.int64
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in columns.tolist()]
    which = ("launch", "step", "tile")
    assert [(row["launch"], names[row["step"]], row["tile"]) for row in rows] == [
        tuple(getattr(block, field) for field in which) for block in blocks
    ]
    for row in rows:
        assert 0 <= row["start"] < row["ready"] <= row["first_chunk"] <= row["loop_end"] <= row["done"]
    assert record_columns(new_records(0, CPU), executor.launches()).shape == (0, len(COLUMNS))


@pytest.mark.parametrize("driver", ["stage", "pair"])
def test_there_are_as_many_as_blocks(driver: Driver) -> None:
    """All that were launched, but for those that fill up a stage's last cluster."""
    emulator().take_counts()
    _, _, blocks = traced("factorized_pairs", driver)
    launched = emulator().take_counts().blocks
    assert launched - 8 < len(blocks) <= launched


@pytest.mark.parametrize("driver", DRIVERS)
def test_convolutions_have_a_loop(driver: Driver) -> None:
    _, _, blocks = traced("pools_in_concat", driver)
    for step, tiles in by_step(blocks).items():
        loops = {b.ready < b.first_chunk < b.loop_end < b.done for b in tiles}
        none = {b.first_chunk == b.ready and b.loop_end == b.done for b in tiles}
        assert (loops, none) == (({False}, {True}) if "pool" in step else ({True}, {False})), step


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_bits_are_those_of_a_pass_without(driver: Driver) -> None:
    executor, x, _ = traced("factorized_pairs", driver)
    want = executor.run(x)
    executor.trace(x)
    for a, b in zip(executor.run(x), want, strict=True):
        assert torch.equal(a, b)


def test_launches_follow_each_other() -> None:
    _, _, blocks = traced("factorized_pairs", "stage")
    done = {b.launch: max(c.done for c in blocks if c.launch == b.launch) for b in blocks}
    assert len(done) > 2
    assert all(b.ready > done[b.launch - 1] for b in blocks if b.launch > 0)


def test_readers_are_ready_after_producers_are_done() -> None:
    """Each step reads all that the one before writes, so its blocks wait for every tile of that."""
    build = Build(8, 13, 11)
    build.conv(build.node(ir.AdaptiveAvgPool((1, 1)), build.conv("x", 40, (3, 3), relu=True)), 70)
    executor, x = made(build.graph(), "network", 1)
    steps = list(by_step(executor.trace(x)).values())
    assert len(steps) == 3 and len(steps[0]) > 2 and len(steps[2]) > 1
    for producer, reader in pairwise(steps):
        assert min(b.ready for b in reader) > max(b.done for b in producer)


@pytest.mark.parametrize(("driver", "parts"), [("stage", {"first", "second"}), ("pair", {""})])
def test_profile_names_every_step(driver: Driver, parts: set[str]) -> None:
    executor, x, _ = traced("factorized_pairs", driver)
    times = executor.profile(x)
    names = [step for launch in executor.launches() for step in launch]
    assert [f"{t.step}.{t.algorithm}" if t.algorithm else t.step for t in times] == names
    assert {t.algorithm for t in times} == parts
    assert all(t.seconds > 0 for t in times)


def test_a_steps_time_is_from_the_first_that_was_ready_to_the_last_that_was_done() -> None:
    def block(step: str, ready: int, done: int) -> BlockTrace:
        return BlockTrace(0, step, 0, 0, 0, ready, ready, done, done)

    blocks = [block("a.first", 20, 50), block("b.first", 10, 30), block("a.first", 15, 40), block("a.second", 60, 61)]
    assert step_times(blocks, ["a", "b.first"]) == [
        StepTime("a", 35 * 1e-9, "first"),
        StepTime("b.first", 20 * 1e-9),
        StepTime("a", 1e-9, "second"),
    ]


def test_timeline() -> None:
    """Events of one track lie in each other or follow each other, as viewers of the format want it."""
    _, _, blocks = traced("factorized_pairs", "network", 3)
    events = json.loads(json.dumps(block_timeline(blocks)))["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    assert names == {i: f"multiprocessor {i}" for i in {b.multiprocessor for b in blocks}}
    spans = [e for e in events if e["ph"] == "X"]
    assert len([e for e in spans if "args" in e]) == len(blocks)
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for e in spans:
        tracks[e["pid"], e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
    # Seven blocks share four multiprocessors.
    assert len(tracks) == 7
    for track in tracks.values():
        for first, a in enumerate(track):
            for b in track[first + 1 :]:
                begin, end = max(a[0], b[0]), min(a[1], b[1])
                apart, inside = end - begin < 1e-6, b[0] >= a[0] - 1e-6 and b[1] <= a[1] + 1e-6
                assert apart or inside


def test_profile_command(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace.json", tmp_path / "profile.json"
    command = ["profile", "tests.bench.nets:small", "--size", "31", "--backend", "cuda", "--precision", "fp16"]
    assert main([*command, "--random", "--rounds", "1", "--trace", str(trace), "--json", str(path)]) == 0
    steps = {s["step"] for s in json.loads(path.read_text())["steps"]}
    drawn = {e["name"] for e in json.loads(trace.read_text())["traceEvents"] if "args" in e and e["ph"] == "X"}
    assert {name.removesuffix(".first").removesuffix(".second") for name in drawn} == steps
