"""Conditions on the fields of documents, such as `year >= 2020 and lang == 'en'`: parsed, never executed.

What is understood: comparisons (`==`, `!=`, `<`, `<=`, `>`, `>=`, also chained), `in` and `not in` a list or, with a
text before it, a field; `is None` and `is not None`; `and`, `or`, `not`; numbers, texts, `True` and `False`. A field
whose name is no identifier is written `field('publication date')`.

A condition is computed over whole columns. A document without a value is neither equal nor unequal to anything, nor
greater nor less, so that no comparison lets it pass, nor its negation: Kleene's logic, as databases have it.
"""

from __future__ import annotations

import ast
import logging
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.attributes import to_mask, to_values
from nirank.data.corpus import values_of
from nirank.errors import BadInput

if TYPE_CHECKING:
    from nirank.data.types import Corpus

log = logging.getLogger("nirank")

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
_UNDERSTOOD = "fields, numbers, texts, comparisons, `in`, `is None`, `and`, `or` and `not` are understood"
#: Masks that are kept for one corpus.
_MASKS = 16
_KEPT: weakref.WeakKeyDictionary[Any, dict[str, NDArray[np.bool_]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class _Column:
    """The values of a field, and their kind: number, text, truth value."""

    name: str
    values: Any

    @property
    def kind(self) -> str:
        import pyarrow.types as types

        kind = self.values.type
        if types.is_boolean(kind):
            return "truth values"
        return "texts" if types.is_large_string(kind) or types.is_string(kind) else "numbers"


class Condition:
    """A condition in words. Raises `BadInput`, with the place, for what is none."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        try:
            self._tree = ast.parse(self.text, mode="eval").body
            _Reader(self.text, None).truth(self._tree)
        except BadInput:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise BadInput(f'{text!r:.200} is not a condition ({error}); write one such as "year >= 2020".') from None

    def __repr__(self) -> str:
        return repr(self.text)

    def mask(self, corpus: Corpus) -> NDArray[np.bool_]:
        """The documents that fulfil it, `[documents]`. Raises `BadInput` where a field is missing or of another kind.

        The last few masks of a corpus are kept for as long as it is.
        """
        kept = _kept(corpus)
        if self.text not in kept:
            while len(kept) >= _MASKS:
                kept.pop(next(iter(kept)))
            kept[self.text] = self._computed(corpus)
        return kept[self.text]

    def _computed(self, corpus: Corpus) -> NDArray[np.bool_]:
        if not callable(getattr(corpus, "values", None)):
            raise BadInput(f"{corpus!r} has no fields, and so nothing that where({self!r}) could ask for.")
        reader = _Reader(self.text, corpus)
        mask = to_mask(reader.truth(self._tree))
        for name, column in reader.columns.items():
            if column.values.null_count:
                log.info("%d of %d documents have no %r.", column.values.null_count, len(mask), name)
        mask.flags.writeable = False
        return mask


def _kept(corpus: Any) -> dict[str, NDArray[np.bool_]]:
    """The masks of a corpus; of one that cannot be told from others, none."""
    try:
        return _KEPT.setdefault(corpus, {})
    except TypeError:
        return {}


class _Reader:
    """Reads a tree; without a corpus it only says whether it is understood."""

    def __init__(self, text: str, corpus: Any) -> None:
        self.text, self.corpus = text, corpus
        self.columns: dict[str, _Column] = {}

    def truth(self, node: ast.expr) -> Any:
        """A column of true, false and null; None without a corpus."""
        match node:
            case ast.BoolOp(op=op, values=values):
                name = "and_kleene" if isinstance(op, ast.And) else "or_kleene"
                return self._all(name, map(self.truth, values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._call("invert", self.truth(operand))
            case ast.Compare():
                return self._all("and_kleene", self._comparisons(node))
        column = self._column(node)
        if column is None:
            raise self._refused(node)
        return self._of_kind(node, column, "truth values").values if self.corpus is not None else None

    def _comparisons(self, node: ast.Compare) -> Iterator[Any]:
        operands = [node.left, *node.comparators]
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            yield self._compared(node, left, op, right)

    def _compared(self, node: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Any:
        match op:
            case ast.Is() | ast.IsNot():
                return self._is_none(node, left, right, isinstance(op, ast.Is))
            case ast.In() | ast.NotIn():
                found = self._within(node, left, right)
                return found if isinstance(op, ast.In) else self._call("invert", found)
        columns = self._column(left), self._column(right)
        if columns == (None, None):
            raise self._refused(node, "no field is compared")
        values = [self._operand(side, *columns) for side in (left, right)]
        return self._call(_COMPARISONS[type(op)], *values)

    def _operand(self, node: ast.expr, *columns: _Column | None) -> Any:
        """The values of a side; a number or a text must be of the kind of the other side's field."""
        own, kinds = self._column(node), {column.kind for column in columns if column and self.corpus is not None}
        if len(kinds) > 1:
            raise self._refused(node, f"{' and '.join(sorted(kinds))} are compared")
        return own.values if own else self._literals(node, [node], next(iter(kinds), None), columns)[0]

    def _is_none(self, node: ast.expr, left: ast.expr, right: ast.expr, wanted: bool) -> Any:
        column = self._column(left)
        if column is None or not (isinstance(right, ast.Constant) and right.value is None):
            raise self._refused(node, "`is` asks whether a field has no value: `year is None`")
        return self._call("is_null" if wanted else "is_valid", column.values)

    def _within(self, node: ast.expr, left: ast.expr, right: ast.expr) -> Any:
        """A field that is one of a list, or a text that occurs in a field."""
        column = self._column(left)
        if column is not None and isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            return self._is_in(right, column, right.elts)
        held = self._column(right)
        if held is None or not (isinstance(left, ast.Constant) and isinstance(left.value, str)):
            raise self._refused(node, "`in` follows a field and a list, or a text and a field")
        if self.corpus is None:
            return None
        return self._call("match_substring", self._of_kind(right, held, "texts").values, left.value)

    def _is_in(self, node: ast.expr, column: _Column, literals: list[ast.expr]) -> Any:
        kind = column.kind if self.corpus is not None else None
        wanted = self._literals(node, literals, kind, (column,))
        equal = [self._call("equal", column.values, each) for each in wanted]
        if not equal:
            raise self._refused(node, "the list is empty")
        return self._all("or_kleene", equal)

    def _literals(self, node: ast.expr, nodes: list[ast.expr], kind: str | None, columns: Any) -> Any:
        """Numbers, texts or truth values as Arrow has them; `kind` is what they must be."""
        values = [self._literal(each) for each in nodes]
        for value in values:
            own = "truth values" if isinstance(value, bool) else "texts" if isinstance(value, str) else "numbers"
            if kind and kind != own:
                name = next(column.name for column in columns if column)
                raise self._refused(node, f"the field {name!r} holds {kind}")
        return [to_values([value])[0] for value in values] if self.corpus is not None else values

    def _literal(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=str() | bool() | int() | float() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
                value, bool
            ):
                return -value
            case ast.Constant(value=None):
                raise self._refused(node, "a missing value is asked for by `is None` or `is not None`")
        raise self._refused(node)

    def _column(self, node: ast.expr) -> _Column | None:
        """The field that a name stands for; None for anything else."""
        match node:
            case ast.Name(id=name):
                pass
            case ast.Call(func=ast.Name(id="field"), args=[ast.Constant(value=str() as name)], keywords=[]):
                pass
            case _:
                return None
        if name not in self.columns:
            self.columns[name] = _Column(name, None if self.corpus is None else values_of(self.corpus, name))
        return self.columns[name]

    def _of_kind(self, node: ast.expr, column: _Column, kind: str) -> _Column:
        if column.kind != kind:
            raise self._refused(node, f"the field {column.name!r} holds {column.kind}, not {kind}")
        return column

    def _all(self, name: str, parts: Any) -> Any:
        return reduce(lambda left, right: self._call(name, left, right), parts)

    def _call(self, name: str, *values: Any) -> Any:
        """A function of Arrow over columns; None without a corpus."""
        if self.corpus is None:
            return None
        import pyarrow.compute as pc

        function: Callable[..., Any] = getattr(pc, name)
        return function(*values)

    def _refused(self, node: ast.expr, why: str = f"only {_UNDERSTOOD}") -> BadInput:
        part = ast.get_source_segment(self.text, node) or ""
        return BadInput(f"{self.text!r}, column {node.col_offset + 1}: {part!r} is refused: {why}.")
