"""Small changes of Python source, each of which changes what it computes or does nothing that anybody needs."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

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
        name: as ``function: before -> after``, the second of the same name with ``#2`` behind it.
        original: the module's source.
        place, choice: which of its nodes, and which of that node's variants.
    """

    line: int
    name: str
    original: str = field(repr=False)
    place: int
    choice: int

    @property
    def tree(self) -> ast.Module:
        """The whole changed module, on the original's lines."""
        tree = ast.parse(self.original)
        place = _places(tree)[self.place]
        place.put(_variants(place.node)[self.choice])
        return ast.fix_missing_locations(tree)

    @property
    def source(self) -> str:
        return ast.unparse(self.tree)


@dataclass(frozen=True)
class _Place:
    """Where a node is: a field of its parent, a position in it if it is a list; ``scope`` is the function around it."""

    parent: ast.AST
    field: str
    position: int | None
    node: ast.AST
    scope: str

    def put(self, changed: ast.AST) -> None:
        if self.position is None:
            setattr(self.parent, self.field, changed)
        else:
            getattr(self.parent, self.field)[self.position] = changed

    @property
    def line(self) -> int:
        node = self.node.target if isinstance(self.node, ast.comprehension) else self.node
        return node.lineno  # type: ignore[attr-defined,no-any-return]


def mutations(source: str) -> Iterator[Mutation]:
    """Every mutation of a module, in the order of its lines."""
    seen: Counter[str] = Counter()
    places = enumerate(_places(ast.parse(source)))
    for index, place in sorted(((i, p) for i, p in places if _variants(p.node)), key=lambda found: found[1].line):
        before = ast.unparse(place.node)
        for choice, variant in enumerate(_variants(place.node)):
            after = ast.unparse(variant)
            if after == before:
                continue
            name = f"{place.scope}: {_short(before)} -> {_short(after)}"
            seen[name] += 1
            yield Mutation(place.line, name if seen[name] == 1 else f"{name} #{seen[name]}", source, index, choice)


def _places(node: ast.AST, scope: str = "") -> list[_Place]:
    """Everything below a node that may be changed."""
    found: list[_Place] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        scope = f"{scope}.{node.name}" if scope else node.name
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
            continue
        many = isinstance(value, list)
        for position, child in enumerate(value if many else [value]):
            if isinstance(child, ast.AST) and not isinstance(child, UNCHANGED) and not _asserts(child):
                found.append(_Place(node, name, position if many else None, child, scope))
                found += _places(child, scope)
    return found


def _asserts(node: ast.AST) -> bool:
    """Whether a node is the ``strict=True`` of ``zip``: an assertion that its arguments are of one length."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


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
        case ast.Call(function, arguments, [first, *rest]) if not _asserts(first):
            return [ast.Call(function, arguments, rest)]
    return []


def _short(text: str) -> str:
    first = text.splitlines()[0]
    return first if len(first) <= 70 else f"{first[:67]}..."
