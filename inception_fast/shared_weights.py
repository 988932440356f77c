"""What the engines of one module have in common, whatever the size of their images."""

from __future__ import annotations

from dataclasses import replace

import torch

from inception_fast.backends.shared import Shared
from inception_fast.fast_model import FastModel
from inception_fast.graph.structure import OutputStructure
from inception_fast.plan.engine_file import EngineFile
from inception_fast.tensors import holds_the_same


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
        first = {name: known.setdefault((part, name), t) for name, t in engine.constants.items()}
        alike = {name: first[name] if holds_the_same(first[name], t) else t for name, t in engine.constants.items()}
        return FastModel(replace(engine, constants=alike), structure, backend, device, self._made)
