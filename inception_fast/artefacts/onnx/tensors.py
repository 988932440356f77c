"""Tensors of an ONNX file as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from inception_fast.errors import ModelFileError

DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.BOOL: torch.bool,
}
"""By ONNX's number of an element type."""


def type_name(data_type: int) -> str:
    """ONNX's name of an element type."""
    return TensorProto.DataType.Name(data_type) if data_type in TensorProto.DataType.values() else str(data_type)


def tensor_of(proto: TensorProto) -> Tensor:
    """A copy of the tensor.

    Raises:
        ModelFileError: its type has no place in a network of the family, or its data is not of its size.
    """
    dtype = DTYPES.get(proto.data_type)
    if dtype is None:
        raise ModelFileError(f"the tensor '{proto.name}' is of type {type_name(proto.data_type)}")
    try:
        array: Any = np.array(numpy_helper.to_array(proto))
    except Exception as error:
        raise ModelFileError(f"the tensor '{proto.name}' has other data than its size says: {error}") from error
    if dtype is torch.bfloat16 and array.dtype.itemsize == 2:
        return torch.from_numpy(array.view(np.int16)).view(dtype)
    return torch.from_numpy(array).to(dtype)
