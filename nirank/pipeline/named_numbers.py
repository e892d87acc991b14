"""Numbers of an expression that have names: weights of sums and fusions, depths of cuts.

"bm25 % depth >> weight * bm25 + (1 - weight) * minilm" with `depth` 100 and `weight` 0.25 is
"bm25 % 100 >> 0.25 * bm25 + 0.75 * minilm".
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

#: The table of an experiment that has them, and the owner's name in `numbers.weight`.
NUMBERS = "numbers"

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def with_numbers(text: str, numbers: Mapping[str, float]) -> str:
    """The expression with the numbers in the place of their names, and sums and products of numbers worked out.

    What cannot be parsed, or has no value, is left to `parse` to refuse.
    """
    if not numbers:
        return text
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return text
    return ast.unparse(_Numbers(numbers).visit(tree))


class _Numbers(ast.NodeTransformer):
    def __init__(self, numbers: Mapping[str, float]) -> None:
        self.numbers = numbers

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The number of a name that has one."""
        return ast.Constant(self.numbers[node.id]) if node.id in self.numbers else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """The value of two numbers and what stands between them."""
        self.generic_visit(node)
        match node:
            case ast.BinOp(ast.Constant(int() | float() as left), op, ast.Constant(int() | float() as right)):
                return _worked_out(node, left, op, right)
        return node


def _worked_out(node: ast.BinOp, left: float, op: ast.operator, right: float) -> ast.expr:
    try:
        value = _ARITHMETIC[type(op)](left, right)
    except (KeyError, ArithmeticError):
        return node
    return ast.Constant(value) if math.isfinite(value) else node
