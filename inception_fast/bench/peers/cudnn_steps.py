"""A Plan's steps over fixed memory: convolutions by whoever takes them, everything else by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from inception_fast.activation import activate
from inception_fast.backends.memory import Memory
from inception_fast.backends.torch_kernels import PlainStep, plain_kernel
from inception_fast.bench.peers.base import PeerUnavailableError
from inception_fast.bench.peers.cudnn_problem import Problem, Tensors, Uid, dense, plane, pose
from inception_fast.plan.plan import (
    Convolution,
    ConvStep,
    Destination,
    PairStep,
    Plan,
    Slice,
    Step,
    sources_of,
)

Run = Callable[[], object]
Make = Callable[[Problem, Tensors], Run]
"""Makes a convolution of tensors at fixed places ready to run; raises NotImplementedError where it has no kernel."""

ALIGNMENT = 16
"""Bytes, of every tensor's address: what a cuDNN graph takes for granted, and a slice may lack."""


class Steps:
    """A Plan that runs on one input, again and again, in memory of its own.

    Args:
        images: ``[N, C, H, W]`` in NHWC memory, perhaps with channels of zeros behind those that the Plan reads.
        make: makes the convolutions.

    Attributes:
        in_place: how many convolutions read and write their slices where they are, of ``convolutions``.

    Raises:
        PeerUnavailableError: names a step that cannot be run.
    """

    def __init__(self, plan: Plan, constants: Mapping[str, torch.Tensor], images: torch.Tensor, make: Make) -> None:
        self._plan, self._images, self._make = plan, images, make
        self._constants = {name: value.to(images.device) for name, value in constants.items()}
        self._memory = Memory(plan, images[:, : plan.buffers[plan.input].channels])
        self.in_place = self.convolutions = 0
        self._runs = [self._build(step) for step in plan.steps]

    def __call__(self) -> list[torch.Tensor]:
        """One forward pass; the outputs are views of its memory, ``[N, C, H, W]`` or ``[N, C * H * W]``."""
        for run in self._runs:
            run()
        pairs = zip(self._memory.outputs(), self._plan.outputs, strict=True)
        return [value.flatten(1) if output.flat else value for value, output in pairs]

    def _build(self, step: Step) -> Run:
        match step:
            case ConvStep(destinations=(target,)):
                views = {Uid.IMAGE: self._image(step.source, step.conv), Uid.OUTPUT: self._memory.nchw(target.slice)}
                if step.residual is not None:
                    views[Uid.RESIDUAL] = self._memory.nchw(step.residual)
                try:
                    return self._activated(self._convolution(step.conv, views, target.relu), target)
                except NotImplementedError as error:
                    raise PeerUnavailableError(f"no kernel for {step.name}: {error}") from error
            case ConvStep() | PairStep():
                raise PeerUnavailableError(f"{step.name} is more than one convolution")
            case _:
                return self._plain(step)

    def _image(self, source: Slice, conv: Convolution) -> torch.Tensor:
        whole = source.buffer == self._plan.input and conv.in_channels == self._plan.buffers[source.buffer].channels
        return self._images if whole else self._memory.nchw(source)

    def _convolution(self, conv: Convolution, views: Tensors, relu: bool) -> Run:
        """In place where the addresses and the library allow it, otherwise by way of dense copies."""
        self.convolutions += 1
        if all(view.data_ptr() % ALIGNMENT == 0 for view in views.values()):
            try:
                run = self._make(*pose(conv, self._constants, views, relu))
            except NotImplementedError:
                pass
            else:
                self.in_place += 1
                return run
        copies = {uid: dense(view) for uid, view in views.items()}
        run_dense = self._make(*pose(conv, self._constants, copies, relu))

        def run_copied() -> None:
            for uid in views.keys() - {Uid.OUTPUT}:
                copies[uid].copy_(views[uid])
            run_dense()
            views[Uid.OUTPUT].copy_(copies[Uid.OUTPUT])

        return run_copied

    def _plain(self, step: PlainStep) -> Run:
        operands = [self._memory.nchw(piece) for piece in sources_of(step)]
        target = self._memory.nchw(step.destination.slice)
        kernel = plain_kernel(step, self._constants, target.dtype, plane(operands[0]), plane(target))
        second = operands[1] if len(operands) > 1 else None
        if step.destination.relu:
            return lambda: torch.clamp_min(kernel(operands[0], second), 0, out=target)
        return self._activated(lambda: target.copy_(kernel(operands[0], second)), step.destination)

    def _activated(self, run: Run, target: Destination) -> Run:
        """``run``, and then the target's function of what it has written, if it has one."""
        activation = target.activation
        if activation is None:
            return run
        written = self._memory.nchw(target.slice)

        def run_and_activate() -> None:
            run()
            written.copy_(activate(written, activation, self._constants))

        return run_and_activate
