"""``inception_fast::run``: a fast network as one operator, of which PyTorch's compilers see only the shapes.

``torch.compile`` and ``torch.export`` cannot look into kernels of ours, so a traced call becomes this operator. It
names the network by a key, because an operator's arguments are tensors and strings; the network itself stays in the
process. An exported program that is loaded elsewhere finds it once :func:`inception_fast.load` has read the engine file
there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Optional, Protocol
from weakref import WeakSet

import torch

from inception_fast.autocast import autocast_to
from inception_fast.errors import InputError
from inception_fast.gradients import refusal
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
_registering = threading.Lock()


def register(network: Traceable) -> None:
    """Lets the operator find ``network`` for as long as somebody else holds it."""
    with _registering:
        for key in [key for key, found in _networks.items() if not found]:
            del _networks[key]
        _networks.setdefault(network.key, WeakSet()).add(network)


def run_traced(
    network: Traceable, x: torch.Tensor, weight: torch.Tensor | None = None, autocast: torch.dtype | None = None
) -> list[torch.Tensor]:
    """``network``'s output tensors, by way of the operator.

    Args:
        weight, autocast: as for the operator.

    Raises:
        InputTypeError: a transform of ``torch.func`` asks for more than values.
    """
    functorch = torch._C._functorch
    if not torch.compiler.is_dynamo_compiling() and (
        functorch.is_batchedtensor(x) or functorch.is_gradtrackingtensor(x)
    ):
        in_memory("x", x)
    return list(torch.ops.inception_fast.run(x, network.key, weight, autocast))


@torch.library.custom_op("inception_fast::run", mutates_args=())
def run(
    x: torch.Tensor,
    key: str,
    weight: Optional[torch.Tensor] = None,  # noqa: UP045 (read by PyTorch)
    autocast: Optional[torch.dtype] = None,  # noqa: UP045
) -> list[torch.Tensor]:
    """One forward pass.

    Args:
        x: ``[N, C, H, W]``.
        key: of a network that lives in this process.
        weight: any of the network's that wants a gradient, which is refused.
        autocast: the type of the autocast that it is called under, whatever its graph is run under.

    Returns:
        Its output tensors, no two of which share memory.

    Raises:
        InputError: no network has that key, or ``x`` does not fit it.
    """
    with autocast_to(autocast, x.device):
        return _apart(_find(key).run_checked(x))


@run.register_fake
def _(
    x: torch.Tensor, key: str, weight: torch.Tensor | None = None, autocast: torch.dtype | None = None
) -> list[torch.Tensor]:
    with autocast_to(autocast, x.device):
        return _find(key).fake_outputs(x)


@torch.library.custom_op("inception_fast::refuse_gradient", mutates_args=())
def refuse_gradient(gradient: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A gradient in a graph: a trace asks for one at once where grad is enabled, whether anybody will want it or not.

    Raises:
        InputError: when it is run.
    """
    raise refusal()


@refuse_gradient.register_fake
def _(gradient: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return gradient.new_empty(shape)


def _keep_shapes(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, _, weight, _ = inputs
    ctx.shapes = x.shape, None if weight is None else weight.shape


def _backward(ctx: Any, gradients: Sequence[torch.Tensor | None]) -> tuple[Any, ...]:
    gradient = next(g for g in gradients if g is not None)
    # A call may leave out what has a default.
    needed = (*ctx.needs_input_grad, False, False)
    for_x, for_weight = (
        torch.ops.inception_fast.refuse_gradient(gradient, shape) if shape is not None and needed[place] else None
        for place, shape in zip((0, 2), ctx.shapes, strict=True)
    )
    return (for_x, None, for_weight, None)[: len(ctx.needs_input_grad)]


run.register_autograd(_backward, setup_context=_keep_shapes)


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
