"""Pipelines written as text: parsed, never executed.

Only names, numbers, the operators `>> % + * |` and calls of the functions in `_FUNCTIONS` are understood; anything else
is refused with its place in the text.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from nirank.errors import BadInput, CompositionError, NirankError
from nirank.pipeline.algebra import Ranking, Scoring, Stage, fuse, load
from nirank.pipeline.expanded import expanded
from nirank.pipeline.feature_ranking import features
from nirank.pipeline.passages import passages
from nirank.pipeline.reranking import others, top

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.RShift: operator.rshift,
    ast.Mod: operator.mod,
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.BitOr: operator.or_,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "expanded": expanded,
    "fuse": fuse,
    "features": features,
    "others": others,
    "passages": passages,
    "top": top,
}
_CALLS = " and ".join(f"{name}(...)" for name in _FUNCTIONS)


def parse(text: str, parts: Mapping[str, Stage] | None = None) -> Ranking | Scoring:
    """The pipeline that `text` describes; the inverse of `repr`.

    A name is looked up in `parts`, then among the registered components, built with their defaults; one name
    is one component, however often it occurs. Raises `BadInput` for what is no expression of this kind,
    `UnknownName` for a name that is not registered, `CompositionError` where stages do not fit.
    """
    if not isinstance(text, str):
        raise BadInput(f"an expression is a text such as 'bm25 % 100 >> minilm', not {text!r:.80}.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"{text!r} is not an expression: {error}.") from None
    value = _Reader(text.strip(), dict(parts or {})).read(tree.body)
    if not isinstance(value, (Ranking, Scoring)):
        raise BadInput(f"{text!r} is not a pipeline; write one such as 'bm25 % 100 >> minilm'.")
    return value


class _Reader:
    def __init__(self, text: str, parts: dict[str, Stage]) -> None:
        self.text, self.parts = text, parts

    def read(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return self._part(name)
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return number
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -number
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._combine(node, _OPERATORS[type(op)], self.read(left), self.read(right))
            case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
                return self._call(node, _FUNCTIONS[name])
        raise self._refused(node, f"only names, numbers, >> % + * |, {_CALLS} are understood")

    def _part(self, name: str) -> Stage:
        if name not in self.parts:
            self.parts[name] = load(name)
        return self.parts[name]

    def _combine(self, node: ast.expr, function: Callable[..., Any], /, *values: Any, **settings: Any) -> Any:
        try:
            return function(*values, **settings)
        except NirankError as error:
            error.add_note(f"in the expression {ast.get_source_segment(self.text, node)!r}")
            raise
        # Python's own errors: `0.3 + bm25`, `9 % 0`, `fuse(bm25)`.
        except (TypeError, ValueError, ArithmeticError) as error:
            raise CompositionError(str(self._refused(node, str(error)))) from error

    def _call(self, node: ast.Call, function: Callable[..., Any]) -> Any:
        settings = {}
        for keyword in node.keywords:
            try:
                settings[str(keyword.arg)] = ast.literal_eval(keyword.value)
            except (ValueError, TypeError):
                raise self._refused(keyword.value, "a setting must be a plain value (number, text, list)") from None
        return self._combine(node, function, *map(self.read, node.args), **settings)

    def _refused(self, node: ast.expr, why: str) -> BadInput:
        part = ast.get_source_segment(self.text, node) or ""
        return BadInput(f"{self.text!r}, column {node.col_offset + 1}: {part!r} is refused: {why}.")
