"""The parts of a visit: what they are, and what they make of what they find."""

from __future__ import annotations

import importlib
import json
import tarfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu import networks, packing
from benchmarks.gpu.journal import Journal
from benchmarks.gpu.networks import device_of
from benchmarks.gpu.packing import LOG_END, Packer
from benchmarks.gpu.part import FAILED, HELD, NO_TIME, Part, phases
from benchmarks.gpu.parts import build as build_part
from benchmarks.gpu.parts import device_tests, kernels, traces, tune, variants
from benchmarks.gpu.parts.ncu import parse_counters
from benchmarks.gpu.parts.sanitizer import MAKERS, NETWORKS, PRECISION
from benchmarks.gpu.parts.tune import pass_times
from benchmarks.gpu.records import bench_record
from benchmarks.gpu.setting import DRY, GPU
from benchmarks.gpu.source_digest import ROOT, source_digest
from benchmarks.gpu.summary import MOST, summary
from benchmarks.gpu.tools import find_tool
from benchmarks.gpu.toy import SIZE, two_blocks
from benchmarks.gpu.visit import BUDGET, FIRST, SECOND, parts_of
from benchmarks.gpu.worker import Visit
from benchmarks.plot import curves
from benchmarks.tables import results_table
from inception_fast._build_info import parse_build_info
from inception_fast.backends import get_backend
from inception_fast.backends.cuda import CudaExecutor, native
from inception_fast.bench import targets
from inception_fast.compilation import make_engine
from inception_fast.errors import InputError
from inception_fast.graph.capture import capture
from inception_fast.photos import PhotosUnavailableError
from inception_fast.tuning.measure import problems_of
from tests.backends import test_on_device as on_device
from tests.backends.cases import CASES

HEADER = {"command": "python -m benchmarks.gpu", "device": "cuda", "commit": "c" * 40, "digest": "d" * 64}
COMPILING = {"build", "environment", "constants_compile", "networks", "triton_compile"}


@pytest.mark.parametrize("parts", [FIRST, SECOND], ids=["first", "second"])
def test_every_part_is_a_program_with_a_name_of_its_own(parts: tuple[Part, ...]) -> None:
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        assert callable(importlib.import_module(part.program).run)


def test_nothing_compiles_beside_what_takes_time_on_the_gpu() -> None:
    beside = [phase for phase in phases(FIRST) if len(phase) > 1]
    assert [{part.name for part in phase} for phase in beside] == [COMPILING]
    assert max(part.seconds for part in FIRST) < BUDGET[1]


def test_what_decides_is_before_what_explains_and_what_may_hang_the_device_is_last() -> None:
    names = [part.name for part in FIRST]
    assert names.index("correctness") < names.index("timing") < names.index("device_tests") < names.index("traces")
    assert names[-3:] == ["ncu", "time_model", "two_streams"]


def test_the_second_command_ends_with_what_did_not_hold_and_is_in_no_command_twice() -> None:
    assert parts_of(1, ("timing",)) == FIRST
    assert [part.name for part in parts_of(2, ("build", "timing"))] == [*(part.name for part in SECOND), "timing"]


def test_the_sanitizers_tests_exist() -> None:
    makers = [maker for together in MAKERS for maker in together]
    assert set(NETWORKS) <= set(CASES) and sorted(makers) == sorted(on_device.MAKERS)
    (precisions,) = (mark.args[1] for mark in on_device.test_launch.pytestmark if mark.args[0] == "precision")
    assert PRECISION in precisions


def test_ours_are_made_for_the_device_as_tensors_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert device_of(GPU) == torch.device("cuda", 0)
    assert device_of(DRY) == torch.device("cpu")


def test_variants_differ_and_are_options_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({(varied.name, varied.driver, varied.large) for varied in variants.CONTESTS}) == len(variants.CONTESTS)
    x = torch.zeros(1, 3, SIZE, SIZE)
    engine = make_engine(capture(two_blocks(), x), x, "fp16", get_backend("cuda").lowering)
    for varied in variants.CONTESTS:
        assert len(set(varied.options)) == len(varied.options)
        for options in varied.options:
            CudaExecutor(engine.plan, engine.constants, torch.device("cpu"), "fp16", varied.driver, options)
    with pytest.raises(InputError, match="shape"):
        CudaExecutor(engine.plan, engine.constants, torch.device("cpu"), "fp16", "stage", "shape=1x1")


