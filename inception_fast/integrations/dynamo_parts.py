"""A graph of dynamo's that is not served as a whole: its islands, for the weights that come with a call."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import fx

from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.nn.engines import Options
from inception_fast.nn.fingerprint import Fingerprint
from inception_fast.optimization import optimize
from inception_fast.partition.partitioned_model import PartitionedModel

Fast = FastModel | PartitionedModel


class Parts:
    """The partitioned forms of one graph, one for all arguments that it takes.

    Args:
        reason: why the graph is not served as a whole; said once.
    """

    def __init__(self, options: Options, reason: Exception) -> None:
        self._options, self._reason = options, reason
        self._models: list[Fast] = []
        self._fingerprint: Fingerprint | None = None
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """False where the weights that it was built from are gone."""
        return self._fingerprint is None or self._fingerprint.alive

    def get(
        self, tensors: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], module: Callable[[], fx.GraphModule]
    ) -> Fast | None:
        """What computes the graph for such tensors; None where its engines would not fit into ``memory_limit``.

        Args:
            weights: other ones, or other values in them, discard everything.
            module: gives the graph as a module of the tensors alone.
        """
        with self._lock:
            if self._fingerprint is None or not self._fingerprint.matches(weights):
                self._models.clear()
                self._fingerprint = Fingerprint(weights)
            for model in self._models:
                if _takes(model, tensors):
                    return model
            held = [_bytes(model) for model in self._models]
            if held and sum(held) + max(held) > self._options.memory_limit:
                return None
            model = self._build(tensors, module())
            self._models.append(model)
            return model

    def _build(self, tensors: Sequence[torch.Tensor], module: fx.GraphModule) -> Fast:
        o = self._options
        examples = tuple(t.detach() for t in tensors)
        stream = torch.cuda.current_stream(examples[0].device) if examples[0].is_cuda else None

        def build() -> Fast:
            with torch.cuda.stream(stream):
                return optimize(
                    module, examples, precision=o.precision, backend=o.backend, batch_invariant=o.batch_invariant
                )

        # An export in the middle of dynamo's trace would mix with it.
        with ThreadPoolExecutor(1) as pool:
            model = pool.submit(build).result()
        if not self._models:
            islands = len(model.engines) if isinstance(model, PartitionedModel) else 1
            warnings.warn(
                f"parts of the graph stay PyTorch's, {islands} run on fast kernels: {self._reason}", stacklevel=4
            )
        return model


def _takes(model: Fast, tensors: Sequence[torch.Tensor]) -> bool:
    try:
        if isinstance(model, FastModel):
            (x,) = tensors
            model.check(x)
        else:
            model.contract.checked(tensors, {}, None)
    except InputError:
        return False
    return True


def _bytes(model: Fast) -> int:
    engines = model.engines.values() if isinstance(model, PartitionedModel) else [model]
    return sum(e.weight_bytes + sum(t.nbytes for t in e.engine.constants.values()) for e in engines)
