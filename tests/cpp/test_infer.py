"""``examples/cpp``: an engine file from Python, run without Python; results bit for bit, errors with a message.

Built from source with the portable kernels under AddressSanitizer and UndefinedBehaviorSanitizer, so that what a
hostile file does to memory shows.
"""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inception_fast.activation import Activation
from inception_fast.backends.cpu import CpuExecutor
from inception_fast.errors import EngineFileError
from inception_fast.graph import ir
from inception_fast.lowering.lower import lower
from inception_fast.plan.engine_file import EngineFile, engine_bytes, read_engine_bytes, write_engine
from tests.cpp.building import MEMORY_SANITIZERS, ROOT, build, build_sanitized, run
from tests.fuzz.sanitized import objection, write_networks
from tests.graph.build import Build
from tests.graph.check import relative_error
from tests.plan.definition import plan_outputs
from tests.plan.mutations import MUTATORS, mutations
from tests.plan.tiny_engine import structure_of, tiny_engine

BATCH = 5
MUTANTS = 200
"""Of each kind."""
OBJECTION = 99
"""Exit status of a program that a sanitizer stops."""
HEADERS = 60
"""Damaged .npy headers."""
RANDOM = 30
"""Networks of tests/fuzz."""
RUNNABLE = 1 << 20
"""Elements; mutated Plans that need more are left out."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sanitized(tmp_path_factory.mktemp("programs"), MEMORY_SANITIZERS, target="all")


@pytest.fixture(scope="module")
def infer(programs: Path) -> Path:
    return programs / "infer" / "infer"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    write_engine(tmp_path / "m.ifast", tiny_engine())
    return tmp_path / "m.ifast"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", torch.randn(BATCH, 3, 6, 6).numpy())
    return tmp_path / "x.npy"


def call(infer: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Fails where a sanitizer objects, whatever status the caller expects."""
    environment = os.environ | dict.fromkeys(("ASAN_OPTIONS", "UBSAN_OPTIONS"), f"exitcode={OBJECTION}")
    command = [infer, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, env=environment)
    assert 0 <= result.returncode < OBJECTION, result.stderr[-4000:]
    return result


def infer_arrays(infer: Path, engine: Path, x: torch.Tensor, *options: object, count: int = 3) -> list[np.ndarray]:
    folder = engine.parent
    np.save(folder / "x.npy", x.numpy())
    names = [folder / f"y{i}.npy" for i in range(count)]
    result = call(infer, engine, folder / "x.npy", *names, *options)
    assert result.returncode == 0, result.stderr[-4000:]
    return [np.load(name) for name in names]


def long_sums_engine() -> EngineFile:
    """Few output pixels and long sums, which the CUDA kernels cut among idle multiprocessors."""
    build = Build(3, 6, 6)
    wide = build.conv("x", 96, (3, 3), relu=True)
    plan, constants = lower(build.graph(build.conv(wide, 8, (3, 3), bias=True)), "float32")
    return EngineFile(plan, constants, replace(tiny_engine().metadata, structure=structure_of(plan)))


def functions_engine() -> EngineFile:
    """Every step that came with format 5, to a softmax over the scores."""
    build = Build(3, 6, 6)
    wide = build.conv("x", 21, (3, 3), bias=True)
    op = build.nodes[-1].op
    assert isinstance(op, ir.Conv2d)
    segments = (ir.Segment(21, False, Activation("prelu", slope=build.param(21))),)
    build.nodes[-1] = ir.Node(wide, replace(op, segments=segments), ("x",))
    depthwise = ir.DepthwiseConv2d(
        build.param(21, 1, 3, 3), build.param(21), (1, 1), (1, 1, 1, 1), (1, 1), activation=Activation("silu")
    )
    normalized = build.node(ir.LocalResponseNorm(5, 1e-2, 0.75, 1.0), build.node(depthwise, wide))
    squeezed = build.conv(build.node(ir.AdaptiveAvgPool((1, 1)), normalized), 21)
    gated = build.node(ir.Gate(), normalized, build.node(ir.Activate(Activation("sigmoid")), squeezed))
    pooled = build.node(ir.AdaptiveMaxPool((4, 4)), gated)
    powers = build.node(ir.Activate(Activation("power", 1.7)), build.relu(pooled))
    heads = [build.node(ir.Softmax(log), build.linear(build.flat(powers), 37)) for log in (False, True)]
    plan, constants = lower(build.graph(*heads, powers), "float32")
    return EngineFile(plan, constants, replace(tiny_engine().metadata, structure=structure_of(plan)))


