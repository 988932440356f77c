"""Images in the layout that fast kernels want, once, at the entry of a model of which parts are replaced."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inception_fast.nn.installed import Installed
from inception_fast.nn.original import Original, laid_out_like
from inception_fast.tensors import is_traced

_FAILURE = "view size is not compatible"


class Entry(Installed, nn.Module):
    """Gives a model its images in channels_last memory format, which its parts then keep to, and hands its results
    back in the format that the images had. Code that takes contiguous maps for granted fails by a ``view``; then the
    call is run again on images as they came, and so is every later one, with a warning.

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

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        images = [t for t in pytree.tree_leaves((args, kwargs)) if is_convertible(t)]
        if not images or not self._converts or is_traced():
            return self.inner(*args, **kwargs)
        try:
            converted_args, converted_kwargs = converted((args, kwargs))
            results = self.inner(*converted_args, **converted_kwargs)
        except RuntimeError as error:
            if _FAILURE not in str(error):
                raise
            self._converts = False
            warnings.warn(
                f"{type(self.module).__name__} behind swap: it needs contiguous images, and parts of it are slower "
                f"for it ({str(error).partition(chr(10))[0]})",
                stacklevel=3,
            )
            return self.inner(*args, **kwargs)
        like = images[0]
        return pytree.tree_map(lambda r: laid_out_like(like, r) if isinstance(r, torch.Tensor) else r, results)


def is_convertible(value: object) -> bool:
    """Whether an argument is images ``[N, C, H, W]`` of several channels that are contiguous."""
    if not isinstance(value, torch.Tensor) or value.dim() != 4 or not value.is_floating_point():
        return False
    return value.layout is torch.strided and value.shape[1] > 1 and value.is_contiguous()


def converted(arguments: Any) -> Any:
    """The same arguments with such images in channels_last memory format."""

    def convert(value: Any) -> Any:
        return value.contiguous(memory_format=torch.channels_last) if is_convertible(value) else value

    return pytree.tree_map(convert, arguments)
