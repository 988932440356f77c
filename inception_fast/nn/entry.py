"""Images in the layout that fast kernels want, once, at the entry of a model of which parts are replaced."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from inception_fast.nn.constants import names_in_forward
from inception_fast.nn.installed import Installed
from inception_fast.nn.original import Original, laid_out_like
from inception_fast.tensors import is_traced

_FAILURE = "view size is not compatible"
_VIEWS = {"view": torch.Tensor.view, "view_as": torch.Tensor.view_as}


class Entry(Installed, nn.Module):
    """Gives a model its images in channels_last memory format, which its parts then keep to, and hands its results
    back in the format that the images had. What the model writes into its images is written into the caller's.

    Code that takes contiguous maps for granted fails by a ``view``. In the model's own code that map becomes contiguous
    then, so that the call goes on, as a call is not run twice; elsewhere, as in a script, the error is the caller's.
    Either way later calls are run on images as they come, with a warning.

    Args:
        module: one that runs on such images.
    """

    inner: Callable[..., Any]

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # Past nn.Module's registration, which would repeat every name.
        vars(self)["module"], vars(self)["original"] = module, Original(module)
        vars(self)["inner"] = vars(module).get("forward", self.original.forward)
        self._converts = True
        # Watching costs a little at every operator.
        self._watches = any(not _VIEWS.keys().isdisjoint(names_in_forward(type(m))) for m in module.modules())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        if not self._converts or is_traced() or not any(map(is_convertible, leaves)):
            return self.inner(*args, **kwargs)
        images = _Images(leaves)
        args, kwargs = pytree.tree_unflatten(images.taken, spec)
        watch = _Views() if self._watches else None
        try:
            with watch or nullcontext():
                results = self.inner(*args, **kwargs)
        except RuntimeError as error:
            if _FAILURE in str(error):
                self._stop(error)
            raise
        finally:
            images.write_back()
        if watch and watch.error:
            self._stop(watch.error)
        return pytree.tree_map(images.as_given, results)

    def _stop(self, error: RuntimeError) -> None:
        self._converts = False
        warnings.warn(
            f"{type(self.module).__name__} behind swap: it needs contiguous images, and parts of it are slower "
            f"for it ({str(error).partition(chr(10))[0]})",
            stacklevel=4,
        )


class _Images:
    """The leaves of one call's arguments.

    Attributes:
        taken: the same with images in channels_last memory format.
    """

    def __init__(self, given: list[Any]) -> None:
        self._given = given
        # Tensors of inference mode count no versions, which tell whether they were written to.
        with torch.inference_mode(False):
            self.taken = [_converted(leaf) for leaf in given]
        self._like = next(leaf for leaf in given if is_convertible(leaf))
        self._pairs = {id(t): (g, t, t._version) for g, t in zip(given, self.taken, strict=True) if g is not t}

    def write_back(self) -> None:
        with torch.no_grad():
            for given, taken, version in self._pairs.values():
                if taken._version != version:
                    given.copy_(taken)

    def as_given(self, result: Any) -> Any:
        """A result in the format of the images; an image itself where it is one."""
        if id(result) in self._pairs:
            return self._pairs[id(result)][0]
        return laid_out_like(self._like, result) if isinstance(result, torch.Tensor) else result


class _Views(TorchFunctionMode):
    """Makes a map contiguous, in place, where a ``view`` of it fails.

    Attributes:
        error: the first of such failures.
    """

    error: RuntimeError | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except RuntimeError as error:
            x = args[0] if func in _VIEWS.values() else None
            if x is None or x.dim() != 4 or not x.is_contiguous(memory_format=torch.channels_last):
                raise
            self.error = self.error or error
        # In its place, since what is written to the view is to be seen in the map.
        x.data = x.detach().contiguous()
        return func(*args, **(kwargs or {}))


def is_convertible(value: object) -> bool:
    """Whether an argument is images ``[N, C, H, W]`` of several channels that are contiguous."""
    if not isinstance(value, torch.Tensor) or value.dim() != 4 or not value.is_floating_point():
        return False
    return value.layout is torch.strided and value.shape[1] > 1 and value.is_contiguous()


def converted(arguments: Any) -> Any:
    """The same arguments with such images in channels_last memory format."""
    return pytree.tree_map(_converted, arguments)


def _converted(value: Any) -> Any:
    return value.contiguous(memory_format=torch.channels_last) if is_convertible(value) else value
