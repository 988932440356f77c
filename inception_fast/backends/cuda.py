"""``cuda``: the Plan on the package's own CUDA kernels; see ``docs/cuda-backend.md``.

With ``INCEPTION_FAST_EMULATE=1`` in the environment it takes CPU tensors, and the emulator of ``docs/emulator.md`` runs
the kernels' source: slow, and every access checked.

``INCEPTION_FAST_CUDA_DRIVER`` chooses how kernels are launched: ``stage`` (the default), ``pair`` or ``network``; see
:class:`CudaExecutor`. ``INCEPTION_FAST_CUDA_OPTIONS`` sets what measurements vary about launches, as
``key=value,key=value``; ``docs/cuda-backend.md`` lists the keys.

The bits of an image's result depend neither on the batch, nor on its place there, nor on the driver, with or without
``batch_invariant``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Hashable, Mapping
from types import ModuleType
from typing import Literal, get_args

import torch

from inception_fast._build_info import build_info
from inception_fast.backends.base import Availability, Backend, BlockTrace, Executor, Lowering, Out, StepTime
from inception_fast.backends.cuda_graph import CudaGraphs, record, with_index
from inception_fast.backends.cuda_trace import new_records, read_records, record_columns, step_times
from inception_fast.backends.shared import Shared
from inception_fast.errors import InputError
from inception_fast.plan.plan import Plan
from inception_fast.plan.serialize import plan_to_json
from inception_fast.tuning.machine_constants import Machine, shipped_machine

EMULATE = "INCEPTION_FAST_EMULATE"
DRIVER = "INCEPTION_FAST_CUDA_DRIVER"
OPTIONS = "INCEPTION_FAST_CUDA_OPTIONS"
Driver = Literal["stage", "pair", "network"]
OLDEST = (8, 0)
"""Compute capability from which on there are cp.async and the mma.sync that the kernels use."""


def emulating() -> bool:
    """Whether the environment asks for the emulator."""
    return os.environ.get(EMULATE) == "1"


def chosen_driver() -> Driver:
    """The driver that the environment asks for.

    Raises:
        InputError: there is none of that name.
    """
    name = os.environ.get(DRIVER, "stage")
    for driver in get_args(Driver):
        if name == driver:
            return driver
    raise InputError(DRIVER, repr(name), f"one of {', '.join(map(repr, get_args(Driver)))}")


def native(emulate: bool) -> ModuleType:
    """The compiled module for the emulator or for devices.

    Raises:
        ImportError: it was not built.
    """
    return importlib.import_module(f"inception_fast.{'_native_emulator' if emulate else '_native_cuda'}")


class CudaBackend(Backend):
    """See the module."""

    name = "cuda"
    lowering = Lowering(pair=True)

    def availability(self) -> Availability:
        info = build_info()
        part = info.native if emulating() else info.cuda
        try:
            native(emulating())
        except ImportError as error:
            return Availability(False, part.reason or f"the compiled part does not load: {error}")
        if emulating():
            return Availability(True)
        if not torch.cuda.is_available():
            return Availability(False, "no CUDA device")
        capability = torch.cuda.get_device_capability()
        if capability < OLDEST:
            return Availability(False, f"the device is sm_{capability[0]}{capability[1]}, the kernels need sm_80")
        return Availability(True)

    def devices(self) -> tuple[str, ...]:
        return ("cpu",) if emulating() else ("cuda",)

    def compile(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        *,
        device: torch.device,
        precision: str = "fp32",
        batch_invariant: bool = False,
        shared: Shared | None = None,
    ) -> Executor:
        device = device if device.type == "cpu" else with_index(device)
        executor = CudaExecutor(plan, constants, device, precision, chosen_driver(), os.environ.get(OPTIONS, ""))
        return executor if device.type == "cpu" else CudaGraphs(executor, plan, device)


class CudaExecutor(Executor):
    """Runs a Plan on PyTorch's current stream.

    Args:
        constants: on the CPU, contiguous or not; copied to the device.
        device: with an index, or the CPU for the emulator.
        precision: ``fp32``, ``tf32``, ``fp16`` or ``bf16``.
        driver: ``stage`` is one launch a stage, and two where it has pairs; ``pair`` keeps a pair's intermediate in
            shared memory; ``network`` is one launch for everything, whose blocks wait for each other, in an arena
            where no buffers share memory. The bits are the same.
        options: ``key=value,key=value``, as in ``INCEPTION_FAST_CUDA_OPTIONS``.
        machine: the constants by which the time model cuts sums into segments; None for those that ship for the device.

    Raises:
        InputError: ``options`` has an unknown key or value; the message names it.
        EngineFileError: the Plan's dtype does not go with ``precision``.
        DeviceError: the CUDA runtime reports an error.
    """

    places_outputs = True

    def __init__(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        device: torch.device,
        precision: str = "fp32",
        driver: Driver = "stage",
        options: str = "",
        machine: Machine | None = None,
    ) -> None:
        self._plan, self._device, self.driver = plan, device, driver
        contiguous = {name: tensor.cpu().contiguous() for name, tensor in constants.items()}
        addresses = {name: (tensor.data_ptr(), tensor.nbytes) for name, tensor in contiguous.items()}
        module = native(emulate=device.type == "cpu")
        if machine is None:
            machine = shipped_machine(None if device.type == "cpu" else torch.cuda.get_device_name(device))
        arguments = plan_to_json(plan), addresses, precision, driver, device.index or 0, options, machine.to_json()
        self._native = module.CudaExecutor(*arguments)

    @property
    def packed(self) -> Mapping[Hashable, int]:
        """Weights, biases and tables on the device."""
        return {id(self): self._native.weight_bytes}

    def launches(self) -> list[list[str]]:
        """The names of the steps of each launch."""
        return self._native.launches()

    def launch_shapes(self) -> list[tuple[int, int]]:
        """Of each launch, the blocks of a cluster and the bytes of shared memory of a block."""
        return self._native.shapes()

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        return self._run(x, out or {}, None)

    def trace(self, x: torch.Tensor) -> list[BlockTrace]:
        """One forward pass whose blocks note the time; in the emulator, a count of such notes.

        The kernels are the same ones as without. Noting costs a barrier and some stores a tile, none of them in a loop
        over K.
        """
        return read_records(self._records(x), self.launches())

    def trace_columns(self, x: torch.Tensor) -> torch.Tensor:
        """As :meth:`trace`, in one tensor: large batches have hundreds of thousands of tiles.

        Returns:
            ``[tiles, 9]``, int64, on the CPU, of :data:`~.cuda_trace.COLUMNS`; steps are numbered as :meth:`launches`
            names them.
        """
        return record_columns(self._records(x), self.launches())

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        """From :meth:`trace`; see :func:`~.cuda_trace.step_times`."""
        return step_times(self.trace(x), self._plan.step_names)

    def _records(self, x: torch.Tensor) -> torch.Tensor:
        records = new_records(self._native.tiles(x.shape[0]), x.device)
        if not x.is_cuda:
            self._run(x, {}, records)
            return records
        with torch.cuda.device(self._device), torch.no_grad():
            # As a replay, whose launches do not wait for the host; the passes before it have left their own records.
            graph, _ = record(lambda: self._run(x, {}, records))
            records.zero_()
            graph.replay()
            torch.cuda.synchronize()
        return records

    def _run(self, x: torch.Tensor, given: Out, records: torch.Tensor | None) -> list[torch.Tensor]:
        batch, dtype = x.shape[0], getattr(torch, self._plan.io_dtype)
        shapes = {i: (b.height, b.width, b.channels) for i, b in enumerate(self._plan.buffers) if b.home == "output"}
        buffers = {
            i: given[i] if i in given else x.new_empty((batch, *shape), dtype=dtype) for i, shape in shapes.items()
        }
        arena = x.new_empty(self._native.arena_bytes(batch) // dtype.itemsize, dtype=dtype)
        counters = torch.zeros(self._native.counter_bytes(batch) // 4, dtype=torch.int32, device=x.device)
        outputs = [b.data_ptr() for b in buffers.values()]
        stream = torch.cuda.current_stream(self._device).cuda_stream if x.is_cuda else 0
        memory = (arena.data_ptr(), counters.data_ptr(), outputs)
        self._native.run(x.data_ptr(), x.stride(), batch, *memory, stream, 0 if records is None else records.data_ptr())
        order = [o.buffer for o in self._plan.outputs]
        return [given[i] if i in given else buffers[i].permute(0, 3, 1, 2) for i in order]
