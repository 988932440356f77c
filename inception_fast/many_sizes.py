"""A FastModel for images of any size that the network takes."""

from __future__ import annotations

import uuid

import torch
from torch import nn

from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.integrations import ops
from inception_fast.nn.block import contents_of
from inception_fast.nn.engines import Engines
from inception_fast.nn.fingerprint import Fingerprint
from inception_fast.nn.forms import Options
from inception_fast.static_call import StaticCall
from inception_fast.tensors import is_traced


class ManySizes(FastModel):
    """A FastModel that builds an engine for each further image size at its first image, seconds of work, while known
    sizes go on in other threads. Engines share their weights.

    It keeps the model that it was made of, to capture it for the next size, and refuses new sizes once that model's
    weights have changed: all sizes compute with the weights of the beginning. Files, copies, pickles, ``state_dict``
    and graphs of PyTorch's compilers have the example's size alone.

    Args:
        model: in eval mode.
        example: ``[N, C, H, W]``; made ready for first.
        options: as for blocks; beyond ``memory_limit`` a new size is refused.
    """

    def __init__(self, model: nn.Module, example: torch.Tensor, options: Options) -> None:
        engines, fingerprint = Engines(options, warns=False), Fingerprint(contents_of(model))

        def weights() -> list[object]:
            contents = contents_of(model)
            if not fingerprint.matches(contents):
                expected = "the weights that it was optimized with; optimize the model again"
                raise InputError("x", "images of a new size, and the model's weights have changed", expected)
            return contents

        def build(example: torch.Tensor) -> FastModel | None:
            return engines.get(example, weights, lambda: model)

        try:
            first = build(example)
        except InputError as error:
            if error.argument != "x":
                raise
            raise type(error)("example_inputs", error.got, error.expected) from None
        # Every module gets one.
        assert first is not None
        super().__init__(first.engine, first.structure, options.backend, example.device, first.shared)
        self._engines = engines
        # A FastModel holds no module; functions may.
        self._make, self._limit = build, options.memory_limit
        self._sizes: dict[torch.Size, FastModel] = {}
        self._first = torch.zeros((), dtype=example.dtype, device=example.device)
        # Another network may have the key of the first engine, but not the other sizes.
        self.key = uuid.uuid4().hex
        ops.register(self)

    @property
    def memory(self) -> int:
        """Bytes that the engines of all sizes hold, what several of them share once."""
        return self._engines.memory

    def engine_for(self, x: torch.Tensor) -> FastModel | None:
        """The FastModel of another size than the example's; None where there is nothing to build for ``x``."""
        if not isinstance(x, torch.Tensor) or x.dim() != 4 or x.shape[1:] == self._shape or self.training:
            return None
        found = self._sizes.get(x.shape[1:])
        axis = 3 if self._channels_last else 1
        same_channels = x.shape[axis] == self._shape[axis - 1]
        if found is None and not is_traced() and same_channels and x.dtype in self._dtypes:
            found = self._make(self._first.expand(1, *x.shape[1:]))
            if found is None:
                expected = f"one of the sizes before it, or a larger memory_limit than {self._limit} bytes"
                raise InputError("x", f"shape {list(x.shape)}, for which there is no room", expected)
            self._sizes[x.shape[1:]] = found
        return found

    def forward(self, x: torch.Tensor, out: object = None) -> object:
        engine = self.engine_for(x)
        return super().forward(x, out) if engine is None else engine(x, out)

    def static(self, x: torch.Tensor, out: object = None) -> StaticCall:
        engine = self.engine_for(x)
        return super().static(x, out) if engine is None else engine.static(x, out)

    def run_checked(self, x: torch.Tensor) -> list[torch.Tensor]:
        engine = self.engine_for(x)
        return super().run_checked(x) if engine is None else engine.run_checked(x)

    def set_extra_state(self, state: object) -> None:
        super().set_extra_state(state)

        def refuse(example: torch.Tensor) -> FastModel | None:
            raise InputError(
                "x", f"shape {list(example.shape)}", f"[N, {', '.join(map(str, self._shape))}]: it was loaded"
            )

        self._make, self._sizes = refuse, {}
