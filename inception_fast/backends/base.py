"""The contract that every backend keeps, checked for each by ``tests/backends/test_conformance.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from inception_fast.backends.shared import Shared
from inception_fast.errors import PlanError
from inception_fast.plan.plan import QUANTIZED, Plan


@dataclass(frozen=True)
class Availability:
    """Whether a backend can run here, and if not, why not (one sentence, without a full stop)."""

    available: bool
    reason: str = ""


@dataclass(frozen=True)
class Lowering:
    """How a backend wants its Plans lowered; see :mod:`inception_fast.lowering.lower`.

    Attributes:
        merge_siblings: make one product of the 1x1 convolutions that read one tensor.
        merge_taps: make one convolution of the 1x3 and 3x1 that read one tensor, over the union of their taps.
        pair: make one step of 1xn followed by nx1.
        fuse_functions: let convolutions end in other functions than ReLU.
    """

    merge_siblings: bool = True
    merge_taps: bool = False
    pair: bool = True
    fuse_functions: bool = True

    @property
    def quantized(self) -> Lowering:
        """Of Plans that will be quantised: what has no scale, or is no integer, is in no convolution."""
        return replace(self, pair=False, fuse_functions=False)


@dataclass(frozen=True)
class StepTime:
    """What one step took in one forward pass.

    Attributes:
        step: its name in the Plan.
        algorithm: how it was computed, where the backend chooses.
    """

    step: str
    seconds: float
    algorithm: str = ""


@dataclass(frozen=True)
class BlockTrace:
    """What one block of threads did at one tile of a step; times in nanoseconds from the earliest start of the pass.

    Attributes:
        launch: the number of the launch that the step is in; of a network in one launch, as if it were several.
        step: its name in the Plan, with ``.first`` or ``.second`` behind it where a pair was taken apart.
        tile: of the step, from 0; a segment of a sum over K and a block of a cluster that shares a tile count as one.
        multiprocessor: where the block ran.
        start: the block has come to the tile.
        ready: what the step reads is there.
        first_chunk: the first chunk of K is in shared memory; ``ready`` where the step is no sum over K.
        loop_end: the last chunk is multiplied; ``done`` where the step is no sum over K.
        done: the results are stored.
    """

    launch: int
    step: str
    tile: int
    multiprocessor: int
    start: int
    ready: int
    first_chunk: int
    loop_end: int
    done: int


def refuse_quantized(plan: Plan, backend: str) -> None:
    """For backends that know nothing of scales.

    Raises:
        PlanError: the Plan is an int8 one.
    """
    if plan.dtype == QUANTIZED:
        raise PlanError(f"dtype: got {QUANTIZED}, backend '{backend}' takes Plans of floating-point numbers")


Out = Mapping[int, torch.Tensor]
"""Memory for output buffers by their index in ``plan.buffers``: ``[N, C, H, W]`` in channels_last memory format, or
``[N, C]`` of a buffer of one pixel, contiguous; in ``plan.io_dtype``, the address a multiple of
:data:`inception_fast.outputs.ALIGNMENT`, none of it the input's.
"""


def deliver(plan: Plan, results: Sequence[torch.Tensor], out: Out | None) -> list[torch.Tensor]:
    """Results that a library has allocated, those of ``out`` copied there."""
    if not out:
        return list(results)
    return [copied(result, out.get(o.buffer)) for o, result in zip(plan.outputs, results, strict=True)]


def copied(result: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
    """``result`` in memory of :data:`Out`; itself where there is none."""
    return result if target is None else target.copy_(result if target.dim() == 4 else result.flatten(1))


class Executor(ABC):
    """A Plan made ready to run on one device. Safe to call from several threads at once.

    Attributes:
        driver: which of the backend's ways to launch kernels it uses, '' where there is one.
        places_outputs: results cost nothing more in the caller's memory than in memory of its own.
    """

    driver: str = ""
    places_outputs: bool = False

    @property
    def packed(self) -> Mapping[Hashable, int]:
        """Bytes of the constants in the form that it has packed them, kept as long as it lives. Pieces that several
        executors share have one key.
        """
        return {}

    @property
    def weight_bytes(self) -> int:
        """Of all that is packed."""
        return sum(self.packed.values())

    @property
    def working_bytes(self) -> int:
        """Of activations and scratch that it, and who shares them, keeps between calls; 0 where PyTorch's allocator has
        them.
        """
        return 0

    @abstractmethod
    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        """One forward pass.

        Args:
            x: ``[N, C, H, W]``, N >= 1, any strides, in ``plan.input_dtype``, on the executor's device. Checked by the
            caller.
            out: where to put results; the buffers that it does not have are allocated.

        Returns:
            One tensor for each of ``plan.outputs``, in ``plan.io_dtype``: ``[N, C, H, W]`` in
            channels_last memory format; the caller flattens those that are ``flat``. Outputs of one buffer may be
            one tensor. Those of ``out`` are its tensors, as they are.
        """

    def unrecorded(self, images: int) -> Executor:
        """What launches every step of a batch of that size anew, to be recorded as part of something else."""
        return self

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        """One forward pass, with the time of every step in order; their sum may be more than :meth:`run` takes.

        Raises:
            NotImplementedError: this executor does not see its steps one by one.
        """
        raise NotImplementedError(f"{type(self).__name__} does not take the time of its steps")

    def trace(self, x: torch.Tensor) -> list[BlockTrace]:
        """One forward pass, with what every block did at every tile.

        Raises:
            NotImplementedError: this executor does not see its blocks.
        """
        raise NotImplementedError(f"{type(self).__name__} does not trace its blocks")


class Backend(ABC):
    """Turns Plans into Executors.

    Attributes:
        name: as users write it.
        lowering: what its Plans should look like.
    """

    name: str
    lowering: Lowering = Lowering()

    @abstractmethod
    def availability(self) -> Availability:
        """Whether it can run on this machine, found without side effects."""

    def devices(self) -> tuple[str, ...]:
        """Device types whose tensors it takes here: ``cpu``, ``cuda``; by default those that PyTorch has."""
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    def precisions(self, device: torch.device) -> tuple[str, ...]:
        """Precisions that it serves on a device."""
        return ("fp32", "tf32", "fp16", "bf16")

    @abstractmethod
    def compile(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        *,
        device: torch.device,
        precision: str,
        batch_invariant: bool = False,
        shared: Shared | None = None,
    ) -> Executor:
        """Packs the constants (shapes and dtypes as ``plan.constants``, CPU) for ``device``, or finds in ``shared``
        what was packed for images of another size. The bits are the same.

        ``precision`` tells ``tf32`` from ``fp32``, which share a dtype. With ``batch_invariant`` the bits of an image's
        result do not depend on the batch it came in, nor on its place there.
        """