def test_the_files_of_gpu_tests_come_in_order_and_no_others(tmp_path: Path) -> None:
    marked, plain = "pytestmark = pytest.mark.gpu", "pytest.mark.gpus"
    files = {
        "triton/test_conv.py": "@requires_triton",
        "bench/test_timing.py": marked,
        "cuda/test_on_device.py": marked,
    }
    files |= {"triton/test_on_device.py": marked, "cuda/test_trace.py": plain, "cuda/exact.py": marked}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    wanted = ("cuda/test_on_device.py", "triton/test_on_device.py", "bench/test_timing.py", "triton/test_conv.py")
    assert device_tests.gpu_tests(tmp_path) == [tmp_path / name for name in wanted]
    known = [path.relative_to(ROOT / "tests").as_posix() for path in device_tests.gpu_tests(ROOT / "tests")]
    assert (
        known[0] == "cuda/test_on_device.py" and "api/test_out.py" in known and "models/test_packages.py" not in known
    )


def test_device_tests_say_what_cannot_be_collected_and_count_as_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_tests, "BETWEEN", 0.0)
    journal = Journal([tmp_path / "lines"])
    visit = Visit("device_tests", tmp_path, GPU, journal, 0.0)
    reporter = device_tests.Reporter(visit)
    longrepr = "x" * 999 + "No module named 'y'"
    broken = pytest.CollectReport("a.py", "failed", longrepr, [])
    for _ in range(12):
        reporter.pytest_collectreport(broken)
    failed = {"nodeid": "b.py::c", "longrepr": "no", "failed": True, "outcome": "failed"}
    reporter.pytest_runtest_logreport(SimpleNamespace(when="call", **failed))
    reporter.pytest_runtest_logreport(SimpleNamespace(when="setup", failed=False, outcome="passed", nodeid="d"))
    reasons = {line["test"]: line["reason"] for line in journal.lines() if line["kind"] == "test"}
    assert reasons["a.py"].endswith("No module named 'y'") and reasons["b.py::c"] == "no"
    (counts,) = [line["counts"] for line in journal.lines() if line["kind"] == "counts"]
    assert counts == {"not collected": 1, "failed": 1}


def test_the_heaviest_problems_are_tuned(tmp_path: Path) -> None:
    x = torch.zeros(1, 3, SIZE, SIZE)
    engine = make_engine(capture(two_blocks(), x), x, "fp16", get_backend("triton").lowering)
    found = tune.heaviest(engine, "fp16", (1, 8))
    work = [sum(problem.flops for problem in problems) for problems, _ in found]
    assert len(found) == tune.HEAVIEST and work[:5] == sorted(work[:5], reverse=True)
    assert [problems[0].images for problems, _ in found] == 5 * [1] + 5 * [8]
    every = problems_of(engine.plan, "fp16", (8,))
    assert work[5] == max(sum(problem.flops for problem in problems) for problems in every)


TRACE = np.array(
    [
        # launch, step, tile, multiprocessor, start, ready, first_chunk, loop_end, done
        [0, 0, 0, 3, 0, 0, 10, 40, 50],
        [0, 1, 0, 4, 5, 5, 35, 85, 95],
        [1, 2, 0, 3, 100, 160, 170, 190, 200],
    ]
)


def test_a_launch_of_a_trace_in_numbers() -> None:
    first, second = traces.launches(TRACE)
    assert (first["launch"], first["blocks"], first["begin"], first["end"]) == (0, 2, 0, 95)
    assert (first["wait"], first["fill"], first["loop"], first["epilogue"], first["longest"]) == (0, 20, 40, 10, 90)
    assert (second["begin"], second["end"], second["wait"]) == (100, 200, 60)
    assert traces.launches(TRACE[:0]) == [] and traces.clock_step(TRACE[:0]) is None
    assert traces.clock_step(TRACE) == 5


