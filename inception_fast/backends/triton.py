"""``triton``: the Plan on the package's Triton kernels; see ``docs/triton-backend.md``.

On a GPU a forward pass is recorded as a CUDA graph per batch size and stream. With ``TRITON_INTERPRET=1`` set the same
kernels run in Triton's interpreter, on CPU tensors.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping

import torch

from inception_fast.backends.base import Availability, Backend, Executor, Lowering, refuse_quantized
from inception_fast.backends.cuda_graph import CudaGraphs, with_index
from inception_fast.backends.shared import Shared
from inception_fast.plan.plan import Plan


def interpreting() -> bool:
    """Whether ``TRITON_INTERPRET`` is set."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


class TritonBackend(Backend):
    """See the module."""

    name = "triton"
    # The kernel for pairs computes part of the intermediate again, which costs more than its trip through the L2 cache.
    lowering = Lowering(pair=False)

    def availability(self) -> Availability:
        if importlib.util.find_spec("triton") is None:
            return Availability(False, "triton is not installed")
        if not interpreting() and not torch.cuda.is_available():
            return Availability(False, "no CUDA device, and TRITON_INTERPRET=1 is not set")
        if interpreting() and not _imported_for_interpreter():
            return Availability(False, "TRITON_INTERPRET=1 was set after triton had been imported")
        return Availability(True)

    def devices(self) -> tuple[str, ...]:
        return ("cpu",) if interpreting() else ("cuda",)

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
        refuse_quantized(plan, self.name)
        # Kernels are decorated when they are imported, which must not happen where Triton cannot run.
        from inception_fast.backends.triton_executor import TritonExecutor

        if device.type == "cpu":
            return TritonExecutor(plan, constants, device, precision, batch_invariant, shared=shared)
        device = with_index(device)
        executor = TritonExecutor(plan, constants, device, precision, batch_invariant, shared=shared)
        return CudaGraphs(executor, plan, device)


def _imported_for_interpreter() -> bool:
    """Triton decides when it is imported whether its own functions will be interpreted."""
    language = sys.modules.get("triton.language")
    return language is None or type(language.sum).__name__ == "InterpretedFunction"
