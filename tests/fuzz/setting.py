"""How a network is run, and a network made ready for that."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from inception_fast.backends import Executor, get_backend
from inception_fast.backends.cpu import CpuExecutor
from inception_fast.graph.ir import Graph
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.lowering.sensitivity import sensitivities
from inception_fast.plan.engine_file import PRECISIONS
from inception_fast.plan.plan import Plan
from inception_fast.quantization import calibrate, quantize
from tests.backends.harness import poison
from tests.fuzz.as_graph import as_graph
from tests.fuzz.description import Network
from tests.fuzz.module import module

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """On what networks are run, and what is asked of the results.

    Attributes:
        isa: the instruction set of ``cpu``, '' for its own choice.
        threads: of ``cpu``.
        captured: through ``optimize`` and the module in place of the Graph made beside it.
        invariant: the backend is asked for results that do not depend on the batch; ``cpu`` always is.
        factor: what the promised bound is multiplied by.
    """

    backend: str = "cpu"
    precision: str = "fp32"
    isa: str = ""
    threads: int = 1
    captured: bool = False
    invariant: bool = False
    factor: float = 1.0

    def __str__(self) -> str:
        return " ".join(f"{f.name}={v}" for f in fields(self) if (v := getattr(self, f.name)) != f.default)

    @property
    def quantized(self) -> bool:
        return self.precision == "int8"


@dataclass(frozen=True)
class Ready:
    """A network lowered for a setting; ``x`` is in the Plan's dtype, ``net`` is the module in float32."""

    setting: Setting
    net: nn.Module
    graph: Graph
    plan: Plan
    constants: dict[str, Tensor]
    x: Tensor

    def executor(self, algorithm: str = "") -> Executor:
        """The backend's; ``algorithm`` is for ``cpu``."""
        s = self.setting
        if s.backend == "cpu":
            return CpuExecutor(self.plan, self.constants, s.isa or None, s.threads, algorithm)
        options = {"precision": s.precision, "batch_invariant": s.invariant}
        return get_backend(s.backend).compile(self.plan, self.constants, device=CPU, **options)

    def reference(self) -> Executor:
        return get_backend("reference").compile(self.plan, self.constants, device=CPU, precision=self.setting.precision)

    def run(self, executor: Executor, x: Tensor | None = None) -> list[Tensor]:
        """The outputs in the Graph's shapes; the executor has seen NaN before, so what it left in its memory shows."""
        x = self.x if x is None else x
        executor.run(poison(x))
        shapes = [self.graph.shapes[name] for name in self.graph.outputs]
        return [t.flatten(1) if len(s) == 1 else t for s, t in zip(shapes, executor.run(x), strict=True)]


def ready(network: Network, setting: Setting) -> Ready:
    """Everything but the executor."""
    net, x = module(network)
    lowering = get_backend(setting.backend).lowering
    if setting.quantized:
        lowering = lowering.quantized
    original = as_graph(network, net)
    graph, _ = optimize_graph(original, lowering)
    dtype = PRECISIONS["fp32" if setting.quantized else setting.precision]
    if setting.quantized:
        plan, constants = lower(graph, dtype)
        plan, constants = quantize(plan, constants, calibrate(plan, constants, x))
    elif setting.backend == "cpu":
        plan, constants = lower(graph, dtype, sensitivities(original, graph, getattr(torch, dtype)))
    else:
        # Nothing there adds rounding.
        plan, constants = lower(graph, dtype)
    return Ready(setting, net, graph, plan, constants, x.to(getattr(torch, plan.input_dtype)))
