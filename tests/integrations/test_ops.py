"""A FastModel under torch.compile and torch.export, by way of the operator ``inception_fast::run``."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import inception_fast as ifast
from inception_fast.integrations import ops
from tests.integrations.networks import SIZE, assert_same_results, network, photos

BATCH = {0: torch.export.Dim("batch")}


@pytest.fixture
def fast() -> ifast.FastModel:
    return ifast.optimize(network(), photos(1))


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_opcheck(fast: ifast.FastModel, batch: int, layout: torch.memory_format) -> None:
    x = photos(batch).contiguous(memory_format=layout)
    torch.library.opcheck(torch.ops.inception_fast.run, (x, fast.key))


def test_opcheck_in_half_precision() -> None:
    """Inputs may come in the Plan's dtype; results have it too."""
    fast = ifast.optimize(network(), photos(1), precision="bf16")
    for x in (photos(2), photos(2).bfloat16()):
        assert {t.dtype for t in torch.ops.inception_fast.run(x, fast.key)} == {x.dtype}
        torch.library.opcheck(torch.ops.inception_fast.run, (x, fast.key))


def test_outputs_share_no_memory(fast: ifast.FastModel) -> None:
    x = photos(2)
    outputs = torch.ops.inception_fast.run(x, fast.key)
    assert len({t.untyped_storage().data_ptr() for t in (*outputs, x)}) == 4
    torch.testing.assert_close(outputs[1], outputs[2], rtol=0, atol=0)


@pytest.mark.parametrize("dynamic", [None, True, False])
@torch.no_grad()
def test_compiled_over(fast: ifast.FastModel, dynamic: bool | None) -> None:
    """Same bits as without; the code around it is compiled into the same graph."""
    compiled = torch.compile(lambda x: fast(x * 2), fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for batch in (1, 3, 5):
        got, expected = compiled(photos(batch)), fast(photos(batch) * 2)
        assert torch.equal(got.logits, expected.logits) and torch.equal(got.maps["map"], expected.maps["map"])
        assert got.maps["map"].stride() == expected.maps["map"].stride()


@torch.no_grad()
def test_exported(fast: ifast.FastModel) -> None:
    program = torch.export.export(fast, (photos(2),), dynamic_shapes=(BATCH,))
    (call,) = [n for n in program.graph.nodes if n.target is torch.ops.inception_fast.run.default]
    assert [tuple(t.shape[1:]) for t in call.meta["val"]] == [(5,), (20, 9, 7), (20, 9, 7)]
    truth = copy.deepcopy(network()).double()
    for batch in (1, 4):
        assert_same_results(program.module()(photos(batch)), truth(photos(batch).double()))


SCRIPT = """
import sys, torch
import inception_fast as ifast
folder = sys.argv[1]
program = torch.export.load(f"{folder}/program.pt2").module()
x = torch.load(f"{folder}/x.pt")
try:
    program(x)
except ifast.InputError as error:
    print(error)
fast = ifast.load(f"{folder}/net.ifast")
torch.save(program(x), f"{folder}/result.pt")
"""


class Logits(torch.nn.Module):
    """The one tensor of a result that every process knows how to unpack."""

    def __init__(self, fast: ifast.FastModel) -> None:
        super().__init__()
        self.fast = fast

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fast(x).logits


@torch.no_grad()
def test_exported_to_another_process(fast: ifast.FastModel, tmp_path: Path) -> None:
    """The engine file is loaded there, by the same backend; before that, the error says so."""
    x = photos(3)
    torch.export.save(
        torch.export.export(Logits(fast), (photos(2),), dynamic_shapes=(BATCH,)), tmp_path / "program.pt2"
    )
    torch.save(x, tmp_path / "x.pt")
    fast.save(tmp_path / "net.ifast")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert "not loaded in this process" in run.stdout and "inception_fast.load(path, backend='auto')" in run.stdout
    assert torch.equal(torch.load(tmp_path / "result.pt"), fast(x).logits)


def test_engines_are_not_kept_alive() -> None:
    fast = ifast.optimize(network(), photos(1))
    key = fast.key
    twin = ifast.FastModel(fast.engine, fast.structure, "auto", torch.device("cpu"))
    del fast
    gc.collect()
    torch.ops.inception_fast.run(photos(1), key)
    del twin
    gc.collect()
    with pytest.raises(ifast.InputError, match=rf"key: got network {key[:12]}\.\.\. for backend 'auto', which is not"):
        torch.ops.inception_fast.run(photos(1), key)


def test_names_of_the_dead_are_forgotten() -> None:
    first = ifast.optimize(network(seed=3), photos(1), backend="reference")
    key = first.key
    assert key in ops._networks
    del first
    gc.collect()
    kept = ifast.optimize(network(seed=4), photos(1), backend="reference")
    assert key not in ops._networks and kept.key in ops._networks


def test_keys_tell_networks_and_backends_apart(fast: ifast.FastModel) -> None:
    others = [
        ifast.optimize(network(seed=1), photos(1)),
        ifast.optimize(network(), photos(1), backend="reference"),
        ifast.optimize(network(), photos(1), precision="bf16"),
    ]
    assert len({f.key for f in (fast, *others)}) == 4
    assert ifast.optimize(network(), photos(2)).key == fast.key


def test_a_gradient_while_compiled(fast: ifast.FastModel) -> None:
    """Refused when it is asked for, not when the trace asks whether there will be one."""
    x = photos(2).requires_grad_()
    got = torch.compile(lambda x: fast(x), backend="aot_eager")(x)
    assert torch.equal(got.logits, fast(x.detach()).logits)
    with pytest.raises(ifast.InputError, match=r"^backward: got a gradient wanted through a fast module"):
        got.logits.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 3, *SIZE[::-1]), "the image size differs"),
        (torch.zeros(1, 3, *SIZE, dtype=torch.float64), "x: got torch.float64"),
    ],
)
def test_bad_input_while_compiled(fast: ifast.FastModel, x: torch.Tensor, message: str) -> None:
    """PyTorch wraps the exception in one of its own, which repeats the message."""
    with pytest.raises(RuntimeError, match=message):
        torch.compile(lambda x: fast(x), backend="aot_eager")(x)
