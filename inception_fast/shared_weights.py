"""What the engines of one module have in common, whatever the size of their images."""

from __future__ import annotations

from dataclasses import replace

import torch

from inception_fast.backends.shared import Shared
from inception_fast.fast_model import FastModel
from inception_fast.graph.structure import OutputStructure
from inception_fast.plan.engine_file import EngineFile


class SharedWeights:
    """Constants that are the same in several engines, once, and what backends have made of them."""

    def __init__(self) -> None:
        self._constants: dict[tuple[str, str], torch.Tensor] = {}
        self._made = Shared()

    def fast_model(
        self, engine: EngineFile, structure: OutputStructure, backend: str, device: torch.device, part: str = ""
    ) -> FastModel:
        """The FastModel of an engine that holds what is new in it alone.

        Args:
            part: tells the engines of one part of the module from those of another, whose constants have other names.
        """
        known = self._constants
        alike = {name: _alike(known.setdefault((part, name), t), t) for name, t in engine.constants.items()}
        return FastModel(replace(engine, constants=alike), structure, backend, device, self._made)


def _alike(known: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """``known`` where it holds the same."""
    if known is tensor:
        return known
    same = known.dtype == tensor.dtype and known.shape == tensor.shape and torch.equal(known, tensor)
    return known if same else tensor
