"""Whether the caller's input is copied to NHWC, so that Winograd can read it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends.cpu import CpuExecutor


@pytest.mark.parametrize(("channels", "size", "copied"), [(48, 40, True), (3, 40, False), (48, 2, False)])
@torch.no_grad()
def test_where_a_faster_algorithm_pays_for_it(channels: int, size: int, copied: bool, isa: str) -> None:
    """Winograd reads no strides of the caller's; images of few channels have bands, which do."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Conv2d(channels, 64, 3, padding=1).eval()
    images = torch.randn(2, channels, size, 2 * size, generator=generator)[:, :, :, ::2]
    fast = ifast.optimize(module, images, backend="cpu", accuracy="fast")
    assert isinstance(fast, ifast.FastModel)
    executor = CpuExecutor(fast.plan, fast.engine.constants, isa=isa)
    names = [op.algorithm for op in executor.report()]
    assert ("copy to NHWC" in names) == copied == names[-1].startswith("F(")
    expected = module.double()(images.double())
    for x in (images, images.contiguous(memory_format=torch.channels_last), images[:1]):
        (got,) = executor.run(x)
        assert (got - expected[: len(x)]).norm() <= 1e-5 * expected[: len(x)].norm()
