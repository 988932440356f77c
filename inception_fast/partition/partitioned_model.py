"""PartitionedModel: engines and PyTorch's operators behind the face of the module that they were made from."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from inception_fast.autocast import no_autocast
from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.fused import Fused
from inception_fast.gradients import refusing_leaves
from inception_fast.graph.structure import OutputStructure
from inception_fast.outputs import check_apart, check_result_memory
from inception_fast.partition.arguments import Contract
from inception_fast.partition.report import PartitionReport
from inception_fast.tensors import is_traced


class PartitionedModel(Fused):
    """A model of which parts run on fast kernels and the rest on PyTorch's own operators, for inference only.

    Made by :func:`inception_fast.optimize` and :func:`inception_fast.load`. Safe to call from several threads. The
    weights are those that the model had then: changing the model afterwards changes nothing here. Its ``state_dict``
    has its engines and constants, under names of its own.

    Args:
        rest: takes the tensors of a call in order; its ``island*`` are FastModels.
        contract: what it may be called with.
        structure: how what ``rest`` returns is nested.
        precision: of the engines.
        backend: name of the backend asked for, or ``auto``.
        facts: what :meth:`report` says, without the engines' own reports.
        inner: modules that operators of ``rest`` know by name, kept for them.
    """

    face = "PartitionedModel"
    instead = "PartitionedModel.engines and .rest for the weights"

    def __init__(
        self,
        rest: fx.GraphModule,
        contract: Contract,
        structure: OutputStructure,
        precision: str,
        backend: str,
        facts: PartitionReport,
        inner: tuple[nn.Module, ...] = (),
    ) -> None:
        super().__init__()
        self.inner = inner
        self.rest, self.contract, self.structure = rest, contract, structure
        self.precision, self.requested, self.facts = precision, backend, facts
        self._build = structure.builder()
        self.eval()

    @property
    def engines(self) -> dict[str, FastModel]:
        """By the name of the island."""
        return {name: m for name, m in self.rest.named_children() if isinstance(m, FastModel)}

    @property
    def backend(self) -> str:
        """Name of the backend that runs the engines, ``torch`` where there are none."""
        return next((engine.backend for engine in self.engines.values()), "torch")

    @property
    def batch_invariant(self) -> bool:
        """PyTorch's operators do not promise it."""
        return False

    def report(self) -> PartitionReport:
        """What runs where and why. ``str()`` of it is for people."""
        engines = self.engines
        islands = (replace(i, report=engines[i.name].report()) for i in self.facts.islands)
        return replace(self.facts, islands=tuple(islands))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an archive, which :func:`inception_fast.load` reads: the engine files, and the operators between them
        with their constants.

        Raises:
            InputError: what is at ``path`` is not a file; or an operator of the rest cannot be written, by name.
            OSError: the file cannot be written.
        """
        from inception_fast.partition.archive import write_archive

        write_archive(path, self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs, in its own structure.

        Args:
            args, kwargs: the model's own, with the shapes and dtypes of the example that it was made with, and of any
                batch size where the model allows it. And ``out``, where the model has no argument of that name: the
                caller's memory, tensors in the model's own structure, shapes and dtypes, to which results are copied.

        Returns:
            What the model returned, in the model's own dtypes, under ``torch.autocast`` too. ``out`` where it was
            given.

        Raises:
            InputError: names what does not fit; at the backward pass where an argument wants a gradient.
        """
        out = kwargs.pop("out", None) if self.contract.has_room_for_out else None
        if is_traced():
            results = self.rest(*(t for _, t in self.contract.tensors_of(args, kwargs)))
            return self._build(results) if out is None else self._copied(results, out)
        if self.training:
            raise InputError("training", True, "False: PartitionedModel is for inference; call .eval()")
        tensors = self.contract.checked(args, kwargs, self._device())
        wanted = [t for t in tensors if t.requires_grad] if torch.is_grad_enabled() else []
        if out is None:
            return self._build(refusing_leaves(lambda: self._run(tensors), wanted) if wanted else self._run(tensors))
        if wanted:
            raise InputError("out", "arguments with requires_grad=True, and grad enabled", "inference: torch.no_grad()")
        return self._copied(self._run(tensors), out)

    def _copied(self, results: Sequence[Any], out: object) -> object:
        """``out`` with the results in it, once all of it was seen to fit."""
        pairs = [
            (name, target, result)
            for (name, target), result in zip(self.structure.flatten(out, "out"), results, strict=True)
            if isinstance(result, Tensor)
        ]
        for name, target, result in pairs:
            sources = ("these arguments", "the model returns", "the arguments")
            check_result_memory(name, target, result.shape, result.dtype, result.device, sources)
        if not is_traced():
            check_apart([(name, target) for name, target, _ in pairs])
        for _, target, result in pairs:
            target.copy_(result)
        return out

    def _run(self, tensors: list[Tensor]) -> list[Any]:
        with no_autocast(tensors[0].device):
            return list(self.rest(*tensors))

    def _device(self) -> torch.device | None:
        """Where the constants of the rest are; None where there are none."""
        return next((b.device for b in self.rest.buffers(recurse=False)), None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PartitionedModel:
        before = torch.empty(1, dtype=torch.float32, device="cpu")
        after = fn(before)
        if after.dtype != before.dtype:
            expected = f"{before.dtype}: optimize the model in another precision"
            raise InputError("dtype", after.dtype, expected)
        super()._apply(fn, recurse)
        for node in self.rest.graph.nodes:
            node.args, node.kwargs = fx.node.map_aggregate(
                (node.args, node.kwargs), lambda a: after.device if isinstance(a, torch.device) else a
            )
        self.rest.recompile()
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> PartitionedModel:
        rest = copy.deepcopy(self.rest, memo)
        made = PartitionedModel(
            rest, self.contract, self.structure, self.precision, self.requested, self.facts, self.inner
        )
        return made.train(self.training)

    def __reduce__(self) -> tuple[object, ...]:
        from inception_fast.partition.archive import archive_bytes, read_archive_bytes

        device = self._device() or next((engine.device for engine in self.engines.values()), torch.device("cpu"))
        return read_archive_bytes, (archive_bytes(self), self.requested, device)

    def extra_repr(self) -> str:
        return f"backend={self.backend}, precision={self.precision}, islands={len(self.engines)}"
