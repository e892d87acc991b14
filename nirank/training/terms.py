"""Sums of losses or of samplers as text: `0.5 * margin_mse + softmax_cross_entropy(gamma=20.0)`.

The text is parsed and never executed. A term is a name, perhaps with settings in brackets. What stands there without a
name is the component's first setting: a plain value, or else an expression that is kept as text, as in
`in_batch + mined(bm25 % 50, negatives=4)`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nirank.build import build
from nirank.component import Component
from nirank.errors import BadInput
from nirank.plugins.loading import active


@dataclass(frozen=True)
class Term:
    """One term of a sum: the name of a component, its settings, the number before it."""

    use: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    def build(self, kind: str) -> Component:
        """The component; raises as `nirank.build` does."""
        return build(self.use, self.settings, kinds=(kind,))


def is_sum(text: str) -> bool:
    """True for what is more than the name of a component."""
    return any(sign in text for sign in "+*(")


def parse(text: str, kind: str) -> list[Term]:
    """The terms of a sum of components of one kind. Raises `BadInput` for anything else, with its place."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadInput(f"{text!r:.200} is no sum of components of the kind {kind}: {error}.") from None
    return list(_Reader(text.strip(), kind).terms(tree.body))


class _Reader:
    def __init__(self, text: str, kind: str) -> None:
        self.text, self.kind = text, kind

    def terms(self, node: ast.expr) -> Iterator[Term]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield from self.terms(node.left)
            node = node.right
        yield self._term(node)

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.Name(id=name):
                return Term(name)
            case ast.Call(func=ast.Name(id=name)):
                return Term(name, self._settings(name, node))
            case ast.BinOp(left=ast.Constant(value=int() | float() as weight), op=ast.Mult(), right=right):
                return self._weighted(weight, right)
            case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int() | float() as weight)):
                return self._weighted(weight, left)
        part = ast.get_source_segment(self.text, node) or ""
        raise BadInput(f"{self.text!r}: {part!r} is refused; a {self.kind}, or a number times one, is expected.")

    def _weighted(self, weight: float, node: ast.expr) -> Term:
        inner = self._term(node)
        return Term(inner.use, inner.settings, weight * inner.weight)

    def _settings(self, name: str, node: ast.Call) -> dict[str, Any]:
        if len(node.args) > 1 or any(keyword.arg is None for keyword in node.keywords):
            raise BadInput(f"{self.text!r}: {name} takes one setting without a name; write the others as NAME=VALUE.")
        named = {str(keyword.arg): self._value(keyword.value) for keyword in node.keywords}
        if not node.args:
            return named
        factory = active().registry.find(name, (self.kind,)).resolve()
        first = next(iter(inspect.signature(factory).parameters))
        if first in named:
            raise BadInput(f"{self.text!r}: {name} has {first} twice, with and without its name.")
        return {first: self._value(node.args[0]), **named}

    def _value(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            return ast.get_source_segment(self.text, node)


def of_table(table: Mapping[str, Any]) -> Term:
    """A term as a table: `use`, the settings, and perhaps `weight`. Raises `BadInput` for a table without a name."""
    settings = dict(table)
    if not isinstance(settings.get("use"), str):
        raise BadInput(f'a part is a name, or a table with `use = "NAME"` and its settings, not {table!r:.80}.')
    weight = settings.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise BadInput(f"weight = {weight!r} of {settings['use']} is not a number.")
    return Term(settings.pop("use"), settings, float(weight))
