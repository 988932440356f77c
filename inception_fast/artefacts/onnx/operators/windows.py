"""Where the windows of a convolution or pooling lie: what ``pads``, ``auto_pad`` and ``ceil_mode`` come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode
from inception_fast.artefacts.onnx.numbers import fixed


@dataclass(frozen=True)
class Windows:
    """Attributes, one number for each spatial dimension:
    strides, dilations: as ONNX has them.
    begin, end: the padding that the operator says.
    beyond: elements behind that which the last window reaches into, by ``ceil_mode`` alone.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    beyond: tuple[int, ...]

    @property
    def symmetric(self) -> bool:
        return self.begin == self.end and not any(self.beyond)

    def pads(self, *, beyond: bool) -> list[int]:
        """The padding as :func:`torch.nn.functional.pad` takes it, with what lies beyond it or without."""
        ends = [e + (b if beyond else 0) for e, b in zip(self.end, self.beyond, strict=True)]
        return padding_of(self.begin, ends)


def padding_of(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """Padding in ONNX's order of dimensions as PyTorch wants it, the last dimension first."""
    return [p for pair in reversed(list(zip(begin, end, strict=True))) for p in pair]


def windows_of(node: OnnxNode, x: Tensor, kernel: Sequence[int]) -> Windows:
    """The windows over ``x``, ``[N, C, ...]``."""
    rank = len(kernel)
    strides = tuple(node.get("strides") or (1,) * rank)
    dilations = tuple(node.get("dilations") or (1,) * rank)
    pads = tuple(node.get("pads") or (0,) * (2 * rank))
    node.require(x.dim() == rank + 2, f"windows of {rank} dimensions over a tensor of rank {x.dim()}")
    node.require(rank in (1, 2, 3), f"windows of {rank} dimensions")
    node.require(len(strides) == len(dilations) == rank and len(pads) == 2 * rank, "attributes of other lengths")
    node.require(min(*strides, *dilations, *kernel) > 0 and min(pads) >= 0, "negative padding, or no stride")
    sizes = tuple(x.shape[2:])
    node.require(fixed(sizes), "windows over a size that is left open")
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    automatic = node.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-size // stride) - 1) * stride + r - size, 0)
            for size, stride, r in zip(sizes, strides, reach, strict=True)
        ]
        fewer, more = tuple(t // 2 for t in totals), tuple(-(-t // 2) for t in totals)
        begin, end = (fewer, more) if automatic == "SAME_UPPER" else (more, fewer)
    elif automatic == "VALID":
        begin = end = (0,) * rank
    else:
        node.require(automatic == "NOTSET", f"auto_pad {automatic!r}")
        begin, end = pads[:rank], pads[rank:]
    beyond = [0] * rank
    if node.get("ceil_mode", 0) and automatic == "NOTSET":
        for i, (size, stride, r) in enumerate(zip(sizes, strides, reach, strict=True)):
            padded = size + begin[i] + end[i]
            count = -(-(padded - r) // stride) + 1
            # A window that would start in the padding behind is none.
            if (count - 1) * stride >= size + begin[i]:
                count -= 1
            beyond[i] = max(0, (count - 1) * stride + r - padded)
    return Windows(tuple(kernel), strides, dilations, begin, end, tuple(beyond))
