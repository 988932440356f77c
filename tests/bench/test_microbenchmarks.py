"""The microbenchmarks without a GPU: their machine code, what becomes of their results, and of their failures."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import microbenchmarks
from benchmarks.gpu.machine import constants_of
from benchmarks.gpu.microbenchmarks import FAILED, HELD, SKIPPED, Results, UnavailableError, main, run_program
from benchmarks.gpu.tools import find_tool
from inception_fast.tuning.machine_constants import read_machine
from tests.cuda.sass import Instruction, functions, innermost_loops

NAMES = ["clock", "timer", "hmma", "load", "ldsm", "latency", "bandwidth", "hop", "launch", "cluster"]
NAMES += ["wgmma", "wgmma_check", "copy", "copy_check"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_tool("nvcc") is None:
        pytest.skip("needs nvcc")
    binary = tmp_path_factory.mktemp("micro") / "microbenchmarks"
    assert main(["--compile-only", "--binary", str(binary)]) == HELD
    return binary


@pytest.fixture(scope="module")
def code(program: Path) -> dict[str, list[Instruction]]:
    """The instructions of every function."""
    cuobjdump = find_tool("cuobjdump") or _tritons("cuobjdump")
    if cuobjdump is None:
        pytest.skip("needs cuobjdump")
    listing = subprocess.run([cuobjdump, "-sass", program], check=True, capture_output=True, text=True).stdout
    return functions(listing)


@pytest.fixture(scope="module")
def loops(code: dict[str, list[Instruction]]) -> dict[str, list[Counter[str]]]:
    """The instructions of every innermost loop, by function."""
    return {name: [Counter(i.name for i in loop) for loop in innermost_loops(found)] for name, found in code.items()}


def _tritons(name: str) -> str | None:
    """The copy that comes with Triton."""
    triton = importlib.util.find_spec("triton")
    folder = "" if triton is None or triton.origin is None else str(Path(triton.origin).parent)
    return shutil.which(name, path=f"{folder}/backends/nvidia/bin")


def _of(loops: dict[str, list[Counter[str]]], function: str, instruction: str) -> Counter[str]:
    """The one loop of a function that has an instruction."""
    (code,) = [code for name, code in loops.items() if function in name]
    (found,) = [loop for loop in code if any(name.startswith(instruction) for name in loop)]
    return found


def _count(loop: Counter[str], prefix: str) -> int:
    return sum(count for name, count in loop.items() if re.match(rf"{re.escape(prefix)}(?![A-Z0-9])", name))


def test_lists_its_benchmarks(program: Path) -> None:
    assert microbenchmarks.names_of(program) == NAMES


def test_is_for_one_architecture_and_without_libcuda(program: Path) -> None:
    assert "arch=compute_90a,code=sm_90a" in microbenchmarks.ARCHITECTURE
    if shutil.which("readelf"):
        needed = subprocess.run(["readelf", "-d", program], check=True, capture_output=True, text=True).stdout
        assert "libcuda.so" not in needed and "libcudart" not in needed


def test_refuses_unknown_names(program: Path) -> None:
    done = subprocess.run([program, "hmma", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and "no benchmark is called nothing" in done.stderr


def _operands(code: dict[str, list[Instruction]], function: str, product: str, first: int, last: int) -> set[str]:
    """What the products of the one loop of a function that has them read, by places of the operands."""
    (found,) = [instructions for name, instructions in code.items() if function in name]
    (loop,) = [loop for loop in innermost_loops(found) if any(i.name.startswith(product) for i in loop)]
    products = [i.operands.replace(".reuse", "").split(", ") for i in loop if i.name.startswith(product)]
    return {" ".join(words[first:last]) for words in products}


def test_timer_loop(loops: dict[str, list[Counter[str]]], code: dict[str, list[Instruction]]) -> None:
    """One read of the whole counter and its store, so that many reads fall into a step."""
    loop = _of(loops, "read_timer", "CS2R")
    assert loop["CS2R"] == loop["STG.E.64"] == 1 and sum(loop.values()) <= 10
    (reads,) = [found for name, found in code.items() if "read_timer" in name]
    assert "SR_GLOBALTIMERLO" in next(i.operands for i in reads if i.address >= innermost_loops(reads)[0][0].address)


@pytest.mark.parametrize("chains", [1, 2, 4, 8])
def test_hmma_loop(loops: dict[str, list[Counter[str]]], code: dict[str, list[Instruction]], chains: int) -> None:
    function = f"hmma_rateILi{chains}E"
    loop = _of(loops, function, "HMMA")
    assert _count(loop, "HMMA.16816.F32") == 32
    assert sum(loop.values()) - loop["NOP"] <= 32 + 10
    assert len(_operands(code, function, "HMMA", 1, 3)) == 4, "operands that change, or little of the unit works"


@pytest.mark.parametrize("n", range(32, 257, 32))
@pytest.mark.parametrize("registers", [0, 1])
def test_wgmma_loop(
    loops: dict[str, list[Counter[str]]], code: dict[str, list[Instruction]], n: int, registers: int
) -> None:
    function = f"wgmma_rateILi{n}ELb{registers}E"
    loop = _of(loops, function, "HGMMA")
    assert _count(loop, f"HGMMA.64x{n}x16.F32") == 16
    # One for each batch of eight: where ptxas serialises, there is one for each instruction.
    assert _count(loop, "WARPGROUP.DEPBAR.LE") == 2 and _count(loop, "WARPGROUP.ARRIVE") == 2
    assert sum(loop.values()) - loop["NOP"] <= 16 + 10
    assert len(_operands(code, function, "HGMMA", 1, 2 + registers)) == 4, "a step of K each"


@pytest.mark.parametrize("copies", [0, 2, 4, 8])
def test_ldsm_loop(loops: dict[str, list[Counter[str]]], copies: int) -> None:
    loop = _of(loops, f"ldsm_rateILi{copies}E", "LDSM")
    assert _count(loop, "LDSM.16.M88.4") == 8 and _count(loop, "LDGSTS.E.BYPASS.128") == copies


@pytest.mark.parametrize(("cache", "load"), [(0, "LDG.E.64"), (1, "LDG.E.64.STRONG.GPU")])
def test_chains_of_pointers(loops: dict[str, list[Counter[str]]], cache: int, load: str) -> None:
    (code,) = [code for name, code in loops.items() if f"chaseILNS0_5CacheE{cache}E" in name]
    assert code[-1][load] == 16 and sum(code[-1].values()) == 19


def test_bandwidth_loop(loops: dict[str, list[Counter[str]]]) -> None:
    assert _of(loops, "read_chunks", "LDG")["LDG.E.128.STRONG.GPU"] == 4


@pytest.mark.parametrize("pause", [0, 32])
@pytest.mark.parametrize("poll", [0, 1])
def test_polls(loops: dict[str, list[Counter[str]]], poll: int, pause: int) -> None:
    loop = _of(loops, f"ping_pongILNS0_4PollE{poll}ELi{pause}ELb0E", "LDG")
    assert loop["LDG.E.STRONG.GPU"] == 1 and loop["NANOSLEEP"] == (pause > 0)
    # What a relaxed poll is for: an acquire empties L1 each time.
    assert loop["CCTL.IVALL"] == poll


@pytest.mark.parametrize("stores", [0, 1])
def test_a_tile_hop_is_the_network_kernels(
    loops: dict[str, list[Counter[str]]], code: dict[str, list[Instruction]], stores: int
) -> None:
    """Relaxed looks with a pause; then a fence of every warp, a barrier, the tile, a barrier, and a release by one."""
    function = f"tile_hopsILb{stores}E"
    look = _of(loops, function, "LDG")
    assert look["LDG.E.STRONG.GPU"] == look["NANOSLEEP"] == 1
    assert not any(_count(look, name) for name in ("CCTL", "MEMBAR", "BAR"))
    (found,) = [instructions for name, instructions in code.items() if function in name]
    words = ("NANOSLEEP", "MEMBAR", "CCTL", "BAR", "LDG.E.128", "STG.E.128", "ATOMG")
    order = [next((w for w in words if i.name.startswith(w)), "") for i in found]
    tail = [word for word in order[order.index("NANOSLEEP") :] if word]
    tile = ["LDG.E.128", "STG.E.128"] if stores else []
    assert tail == ["NANOSLEEP", "MEMBAR", "CCTL", "BAR", *tile, "BAR", "MEMBAR", "ATOMG"]
    assert not found[order.index("MEMBAR", order.index("NANOSLEEP"))].predicate, "of every warp"


def test_cluster_loops(loops: dict[str, list[Counter[str]]]) -> None:
    for ordered in (0, 1):
        barrier = _of(loops, f"cluster_barriersILb{ordered}E", "UCGABAR_ARV")
        assert barrier["UCGABAR_WAIT"] == 1 and _count(barrier, "MEMBAR") == ordered
    assert _of(loops, "remote_chain", "LD.E")["LD.E"] == 16
    assert _of(loops, "remote_stream", "LD.E")["LD.E.128"] == 8


@pytest.mark.parametrize(
    ("function", "copy"),
    [
        ("copy_boxesILNS0_4CopyE0E", "UTMALDG.2D"),
        ("copy_boxesILNS0_4CopyE1E", "UTMALDG.4D.IM2COL"),
        ("copy_boxesILNS0_4CopyE2E", "UBLKCP"),
        ("fetch_boxILNS0_4CopyE0E", "UTMALDG.2D"),
        ("fetch_boxILNS0_4CopyE1E", "UTMALDG.4D.IM2COL"),
    ],
)
def test_copies(loops: dict[str, list[Counter[str]]], function: str, copy: str) -> None:
    found = [code for name, code in loops.items() if function in name]
    assert found and all(any(_count(loop, copy) == 1 for loop in code) for code in found)


def _row(benchmark: str, unit: str, median: float, **case: Any) -> dict[str, Any]:
    spread = {"median": median, "low": 0.9 * median, "high": 1.1 * median, "repeats": 7}
    return {"benchmark": benchmark, "case": case, "unit": unit, **spread}


ROWS = [
    _row("clock", "GHz", 1.5, load="wgmma"),
    _row("clock", "GHz", 2.0, load="one thread"),
    _row("globaltimer", "ns/step", 32.0, reads=100000),
    _row("matrix_rate", "TFLOP/s", 600.0, load="hmma"),
    _row("hmma", "cycles/instruction/scheduler", 32.0, warps_per_scheduler=1, chains=1),
    _row("hmma", "cycles/instruction/scheduler", 8.0, warps_per_scheduler=2, chains=8),
    _row("ldsm", "bytes read/cycle", 100.0, warps=16, bytes_copied_per_byte_read=0.5),
    _row("ldsm", "bytes read/cycle", 120.0, warps=16, bytes_copied_per_byte_read=0),
    _row("wgmma", "cycles/instruction", 128.0, n=256, a="shared", warpgroups=2),
    _row("wgmma", "cycles/instruction", 100.0, n=256, a="registers", warpgroups=2),
    _row("latency", "cycles", 40.0, level="l1", bytes=16384),
    _row("latency", "cycles", 260.0, level="l2", bytes=4 << 20),
    _row("latency", "ns", 130.0, level="l2", bytes=4 << 20),
    _row("bandwidth", "GB/s", 5000.0, level="l2", bytes=16 << 20),
    _row("bandwidth", "GB/s", 4000.0, level="l2", bytes=40 << 20),
    _row("bandwidth", "GB/s", 3000.0, level="hbm", bytes=1 << 30),
    _row("launch", "us/kernel", 1.53, trigger="none", blocks=60, cluster=1, spin_cycles=0),
    _row("launch", "us/kernel", 1.23, trigger="early", blocks=60, cluster=4, spin_cycles=0),
    _row("launch", "us/kernel", 0.93, trigger="early", blocks=60, cluster=1, spin_cycles=0),
    _row("hop", "ns", 600.0, poll="relaxed", pause_ns=0, block_barriers=0),
    _row("tile_hop", "ns", 700.0, bytes_stored=0),
    _row("tile_hop", "ns", 1030.0, bytes_stored=2048),
    _row("cluster_barrier", "cycles", 400.0, blocks=8, arrive="release"),
]
DEVICE = {"name": "a device", "multiprocessors": 132, "l2_bytes": 50_000_000}


def test_constants() -> None:
    found = {name: value for name, (value, _) in constants_of(Results(device=DEVICE, rows=ROWS)).items()}
    assert found == pytest.approx(
        {
            "multiprocessors": 132,
            "clock": 2.0,
            "shared_bandwidth": 120,
            "mma_rate": 4 * 4096 / 8,
            "wgmma_rate": 4096,
            "l1_latency": 40,
            "l2_latency": 260,
            "l2_bandwidth": 5.0,
            "l2_bytes": 50,
            "hbm_bandwidth": 3.0,
            "dependent_edge": 0.8,
            "graph_edge": 1.4,
            "counter_hop": 0.9,
            "cluster_barrier": 0.2,
        }
    ), "hbm_latency has no row"


def test_constants_of_nothing() -> None:
    assert constants_of(Results()) == {}


def test_the_time_model_takes_the_constants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were measured are confirmed, the others as they were and not."""
    monkeypatch.setattr(microbenchmarks, "compile_program", lambda binary: None)
    lines = [{"device": DEVICE}, {"begin": "a"}, *ROWS, {"end": "a", "seconds": 1.0}]
    (tmp_path / "lines").write_text("\n".join(map(json.dumps, lines)))
    program = _script(tmp_path, f"print(open({str(tmp_path / 'lines')!r}).read())")
    file = tmp_path / "machine.json"
    assert main(["--binary", str(program), "--only", "a", "--machine", str(file)]) == HELD
    found, before = read_machine(file), read_machine()
    measured = constants_of(Results(device=DEVICE, rows=ROWS))
    assert found.gpu == "a device" and found.constants.keys() == before.constants.keys() > measured.keys()
    for name, constant in found.constants.items():
        assert constant.unit == before.constants[name].unit and constant.confirmed == (name in measured)
        assert constant.value == (measured[name][0] if name in measured else before.constants[name].value)


