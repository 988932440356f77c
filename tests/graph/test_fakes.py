"""Shapes of operators' results without values, as PyTorch itself has them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from inception_fast.graph.fakes import shaped

aten = torch.ops.aten


def described(result: Any) -> list[tuple[Any, ...]]:
    results = result if isinstance(result, tuple) else (result,)
    return [(t.shape, t.stride(), t.dtype, t.device) for t in results]


@pytest.mark.parametrize("norm", [aten.batch_norm.default, aten.native_batch_norm.default])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(norm: Any, dtype: torch.dtype, layout: torch.memory_format, training: bool) -> None:
    flags = (True,) if norm is aten.batch_norm.default else ()
    with torch.inference_mode(), FakeTensorMode():
        x = torch.empty(2, 3, 5, 7, dtype=dtype).contiguous(memory_format=layout)
        vectors = [torch.empty(3, dtype=dtype) for _ in range(4)]
        args = (x, *vectors, training, 0.1, 1e-5, *flags)
        assert described(shaped(norm, args, {})) == described(norm(*args))


def test_a_norm_of_other_channels_fails_as_ever() -> None:
    with torch.inference_mode(), FakeTensorMode():
        x, vectors = torch.empty(2, 3, 5, 7), [torch.empty(4) for _ in range(4)]
        with pytest.raises((RuntimeError, ValueError)):
            shaped(aten.batch_norm.default, (x, *vectors, False, 0.1, 1e-5, True), {})


def test_a_norm_without_statistics_fails_as_ever() -> None:
    with torch.inference_mode(), FakeTensorMode():
        args = (torch.empty(2, 3, 5, 7), None, None, None, None, False, 0.1, 1e-5, True)
        with pytest.raises(RuntimeError) as wanted:
            aten.batch_norm.default(*args)
        with pytest.raises(RuntimeError) as found:
            shaped(aten.batch_norm.default, args, {})
        assert str(found.value) == str(wanted.value)


def test_any_other_operator_is_called() -> None:
    with FakeTensorMode():
        assert shaped(aten.cat.default, ([torch.empty(2, 3), torch.empty(2, 4)],), {"dim": 1}).shape == (2, 7)
