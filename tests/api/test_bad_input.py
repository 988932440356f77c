"""Every kind of bad input gets a typed error that says what came and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import get_backend
from inception_fast.backends.reference import ReferenceBackend
from inception_fast.models.layers import BasicConv2d
from tests.integrations.networks import network, photos
from tests.nn.modules import lively

X = photos(2)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[0], r"x: got rank 3 \(shape \[3, 11, 9\]\), expected rank 4, \[N, 3, 11, 9\]"),
        (X[None], r"x: got rank 5 .*, expected rank 4"),
        (X[:, :2], r"x: got shape \[2, 2, 11, 9\], expected \[N, 3, 11, 9\]; the channels differ"),
        (X[:, :, :10], r"x: got shape \[2, 3, 10, 9\], expected \[N, 3, 11, 9\]; the image size differs"),
        (X[:, :, :, :8], r"x: got shape \[2, 3, 11, 8\], expected \[N, 3, 11, 9\]; the image size differs"),
        (X.double(), r"x: got torch.float64, expected torch.float32"),
        (X.long(), r"x: got torch.int64, expected torch.float32"),
        (X.bfloat16(), r"x: got torch.bfloat16, expected torch.float32"),
        (X.to("meta"), r"x: got device meta, expected cpu"),
        (X.numpy(), r"x: got ndarray, expected a torch.Tensor"),
        (None, r"x: got NoneType, expected a torch.Tensor"),
    ],
)
def test_call(fast: ifast.FastModel, x: Any, message: str) -> None:
    with pytest.raises(ifast.InputError, match=message) as raised:
        fast(x)
    assert raised.value.argument == "x" and isinstance(raised.value, ValueError)


def test_dtypes_of_a_reduced_precision(model: nn.Module) -> None:
    fast = ifast.optimize(model, X, precision="bf16")
    with pytest.raises(ifast.InputTypeError, match=r"x: got torch\.float16, expected torch\.float32 or"):
        fast(X.half())


def test_training_mode_of_the_fast_model(fast: ifast.FastModel) -> None:
    fast.train()
    with pytest.raises(ifast.InputError, match=r"training: got True, expected False: .*call .eval\(\)"):
        fast(X)
    fast.eval()(X)


def test_training_mode_of_the_model(model: nn.Module) -> None:
    with pytest.raises(ifast.InputError, match="model: got training mode, expected eval mode"):
        ifast.optimize(model.train(), X)
    model.eval().stem.bn.train()
    with pytest.raises(ifast.InputError, match=r"model: got training mode \(module 'stem.bn'\)"):
        ifast.optimize(model, X)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (X[0], r"example_inputs: got shape \(3, 11, 9\), expected images \(N, C, H, W\)"),
        (X[:0], r"example_inputs: got shape \(0, 3, 11, 9\), expected at least one image"),
        (X[:, :2], r"example_inputs: got images of 2x11x9, for which the model itself fails: .*to have 3 channels"),
        (X[:, :, :2], r"example_inputs: got images of 3x2x9, for which the model itself fails: .*Kernel size"),
        (X.double(), r"example_inputs: got torch.float64, expected torch.float32"),
        (X.long(), r"example_inputs: got torch.int64, expected torch.float32"),
        ([], r"example_inputs: got 0 inputs, expected one tensor \[N, C, H, W\]"),
        ([X, X], r"example_inputs: got 2 inputs, expected one tensor"),
        (["x"], r"example_inputs: got str, expected a torch.Tensor"),
        (None, r"example_inputs: got NoneType, expected a torch.Tensor"),
        ({"x": X}, r"example_inputs: got dict, expected a torch.Tensor"),
    ],
)
def test_example_that_does_not_fit(model: nn.Module, example: Any, message: str) -> None:
    with pytest.raises(ifast.InputError, match=message):
        ifast.optimize(model, example, strict=True)


def test_what_is_no_module() -> None:
    with pytest.raises(ifast.InputTypeError, match="model: got function, expected a torch"):
        ifast.optimize(lambda x: x, X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision: got 'int4', expected one of 'fp32', 'tf32', 'fp16', 'bf16'"),
        ({"precision": "fp64"}, "precision: got 'fp64'"),
        ({"backend": "gpu"}, "backend: got 'gpu', expected 'auto' or one of 'reference', 'torch'"),
    ],
)
def test_unknown_options(model: nn.Module, options: dict[str, str], message: str) -> None:
    with pytest.raises(ifast.InputError, match=message):
        ifast.optimize(model, X, **options)


def test_backend_that_cannot_run(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is used in its place."""
    monkeypatch.setattr(ReferenceBackend, "availability", lambda _: ifast.Availability(False, "it is Sunday"))
    with pytest.raises(ifast.BackendUnavailableError, match="backend 'reference': it is Sunday"):
        ifast.optimize(model, X, backend="reference")
    assert ifast.backends()["reference"] == ifast.Availability(False, "it is Sunday")


