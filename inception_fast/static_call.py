"""A network bound to the memory of one input and of its outputs: :meth:`inception_fast.FastModel.static`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from inception_fast.backends.cuda_graph import record


class StaticCall:
    """Calls without arguments; on a GPU the replay of a CUDA graph.

    Attributes:
        input: what a call reads; write there, in place.
        outputs: what a call writes and returns, in the model's own structure: the same tensors every time.

    Args:
        run: reads ``input`` and writes ``outputs``, on the current device and stream.
    """

    def __init__(self, run: Callable[[], None], input: torch.Tensor, outputs: object) -> None:
        self.input, self.outputs = input, outputs
        # Kept also where a graph replays it: it holds the weights whose addresses the graph has.
        self._run = run
        self._replay: Callable[[], object] = run
        if input.is_cuda:
            with torch.cuda.device(input.device), torch.no_grad():
                self._replay = record(run)[0].replay

    def __call__(self) -> object:
        """Enqueues one forward pass on the current stream; on a CPU it is done on return."""
        self._replay()
        return self.outputs
