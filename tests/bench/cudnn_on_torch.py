"""What cuDNN's graph API means, on PyTorch: convolutions of raw memory, to check their descriptions by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from inception_fast.bench.peers.cudnn_problem import Layout, Problem, Tensors, Uid, dense, describe
from inception_fast.bench.peers.cudnn_steps import Run


@dataclass
class Value:
    """A tensor of a :class:`TorchGraph`; the library's own are set up in the same chained way."""

    compute: Callable[[dict[int, torch.Tensor]], torch.Tensor] | None = None
    uid: int = 0
    dim: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    def set_uid(self, uid: int) -> Value:
        return self._set(uid=uid)

    def set_dim(self, dim: list[int]) -> Value:
        return self._set(dim=tuple(dim))

    def set_stride(self, stride: list[int]) -> Value:
        return self._set(stride=tuple(stride))

    def set_data_type(self, kind: object) -> Value:
        return self

    def set_output(self, is_output: bool) -> Value:
        return self

    def _set(self, **fields: Any) -> Value:
        vars(self).update(fields)
        return self

    def at(self, pack: dict[int, torch.Tensor]) -> torch.Tensor:
        """What is described, at the address of the tensor with the Uid; nothing else of that tensor counts."""
        return torch.as_strided(pack[self.uid], self.dim, self.stride, pack[self.uid].storage_offset())

    def value(self, pack: dict[int, torch.Tensor]) -> torch.Tensor:
        return self.compute(pack) if self.compute else self.at(pack)


class TorchGraph:
    """The part of ``cudnn.pygraph`` that the peer uses, on PyTorch; it has one plan."""

    def __init__(self, **options: object) -> None:
        self.last = Value()

    def tensor(self, name: str, dim: list[int], stride: list[int], data_type: object) -> Value:
        return Value(dim=tuple(dim), stride=tuple(stride))

    def conv_fprop(
        self,
        image: Value,
        weight: Value,
        pre_padding: list[int],
        post_padding: list[int],
        stride: list[int],
        dilation: list[int],
    ) -> Value:
        (top, left), (bottom, right) = pre_padding, post_padding
        pads = (left, right, top, bottom)
        return self._add(lambda p: F.conv2d(F.pad(image.value(p), pads), weight.value(p), None, stride, 0, dilation))

    def add(self, a: Value, b: Value) -> Value:
        return self._add(lambda pack: a.value(pack) + b.value(pack))

    def relu(self, input: Value) -> Value:
        return self._add(lambda pack: input.value(pack).relu())

    def execute(self, tensors: Tensors) -> None:
        pack = {int(uid): tensor for uid, tensor in tensors.items()}
        result = self.last.value(pack)
        assert tuple(result.shape) == self.last.dim
        self.last.at(pack).copy_(result)

    def validate(self) -> None: ...
    def build_operation_graph(self) -> None: ...
    def create_execution_plans(self, modes: list[str]) -> None: ...
    def build_plan_at_index(self, index: int) -> None: ...

    def get_execution_plan_count(self) -> int:
        return 1

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return 0

    def execute_plan_at_index(self, pack: Tensors, workspace: torch.Tensor, index: int, handle: object) -> None:
        assert (index, handle, workspace.dtype) == (0, "handle", torch.uint8)
        self.execute(pack)

    def _add(self, compute: Callable[[dict[int, torch.Tensor]], torch.Tensor]) -> Value:
        self.last = Value(compute)
        return self.last


ON_TORCH = SimpleNamespace(
    pygraph=TorchGraph,
    data_type=SimpleNamespace(FLOAT="float", HALF="half", BFLOAT16="bfloat16"),
    heur_mode=SimpleNamespace(A="A", B="B"),
    cudnnGraphNotSupportedError=NotImplementedError,
    create_handle=lambda: "handle",
    set_stream=lambda handle, stream: None,
    backend_version=lambda: 1,
)
"""The module ``cudnn``."""


def from_memory(problem: Problem, tensors: Tensors) -> Run:
    """A convolution that takes an address from each tensor, and everything else from its description."""
    assert set(dict(problem.tensors)) == set(tensors)
    return partial(describe(ON_TORCH, problem, torch.float32).execute, tensors)


def in_copies(problem: Problem, tensors: Tensors) -> Run:
    """As a library would that takes nothing of the Plan's memory."""
    if any(tensors[uid]._is_view() for uid in tensors.keys() - {Uid.WEIGHT, Uid.BIAS}):
        raise NotImplementedError("a slice")
    for uid, layout in problem.tensors:
        assert layout == Layout.of(dense(torch.empty(layout.extents))), uid
    return from_memory(problem, tensors)
