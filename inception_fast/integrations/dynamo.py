"""``torch.compile(model, backend="inception_fast")``.

Dynamo hands over a graph whose parameters are inputs like the images. One such graph serves every module whose code
and shapes are the same, and the weights may change between calls, so engines are kept for the weights that come with a
call.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import SymInt, fx, nn
from torch.nn import functional

from inception_fast.errors import CaptureError, InceptionFastError, InputError, UnsupportedOpError
from inception_fast.fast_model import FastModel
from inception_fast.integrations.inline import inlined
from inception_fast.nn.engines import Engines
from inception_fast.nn.forms import Budget, Options
from inception_fast.nn.original import run_original
from inception_fast.nn.parts import Arguments, Parts
from inception_fast.partition.partitioned_model import PartitionedModel

_RESHAPES = ("view", "reshape", torch.reshape)
_OURS = ("batch_invariant", "precision", "backend")
"""Arguments that the caller has chosen: what is wrong with those does not let a graph run otherwise."""


def inception_fast_backend(
    gm: fx.GraphModule, example_inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """A backend for ``torch.compile``; for inference only, under ``torch.no_grad()`` or ``torch.inference_mode()``.

    The weights are packed at the first call. Later changes are noticed, unless they were made through ``tensor.data``,
    and cost a new packing.

    Args:
        gm: what dynamo has traced. Of a graph that is not an Inception-family network as a whole, with one tensor
            ``[N, C, H, W]`` in, parts stay PyTorch's, or all of it where there are none to be made, and a warning
            says why.
        example_inputs: the graph's inputs, weights among them.
        options: ``precision``, ``backend``, ``batch_invariant`` and ``strict``, as for
            :func:`inception_fast.optimize`, and ``memory_limit``, as for :func:`inception_fast.swap`; given as
            ``torch.compile(..., options={...})``.

    Raises:
        InputError: an option does not fit; training mode; gradients are wanted; ``strict``, and an input does not fit.
        UnsupportedOpError: ``strict``, and the graph has an operator that is not the family's.
        CaptureError: ``strict``, and ``torch.export`` refuses the graph, or it changes a buffer.
    """
    chosen, strict = _options(options or {})
    if torch.is_grad_enabled() and any(isinstance(t, torch.Tensor) and t.requires_grad for t in example_inputs):
        raise InputError(
            "model",
            "parameters or an input with requires_grad=True, and grad enabled",
            "inference: torch.no_grad(), torch.inference_mode() or model.requires_grad_(False)",
        )
    network = _Network(gm, example_inputs, chosen, strict)
    network.prepare(example_inputs)
    return network


def _options(given: Mapping[str, Any]) -> tuple[Options, bool]:
    """How to build engines, and ``strict``."""
    known = {"strict", *(f.name for f in fields(Options))}
    for name in given:
        if name not in known:
            raise InputError("options", repr(name), f"any of {', '.join(sorted(known))}")
    return Options(**{name: value for name, value in given.items() if name != "strict"}), bool(given.get("strict"))


class _Network:
    """A traced graph as a function of dynamo's inputs."""

    def __init__(self, gm: fx.GraphModule, example_inputs: Sequence[Any], options: Options, strict: bool) -> None:
        gm = inlined(gm)
        if any(map(_trains, gm.graph.nodes)):
            raise InputError("model", "training mode", "eval mode")
        self._graph, self._options, self._strict = gm, options, strict
        placeholders = gm.graph.find_nodes(op="placeholder")
        # With dynamic=True, floats such as the epsilon of a normalisation come as tensors, new ones at every call.
        self._numbers = [i for i, p in enumerate(placeholders) if p.meta["grapharg"].pass_arg_as_tensor]
        tensors = [
            i for i, value in enumerate(example_inputs) if isinstance(value, torch.Tensor) and i not in self._numbers
        ]
        self._weights = [i for i in tensors if _belongs_to_module(placeholders[i], example_inputs[i])]
        self._images = [i for i in tensors if i not in self._weights]
        self._reason: InceptionFastError | None = None
        if len(self._images) != 1:
            names = ", ".join(placeholders[i].name for i in self._images) or "none"
            found = f"{len(self._images)} input tensors ({names})"
            self._reason = InputError("model", found, "one, of images [N, C, H, W]")
            if strict:
                raise self._reason
        # Of what a break in the user's code has left, nothing could become fast.
        self._plain = not strict and not options.batch_invariant and not any(map(_convolves, gm.graph.nodes))
        self._engines: dict[tuple[float, ...], Engines] = {}
        self._parts: dict[tuple[float, ...], Parts] = {}
        self._budget = Budget()
        self._warned = False

    def prepare(self, inputs: Sequence[Any]) -> None:
        """Builds what such inputs need."""
        self._fast(inputs)

    def __call__(self, *inputs: Any) -> Any:
        fast = self._fast(inputs)
        if fast is None:
            if not self._options.batch_invariant:
                return self._graph(*inputs)
            return run_original(self._bind(inputs), inputs[self._images[0]], batch_invariant=True)
        return fast(*(inputs[i] for i in self._images))

    def _fast(self, inputs: Sequence[Any]) -> FastModel | PartitionedModel | None:
        """What computes such inputs; None where the graph itself is to."""
        if self._plain or not self._images:
            return None
        weights = [inputs[i] for i in self._weights]
        key = (*map(id, weights), *(inputs[i].item() for i in self._numbers))
        if self._reason is None:
            try:
                return self._engine(inputs, weights, key)
            except (UnsupportedOpError, CaptureError, InputError) as error:
                if self._strict or _is_ours(error):
                    raise
                self._reason = error
        try:
            return self._partition(inputs, weights, key)
        except (UnsupportedOpError, CaptureError, InputError) as error:
            if self._options.batch_invariant or _is_ours(error):
                raise
            self._warn(error)
            return None

    def _partition(
        self, inputs: Sequence[Any], weights: list[torch.Tensor], key: tuple[float, ...]
    ) -> FastModel | PartitionedModel | None:
        parts = self._parts.get(key)
        if parts is None:
            self._parts = {k: p for k, p in self._parts.items() if p.alive}
            parts = self._parts[key] = Parts(self._options, self._budget, self._reason, empty=True)
        call = Arguments([inputs[i] for i in self._images], {})
        return parts.get(call, lambda: weights, lambda: self._bind(inputs))

    def _warn(self, reason: Exception) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"the graph stays PyTorch's, nothing of it runs on fast kernels: {reason}", stacklevel=5)

    def _engine(self, inputs: Sequence[Any], weights: list[torch.Tensor], key: tuple[float, ...]) -> FastModel | None:
        engines = self._engines.get(key)
        if engines is None:
            self._engines = {k: e for k, e in self._engines.items() if e.alive}
            engines = self._engines[key] = Engines(self._options, budget=self._budget)
        return engines.get(inputs[self._images[0]], lambda: weights, lambda: self._bind(inputs))

    def _bind(self, inputs: Sequence[Any]) -> fx.GraphModule:
        """The graph as a module of the images, and whatever other tensors there are, alone."""
        root, graph = nn.Module(), fx.Graph()
        placeholders = self._graph.graph.find_nodes(op="placeholder")
        bound: dict[fx.Node, Any] = {}
        for i in self._images:
            x = placeholders[i]
            bound[x] = graph.placeholder(x.name)
            bound[x].meta = dict(x.meta)
        images, from_images = bound[placeholders[self._images[0]]], set(bound)
        for i, placeholder in enumerate(placeholders):
            if i in self._weights:
                root.register_buffer(f"weight{i}", inputs[i])
                bound[placeholder] = graph.get_attr(f"weight{i}")
            elif i in self._numbers:
                bound[placeholder] = inputs[i].item()
            elif placeholder not in bound:
                source, dimension = _size_of(placeholder, [placeholders[k] for k in self._images])
                bound[placeholder] = graph.call_method("size", (bound[source], dimension))
        batch = inputs[self._images[0]].shape[0]
        for node in self._graph.graph.nodes:
            if node.op == "call_method" and node.target == "item" and not isinstance(bound[node.args[0]], fx.Node):
                bound[node] = bound[node.args[0]]
            elif node.op != "placeholder":
                bound[node] = graph.node_copy(node, bound.__getitem__)
                if from_images.intersection(node.all_input_nodes):
                    from_images.add(node)
                    _open_batch(bound[node], batch, images)
        for name, child in self._graph.named_children():
            root.add_module(name, child)
        module = fx.GraphModule(root, graph)
        # Dynamo's graph modules say that they train; what did is in the arguments of its operators.
        return module.eval()


