"""Has the kernels of a batch size compiled in several processes before an executor's first pass asks for them."""

from __future__ import annotations

import warnings

import torch

from inception_fast.plan.plan import Plan
from inception_fast.tuning.precompile import CompileError, Target, compiled_mark, default_processes, precompile


class CompileAhead:
    """For one executor on a CUDA device."""

    def __init__(self, plan: Plan, precision: str, batch_invariant: bool, device: torch.device) -> None:
        self._plan, self._precision, self._invariant, self._target = plan, precision, batch_invariant, Target.of(device)

    def __call__(self, images: int) -> None:
        """Leaves the kernels of a batch size in Triton's cache, unless that was done before.

        What cannot be compiled here is left to the pass, which says what is wrong with it.
        """
        if default_processes() < 2:
            return
        if compiled_mark(self._plan, self._precision, images, self._target, self._invariant).exists():
            return
        try:
            precompile(self._plan, self._precision, [images], self._target, batch_invariant=self._invariant)
        except (CompileError, OSError) as error:
            warnings.warn(f"the triton backend compiles its kernels one by one: {error}", stacklevel=2)
