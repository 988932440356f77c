"""save and load."""

from __future__ import annotations

import copy
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.plan import engine_file
from tests.integrations.networks import network, photos


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.ifast"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_round_trip(model: nn.Module, backend: str, precision: str, path: Path) -> None:
    """The same bits, structure and report."""
    fast = ifast.optimize(model, photos(1), backend=backend, precision=precision)
    fast.save(path)
    again = ifast.load(path, backend=backend)
    got, expected = again(photos(3)), fast(photos(3))
    assert type(got).__name__ == "Result" and got._fields == expected._fields and list(got.maps) == list(expected.maps)
    assert torch.equal(got.logits, expected.logits) and torch.equal(got.maps["map"], expected.maps["map"])
    assert str(again.report()) == str(fast.report()) and again.plan == fast.plan and again.key == fast.key


def test_batch_invariance_is_kept(model: nn.Module, path: Path) -> None:
    ifast.optimize(model, photos(1), batch_invariant=True).save(path)
    assert ifast.load(path).batch_invariant


def test_any_backend_may_load(model: nn.Module, path: Path) -> None:
    """A file is not bound to the backend that it was made for."""
    ifast.optimize(model, photos(1), backend="reference").save(path)
    torch.testing.assert_close(
        ifast.load(path, backend="torch")(photos(2)).logits, model(photos(2)).logits.detach(), rtol=1e-4, atol=1e-5
    )


def test_saving_what_was_loaded(fast: ifast.FastModel, path: Path) -> None:
    fast.save(path)
    second = path.with_name("second.ifast")
    ifast.load(path).save(second)
    assert second.read_bytes() == path.read_bytes()


def test_the_file_may_go(fast: ifast.FastModel, path: Path) -> None:
    fast.save(path)
    again = ifast.load(path)
    path.unlink()
    assert torch.equal(again(photos(2)).logits, fast(photos(2)).logits)


def test_bad_input_after_loading(fast: ifast.FastModel, path: Path) -> None:
    fast.save(path)
    with pytest.raises(ifast.InputError, match=r"x: got shape \[2, 3, 9, 11\]"):
        ifast.load(path)(photos(2).mT)


def test_truncated(fast: ifast.FastModel, path: Path) -> None:
    fast.save(path)
    whole = path.read_bytes()
    for length in (0, 5, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ifast.EngineFileError, match=r"net\.ifast: (truncated|not an engine file)"):
            ifast.load(path)


def test_newer_version(fast: ifast.FastModel, path: Path) -> None:
    fast.save(path)
    data = bytearray(path.read_bytes())
    newer = engine_file.VERSION + 1
    struct.pack_into("<I", data, len(engine_file.MAGIC), newer)
    path.write_bytes(data)
    with pytest.raises(ifast.EngineFileError, match=f"made by a newer version of inception_fast: format {newer}"):
        ifast.load(path)


def test_packed_for_another_backend(fast: ifast.FastModel, path: Path) -> None:
    engine = fast.engine
    engine_file.write_engine(path, replace(engine, metadata=replace(engine.metadata, layout="somebody")))
    with pytest.raises(ifast.EngineFileError, match="the constants are packed for 'somebody', not for 'canonical'"):
        ifast.load(path)


def test_hostile(fast: ifast.FastModel, path: Path) -> None:
    """A damaged byte anywhere, and what never was an engine."""
    fast.save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ifast.EngineFileError, match="the checksum does not match: the file is damaged"):
        ifast.load(path)
    torch.save(network().state_dict(), path)
    with pytest.raises(ifast.EngineFileError, match="not an engine file"):
        ifast.load(path)


def test_files_that_are_not_there(fast: ifast.FastModel, path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ifast.load(path)
    with pytest.raises(FileNotFoundError):
        fast.save(path / "in a folder that is not there")


def test_unknown_backend(fast: ifast.FastModel, path: Path) -> None:
    fast.save(path)
    with pytest.raises(ifast.InputError, match="backend: got 'gpu'"):
        ifast.load(path, backend="gpu")


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_inside_a_larger_model(fast: ifast.FastModel, copier: Callable[[nn.Module], nn.Module]) -> None:
    whole = nn.Sequential(nn.Sigmoid(), fast).eval()
    twin = copier(whole)
    assert twin[1] is not fast and twin[1].backend == fast.backend and not twin[1].training
    got, expected = twin(photos(2)), whole(photos(2))
    assert torch.equal(got.logits, expected.logits) and got._fields == expected._fields
