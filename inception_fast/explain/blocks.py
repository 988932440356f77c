"""The blocks of a network, found in its Plan alone: between two of them a single buffer is alive."""

from __future__ import annotations

from dataclasses import dataclass

from inception_fast.explain.labels import common_name
from inception_fast.plan.plan import Plan, destinations_of, sources_of


@dataclass(frozen=True)
class Block:
    """A run of steps with one buffer before it and, unless it is the last, one behind it.

    Attributes:
        steps: their indices.
        source: index of the buffer that it starts from.
        chain: each step reads what the one before it wrote, and nothing else.
    """

    title: str
    steps: tuple[int, ...]
    source: int
    chain: bool


def find_blocks(plan: Plan) -> list[Block]:
    """The blocks in order; steps in a row that do not branch are one."""
    blocks: list[list[int]] = []
    chains: list[bool] = []
    begin = 0
    for index in range(len(plan.steps)):
        if not _is_boundary(plan, index):
            continue
        members = list(range(begin, index + 1))
        begin = index + 1
        single = len(members) == 1
        if single and chains and chains[-1]:
            blocks[-1] += members
        else:
            blocks.append(members)
            chains.append(single)
    return [
        Block(
            common_name([plan.steps[i].name for i in members]),
            tuple(members),
            plan.steps[members[0]].source.buffer,
            chain,
        )
        for members, chain in zip(blocks, chains, strict=True)
    ]


def _is_boundary(plan: Plan, index: int) -> bool:
    """Whether a single finished buffer is all that the steps after ``index`` need of those up to it."""
    if index == len(plan.steps) - 1:
        return True
    done, later = plan.steps[: index + 1], plan.steps[index + 1 :]
    written = {plan.input, *(d.slice.buffer for step in done for d in destinations_of(step))}
    unfinished = written & {d.slice.buffer for step in later for d in destinations_of(step)}
    needed = written & {piece.buffer for step in later for piece in sources_of(step)}
    return not unfinished and len(needed) == 1
