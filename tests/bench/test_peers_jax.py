"""JAX's translation of every kind of op, of each family and in every precision; skipped where jax is not installed."""

from __future__ import annotations

import os

import pytest
import torch

from inception_fast.bench.accuracy import compare, flatten, true_outputs
from inception_fast.bench.peers import PEERS, Contestant, PeerUnavailableError, Task
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes.fold_batchnorm import fold_batchnorm
from tests.backends.cases import CASES
from tests.backends.harness import network_input
from tests.bench.nets import FAMILY_PARAMETERS, Block, images, small
from tests.graph.build import Build
from tests.graph.check import relative_error
from tests.graph.families import family_graph

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from inception_fast.bench.peers import jax_graph  # noqa: E402

CPU = torch.device("cpu")
HIGHEST = jax.lax.Precision.HIGHEST


def outputs_in_jax(graph: ir.Graph, x: torch.Tensor) -> list[torch.Tensor]:
    """The graph's outputs in float32 by way of JAX, channels first."""
    run = jax.jit(jax_graph.forward(graph, jnp.dtype("float32"), HIGHEST))
    found = [torch.from_dlpack(y) for y in run(x.float().permute(0, 2, 3, 1).contiguous().numpy())]
    return [y.permute(0, 3, 1, 2) if y.dim() == 4 else y for y in found]


def check(graph: ir.Graph, batch: int = 2) -> None:
    x = torch.randn(batch, *graph.input.op.shape)  # type: ignore[attr-defined]
    truth = interpret(graph, x)
    for index, (got, want) in enumerate(zip(outputs_in_jax(graph, x), truth, strict=True)):
        assert relative_error(got.double(), want) < 3e-6, f"output {index}"


UNTRANSLATED = {
    "adaptive_pools", "conv_functions", "depthwise", "functions", "gates", "local_response", "softmax",
    "max_pools_with_uneven_ends",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES.keys() - UNTRANSLATED)
def test_op(name: str) -> None:
    check(CASES[name]())


@pytest.mark.parametrize("name", UNTRANSLATED)
def test_what_has_no_translation_is_never_another_op(name: str) -> None:
    graph = CASES[name]()
    with pytest.raises(NotImplementedError, match="no translation of"):
        outputs_in_jax(graph, network_input(graph))


def test_dilated_max_pool() -> None:
    build = Build(5, 11, 13)
    build.node(ir.MaxPool((3, 2), (2, 1), (1, 1), (2, 3), ceil_mode=True), "x")
    check(build.graph())


@pytest.mark.parametrize("name", FAMILY_PARAMETERS)
def test_family(name: str) -> None:
    check(fold_batchnorm(family_graph(name)), batch=1)


def test_an_op_without_a_translation_is_named() -> None:
    build = Build(3, 4, 5)
    build.batchnorm("x")
    with pytest.raises(NotImplementedError, match="BatchNorm"):
        outputs_in_jax(build.graph(), torch.zeros(1, 3, 4, 5))


def contestant(task: Task) -> Contestant:
    (found,) = PEERS["jax"](task)
    return found


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-6), ("tf32", 2e-3), ("fp16", 4e-3), ("bf16", 3e-2)])
@torch.no_grad()
def test_precision(precision: str, bound: float) -> None:
    task = Task(small(), images(3), precision, CPU, threads=1)
    assert compare(flatten(contestant(task).run()), true_outputs(task.model, task.images)).relative_l2 < bound


@pytest.mark.parametrize(("name", "meant"), [("highest", "HIGHEST"), ("tensorfloat32", "HIGH"), ("default", "DEFAULT")])
def test_products_ask_for_their_precision(name: str, meant: str) -> None:
    """A CPU computes all three alike; the compiler is told which is meant."""
    build = Build(3, 4, 5)
    build.linear(build.flat(build.conv("x", 2)), 6)
    run = jax_graph.forward(build.graph(), jnp.dtype("float32"), jax.lax.Precision(name))
    program = str(jax.make_jaxpr(run)(jnp.zeros((1, 4, 5, 3))))
    for product in ("conv_general_dilated", "dot_general"):
        asked = program.partition(f"{product}[")[2].partition("precision=")[2]
        assert asked.removeprefix("(").removeprefix("Precision.").startswith(meant), program


def test_feature_maps_are_channels_first() -> None:
    block = Block(3).eval()
    task = Task(block, images(2), "fp32", CPU, threads=1)
    with torch.no_grad():
        truth = true_outputs(block, task.images)
        assert compare(flatten(contestant(task).run()), truth).relative_l2 < 2e-6


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
@torch.no_grad()
def test_on_a_gpu(precision: str) -> None:
    """Read in PyTorch's stream, as the clock's events are: a result that did not wait for JAX's would be wrong."""
    if not any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("this jax sees no GPU")
    task = Task(small(), images(64), precision, torch.device("cuda"), threads=1)
    bound = {"fp32": 1e-5, "tf32": 5e-3, "fp16": 1e-2, "bf16": 6e-2}[precision]
    truth, ready = true_outputs(task.model, task.images), contestant(task)
    for _ in range(5):
        assert compare(flatten(ready.run()), truth).relative_l2 < bound


def test_a_device_that_jax_does_not_see() -> None:
    with pytest.raises(PeerUnavailableError, match="sees no meta"):
        contestant(Task(small(), images(1), "fp32", torch.device("meta"), threads=1))


def test_the_environment_stays_as_it_was() -> None:
    before = dict(os.environ)
    contestant(Task(small(), images(1), "fp32", CPU, threads=1))
    assert dict(os.environ) == before
