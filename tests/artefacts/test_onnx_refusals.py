"""ONNX files that are not served: what is said of them."""

from __future__ import annotations

import builtins
import pathlib
from typing import Any

import numpy as np
import pytest
import torch

import inception_fast as ifast
from inception_fast.artefacts.choose import module_of

pytest.importorskip("onnx")

import onnx
from onnx import ModelProto, helper

from tests.artefacts.graphs import model, noise, single

X = noise(2, 3, 8, 8, dtype=np.float32)
WEIGHT = noise(4, 3, 3, 3, dtype=np.float32)


def convolution(opset: int = 13) -> ModelProto:
    return single("Conv", opset, X, [WEIGHT])


def optimize(source: Any) -> Any:
    return ifast.optimize(source, torch.from_numpy(X), backend="cpu")


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("InstanceNormalization", {}, "no such operator"),
        ("MaxPool", {"kernel_shape": [2, 2], "outputs": 2}, "only its first output"),
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, "dilated"),
        ("QuantizeLinear", {}, "precision='int8'"),
        ("ConvInteger", {}, "precision='int8'"),
        ("Pad", {"mode": "wrap"}, "padding"),
    ],
)
def test_operator_by_name(op: str, attributes: dict[str, Any], message: str) -> None:
    constants = [np.ones(3, np.float32)] * 2 if "Norm" in op else [np.array(0.5, np.float32)] if "Quant" in op else []
    constants = [np.array([0, 0, 1, 1, 0, 0, 1, 1])] if op == "Pad" else constants
    with pytest.raises(ifast.UnsupportedOpError, match=rf"{op} in module 'node': .*{message}.*ai\.onnx, opset 19"):
        optimize(single(op, 19, X, constants, **attributes))


def test_operator_of_another_domain() -> None:
    node = helper.make_node("FusedConv", ["x", "w"], ["y"], "fused", domain="com.microsoft")
    proto = model([node], {"x": X}, ["y"], {"w": WEIGHT}, 13)
    with pytest.raises(ifast.UnsupportedOpError, match=r"FusedConv in module 'fused'.*domain com\.microsoft"):
        optimize(proto)


@pytest.mark.parametrize(
    ("mode", "options", "message"),
    [
        ("linear", {"coordinate_transformation_mode": "asymmetric"}, "asymmetric"),
        ("linear", {"antialias": 1}, "antialias"),
        ("cubic", {"cubic_coeff_a": -0.5}, "cubic coefficient"),
        ("nearest", {"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
    ],
)
def test_resize_that_pytorch_has_not(mode: str, options: dict[str, Any], message: str) -> None:
    scales = np.array([1, 1, 2, 1.5], np.float32)
    with pytest.raises(ifast.UnsupportedOpError, match=message):
        optimize(single("Resize", 18, X, [None, scales], mode=mode, **options))


def test_unread_operators_are_no_matter() -> None:
    proto = convolution()
    proto.graph.node.append(helper.make_node("LSTM", ["x", "c0", "c0"], ["z"]))
    assert module_of(proto)(torch.from_numpy(X)).shape == (2, 4, 6, 6)


@pytest.mark.parametrize("opset", [8, 1000])
def test_opsets_that_are_not_read(opset: int) -> None:
    with pytest.raises(ifast.ModelFileError, match=f"opset {opset}; 9 to"):
        optimize(convolution(opset))


def test_files_that_are_none(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ifast.ModelFileError, match="no such file"):
        optimize(tmp_path / "absent.onnx")
    path = tmp_path / "model.onnx"
    path.mkdir()
    with pytest.raises(ifast.ModelFileError, match="cannot be read"):
        optimize(str(path))
    path.rmdir()
    whole = convolution().SerializeToString()
    for content in (b"", b"PK\x03\x04 something else", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(ifast.ModelFileError, match=r"model\.onnx"):
            optimize(path)


def test_damaged_graphs() -> None:
    twice, backwards, attribute, data, extra = (convolution() for _ in range(5))
    twice.graph.node.append(twice.graph.node[0])
    backwards.graph.node[0].input[0] = "later"
    attribute.graph.node[0].attribute.append(helper.make_attribute("colour", "red"))
    data.graph.initializer[0].dims[0] = 2**40
    extra.graph.initializer[0].data_type = onnx.TensorProto.COMPLEX64
    for proto, message in [
        (twice, "computed twice"),
        (backwards, "'later' is read before"),
        (attribute, "colour"),
        (data, "'c0' has other data than its size says"),
        (extra, "'c0' is of type COMPLEX64"),
    ]:
        with pytest.raises(ifast.ModelFileError, match=message):
            optimize(proto)


def test_damaged_bytes_are_told_by_type(tmp_path: pathlib.Path) -> None:
    path, whole = tmp_path / "model.onnx", convolution().SerializeToString()
    generator = np.random.default_rng(0)
    # The structure is what lies around the weights.
    places = [i for i in range(len(whole)) if not 100 <= i < len(whole) - 100]
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        content[generator.choice(places)] = generator.integers(256)
        path.write_bytes(bytes(content))
        try:
            module_of(path)
        except ifast.InceptionFastError:
            refused += 1
    assert refused > 100


def test_a_fill_that_no_bytes_stand_for() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["ones"]),
        helper.make_node("Add", ["x", "ones"], ["y"]),
    ]
    proto = model(nodes, {"x": X}, ["y"], {"huge": np.array([2**20, 2**20])}, 13)
    with pytest.raises(ifast.UnsupportedOpError, match="a constant of shape"):
        optimize(proto)


def test_weights_in_other_files(tmp_path: pathlib.Path) -> None:
    path, expected = tmp_path / "model.onnx", module_of(convolution())(torch.from_numpy(X))
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(convolution(), path, **options)
    assert torch.equal(module_of(path)(torch.from_numpy(X)), expected)
    with pytest.raises(ifast.ModelFileError, match="hand over the path"):
        optimize(onnx.load(path, load_external_data=False))
    weights = tmp_path / "weights.bin"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(ifast.ModelFileError, match=r"weights\.bin"):
        optimize(path)
    weights.unlink()
    with pytest.raises(ifast.ModelFileError, match=r"weights\.bin, which is missing"):
        optimize(path)
    outside = onnx.load(path, load_external_data=False)
    (tmp_path / "secret").write_bytes(content)
    inner = tmp_path / "inner"
    inner.mkdir()
    outside.graph.initializer[0].external_data[0].value = "../secret"
    (inner / "model.onnx").write_bytes(outside.SerializeToString())
    with pytest.raises(ifast.ModelFileError, match="secret"):
        optimize(inner / "model.onnx")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ifast.OnnxUnavailableError, match=r"inception-fast\[onnx\]"):
        optimize("model.onnx")
