"""Scripts that cannot be taken, or only for the batch that they were traced with, and what is said of them."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

import inception_fast as ifast
from inception_fast.artefacts.choose import module_of
from tests.artefacts.scripts import Dict, images, network, scripted
from tests.partition.comparing import assert_keeps_promise

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(torch.jit|torch.ao|quantiz|torch.backends)"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.calls = 0

    def maps(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


class Branches(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = x + 1
        return self.maps(x)


class Counts(Layers):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.maps(x)


class Measures(Layers):
    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x) * float(x.max())


class Sizes(Layers):
    """Asks for the batch in Python, where a trace has a number for ever."""

    def forward(self, x: Tensor) -> Tensor:
        maps = self.maps(x)
        return maps.reshape(int(x.shape[0]), 8, -1).mean(2)


class Plain(Layers):
    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)


def doubled(self: Plain, x: tuple[Tensor], result: Tensor) -> Tensor:
    return result * 2


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Branches, "the script asks for a tensor's value at .*test_torchscript_refusals.py:"),
        (Measures, "the script asks for a tensor's value at "),
        (Counts, "the script changes its attribute 'calls' as it runs"),
    ],
)
def test_depends_on_values_or_state(kind: type[nn.Module], message: str) -> None:
    with pytest.raises(ifast.CaptureError, match=message):
        ifast.optimize(scripted(kind().eval()), images(2))


def test_training_mode() -> None:
    with pytest.raises(ifast.InputError, match="model: got training mode, expected eval mode"):
        ifast.optimize(scripted(network(Dict)).train(), images(2))


def test_traced_in_training_mode() -> None:
    """Its flag says eval, its operators do not."""
    script = torch.jit.trace(Plain().train(), images(2)).eval()
    with pytest.raises(ifast.CaptureError, match=r"the model changes its state 'norm\."):
        ifast.optimize(script, images(2))


def test_hooks() -> None:
    """Those that were scripted with their module."""
    model = Plain().eval()
    model.register_forward_hook(doubled)
    with pytest.raises(ifast.CaptureError, match="the script has forward hooks"):
        ifast.optimize(scripted(model), images(2))


def test_a_batch_for_ever() -> None:
    model = Sizes().eval()
    script = torch.jit.trace(model, images(2), check_trace=False)
    fast = ifast.optimize(script, images(2), backend="cpu")
    assert_keeps_promise(fast, model, images(2))
    assert "no other sizes" in str(fast.report())
    with pytest.raises(ifast.InputError, match=re.escape("shape [3, 3, 32, 32], expected [2, 3, 32, 32]")):
        fast(images(3))


def test_compiled_for_one_machine() -> None:
    script = torch.jit.optimize_for_inference(scripted(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()))
    with pytest.raises(ifast.InputTypeError, match=r"a compiled script .*expected the script as it was before"):
        ifast.optimize(script, images(2))


def quantised() -> nn.Module:
    model = torch.ao.quantization.QuantWrapper(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval())
    model.qconfig = torch.ao.quantization.default_qconfig
    torch.ao.quantization.prepare(model, inplace=True)
    model(images(2))
    return torch.ao.quantization.convert(model)


@pytest.mark.parametrize("as_script", [False, True])
def test_quantised(as_script: bool) -> None:
    model = scripted(quantised()) if as_script else quantised()
    with pytest.raises(ifast.InputTypeError, match=r"model: got a quantised \w+ .*precision='int8' quantises that"):
        ifast.optimize(model, images(2))


def test_quantised_and_frozen() -> None:
    """Nothing of its modules is left."""
    with pytest.raises(
        ifast.InputTypeError, match=r"a quantised script .*\(aten::quantize_per_tensor.*precision='int8'"
    ):
        module_of(torch.jit.freeze(scripted(quantised().eval())))


def test_ordinary_modules_are_returned() -> None:
    model = Plain()
    assert module_of(model) is model
