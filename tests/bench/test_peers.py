"""The real peers on a small network: each computes the network, or says why it cannot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec

import pytest
import torch
from torch import nn

from inception_fast.backends import backends
from inception_fast.bench.accuracy import compare, flatten, true_outputs
from inception_fast.bench.peers import PEERS, Contestant, PeerUnavailableError, Task, ours
from inception_fast.cli.bench import PEER_NAMES
from tests.bench.nets import images, small

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(small(), images(3), "fp32", CPU, threads=1)


@torch.no_grad()
def assert_right(contestants: list[Contestant], task: Task) -> None:
    truth = true_outputs(task.model, task.images)
    for contestant in contestants:
        assert compare(flatten(contestant.run()), truth).relative_l2 < 1e-5, contestant.name


def test_the_command_line_knows_every_peer() -> None:
    assert tuple(PEERS) == PEER_NAMES


def test_a_peers_contestants_begin_with_its_name(task: Task) -> None:
    assert [c.name for c in PEERS["eager"](task)] == ["eager contiguous", "eager channels_last"]


def test_eager(task: Task) -> None:
    assert_right(PEERS["eager"](task), task)


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_a_runtime_of_others(package: str, task: Task) -> None:
    pytest.importorskip(package)
    if package == "onnxruntime":
        pytest.importorskip("onnx")
    assert_right(PEERS[package](task), task)


@pytest.mark.slow
def test_torch_compile(task: Task) -> None:
    assert_right(PEERS["torch.compile"](task), task)


class Scaled(nn.Module):
    """Residuals with a scale each, as both Inception-ResNets have them."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, scale in zip(self.convs, (0.25, 2.0, 5.0), strict=True):
            x = (conv(x) * scale + x).relu()
        return x


@pytest.mark.slow
def test_torch_compile_keeps_scalars_apart() -> None:
    task = Task(Scaled().eval(), images(3), "fp32", CPU, threads=1)
    assert_right(PEERS["torch.compile"](task), task)


@pytest.mark.parametrize("backend", [name for name, found in backends().items() if found.available])
def test_ours(backend: str, task: Task) -> None:
    contestants = ours.prepare(task, backend)
    assert [c.name for c in contestants] == [f"inception_fast {backend}"]
    assert_right(contestants, task)


OPTIONAL = ("onnx", "onnxruntime", "openvino", "jax", "cudnn")


def absent(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Makes that package of the optional ones look missing, and it alone."""
    find = importlib.util.find_spec
    optional = {name: ModuleSpec(name, None) for name in OPTIONAL if name != package}

    def spec(name: str, *rest: str | None) -> ModuleSpec | None:
        return None if name == package else optional.get(name) or find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", spec)


@pytest.mark.parametrize(
    ("peer", "package"),
    [
        ("onnxruntime", "onnxruntime"),
        ("onnxruntime", "onnx"),
        ("openvino", "openvino"),
        ("jax", "jax"),
        ("cudnn", "cudnn"),
    ],
)
def test_a_package_that_is_missing(peer: str, package: str, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, package)
    with pytest.raises(PeerUnavailableError, match=f"{package}.* is not installed"):
        PEERS[peer](task)


@pytest.mark.parametrize(
    ("peer", "precision", "device", "reason"),
    [
        ("onnxruntime", "bf16", "cpu", "bf16"),
        ("openvino", "tf32", "cpu", "tf32"),
        ("openvino", "fp32", "cuda", "cuda"),
    ],
)
def test_what_a_peer_does_not_do(peer: str, precision: str, device: str, reason: str, task: Task) -> None:
    for package in {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("openvino",)}[peer]:
        pytest.importorskip(package)
    other = Task(task.model, task.images, precision, torch.device(device), 1)
    with pytest.raises(PeerUnavailableError, match=reason):
        PEERS[peer](other)


def test_a_backend_that_does_not_serve_the_device(task: Task) -> None:
    elsewhere = Task(task.model, task.images, "fp32", torch.device("meta"), 1)
    prepare: Callable[[Task], list[Contestant]] = ours.preparer("torch")
    with pytest.raises(PeerUnavailableError, match="meta"):
        prepare(elsewhere)
