"""A package's network on the CUDA kernels, on a device or in the emulator."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
import torch
from torch.utils import _pytree as pytree

import inception_fast as ifast
from inception_fast.backends.cuda import DRIVER, Driver
from tests.graph.check import relative_error
from tests.packages import build, images


@torch.no_grad()
def check_package(
    name: str, size: tuple[int, int] | None, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most twice eager's error in half precision; the same bits from every driver, alone and in a batch."""
    model, photos = build(name), images(name, 3, size)
    truth = pytree.tree_leaves(copy.deepcopy(model).double()(photos.double()))
    model, x = model.to(device), photos.to(device)
    eager = pytree.tree_leaves(copy.deepcopy(model).half()(x.half()))
    bounds = [2 * relative_error(a.cpu().double(), b) for a, b in zip(eager, truth, strict=True)]
    first: list[torch.Tensor] = []
    for driver in get_args(Driver):
        monkeypatch.setenv(DRIVER, driver)
        fast = ifast.optimize(model, x, backend="cuda", precision="fp16", batch_invariant=True)
        assert fast.report().driver == driver
        results = pytree.tree_leaves(fast(x))
        first = first or results
        for got, same, want, bound in zip(results, first, truth, bounds, strict=True):
            assert relative_error(got.cpu().double(), want) <= bound
            assert torch.equal(got, same), driver
        for whole, alone in zip(first, pytree.tree_leaves(fast(x[1:2])), strict=True):
            assert torch.equal(whole[1:2], alone), driver