def test_a_step_of_a_trace_in_numbers() -> None:
    rows = np.concatenate([TRACE[:1], TRACE[:1] + np.array([0, 0, 1, 1, 0, 0, 0, 20, 20]), TRACE[2:]])
    conv, pool = traces.steps(rows, ["conv", "idle", "pool"], {"conv": 8.0, "pool": 0.0})
    assert (conv["step"], conv["launch"], conv["blocks"], conv["multiprocessors"]) == ("conv", 0, 2, 2)
    assert conv["loop"] == [32.0, 40.0, 48.0] and (conv["chunks"], conv["chunk"]) == (8.0, 5.0)
    assert (pool["step"], pool["launch"], pool["wait"]) == ("pool", 1, [60.0, 60.0, 60.0]) and "chunk" not in pool


def test_a_file_of_records_is_small_whatever_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST", 4)
    rows = np.arange(10 * len(traces.COLUMNS)).reshape(10, -1)
    traces.save(tmp_path / "trace.npz", tmp_path, rows, ["conv"])
    found = np.load(tmp_path / "trace.npz")
    assert found["stride"] == 3 and np.array_equal(found["rows"], rows[[0, 3, 6, 9]])
    assert tuple(found["columns"]) == traces.COLUMNS and list(found["steps"]) == ["conv"]
    assert [path.name for path in tmp_path.iterdir()] == ["trace.npz"]


def test_kernels_are_told_apart_by_their_names() -> None:
    names = [f"_ZN5ifast4cuda{len(kind) + 7}{kind}_kernelINS0_8Fp16EEEvT_" for kind in kernels.KINDS]
    assert [kernels.kind_of(name) for name in names] == list(kernels.KINDS)
    assert kernels.kind_of("_ZN5ifast4cuda5probeEv") == ""
    found = [{"name": name, "blocks_per_multiprocessor": 3} for name in names]
    assert kernels.resident_grids(found, 132) == {names[-1]: 396}


def test_what_occupancy_is_asked_with_comes_from_the_module() -> None:
    module = native(emulate=True)
    assert module.shared_bytes().keys() == set(kernels.KINDS) - {"pair"}
    assert all(0 < size <= module.device_limits(0)["shared_bytes"] for size in module.shared_bytes().values())
    assert module.device_limits(0)["overlap"] and module.device_limits(0)["largest_cluster"] == 8


def test_where_there_are_no_photographs_everything_is_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise PhotosUnavailableError("none")

    networks.photographs.cache_clear()
    for module in (networks, targets):
        monkeypatch.setattr(module, "load_photos", absent)
    setting = replace(DRY, model="inception_resnet_v1", size=None)
    target = networks.target_of(setting)
    images = targets.load_images(target.size, 2, random=True)
    with torch.inference_mode():
        first, second = target.model(images)
    assert (first - second).abs().max() > 0.01 and first.abs().max() < 100
    networks.photographs.cache_clear()


def test_a_profilers_counters_have_their_units() -> None:
    text = '==PROF== Connected\n"ID","Name","dram__bytes.sum"\n"","","Mbyte"\n"0","stage_kernel","1,234.5"\n'
    assert parse_counters(text) == {"ID": "0", "Name": "stage_kernel", "dram__bytes.sum": "1,234.5 Mbyte"}
    assert parse_counters("==ERROR== nothing was profiled") == {}


def test_passes_for_the_tuned_table_are_right_replays_of_the_precision() -> None:
    """Of the rows that a contest records, in the form in which the journal has them."""

    def case(batch: int, precision: str, **seconds: float) -> dict[str, Any]:
        times = {f"inception_fast {name.replace('_', ' ')}": value for name, value in seconds.items()}
        rows = [
            {
                "name": name,
                "correct": name != "inception_fast cuda pair",
                "seconds": {"median": 2 * value},
                "replays": {"seconds": {"median": value}, "ratio": None},
            }
            for name, value in times.items()
        ]
        return {"contest": {"batch": batch, "precision": precision, "rows": rows}}

    figures = {
        "a": case(1, "fp16", cuda_stage=1.0, cuda_network=0.5, cuda_pair=0.1, triton=3.0),
        "b": case(8, "fp16", triton=4.0),
        "c": case(8, "fp32", triton=5.0),
        "failed": {"reason": "out of memory"},
    }
    assert pass_times(figures, "fp16") == {1: {"cuda": 1.0, "triton": 3.0}, 8: {"triton": 4.0}}


