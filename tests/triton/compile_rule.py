"""Prints what every configuration that the rule can propose compiles to; see :mod:`tests.triton.compiling`.

Arguments: the architectures (80, 90, 100), then the dtypes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch

from inception_fast.plan.plan import Buffer, Convolution, ConvStep, Destination, Slice
from inception_fast.triton_kernels import conv, group
from inception_fast.triton_kernels.split import Workspace
from inception_fast.tuning.problem import ConvConfig
from tests.triton.compiling import Compiled, compile_launch, recorded, write
from tests.triton.exact import relus, same_padding_taps
from tests.triton.surveyed import CONVOLUTIONS, GROUPS, Shape, surveyed_configs

WORKSPACE = Workspace(torch.empty(2**24), torch.empty(2**14, dtype=torch.int32))
"""More than any launch needs."""


def _convolution(index: int, shape: Shape) -> Convolution:
    c_in, c_out, kernel, _, stride = shape
    return Convolution(f"w{index}", f"b{index}", c_in, c_out, same_padding_taps(kernel), stride)


def _constants(convs: list[Convolution], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    weights = {c.weight: torch.empty(c.out_channels, len(c.taps), c.in_channels, dtype=dtype) for c in convs}
    return weights | {str(c.bias): torch.empty(c.out_channels) for c in convs}


def launch(shape: Shape, config: ConvConfig, dtype: torch.dtype) -> tuple[tuple, dict]:
    """The arguments of one convolution's launch."""
    step = _convolution(0, shape)
    packed = conv.pack_conv(step, _constants([step], dtype), torch.device("cpu"))
    c_in, c_out, _, side, stride = shape
    source = torch.empty(1, side * stride[0], side * stride[1], c_in, dtype=dtype)
    quarters = [torch.empty(1, side, side, c_out // 4, dtype=dtype) for _ in range(4)]
    with recorded(conv, "conv_kernel") as launches:
        conv.launch_conv(
            packed, config, source, quarters, relus(True, False, True, True), None, dtype == torch.float32, WORKSPACE
        )
    return launches[0]


def group_launch(shapes: list[Shape], config: ConvConfig, dtype: torch.dtype) -> tuple[tuple, dict]:
    """The arguments of a group's launch; where its buffers are does not matter."""
    buffers, steps = [], []
    for index, shape in enumerate(shapes):
        c_in, c_out, _, side, stride = shape
        buffers.append(Buffer("", side * stride[0], side * stride[1], c_in, "arena"))
        buffers.append(Buffer("", side, side, c_out, "arena"))
        target = Destination(Slice(2 * index + 1, 0, c_out), True)
        steps.append(ConvStep("", Slice(2 * index, 0, c_in), _convolution(index, shape), (target,)))
    packed = group.pack_group(steps, buffers, _constants([s.conv for s in steps], dtype), torch.device("cpu"))
    with recorded(group, "group_kernel") as launches:
        group.launch_group(packed, config, torch.empty(64, dtype=dtype), 2, dtype == torch.float32, WORKSPACE)
    return launches[0]


def survey(arch: int, dtype: torch.dtype, every: int = 1) -> Iterator[tuple[str, ConvConfig, Compiled]]:
    """Every configuration, or every n-th, of each kind."""
    name, precision = str(dtype).removeprefix("torch."), "tf32" if dtype == torch.float32 else "fp16"
    for kind, config in list(surveyed_configs(arch, name, precision))[::every]:
        if kind in CONVOLUTIONS:
            kernel, arguments = conv.conv_kernel, launch(CONVOLUTIONS[kind], config, dtype)
        else:
            kernel, arguments = group.group_kernel, group_launch(GROUPS[kind], config, dtype)
        yield kind, config, compile_launch(kernel, *arguments, arch)


def main() -> None:
    archs, dtypes, every = (argument.split(",") for argument in sys.argv[1:4])
    for arch in archs:
        for dtype in dtypes:
            for kind, config, compiled in survey(int(arch), getattr(torch, dtype), int(every[0])):
                write(f"{kind} {dtype}", config, compiled)


if __name__ == "__main__":
    main()
