"""The module that a block replaces, where it has to compute after all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inception_fast.graph.twin import twin_of

_SHARED = (
    "_parameters",
    "_buffers",
    "_non_persistent_buffers_set",
    "_modules",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class Original(nn.Module):
    """A module as it was before its ``forward`` was replaced: its parameters, buffers and parts, and that ``forward``,
    without its hooks, which see the calls of the module itself.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.training = False
        share_tables(self, module)
        own = vars(module).get("forward") or _forward_of(module)
        # That of the module itself, which may ask for attributes; not a fast one.
        vars(self)["forward"] = getattr(own, "original", self).forward if isinstance(own, nn.Module) else own


def _forward_of(module: nn.Module) -> Callable[..., Any]:
    """That of its class."""
    if isinstance(module, torch.jit.ScriptModule):
        return module.forward
    return MethodType(type(module).forward, module)


def share_tables(module: nn.Module, original: nn.Module) -> None:
    """Gives ``module`` the parameters, buffers and parts of another. The tables themselves, not their entries: what is
    loaded, moved or replaced in one is so in the other.
    """
    for table in _SHARED:
        # Scripts that were traced have them further inside.
        vars(module)[table] = getattr(original, table)


def run_original(module: Callable[[torch.Tensor], Any], x: torch.Tensor, batch_invariant: bool) -> Any:
    """What a module returns for images ``[N, C, H, W]``.

    Args:
        batch_invariant: one image at a time, for PyTorch's sums depend on the batch.
    """
    if not batch_invariant or len(x) == 0:
        return module(x)
    # Copies in one layout: an image's strides must not tell of the batch that it came in.
    outputs = [module(image.clone(memory_format=torch.channels_last)) for image in x.split(1)]
    return pytree.tree_map(lambda *same: torch.cat(same) if isinstance(same[0], torch.Tensor) else same[0], *outputs)


def without_hooks(module: nn.Module) -> nn.Module:
    """A copy with the same tensors, which the module's own hooks, other threads and later changes do not touch."""
    twin = twin_of(module)
    for part in twin.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    return twin


def fake_run(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device) -> Any:
    """What a module returns for arguments without values, which no hook sees; tensors are contiguous."""

    def empty(value: Any) -> Any:
        return torch.empty(value.shape, dtype=value.dtype, device=device) if isinstance(value, torch.Tensor) else value

    twin = without_hooks(module)
    for part in twin.modules():
        for table in (part._parameters, part._buffers):
            table.update({name: empty(tensor) for name, tensor in table.items()})
    with torch.no_grad():
        return pytree.tree_map(empty, twin(*args, **kwargs))


def laid_out_like(x: torch.Tensor | None, result: torch.Tensor) -> torch.Tensor:
    """``result`` in the memory format of ``x``, contiguous where there is none, so that a ``view`` behind the module
    works where it did before.
    """
    if result.dim() != 4:
        return result
    # A single channel is contiguous in both formats; PyTorch then takes the strides for NCHW.
    like = x is not None and x.dim() == 4 and x.stride(1) == 1 and x.is_contiguous(memory_format=torch.channels_last)
    return result.contiguous(memory_format=torch.channels_last if like else torch.contiguous_format)
