"""Modules of ``torch.jit``: the importer against the script itself, and ``optimize`` against the module in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import inception_fast as ifast
from inception_fast.artefacts.choose import module_of
from tests.artefacts.extractor import Extractor
from tests.artefacts.scripts import (
    Dict,
    Named,
    Network,
    Tuple,
    assert_same,
    frozen,
    images,
    loaded,
    network,
    scripted,
    traced,
    traced_and_loaded,
)
from tests.partition.comparing import assert_keeps_promise

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:", "ignore::torch.jit.TracerWarning")
Maker = Callable[[nn.Module], nn.Module]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def photos(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(0, 256, (batch, 3, 41, 50), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("make", "kind"),
    [(scripted, Dict), (traced, Tuple), (frozen, Named), (loaded, Named), (traced_and_loaded, Dict)],
)
def test_is_what_the_script_is(make: Maker, kind: type[Network]) -> None:
    script = make(network(kind))
    module = module_of(script)
    assert not any(isinstance(m, torch.jit.ScriptModule) for m in module.modules())
    for batch in (1, 5):
        assert_same(module, script, images(batch))


@pytest.mark.parametrize("make", [loaded, frozen])
def test_keywords(make: Maker) -> None:
    torch.manual_seed(2)
    script = make(Extractor().eval())
    module = module_of(script)
    for kwargs in ({}, {"return_features": True}, {"no_output_bias": True}):
        assert_same(module, script, photos(3), **kwargs)
    with pytest.raises(TypeError, match="unexpected keyword"):
        module(photos(1), features=True)


@pytest.mark.parametrize("make", [scripted, loaded])
def test_parameters_keep_their_names(make: Maker) -> None:
    original = network(Dict)
    script = make(original)
    module = module_of(script)
    assert list(dict(module.named_parameters())) == list(dict(original.named_parameters()))
    assert {name: t.data_ptr() for name, t in module.named_parameters()} == {
        name: t.data_ptr() for name, t in script.named_parameters()
    }
    assert set(module.state_dict()) == set(original.state_dict())


@pytest.mark.parametrize("make", [frozen, traced])
def test_constants_follow_their_module(make: Maker) -> None:
    module = module_of(make(network(Dict)))
    assert module.to("meta")(images(2).to("meta"))["logits"].is_meta


@pytest.mark.parametrize(("make", "kind", "backend"), [(loaded, Tuple, "cpu"), (traced, Dict, "torch")])
def test_whole(make: Maker, kind: type[Network], backend: str) -> None:
    original = network(kind)
    fast = ifast.optimize(make(original), images(1), backend=backend)
    assert isinstance(fast, ifast.FastModel)
    for batch in (1, 2, 5):
        assert_keeps_promise(fast, original, images(batch))


def test_named_tuples() -> None:
    """Of a type that PyTorch makes for the purpose, as those of a script are."""
    original = network(Named)
    fast = ifast.optimize(frozen(original), images(2), backend="cpu")
    got, expected = fast(images(5)), original(images(5))
    assert got._fields == expected._fields
    assert got.aux is None
    torch.testing.assert_close(got.logits, expected.logits)


def test_extractor(tmp_path: Path) -> None:
    """Bytes in, a resize by an affine grid that stays PyTorch's, and one engine for all of the network."""
    torch.manual_seed(2)
    original = Extractor().eval()
    arguments = {"img": photos(1), "return_features": True}
    fast = ifast.optimize(loaded(original), arguments, backend="cpu")
    assert isinstance(fast, ifast.PartitionedModel)
    assert len(fast.engines) == 1
    assert "9 convolutions" in str(fast.report())
    fast.save(tmp_path / "extractor.ifast")
    again = ifast.load(tmp_path / "extractor.ifast", backend="cpu")
    for batch in (1, 2, 5):
        assert_keeps_promise(fast, original, photos(batch), return_features=True)
        assert_keeps_promise(again, original, photos(batch), return_features=True)
    with pytest.raises(ifast.InputError, match="return_features: got bool, expected True, as in the example"):
        fast(photos(1), return_features=False)


def test_inside_a_module() -> None:
    """A module of Python's with a script in it, which stays as it is."""
    original = nn.Sequential(nn.Flatten(0, 1), network(Tuple).blocks)
    model = nn.Sequential(nn.Flatten(0, 1), scripted(original[1])).eval()
    script = model[1]
    maps = torch.rand(2, 3, 8, 15, 15)
    fast = ifast.optimize(model, maps, backend="cpu")
    assert model[1] is script
    assert_keeps_promise(fast, original, maps)
