"""ConvBNReLU: made from every package's layer, or on its own."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from timm.layers import ConvNormAct
from torch import nn
from torchvision.models.inception import BasicConv2d

import inception_fast as ifast
from tests.nn.modules import assert_same, lively

facenet = pytest.importorskip("facenet_pytorch.models.inception_resnet_v1")

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "torchvision": lambda: BasicConv2d(5, 7, kernel_size=3, stride=2),
    "torchvision 1x7": lambda: BasicConv2d(5, 7, kernel_size=(1, 7), padding=(0, 3)),
    "timm": lambda: ConvNormAct(5, 7, 3, padding=1, norm_kwargs={"eps": 1e-3}),
    "facenet": lambda: facenet.BasicConv2d(5, 7, kernel_size=3, stride=1, padding=1),
    "sequential": lambda: nn.Sequential(nn.Conv2d(5, 7, 3, padding=2, dilation=2), nn.BatchNorm2d(7), nn.ReLU()),
    "no normalisation": lambda: nn.Sequential(nn.Conv2d(5, 7, 1), nn.ReLU(inplace=True)),
    "no activation": lambda: ConvNormAct(5, 7, 1, apply_act=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_from_one_module(name: str) -> None:
    layer = lively(LAYERS[name]())
    fast = ifast.nn.ConvBNReLU.from_torch(layer)
    for shape in [(2, 5, 9, 11), (1, 5, 12, 8), (3, 5, 9, 11)]:
        assert_same(fast, layer, *shape)
    assert list(fast.state_dict()) == list(layer.state_dict())


@pytest.mark.parametrize("parts", [2, 3])
def test_from_its_parts(parts: int) -> None:
    """What is not given is not computed: without the ReLU, values stay negative."""
    layers = [nn.Conv2d(5, 7, 3, bias=False), nn.BatchNorm2d(7), nn.ReLU()][:parts]
    plain = lively(nn.Sequential(*layers))
    fast = ifast.nn.ConvBNReLU.from_torch(*layers)
    x = assert_same(fast, plain, 2, 5, 9, 11)
    assert (fast(x).min() < 0) == (parts == 2)
    assert [k for k in fast.state_dict() if "num" not in k] == [
        "conv.weight",
        *(f"bn.{k}" for k in ("weight", "bias", "running_mean", "running_var")),
    ]


def test_made_directly() -> None:
    """Parameters are called as in the packages, so their weights load."""
    fast = ifast.nn.ConvBNReLU(5, 7, (3, 1), stride=2, padding=(1, 0), eps=1e-3)
    donor = lively(BasicConv2d(5, 7, kernel_size=(3, 1), stride=2, padding=(1, 0)))
    fast.load_state_dict(donor.state_dict())
    assert_same(fast.eval(), donor, 2, 5, 9, 11)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_options_reach_the_engine(backend: str, precision: str) -> None:
    layer = lively(LAYERS["torchvision"]())
    fast = ifast.nn.ConvBNReLU.from_torch(layer, backend=backend, precision=precision, batch_invariant=True)
    engine = fast.engine_for(torch.zeros(1, 5, 9, 11))
    assert (engine.backend, engine.precision, engine.batch_invariant) == (backend, precision, True)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), "got several layers or blocks"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), "got several layers or blocks, expected one convolution"),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), "module: got Sequential without a convolution"),
    ],
)
def test_refuses_what_is_no_such_layer(module: nn.Module, message: str) -> None:
    with pytest.raises(ifast.InputError, match=message):
        ifast.nn.ConvBNReLU.from_torch(module.eval())


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.LeakyReLU(0.2), nn.PReLU(4), nn.ReLU6(), nn.GELU()], ids=str)
def test_other_activations(activation: nn.Module) -> None:
    parts = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), activation
    block, x = ifast.nn.ConvBNReLU.from_torch(*parts), torch.randn(2, 3, 9, 7)
    with torch.no_grad():
        truth = copy.deepcopy(nn.Sequential(*parts)).double()(x.double())
        assert (block(x) - truth).norm() <= 1e-5 * truth.norm()


def test_refuses_activations_that_nobody_serves() -> None:
    with pytest.raises(ifast.UnsupportedOpError, match="softplus"):
        ifast.nn.ConvBNReLU.from_torch(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Softplus())


def test_refuses_wrong_numbers_of_parts() -> None:
    conv = nn.Conv2d(3, 4, 3)
    for parts in ((), (conv,) * 4):
        with pytest.raises(ifast.InputError, match=f"modules: got {len(parts)} modules, expected one, or conv"):
            ifast.nn.ConvBNReLU.from_torch(*parts)


def test_refuses_what_is_no_module() -> None:
    with pytest.raises(ifast.InputTypeError, match="module: got str, expected a torch"):
        ifast.nn.ConvBNReLU.from_torch("conv")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": "fp12"}, "precision: got 'fp12'"), ({"backend": "gpu"}, "backend: got 'gpu'")],
)
def test_refuses_unknown_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(ifast.InputError, match=message):
        ifast.nn.ConvBNReLU(3, 4, 3, **options)
