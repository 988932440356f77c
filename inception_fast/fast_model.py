"""FastModel: a Plan and its constants behind the face of the module that they were made from."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from inception_fast.autocast import CASTS, autocast_dtype, no_autocast
from inception_fast.backends import Backend, Executor, selection
from inception_fast.backends.base import Out
from inception_fast.backends.shared import Shared
from inception_fast.errors import InputError, InputTypeError
from inception_fast.fused import Fused
from inception_fast.gradients import refusing
from inception_fast.graph.structure import OutputStructure
from inception_fast.integrations import ops
from inception_fast.outputs import OutputMemory
from inception_fast.plan.engine_file import (
    EngineFile,
    engine_bytes,
    engine_digest,
    read_engine,
    read_engine_bytes,
    write_engine,
)
from inception_fast.plan.plan import Plan
from inception_fast.report import Report
from inception_fast.static_call import StaticCall
from inception_fast.tensors import in_memory, is_traced

if TYPE_CHECKING:
    from inception_fast.partition.partitioned_model import PartitionedModel


class FastModel(Fused):
    """An Inception-family network on fast kernels, for inference only.

    Made by :func:`inception_fast.optimize` and :func:`inception_fast.load`. Safe to call from several threads. The
    weights are those that the model had then: changing the model afterwards changes nothing here. It has neither the
    model's parts nor its parameters, and says so where it is asked for them; its ``state_dict`` is the engine file as
    one tensor of bytes, which any FastModel loads.

    Args:
        engine: the Plan, its constants and the contract of its input.
        structure: how the outputs are nested.
        backend: name of the backend asked for, or ``auto``.
        device: where to get ready first; tensors on other devices that the backend serves are taken too.
        shared: with FastModels of the same network for other image sizes.

    Attributes:
        key: names the engine and the backend to the operator ``inception_fast::run``.
    """

    face = "FastModel"
    instead = "FastModel.engine.constants for the weights, .precision for their type; its device is that of x"

    def __init__(
        self,
        engine: EngineFile,
        structure: OutputStructure,
        backend: str,
        device: torch.device,
        shared: Shared | None = None,
    ) -> None:
        super().__init__()
        self.training = False
        self._adopt(engine, structure, backend, device, shared)

    def _adopt(
        self,
        engine: EngineFile,
        structure: OutputStructure,
        backend: str,
        device: torch.device,
        shared: Shared | None = None,
    ) -> None:
        self._engine, self._structure, self._requested, self._shared = engine, structure, backend, shared
        metadata, plan = engine.metadata, engine.plan
        # What an executor takes and gives, which is one type but for bytes.
        self._taken: torch.dtype = getattr(torch, plan.input_dtype)
        self._given: torch.dtype = getattr(torch, plan.io_dtype)
        self._dtypes, self._shape = (getattr(torch, metadata.input_dtype), self._taken), metadata.called_with
        self._channels_last = metadata.input_layout == "NHWC"
        wanted = None if metadata.output_dtype is None else getattr(torch, metadata.output_dtype)
        self._outputs, self._build = OutputMemory(plan, wanted), structure.builder()
        self._executors: dict[torch.device, tuple[Backend, Executor]] = {}
        self._reasons: dict[torch.device, str] = {}
        self._lock = threading.Lock()
        self._backend, _ = self.executor_for(device)
        self.key = f"{engine_digest(engine)}/{backend}"
        ops.register(self)

    @property
    def backend(self) -> str:
        """Name of the backend that was chosen for the device it was made on; :meth:`report` says why.

        Where ``auto`` chooses by batch size, the one for large batches.
        """
        return self._backend.name

    @property
    def device(self) -> torch.device:
        """Where it was made ready first."""
        return next(iter(self._executors))

    @property
    def precision(self) -> str:
        return self._engine.metadata.precision

    @property
    def batch_invariant(self) -> bool:
        return self._engine.metadata.batch_invariant

    @property
    def plan(self) -> Plan:
        return self._engine.plan

    @property
    def engine(self) -> EngineFile:
        """Everything that :meth:`save` writes."""
        return self._engine

    @property
    def shared(self) -> Shared | None:
        """With FastModels of the same network for other image sizes."""
        return self._shared

    @property
    def structure(self) -> OutputStructure:
        """How the outputs are nested."""
        return self._structure

    def structured(self, results: list[torch.Tensor]) -> Any:
        """The model's result with the output tensors in their places."""
        return self._build(results)

    @property
    def packed(self) -> Mapping[Hashable, int]:
        """Bytes of the packed weights, on every device that it has run on, by what tells pieces apart that engines for
        several image sizes share.
        """
        executors = [executor for _, executor in list(self._executors.values())]
        return {key: size for executor in executors for key, size in executor.packed.items()}

    @property
    def weight_bytes(self) -> int:
        """Memory of the packed weights."""
        return sum(self.packed.values())

    def report(self) -> Report:
        """What was fused, merged and left alone, and why; which backend runs it. ``str()`` of it is for people."""
        device, (_, executor) = next(iter(self._executors.items()))
        held = self.weight_bytes + sum(t.nbytes for t in self._engine.constants.values())
        working = sum(executor.working_bytes for _, executor in list(self._executors.values()))
        return Report.of(self._engine, self.backend, executor.driver, self._reasons[device], held, working)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an engine file, which :func:`inception_fast.load` and the C++ library read.

        Raises:
            InputError: what is at ``path`` is not a file; a symbolic link to one is followed.
            OSError: the file cannot be written.
        """
        write_engine(path, self._engine)

    def forward(self, x: torch.Tensor, out: object = None) -> object:
        """The model's outputs, in its own structure.

        Args:
            x: ``[N, C, H, W]``, or ``[N, H, W, C]`` where the model permutes it, with C, H and W of the example that it
                was made with; any N, any strides; in the example's dtype or, but for bytes, the Plan's (float32 for
                int8), under ``torch.autocast`` in any that it casts to; on a device that the backend serves.
            out: the caller's memory, tensors in the model's own structure: shapes of the outputs, dtype of the results
                and device of ``x``, any strides that give every element a place of its own, apart from ``x``. Feature
                maps in channels_last memory format and the Plan's dtype are written by the last kernels themselves,
                others by a copy.

        Returns:
            What the model returned, in the dtype of ``x`` (of bytes: that of the model's own results), under
            ``torch.autocast`` too. Feature maps are in channels_last memory format. ``out`` where it was given.

        Raises:
            InputError: names what does not fit; at the backward pass where ``x`` wants a gradient.
        """
        if is_traced():
            return self._traced(x, out)
        if out is None:
            return self._build(self.run_checked(x))
        self.check(x)
        _want_no_gradient(x)
        x = in_memory("x", x)
        targets = self._check_out(out, x)
        self._run_into(x, targets, self._outputs.direct(targets), self.executor_for(x.device)[1])
        return out

    def static(self, x: torch.Tensor, out: object = None) -> StaticCall:
        """The network bound to one input's memory: each call computes what that memory holds then.

        On a GPU the pass is recorded into a CUDA graph that reads ``x`` and writes the outputs where they stay, so that
        a call is a replay: no checks, no copies in or out, where ``x`` and ``out`` are in the Plan's dtype and maps in
        channels_last memory format. On a CPU the outputs are reused and nothing is checked again.

        Args:
            x: as for :meth:`forward`; the caller writes each input there, in place.
            out: as for :meth:`forward`; allocated once by default.

        Returns:
            A function without arguments. Calls of it share memory, so they take turns: on a GPU, on one stream.

        Raises:
            InputError: names what does not fit.
        """
        self.check(x)
        _want_no_gradient(x)
        if in_memory("x", x) is not x:
            raise InputError("x", "a tensor whose memory holds other values (a lazy negation)", "memory to read from")
        if not x.shape[0]:
            raise InputError("x", f"an empty batch (shape {list(x.shape)})", "images to compute anew at each call")
        executor = self.executor_for(x.device)[1].unrecorded(x.shape[0])
        if out is None:
            targets = self._execute(x, executor)
            out = self._build(targets)
        else:
            targets = self._check_out(out, x)
        direct = self._outputs.direct(targets)
        return StaticCall(lambda: self._run_into(x, targets, direct, executor), x, out)

    def run_flat(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The output tensors in order, without their structure. Arguments and errors as :meth:`forward`."""
        return ops.run_traced(self, x) if is_traced() else self.run_checked(x)

    def run_checked(self, x: torch.Tensor) -> list[torch.Tensor]:
        """:meth:`run_flat`, never traced."""
        self.check(x)
        x = in_memory("x", x)
        executor = self.executor_for(x.device)[1]
        if x.requires_grad and torch.is_grad_enabled():
            return refusing(lambda: self._execute(x, executor), (x,))
        return self._execute(x, executor)

    def _traced(self, x: torch.Tensor, out: object) -> object:
        """:meth:`forward` in a graph of PyTorch's compilers, where the operator's results are copied to ``out``."""
        results = ops.run_traced(self, x)
        if out is None:
            return self._build(results)
        named = self._structure.flatten(out, "out")
        self._outputs.check_kind(named, x)
        for (_, target), result in zip(named, results, strict=True):
            target.copy_(result)
        return out

    def fake_outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Empty tensors with the shapes, strides and dtypes of :meth:`run_flat`'s."""
        self.check(x)
        layouts = (torch.contiguous_format if flat else torch.channels_last for flat in self._outputs.flat)
        return [
            torch.empty(shape, dtype=self._outputs.dtype_for(x), device=x.device, memory_format=layout)
            for shape, layout in zip(self._outputs.shapes(x.shape[0]), layouts, strict=True)
        ]

    def _execute(self, x: torch.Tensor, executor: Executor) -> list[torch.Tensor]:
        if not x.shape[0]:
            return self.fake_outputs(x)
        with no_autocast(x.device):
            return self._executed(x, executor)

    def _executed(self, x: torch.Tensor, executor: Executor) -> list[torch.Tensor]:
        outputs, wanted = self._outputs, self._outputs.dtype_for(x)
        x = self.as_taken(x)
        if wanted is not self._given:
            results = executor.run(x)
            return [(t.flatten(1) if flat else t).to(wanted) for t, flat in zip(results, outputs.flat, strict=True)]
        if not executor.places_outputs:
            return [t.flatten(1) if flat else t for t, flat in zip(executor.run(x), outputs.flat, strict=True)]
        results = executor.run(x, outputs.allocate(x))
        if outputs.all_placed:
            return results
        return [t.flatten(1) if flat and t.dim() == 4 else t for t, flat in zip(results, outputs.flat, strict=True)]

    def as_taken(self, x: torch.Tensor) -> torch.Tensor:
        """An input that fits as executors take it: ``[N, C, H, W]`` in ``plan.input_dtype``."""
        typed = x if x.dtype is self._taken else x.to(self._taken)
        return typed.permute(0, 3, 1, 2) if self._channels_last else typed

    def _check_out(self, out: object, x: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of ``out`` in order, ready to be written to."""
        named = self._structure.flatten(out, "out")
        self._outputs.check(named, x)
        return [tensor for _, tensor in named]

    def _run_into(self, x: torch.Tensor, targets: list[torch.Tensor], direct: Out, executor: Executor) -> None:
        """``direct``: the targets that executors may write to."""
        if not x.shape[0]:
            return
        x = self.as_taken(x)
        with no_autocast(x.device):
            results = executor.run(x, direct)
        for target, result, flat in zip(targets, results, self._outputs.flat, strict=True):
            if result.data_ptr() == target.data_ptr():
                # Kernels write past autograd, which looks at this number.
                if not target.is_inference():
                    torch.autograd.graph.increment_version(target)
            else:
                target.copy_(result.flatten(1) if flat and result.dim() == 4 else result)

    def executor_for(self, device: torch.device) -> tuple[Backend, Executor]:
        """The backend and its executor for a device, made on first use.

        Raises:
            BackendUnavailableError: the backend asked for does not serve the device.
        """
        found = self._executors.get(device)
        if found is None:
            with self._lock:
                found = self._executors.get(device)
                if found is None:
                    found = self._executors[device] = self._compile(device)
        return found

    def _compile(self, device: torch.device) -> tuple[Backend, Executor]:
        chosen = selection(self._requested, device, self.precision, batch_invariant=self.batch_invariant)
        backend, self._reasons[device] = chosen.backend, chosen.reason
        with no_autocast(device):
            executor = backend.compile(
                self.plan,
                self._engine.constants,
                device=device,
                precision=self.precision,
                batch_invariant=self.batch_invariant,
                shared=self._shared,
            )
        return backend, executor

    def check(self, x: torch.Tensor) -> None:
        """Refuses an input that does not fit; see :meth:`forward`."""
        if not (
            isinstance(x, torch.Tensor)
            and len(shape := x.shape) == 4
            and shape[1:] == self._shape
            and x.dtype in self._dtypes
            and not self.training
            and x.device in self._executors
        ):
            self._refuse(x)

    def _refuse(self, x: torch.Tensor) -> None:
        """Says what does not fit; nothing where it is only that the device is new."""
        if not isinstance(x, torch.Tensor):
            raise InputTypeError("x", type(x).__name__, "a torch.Tensor")
        shape = self._shape
        expected = f"[N, {', '.join(map(str, shape))}]"
        if x.dim() != 4:
            raise InputError("x", f"rank {x.dim()} (shape {list(x.shape)})", f"rank 4, {expected}")
        if tuple(x.shape[1:]) != shape:
            axis = 3 if self._channels_last else 1
            what = "channels differ" if x.shape[axis] != shape[axis - 1] else "image size differs"
            what += " of images [N, H, W, C]" if self._channels_last else ""
            raise InputError("x", f"shape {list(x.shape)}", f"{expected}; the {what}")
        cast = autocast_dtype(x.device) and CASTS.issuperset((x.dtype, self._dtypes[0]))
        if x.dtype not in self._dtypes and not cast:
            allowed = " or ".join(dict.fromkeys(map(str, self._dtypes)))
            under = " under torch.autocast" if autocast_dtype(x.device) else ""
            raise InputTypeError("x", f"{x.dtype}{under}", allowed)
        if self.training:
            raise InputError("training", True, "False: FastModel is for inference; call .eval()")
        if x.device not in self._executors and x.device.type not in self._backend.devices():
            devices = " or ".join(self._backend.devices())
            raise InputError("x", f"device {x.device}", f"{devices} for backend '{self.backend}'")

    def get_extra_state(self) -> torch.Tensor:
        """The engine file, uint8."""
        return torch.frombuffer(bytearray(engine_bytes(self._engine)), dtype=torch.uint8)

    def set_extra_state(self, state: object) -> None:
        """Becomes the network of an engine file.

        Raises:
            EngineFileError: ``state`` is none.
        """
        if not isinstance(state, torch.Tensor) or state.dtype != torch.uint8:
            got = state.dtype if isinstance(state, torch.Tensor) else type(state).__name__
            raise InputTypeError("state_dict", got, "the bytes of an engine file (uint8), as FastModel.state_dict()")
        engine = read_engine_bytes(state.cpu().numpy().tobytes())
        self._adopt(engine, OutputStructure.from_json(engine.metadata.structure), self._requested, self.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        others = [k for k in state_dict if k.startswith(prefix) and k != prefix + "_extra_state"]
        if others:
            # Even where strict=False would ignore them: somebody means to change the weights.
            expected = "what FastModel.state_dict() gives; load weights into the model, and optimize it again"
            raise InputError("state_dict", f"{len(others)} entries of another module, '{others[0]}' first", expected)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module | nn.Parameter):
            expected = "a change of the model that it was made of, which is then optimized again"
            raise InputError(name, f"a {type(value).__name__} to be put into a FastModel", expected)
        super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, object]) -> FastModel:
        return FastModel(self._engine, self._structure, self._requested, self.device).train(self.training)

    def __reduce__(self) -> tuple[object, ...]:
        return _from_bytes, (engine_bytes(self._engine), self._requested, self.device)

    def extra_repr(self) -> str:
        return f"backend={self.backend}, precision={self.precision}, steps={len(self.plan.steps)}"


def _want_no_gradient(x: torch.Tensor) -> None:
    """Memory that the caller gives cannot refuse its gradient later."""
    if x.requires_grad and torch.is_grad_enabled():
        raise InputError("x", "requires_grad=True with grad enabled", "inference: torch.no_grad() or x.detach()")


def load(
    path: str | os.PathLike[str], backend: str = "auto", device: torch.device | str | None = None
) -> FastModel | PartitionedModel:
    """What was saved: a FastModel from an engine file, a PartitionedModel from an archive.

    Args:
        backend: as for :func:`inception_fast.optimize`.
        device: where to get ready; by default a GPU where PyTorch sees one and the backend can use it, else the CPU.

    Raises:
        EngineFileError: truncated, corrupt, of a newer version, or packed for another backend.
        BackendUnavailableError: the backend cannot run here.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        partitioned = file.read(2) == b"PK"
    place = default_device(backend) if device is None else torch.device(device)
    if partitioned:
        from inception_fast.partition.archive import read_archive

        return read_archive(path, backend, place)
    return _from_engine(read_engine(path), backend, place)


def _from_engine(engine: EngineFile, backend: str, device: torch.device) -> FastModel:
    return FastModel(engine, OutputStructure.from_json(engine.metadata.structure), backend, device)


def _from_bytes(data: bytes, backend: str, device: torch.device) -> FastModel:
    return _from_engine(read_engine_bytes(data), backend, device)


def default_device(backend: str) -> torch.device:
    """A GPU where there is one that the backend serves, else the CPU."""
    if torch.cuda.is_available():
        from inception_fast.backends import get_backend

        if backend == "auto" or "cuda" in get_backend(backend).devices():
            return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
