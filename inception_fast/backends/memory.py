"""A Plan's buffers as PyTorch tensors, for the backends that run on PyTorch."""

from __future__ import annotations

import torch

from inception_fast.plan.plan import Plan, Slice


class Memory:
    """The buffers of one forward pass, each an NHWC tensor ``[N, H, W, C]``.

    Attributes:
        images: the batch size.
        arena: ``[images * plan.arena]``.

    Args:
        x: the input, ``[N, C, H, W]`` in any strides.
        fill: value of every element that no step has written yet; None leaves them undefined.
    """

    def __init__(self, plan: Plan, x: torch.Tensor, fill: float | None = None) -> None:
        self._plan, batch = plan, x.shape[0]
        self.images = batch
        self.arena = arena = x.new_empty(plan.arena * batch)
        if fill is not None:
            arena.fill_(fill)
        self.buffers: list[torch.Tensor] = []
        for b in plan.buffers:
            shape = (batch, b.height, b.width, b.channels)
            if b.home == "input":
                self.buffers.append(x.permute(0, 2, 3, 1))
            elif b.home == "output":
                self.buffers.append(x.new_empty(shape) if fill is None else x.new_full(shape, fill))
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
        return [self.buffers[o.buffer].permute(0, 3, 1, 2) for o in self._plan.outputs]
