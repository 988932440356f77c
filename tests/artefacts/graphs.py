"""ONNX models made by hand, and what the standard's own evaluator makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

NEWEST = defs.onnx_opset_version()


def noise(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray],
    opset: int,
    *,
    batch: int | str = "batch",
) -> ModelProto:
    """A model whose inputs are like ``inputs``, of any batch size unless ``batch`` says which."""

    def value(name: str, array: np.ndarray) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, [batch, *array.shape[1:]] if array.ndim else [])

    graph = helper.make_graph(
        nodes,
        "graph",
        [value(name, array) for name, array in inputs.items()],
        [helper.make_tensor_value_info(name, 0, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def single(op: str, opset: int, x: np.ndarray, constants: Sequence[np.ndarray | None], **attributes: Any) -> ModelProto:
    """A model of one node, whose first input is ``x`` and whose others are constants; None for those left out."""
    outputs = [f"y{i}" for i in range(attributes.pop("outputs", 1))]
    names = ["" if c is None else f"c{i}" for i, c in enumerate(constants)]
    node = helper.make_node(op, ["x", *names], outputs, name="node", **attributes)
    values = {name: c for name, c in zip(names, constants, strict=True) if c is not None}
    return model([node], {"x": x}, outputs, values, opset)


def reference(proto: ModelProto, inputs: Mapping[str, np.ndarray]) -> list[torch.Tensor]:
    """What the standard's evaluator returns."""
    return [torch.from_numpy(np.array(y)) for y in ReferenceEvaluator(proto).run(None, dict(inputs))]