def _script(folder: Path, body: str) -> Path:
    """A program in the place of ours: ``names`` are its arguments, ``say(**fields)`` prints a line."""
    path = folder / "program"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, time\n"
        "names = sys.argv[1:]\n"
        "def say(**fields): print(json.dumps(fields), flush=True)\n"
        f"if names == ['--list']: print(' '.join('abc')); sys.exit()\n{body}"
    )
    path.chmod(0o755)
    return path


ORDINARY = """
say(device={"name": "a device", "multiprocessors": 4, "l2_bytes": 1000})
for name in names:
    say(begin=name)
    if name == "b":
        MISHAP
    say(benchmark=name, case={"n": 1}, unit=UNIT, median=1, low=1, high=1, repeats=7)
    say(end=name, seconds=0.1)
"""


def _ordinary(folder: Path, mishap: str, unit: str = "cycles") -> Path:
    return _script(folder, ORDINARY.replace("MISHAP", mishap).replace("UNIT", repr(unit)))


@pytest.mark.parametrize(
    ("mishap", "reason"),
    [
        ("say(benchmark=name, error='no such thing'); continue", "no such thing"),
        ("say(benchmark=name, error='lost the device'); sys.exit(3)", "lost the device"),
        ("os.abort()", "exit status -6"),
        ("print('{\"benchm', end='', flush=True); os._exit(9)", '{"benchm'),
        ("sys.exit('a message')", "a message"),
        ("time.sleep(60)", "stopped after 2 s without a result"),
    ],
)
def test_one_failure_does_not_stop_the_rest(tmp_path: Path, mishap: str, reason: str) -> None:
    results = run_program(_ordinary(tmp_path, mishap), ["a", "b", "c"], longest=2.0)
    assert [row["benchmark"] for row in results.rows] == ["a", "c"]
    assert results.errors == [{"benchmark": "b", "error": reason}]
    assert set(results.seconds) == {"a", "c"} and results.device["multiprocessors"] == 4


