"""The end of every matrix product: bias, residual, ReLU, and the scatter to channel slices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton.language as tl

from inception_fast.triton_kernels.numerics import device_function, narrow, pixel_stride, relu, widen


@device_function
def finish(
    acc,
    pixel,
    stored,
    first_n,
    bias,
    residual,
    residual_stride,
    destinations,
    destination_strides,
    C_OUT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    SEGMENTS: tl.constexpr,
    SEGMENT_STARTS: tl.constexpr,
    SEGMENT_RELU: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Stores the tile ``acc`` of a product, whose columns begin at channel ``first_n``.

    Args:
        pixel, stored: ``[BLOCK_M, 1]``: a row's pixel counted over the batch (int64), and whether it exists.
        SEGMENT_STARTS: first channel of each destination, and the end of the last.
    """
    n = first_n + tl.arange(0, BLOCK_N)
    if HAS_BIAS:
        acc += tl.load(bias + n, mask=n < C_OUT, other=0.0)[None, :]
    if HAS_RESIDUAL:
        mask = stored & (n < C_OUT)[None, :]
        acc += widen(tl.load(residual + pixel * residual_stride + n[None, :], mask=mask, other=0.0)).to(tl.float32)
    for s in tl.static_range(SEGMENTS):
        # Most tiles are inside one destination; this skips the others.
        if (first_n < SEGMENT_STARTS[s + 1]) & (first_n + BLOCK_N > SEGMENT_STARTS[s]):
            result = acc
            if SEGMENT_RELU[s]:
                result = relu(result)
            mine = (n >= SEGMENT_STARTS[s]) & (n < SEGMENT_STARTS[s + 1])
            place = destinations[s] + pixel * destination_strides[s] + (n - SEGMENT_STARTS[s])[None, :]
            tl.store(place, narrow(result, destinations[s].dtype.element_ty), mask=stored & mine[None, :])


def epilogue_arguments(
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    destinations: Sequence[torch.Tensor],
    relus: Sequence[bool],
    unused: torch.Tensor,
) -> dict[str, object]:
    """Arguments of a kernel that ends in :func:`finish`, by name; ``unused`` stands for tensors that are not there."""
    starts = [0]
    for d in destinations:
        starts.append(starts[-1] + d.shape[3])
    return {
        "bias": unused if bias is None else bias,
        "residual": unused if residual is None else residual,
        "residual_stride": 0 if residual is None else pixel_stride(residual),
        "destinations": tuple(destinations),
        "destination_strides": tuple(pixel_stride(d) for d in destinations),
        "C_OUT": starts[-1],
        "HAS_BIAS": bias is not None,
        "HAS_RESIDUAL": residual is not None,
        "SEGMENTS": len(destinations),
        "SEGMENT_STARTS": tuple(starts),
        "SEGMENT_RELU": tuple(relus),
    }
