"""How many tensors the description of a model's outputs asks for; ``csrc/plan/structure.cpp`` counts the same."""

from __future__ import annotations

from inception_fast.errors import EngineFileError

CONTAINERS = ("tuple", "list", "dict", "ordered_dict", "namedtuple")


def tensors_in(structure: object) -> int:
    """The tensors of a description: a tree of ``{"kind": "tensor"}``, ``{"kind": "constant"}``, and containers with
    ``items``. What else the nodes have matters to whoever builds the containers alone.

    Raises:
        EngineFileError: a node is none of these.
    """
    kind = structure.get("kind") if isinstance(structure, dict) else None
    if kind == "tensor":
        return 1
    if kind == "constant":
        return 0
    items = structure.get("items") if isinstance(structure, dict) else None
    if kind not in CONTAINERS or not isinstance(items, list):
        raise EngineFileError(f"metadata.structure: got a node {str(structure)[:40]!a}, expected a kind and its items")
    return sum(map(tensors_in, items))
