"""Softmax over channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inception_fast.graph import ir
from inception_fast.graph.aten.rule import data, require, rule
from inception_fast.graph.builder import Builder, Data, Place


def _over_channels(b: Builder, place: Place, x: Any, dim: int, log: bool) -> Data:
    source = data(x)
    require(dim % (len(source.shape) + 1) == 1 and source.has_channels_first, "only one over the channels is supported")
    return replace(b.emit(ir.Softmax(log), [b.settle(source)], place), shape=source.shape)


@rule("softmax.int", "_softmax.default")
def softmax(b: Builder, place: Place, x: Any, dim: int, *_: Any) -> Data:
    return _over_channels(b, place, x, dim, log=False)


@rule("log_softmax.int", "_log_softmax.default")
def log_softmax(b: Builder, place: Place, x: Any, dim: int, *_: Any) -> Data:
    return _over_channels(b, place, x, dim, log=True)
