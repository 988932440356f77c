"""The one door between PyTorch's tensors and code that reads memory by address.

A tensor may have no memory (fake, functional, zero, sparse, a wrapper, one inside ``vmap``), or memory that does not
say what the tensor is (a lazy negation, a storage that was cut short). :func:`in_memory` lets through what an address,
a shape and strides describe, resolves what can be resolved, and refuses the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch.autograd import forward_ad

from inception_fast.errors import InputError, InputTypeError

_keys = torch._C._dispatch_keys
# Looked up once: a fast module asks at every call, when nothing of PyTorch is in the caches.
_tracing_state = torch._C._get_tracing_state
_dispatch_modes = torch._C._len_torch_dispatch_stack
_functorch_level = torch._C._functorch.peek_interpreter_stack
_plain_types = {torch.Tensor, torch.nn.Parameter}


def _plain_tensors() -> list[torch.Tensor]:
    with torch.inference_mode():
        inference = torch.empty(0, dtype=torch.float32, device="cpu")
    return [torch.empty(0, dtype=torch.float32, device="cpu"), inference]


# PyTorch's dispatcher keeps with each tensor the set of everything that makes it more than memory; these are the sets
# of plain ones. Those of other devices join when such a tensor has been looked at.
_plain_keys = {_keys(x).raw_repr() for x in _plain_tensors()}


def in_memory(argument: str, x: object) -> torch.Tensor:
    """``x``, or a tensor equal to it, whose elements lie where its address, shape and strides say.

    Args:
        argument: what ``x`` is called in errors.

    Raises:
        InputTypeError: ``x`` is no tensor, or one of a kind that has no such memory.
        InputError: its storage ends before its last element.
    """
    if not isinstance(x, torch.Tensor):
        raise InputTypeError(argument, type(x).__name__, "a torch.Tensor")
    if type(x) not in _plain_types or _keys(x).raw_repr() not in _plain_keys or forward_ad._current_level >= 0:
        return _examined(argument, x)
    if not _lies_in_storage(x):
        raise _too_short(argument, x)
    return x


def bytes_of(x: torch.Tensor) -> memoryview:
    """What the elements of a tensor on the CPU are in memory, in order; a view of a contiguous one.

    Raises:
        As :func:`in_memory`.
    """
    elements = in_memory("x", x).detach().contiguous().view(-1)
    return elements.view(torch.uint8).numpy().data


def is_traced() -> bool:
    """Whether PyTorch records operators here in place of running them, or hands each to somebody first: under
    ``torch.compile``, ``torch.export``, ``torch.jit.trace``, ``make_fx``, fake tensors and every other dispatch mode,
    and inside ``torch.func``'s transforms. What it does not see as an operator is lost then.
    """
    return (
        # is_compiling() speaks of all threads.
        torch.compiler.is_dynamo_compiling()
        or _tracing_state() is not None
        or _dispatch_modes() > 0
        or _functorch_level() is not None
    )


def _lies_in_storage(x: torch.Tensor) -> bool:
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        elements = x.numel()
    elif x.numel() == 0:
        elements = 0
    else:
        elements = 1 + sum((extent - 1) * stride for extent, stride in zip(x.shape, x.stride(), strict=True))
    held = x.untyped_storage().nbytes()
    return elements == 0 or int(x.storage_offset() + elements) * x.element_size() <= held


def _too_short(argument: str, x: torch.Tensor) -> InputError:
    got = f"a tensor of shape {list(x.shape)} and strides {list(x.stride())} over {x.untyped_storage().nbytes()} bytes"
    return InputError(argument, got, "a storage that holds all of its elements")


def _examined(argument: str, x: torch.Tensor) -> torch.Tensor:
    """:meth:`in_memory` of a tensor that is new in some way."""
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        raise InputTypeError(
            argument, "a tensor inside a transform of torch.func (vmap, jvp, grad)", "a tensor of its own"
        )
    if x.layout != torch.strided:
        raise InputTypeError(argument, f"layout {x.layout}", "torch.strided: call .to_dense()")
    if x.is_quantized:
        raise InputTypeError(argument, f"a quantised tensor of {x.dtype}", "a plain tensor: call .dequantize()")
    if x.is_nested:
        raise InputTypeError(argument, "a nested tensor", "a plain tensor")
    keys = _keys(x)
    if keys.has(torch._C.DispatchKey.Python) or torch._is_functional_tensor(x):
        raise InputTypeError(argument, f"a {type(x).__name__} without memory of its own", "a plain tensor")
    if x.is_meta:
        raise InputTypeError(argument, "a tensor on the meta device", "a tensor with values")
    if torch._is_zerotensor(x):
        raise InputTypeError(argument, "a zero tensor of autograd's, which has no memory", "a plain tensor")
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None:
        raise InputError(argument, "a tensor with a tangent (forward-mode gradients)", "inference: the primal alone")
    if type(x) not in _plain_types:
        # A subclass that only adds attributes and methods, as torchvision's tv_tensors.
        x = x.as_subclass(torch.Tensor)
    resolved = x.resolve_neg().resolve_conj()
    if not _lies_in_storage(resolved):
        raise _too_short(argument, resolved)
    _plain_keys.add(_keys(resolved).raw_repr())
    return resolved


def digest(what: object, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Of the text of ``what``, and of tensors on the CPU by name, with their values."""
    found = hashlib.sha256(repr(what).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(repr((name, tensor.dtype, tensor.shape)).encode())
        found.update(bytes_of(tensor))
    return found.digest()


def holds_the_same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are one, or have the same dtype, shape and values."""
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b))