def _is_ours(error: Exception) -> bool:
    return isinstance(error, InputError) and error.argument in _OURS


def _convolves(node: fx.Node) -> bool:
    """Whether an operator may be a convolution; modules that dynamo did not look into may have some."""
    return node.op == "call_module" or "conv" in str(getattr(node.target, "__name__", node.target))


def _trains(node: fx.Node) -> bool:
    """Whether a layer computes as it does in training."""
    if node.target not in (functional.batch_norm, functional.dropout):
        return False
    given = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    given.apply_defaults()
    return bool(given.arguments["training"])


def _belongs_to_module(placeholder: fx.Node, value: torch.Tensor) -> bool:
    source = placeholder.meta["grapharg"].source
    return isinstance(value, nn.Parameter) or source.guard_source.is_unspecialized_nn_module()


def _size_of(size: fx.Node, tensors: Sequence[fx.Node]) -> tuple[fx.Node, int]:
    """Of which tensor and dimension a symbolic input of the graph is the size."""
    wanted = size.meta["example_value"]
    for x in tensors:
        for dimension, extent in enumerate(x.meta["example_value"].shape):
            if isinstance(wanted, SymInt) and isinstance(extent, SymInt) and extent.node.expr == wanted.node.expr:
                return x, dimension
    raise InputError("model", f"the input '{size.name}' ({wanted})", "images [N, C, H, W] and nothing else")


def _open_batch(node: fx.Node, batch: int, images: fx.Node) -> None:
    """Reads the number of images from the input where tracing has left it in a reshape as a number."""
    if node.target not in _RESHAPES:
        return
    # PyTorch's names of the source and the size; every one of them may be a keyword.
    source, *size = [node.kwargs[name] for name in ("input", "self") if name in node.kwargs] + list(node.args)
    size += [node.kwargs[name] for name in ("shape", "size") if name in node.kwargs]
    listed = len(size) == 1 and isinstance(size[0], tuple | list)
    extents: list[Any] = list(size[0]) if listed else size  # type: ignore[arg-type]
    if extents and extents[0] == batch:
        with node.graph.inserting_before(node):
            extents[0] = node.graph.call_method("size", (images, 0))
        node.args, node.kwargs = (source, tuple(extents)), {}
