"""Prints what every configuration that the rule can propose compiles to; see :mod:`tests.triton.compiling`.

Arguments: the architectures (80, 90, 100), then the dtypes.
"""

from __future__ import annotations

import sys

import torch

from inception_fast.plan.plan import Convolution
from inception_fast.triton_kernels import conv
from inception_fast.tuning.candidates import H200, Limits, proposals
from inception_fast.tuning.problem import ConvConfig, ConvProblem
from tests.triton.compiling import Compiled, compile_launch, recorded, write
from tests.triton.exact import same_padding_taps

PROBLEMS = {
    "wide": (192, 320, (1, 7), 17, (1, 1)),
    "ragged": (80, 192, (3, 3), 71, (1, 1)),
    "first": (3, 32, (3, 3), 149, (2, 2)),
}

A100 = Limits(processors=108, shared_memory=166912, matrix_from_shared=False)
LIMITS = {80: A100, 90: H200, 100: H200}


def launch(kind: str, config: ConvConfig, dtype: torch.dtype) -> tuple[tuple, dict]:
    """The arguments of one launch."""
    c_in, c_out, kernel, side, stride = PROBLEMS[kind]
    taps = same_padding_taps(kernel)
    step = Convolution("w", "b", c_in, c_out, taps, stride)
    constants = {"w": torch.empty(c_out, len(taps), c_in, dtype=dtype), "b": torch.empty(c_out)}
    packed = conv.pack_conv(step, constants, torch.device("cpu"))
    source = torch.empty(1, side * stride[0], side * stride[1], c_in, dtype=dtype)
    halves = [torch.empty(1, side, side, c_out // 2, dtype=dtype) for _ in range(2)]
    with recorded(conv, "conv_kernel") as launches:
        conv.launch_conv(packed, config, source, halves, [True, False], allow_tf32=dtype == torch.float32)
    return launches[0]


def survey(kind: str, arch: int, dtype: torch.dtype, every: int = 1) -> list[tuple[ConvConfig, Compiled]]:
    """Every configuration (or every n-th) for one problem; the deepest pipeline stands for the shallower ones."""
    c_in, c_out, kernel, side, stride = PROBLEMS[kind]
    name, precision = str(dtype).removeprefix("torch."), "tf32" if dtype == torch.float32 else "fp16"
    problem = ConvProblem(8, side * side, c_in, c_out, kernel[0] * kernel[1], stride[0] * stride[1], name, precision)
    deepest: dict[tuple[int, int, int], ConvConfig] = {}
    for config in proposals(problem, LIMITS[arch]):
        deepest[config.m, config.n, config.k] = config
    chosen = list(deepest.values())[::every]
    return [(config, compile_launch(conv.conv_kernel, *launch(kind, config, dtype), arch)) for config in chosen]


def main() -> None:
    archs, dtypes, every = (argument.split(",") for argument in sys.argv[1:4])
    for kind in PROBLEMS:
        for arch in archs:
            for dtype in dtypes:
                for config, compiled in survey(kind, int(arch), getattr(torch, dtype), int(every[0])):
                    write(f"{kind} {dtype}", config, compiled)


if __name__ == "__main__":
    main()
