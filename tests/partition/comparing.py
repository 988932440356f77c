"""Fast modules against the truth: the module in float64, and PyTorch eager's own error."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


def double(value: Any) -> Any:
    """Floating-point tensors in float64, all else as it is."""
    return pytree.tree_map(lambda t: t.double() if isinstance(t, Tensor) and t.is_floating_point() else t, value)


@torch.no_grad()
def assert_keeps_promise(fast: nn.Module, module: nn.Module, *args: Any, **kwargs: Any) -> None:
    """``fast`` returns what ``module`` does, in its structure and dtypes, and is as far from float64 as promised."""
    in_double = copy.deepcopy(module).double()
    # The model's own casts, such as that of bytes to float32, go to float64 as well.
    truth = in_double(*double(args), **double(kwargs))
    eager, got = module(*args, **kwargs), fast(*args, **kwargs)
    assert pytree.tree_structure(got) == pytree.tree_structure(eager)
    for true, slow, ours in zip(*map(pytree.tree_leaves, (truth, eager, got)), strict=True):
        if not isinstance(slow, Tensor):
            assert ours == slow
            continue
        assert (ours.shape, ours.dtype, ours.device) == (slow.shape, slow.dtype, slow.device)
        if not slow.is_floating_point():
            assert torch.equal(ours, slow)
            continue
        assert true.count_nonzero()
        scale = true.norm().item()
        ours_error, eager_error = ((t.double() - true).norm().item() / scale for t in (ours, slow))
        assert ours_error <= max(2 * eager_error, 1e-5), (ours_error, eager_error)
