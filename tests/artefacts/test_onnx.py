"""ONNX models through ``optimize``, against the standard's own evaluator in float64."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

import inception_fast as ifast
from inception_fast.artefacts.choose import module_of
from inception_fast.graph import ir
from inception_fast.graph.capture import capture

pytest.importorskip("onnx")

import onnx
from onnx import ModelProto, NodeProto, helper

from tests.artefacts.graphs import NEWEST, model, noise, reference


def axes(op: str, x: str, y: str, opset: int, *values: int) -> list[NodeProto]:
    """A node whose axes are an attribute before opset 13, and an input from there on."""
    if opset < 13:
        return [helper.make_node(op, [x], [y], axes=list(values))]
    constant = helper.make_tensor(f"{y}_axes", onnx.TensorProto.INT64, [len(values)], values)
    return [
        helper.make_node("Constant", [], [f"{y}_axes"], value=constant),
        helper.make_node(op, [x, f"{y}_axes"], [y]),
    ]


def flattened(x: str, y: str, opset: int) -> list[NodeProto]:
    """``view(x.size(0), -1)`` as exporters write it."""
    return [
        helper.make_node("Shape", [x], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        *axes("Unsqueeze", "batch", "batches", opset, 0),
        helper.make_node("Concat", ["batches", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", [x, "sizes"], [y]),
    ]


def network(
    opset: int, *, head: Sequence[NodeProto] = (), dtype: type = np.float32, rows: Sequence[NodeProto] | None = None
) -> ModelProto:
    """A stem, an Inception block with four branches, and a classifier.

    Args:
        head: what follows the classifier's ``scores``.
        rows: what makes ``rows`` of ``features``, where the file is fixed to a batch of one.
    """
    weights: dict[str, np.ndarray] = {"zero": np.array(0), "rest": np.array([-1])}
    nodes: list[NodeProto] = []

    def conv(name: str, x: str, inputs: int, outputs: int, kernel: tuple[int, int], **attributes: object) -> str:
        fan = inputs * kernel[0] * kernel[1]
        weights[f"{name}.conv.weight"] = noise(outputs, inputs, *kernel, seed=len(weights)) / fan**0.5
        for i, part in enumerate(("weight", "bias", "running_mean")):
            weights[f"{name}.bn.{part}"] = 1 + noise(outputs, seed=len(weights) + i) / 4
        weights[f"{name}.bn.running_var"] = 0.5 + np.random.default_rng(len(weights)).random(outputs)
        norm = [f"{name}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        nodes.extend(
            [
                helper.make_node("Conv", [x, f"{name}.conv.weight"], [f"{name}.0"], f"/{name}/conv/Conv", **attributes),
                helper.make_node(
                    "BatchNormalization", [f"{name}.0", *norm], [f"{name}.1"], f"/{name}/bn/BN", epsilon=1e-3
                ),
                helper.make_node("Relu", [f"{name}.1"], [name], f"/{name}/Relu"),
            ]
        )
        return name

    x = conv("stem", "images", 3, 32, (3, 3), strides=[2, 2])
    nodes.append(helper.make_node("MaxPool", [x], ["pooled"], kernel_shape=[3, 3], strides=[2, 2]))
    nodes.append(
        helper.make_node("AveragePool", ["pooled"], ["mean"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    )
    branches = [
        conv("one", "pooled", 32, 16, (1, 1)),
        conv("two", conv("two_reduce", "pooled", 32, 12, (1, 1)), 12, 20, (3, 3), pads=[1] * 4),
        conv("three", conv("three_reduce", "pooled", 32, 12, (1, 1)), 12, 9, (1, 7), pads=[0, 3, 0, 3]),
        conv("four", "mean", 32, 11, (1, 1)),
    ]
    nodes.append(helper.make_node("Concat", branches, ["block"], axis=1))
    nodes.append(helper.make_node("GlobalAveragePool", ["block"], ["features"]))
    nodes += flattened("features", "rows", opset) if rows is None else rows
    weights["fc.weight"], weights["fc.bias"] = noise(7, 56) / 7, noise(7)
    nodes.append(helper.make_node("Gemm", ["rows", "fc.weight", "fc.bias"], ["scores"], transB=1))
    nodes += head
    outputs = [nodes[-1].output[0]]
    constants = {n: w.astype(np.float32).astype(dtype) if w.dtype == np.float64 else w for n, w in weights.items()}
    return model(nodes, {"images": images(1, dtype)}, outputs, constants, opset, batch="batch" if rows is None else 1)


def images(count: int, dtype: type = np.float32) -> np.ndarray:
    return noise(count, 3, 41, 43, seed=count, dtype=dtype)


def truth(x: np.ndarray, **options: Sequence[NodeProto]) -> Tensor:
    """In float64, by the newest opset: the evaluator trains normalisations of the older ones."""
    (expected,) = reference(network(NEWEST, dtype=np.float64, **options), {"images": x.astype(np.float64)})
    return expected


def assert_promised(fast: torch.nn.Module, proto: ModelProto, x: np.ndarray, expected: Tensor) -> None:
    """``fast`` is as far from ``expected`` as promised."""
    eager, got = module_of(proto)(torch.from_numpy(x)), fast(torch.from_numpy(x))
    assert (got.shape, got.dtype) == (eager.shape, torch.float32)
    ours, theirs = (((t.double() - expected).norm() / expected.norm()).item() for t in (got, eager))
    assert ours <= max(2 * theirs, 1e-5)


@pytest.mark.parametrize("opset", [9, 11, 13, 18, NEWEST])
def test_opsets(opset: int) -> None:
    x = images(3, np.float64)
    torch.testing.assert_close(module_of(network(opset)).double()(torch.from_numpy(x)), truth(x))


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_a_file_is_one_engine(backend: str, tmp_path: pathlib.Path) -> None:
    proto, x = network(17), images(2)
    onnx.save(proto, tmp_path / "model.onnx")
    fast = ifast.optimize(tmp_path / "model.onnx", torch.zeros(1, 3, 41, 43), backend=backend, strict=True)
    assert isinstance(fast, ifast.FastModel) and fast.backend == backend
    assert_promised(fast, proto, x, truth(x))


def test_names_are_the_files() -> None:
    module = module_of(network(13))
    assert {"stem.conv.weight", "two_reduce.bn.running_var", "fc.bias"} <= module.state_dict().keys()
    assert {name for name, _ in module.named_buffers()} >= {"stem.bn.running_mean", "stem.bn.running_var"}
    assert module.get_submodule("three_reduce.bn.BN").node.op == "BatchNormalization"
    assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_a_foreign_head_is_pytorchs_by_the_name_of_its_node(tmp_path: pathlib.Path) -> None:
    head = [helper.make_node("Softplus", ["scores"], ["positive"], "/head/Softplus")]
    proto, x = network(13, head=head), images(3)
    fast = ifast.optimize(proto, torch.zeros(1, 3, 41, 43), backend="cpu", accuracy="eager")
    assert isinstance(fast, ifast.PartitionedModel) and len(fast.engines) == 1
    assert "head.Softplus" in str(fast.report())
    assert ".py" not in str(fast.report())
    fast.save(tmp_path / "fast.ifast")
    for module in (fast, ifast.load(tmp_path / "fast.ifast", backend="cpu")):
        assert_promised(module, proto, x, truth(x, head=head))
    with pytest.raises(ifast.UnsupportedOpError, match=r"softplus\S* in module 'head\.Softplus':"):
        ifast.optimize(proto, torch.zeros(1, 3, 41, 43), backend="cpu", strict=True)


def test_the_norm_of_an_embedding_and_weights_that_are_written_once() -> None:
    """``F.normalize`` as PyTorch exports it."""
    head = [
        helper.make_node("Identity", ["fc.bias"], ["shift"]),
        helper.make_node("Add", ["scores", "shift"], ["moved"]),
        helper.make_node("ReduceL2", ["moved"], ["norm"], axes=[1]),
        helper.make_node("Constant", [], ["least"], value_float=1e-12),
        helper.make_node("Clip", ["norm", "least"], ["positive"]),
        helper.make_node("Shape", ["moved"], ["all"]),
        helper.make_node("Expand", ["positive", "all"], ["repeated"]),
        helper.make_node("Div", ["moved", "repeated"], ["embedding"]),
    ]
    module, x = module_of(network(13, head=head)), images(3, np.float64)
    captured = capture(module, torch.zeros(1, 3, 41, 43))
    assert any(isinstance(node.op, ir.Normalize) for node in captured.graph.nodes)
    (expected,) = reference(network(16, dtype=np.float64, head=head), {"images": x})
    torch.testing.assert_close(module.double()(torch.from_numpy(x)), expected)


@pytest.mark.parametrize("last", [56, -1])
def test_a_file_fixed_to_one_image_takes_batches(last: int) -> None:
    sizes = helper.make_tensor("fixed", onnx.TensorProto.INT64, [2], [1, last])
    rows = [
        helper.make_node("Constant", [], ["fixed"], value=sizes),
        helper.make_node("Reshape", ["features", "fixed"], ["rows"]),
    ]
    proto, x = network(13, rows=rows), images(3)
    example = torch.zeros(1, 3, 41, 43)
    fast = ifast.optimize(proto, example, backend="cpu", strict=True, accuracy="eager")
    assert_promised(fast, proto, x, truth(x))


def test_several_inputs_and_outputs_by_name() -> None:
    nodes = [
        helper.make_node("Conv", ["left:0", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["2", "w"], ["b"], pads=[1] * 4),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=1),
        helper.make_node("ReduceMean", ["c"], ["mean"], axes=[2, 3], keepdims=0),
    ]
    left, right = noise(2, 3, 9, 8, dtype=np.float32), noise(2, 3, 9, 8, seed=1, dtype=np.float32)
    inputs = {"left:0": left, "2": right}
    proto = model(nodes, inputs, ["mean", "c"], {"w": noise(4, 3, 3, 3, dtype=np.float32)}, 13)
    example = {"left_0": torch.zeros(1, 3, 9, 8), "_2": torch.zeros(1, 3, 9, 8)}
    with pytest.warns(UserWarning, match="PyTorch"):
        fast = ifast.optimize(proto, example, backend="cpu")
    got = fast(torch.from_numpy(left), _2=torch.from_numpy(right))
    assert isinstance(got, tuple)
    for ours, theirs in zip(got, reference(proto, inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_names_that_are_no_names_in_python() -> None:
    """Nothing of a file's names becomes code, and none takes the place of a module's own parts."""
    hostile = ["forward", "graph.code", 'x"]; raise SystemExit #', "a", "a.b", "../a", "import", "é"]
    nodes = [
        helper.make_node("Add", [x, w], [f"{x}+"], name)
        for x, w, name in zip(
            ["0 x"] + [f"{'0 x'}{'+' * i}" for i in range(1, 8)], hostile, reversed(hostile), strict=True
        )
    ]
    weights = {name: noise(4, seed=i) for i, name in enumerate(hostile)}
    x = noise(3, 4)
    proto = model(nodes, {"0 x": x}, ["0 x" + "+" * 8], weights, 13)
    module = module_of(proto)
    torch.testing.assert_close(module(torch.from_numpy(x)), reference(proto, {"0 x": x})[0])
    assert len(module.state_dict()) == 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(dtype: torch.dtype) -> None:
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    kind = {torch.float16: onnx.TensorProto.FLOAT16, torch.bfloat16: onnx.TensorProto.BFLOAT16}[dtype]
    weight = helper.make_tensor("w", kind, [6], [0.5, -1, 2, 0.25, 3, 1])
    value = helper.make_tensor_value_info("x", kind, ["n", 6])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [value], [value], [weight])
    graph.output[0].name = "y"
    got = module_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))(x)
    assert torch.equal(got, x * torch.tensor([0.5, -1, 2, 0.25, 3, 1], dtype=dtype))
