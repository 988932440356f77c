"""Graph under construction, and what an ATen value stands for while a model is being captured.

Slices and per-channel affines are not emitted when they are met but carried along in :class:`Data` until somebody reads
the result, so that a chain of them (``2 * x - 1``, or each channel normalised by itself and concatenated again) becomes
one node. So are reshapes, which the Graph knows only one of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from inception_fast.graph import ir
from inception_fast.graph.rewrite import fresh_name, powers_of_two, shifts_exactly
from inception_fast.graph.shapes import infer_shape


class CannotExpress(Exception):
    """The Graph has no op for what was asked. The message is the reason given to the user."""


@dataclass(frozen=True)
class Place:
    """Where in the model a value comes from.

    Attributes:
        origin: path of the module, ``''`` for the root.
        is_layer: the module is one of PyTorch's own layers, so its path names the value well enough.
    """

    origin: str
    is_layer: bool = False


@dataclass(frozen=True)
class Const:
    """A tensor that does not depend on the input; ``name`` where it is the model's parameter or buffer."""

    tensor: Tensor
    name: str | None = None


class Symbolic:
    """Base of whatever stands for a tensor computed from the input."""


@dataclass(frozen=True, eq=False)
class Data(Symbolic):
    """Channels ``[start, start + count)`` of a Graph value, times ``scale``, plus ``shift``, seen as ``shape``.

    Attributes:
        shape: of the ATen tensor without its batch; the elements are in row-major order.
        scale, shift: float64 ``[count]``; None, both of them, for one and zero.
        place: where the last of these changes was made.
        order: of an image, which of (channels, height, width) each dimension of ``shape`` is.
    """

    source: str
    start: int
    count: int
    shape: ir.Shape
    place: Place
    scale: Tensor | None = None
    shift: Tensor | None = None
    order: tuple[int, ...] = (0, 1, 2)

    @property
    def is_turned(self) -> bool:
        """Its dimensions have changed places."""
        return self.order != (0, 1, 2)

    @property
    def channel_axis(self) -> int:
        """Which dimension, the batch counted, is the channels, where one is."""
        return 1 + self.order.index(0)

    @property
    def has_channels_first(self) -> bool:
        """The first axis after the batch is the channels."""
        return len(self.shape) > 0 and self.shape[0] == self.count and not self.is_turned

    def same_as(self, other: Data) -> bool:
        """True only where both are the same numbers in the same shape."""
        return (
            (self.source, self.start, self.count, self.shape, self.order)
            == (other.source, other.start, other.count, other.shape, other.order)
            and self.scale is other.scale
            and self.shift is other.shift
        )