def test_a_program_that_cannot_begin_ends(tmp_path: Path) -> None:
    results = run_program(_script(tmp_path, "sys.exit('nothing works')"), ["a", "b"])
    assert results.errors == [{"benchmark": name, "error": "nothing works"} for name in "ab"]


def test_no_device(tmp_path: Path) -> None:
    program = _script(tmp_path, "print('no device here', file=sys.stderr); sys.exit(4)")
    with pytest.raises(UnavailableError, match="no device here"):
        run_program(program, ["a"])


def _main(program: Path, output: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(microbenchmarks, "compile_program", lambda binary: None)
    status = main(["--binary", str(program), "--output", str(output), *words])
    return status, json.loads(output.read_text())


def test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = _main(_ordinary(tmp_path, "pass"), tmp_path / "out.json", monkeypatch)
    assert status == HELD == found["status"] and len(found["rows"]) == 3 and found["errors"] == []
    assert found["constants"]["multiprocessors"] == {"value": 4, "source": "the device's properties"}
    assert "n=1" in capsys.readouterr().out


def test_file_of_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, found = _main(_ordinary(tmp_path, "os.abort()"), tmp_path / "out.json", monkeypatch)
    assert status == FAILED == found["status"] and [e["benchmark"] for e in found["errors"]] == ["b"]


def test_a_check_that_does_not_hold_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _ordinary(tmp_path, "pass", unit="wrong elements")
    assert _main(program, tmp_path / "out.json", monkeypatch)[0] == FAILED


def test_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _ordinary(tmp_path, "pass")
    found = _main(program, tmp_path / "out.json", monkeypatch, "--only", "c")[1]
    assert [row["benchmark"] for row in found["rows"]] == ["c"]
    with pytest.raises(SystemExit):
        _main(program, tmp_path / "out.json", monkeypatch, "--only", "d")


def test_file_without_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _script(tmp_path, "sys.stderr.write('no device here'); sys.exit(4)")
    status, found = _main(program, tmp_path / "out.json", monkeypatch)
    assert status == SKIPPED and found == {"status": SKIPPED, "reason": "no device here"}


def test_without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDACXX", "no-such-nvcc")
    output = tmp_path / "out.json"
    assert main(["--binary", str(tmp_path / "program"), "--output", str(output)]) == SKIPPED
    assert "no no-such-nvcc on PATH" in json.loads(output.read_text())["reason"]


def test_compiles_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "program"
    binary.touch()
    monkeypatch.setenv("CUDACXX", "no-such-nvcc")
    assert main(["--compile-only", "--binary", str(binary)]) == HELD, "it is newer than its sources"
    os.utime(binary, (0, 0))
    assert main(["--compile-only", "--binary", str(binary)]) == SKIPPED
