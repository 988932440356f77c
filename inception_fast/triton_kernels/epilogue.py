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
def finish(
    acc,
    pixel,
    stored,
    first_n,
    operands,
    CHANNELS: tl.constexpr,
    STARTS: tl.constexpr,
    CHOSEN: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    FUNCTIONS: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Stores the tile ``acc`` of a product, whose columns begin at channel ``first_n``.

    Args:
        pixel, stored: ``[BLOCK_M, 1]``: a row's pixel counted over the batch (int64), and whether it exists.
        operands: bias, residual and its pixel stride; then of each destination the pointer, the pixel stride and the
            pointer to its slopes.
        CHANNELS: of the output. This and the next two may come from memory, in a group.
        STARTS: first channel of each destination, and the end of the last.
        CHOSEN: of each destination the number of its function in FUNCTIONS, from 1 on, or 0.
    """
    bias, residual, residual_stride, destinations, destination_strides, slopes = operands
    n = first_n + tl.arange(0, BLOCK_N)
    # What is compiled in remains so as long as it has no name.
    if HAS_BIAS:
        acc += tl.load(bias + n, mask=n < CHANNELS, other=0.0)[None, :]
    if HAS_RESIDUAL:
        mask = stored & (n < CHANNELS)[None, :]
        acc += widen(tl.load(residual + pixel * residual_stride + n[None, :], mask=mask, other=0.0)).to(tl.float32)
    for s in tl.static_range(len(destinations)):
        # Most tiles are inside one destination; this skips the others.
        if (first_n < STARTS[s + 1]) & (first_n + BLOCK_N > STARTS[s]):
            result = acc
            for f in tl.static_range(len(FUNCTIONS) // 3):
                if CHOSEN[s] == f + 1:
                    slope = 0.0
                    if FUNCTIONS[3 * f] == "prelu":
                        mine = within(n, STARTS[s], STARTS[s + 1])
                        slope = tl.load(slopes[s] + (n - STARTS[s]), mask=mine, other=0.0)[None, :]
                    result = apply(result, slope, FUNCTIONS, 3 * f)
            mine = within(n, STARTS[s], STARTS[s + 1])
            place = destinations[s] + pixel * destination_strides[s] + (n - STARTS[s])[None, :]
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
        "CHANNELS": starts[-1],
        "STARTS": tuple(starts),
        "CHOSEN": tuple(chosen),
        "HAS_BIAS": bias is not None,
        "HAS_RESIDUAL": residual is not None,
        "FUNCTIONS": distinct,
    }
