"""Groups of convolutions in one launch on small integers: a poisoned arena before, and all of it after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from inception_fast.activation import Activation, activate
from inception_fast.plan.plan import ALIGNMENT, Buffer, Convolution, ConvStep, Destination, Slice
from inception_fast.tuning.group import can_group
from inception_fast.tuning.problem import ConvConfig
from tests.triton.exact import DEVICE, integers, poisoned_workspace, relus, requires_triton, same_padding_taps

pytestmark = requires_triton

CONFIG = ConvConfig(64, 32, 32)
IMAGES = 2

Shape = tuple[int, tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int]]
"""Input channels, output channels by destination, kernel, stride, height and width of the output."""

GROUPS: dict[str, list[Shape]] = {
    "one": [(21, (50,), (3, 3), (1, 1), (9, 11))],
    "unlike each other": [
        (13, (17, 5, 21), (3, 3), (1, 1), (5, 6)),
        (67, (45,), (1, 1), (1, 1), (7, 9)),
        (20, (24, 9), (1, 7), (1, 1), (5, 11)),
        (12, (20,), (3, 3), (2, 2), (4, 3)),
        (1, (1,), (1, 1), (1, 1), (1, 1)),
    ],
    "whole blocks": [(64, (64,), (1, 1), (1, 1), (8, 8)), (32, (32, 64), (7, 1), (1, 1), (8, 8))],
    "whole steps of different number": [(32, (33,), (3, 3), (2, 1), (5, 7)), (96, (16,), (1, 1), (1, 1), (3, 3))],
}


class Arena:
    """Steps over buffers whose channels have ``offset`` others before them and 3 behind.

    Args:
        functions: each destination has the next one; a ReLU or nothing where that is None.

    Attributes:
        before: the sources, and NaN everywhere else.
        after: the sources and what the steps write, computed in float64, and NaN everywhere else.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        offset: int,
        dtype: torch.dtype = torch.float32,
        functions: Sequence[Activation | None] = (None,),
    ) -> None:
        self.buffers: list[Buffer] = []
        self.steps: list[ConvStep] = []
        self.constants: dict[str, torch.Tensor] = {}
        self.before = self.after = torch.empty(0, dtype=torch.float64)
        for index, (c_in, c_out, kernel, stride, (height, width)) in enumerate(shapes):
            x = integers(IMAGES, c_in, height * stride[0], width * stride[1], dtype=dtype).double()
            weight = integers(sum(c_out), c_in, *kernel, dtype=dtype, high=1)
            self.constants[f"w{index}"] = weight.flatten(2).transpose(1, 2)
            bias = None
            if index != 1:
                bias = self.constants[f"b{index}"] = integers(sum(c_out), dtype=torch.float32)
            padding = (kernel[0] // 2, kernel[1] // 2)
            truth = F.conv2d(x, weight.double(), None if bias is None else bias.double(), stride, padding)
            source = self._place(x, offset, True)
            destinations = []
            for d, part in enumerate(truth.split(c_out, 1)):
                activation = functions[(index + d) % len(functions)]
                relu = (index + d) % 2 == 0 and activation is None
                result = part.relu() if relu else part if activation is None else activate(part, activation, {})
                destinations.append(Destination(self._place(result, offset, False), relu, activation))
            taps, name = same_padding_taps(kernel), None if bias is None else f"b{index}"
            conv = Convolution(f"w{index}", name, c_in, sum(c_out), taps, stride)
            self.steps.append(ConvStep(f"step{index}", source, conv, tuple(destinations)))
        self.before, self.after = self.before.to(dtype), self.after.to(dtype)

    def _place(self, content: torch.Tensor, offset: int, known: bool) -> Slice:
        """A buffer at the end of the arena with ``content`` (NCHW) in it."""
        images, channels, height, width = content.shape
        buffer = Buffer("", height, width, channels + offset + 3, "arena", len(self.after) // images)
        whole = content.new_full((images, height, width, buffer.channels), float("nan"))
        whole[..., offset : offset + channels] = content.permute(0, 2, 3, 1)
        flat = F.pad(whole.flatten(), (0, -buffer.size % ALIGNMENT * images), value=float("nan"))
        self.after = torch.cat([self.after, flat])
        self.before = torch.cat([self.before, flat if known else torch.full_like(flat, float("nan"))])
        self.buffers.append(buffer)
        return Slice(len(self.buffers) - 1, offset, channels)

    def run(self, config: ConvConfig) -> torch.Tensor:
        from inception_fast.triton_kernels.group import launch_group, pack_group

        assert all(can_group(step, self.buffers) for step in self.steps)
        memory = self.before.to(DEVICE)
        group, workspace = pack_group(self.steps, self.buffers, self.constants, DEVICE), poisoned_workspace()
        launch_group(group, config, memory, IMAGES, workspace=workspace)
        assert not workspace.counters.any()
        return memory.cpu()


def assert_same(got: torch.Tensor, expected: torch.Tensor) -> None:
    """NaN included."""
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got.nan_to_num(0.0), expected.nan_to_num(0.0))


@pytest.mark.parametrize(
    "config",
    [CONFIG, ConvConfig(16, 16, 64), ConvConfig(32, 48, 16, splits=4)],
    ids=["64x32x32", "16x16x64", "32x48x16, split"],
)
@pytest.mark.parametrize("name", GROUPS)
def test_exact(name: str, config: ConvConfig) -> None:
    arena = Arena(GROUPS[name], offset=0)
    assert_same(arena.run(config), arena.after)


@pytest.mark.parametrize("offset", range(1, 9))
def test_every_channel_offset(offset: int) -> None:
    arena = Arena(GROUPS["unlike each other"][:3], offset)
    assert_same(arena.run(replace(CONFIG, splits=1 + offset % 2)), arena.after)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_stored_in_16_bits(dtype: torch.dtype) -> None:
    arena = Arena(GROUPS["unlike each other"], offset=5, dtype=dtype)
    assert_same(arena.run(CONFIG), arena.after)


@pytest.mark.parametrize("splits", [1, 3])
def test_each_destination_has_its_own_function(splits: int) -> None:
    functions = (Activation("leaky_relu", 0.5), None, Activation("clamp", -3.0, 4.0), None, Activation("leaky_relu"))
    arena = Arena(GROUPS["unlike each other"], offset=1, functions=functions)
    assert_same(arena.run(replace(CONFIG, splits=splits)), arena.after)


def test_the_same_constants_serve_one_launch_each() -> None:
    """What a group packs is also what :func:`launch_conv` takes, and its bits are the same."""
    from inception_fast.triton_kernels.conv import launch_conv
    from inception_fast.triton_kernels.group import pack_group

    arena = Arena(GROUPS["unlike each other"], offset=2)
    arena.before = torch.where(arena.before.isnan(), arena.before, arena.before * torch.rand_like(arena.before))
    memory = arena.before.to(DEVICE)

    def view(piece: Slice) -> torch.Tensor:
        b = arena.buffers[piece.buffer]
        whole = memory[IMAGES * b.offset : IMAGES * (b.offset + b.size)].view(IMAGES, b.height, b.width, b.channels)
        return whole[..., piece.start : piece.start + piece.channels]

    group = pack_group(arena.steps, arena.buffers, arena.constants, DEVICE)
    for step, packed in zip(arena.steps, group.convs, strict=True):
        functions = relus(*(d.relu for d in step.destinations))
        launch_conv(packed, CONFIG, view(step.source), [view(d.slice) for d in step.destinations], functions)
    assert_same(memory.cpu(), arena.run(CONFIG))


def test_what_cannot_be_grouped() -> None:
    arena = Arena(GROUPS["one"], offset=0)
    (step,), buffers = arena.steps, arena.buffers
    assert can_group(step, buffers)
    assert not can_group(replace(step, residual=step.source), buffers)
    sloped = replace(step.destinations[0], relu=False, activation=Activation("prelu", slope="s"))
    assert not can_group(replace(step, destinations=(sloped,)), buffers)
    assert not can_group(step, [replace(buffers[0], home="input"), buffers[1]])
    assert not can_group(step, [buffers[0], replace(buffers[1], home="output")])
    cross = replace(step.conv, taps=((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)))
    assert not can_group(replace(step, conv=cross), buffers)
