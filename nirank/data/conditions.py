"""Conditions on the fields of documents, such as `year >= 2020 and lang == 'en'`: parsed, never executed.

What is understood: comparisons (`==`, `!=`, `<`, `<=`, `>`, `>=`, also chained), `in` and `not in` a list or, with a
text before it, a field; `is None` and `is not None`; `and`, `or`, `not`; numbers, texts, `True` and `False`. A field
whose name is no identifier is written `field('publication date')`.

A condition is computed over whole columns. A document without a value is neither equal nor unequal to anything, nor
greater nor less, so that no comparison lets it pass, nor its negation: Kleene's logic, as databases have it. NaN is no
value either.
"""

from __future__ import annotations

import ast
import io
import itertools
import keyword
import logging
import math
import re
import tokenize
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
#: What is written by mistake outside of quotation marks, and what to write.
_MISTAKEN = {
    r"(?<![=<>!])=(?!=)": "`==` asks whether two values are equal",
    r"===": "`==` asks whether two values are equal",
    r"<>": "`!=` asks whether two values differ",
    r"&|\|": "write `and` and `or`",
    r"(?i)\b(like|between)\b": "write `'text' in field`, and `1 <= field <= 2`",
    r"\b(AND|OR|NOT|IN|IS|NULL)\b": "write `and`, `or`, `not`, `in`, and `is None`",
}
#: Python's own words, of which no name is made.
_RESERVED = {*keyword.kwlist} - {"and", "or", "not", "in", "is", "None", "True", "False", "lambda", "if", "else"}
#: Masks that are kept for one corpus.
_MASKS = 16
_KEPT: weakref.WeakKeyDictionary[Any, dict[str, NDArray[np.bool_]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class _Column:
    """The values of a field, and their kind: number, text, truth value; None where no document has one."""

    name: str
    values: Any

    @property
    def kind(self) -> str | None:
        import pyarrow.types as types

        kind = self.values.type
        if types.is_null(kind):
            return None
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
            _refuse_joined(self.text)
        except BadInput:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = getattr(error, "msg", error)
            raise BadInput(f"{text!r:.200} is not a condition ({why}): {_advice(self.text)}.") from None

    def __repr__(self) -> str:
        return repr(self.text)

    def mask(self, corpus: Corpus) -> NDArray[np.bool_]:
        """The documents that fulfil it, `[documents]`. Raises `BadInput` where a field is missing or of another kind.

        The last few masks of a corpus are kept for as long as it is.
        """
        kept = _kept(corpus)
        mask = kept.get(self.text)
        if mask is None:
            mask = kept[self.text] = self._computed(corpus)
            for text in list(kept)[:-_MASKS]:  # other threads may do the same
                kept.pop(text, None)
        return mask

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


def _refuse_joined(text: str) -> None:
    """Raise `BadInput` for texts beside each other: Python joins them, and who writes SQL means a quotation mark."""
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.string.strip()]
    for one, two in itertools.pairwise(tokens):
        if one.type == two.type == tokenize.STRING:
            raise BadInput(
                f"{text!r:.200}, column {two.start[1] + 1}: two texts stand beside each other; a quotation mark within "
                'a text is written in the other kind of quotation marks: "it\'s".'
            )


def _advice(text: str) -> str:
    """The advice for a text that is no condition: a thing to write in its place."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)
    reserved = next((word for word in re.findall(r"\w+", bare) if word in _RESERVED), None)
    if reserved:
        return f"a field of this name is written field('{reserved}')"
    return next(
        (told for wrong, told in _MISTAKEN.items() if re.search(wrong, bare)), 'write one such as "year >= 2020"'
    )


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
        return self._call(_COMPARISONS[type(op)], *(_comparable(*values) if self.corpus is not None else values))

    def _operand(self, node: ast.expr, *columns: _Column | None) -> Any:
        """The values of a side; a number or a text must be of the kind of the other side's field."""
        own, kinds = self._column(node), set[str]()
        if self.corpus is not None:
            kinds = {column.kind for column in columns if column and column.kind}
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
        if not wanted:
            raise self._refused(node, "the list is empty")
        return _one_of(column.values, wanted) if self.corpus is not None else None

    def _literals(self, node: ast.expr, nodes: list[ast.expr], kind: str | None, columns: Any) -> Any:
        """Numbers, texts or truth values as Arrow has them; `kind` is what they must be."""
        values = [self._literal(each) for each in nodes]
        for value in values:
            own = "truth values" if isinstance(value, bool) else "texts" if isinstance(value, str) else "numbers"
            if kind and kind != own:
                name = next(column.name for column in columns if column)
                raise self._refused(node, f"the field {name!r} holds {kind}")
        return values

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
            self.columns[name] = _Column(name, None if self.corpus is None else _there(values_of(self.corpus, name)))
        return self.columns[name]

    def _of_kind(self, node: ast.expr, column: _Column, kind: str) -> _Column:
        if column.kind is None:
            return _Column(column.name, column.values.cast("bool" if kind == "truth values" else "large_string"))
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


def _there(values: Any) -> Any:
    """A column with null in the place of NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.nulls(1, values.type)[0], values)


def _comparable(left: Any, right: Any) -> tuple[Any, Any]:
    """Two sides, columns or literals of one kind, as Arrow compares them: whole numbers exactly, also beyond 2^53."""
    columns = [side for side in (left, right) if _is_column(side)]
    whole = all(str(column.type) == "int64" for column in columns)
    if all(map(_is_column, (left, right))):
        numbers = {str(left.type), str(right.type)} == {"int64", "double"}
        return (_fractional(left), _fractional(right)) if numbers else (left, right)
    literal = right if _is_column(left) else left
    if whole and isinstance(literal, float) and literal.is_integer():
        literal = int(literal)
    if whole and (isinstance(literal, float) or (_is_number(literal) and not -(2**63) <= literal < 2**63)):
        columns = [_fractional(columns[0])]
    if str(columns[0].type) == "double":
        literal = _nearest(literal)
    scalar = to_values([literal])[0]
    return (columns[0], scalar) if _is_column(left) else (scalar, columns[0])


def _one_of(values: Any, wanted: list[Any]) -> Any:
    """True where a value of a column is among some literals of its kind; null where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if str(values.type) == "int64":
        wanted = [int(each) for each in wanted if isinstance(each, int) or each.is_integer()]
        wanted = [each for each in wanted if -(2**63) <= each < 2**63]
    elif str(values.type) == "double":
        wanted = list(map(_nearest, wanted))
    elif pa.types.is_null(values.type):
        return values.cast(pa.bool_())
    found = pc.is_in(values, value_set=to_values(wanted).cast(values.type) if wanted else pa.nulls(0, values.type))
    return pc.if_else(pc.is_valid(values), found, pa.nulls(1, pa.bool_())[0])


def _is_column(side: Any) -> bool:
    return hasattr(side, "null_count")


def _is_number(literal: Any) -> bool:
    return isinstance(literal, (int, float)) and not isinstance(literal, bool)


def _fractional(column: Any) -> Any:
    """Numbers as float64, the nearest where one has more digits."""
    return column.cast("double", safe=False)


def _nearest(number: float) -> float:
    """The nearest number in float64."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