def test_backend_without_the_precision(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReferenceBackend, "precisions", lambda *_: ("fp32", "bf16"))
    with pytest.raises(ifast.BackendUnavailableError, match="serves fp32, bf16 on cpu, got fp16"):
        ifast.optimize(model, X, backend="reference", precision="fp16")


def test_backend_on_another_device(model: nn.Module) -> None:
    assert "meta" not in get_backend("torch").devices()
    with pytest.raises(ifast.BackendUnavailableError, match=r"backend 'torch': takes tensors on cpu.*, got meta"):
        ifast.optimize(model.to("meta"), X.to("meta"), backend="torch")


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(BasicConv2d(3, 4, 3), nn.Softplus())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Softplus(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = BasicConv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(self.conv(x))


def test_unsupported_op() -> None:
    """The operator's name, the module's path and the line."""
    with pytest.raises(ifast.UnsupportedOpError, match=r"operator aten\.softplus\.default in module 'inner\.1'"):
        ifast.optimize(lively(Nested()), X, strict=True)
    with pytest.raises(ifast.UnsupportedOpError, match=r"softplus.* at .*test_bad_input\.py:\d+: ") as raised:
        ifast.optimize(lively(Softplus()), X, strict=True)
    line = int(raised.value.source.rsplit(":", 1)[1])
    assert "softplus" in Path(__file__).read_text().splitlines()[line - 1]


def nan_pattern(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        result = model.double()(x.double())
    return result.logits.isnan(), result.maps["map"].isnan()


@pytest.mark.parametrize("where", ["stem.conv.weight", "block.branch2.1.conv.weight", "block.branch1.bn.running_var"])
def test_nan_weights_stay_nan(backend: str, where: str) -> None:
    """One NaN in the weights shows wherever float64 PyTorch shows it, and nowhere else.

    It is in the middle of the window: libraries differ on whether zeros beside the image are multiplied by it.
    """
    model = network()
    weights = model.state_dict()[where]
    weights[(0, 0, *(k // 2 for k in weights.shape[2:]))[: weights.dim()]] = float("nan")
    got = ifast.optimize(model, X, backend=backend)(X)
    logits, maps = nan_pattern(model, X)
    assert maps.any() and not (where.startswith("block") and maps.all())
    assert torch.equal(got.logits.isnan(), logits) and torch.equal(got.maps["map"].isnan(), maps)


def test_nan_images_stay_nan(backend: str) -> None:
    """One image of a batch; the others are as they would be without it. Winograd's tiles may spread it in its image."""
    fast, x = ifast.optimize(network(), X, backend=backend), photos(3)
    expected = fast(x).logits
    x[1, 0, 5, 4] = float("nan")
    got = fast(x)
    _, maps = nan_pattern(network(), x)
    assert got.logits[1].isnan().all() and got.maps["map"][maps].isnan().all()
    assert got.maps["map"][[0, 2]].isfinite().all()
    torch.testing.assert_close(got.logits[[0, 2]], expected[[0, 2]])


def test_infinite_images(backend: str) -> None:
    x = photos(2)
    x[0, 1, 3, 3] = float("inf")
    got = ifast.optimize(network(), X, backend=backend)(x)
    assert got.logits[0].isnan().any() or got.logits[0].isinf().any()
    assert got.logits[1].isfinite().all()
