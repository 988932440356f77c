"""``inception_fast::run``: a fast network as one operator, of which PyTorch's compilers see only the shapes.

``torch.compile`` and ``torch.export`` cannot look into kernels of ours, so a traced call becomes this operator. It
names the network by a key, because an operator's arguments are tensors and strings; the network itself stays in the
process. An exported program that is loaded elsewhere finds it once :func:`inception_fast.load` has read the engine file
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakSet

import torch

from inception_fast.errors import InputError
from inception_fast.tensors import in_memory


class Traceable(Protocol):
    """A network that the operator can call."""

    @property
    def key(self) -> str:
        """Names what it computes: two with one key give the same bits."""

    def run_checked(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The output tensors, or an error that says what in ``x`` does not fit."""

    def fake_outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Empty tensors like those of :meth:`run_checked`, or the same error; ``x`` has a shape, which may be symbolic,
        and no values.
        """


_networks: dict[str, WeakSet[Traceable]] = {}


def register(network: Traceable) -> None:
    """Lets the operator find ``network`` for as long as somebody else holds it."""
    _networks.setdefault(network.key, WeakSet()).add(network)


def run_traced(network: Traceable, x: torch.Tensor) -> list[torch.Tensor]:
    """``network``'s output tensors, by way of the operator.

    Raises:
        InputTypeError: a transform of ``torch.func`` asks for more than values.
    """
    functorch = torch._C._functorch
    if not torch.compiler.is_compiling() and (functorch.is_batchedtensor(x) or functorch.is_gradtrackingtensor(x)):
        in_memory("x", x)
    return list(torch.ops.inception_fast.run(x, network.key))


@torch.library.custom_op("inception_fast::run", mutates_args=())
def run(x: torch.Tensor, key: str) -> list[torch.Tensor]:
    """One forward pass.

    Args:
        x: ``[N, C, H, W]``.
        key: of a network that lives in this process.

    Returns:
        Its output tensors, no two of which share memory.

    Raises:
        InputError: no network has that key, or ``x`` does not fit it.
    """
    return _apart(_find(key).run_checked(x))


@run.register_fake
def _(x: torch.Tensor, key: str) -> list[torch.Tensor]:
    return _find(key).fake_outputs(x)


def _refuse_gradient(*_: object) -> None:
    raise InputError("x", "requires_grad=True with grad enabled", "inference: torch.no_grad() or x.detach()")


# Where grad is enabled, a trace asks for the gradient at once.
run.register_autograd(_refuse_gradient)


def _find(key: str) -> Traceable:
    found = next(iter(_networks.get(key, ())), None)
    if found is None:
        what, _, backend = key.partition("/")
        raise InputError(
            "key",
            f"network {what[:12]}... for backend '{backend}', which is not loaded in this process",
            f"its engine file read with inception_fast.load(path, backend={backend!r}) before, and the result kept",
        )
    return found


def _apart(outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors, with a copy in place of one whose memory an earlier one has: an operator may not return aliases."""
    seen: set[int] = set()
    distinct = []
    for tensor in outputs:
        memory = tensor.untyped_storage().data_ptr()
        distinct.append(tensor.clone() if memory in seen else tensor)
        seen.add(memory)
    return distinct
