"""Exported programs, their modules, files of them, and modules that ``torch.fx`` has traced."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

import inception_fast as ifast
from inception_fast.artefacts.choose import module_of
from tests.artefacts.extractor import Extractor
from tests.artefacts.scripts import SIZE, Dict, Tuple, images, network
from tests.partition.comparing import assert_keeps_promise


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def program_of(model: nn.Module, batch: Dim | None = None) -> ExportedProgram:
    return torch.export.export(model, (images(2),), dynamic_shapes=({0: batch},))


def from_file(program: ExportedProgram) -> ExportedProgram:
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


def itself(program: ExportedProgram) -> ExportedProgram:
    return program


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """In the core operators that other tools make of it."""
    return program.run_decompositions()


@pytest.mark.parametrize(
    ("form", "backend"), [(itself, "cpu"), (from_file, "torch"), (ExportedProgram.module, "cpu"), (decomposed, "torch")]
)
def test_programs(form: Callable[[ExportedProgram], ExportedProgram | nn.Module], backend: str) -> None:
    original = network(Tuple)
    fast = ifast.optimize(form(program_of(original, Dim("batch"))), images(1), backend=backend)
    for batch in (1, 2, 5):
        assert_keeps_promise(fast, original, images(batch))
    with pytest.raises(ifast.InputError, match="shape"):
        fast(images(2)[..., : SIZE - 1])


def test_a_program_of_one_batch() -> None:
    original = network(Dict)
    program = program_of(original)
    fast = ifast.optimize(program, images(2), backend="cpu")
    assert_keeps_promise(fast, original, images(2))
    assert "no other sizes" in str(fast.report())
    with pytest.raises(ifast.InputError, match=r"shape \[3, 3, 32, 32\], expected \[2, 3, 32, 32\]"):
        fast(images(3))
    with pytest.raises(ifast.CaptureError, match="it fixes the batch size"):
        ifast.optimize(program, images(3), backend="cpu")


def test_a_program_in_training_mode() -> None:
    with pytest.raises(ifast.CaptureError, match="the model changes its state"):
        ifast.optimize(program_of(network(Dict).train(), Dim("batch")), images(2))


def test_keywords_of_a_program() -> None:
    torch.manual_seed(2)
    original = Extractor().eval()
    photos = torch.randint(0, 256, (2, 3, 41, 50), dtype=torch.uint8)
    kwargs = {"img": photos, "return_features": True}
    shapes = {"img": {0: Dim("batch")}, "return_features": None}
    program = torch.export.export(original, (), kwargs, dynamic_shapes=shapes)
    assert list(inspect.signature(module_of(program.module()).forward).parameters) == ["img", "return_features"]
    fast = ifast.optimize(program, kwargs, backend="cpu")
    for batch in (photos[:1], photos, photos.repeat(2, 1, 1, 1)):
        assert_keeps_promise(fast, original, img=batch, return_features=True)


def test_traced_by_fx() -> None:
    original = network(Dict)
    graph = fx.symbolic_trace(original)
    # Somebody's own change of the graph.
    (pool,) = (n for n in graph.graph.nodes if "max_pool" in str(n.target) or n.target == "blocks.1")
    with graph.graph.inserting_after(pool):
        mirrored = graph.graph.call_function(torch.sigmoid, (pool,))
    pool.replace_all_uses_with(mirrored, delete_user_cb=lambda user: user is not mirrored)
    graph.recompile()
    fast = ifast.optimize(graph, images(1), backend="torch")
    for batch in (1, 3):
        assert_keeps_promise(fast, graph, images(batch))


def test_traced_by_fx_in_training_mode() -> None:
    with pytest.raises(ifast.InputError, match="training mode"):
        ifast.optimize(fx.symbolic_trace(network(Dict)).train(), images(1))


def test_what_is_no_module() -> None:
    def function(x: Tensor) -> Tensor:
        return x

    with pytest.raises(ifast.InputTypeError, match=r"model: got function, expected a torch\.nn\.Module"):
        ifast.optimize(function, images(1))


@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("network.pt2", "what torch.export.load reads there"),
        (Path("folder/network.PT2"), "what torch.export.load reads there"),
        ("network.ifast", "inception_fast.load reads a finished one"),
        ("network.pt", r"the path of an \.onnx file, or a module: what torch\.jit\.load or torch\.load reads there"),
    ],
)
def test_paths_of_other_files_name_their_readers(path: str | Path, reader: str) -> None:
    with pytest.raises(ifast.InputTypeError, match=r"model: got '.*network.*', expected .*" + reader):
        ifast.optimize(path, images(1))
