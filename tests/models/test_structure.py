"""The networks have the shapes, the parameters and the arithmetic that the papers and the design's table give."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from inception_fast.errors import InputError
from inception_fast.models import (
    GoogLeNet,
    InceptionResnetV1,
    InceptionResnetV2,
    InceptionV2,
    InceptionV3,
    InceptionV4,
    create_model,
    input_size,
    list_models,
)

# Figure 5 of arXiv:1502.03167, with the output of the two blocks of stride 2 after their stride.
BN_INCEPTION = {
    "conv1": (64, 112, 112),
    "maxpool1": (64, 56, 56),
    "conv3": (192, 56, 56),
    "maxpool2": (192, 28, 28),
    "inception3a": (256, 28, 28),
    "inception3b": (320, 28, 28),
    "inception3c": (576, 14, 14),
    "inception4a": (576, 14, 14),
    "inception4b": (576, 14, 14),
    "inception4c": (576, 14, 14),
    "inception4d": (576, 14, 14),
    "inception4e": (1024, 7, 7),
    "inception5a": (1024, 7, 7),
    "inception5b": (1024, 7, 7),
    "avgpool": (1024, 1, 1),
}

# Multiply-adds of the convolutions in units of 1e9, at the native size.
GMAC = {
    "googlenet": 1.50,
    "inception_v2": 2.02,
    "inception_v3": 5.71,
    "inception_v4": 12.25,
    "inception_resnet_v1": 1.42,
    "inception_resnet_v2": 13.15,
}

FEATURES = {
    GoogLeNet: 1024,
    InceptionV2: 1024,
    InceptionV3: 2048,
    InceptionV4: 1536,
    InceptionResnetV1: 512,
    InceptionResnetV2: 1536,
}


def outputs_of(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Output of every submodule by its path."""
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, path=path: outputs.__setitem__(path, output))
        for path, module in model.named_modules()
    ]
    model(image)
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("network", [GoogLeNet, InceptionResnetV1])
def test_networks_can_be_pickled(network: Callable[[int], nn.Module]) -> None:
    with torch.device("meta"):
        model = network(0)
    state = {**model.state_dict(), "fc.weight": torch.empty(0), "logits.weight": torch.empty(0)}
    surplus = "logits.weight" if network is GoogLeNet else "fc.weight"
    del state[surplus]
    for copy in (model, pickle.loads(pickle.dumps(model))):
        assert not copy.load_state_dict(dict(state), assign=True).unexpected_keys
        with pytest.raises(RuntimeError, match=surplus):
            copy.load_state_dict({**state, surplus: torch.empty(0)}, assign=True)


def test_list_models() -> None:
    assert list_models() == [
        "googlenet",
        "inception_v2",
        "inception_v3",
        "inception_v4",
        "inception_resnet_v1",
        "inception_resnet_v2",
    ]


def test_inception_v2_follows_the_papers_table() -> None:
    with torch.device("meta"):
        model = InceptionV2().eval()
        outputs = outputs_of(model, torch.empty(1, 3, 224, 224))
    assert {name: tuple(outputs[name].shape[1:]) for name in BN_INCEPTION} == BN_INCEPTION
    pools = {
        name: type(block.branch4[0]).__name__ for name, block in model.named_children() if hasattr(block, "branch4")
    }
    assert {name for name, pool in pools.items() if pool == "MaxPool2d"} == {"inception5b"}
    assert len(pools) == 8
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(11.2e6, rel=0.01)


@pytest.mark.parametrize("name", GMAC)
@torch.no_grad()
def test_multiply_adds(name: str, model_for) -> None:
    model = model_for(name)
    outputs = outputs_of(model, torch.zeros(1, 3, input_size(name), input_size(name)))
    macs = sum(
        outputs[path].numel() * module.weight[0].numel()
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    )
    assert round(macs / 1e9, 2) == GMAC[name]


@pytest.mark.parametrize("network", FEATURES, ids=lambda network: network.__name__)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_width_of_the_output(network: Callable[[int], nn.Module], num_classes: int) -> None:
    with torch.device("meta"):
        output = network(num_classes).eval()(torch.empty(2, 3, 160, 160))
    assert output.shape == (2, num_classes or FEATURES[network])


@torch.no_grad()
def test_create_model_passes_num_classes_on() -> None:
    images = torch.rand(2, 3, 160, 160)
    assert create_model("googlenet", num_classes=3)(images).shape == (2, 3)
    embeddings = create_model("inception_resnet_v1", num_classes=0)(images)
    assert embeddings.shape == (2, 512)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", GMAC)
def test_every_tensor_is_set(name: str, model_for) -> None:
    model = model_for(name)
    assert not model.training
    for key, tensor in model.state_dict().items():
        assert tensor.device.type == "cpu", key
        assert torch.isfinite(tensor).all(), key
        if key.endswith("num_batches_tracked"):
            assert tensor == 0, key
        else:
            assert tensor.dtype is torch.float32, key
            assert tensor.std() > 0, f"{key} is constant"


@pytest.mark.parametrize("name", ["inception_v5", "", "Inception_v3"])
def test_unknown_name(name: str) -> None:
    for function in (create_model, input_size):
        with pytest.raises(InputError, match=f"name: got '{name}', expected one of googlenet, .*inception_resnet_v2"):
            function(name)


def test_negative_num_classes() -> None:
    with pytest.raises(InputError, match="num_classes: got -1, expected 0 or more"):
        create_model("googlenet", num_classes=-1)
