"""Saved and loaded: the same bits; what a file says is checked before anything runs."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.partition.archive import archive_bytes, read_archive_bytes
from tests.partition.models import MODELS, Parts, images, lively, model

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "name",
    ["gate of nobody", "attention", "inverted bytes, NHWC, BGR", "video", "dict", "metadata", "pieces of patterns"],
)
def test_loads_as_it_was(name: str, tmp_path: Path) -> None:
    arguments = MODELS[name][2]
    fast = ifast.optimize(model(name), arguments(1), backend="cpu", accuracy="fast")
    fast.save(tmp_path / "m.ifast")
    loaded = ifast.load(tmp_path / "m.ifast", backend="cpu", device="cpu")
    assert type(loaded) is ifast.PartitionedModel and loaded.report() == fast.report()
    got, expected = (torch.utils._pytree.tree_flatten(f(*arguments(3))) for f in (loaded, fast))
    assert got[1] == expected[1]
    for a, b in zip(got[0], expected[0], strict=True):
        assert torch.equal(a, b) if isinstance(b, torch.Tensor) else a == b


@pytest.fixture(scope="module")
def saved() -> bytes:
    return archive_bytes(ifast.optimize(model("metadata"), MODELS["metadata"][2](1), backend="cpu", accuracy="fast"))


def changed(data: bytes, change: Any) -> bytes:
    """The archive with another description."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    fields = json.loads(contents["model.json"])
    change(fields)
    contents["model.json"] = json.dumps(fields).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def _target(old: str, new: str) -> Any:
    def change(fields: Any) -> None:
        (node,) = (n for n in fields["operators"] if n["target"] == old)
        node["target"] = new

    return change


def _first_call(**members: Any) -> Any:
    def change(fields: Any) -> None:
        next(n for n in fields["operators"] if n["op"] == "call_function").update(members)

    return change


HOSTILE = {
    "a file is opened": _target("aten.cat.default", "aten.from_file.default"),
    "an argument is written to": _target("aten.cat.default", "aten.add_.Tensor"),
    "another library": _target("aten.cat.default", "inductor.resize_storage_bytes_.default"),
    "a Python function": _target("aten.cat.default", "os.system"),
    "an attribute": _target("aten.cat.default", "aten.cat.__init__"),
    "a method": _first_call(op="call_method"),
    "a later node": _first_call(args=[{"node": 99}]),
    "an argument of no kind": _first_call(args=[{"code": "1"}]),
    "arguments that are no list": _first_call(args=3),
    "code for a name": lambda f: f["operators"][0].update(target="x):\n import os\ndef f(y"),
    "a keyword that is code": _first_call(kwargs={"a=1) or (x": 1}),
    "an argument called as a keyword": lambda f: f["operators"][0].update(target="lambda"),
    "code for an engine": lambda f: f.update(islands=["island0 or print(1)"]),
    "an unknown operator": _target("aten.cat.default", "aten.nothing.default"),
    "a version to come": lambda f: f.update(version=2),
    "no operators": lambda f: f.update(operators=[]),
    "a missing engine": lambda f: f.update(islands=[]),
    "a missing part": lambda f: f.pop("signature"),
    "another type": lambda f: f["constants"]["constant0"].update(dtype="object"),
    "a negative size": lambda f: f["constants"]["constant0"].update(shape=[-5, -11]),
    "another size": lambda f: f["constants"]["constant0"].update(shape=[5, 12]),
    "other outputs": lambda f: f["outputs"].update(kind="tuple", items=[]),
    "other arguments": lambda f: f["tensors"].pop(),
    "a parameter that is code": lambda f: f["signature"]["parameters"][0].update(name="x: print(1)"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused(saved: bytes, what: str) -> None:
    with pytest.raises(ifast.EngineFileError):
        read_archive_bytes(changed(saved, HOSTILE[what]), "cpu", CPU)


def test_damaged_files_are_refused(saved: bytes, tmp_path: Path) -> None:
    read_archive_bytes(saved, "cpu", CPU)
    middle = len(saved) // 2
    for data in (saved[:middle], saved[:middle] + b"\x7f\x01\x55" + saved[middle + 3 :], b"PK", saved[:-1]):
        (tmp_path / "m.ifast").write_bytes(data)
        with pytest.raises(ifast.EngineFileError, match=r"m\.ifast"):
            ifast.load(tmp_path / "m.ifast")


def test_compressed_files_are_refused(saved: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ifast.EngineFileError, match="compressed"):
        read_archive_bytes(file.getvalue(), "cpu", CPU)


def test_operators_of_other_libraries_cannot_be_written(tmp_path: Path) -> None:
    @torch.library.custom_op("inception_fast_tests::halve", mutates_args=())
    def halve(x: torch.Tensor) -> torch.Tensor:
        return x / 2

    halve.register_fake(torch.empty_like)

    class Halving(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return halve(x)

    module = lively(Parts(lambda m, x: m.halving(m.trunk(x)), halving=Halving()))
    fast = ifast.optimize(module, images(1), backend="cpu", accuracy="fast")
    assert len(fast.engines) == 1
    with pytest.raises(
        ifast.InputError, match=r"inception_fast_tests\.halve\.default in module 'halving' at .*\.py:\d+"
    ):
        fast.save(tmp_path / "m.ifast")
    assert not list(tmp_path.iterdir())
