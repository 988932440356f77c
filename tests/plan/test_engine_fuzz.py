"""Mutated engine files: a typed error or a correct load, never a crash; and Python and C++ agree on which."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from inception_fast.backends.cpu import CpuExecutor
from inception_fast.backends.reference import ReferenceBackend
from inception_fast.backends.reference_int8 import QuantizedExecutor
from inception_fast.errors import EngineFileError
from inception_fast.plan.engine_file import EngineFile, Metadata, engine_bytes, read_engine_bytes
from inception_fast.plan.plan import Plan, Slice, destinations_of, sources_of
from inception_fast.plan.serialize import decode
from tests.plan.mutations import MUTATORS, mutations
from tests.plan.tiny_engine import tiny_engine

COUNTS = {
    "fp32": 4000,
    "int8": 1500,
    "winograd": 1500,
    "measured": 1000,
    "functions": 1500,
    "bytes": 1500,
    "int8 bytes": 500,
}
"""Mutations of each kind of each file; there are six kinds."""
ALIKE = 300
"""Of the quantised ones, that are run on every instruction set."""
RUNNABLE = 1 << 20
"""Elements; mutated Plans that need more are not run."""


@pytest.fixture(params=COUNTS)
def tiny(request: pytest.FixtureRequest) -> str:
    return request.param


@cache
def sound_file(tiny: str) -> bytes:
    return engine_bytes(tiny_engine(tiny))


@cache
def python_outcomes(kind: str, tiny: str) -> list[EngineFile | str]:
    """What the Python reader makes of each mutation: an engine, or the error's message."""
    outcomes: list[EngineFile | str] = []
    for data in mutations(kind, sound_file(tiny), COUNTS[tiny]):
        try:
            outcomes.append(read_engine_bytes(data))
        except EngineFileError as error:
            outcomes.append(str(error))
    return outcomes


@pytest.mark.parametrize("kind", MUTATORS)
def test_python_reader_refuses_or_loads_what_is_safe_to_run(kind: str, tiny: str) -> None:
    outcomes = python_outcomes(kind, tiny)
    refused = [o for o in outcomes if isinstance(o, str)]
    assert len(refused) > COUNTS[tiny] // 3 and all(refused), "the mutations are too tame to prove anything"
    for engine in outcomes:
        if isinstance(engine, EngineFile) and _size(engine.plan) <= RUNNABLE:
            check_memory_by_running(engine.plan)


@pytest.mark.parametrize("kind", MUTATORS)
def test_cpp_reader_agrees_with_python(kind: str, tiny: str) -> None:
    native = pytest.importorskip("inception_fast._native")
    for index, (data, expected) in enumerate(
        zip(mutations(kind, sound_file(tiny), COUNTS[tiny]), python_outcomes(kind, tiny), strict=True)
    ):
        try:
            found = native.read_engine_bytes(data, "canonical")
        except EngineFileError as error:
            assert isinstance(expected, str), f"{kind} {index}: only C++ refuses: {error}"
            continue
        assert isinstance(expected, EngineFile), f"{kind} {index}: only Python refuses: {expected}"
        assert decode(Plan, found["plan"], "plan") == expected.plan
        assert decode(Metadata, found["metadata"], "metadata") == expected.metadata
        for name, tensor in expected.constants.items():
            assert found["constants"][name] == tensor.view(-1).view(torch.uint8).numpy().tobytes()


def test_mutated_plans_that_load_also_run(tiny: str) -> None:
    run = 0
    for engine in python_outcomes("json_numbers", tiny):
        if isinstance(engine, EngineFile) and _size(engine.plan) <= RUNNABLE:
            x = torch.zeros(1, *engine.metadata.input_shape)
            executor = ReferenceBackend().compile(engine.plan, engine.constants, device=x.device, precision="fp32")
            for output, made in zip(engine.plan.outputs, executor.run(x), strict=True):
                buffer = engine.plan.buffers[output.buffer]
                assert made.shape == (1, buffer.channels, buffer.height, buffer.width)
            run += 1
    assert run > COUNTS[tiny] // 100


@pytest.mark.parametrize("tiny", ["int8", "winograd"])
@pytest.mark.parametrize("kind", ["bytes_with_checksum", "json_numbers"])
def test_quantised_mutants_run_alike_on_every_instruction_set(kind: str, tiny: str) -> None:
    """Whatever the constants and numbers of a sound file are, the kernels give the reference's bits."""
    native = pytest.importorskip("inception_fast._native")
    ran = 0
    for data, engine in zip(mutations(kind, sound_file(tiny), ALIKE), python_outcomes(kind, tiny), strict=False):
        if not isinstance(engine, EngineFile) or _size(engine.plan) > RUNNABLE or data == sound_file(tiny):
            continue
        x = torch.randn(2, *engine.metadata.input_shape, generator=torch.Generator().manual_seed(ran))
        x[1].view(-1)[:3] = torch.tensor([float("nan"), float("inf"), -1e30])
        expected = QuantizedExecutor(engine.plan, engine.constants, x.device).run(x)
        for isa in native.instruction_sets():
            made = CpuExecutor(engine.plan, engine.constants, isa=isa, threads=1).run(x)
            for got, wanted in zip(made, expected, strict=True):
                assert torch.allclose(got, wanted, rtol=0, atol=0, equal_nan=True)
        ran += 1
    assert ran > ALIKE // 20


def _size(plan: Plan) -> int:
    return plan.arena + sum(b.size for b in plan.buffers)


def check_memory_by_running(plan: Plan) -> None:
    """Runs the Plan on memory that holds, in place of values, the name of the buffer and channel that wrote them.

    Every read must find what it asks for, in whatever order the steps of a stage run. Slower and simpler than the
    checks in ``inception_fast.plan.check``, and independent of them.
    """
    for backwards in (False, True):
        arena = np.full(plan.arena, -1)
        own = {i: np.full(b.size, -1) for i, b in enumerate(plan.buffers) if b.home != "arena"}

        def channels(piece: Slice, arena: np.ndarray = arena, own: dict[int, np.ndarray] = own) -> np.ndarray:
            buffer = plan.buffers[piece.buffer]
            memory = own.get(piece.buffer, arena)[buffer.offset : buffer.offset + buffer.size]
            image = memory.reshape(buffer.height, buffer.width, buffer.channels)
            return image[..., piece.start : piece.start + piece.channels]

        def names(piece: Slice) -> np.ndarray:
            return (piece.buffer << 32) + np.arange(piece.start, piece.start + piece.channels)

        whole_input = Slice(plan.input, 0, plan.buffers[plan.input].channels)
        channels(whole_input)[...] = names(whole_input)
        for stage in plan.stages:
            for index in reversed(stage) if backwards else stage:
                step = plan.steps[index]
                for piece in sources_of(step):
                    assert channels(piece).shape[-1] == piece.channels
                    assert (channels(piece) == names(piece)).all(), f"{step.name} reads another buffer's memory"
                for destination in destinations_of(step):
                    channels(destination.slice)[...] = names(destination.slice)
        for output in plan.outputs:
            whole = Slice(output.buffer, 0, plan.buffers[output.buffer].channels)
            assert (channels(whole) == names(whole)).all(), "an output is not written whole"