@pytest.mark.parametrize(
    ("said", "named"), [("9.0\n", "90a-real"), ("8.6", "86-real"), ("10.0", "100a-real"), (None, "90a-real")]
)
def test_what_is_built_for(monkeypatch: pytest.MonkeyPatch, said: str | None, named: str) -> None:
    monkeypatch.setattr(build_part, "output", lambda _: said)
    assert build_part.architecture() == named


FAKE_CMAKE = """#!/bin/sh
case $1 in
-S) mkdir -p $4; echo "$@" > $4/words
    echo '{"cuda": {"built": true, "reason": "", "advice": ""}}' > $4/build_record.json;;
--build) touch $2/_native_cuda.cpython-x.so; exit 1;;
esac
"""


def test_what_compiles_is_kept_where_the_rest_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cmake, package = tmp_path / "cmake", tmp_path / "inception_fast"
    cmake.write_text(FAKE_CMAKE)
    cmake.chmod(0o755)
    package.mkdir()
    (package / "_native.cpython-x.so").touch()
    (tmp_path / "setup.py").write_text("raise SystemExit(2)")
    (tmp_path / "pyproject.toml").write_text('version = "1.2"\n')
    script = SimpleNamespace(find_tool=lambda _: str(cmake), native_obstacle=lambda: ("", ""))
    monkeypatch.setattr(build_part, "setup_script", lambda: script)
    monkeypatch.setattr(build_part, "ROOT", tmp_path)
    found = build_part.build("90a-real")
    assert "setup.py ended with exit status 2" in found["wrong"] and "with _native_cuda built" in found["wrong"]
    assert [path.name for path in package.glob("*.so")] == ["_native_cuda.cpython-x.so"]
    info = parse_build_info(json.loads((package / "_build_info.json").read_text() or "{}"))
    assert (info.version, info.native.built, info.cuda.built) == ("1.2", False, True)
    assert "-DIFAST_CUDA_ARCHITECTURES=90a-real" in (tmp_path / "build" / "cmake-alone" / "words").read_text()


def test_what_was_built_is_taken_where_it_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def fails(architecture: str) -> dict[str, str]:
        built.append(architecture)
        return {"wrong": "setup.py ended with exit status 1"}

    monkeypatch.setattr(build_part, "build", fails)
    monkeypatch.setattr(build_part, "architecture", lambda: "90a-real")
    wrong = {"_native_cuda": "it does not load"}
    monkeypatch.setattr(build_part, "load", lambda name: {"wrong": wrong.get(name, "")})

    def outcomes(lines: str) -> dict[str, str]:
        visit = Visit("build", tmp_path, DRY, Journal([tmp_path / lines]), time.monotonic() + 60)
        build_part.run(visit)
        return {name: line["outcome"] for name, line in visit.figures().items()}

    assert outcomes("first") == {"build": FAILED, "_native": HELD, "_native_cuda": FAILED}
    wrong.clear()
    assert outcomes("second") == {"build": FAILED, "_native": HELD, "_native_cuda": HELD}
    assert outcomes("third")["build"] == HELD and len(built) == 2
    wrong["_native"] = "it is gone"
    assert outcomes("fourth")["build"] == FAILED and len(built) == 3


def test_modules_of_the_tree_itself_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_part, "ROOT", tmp_path)
    package, other = tmp_path / "inception_fast", tmp_path / "other"
    for folder, content in ((package, "old"), (other, "new")):
        folder.mkdir()
        (folder / "_native.so").write_text(content)
        (folder / "_build_info.json").write_text(content)
    assert build_part.take(package) == {"taken": ["_native.so"]}
    assert (package / "_native.so").read_text() == "old"
    assert build_part.take(other) == {"taken": ["_native.so"]}
    assert (package / "_native.so").read_text() == (package / "_build_info.json").read_text() == "new"


def test_a_tool_is_found_in_the_toolkits_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "no-such-tool-elsewhere"
    assert find_tool(program.name) is None
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert find_tool(program.name) == str(program)


