"""What a FastModel answers where it is taken for the model that it was made of."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import inception_fast as ifast
from tests.integrations.networks import assert_same_results, network, photos


@pytest.fixture(scope="module")
def fast() -> ifast.FastModel:
    return ifast.optimize(network(), photos(1))


@pytest.fixture(scope="module")
def other() -> ifast.FastModel:
    return ifast.optimize(network(seed=5), photos(1), backend="reference")


@torch.no_grad()
def test_a_state_dict_is_the_whole_network(other: ifast.FastModel, fast: ifast.FastModel, tmp_path: Path) -> None:
    """Inside a larger model, by way of a file that may hold nothing but tensors."""
    model, target = nn.Sequential(nn.Identity(), fast), nn.Sequential(nn.Identity(), copy.deepcopy(other))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    target.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same_results(target(photos(2)), network().double()(photos(2).double()))
    assert target[1].backend == "reference" and target[1].key not in (other.key, fast.key)


@torch.no_grad()
def test_safetensors(fast: ifast.FastModel, other: ifast.FastModel, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path, target = tmp_path / "a.safetensors", copy.deepcopy(other)
    safetensors.save_model(fast, str(path))
    assert path.stat().st_size > sum(t.nbytes for t in fast.engine.constants.values())
    safetensors.load_model(target, str(path))
    assert_same_results(target(photos(2)), network().double()(photos(2).double()))
    safetensors.save_model(network(), str(path))
    with pytest.raises(ifast.InputError, match=r"state_dict: got .* of another module"):
        safetensors.load_model(target, str(path), strict=False)


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_the_model_are_refused(fast: ifast.FastModel, strict: bool) -> None:
    state = network(seed=2).state_dict()
    message = rf"state_dict: got {len(state)} entries of another module, 'stem.conv.weight' first, expected .*optimize"
    with pytest.raises(ifast.InputError, match=message):
        fast.load_state_dict(state, strict=strict)
    with pytest.raises(ifast.InputError, match=r"state_dict: got .* '0.stem.conv.weight' first"):
        nn.Sequential(fast).load_state_dict({f"0.{k}": v for k, v in state.items()}, strict=strict)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.zeros(9, dtype=torch.uint8), "engine file"),
        (torch.zeros(9), r"state_dict: got torch.float32, expected the bytes of an engine file"),
        ({}, "state_dict: got dict, expected the bytes"),
    ],
)
def test_a_state_that_is_none(fast: ifast.FastModel, state: object, message: str) -> None:
    before = fast(photos(1))
    with pytest.raises((ifast.InputError, ifast.EngineFileError), match=message):
        fast.load_state_dict({"_extra_state": state})
    assert torch.equal(fast(photos(1)).logits, before.logits)


def test_there_are_no_parameters(fast: ifast.FastModel) -> None:
    with pytest.raises(
        ifast.InputError, match=r"parameters\(\): got the first one asked for of a FastModel, which has"
    ):
        next(fast.parameters())
    assert list(fast.parameters()) == [] and sum(p.numel() for p in fast.parameters()) == 0
    assert next(fast.parameters(), None) is None
    with pytest.raises(ifast.InputError, match="requires_grad: got True"):
        fast.requires_grad_()
    assert fast.requires_grad_(False) is fast
    # A larger model's are those of its other parts.
    assert len(list(nn.Sequential(nn.Linear(2, 2), fast).parameters())) == 2


def test_parts_are_refused(fast: ifast.FastModel) -> None:
    with pytest.raises(ifast.InputError, match="fc: got asked of a FastModel, which has no such attribute") as raised:
        _ = fast.fc
    assert isinstance(raised.value, AttributeError) and not hasattr(fast, "fc")
    for part in (nn.Identity(), nn.Parameter(torch.ones(1))):
        with pytest.raises(ifast.InputError, match=f"fc: got a {type(part).__name__} to be put into a FastModel"):
            fast.fc = part


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_reports_what_it_holds(backend: str) -> None:
    fast = ifast.optimize(network(), photos(1), backend=backend, precision="bf16")
    constants = sum(t.nbytes for t in fast.engine.constants.values())
    # None of these backends can do with fewer bytes than the file has.
    assert fast.weight_bytes >= constants and fast.report().memory == constants + fast.weight_bytes
    assert f"weights {fast.report().memory / 2**20:.1f} MiB" in str(fast.report())


def test_a_reference_network_can_be_pickled() -> None:
    with torch.device("meta"):
        empty = ifast.models.InceptionV3(num_classes=3)
    assert list(pickle.loads(pickle.dumps(empty)).state_dict()) == list(empty.state_dict())
    model = ifast.create_model("googlenet", num_classes=3)
    twin, x = pickle.loads(pickle.dumps(model)), torch.ones(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(twin(x), model(x))
