"""The expressions of `compare --where`: comparisons joined by and, or, not. Nothing in them is ever executed.

`optimizer.learning_rate<1e-3 and status==finished`, `loss.name in (hinge, least_squares)`, `not name=='try 1'`.
A name that is no key stands for itself, as text.
"""

import ast
import difflib
import operator
from collections.abc import Callable, Collection
from typing import Any

Lookup = Callable[[str], Any]  # a key -> its value in one run; null where it has none
Test = Callable[[Lookup], bool]

MOST_CHARACTERS = 2000
CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


class ExpressionError(ValueError):
    """An expression that can't be used. Its text is one line."""


def parse(text: str, keys: Collection[str]) -> Test:
    """A test of one run, from text over the keys that the runs have. Raises ExpressionError."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"the expression has {len(text)} characters, more than {MOST_CHARACTERS}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        told = getattr(error, "msg", None) or str(error)
        raise ExpressionError(f"{text!r} is no expression: {told}; quote text that holds more than a name") from error
    return _test(tree.body, keys)


def names(text: str) -> set[str]:
    """The dotted names in an expression, keys or not; empty where it can't be parsed."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {dotted for node in ast.walk(tree) if (dotted := _dotted(node)) is not None}


def _test(node: ast.expr, keys: Collection[str]) -> Test:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            tests = [_test(part, keys) for part in parts]
            return lambda lookup: all(test(lookup) for test in tests)
        case ast.BoolOp(op=ast.Or(), values=parts):
            tests = [_test(part, keys) for part in parts]
            return lambda lookup: any(test(lookup) for test in tests)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _test(operand, keys)
            return lambda lookup: not inner(lookup)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            operands = [left, *comparators]
            links = [_comparison(type(op), operands[i], operands[i + 1], keys) for i, op in enumerate(ops)]
            return lambda lookup: all(link(lookup) for link in links)
    raise ExpressionError(f"{ast.unparse(node)[:80]!r} is no comparison, such as status==finished")


def _comparison(kind: type[ast.cmpop], left: ast.expr, right: ast.expr, keys: Collection[str]) -> Test:
    if kind not in ORDERS:
        raise ExpressionError("comparisons are < <= > >= == != in, not in")
    sides = [_dotted(left), _dotted(right)]
    if not any(side in keys for side in sides):
        unknown = next((side for side in sides if side), ast.unparse(left)[:80])
        near = difflib.get_close_matches(unknown, keys, n=1, cutoff=0.5)
        raise ExpressionError(f"no run has the key {unknown}" + (f"; did you mean {near[0]}?" if near else ""))
    get_left, get_right = _value(left, keys), _value(right, keys)
    return lambda lookup: _holds(kind, get_left(lookup), get_right(lookup))


def _holds(kind: type[ast.cmpop], left: Any, right: Any) -> bool:
    try:
        return bool(ORDERS[kind](left, right))
    except TypeError:  # text against a number, or a run without the key: not so
        return False


def _value(node: ast.expr, keys: Collection[str]) -> Callable[[Lookup], Any]:
    """A function of one run's lookup that gives a side's value."""
    dotted = _dotted(node)
    if dotted is not None:
        if dotted in keys:
            return lambda lookup: lookup(dotted)
        word: Any = CONSTANTS.get(dotted.lower(), dotted)
        return lambda lookup: word
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as constant):
            return lambda lookup: constant
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return lambda lookup: -number
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            values = [_value(part, keys) for part in parts]
            return lambda lookup: [value(lookup) for value in values]
    raise ExpressionError(
        f"{ast.unparse(node)[:80]!r} can't stand in an expression; quote text that holds more than a name"
    )


def _dotted(node: ast.AST) -> str | None:
    """`optimizer.learning_rate` of a name or a chain of attributes; null for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None
