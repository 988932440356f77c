"""Each ONNX operator in float64 against the standard's own evaluator, by opset where the standard changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inception_fast.artefacts.choose import module_of

pytest.importorskip("onnx")

from tests.artefacts.graphs import NEWEST, noise, reference, single

IMAGES = noise(3, 6, 9, 7)
ROWS = noise(5, 7)
POSITIVE = np.abs(noise(6, seed=4)) + 0.5
F64, F32 = np.float64, np.float32


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def scalar(value: float, dtype: Any = F64) -> np.ndarray:
    return np.array(value, dtype=dtype)


def scales(*values: float) -> np.ndarray:
    return np.array(values, dtype=F32)


def window(**attributes: Any) -> dict[str, Any]:
    return {"kernel_shape": [3, 2], **attributes}


Case = tuple[str, int, np.ndarray, list[Any], dict[str, Any]]
CONVOLUTIONS: list[Case] = [
    ("Conv", 9, IMAGES, [noise(4, 6, 3, 2)], {}),
    ("Conv", NEWEST, IMAGES, [noise(6, 2, 3, 3), noise(6)], {"group": 3, "pads": [1, 2, 1, 2], "strides": [2, 1]}),
    ("Conv", 11, IMAGES, [noise(4, 6, 3, 2), noise(4)], {"pads": [0, 1, 2, 0], "dilations": [2, 1]}),
    ("Conv", 13, IMAGES, [noise(4, 6, 3, 2)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", 18, IMAGES, [noise(4, 6, 2, 4)], {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ("Conv", 13, IMAGES, [noise(4, 6, 3, 3)], {"auto_pad": "VALID", "strides": [2, 2]}),
    ("Conv", 13, noise(2, 4, 11), [noise(3, 4, 3), noise(3)], {"pads": [1, 0]}),
    ("Conv", 13, noise(2, 3, 5, 6, 4), [noise(2, 3, 2, 3, 3)], {"pads": [0, 1, 1, 0, 1, 1]}),
    ("BatchNormalization", 14, IMAGES, [noise(6), noise(6, seed=1), noise(6, seed=2), POSITIVE], {"epsilon": 1e-3}),
    ("BatchNormalization", NEWEST, ROWS[:, :6], [noise(6), noise(6, seed=1), noise(6, seed=2), POSITIVE], {}),
    ("Gemm", 9, ROWS, [noise(7, 4), noise(4)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", 11, ROWS, [noise(4, 7)], {"transB": 1}),
    ("Gemm", 13, ROWS, [noise(4, 7), noise(4)], {"transB": 1}),
    ("Gemm", NEWEST, ROWS, [noise(4, 5), noise(7, 1)], {"transA": 1, "transB": 1, "beta": 0.5}),
    ("MatMul", 9, ROWS, [noise(7, 3)], {}),
    ("MatMul", NEWEST, noise(2, 3, 4, 5), [noise(5, 3)], {}),
    ("MatMul", 13, noise(2, 3, 4, 5), [noise(3, 5, 2)], {}),
    # The evaluator sums for as many channels as there are images.
    ("LRN", 9, noise(6, 6, 3, 2), [], {"size": 5, "alpha": 0.3, "beta": 0.6, "bias": 2.0}),
    ("LRN", 13, noise(6, 6, 3, 2), [], {"size": 4, "alpha": 0.3}),
]
POOLS: list[Case] = [
    ("MaxPool", 9, IMAGES, [], window(strides=[2, 2])),
    ("MaxPool", 11, IMAGES, [], window(pads=[1, 1, 1, 1], strides=[2, 3], ceil_mode=1)),
    ("MaxPool", NEWEST, IMAGES, [], window(pads=[0, 0, 2, 1], dilations=[1, 2])),
    ("MaxPool", 12, IMAGES, [], window(auto_pad="SAME_UPPER", strides=[2, 2])),
    ("MaxPool", 12, IMAGES, [], window(auto_pad="SAME_LOWER")),
    ("MaxPool", 12, noise(2, 3, 11), [], {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}),
    ("MaxPool", 12, noise(2, 3, 5, 6, 7), [], {"kernel_shape": [3, 2, 2], "strides": [2, 1, 2]}),
    ("AveragePool", 9, IMAGES, [], window(pads=[1, 1, 1, 1])),
    ("AveragePool", 11, IMAGES, [], window(pads=[1, 1, 1, 1], count_include_pad=1, strides=[2, 2])),
    ("AveragePool", NEWEST, IMAGES, [], window(pads=[1, 0, 0, 1], count_include_pad=1)),
    ("AveragePool", NEWEST, IMAGES, [], window(pads=[1, 0, 0, 1])),
    ("AveragePool", 19, IMAGES, [], window(strides=[2, 2], ceil_mode=1)),
    ("AveragePool", 11, IMAGES, [], window(auto_pad="SAME_UPPER", strides=[2, 2])),
    ("AveragePool", 11, noise(2, 3, 11), [], {"kernel_shape": [4], "strides": [3], "pads": [1, 2]}),
    ("GlobalAveragePool", 9, IMAGES, [], {}),
    ("GlobalAveragePool", 9, noise(2, 3, 11), [], {}),
    ("GlobalMaxPool", NEWEST, IMAGES, [], {}),
]
POINTWISE: list[Case] = [
    ("Add", 9, IMAGES, [noise(6, 1, 1)], {}),
    ("Sub", 13, IMAGES, [scalar(0.25)], {}),
    ("Mul", NEWEST, IMAGES, [noise(1)], {}),
    ("Div", 13, IMAGES, [scalar(0.3)], {}),
    ("Div", 13, np.arange(-9, 9).reshape(6, 3), [ints(4)], {}),
    ("Pow", 9, np.abs(ROWS), [scalar(1.5)], {}),
    ("Pow", 13, ROWS, [np.array(2)], {}),
    ("Neg", 9, ROWS, [], {}),
    ("Sqrt", 13, np.abs(ROWS), [], {}),
    ("Relu", 9, ROWS, [], {}),
    ("LeakyRelu", 9, ROWS, [], {"alpha": 0.2}),
    ("LeakyRelu", NEWEST, ROWS, [], {}),
    ("Clip", 9, ROWS, [], {"min": -0.5, "max": 0.25}),
    ("Clip", 11, ROWS, [scalar(0.0), scalar(0.5)], {}),
    ("Clip", 13, ROWS, [None, scalar(0.5)], {}),
    ("Clip", NEWEST, ROWS, [scalar(0.0)], {}),
    ("Sigmoid", 9, ROWS, [], {}),
    ("Tanh", 13, ROWS, [], {}),
    ("Exp", 13, ROWS, [], {}),
    ("Log", 13, np.abs(ROWS), [], {}),
    ("Abs", 13, ROWS, [], {}),
    ("Reciprocal", 13, ROWS, [], {}),
    ("Softplus", 13, ROWS, [], {}),
    ("Elu", 9, ROWS, [], {"alpha": 0.7}),
    ("PRelu", 9, IMAGES, [noise(6, 1, 1)], {}),
    ("PRelu", 16, IMAGES, [noise(1)], {}),
    ("PRelu", 16, IMAGES, [noise(9, 7)], {}),
    ("HardSigmoid", 9, ROWS, [], {}),
    ("HardSigmoid", NEWEST, ROWS, [], {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSwish", 14, 4 * ROWS, [], {}),
    ("Max", 13, ROWS, [scalar(0.2)], {}),
    ("Min", 13, ROWS, [noise(7), noise(5, 1)], {}),
    ("Sum", 9, ROWS, [noise(7), noise(5, 1)], {}),
    ("Identity", 9, ROWS, [], {}),
    ("Dropout", 9, ROWS, [], {"ratio": 0.4}),
    ("Dropout", 13, ROWS, [scalar(0.4, F32), np.array(False)], {}),
    ("Cast", 9, 3 * ROWS, [], {"to": 7}),
    ("Cast", 13, np.arange(6).reshape(2, 3), [], {"to": 11}),
    *(
        (op, opset, IMAGES, [], {} if axis is None else {"axis": axis})
        for op in ("Softmax", "LogSoftmax")
        for opset, axis in [(11, -1), (13, None), (13, 1), (NEWEST, 2)]
    ),
]
REDUCTIONS: list[Case] = [
    ("ReduceMean", 9, IMAGES, [], {"axes": [2, 3]}),
    ("ReduceMean", 13, IMAGES, [], {"axes": [-1], "keepdims": 0}),
    ("ReduceMean", 18, IMAGES, [ints(2, 3)], {"keepdims": 0}),
    ("ReduceMean", 13, IMAGES, [], {}),
    ("ReduceSum", 11, IMAGES, [], {"axes": [1]}),
    ("ReduceSum", 13, IMAGES, [ints(1)], {}),
    ("ReduceSum", NEWEST, IMAGES, [None], {"noop_with_empty_axes": 1}),
    ("ReduceMax", 13, IMAGES, [], {"axes": [2]}),
    ("ReduceMin", 18, IMAGES, [ints(3)], {}),
    ("ReduceL2", 13, IMAGES, [], {"axes": [1]}),
    ("ArgMax", 9, IMAGES, [], {"axis": 1}),
    ("ArgMax", NEWEST, IMAGES, [], {"axis": -2, "keepdims": 0}),
]
VIEWS: list[Case] = [
    ("Flatten", 9, IMAGES, [], {}),
    ("Flatten", 11, IMAGES, [], {"axis": -2}),
    ("Flatten", 13, IMAGES, [], {"axis": 0}),
    ("Flatten", 13, IMAGES, [], {"axis": 4}),
    ("Reshape", 9, IMAGES, [ints(0, 3, -1, 7)], {}),
    ("Reshape", NEWEST, IMAGES, [ints(-1, 7)], {}),
    ("Transpose", 9, IMAGES, [], {}),
    ("Transpose", 13, IMAGES, [], {"perm": [0, 2, 3, 1]}),
    ("Squeeze", 9, noise(3, 4, 1, 1), [], {"axes": [2, 3]}),
    ("Squeeze", 13, noise(3, 4, 1, 1), [ints(-1)], {}),
    ("Squeeze", 13, noise(3, 4, 1, 1), [], {}),
    ("Unsqueeze", 11, ROWS, [], {"axes": [0, 3]}),
    ("Unsqueeze", 13, ROWS, [ints(-1, 1)], {}),
    ("Expand", 9, noise(3, 1, 4), [ints(2, 1, 5, 1)], {}),
    ("Expand", 13, noise(3, 4), [ints(1)], {}),
    ("Concat", 9, ROWS, [noise(5, 3)], {"axis": 1}),
    ("Concat", NEWEST, ROWS, [noise(2, 7)], {"axis": -2}),
    ("Split", 11, IMAGES, [], {"split": [1, 2, 3], "axis": 1, "outputs": 3}),
    ("Split", 13, IMAGES, [ints(4, 2)], {"axis": 1, "outputs": 2}),
    ("Split", 13, IMAGES, [], {"axis": 1, "outputs": 3}),
    ("Split", 18, IMAGES, [], {"axis": 2, "outputs": 2, "num_outputs": 2}),
    ("Slice", 9, IMAGES, [], {"starts": [1, -3], "ends": [4, 1000], "axes": [1, 3]}),
    ("Slice", 10, IMAGES, [ints(1, 0), ints(2**63 - 1, -1)], {}),
    ("Slice", 13, IMAGES, [ints(-1), ints(-(2**63) + 1), ints(1), ints(-1)], {}),
    ("Slice", NEWEST, IMAGES, [ints(7, 1), ints(0, 6), ints(2, -1), ints(-3, 2)], {}),
    ("Gather", 9, IMAGES, [np.array(-2)], {"axis": 1}),
    ("Gather", 11, IMAGES, [ints(2, 1, 0)], {"axis": 1}),
    ("Gather", NEWEST, IMAGES, [ints(2, -1, 0, 3).reshape(2, 2)], {"axis": -1}),
    ("Pad", 9, IMAGES, [], {"pads": [0, 0, 1, 2, 0, 0, 0, 3], "value": 1.5}),
    ("Pad", 11, IMAGES, [ints(0, 1, 1, 2, 0, 0, 0, 3), scalar(-2.0)], {}),
    ("Pad", 13, IMAGES, [ints(0, 0, 1, 2, 0, 0, 0, 3)], {"mode": "reflect"}),
    ("Pad", NEWEST, IMAGES, [ints(1, 2, 3, 0), None, ints(-1, 2)], {"mode": "edge"}),
    ("Shape", 9, IMAGES, [], {}),
    ("Shape", 15, IMAGES, [], {"start": 1, "end": -1}),
    ("Size", 13, IMAGES, [], {}),
]
ALL = [*CONVOLUTIONS, *POOLS, *POINTWISE, *REDUCTIONS, *VIEWS]
NEAREST = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
RESIZES: list[Case] = [
    ("Upsample", 9, IMAGES, [scales(1, 1, 2, 3)], {}),
    *(
        ("Resize", opset, IMAGES, [*given], {"nearest_mode": rounding, "coordinate_transformation_mode": mode})
        for mode in NEAREST
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        for opset, given in [(11, [scales(), scales(1, 1, 2, 3)]), (13, [None, None, ints(3, 6, 5, 20)])]
    ),
    *(
        ("Resize", 13, IMAGES, [None, *given], {"mode": kind, "coordinate_transformation_mode": mode})
        for kind in ("linear", "cubic")
        for mode in ("half_pixel", "align_corners", "pytorch_half_pixel")
        for given in ([scales(1, 1, 2, 1.6 if mode != "align_corners" else 3)], [None, ints(3, 6, 5, 20)])
    ),
    ("Resize", 13, IMAGES, [None, scales(1, 1, 0.7, 1.6)], {"nearest_mode": "floor"}),
    ("Resize", 18, IMAGES, [None, None, ints(4, 5)], {"mode": "linear", "axes": [3, 2]}),
]


TOLERANCE = {"HardSwish": 1e-6, "Resize": 1e-5}
"""Where the evaluator computes in float32; 1e-10 elsewhere."""


def same(case: Case) -> None:
    op, opset, x, constants, attributes = case
    proto = single(op, opset, x, constants, **attributes)
    got = module_of(proto)(torch.from_numpy(x))
    wanted = reference(proto, {"x": x})
    got = got if isinstance(got, tuple) else (got,)
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        ours = torch.as_tensor(ours)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        tolerance = TOLERANCE.get(op, 1e-10)
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", ALL, ids=[f"{c[0]}-{c[1]}-{i}" for i, c in enumerate(ALL)])
def test_operator_is_the_standards(case: Case) -> None:
    same(case)


@pytest.mark.parametrize("case", RESIZES, ids=[f"{c[0]}-{c[1]}-{i}" for i, c in enumerate(RESIZES)])
def test_resize_is_the_standards(case: Case) -> None:
    same(case)


@pytest.mark.parametrize(("opset", "axis"), [(9, None), (9, 2), (11, -2), (12, 0)])
def test_softmax_was_over_all_dimensions_from_its_axis_on(opset: int, axis: int | None) -> None:
    attributes = {} if axis is None else {"axis": axis}
    x = torch.from_numpy(IMAGES)
    weights = x.exp()
    dims = list(range(1 if axis is None else axis % 4, 4))
    expected = weights / weights.sum(dims, keepdim=True)
    torch.testing.assert_close(module_of(single("Softmax", opset, IMAGES, [], **attributes))(x), expected)
    torch.testing.assert_close(module_of(single("LogSoftmax", opset, IMAGES, [], **attributes))(x), expected.log())


def test_resize_of_opset_10_is_upsample() -> None:
    old, new = (single(op, o, IMAGES, [scales(1, 1, 3, 2)]) for op, o in (("Upsample", 9), ("Resize", 10)))
    (expected,) = reference(old, {"x": IMAGES})
    assert torch.equal(module_of(new)(torch.from_numpy(IMAGES)), expected)


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [2, 1, 0, 0], [0, 0, 1, 1]])
@pytest.mark.parametrize("include", [0, 1])
def test_windows_beyond_the_padding_count_what_is_there(pads: list[int], include: int) -> None:
    """Window by window: the evaluator moves the padding of such pools."""
    attributes = window(strides=[3, 2], pads=pads, ceil_mode=1)
    top, left, bottom, right = pads
    inside = np.full((9 + top + bottom, 7 + left + right), bool(include))
    inside[top : top + 9, left : left + 7] = True
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows, columns = range(0, 9 + top, 3), range(0, 7 + left, 2)
    if (len(rows) - 2) * 3 + 3 >= len(padded[0, 0]):
        rows = rows[:-1]
    if (len(columns) - 2) * 2 + 2 >= len(padded[0, 0, 0]):
        columns = columns[:-1]
    sums, maxima = np.zeros((2, 3, 6, len(rows), len(columns)))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            sums[..., i, j] = padded[..., y : y + 3, x : x + 2].sum((2, 3)) / inside[y : y + 3, x : x + 2].sum()
            real = IMAGES[..., max(0, y - top) : max(0, y - top + 3), max(0, x - left) : max(0, x - left + 2)]
            maxima[..., i, j] = real.max((2, 3))
    images = torch.from_numpy(IMAGES)
    average = module_of(single("AveragePool", 19, IMAGES, [], count_include_pad=include, **attributes))(images)
    torch.testing.assert_close(average, torch.from_numpy(sums))
    assert torch.equal(module_of(single("MaxPool", 12, IMAGES, [], **attributes))(images), torch.from_numpy(maxima))


def test_same_padding_of_pools_halves_sizes_upwards() -> None:
    x = torch.from_numpy(IMAGES)
    padded = torch.nn.functional.pad(x, (1, 0, 1, 1), value=-torch.inf)
    got = module_of(single("MaxPool", 12, IMAGES, [], **window(auto_pad="SAME_LOWER", strides=[2, 2])))(x)
    assert torch.equal(got, torch.nn.functional.max_pool2d(padded, (3, 2), 2))
