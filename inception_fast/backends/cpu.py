"""``cpu``: the Plan on the package's own AVX-512, AVX2 or portable kernels; see ``docs/cpu-backend.md``.

float16 and bfloat16 are formats of storage: sums are float32. The bits of an image's result depend neither on the
batch nor on the number of threads, with or without ``batch_invariant``.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Hashable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import torch

from inception_fast._build_info import build_info
from inception_fast.backends.base import Availability, Backend, Executor, Lowering, Out, StepTime
from inception_fast.backends.shared import Shared
from inception_fast.errors import InputError, InputTypeError
from inception_fast.plan.plan import Plan
from inception_fast.plan.serialize import plan_to_json
from inception_fast.tensors import bytes_of, in_memory


def native() -> ModuleType:
    """The compiled module.

    Raises:
        ImportError: it was not built.
    """
    return importlib.import_module("inception_fast._native")


class CpuBackend(Backend):
    """See the module."""

    name = "cpu"
    # The intermediate of a pair fits in the second-level cache, so nothing is gained by computing it twice.
    lowering = Lowering(pair=False)

    def availability(self) -> Availability:
        try:
            native()
        except ImportError as error:
            return Availability(False, build_info().native.reason or f"the C++ part does not load: {error}")
        return Availability(True)

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def precisions(self, device: torch.device) -> tuple[str, ...]:
        return (*super().precisions(device), "int8")

    def compile(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        *,
        device: torch.device,
        precision: str = "fp32",
        batch_invariant: bool = False,
        shared: Shared | None = None,
    ) -> CpuExecutor:
        return CpuExecutor(plan, constants, shared=shared)


class CpuExecutor(Executor):
    """Runs a Plan on worker threads of its own.

    Args:
        constants: contiguous or not; copied.
        isa: one of ``native().instruction_sets()``; the last of them by default.
        threads: PyTorch's number by default; at most as many as the process's affinity allows are used.
        algorithm: ``direct``, or a Winograd tile by the name that :meth:`report` uses, for every convolution that it
            can compute; by default a model of cost picks.
        shared: with executors for other image sizes, whose packed weights and memory of calls it uses.

    Raises:
        InputError: the instruction set cannot run here.
        EngineFileError: the Plan's dtype is float64.
    """

    places_outputs = True

    def __init__(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        isa: str | None = None,
        threads: int | None = None,
        algorithm: str = "",
        shared: Shared | None = None,
    ) -> None:
        outputs = {i: (b.height, b.width, b.channels) for i, b in enumerate(plan.buffers) if b.home == "output"}
        self._shapes, places = tuple(outputs.items()), list(outputs)
        self._results = tuple((o.buffer, places.index(o.buffer)) for o in plan.outputs)
        self._taken: torch.dtype = getattr(torch, plan.input_dtype)
        self._given: torch.dtype = getattr(torch, plan.io_dtype)
        available = native().instruction_sets()
        isa = isa or available[-1]
        if isa not in available:
            raise InputError("isa", repr(isa), f"one of {', '.join(available)}")
        contiguous = {name: in_memory(name, tensor).contiguous() for name, tensor in constants.items()}
        addresses = {name: (tensor.data_ptr(), tensor.nbytes) for name, tensor in contiguous.items()}
        threads = min(threads or torch.get_num_threads(), native().usable_processors())
        memory, digests = None, {}
        if shared is not None:
            memory = shared.get(native, native().CpuNetworkMemory)
            digests = {name: shared.of([t], _digest, partial(_digest, t)) for name, t in constants.items()}
        self._native = native().CpuExecutor(plan_to_json(plan), addresses, isa, threads, algorithm, memory, digests)

    @property
    def threads(self) -> int:
        return self._native.threads

    @property
    def packed(self) -> Mapping[Hashable, int]:
        """Of the weights and biases of each convolution, by their address."""
        return dict(self._native.packed_weights)

    @property
    def working_bytes(self) -> int:
        """See the base class: an arena for some 32 MB of images or one a thread, whatever the batch, and scratch; as
        many of them as calls ran at the same time, of all executors that share them.
        """
        return self._native.working_bytes

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        given = out or {}
        buffers = self._allocate(x, given)
        self._native.run(*_arguments(x, buffers))
        return [given[i] if i in given else buffers[place].permute(0, 3, 1, 2) for i, place in self._results]

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        """See the base class; a step may be several operators, and a thread's time is shared out over all threads."""
        buffers = self._allocate(x, {})
        reports = self._native.profile(*_arguments(x, buffers))
        return [StepTime(r.step, r.seconds / self.threads, r.algorithm) for r in reports]

    def report(self) -> list[Any]:
        """Every operator in order: ``step``, ``algorithm``, ``stage``."""
        return self._native.report()

    def _allocate(self, x: torch.Tensor, out: Out) -> list[torch.Tensor]:
        """Memory for every output buffer in order, ``[N, H, W, C]``; the kernels trust the dtype."""
        if x.dtype != self._taken:
            raise InputTypeError("x", x.dtype, self._taken)
        images = x.shape[0]
        return [out[i] if i in out else x.new_empty((images, *shape), dtype=self._given) for i, shape in self._shapes]


def _digest(constant: torch.Tensor) -> bytes:
    return hashlib.sha256(bytes_of(constant)).digest()


def _arguments(x: torch.Tensor, buffers: list[torch.Tensor]) -> tuple[Any, ...]:
    """Addresses, which keep neither ``x`` nor ``buffers`` alive."""
    return x.data_ptr(), x.stride(), x.shape[0], [b.data_ptr() for b in buffers]
