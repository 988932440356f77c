"""A Plan's buffers as PyTorch tensors, for the backends that run on PyTorch."""

from __future__ import annotations

import torch

from inception_fast.backends.base import Out
from inception_fast.plan.plan import Plan, Slice


class Memory:
    """The buffers of one forward pass, each an NHWC tensor ``[N, H, W, C]``.

    Attributes:
        images: the batch size.
        arena: ``[images * plan.arena]``.

    Args:
        x: the input, ``[N, C, H, W]`` in any strides.
        fill: value of every element that no step has written yet; None leaves them undefined.
        out: memory for output buffers; the others are allocated.
    """

    def __init__(self, plan: Plan, x: torch.Tensor, fill: float | None = None, out: Out | None = None) -> None:
        self._plan, self._out, batch = plan, out or {}, x.shape[0]
        self.images = batch
        # Bytes alone are no type that a result could have.
        dtype = getattr(torch, plan.io_dtype) if x.dtype is torch.uint8 else x.dtype
        self.arena = arena = x.new_empty(plan.arena * batch, dtype=dtype)
        if fill is not None:
            arena.fill_(fill)
        self.buffers: list[torch.Tensor] = []
        for index, b in enumerate(plan.buffers):
            shape = (batch, b.height, b.width, b.channels)
            if b.home == "input":
                self.buffers.append(x.permute(0, 2, 3, 1))
            elif b.home == "output":
                memory = _nhwc(self._out[index], shape) if index in self._out else arena.new_empty(shape)
                self.buffers.append(memory if fill is None else memory.fill_(fill))
            else:
                self.buffers.append(arena[batch * b.offset : batch * (b.offset + b.size)].view(shape))

    def __getitem__(self, piece: Slice) -> torch.Tensor:
        """A slice as an NHWC view."""
        return self.buffers[piece.buffer][..., piece.start : piece.start + piece.channels]

    def move(self, buffer: int) -> None:
        """Gives a buffer memory outside the arena, for a step that runs before its place there is free."""
        self.buffers[buffer] = torch.empty_like(self.buffers[buffer])

    def nchw(self, piece: Slice) -> torch.Tensor:
        """A slice as an NCHW view, which PyTorch's operators take."""
        return self[piece].permute(0, 3, 1, 2)

    def outputs(self) -> list[torch.Tensor]:
        found = ((o.buffer, self._out.get(o.buffer)) for o in self._plan.outputs)
        return [self.buffers[i].permute(0, 3, 1, 2) if given is None else given for i, given in found]


def _nhwc(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The caller's memory as a buffer, with the strides that dimensions of size 1 would have if they were larger."""
    return (tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor).view(-1).view(shape)
