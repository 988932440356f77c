"""Small changes of Python source, each of which changes what it computes or does nothing that anybody needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
UNCHANGED = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)
"""What is inside of these is words, or a type checker's."""


@dataclass(frozen=True)
class Mutation:
    """A change of one place.

    Attributes:
        line: of the original.
        what: as ``before -> after``.
        source: the whole changed module.
    """

    line: int
    what: str
    source: str


def mutations(source: str) -> Iterator[Mutation]:
    """Every mutation of a module, in the order of its lines."""
    places = sorted(_places(ast.parse(source)), key=lambda place: place[1])
    for index, line, count in places:
        for choice in range(count):
            # Nodes are replaced in place, so each mutation has a tree of its own.
            tree = ast.parse(source)
            parent, field, position, node = _children(tree)[index]
            changed = _variants(node)[choice]
            before, after = ast.unparse(node), ast.unparse(changed)
            if position is None:
                setattr(parent, field, changed)
            else:
                getattr(parent, field)[position] = changed
            if before != after:
                yield Mutation(
                    line, f"{_short(before)} -> {_short(after)}", ast.unparse(ast.fix_missing_locations(tree))
                )


def _places(tree: ast.Module) -> Iterator[tuple[int, int, int]]:
    """(index among :func:`_children`, line, number of variants) of every node that has some."""
    for index, (_, _, _, node) in enumerate(_children(tree)):
        if variants := _variants(node):
            place = node.target if isinstance(node, ast.comprehension) else node
            yield index, place.lineno, len(variants)  # type: ignore[attr-defined]


def _children(node: ast.AST) -> list[tuple[ast.AST, str, int | None, ast.AST]]:
    """(parent, field, position in it, node) of everything below a node that may be changed."""
    found: list[tuple[ast.AST, str, int | None, ast.AST]] = []
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
            continue
        many = isinstance(value, list)
        for position, child in enumerate(value if many else [value]):
            if isinstance(child, ast.AST) and not isinstance(child, UNCHANGED):
                found.append((node, field, position if many else None, child))
                found += _children(child)
    return found


def _variants(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.Compare(left, [op], [right]):
            return [ast.Compare(left, [COMPARISONS[type(op)]()], [right])]
        case ast.BoolOp(op, values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            dropped = [[v for v in values if v is not value] for value in values]
            return [ast.BoolOp(other, values), *(v[0] if len(v) == 1 else ast.BoolOp(op, v) for v in dropped)]
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            return [operand]
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            return [ast.BinOp(left, ARITHMETIC[type(op)](), right)]
        case ast.Constant(bool() as value):
            return [ast.Constant(not value)]
        case ast.Constant(int() | float() as value):
            return [ast.Constant(value + 1)]
        case ast.IfExp(test, body, orelse):
            return [ast.IfExp(test, orelse, body)]
        case ast.If(test, body, orelse):
            return [ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)]
        case ast.Tuple([first, second, *rest], ast.Load()) if ast.unparse(first) != ast.unparse(second):
            return [ast.Tuple([second, first, *rest], ast.Load())]
        case ast.comprehension(target, iterable, [_, *rest], asynchronous):
            return [ast.comprehension(target, iterable, rest, asynchronous)]
        case ast.Call(function, arguments, [_, *rest]):
            return [ast.Call(function, arguments, rest)]
    return []


def _short(text: str) -> str:
    first = text.splitlines()[0]
    return first if len(first) <= 70 else f"{first[:67]}..."