def python_arrays(executor: CpuExecutor, engine: EngineFile, x: torch.Tensor) -> list[np.ndarray]:
    results = executor.run(x.to(getattr(torch, engine.plan.input_dtype)))
    flat = (t.flatten(1) if o.flat else t for t, o in zip(results, engine.plan.outputs, strict=True))
    return [t.float().contiguous().numpy() for t in flat]


def assert_same_bits(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype == np.float32
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("tiny", ["fp32", "bf16", "int8", "winograd", "measured"])
def test_same_bits_as_the_cpu_backend(infer: Path, tmp_path: Path, tiny: str) -> None:
    pytest.importorskip("inception_fast._native")
    engine, x = tiny_engine(tiny), torch.randn(BATCH, 3, 6, 6)
    write_engine(tmp_path / "m.ifast", engine)
    python = CpuExecutor(engine.plan, engine.constants, isa="portable")
    expected = python_arrays(python, engine, x)
    for options in ([], ["--batch", 2], ["--batch", 100, "--threads", 1]):
        ours = infer_arrays(infer, tmp_path / "m.ifast", x, *options, count=len(expected))
        assert_same_bits(ours, expected)


@pytest.mark.parametrize("tiny", ["bytes", "int8 bytes"])
def test_same_bits_of_bytes(infer: Path, tmp_path: Path, tiny: str) -> None:
    """In the layout that the engine says; numbers in their place are refused."""
    pytest.importorskip("inception_fast._native")
    engine = tiny_engine(tiny)
    x = torch.randint(0, 256, (BATCH, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_engine(tmp_path / "m.ifast", engine)
    expected = python_arrays(CpuExecutor(engine.plan, engine.constants, isa="portable"), engine, x)
    images = x.permute(0, 2, 3, 1).contiguous() if engine.metadata.input_layout else x
    for options in ([], ["--batch", 2]):
        ours = infer_arrays(infer, tmp_path / "m.ifast", images, *options, count=len(expected))
        assert_same_bits(ours, expected)
    np.save(tmp_path / "x.npy", images.float().numpy())
    refused = call(infer, tmp_path / "m.ifast", tmp_path / "x.npy")
    assert refused.returncode == 1 and "'|u1'" in refused.stderr


def test_same_bits_of_functions_and_a_softmax_head(infer: Path, tmp_path: Path) -> None:
    pytest.importorskip("inception_fast._native")
    engine, x = functions_engine(), torch.randn(BATCH, 3, 6, 6)
    write_engine(tmp_path / "m.ifast", engine)
    expected = python_arrays(CpuExecutor(engine.plan, engine.constants, isa="portable"), engine, x)
    assert np.allclose(expected[0].sum(1), 1, atol=1e-6)
    for options in ([], ["--batch", 2], ["--batch", 100, "--threads", 1]):
        assert_same_bits(infer_arrays(infer, tmp_path / "m.ifast", x, *options), expected)


def test_close_to_float64(infer: Path, engine: Path) -> None:
    sound, x = tiny_engine(), torch.randn(BATCH, 3, 6, 6)
    truth = plan_outputs(sound.plan, sound.constants, x)
    for ours, wanted in zip(infer_arrays(infer, engine, x), truth, strict=True):
        assert relative_error(torch.from_numpy(ours).double().view_as(wanted), wanted) < 1e-6


def test_bare_numbers(infer: Path, engine: Path, images: Path, tmp_path: Path) -> None:
    x = np.load(images)
    x.tofile(tmp_path / "x.raw")
    names = [tmp_path / f"y{i}.raw" for i in range(3)]
    result = call(infer, engine, tmp_path / "x.raw", *names, "--time", 3)
    assert result.returncode == 0, result.stderr
    assert "output 1: [5, 8]" in result.stdout
    assert "5 images a call: median " in result.stdout
    bare = [np.fromfile(name, "<f4") for name in names]
    assert_same_bits(bare, [y.ravel() for y in infer_arrays(infer, engine, torch.from_numpy(x))])


def test_wrong_command_lines(infer: Path, engine: Path, images: Path) -> None:
    for arguments, message in (
        ([], "ENGINE and INPUT are needed"),
        ([engine], "ENGINE and INPUT are needed"),
        ([engine, images, "--batch"], "--batch: its value is missing"),
        ([engine, images, "--batch", "0"], "--batch: got '0'"),
        ([engine, images, "--threads", "99999999999"], "--threads: got '99999999999'"),
        ([engine, images, "--time", "1x"], "--time: got '1x'"),
        ([engine, images, "--backend", "gpu"], "--backend: got 'gpu', expected cpu, cuda or emulator"),
        ([engine, images, "--quick", "1"], "there is no --quick"),
    ):
        result = call(infer, *arguments)
        assert result.returncode == 2 and message in result.stderr and "usage: infer" in result.stderr


def test_what_cannot_be_done_is_said(infer: Path, engine: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for arguments, message in (
        ([tmp_path / "none.ifast", images], "none.ifast: No such file"),
        ([tmp_path, images], f"{tmp_path}: "),
        ([tmp_path / "empty", images], "empty: not an engine file"),
        ([images, images], "x.npy: not an engine file"),
        ([engine, tmp_path / "none.npy"], "none.npy: cannot be read"),
        ([engine, tmp_path], "cannot be read"),
        ([engine, tmp_path / "empty"], "empty: got [0, 3, 6, 6], expected [N, 3, 6, 6]"),
        ([engine, images, tmp_path / "y.npy"], "OUTPUT: got 1 files, the engine has 3 outputs"),
        ([engine, images, *[tmp_path / "none" / "y"] * 3], "y: cannot be written"),
        ([engine, images, "--backend", "cuda"], "backend cuda: this library was built without it"),
    ):
        result = call(infer, *arguments)
        assert result.returncode == 1 and message in result.stderr, result.stderr


def test_images_that_do_not_fit(infer: Path, engine: Path, tmp_path: Path) -> None:
    def refusal(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        result = call(infer, engine, tmp_path / name)
        assert result.returncode == 1, result.stderr
        return result.stderr

    def npy(array: np.ndarray) -> bytes:
        np.save(tmp_path / "saved.npy", array)
        return (tmp_path / "saved.npy").read_bytes()

    sound = npy(np.zeros((2, 3, 6, 6), np.float32))
    assert "got [2, 3, 6, 5], expected [N, 3, 6, 6]" in refusal("x.npy", npy(np.zeros((2, 3, 6, 5), np.float32)))
    assert "got [2, 6, 6, 3], expected [N, 3, 6, 6]" in refusal("x.npy", npy(np.zeros((2, 6, 6, 3), np.float32)))
    assert "has no '<f4'" in refusal("x.npy", npy(np.zeros((2, 3, 6, 6))))
    assert "has no False" in refusal("x.npy", npy(np.asfortranarray(np.zeros((2, 3, 6, 6), np.float32))))
    assert "bytes of numbers, expected 864" in refusal("x.npy", sound[:-1])
    assert "bytes of numbers, expected a multiple of 4" in refusal("x.raw", bytes(433))
    assert "got [109]" in refusal("x.raw", bytes(436))
    for length in (0, 5, 8, 11, 64):
        assert "x.npy: is " in refusal("x.npy", sound[:length])
    for old, new in ((b"(2, 3", b"(2, -"), (b"(2, 3", b"((((("), (b"(2,", b"(9" * 30), (b"\x01\0v", b"\x04\0v")):
        refusal("x.npy", sound.replace(old, new))
    assert "too large" in refusal("x.npy", sound.replace(b"(2, 3, 6, 6)", b"(4294967296, 4294967296)"))


def test_hostile_images(infer: Path, engine: Path, images: Path, tmp_path: Path) -> None:
    sound, random_, refused = images.read_bytes(), random.Random(0), 0
    for _ in range(HEADERS):
        data = bytearray(sound)
        for at in random_.choices(range(128), k=random_.choice((1, 2, 5))):
            data[at] = random_.choice((0, 255, data[at] ^ 1 << random_.randrange(8), *b"0123456789'(),{} "))
        (tmp_path / "x.npy").write_bytes(data[: random_.choice((len(data), len(data), random_.randrange(len(data))))])
        refused += call(infer, engine, tmp_path / "x.npy").returncode
    assert HEADERS // 2 < refused < HEADERS


@pytest.mark.parametrize("tiny", ["fp32", "int8", "winograd"])
def test_hostile_engines(programs: Path, tmp_path: Path, tiny: str) -> None:
    """Every mutant is refused where Python refuses it, else loads and runs; no sanitizer objects."""
    sound, paths, expected = engine_bytes(tiny_engine(tiny)), [], []
    for kind in MUTATORS:
        for data in mutations(kind, sound, MUTANTS, seed=1):
            try:
                plan = read_engine_bytes(data).plan
            except EngineFileError:
                plan = None
            if plan is not None and plan.arena + sum(b.size for b in plan.buffers) > RUNNABLE:
                continue
            paths.append(tmp_path / f"{len(paths)}.ifast")
            paths[-1].write_bytes(data)
            expected.append(plan is not None)
    result = subprocess.run([programs / "load_engines", *paths], capture_output=True, text=True, errors="replace")
    assert result.returncode == 0, result.stderr[-4000:]
    verdicts = [line == "sound" for line in result.stdout.splitlines()]
    assert verdicts == expected
    assert 10 < sum(expected) < len(expected) - 300


@pytest.mark.slow
def test_installed_library_with_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``find_package`` finds a shared library with every instruction set and the emulator; both give Python's bits."""
    pytest.importorskip("inception_fast._native_emulator")
    from inception_fast.backends.cuda import EMULATE, CudaBackend

    library = build(ROOT, tmp_path / "library", "-DIFAST_PYTHON=OFF", "-DIFAST_EMULATOR=ON", "-DBUILD_SHARED_LIBS=ON")
    run("cmake", "--install", library, "--prefix", tmp_path / "installed")
    example = build(
        ROOT / "examples" / "cpp",
        tmp_path / "build",
        "-DINCEPTION_FAST_SOURCE=",
        f"-DCMAKE_PREFIX_PATH={tmp_path}/installed",
    )
    monkeypatch.setenv(EMULATE, "1")
    for engine in (tiny_engine(), long_sums_engine()):
        x = torch.randn(BATCH, 3, 6, 6)
        write_engine(tmp_path / "m.ifast", engine)
        executors = {
            "cpu": CpuExecutor(engine.plan, engine.constants),
            "emulator": CudaBackend().compile(engine.plan, engine.constants, device=x.device),
        }
        for name, executor in executors.items():
            options = ("--backend", name, "--batch", 2)
            ours = infer_arrays(example / "infer", tmp_path / "m.ifast", x, *options, count=len(engine.plan.outputs))
            assert_same_bits(ours, python_arrays(executor, engine, x))


def test_random_networks(programs: Path, tmp_path: Path) -> None:
    """Called from several threads; a sanitizer has nothing against it, and the bits are the same."""
    engines = write_networks(tmp_path, range(RANDOM))
    objected = objection(programs / "concurrent_runs", engines)
    assert not objected, objected[-4000:]
