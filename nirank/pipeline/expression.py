"""Pipelines written as text: parsed, never executed.

Only names, numbers, the operators `>> % + - * | & ^` and calls of the functions in `_FUNCTIONS` (`fuse`, `scores` and
others) are understood; anything else is refused with its place in the text.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from nirank.errors import BadInput, CompositionError, NirankError
from nirank.pipeline.algebra import Ranking, Scoring, Stage, concatenate, fuse, load
from nirank.pipeline.expanded import expanded
from nirank.pipeline.feature_ranking import features
from nirank.pipeline.filtering import where
from nirank.pipeline.functions import apply, describe_by, score_by
from nirank.pipeline.normalising import normalise
from nirank.pipeline.passages import passages
from nirank.pipeline.ranking_scores import scores
from nirank.pipeline.reranking import others, top
from nirank.pipeline.rewriting import rewrite, route, variants
from nirank.pipeline.sharding import sharded

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.RShift: operator.rshift,
    ast.Mod: operator.mod,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "expanded": expanded,
    "fuse": fuse,
    "concatenate": concatenate,
    "scores": scores,
    "features": features,
    "normalise": normalise,
    "others": others,
    "passages": passages,
    "top": top,
    "apply": apply,
    "describe_by": describe_by,
    "rewrite": rewrite,
    "route": route,
    "score_by": score_by,
    "sharded": sharded,
    "variants": variants,
    "where": where,
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
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._combine(node, operator.neg, self.read(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._combine(node, _OPERATORS[type(op)], self.read(left), self.read(right))
            case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
                return self._call(node, _FUNCTIONS[name])
        raise self._refused(node, f"only names, numbers, >> % + - * | & ^, {_CALLS} are understood")

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
        return self._combine(node, function, *map(self._argument, node.args), **settings)

    def _argument(self, node: ast.expr) -> Any:
        """A part of a pipeline; in the brackets of a function also a text, or a table of pipelines by name."""
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.Dict(keys=keys, values=values) if all(_is_text(key) for key in keys):
                return {ast.literal_eval(key): self.read(value) for key, value in zip(keys, values, strict=True) if key}
        return self.read(node)

    def _refused(self, node: ast.expr, why: str) -> BadInput:
        part = ast.get_source_segment(self.text, node) or ""
        return BadInput(f"{self.text!r}, column {node.col_offset + 1}: {part!r} is refused: {why}.")


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
