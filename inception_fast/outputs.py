"""The caller's memory for results: what ``FastModel(x, out=...)`` takes, and which of it kernels write to directly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from inception_fast.errors import InputError, InputTypeError
from inception_fast.plan.plan import Plan
from inception_fast.tensors import in_memory

ALIGNMENT = 64
"""Bytes; memory at other addresses gets a copy of the result. PyTorch's allocators give multiples of it."""


class OutputMemory:
    """Knows the outputs of a Plan.

    Args:
        dtype: of the tensors that the caller gets; by default that of the input.

    Attributes:
        flat: whether each output is ``[N, C]``.
        all_placed: whether every output can be its buffer as it is.
    """

    def __init__(self, plan: Plan, dtype: torch.dtype | None = None) -> None:
        self._dtype = dtype
        self._buffers = [output.buffer for output in plan.outputs]
        self._planes = [(b.height, b.width, b.channels) for b in (plan.buffers[i] for i in self._buffers)]
        self.flat = [output.flat for output in plan.outputs]
        self._layouts = [torch.contiguous_format if flat else torch.channels_last for flat in self.flat]
        self._io_dtype: torch.dtype = getattr(torch, plan.io_dtype)
        # A flattened map is in channels-first order, which is its buffer's only where it has one pixel; and a buffer
        # that is an output both flattened and not has no shape of its own.
        self._placeable = {
            buffer: len({flat for other, flat in zip(self._buffers, self.flat, strict=True) if other == buffer}) == 1
            and (not flat or height * width == 1)
            for buffer, flat, (height, width, _) in zip(self._buffers, self.flat, self._planes, strict=True)
        }
        self.all_placed = all(self._placeable.values())
        # Shapes and strides of an image and of a batch.
        self._new: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for buffer, flat, (height, width, channels) in zip(self._buffers, self.flat, self._planes, strict=True):
            if self._placeable[buffer]:
                image, line = height * width * channels, width * channels
                shape, strides = (channels, height, width), (image, 1, line, channels)
                self._new[buffer] = ((channels,), (channels, 1)) if flat else (shape, strides)

    def shapes(self, images: int | torch.SymInt) -> list[tuple[int | torch.SymInt, ...]]:
        """Of the outputs for a batch."""
        return [
            (images, height * width * channels) if flat else (images, channels, height, width)
            for flat, (height, width, channels) in zip(self.flat, self._planes, strict=True)
        ]

    def dtype_for(self, x: torch.Tensor) -> torch.dtype:
        """Of the results that the caller gets for an input."""
        return x.dtype if self._dtype is None else self._dtype

    def check_kind(self, out: Sequence[tuple[str, torch.Tensor]], x: torch.Tensor) -> None:
        """Shapes, dtypes and devices; for traced calls too.

        Args:
            out: name and tensor of every output, in order.
            x: the input.

        Raises:
            InputError: what does not fit, by name.
        """
        dtype = self.dtype_for(x)
        sources = ("this input", "the input" if self._dtype is None else "the model's results", "the input")
        for (name, tensor), shape in zip(out, self.shapes(x.shape[0]), strict=True):
            check_result_memory(name, tensor, shape, dtype, x.device, sources)

    def check(self, out: Sequence[tuple[str, torch.Tensor]], x: torch.Tensor) -> None:
        """:meth:`check_kind`, and that no two elements of the outputs share memory, nor with the input.

        Raises:
            InputError: what does not fit, by name.
        """
        self.check_kind(out, x)
        check_apart(out, [("x", x)])

    def direct(self, out: Iterable[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Those of the tensors that can be a Plan's output buffers; see :data:`inception_fast.backends.base.Out`."""
        found: dict[int, torch.Tensor] = {}
        for tensor, buffer, layout in zip(out, self._buffers, self._layouts, strict=True):
            fits = self._placeable[buffer] and tensor.dtype is self._io_dtype and tensor.data_ptr() % ALIGNMENT == 0
            if fits and buffer not in found and tensor.is_contiguous(memory_format=layout):
                found[buffer] = tensor
        return found

    def allocate(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        """New memory, in the Plan's dtype, for the buffers that are an output as they are."""
        images, dtype = x.shape[0], self._io_dtype
        # One operator of PyTorch's and the shortest way to it: after an engine has run, neither is in the caches.
        return {
            buffer: x.new_empty_strided((images, *shape), strides, dtype=dtype)
            for buffer, (shape, strides) in self._new.items()
        }


def check_result_memory(
    name: str,
    tensor: object,
    shape: Sequence[int | torch.SymInt],
    dtype: torch.dtype,
    device: torch.device,
    sources: tuple[str, str, str],
) -> None:
    """Whether a result of this kind fits into a tensor of the caller's.

    Args:
        name: of the tensor, for people.
        sources: what decides the shape, the dtype and the device, for people.

    Raises:
        InputError: what does not fit.
    """
    if not isinstance(tensor, torch.Tensor):
        raise InputTypeError(name, type(tensor).__name__, "a torch.Tensor")
    if tuple(tensor.shape) != tuple(shape):
        raise InputError(name, f"shape {list(tensor.shape)}", f"{list(shape)} for {sources[0]}")
    if tensor.dtype != dtype:
        raise InputTypeError(name, tensor.dtype, f"{dtype}, as {sources[1]}")
    if tensor.device != device:
        raise InputError(name, f"device {tensor.device}", f"{device}, as {sources[2]}")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise InputError(name, "requires_grad=True with grad enabled", "torch.no_grad() or out.detach()")


def check_apart(out: Sequence[tuple[str, torch.Tensor]], others: Sequence[tuple[str, torch.Tensor]] = ()) -> None:
    """Whether no two elements of some tensors, by name, share memory, nor with that of others.

    Raises:
        InputError: which do.
    """
    for position, (name, tensor) in enumerate(out):
        if in_memory(name, tensor) is not tensor:
            raise InputError(name, "a tensor whose memory holds other values (a lazy negation)", "memory to write to")
        if not _is_injective(tensor.shape, tensor.stride()):
            raise InputError(name, f"strides {tensor.stride()}", "every element at a place of its own")
        for other_name, other in (*others, *out[:position]):
            if not _apart(tensor, other):
                raise InputError(name, f"memory that overlaps {other_name}'s", "memory of its own")


def _is_injective(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether no two elements are known to share a place: every stride is beyond all smaller ones together."""
    reach = 0
    for stride, size in sorted((stride, size) for size, stride in zip(shape, strides, strict=True) if size > 1):
        if stride <= reach:
            return False
        reach += stride * (size - 1)
    return True


def _apart(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors share no element: ranges that do not meet, or two slices of one tensor along a dimension."""
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return True
    if a.data_ptr() > b.data_ptr():
        a, b = b, a
    distance = b.data_ptr() - a.data_ptr()
    if distance >= _extent(a):
        return True
    if a.stride() != b.stride() or a.dtype != b.dtype:
        return False
    for dimension, (stride, size) in enumerate(zip(a.stride(), a.shape, strict=True)):
        whole = [max(sizes) for sizes in zip(a.shape, b.shape, strict=True)]
        steps, rest = divmod(distance, max(stride, 1) * a.element_size())
        whole[dimension] = steps + b.shape[dimension]
        if rest == 0 and steps >= size and _is_injective(whole, a.stride()):
            return True
    return False


def _extent(tensor: torch.Tensor) -> int:
    """Bytes from the first element to behind the last."""
    last = sum(stride * (size - 1) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()