def test_the_digest_is_of_the_sources_alone(tmp_path: Path) -> None:
    source = tmp_path / "csrc" / "a.cpp"
    for path in (source, tmp_path / "setup.py", tmp_path / "inception_fast" / "b.py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("1\n")
    before = source_digest(tmp_path)
    for built in ("inception_fast/_native.so", "inception_fast/_build_info.json", "inception_fast/__pycache__/b.pyc"):
        (tmp_path / built).parent.mkdir(exist_ok=True)
        (tmp_path / built).write_text("2\n")
    record = tmp_path / "benchmarks" / "results" / "gpu" / "bench.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert source_digest(tmp_path) == before
    source.write_text("2\n")
    changed = source_digest(tmp_path)
    source.rename(source.with_name("c.cpp"))
    assert len({before, changed, source_digest(tmp_path)}) == 3


def _pack(work: Path, output: Path, lines: list[dict[str, Any]], since: float = 0.0) -> Mapping[str, Any]:
    for folder in (work / "logs", work / "artifacts", output):
        folder.mkdir(parents=True, exist_ok=True)
    Packer(work, output, "1", since).pack(lines, HEADER)
    return json.loads((output / "journal-1.json").read_text())


def test_what_is_brought_back_keeps_to_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.packing.LARGEST", 100_000)
    work, output = tmp_path / "work", tmp_path / "out"
    (work / "artifacts").mkdir(parents=True)
    (work / "logs").mkdir()
    noise = Random(0).randbytes(200_000)
    (work / "artifacts" / "large.bin").write_bytes(noise)
    (work / "artifacts" / "small.bin").write_bytes(noise[:1000])
    (work / "artifacts" / "microbenchmarks.json").write_text('{"constants": 1}')
    (work / "logs" / "talk.log").write_bytes(b"begin" + b"." * 3 * LOG_END + b"end")
    assert _pack(work, output, [])["left_out"] == ["artifacts/large.bin: 200000 bytes"]
    with tarfile.open(output / "files-1.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["artifacts/microbenchmarks.json", "artifacts/small.bin", "logs/talk.log"]
        log = tar.extractfile("logs/talk.log")
        assert log is not None
        text = log.read()
    assert text.startswith(b"begin") and text.endswith(b"end") and b"bytes left out" in text
    assert len(text) < 2 * LOG_END + 100
    assert (output / "microbenchmarks-1.json").read_text() == '{"constants": 1}'
    assert max(path.stat().st_size for path in output.iterdir()) <= 100_000


def test_what_has_not_changed_is_not_compressed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, output, made = tmp_path / "work", tmp_path / "out", []
    for folder in (work / "logs", work / "artifacts", output):
        folder.mkdir(parents=True)
    text = b"x" * 100_000
    (work / "artifacts" / "profile.ncu-rep").write_bytes(text)
    (work / "logs" / "part.log").write_bytes(b"one")
    make = packing.member
    monkeypatch.setattr(packing, "member", lambda name, content: made.append(name) or make(name, content))
    packer = Packer(work, output, "1", 0.0)
    packer.pack([], HEADER)
    (work / "logs" / "part.log").write_bytes(b"one and two")
    packer.pack([], HEADER)
    assert made == ["logs/part.log", "artifacts/profile.ncu-rep", "logs/part.log"]
    archive = output / "files-1.tar.gz"
    assert archive.stat().st_size > len(text), "what a profiler compressed is stored"
    with tarfile.open(archive) as tar:
        contents = {name: tar.extractfile(name) for name in tar.getnames()}
        assert {name: file and file.read() for name, file in contents.items()} == {
            "logs/part.log": b"one and two",
            "artifacts/profile.ncu-rep": text,
        }


def test_files_of_an_earlier_command_stay_behind(tmp_path: Path) -> None:
    work, output = tmp_path / "work", tmp_path / "out"
    (work / "artifacts").mkdir(parents=True)
    (work / "artifacts" / "tuning.json").write_text("{}")
    _pack(work, output, _visit(), since=4e9)
    assert not (output / "tuning-1.json").exists() and not list(output.glob("bench*"))


def _row(name: str, median: float) -> dict[str, Any]:
    spread = {"median": median, "p10": median, "p90": median, "count": 3}
    return {"name": name, "seconds": spread, "ratio": {**spread, "median": 1.0}, "correct": True, "ours": True}


def _visit() -> list[dict[str, Any]]:
    """Lines of a visit that timed two batch sizes."""
    machine = {"versions": {"torch": "2.11.0", "triton": "3.6.0", "jax": None}, "commit": None, "cpu": {"model": "x"}}
    gpu = {"name": "NVIDIA H100", "driver_version": "580"}
    stamp = {"commit": HEADER["commit"], "digest": HEADER["digest"], "at": 0.0}
    title = {"model": "inception_v3", "size": 299, "precision": "fp16", "failures": []}
    rows = [_row("inception_fast cuda stage", 3e-4), _row("eager channels_last", 9e-4)]
    rows[0]["replays"] = {"seconds": _row("", 2e-4)["seconds"], "ratio": {"median": 1.0}}
    lines = [
        {"part": "environment", "case": "torch", "environment": {**machine, "gpu": gpu}, "threads": 16},
        {"part": "networks", "case": "truth", "images": "photographs"},
        {"part": "timing", "case": "fp16-batch8", "contest": {**title, "batch": 8, "rows": rows}},
        {"part": "timing", "case": "fp16-batch1", "contest": {**title, "batch": 1, "rows": rows}},
    ]
    return [{"kind": "case", "outcome": HELD, "reason": "", **line, **stamp} for line in lines]


def test_the_records_are_those_that_tables_and_plots_read(tmp_path: Path) -> None:
    output = tmp_path / "results" / "nvidia-h100"
    _pack(tmp_path / "work", output, _visit())
    (file,) = output.glob("bench*.json")
    assert file.name == "bench-1-drivers.json"
    text = results_table([file])
    assert "NVIDIA H100, driver 580; torch 2.11.0, triton 3.6.0; commit cccccccccccc" in text
    assert "| inception_v3 | 1 | fp16 | 0.3 (1.00) | 0.2 (1.00) | 0.9 (1.00) |" in text
    panels = curves([json.loads(file.read_text())])
    assert [[point[0] for point in curve.points] for curve in panels["inception_v3", "fp16"]] == 3 * [[1, 8]]


def test_contests_of_one_batch_size_are_one_of_the_record() -> None:
    ours, theirs = [line for line in _visit() if line["part"] == "timing" and line["contest"]["batch"] == 8], []
    row = _row("inception_fast cuda stage", 5e-4)
    contest = {**ours[0]["contest"], "rows": [row, _row("eager contiguous", 8e-4)], "failures": ["f"]}
    theirs.append({**ours[0], "case": "fp16-batch8-eager", "contest": contest})
    record = bench_record([*_visit(), *theirs], "timing", HEADER)
    assert record is not None and not record["ok"]
    one, eight = record["contests"]
    assert (one["batch"], eight["batch"]) == (1, 8)
    medians = {row["name"]: row["seconds"]["median"] for row in eight["rows"]}
    assert medians == {"inception_fast cuda stage": 3e-4, "eager channels_last": 9e-4, "eager contiguous": 8e-4}


def test_variants_are_shown_where_the_backends_own_choice_has_no_replays() -> None:
    rows = [_row(name, 1e-4) for name in ("a", "b")]
    for row, ratio in zip(rows, (None, 0.9), strict=True):
        row["replays"] = {"seconds": row["seconds"], "ratio": ratio and {"median": ratio}}
    contest = {"batch": 1, "precision": "fp16", "rows": rows}
    line = {"kind": "case", "part": "variants", "case": "x", "outcome": HELD, "reason": "", "contest": contest}
    text = summary([line])
    assert text.index("b, replay") < text.index("a, replay")


def test_the_summary_ends_with_every_part_however_much_there_is_to_say() -> None:
    failing = {"kind": "case", "part": "tests", "outcome": FAILED, "reason": "r" * 500}
    lines = [*_visit(), *({**failing, "case": f"case {i}"} for i in range(500))]
    names = [part.name for part in FIRST]
    lines += [{"kind": "part", "part": n, "outcome": NO_TIME, "seconds": 0.0, "reason": "x" * 500} for n in names]
    text = summary(lines)
    assert len(text) <= MOST + 100
    assert all(f"\n{name} " in text for name in names)
