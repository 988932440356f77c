"""A network that was prepared once, of which Plans are made for images of many sizes.

Passes and lowering compute new constants from a network's parameters, which takes most of their time. Neither looks at
an image's size but to see which extents inside the network are alike and which are larger, and which windows lie in the
image. Where a further size gives the same answers, its Plan follows from the prepared Graph without its values, and its
constants are those of the size before.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

import torch

from inception_fast.errors import InputError
from inception_fast.graph import ir
from inception_fast.graph.passes import Stage, report_passes
from inception_fast.graph.report import PassReport
from inception_fast.lowering.lower import Lowered, lowered
from inception_fast.lowering.sensitivity import MeasuredBefore, measured_size
from inception_fast.plan.plan import Plan, Sensitivity
from inception_fast.tensors import digest, holds_the_same

MOST_TEMPLATES = 8
"""Of one module; several where sizes round weights otherwise, or decide which operators it calls."""


@dataclass(frozen=True)
class Template:
    """See the module.

    Attributes:
        start: the Graph that the passes began with, of parameters without values, as in ``stages``.
        stages: what each pass made of it.
        sensitivities: of the convolutions.
        found: what the last of them was lowered to.
    """

    start: ir.Graph
    stages: tuple[Stage, ...]
    sensitivities: Mapping[str, Sensitivity]
    found: Lowered

    @classmethod
    def of(
        cls, start: ir.Graph, stages: tuple[Stage, ...], sensitivities: Mapping[str, Sensitivity], found: Lowered
    ) -> Template:
        """The template of a network that was lowered."""
        bare = tuple(Stage(s.name, _without_values(s.graph), s.left_alone) for s in stages)
        return cls(_without_values(start), bare, sensitivities, found)

    def at(self, height: int, width: int) -> tuple[Plan, tuple[PassReport, ...]] | None:
        """The Plan for another size and the reports of its passes; None where they might have decided otherwise, or
        more rounding might reach the outputs.
        """
        if measured_size(height, width) != measured_size(*self._size):
            return None
        try:
            start = self.start.at(height, width)
            stages = tuple(Stage(s.name, s.graph.at(height, width), s.left_alone) for s in self.stages)
            if _order(start) != _order(self.start):
                return None
            if any(_order(a.graph) != _order(b.graph) for a, b in zip(stages, self.stages, strict=True)):
                return None
        except InputError:
            return None
        again = lowered(stages[-1].graph, self.found.plan.dtype, self.sensitivities)
        if again.plan.constants != self.found.plan.constants or again.balanced != self.found.balanced:
            return None
        return again.plan, report_passes(start, stages)

    @property
    def _size(self) -> tuple[int, int]:
        assert isinstance(self.start.input.op, ir.Input)
        _, height, width = self.start.input.op.shape
        return height, width


class Known:
    """What is left of making engines of one module, for those to come.

    Attributes:
        measured: see :func:`inception_fast.lowering.sensitivity.sensitivities`.
    """

    def __init__(self) -> None:
        self.measured: MeasuredBefore = {}
        self._templates: list[tuple[Hashable, Template]] = []

    def __len__(self) -> int:
        """Templates that are kept."""
        return len(self._templates)

    def at(self, key: Hashable, height: int, width: int) -> tuple[Template, Plan, tuple[PassReport, ...]] | None:
        """A template that was kept under ``key``, with what it gives for a size; None where none does."""
        for kept, template in self._templates:
            if kept == key and (found := template.at(height, width)):
                return template, *found
        return None

    def keep(self, key: Hashable, template: Template) -> Lowered:
        """Keeps a template, with constants that another one has where they hold the same; what it was lowered to."""
        constants = dict(template.found.constants)
        for _, other in self._templates:
            for name, tensor in other.found.constants.items():
                if name in constants and holds_the_same(constants[name], tensor):
                    constants[name] = tensor
        found = replace(template.found, constants=constants)
        self._templates = [*self._templates, (key, replace(template, found=found))][-MOST_TEMPLATES:]
        return found


def network_key(graph: ir.Graph) -> bytes:
    """Tells networks apart, their parameters with them, that differ in more than the size of their images."""
    return digest((graph.at(0, 0).nodes, graph.outputs), graph.params)


def _without_values(graph: ir.Graph) -> ir.Graph:
    params = {name: torch.empty_like(p, device="meta") for name, p in graph.params.items()}
    return ir.Graph(graph.nodes, graph.outputs, params)


def _order(graph: ir.Graph) -> tuple[list[int], ...]:
    """Of all images in a network, their heights and widths by rank."""
    images = [shape for shape in graph.shapes.values() if len(shape) == 3]
    ranks = []
    for axis in (1, 2):
        # Of one pixel less is asked in places.
        rank = {extent: place for place, extent in enumerate(sorted({1, *(shape[axis] for shape in images)}))}
        ranks.append([rank[shape[axis]] for shape in images])
    return tuple(ranks)
