"""Created networks tell photographs apart, and no part of them is dead."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from inception_fast.models import create_model, input_size, list_models
from inception_fast.models.inception_resnet_blocks import Residual
from inception_fast.models.layers import BasicConv2d
from inception_fast.photos import NAMES, load_photos
from tests.models.conftest import ModelFor


def pairwise_relative_l2(outputs: Tensor) -> Tensor:
    """Distance of each pair of rows over the larger norm of the two."""
    distances, norms = torch.cdist(outputs.double(), outputs.double()), outputs.double().norm(dim=1)
    a, b = torch.triu_indices(len(outputs), len(outputs), offset=1)
    return distances[a, b] / torch.maximum(norms[a], norms[b])


@dataclass
class Seen:
    """One pass over the photographs of the calibration.

    Attributes:
        outputs: of the network.
        live: by layer, the share of its channels that are not constant.
        scale: by layer, the deviation of its output.
        change: by layer, the least distance of two photographs.
        deviations: by BatchNorm, how far its output is from mean ``bias`` and deviation ``weight``.
    """

    outputs: Tensor
    live: dict[str, float] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)
    change: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)


@cache
@torch.no_grad()
def seen(name: str, model_for: ModelFor) -> Seen:
    model, found = model_for(name), Seen(torch.empty(0))

    def look_at_layer(path: str, output: Tensor) -> None:
        found.live[path] = float((output.amax(dim=(0, 2, 3)) > output.amin(dim=(0, 2, 3))).float().mean())
        found.scale[path] = float(output.std())
        found.change[path] = float(pairwise_relative_l2(output.flatten(1)).min())

    def look_at_norm(path: str, module: nn.Module, output: Tensor) -> None:
        over = [dim for dim in range(output.ndim) if dim != 1]
        var, mean = torch.var_mean(output.double(), dim=over, correction=0)
        # eps matters where the input's variance is small.
        want = module.weight * (module.running_var / (module.running_var + module.eps)).sqrt()
        off = torch.maximum((mean - module.bias).abs().max(), (var.sqrt() - want).abs().max())
        found.deviations[path] = float(off)

    hooks = []
    for path, module in model.named_modules():
        if isinstance(module, BasicConv2d | Residual):
            hooks.append(module.register_forward_hook(lambda _m, _i, out, path=path: look_at_layer(path, out)))
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            hooks.append(module.register_forward_hook(lambda m, _i, out, path=path: look_at_norm(path, m, out)))
    try:
        found.outputs = model(load_photos(input_size(name)))
    finally:
        for hook in hooks:
            hook.remove()
    return found


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_photographs_give_different_outputs(name: str, model_for: ModelFor) -> None:
    """Those of the calibration, and crops that it never saw."""
    crops = load_photos(input_size(name), len(NAMES) + 2)[len(NAMES) :]
    outputs = torch.cat([seen(name, model_for).outputs, model_for(name)(crops)])
    assert pairwise_relative_l2(outputs).min() > 0.1


@pytest.mark.parametrize("name", list_models())
def test_every_layer_is_alive(name: str, model_for: ModelFor) -> None:
    found = seen(name, model_for)
    assert len(found.live) > 50
    assert min(found.live.values()) == 1.0, "a channel is constant"
    assert min(found.scale.values()) > 0.3, "activations vanish"
    assert max(found.scale.values()) < 3, "activations explode"
    assert min(found.change.values()) > 0.3, "a layer's output hardly depends on the image"


@pytest.mark.parametrize("name", list_models())
def test_calibration_normalises_every_batchnorm(name: str, model_for: ModelFor) -> None:
    """Over the calibration's own photographs the layer's output has mean ``bias`` and deviation ``weight``."""
    deviations = seen(name, model_for).deviations
    assert len(deviations) == sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model_for(name).modules())
    assert max(deviations.values()) < 1e-3


def test_seed_decides_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    first = create_model("inception_resnet_v1", seed=3).state_dict()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again = create_model("inception_resnet_v1", seed=3).state_dict()
    other = create_model("inception_resnet_v1", seed=4).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator moved"

    assert first.keys() == again.keys() == other.keys()
    for key, tensor in first.items():
        assert torch.equal(tensor, again[key]), key
        if not key.endswith("num_batches_tracked"):
            assert not torch.equal(tensor, other[key]), key


def test_callers_default_dtype_and_device_do_not_matter() -> None:
    want = create_model("googlenet").state_dict()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            got = create_model("googlenet").state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
    for key, tensor in want.items():
        assert torch.equal(tensor, got[key]), key


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_rounding_errors_do_not_grow_through_depth(name: str, model_for) -> None:
    """A chaotic network would hide a backend's mistakes behind the error that any order of summation has."""
    model, photographs = model_for(name), load_photos(160, 3)
    exact = copy.deepcopy(model).double()(photographs.double())
    error = (model(photographs).double() - exact).norm() / exact.norm()
    assert 0 < error < 5e-6
