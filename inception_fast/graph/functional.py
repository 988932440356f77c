"""Exported graphs without in-place ops."""

from __future__ import annotations

import operator

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument

from inception_fast.graph.translate import is_number

# Ops whose result shares memory with nothing else.
_OWNERS = frozenset(["add", "batch_norm", "cat", "conv2d", "linear", "mul"])

_COMPOSITES = (
    "adaptive_avg_pool2d avg_pool2d dropout expand_as flatten layer_norm log_softmax max_pool2d reshape "
    "scaled_dot_product_attention softmax sym_size to upsample_bilinear2d"
)
_WHOLE = _OWNERS.union(_COMPOSITES.split())
"""Composite ops that stay as they are."""


def functional(program: ExportedProgram) -> ExportedProgram:
    """``program`` with every in-place op resolved for all aliases of its tensor, its ops left whole otherwise.

    PyTorch does this by tracing the graph once more, which takes twice as long as the export. The packages' networks
    are spared it: their only in-place op is a ReLU of a value that nobody else sees, which is a plain ReLU. So are
    others without in-place ops, as long as all their ops are known ones.
    """
    if not all(_is_pure(node) for node in program.graph.nodes if node.op == "call_function"):
        _remove_idle_dropout(program)
        program = program.run_decompositions({})
    _remove_assertions(program)
    return program


def _remove_assertions(program: ExportedProgram) -> None:
    """What a conversion's argument is like is known; constants are evaluated in float64, where it would not hold."""
    for node in list(program.graph.nodes):
        if _packet(node) == "_assert_tensor_metadata":
            program.graph.erase_node(node)


def _remove_idle_dropout(program: ExportedProgram) -> None:
    """In eval mode dropout returns its very argument, which some versions of PyTorch trace as a copy."""
    for node in program.graph.nodes:
        if _packet(node) != "dropout":
            continue
        source, probability, train = node.args
        if train and probability:
            continue
        node.replace_all_uses_with(source)
        for spec in program.graph_signature.output_specs:
            if spec.arg.name == node.name:
                spec.arg = TensorArgument(name=source.name)


def _is_pure(node: fx.Node) -> bool:
    if _packet(node) == "relu_":
        (source,) = node.args
        return isinstance(source, fx.Node) and _packet(source) in _OWNERS and len(source.users) == 1
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.target is operator.getitem or is_number(node)
    # Other composites are taken apart, which makes fewer kinds of ops.
    composite = node.target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return not node.target._schema.is_mutable and (not composite or _packet(node) in _WHOLE)


def _packet(node: fx.Node) -> str:
    """``conv2d`` for ``aten.conv2d.default``."""
    namespace, _, name = str(node.target).partition(".")
    return name.partition(".")[0] if namespace == "aten" else ""
