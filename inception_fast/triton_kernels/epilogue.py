"""The end of every matrix product: bias, residual, functions, and the scatter to channel slices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton.language as tl

from inception_fast.triton_kernels.functions import Function, apply, numbered
from inception_fast.triton_kernels.numerics import device_function, narrow, pixel_stride, widen


@device_function
def within(n, first, end):
    return (n >= first) & (n < end)


@device_function
def finish(acc, pixel, stored, first_n, operands, shape, BLOCK_N: tl.constexpr):
    """Stores the tile ``acc`` of a product, whose columns begin at channel ``first_n``.

    Args:
        pixel, stored: ``[BLOCK_M, 1]``: a row's pixel counted over the batch (int64), and whether it exists.
        operands: bias, residual and its pixel stride; then of each destination the pointer, the pixel stride and the
            pointer to its slopes.
        shape: number of output channels, whether there is a bias, and a residual; first channel of each destination and
            the end of the last; of each destination the number of its function, from 1 on, or 0; the functions.
    """
    bias, residual, residual_stride, destinations, destination_strides, slopes = operands
    n = first_n + tl.arange(0, BLOCK_N)
    # What is compiled in remains so as long as it has no name.
    if shape[1]:
        acc += tl.load(bias + n, mask=n < shape[0], other=0.0)[None, :]
    if shape[2]:
        mask = stored & (n < shape[0])[None, :]
        acc += widen(tl.load(residual + pixel * residual_stride + n[None, :], mask=mask, other=0.0)).to(tl.float32)
    for s in tl.static_range(len(destinations)):
        # Most tiles are inside one destination; this skips the others.
        if (first_n < shape[3][s + 1]) & (first_n + BLOCK_N > shape[3][s]):
            result = acc
            for f in tl.static_range(len(shape[5])):
                if shape[4][s] == f + 1:
                    slope = 0.0
                    if shape[5][f][0] == "prelu":
                        mine = within(n, shape[3][s], shape[3][s + 1])
                        slope = tl.load(slopes[s] + (n - shape[3][s]), mask=mine, other=0.0)[None, :]
                    result = apply(result, slope, shape[5][f])
            mine = within(n, shape[3][s], shape[3][s + 1])
            place = destinations[s] + pixel * destination_strides[s] + (n - shape[3][s])[None, :]
            tl.store(place, narrow(result, destinations[s].dtype.element_ty), mask=stored & mine[None, :])


def epilogue_arguments(
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    destinations: Sequence[torch.Tensor],
    functions: Sequence[Function],
    unused: torch.Tensor,
) -> dict[str, object]:
    """Arguments of a kernel that ends in :func:`finish`, by name; ``unused`` stands for tensors that are not there."""
    starts = [0]
    for d in destinations:
        starts.append(starts[-1] + d.shape[3])
    distinct, chosen = numbered(functions)
    return {
        "operands": (
            unused if bias is None else bias,
            unused if residual is None else residual,
            0 if residual is None else pixel_stride(residual),
            tuple(destinations),
            tuple(pixel_stride(d) for d in destinations),
            tuple(f.slope for f in functions),
        ),
        "SHAPE": (starts[-1], bias is not None, residual is not None, tuple(starts), tuple(chosen), distinct),
    }
