"""``cuda`` for some batch sizes and ``triton`` for the others, on one Plan, as their times on this GPU say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping

import torch

from inception_fast.backends.base import Availability, Backend, BlockTrace, Executor, Out, StepTime
from inception_fast.backends.shared import Shared
from inception_fast.plan.plan import Plan
from inception_fast.tuning.passes import Winners, winner


class ByBatch(Backend):
    """Not asked for by name: what ``auto`` is where each of several backends is the fastest at some batch size.

    All run one Plan, as the backend wants it that has no use for pairs: a pair's two convolutions serve the others too.

    Args:
        members: by name.

    Attributes:
        name: of the backend for large batches.
    """

    def __init__(self, members: Mapping[str, Backend], winners: Winners) -> None:
        self._members, self._winners = members, winners
        self.name = winners[-1][1]
        self.lowering = min((backend.lowering for backend in members.values()), key=lambda wanted: wanted.pair)

    def availability(self) -> Availability:
        return next((a for b in self._members.values() if not (a := b.availability()).available), Availability(True))

    def devices(self) -> tuple[str, ...]:
        first, *others = (backend.devices() for backend in self._members.values())
        return tuple(device for device in first if all(device in served for served in others))

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
        def maker(backend: Backend) -> Callable[[], Executor]:
            return lambda: backend.compile(
                plan, constants, device=device, precision=precision, batch_invariant=batch_invariant, shared=shared
            )

        return ByBatchExecutor({name: maker(backend) for name, backend in self._members.items()}, self._winners)


class ByBatchExecutor(Executor):
    """Passes each batch on to the executor for its size, which is made when it is first needed."""

    places_outputs = True

    def __init__(self, makers: Mapping[str, Callable[[], Executor]], winners: Winners) -> None:
        self._makers, self._winners = makers, winners
        self._executors: dict[str, Executor] = {}
        self._lock = threading.Lock()

    def executor_for(self, images: int) -> Executor:
        """Of a batch size."""
        name = winner(self._winners, images)
        with self._lock:
            if name not in self._executors:
                self._executors[name] = self._makers[name]()
            return self._executors[name]

    @property
    def packed(self) -> Mapping[Hashable, int]:
        with self._lock:
            return {key: size for executor in self._executors.values() for key, size in executor.packed.items()}

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        return self.executor_for(len(x)).run(x, out)

    def unrecorded(self, images: int) -> Executor:
        return self.executor_for(images).unrecorded(images)

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        return self.executor_for(len(x)).profile(x)

    def trace(self, x: torch.Tensor) -> list[BlockTrace]:
        return self.executor_for(len(x)).trace(x)
