"""A Graph while a pass rewrites it.

Passes walk the nodes of the old graph once, in topological order, and keep one rule: **a value that keeps its name
keeps its meaning**. A node that swallows its producer is therefore stored under its own name, and the producer dies
for want of readers. Two things follow: the readers of a surviving value are those that the old graph lists, so
privacy is asked of the old graph; and any value that two stages of the pipeline share can be compared between them.
"""

from __future__ import annotations

import torch

from inception_fast.graph import ir
from inception_fast.graph.rewrite import fresh_name, rebuild


class Edit:
    """The nodes, names and parameters of ``old`` plus what a pass has changed so far.

    Attributes:
        old: the graph being rewritten.
        nodes: current nodes by name.
    """

    def __init__(self, old: ir.Graph) -> None:
        self.old = old
        self.nodes = dict(old.by_name)
        self._params: dict[str, torch.Tensor] = {}
        self._rename: dict[str, str] = {}

    def producer(self, value: str) -> ir.Node:
        """The node that defines ``value`` now."""
        while value in self._rename:
            value = self._rename[value]
        return self.nodes[value]

    def put(self, name: str, op: ir.Operation, inputs: tuple[str, ...], origin: str) -> str:
        """Defines ``name``, replacing its node where it has one."""
        self.nodes[name] = ir.Node(name, op, inputs, origin)
        return name

    def alias(self, name: str, value: str) -> None:
        """Makes every reader of ``name`` read ``value``, which must be equal to it."""
        self._rename[name] = value

    def fresh(self, base: str) -> str:
        """A value name that is not taken yet."""
        return fresh_name(base, self.nodes)

    def param(self, name: str) -> torch.Tensor:
        """A parameter in float64."""
        return (self._params[name] if name in self._params else self.old.params[name]).detach().double()

    def add_param(self, base: str, value: torch.Tensor) -> str:
        """Stores a parameter under ``base`` or a free name like it, which is returned."""
        name = fresh_name(base, self.old.params.keys() | self._params.keys())
        self._params[name] = value
        return name

    def finish(self) -> ir.Graph:
        """The new graph, without what no output needs."""
        return rebuild(self.old, self.nodes.values(), rename=self._rename, params=self._params)


def join_origins(origins: list[str]) -> str:
    """One origin for a node made of several: ``block.{branch0.conv, branch1.conv}``."""
    unique = list(dict.fromkeys(o for o in origins if o))
    if len(unique) < 2:
        return "".join(unique)
    paths = [o.split(".") for o in unique]
    shared = 0
    while all(len(p) > shared + 1 for p in paths) and len({p[shared] for p in paths}) == 1:
        shared += 1
    tails = "{" + ", ".join(".".join(p[shared:]) for p in paths) + "}"
    return ".".join([*paths[0][:shared], tails])
