"""Reshapes, slices of the channels and concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeVar

import torch
from torch import SymInt

from inception_fast.graph.aten.gate import Repeated
from inception_fast.graph.aten.local_response import LocalMean
from inception_fast.graph.aten.norm import Norm
from inception_fast.graph.aten.rule import constant, data, image, in_any_order, require, rule
from inception_fast.graph.builder import Builder, CannotExpress, Data, Place

Seen = TypeVar("Seen", Data, LocalMean)


def _reshaped(x: Seen, shape: Sequence[int], place: Place) -> Seen:
    if isinstance(x, LocalMean):
        return replace(x, shape=tuple(shape))
    return replace(x, shape=tuple(shape), place=place)


def _data(x: Any) -> Data | LocalMean:
    return x if isinstance(x, LocalMean) else data(x)


@rule("view.default", "reshape.default", "_unsafe_view.default", "_reshape_copy.default")
def view(b: Builder, place: Place, x: Any, size: Sequence[int | SymInt]) -> Data | LocalMean:
    source: Any = _data(x)
    total = prod(source.shape)
    rest = [s for s in size[1:] if isinstance(s, int)]
    if -1 in rest:
        known = prod(s for s in rest if s != -1)
        rest = [total // known if s == -1 else s for s in rest]
    # The walk compares the first extent with the batch.
    require(len(rest) == len(size) - 1 and prod(rest) == total, "it mixes the images of a batch")
    return _reshaped(source, rest, place)


@rule("flatten.using_ints")
def flatten(b: Builder, place: Place, x: Any, start: int, end: int) -> Data:
    source = data(x)
    rank = len(source.shape) + 1
    first, last = start % rank, end % rank
    require(first > 0, "it mixes the images of a batch")
    shape = source.shape
    return _reshaped(source, (*shape[: first - 1], prod(shape[first - 1 : last]), *shape[last:]), place)


@rule("squeeze.default")
def squeeze_all(b: Builder, place: Place, x: Any) -> Data:
    raise CannotExpress("without a dimension it would drop the batch of a single image; use flatten(1)")


@rule("squeeze.dim", "squeeze.dims")
def squeeze(b: Builder, place: Place, x: Any, dims: int | Sequence[int]) -> Data | LocalMean:
    source: Any = _data(x)
    rank = len(source.shape) + 1
    given = {d % rank for d in ([dims] if isinstance(dims, int) else dims)}
    require(0 not in given, "squeeze(0) would drop the batch of a single image")
    return _reshaped(source, [s for d, s in enumerate(source.shape, 1) if d not in given or s != 1], place)


@rule("unsqueeze.default")
def unsqueeze(b: Builder, place: Place, x: Any, dim: int) -> Data | Norm:
    source = x if isinstance(x, Norm) else data(x)
    at = dim % (len(source.shape) + 2)
    require(at > 0, "it mixes the images of a batch")
    shape = (*source.shape[: at - 1], 1, *source.shape[at - 1 :])
    return replace(source, shape=shape) if isinstance(source, Norm) else _reshaped(source, shape, place)


def _channels(x: Data, start: int, count: int, place: Place) -> Data:
    require(x.has_channels_first or x.is_turned, "only channels can be sliced")
    scale, shift = (v if v is None else v[start : start + count] for v in (x.scale, x.shift))
    axis = x.channel_axis - 1
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return Data(x.source, x.start + start, count, shape, place, scale, shift, x.order)


def _chosen(b: Builder, x: Data, channels: Sequence[int], place: Place) -> Data:
    """Channels of ``x`` in an order of their own."""
    require(len(channels) > 0, "it leaves no channel")
    planes = replace(x, shape=b.natural_shape(x), order=(0, 1, 2)) if x.is_turned else x
    made = b.concat([_channels(planes, c, 1, place) for c in channels], place)
    return _turned(made, x.order) if x.is_turned else made


def _turned(x: Data, order: tuple[int, ...]) -> Data:
    """An image ``(C, H, W)`` with its dimensions in another order."""
    return replace(x, shape=tuple(x.shape[axis] for axis in order), order=order)


@rule("slice.Tensor")
@in_any_order
def slice_tensor(b: Builder, place: Place, x: Any, dim: int, start: int | None, end: int | None, step: int) -> Data:
    source = data(x)
    axis = dim % (len(source.shape) + 1)
    require(step == 1, "only slices of step 1 are supported")
    if axis == 0:
        require((start or 0) == 0 and (end is None or end == 2**63 - 1), "it takes some images of the batch only")
        return source
    length = source.shape[axis - 1]
    first, last, _ = slice(start, end).indices(length)
    if (first, last) == (0, length):
        return source
    require(axis == source.channel_axis, "height and width cannot be sliced")
    return _channels(source, first, last - first, place)


@rule("select.int")
def select(b: Builder, place: Place, x: Any, dim: int, index: int) -> Data:
    source = data(x)
    axis = dim % (len(source.shape) + 1)
    require(axis > 0, "it takes one image of the batch")
    length = source.shape[axis - 1]
    if length == 1:
        return _reshaped(source, (*source.shape[: axis - 1], *source.shape[axis:]), place)
    require(axis == 1, "a single row or column cannot be taken")
    plane = _channels(source, index % length, 1, place)
    return replace(plane, shape=plane.shape[1:])


@rule("split_with_sizes.default")
def split_with_sizes(b: Builder, place: Place, x: Any, sizes: Sequence[int], dim: int) -> tuple[Data, ...]:
    source = data(x)
    require(dim % (len(source.shape) + 1) == 1, "only channels can be split")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(_channels(source, start, count, place) for start, count in zip(starts, sizes, strict=True))


@rule("split.Tensor")
def split(b: Builder, place: Place, x: Any, width: int, dim: int) -> tuple[Data, ...]:
    source = data(x)
    length = source.shape[0]
    return split_with_sizes(b, place, x, [min(width, length - i) for i in range(0, length, width)], dim)


@rule("unbind.int")
def unbind(b: Builder, place: Place, x: Any, dim: int) -> tuple[Data, ...]:
    source = data(x)
    require(dim % (len(source.shape) + 1) == 1, "only channels can be split")
    return tuple(select(b, place, source, 1, i) for i in range(source.shape[0]))


@rule("cat.default")
def cat(b: Builder, place: Place, tensors: Sequence[Any], dim: int) -> Data:
    parts = [data(t) for t in tensors]
    require(dim % (len(parts[0].shape) + 1) == 1, "only channels can be concatenated")
    return b.concat(parts, place)


@rule("hstack.default")
def hstack(b: Builder, place: Place, tensors: Sequence[Any]) -> Data:
    return cat(b, place, tensors, 1)


@rule("stack.default")
def stack(b: Builder, place: Place, tensors: Sequence[Any], dim: int) -> Data:
    parts = [data(t) for t in tensors]
    require(dim % (len(parts[0].shape) + 2) == 1, "only channels can be stacked")
    return b.concat([replace(p, shape=(1, *p.shape)) for p in parts], place)


@rule("flip.default")
@in_any_order
def flip(b: Builder, place: Place, x: Any, dims: Sequence[int]) -> Data:
    source: Data = data(x)
    axis = source.channel_axis
    require([d % (len(source.shape) + 1) for d in dims] == [axis], "only channels can be flipped")
    return _chosen(b, source, range(source.shape[axis - 1])[::-1], place)


@rule("index.Tensor")
@in_any_order
def index(b: Builder, place: Place, x: Any, indices: Sequence[Any]) -> Data:
    source = data(x)
    given = [i for i, chosen in enumerate(indices) if chosen is not None]
    require(given == [source.channel_axis], "only channels can be chosen by an index")
    return index_select(b, place, source, given[0], indices[given[0]])


@rule("index_select.default")
@in_any_order
def index_select(b: Builder, place: Place, x: Any, dim: int, index: Any) -> Data:
    source = data(x)
    axis = dim % (len(source.shape) + 1)
    require(axis == source.channel_axis, "only channels can be chosen by an index")
    chosen = constant(index, "index").tensor
    require(chosen.dim() == 1 and chosen.dtype in (torch.int64, torch.int32), "its index is no list of channels")
    return _chosen(b, source, [int(i) % source.shape[axis - 1] for i in chosen], place)


@rule("permute.default")
@in_any_order
def permute(b: Builder, place: Place, x: Any, dims: Sequence[int]) -> Data:
    source = data(x)
    rank = len(source.shape) + 1
    axes = [d % rank for d in dims]
    require(axes[0] == 0, "it mixes the images of a batch")
    if axes == list(range(rank)):
        return source
    source = image(source)
    planes = b.natural_shape(source)
    as_made = source.shape == tuple(planes[axis] for axis in source.order if axis < len(planes))
    require(as_made, "only the dimensions of images can change places")
    return _turned(replace(source, shape=planes), tuple(source.order[d - 1] for d in axes[1:]))


@rule("transpose.int", "swapaxes.default", "swapdims.default")
@in_any_order
def transpose(b: Builder, place: Place, x: Any, first: int, second: int) -> Data:
    axes = list(range(len(data(x).shape) + 1))
    axes[first], axes[second] = axes[second], axes[first]
    return permute(b, place, x, axes)


@rule("movedim.int", "moveaxis.int")
@in_any_order
def movedim(b: Builder, place: Place, x: Any, source: int, destination: int) -> Data:
    rank = len(data(x).shape) + 1
    axes = [axis for axis in range(rank) if axis != source % rank]
    axes.insert(destination % rank, source % rank)
    return permute(b, place, x, axes)


@rule("expand.default", "expand_as.default")
def expand(b: Builder, place: Place, x: Any, size: Any, implicit: bool = False) -> Norm | Repeated | Data:
    source = x if isinstance(x, Norm) else data(x)
    shape = size.shape if isinstance(size, Data) else tuple(size)[1:]
    require(all(isinstance(s, int) for s in shape) and len(shape) == len(source.shape), "its shape is not fixed")
    full = tuple(old if new == -1 else new for old, new in zip(source.shape, shape, strict=True))
    if isinstance(source, Norm):
        require(full in (source.shape, source.x.shape), "a norm is expanded to another shape than its tensor's")
        return source
    return source if full == source.shape else Repeated(source, full)