@dataclass
class Builder:
    """Nodes and parameters emitted so far.

    Attributes:
        reserved: the model's own parameter names, which computed parameters stay clear of.
    """

    reserved: Collection[str]
    nodes: list[ir.Node] = field(default_factory=list)
    params: dict[str, Tensor] = field(default_factory=dict)
    shapes: dict[str, ir.Shape] = field(default_factory=dict)
    _emitted: list[tuple[Data, str]] = field(default_factory=list)
    _flattened: dict[str, str] = field(default_factory=dict)

    def input(self, shape: ir.Shape, order: tuple[int, ...] = (0, 1, 2), of_bytes: bool = False) -> Data:
        """The input, whose ``shape`` is in that order."""
        planes = tuple(shape[order.index(axis)] for axis in range(3)) if order != (0, 1, 2) else shape
        return replace(self.emit(ir.Input(planes, of_bytes), (), Place(""), "input"), shape=shape, order=order)

    def name(self, kind: str, place: Place) -> str:
        """A free name for a value: the module's path, and the op's kind where the path does not say it."""
        suffix = [] if place.is_layer else [kind.lower()]
        return fresh_name(".".join([*([place.origin] if place.origin else []), *suffix]), self.shapes)

    def emit(self, op: ir.Operation, inputs: Sequence[str], place: Place, name: str | None = None) -> Data:
        """Adds a node and returns its value."""
        name = name or self.name(op.kind, place)
        shape = infer_shape(op, [self.shapes[i] for i in inputs], self.params)
        self.nodes.append(ir.Node(name, op, tuple(inputs), place.origin))
        self.shapes[name] = shape
        return Data(name, 0, shape[0], shape, place)

    def param(self, const: Const, fallback: str) -> str:
        """Stores a constant, under its own name or else under ``fallback``, and returns the name."""
        name = const.name or fresh_name(fallback, {*self.reserved, *self.params})
        if name not in self.params:
            self.params[name] = const.tensor.detach().to("cpu", copy=True).contiguous()
        return name

    def node_of(self, x: Data) -> ir.Node | None:
        """The node whose value ``x`` is, whole and as it is; None where it is a part of one, or moved."""
        if x.scale is not None or x.count != self.shapes[x.source][0]:
            return None
        return next(n for n in self.nodes if n.name == x.source)

    def natural_shape(self, x: Data) -> ir.Shape:
        """Shape of ``x`` as the Graph sees it, whatever the model has reshaped it to."""
        return (x.count, *self.shapes[x.source][1:])

    def settle(self, x: Data) -> str:
        """Name of a value with the numbers of ``x``, its shape apart."""
        for known, name in self._emitted:
            if known.same_as(replace(x, shape=known.shape, order=known.order)):
                return name
        name = x.source
        if (x.start, x.count) != (0, self.shapes[name][0]):
            name = self.emit(ir.Slice(x.start, x.count), [name], replace(x.place, is_layer=False)).source
        if x.scale is not None and x.shift is not None:
            affine = self.name("affine", replace(x.place, is_layer=False))
            scale, shift = self.param(Const(x.scale), f"{affine}.scale"), self.param(Const(x.shift), f"{affine}.shift")
            name = self.emit(ir.Affine(scale, shift), [name], x.place, affine).source
        if name != x.source:
            self._emitted.append((x, name))
        return name

    def value(self, x: Data) -> str:
        """Name of a value with the numbers and the shape of ``x``.

        Raises:
            CannotExpress: the shape is neither that of an image nor flat.
        """
        if x.is_turned:
            raise CannotExpress("images whose channels are not their first dimension")
        name = self.settle(x)
        if self.shapes[name] == x.shape:
            return name
        if len(x.shape) != 1:
            raise CannotExpress(f"a tensor of shape {batched(x.shape)} made from {batched(self.shapes[name])}")
        if name not in self._flattened:
            self._flattened[name] = self.emit(ir.Flatten(), [name], replace(x.place, is_layer=False)).source
        return self._flattened[name]

    def affine(self, x: Data, scale: Tensor, shift: Tensor, place: Place) -> Data:
        """``x * scale + shift``, both float64 of shape ``[1]`` or ``[count]``."""
        if torch.all(scale == 1) and torch.all(shift == 0):
            return x
        if x.scale is None or x.shift is None:
            return replace(x, scale=scale.expand(x.count), shift=shift.expand(x.count), place=place)
        new_scale, new_shift = x.scale * scale, x.shift * scale + shift
        finite = new_scale.float().isfinite().all() and new_shift.float().isfinite().all()
        # The network's input, of which nothing is rounded yet, is moved without rounding.
        exact = self._input_of(x.source) is not None and shifts_exactly(x.scale, x.shift)
        # Infinities of the one would meet zeros or infinities of the other; step by step they are the model's own.
        if not finite or (exact and not powers_of_two(new_scale)):
            settled = self.settle(x)
            apart = Data(settled, 0, x.count, x.shape, x.place, order=x.order)
            return replace(apart, scale=scale.expand(x.count), shift=shift.expand(x.count), place=place)
        return replace(x, scale=new_scale.expand(x.count), shift=new_shift.expand(x.count), place=place)

    def is_bytes(self, value: str) -> bool:
        """Whether a value is the network's input, or channels of it, and bytes."""
        source = self._input_of(value)
        return source is not None and source.bytes

    def _input_of(self, value: str) -> ir.Input | None:
        """The network's input where a value is that, or channels of it."""
        node = next(n for n in self.nodes if n.name == value)
        if isinstance(node.op, ir.Select | ir.Slice):
            return self._input_of(node.inputs[0])
        return node.op if isinstance(node.op, ir.Input) else None

    def concat(self, parts: Sequence[Data], place: Place) -> Data:
        """Concatenation along the first axis after the batch."""
        merged: list[Data] = []
        for part in parts:
            if not part.has_channels_first:
                raise CannotExpress("only channels can be concatenated, no flattened images")
            joined = self._join(merged[-1], part, place) if merged else None
            if joined:
                merged[-1] = joined
            else:
                merged.append(part)
        if len(merged) == 1:
            return merged[0]
        if all(p.source == merged[0].source for p in merged):
            return replace(self._select(merged, place), shape=(sum(p.count for p in merged), *parts[0].shape[1:]))
        if all(self.natural_shape(p)[1:] == self.natural_shape(merged[0])[1:] for p in merged):
            names = [self.settle(p) for p in merged]
        else:
            names = [self.value(p) for p in merged]
        out = self.emit(ir.Concat(), names, place)
        return replace(out, shape=(out.count, *parts[0].shape[1:]))

    def _select(self, parts: Sequence[Data], place: Place) -> Data:
        """Pieces of one value, whatever their order, moved by what each of them is."""
        channels = tuple(c for p in parts for c in range(p.start, p.start + p.count))
        chosen = self.emit(ir.Select(channels), [parts[0].source], replace(place, is_layer=False))
        return replace(chosen, scale=_joined(parts, "scale", 1.0), shift=_joined(parts, "shift", 0.0))

    @staticmethod
    def _join(a: Data, b: Data, place: Place) -> Data | None:
        """One Data for two neighbours, where ``b`` goes on in the value where ``a`` ends."""
        if (a.source, a.start + a.count) != (b.source, b.start):
            return None
        scale, shift = _joined((a, b), "scale", 1.0), _joined((a, b), "shift", 0.0)
        return Data(a.source, a.start, a.count + b.count, (a.count + b.count, *a.shape[1:]), place, scale, shift)


def _joined(parts: Sequence[Data], vector: str, neutral: float) -> Tensor | None:
    """The scales or shifts of several one after the other; None where none of them has one."""
    own: list[Tensor | None] = [getattr(p, vector) for p in parts]
    if all(v is None for v in own):
        return None
    filled = (
        torch.full((p.count,), neutral, dtype=torch.float64, device="cpu") if v is None else v
        for p, v in zip(parts, own, strict=True)
    )
    return torch.cat(list(filled))


def batched(shape: ir.Shape) -> str:
    """A per-image shape for messages: ``(N, 3, 4)``."""
    return f"({', '.join(['N', *map(str, shape)])})"
