"""Models that other parts of PyTorch have made: scripts, quantised models, exported programs, traced graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import pytest
import torch
from torch import Tensor, fx, nn

from inception_fast.errors import CaptureError, InputError, InputTypeError
from inception_fast.graph.capture import capture
from tests.graph.capturing import SHAPE, example, relative_error

pytestmark = pytest.mark.filterwarnings("ignore:.*(torch.jit|torch.ao|quantiz):", "ignore::DeprecationWarning:torch")


class Returns(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"map": self.bn(self.conv(x)).relu()}


def scripted(model: nn.Module) -> nn.Module:
    return torch.jit.script(model)


def traced(model: nn.Module) -> nn.Module:
    return torch.jit.trace(model, example(), strict=False)


def frozen(model: nn.Module) -> nn.Module:
    return torch.jit.freeze(scripted(model))


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("make", [scripted, traced, frozen])
def test_scripts(make: Callable[[nn.Module], nn.Module], inside: bool) -> None:
    script = make(Returns().eval())
    model = nn.Sequential(script).eval() if inside else script
    where = r" \(module '0'\)" if inside else ""
    with pytest.raises(InputTypeError, match=rf"model: got a \w+ of torch.jit{where}, expected the Python module"):
        capture(model, example())


def test_quantised() -> None:
    layers = nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU())
    layers[0] = torch.ao.nn.quantized.Conv2d(4, 3, 1)
    with pytest.raises(InputTypeError, match=r"got a quantised Conv2d \(module '0'\), expected the floating-point"):
        capture(layers.eval(), example())


def test_ready_to_be_quantised() -> None:
    """Such models compute in floating point, their sums and concats by modules of the quantisation's."""

    class Ready(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.cat = nn.Conv2d(4, 3, 3, padding=1), torch.ao.nn.quantized.FloatFunctional()
            self.more, self.stub = nn.Conv2d(4, 7, 1), torch.ao.quantization.QuantStub()

        def forward(self, x: Tensor) -> Tensor:
            x = self.stub(x)
            return self.cat.add_relu(self.cat.cat([self.conv(x), x], 1), self.cat.mul_scalar(self.more(x), 2.0))

    model = Ready().eval()
    assert relative_error(capture(model, example()), model, torch.randn(3, *SHAPE)) <= 1e-12


def test_exported() -> None:
    """Its flag says training whatever it does."""
    model = Returns().eval()
    images = torch.randn(2, *SHAPE)
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, (images,), dynamic_shapes=shapes).module()
    assert exported.training
    captured = capture(exported, example())
    assert captured.structure == capture(model, example()).structure
    assert relative_error(captured, model, torch.randn(3, *SHAPE)) <= 1e-12


def test_exported_for_one_batch_size() -> None:
    exported = torch.export.export(Returns().eval(), (torch.randn(2, *SHAPE),)).module()
    with pytest.raises(CaptureError, match="it fixes the batch size"):
        capture(exported, example())


def test_exported_in_training() -> None:
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(Returns().train(), (torch.randn(2, *SHAPE),), dynamic_shapes=shapes)
    with pytest.raises(CaptureError, match="the model changes its state"):
        capture(program.module(), example())


def test_traced_by_fx() -> None:
    model = Returns().eval()
    captured = capture(fx.symbolic_trace(model), example())
    assert captured.structure == capture(model, example()).structure
    assert relative_error(captured, model, torch.randn(3, *SHAPE)) <= 1e-12


class FromExportedProgram(Returns):
    """Another's, whose flag means what it says."""

    def eval(self) -> Self:
        return super().eval()


@pytest.mark.parametrize("model", [fx.symbolic_trace(Returns()), FromExportedProgram()], ids=["fx", "name"])
def test_only_exported_programs_are_not_asked_for_their_mode(model: nn.Module) -> None:
    with pytest.raises(InputError, match="got training mode"):
        capture(model.train(), example())
    capture(model.eval(), example())
