"""What a convolution's configuration is chosen from, and the configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from inception_fast.plan.plan import Convolution, PairStep, Plan, Step, convolutions_of, destinations_of

ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class ConvConfig:
    """How one convolution is cut.

    Attributes:
        m, n, k: pixels and output channels of a program's tile, and the step of its loop over taps x input channels;
            m and k are powers of two.
        warps: of 32 threads, per program.
        stages: tiles in flight between global and shared memory.
        splits: programs that share the sums of a tile, each over its own part of K, at most; of a group's convolutions
            that is so for the longest sums, and shorter ones are cut into parts of that length.
    """

    m: int
    n: int
    k: int
    warps: int = 4
    stages: int = 3
    splits: int = 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Powers of two that ``n`` is the sum of, the largest first: Triton has tiles of no other width.

        256 is two of 128: what comes after the product takes them one by one, and one of 256 does not fit in registers.
        """
        powers = (1 << bit for bit in reversed(range(self.n.bit_length())) if self.n >> bit & 1)
        return tuple(width for power in powers for width in ((128, 128) if power == 256 else (power,)))

    def segment(self, depth: int) -> int:
        """How many of a sum's ``depth`` terms one program adds up: whole steps, in parts as even as can be."""
        return -(-depth // (self.k * self.splits)) * self.k


@dataclass(frozen=True)
class ConvProblem:
    """A convolution at one batch size.

    Attributes:
        images: the batch size.
        out_pixels: of one image.
        stride: output pixels are that many times fewer than input pixels.
        precision: ``fp32``, ``tf32``, ``fp16`` or ``bf16``.
    """

    images: int
    out_pixels: int
    in_channels: int
    out_channels: int
    taps: int
    stride: int
    dtype: str
    precision: str

    @staticmethod
    def of(conv: Convolution, out_pixels: int, images: int, dtype: str, precision: str) -> ConvProblem:
        stride = conv.stride[0] * conv.stride[1]
        channels = (conv.in_channels, conv.out_channels)
        return ConvProblem(images, out_pixels, *channels, len(conv.taps), stride, dtype, precision)

    @property
    def pixels(self) -> int:
        """Rows of the product."""
        return self.images * self.out_pixels

    @property
    def depth(self) -> int:
        """Terms of a sum."""
        return self.taps * self.in_channels

    @property
    def flops(self) -> int:
        return 2 * self.pixels * self.depth * self.out_channels

    @property
    def itemsize(self) -> int:
        return ITEMSIZE[self.dtype]

    def with_images(self, images: int) -> ConvProblem:
        return replace(self, images=images)

    @property
    def key(self) -> str:
        """Names the problem in a table; float16 and bfloat16, which run at one rate, share a name."""
        shape = f"{self.images}x{self.out_pixels} pixels, {self.in_channels} to {self.out_channels} channels"
        numbers = "16 bit" if self.itemsize == 2 else self.precision
        return f"{shape}, {self.taps} taps, stride {self.stride}, {numbers}"


def problems_of_step(plan: Plan, step: Step, precision: str, images: int) -> tuple[ConvProblem, ...]:
    """The convolutions in a step, in order."""
    target = plan.buffers[destinations_of(step)[0].slice.buffer]
    planes = [target.height * target.width]
    if isinstance(step, PairStep):
        planes.insert(0, step.middle_height * step.middle_width)
    pairs = zip(convolutions_of(step), planes, strict=False)
    return tuple(ConvProblem.of(conv, pixels, images, plan.dtype, precision) for conv, pixels in pairs)
