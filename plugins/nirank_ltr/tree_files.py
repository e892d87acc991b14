"""The structure of LightGBM's text files, checked before the library reads one: it indexes by what stands there.

A file has a head of `key=value` lines, then a block a tree, of `tree_sizes` bytes each. A tree of n leaves has n - 1
splits, whose children are splits further down or, as -1 - number, leaves. Half a file, or a word where a number is
expected, ends the process that reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_END = "end of trees"
_WHOLE = re.compile(r"[-+]?\d{1,10}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d{1,5})?|[-+]?(inf|nan)", re.IGNORECASE)
#: Columns of whole numbers of a tree, and of any numbers, with one entry a split; then those with one a leaf.
_OF_SPLITS = {
    "split_feature": _WHOLE,
    "left_child": _WHOLE,
    "right_child": _WHOLE,
    "decision_type": _WHOLE,
    "threshold": _NUMBER,
    "split_gain": _NUMBER,
    "internal_value": _NUMBER,
    "internal_weight": _NUMBER,
    "internal_count": _NUMBER,
}
_OF_LEAVES = {"leaf_value": _NUMBER, "leaf_weight": _NUMBER, "leaf_count": _NUMBER}
#: The columns that LightGBM does without.
_OPTIONAL = {"split_gain", "internal_value", "internal_weight", "internal_count", "leaf_weight", "leaf_count"}
_MOST_CLASSES = 10_000
#: What follows the trees, with nothing in it.
_TAIL = "\nparameters:\n[boosting: gbdt]\n\nend of parameters\n"

#: What the head may say, in the order in which LightGBM writes it, and whether it stands there without a value.
_HEAD = {
    "version": False,
    "num_class": False,
    "num_tree_per_iteration": False,
    "label_index": False,
    "max_feature_idx": False,
    "objective": False,
    "average_output": True,
    "feature_names": False,
    "monotone_constraints": False,
    "feature_infos": False,
}
_OBJECTIVE = re.compile(r"[a-z_0-9]+( [a-z_0-9]+(:[-+.\w]+)?)*")

Columns = Mapping[str, str]


def checked(text: str) -> str:
    """Write a model of LightGBM's anew from what was found to be whole in its text: the head and the trees.

    What follows the trees, how it was trained, is left out: LightGBM ends the process for a word that is wrong there.
    Raises `ValueError` where the text is no whole model: which tree, and what was expected.
    """
    if "\0" in text:
        raise ValueError("it holds a character 0.")
    head, *blocks = re.split(r"^(?=Tree=)", text.partition(f"\n{_END}\n")[0] + "\n", flags=re.MULTILINE)
    if not head.startswith("tree\n") or f"\n{_END}\n" not in text:
        raise ValueError(f"it does not begin with a line 'tree', or has no line '{_END}': a part is missing.")
    columns, trees = _columns(head, "the head"), []
    features = _check_head(columns, blocks)
    for number, block in enumerate(blocks):
        where = f"tree {number}"
        if not block.startswith(f"Tree={number}\n"):
            raise ValueError(f"{where} is missing.")
        trees.append(_columns(block, where))
        _check_tree(trees[-1], features, where)
    return _written(columns, trees)


def _written(head: Columns, trees: Sequence[Columns]) -> str:
    """The text of a model, as LightGBM lays it out."""
    blocks = ["\n".join([f"{name}={value}" for name, value in tree.items()]) + "\n\n\n" for tree in trees]
    lines = [name if alone else f"{name}={head[name]}" for name, alone in _HEAD.items() if name in head]
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    return "\n".join(["tree", *lines, f"tree_sizes={sizes}", "", "".join(blocks) + f"{_END}\n{_TAIL}"])


def _check_head(columns: Columns, blocks: Sequence[str]) -> int:
    """Returns the number of features."""
    features = 1 + _whole(columns, "max_feature_idx", "the head")
    _whole(columns, "label_index", "the head")
    sizes = [str(len(block.encode())) for block in blocks]
    if columns.get("tree_sizes", "").split() not in ([], sizes):
        raise ValueError("the trees do not have the sizes that its head has of them (tree_sizes).")
    if "objective" in columns and not _OBJECTIVE.fullmatch(columns["objective"]):
        raise ValueError(f"objective = {columns['objective']!r:.40} is none of LightGBM's.")
    _check_classes(columns, len(blocks))
    for name in ("feature_names", "feature_infos"):
        if len(columns.get(name, "").split()) != features:
            raise ValueError(f"{name} does not have one entry for each of {features} features.")
    _list(columns, "monotone_constraints", _WHOLE, features if "monotone_constraints" in columns else 0, "the head")
    return features


def _check_classes(columns: Columns, trees: int) -> None:
    classes = _whole(columns, "num_tree_per_iteration", "the head", "num_class")
    if not 1 <= classes <= _MOST_CLASSES or not 1 <= _whole(columns, "num_class", "the head") <= _MOST_CLASSES:
        raise ValueError(f"num_class and num_tree_per_iteration are not from 1 to {_MOST_CLASSES:,}.")
    if trees % classes:
        raise ValueError(f"{trees} trees are no multiple of num_tree_per_iteration = {classes}.")


def _check_tree(columns: Columns, features: int, where: str) -> None:
    leaves = _whole(columns, "num_leaves", where)
    splits = leaves - 1
    _list(columns, "shrinkage", _NUMBER, 1, where)
    _whole(columns, "num_cat", where)
    if splits < 0 or columns.get("is_linear", "0") not in ("0", "1"):
        raise ValueError(f"{where}: num_leaves = {leaves}, is_linear = {columns.get('is_linear')!r:.40}.")
    if columns.get("is_linear") == "1":
        _check_linear(columns, leaves, features, where)
    if not splits:  # a constant: what stands beside its value is not read
        _list(columns, "leaf_value", _NUMBER, 1, where)
        return
    for kinds, length in ((_OF_SPLITS, splits), (_OF_LEAVES, leaves)):
        for name, kind in kinds.items():
            if name in columns or name not in _OPTIONAL:
                _list(columns, name, kind, length, where)
    _check_children(columns, splits, where)
    _check_range(_wholes(columns, "split_feature", splits, where), features, f"{where}: split_feature")
    _check_range(_wholes(columns, "decision_type", splits, where), 128, f"{where}: decision_type")
    _check_categories(columns, splits, where)


def _check_children(columns: Columns, splits: int, where: str) -> None:
    """Every split but the first, and every leaf, is the child of one split, which stands before it."""
    sides = [_wholes(columns, name, splits, where) for name in ("left_child", "right_child")]
    children = np.concatenate(sides)
    every = np.r_[-1 - splits : 0, 1:splits]
    if len(children) != len(every) or (np.sort(children) != every).any():
        raise ValueError(f"{where}: the children are not each split and each leaf once.")
    if ((children >= 0) & (children <= np.tile(np.arange(splits), 2))).any():
        raise ValueError(f"{where}: a split stands before the one that it is a child of.")


def _check_categories(columns: Columns, splits: int, where: str) -> None:
    """A split by categories has the number of a set of bits, which lies within `cat_threshold`."""
    sets = _whole(columns, "num_cat", where)
    by_category = _wholes(columns, "decision_type", splits, where) & 1 == 1
    thresholds = columns["threshold"].split()
    used = [threshold for threshold, is_set in zip(thresholds, by_category, strict=True) if is_set]
    if not 0 <= sets <= splits or any(not re.fullmatch(r"\d{1,9}", one) or int(one) >= sets for one in used):
        raise ValueError(f"{where}: a split by categories is not one of num_cat = {sets}.")
    if sets:
        edges = _wholes(columns, "cat_boundaries", sets + 1, where)
        bits = columns.get("cat_threshold", "").split()
        if edges[0] or (np.diff(edges) < 0).any() or edges[-1] != len(bits):
            raise ValueError(f"{where}: cat_boundaries do not rise from 0 to the end of cat_threshold.")
        _list(columns, "cat_threshold", re.compile(r"\d{1,10}"), len(bits), where)
        _check_range(np.array(bits, np.int64), 2**32, f"{where}: cat_threshold")


def _check_linear(columns: Columns, leaves: int, features: int, where: str) -> None:
    """A leaf with a line has as many features and coefficients as it says."""
    _list(columns, "leaf_const", _NUMBER, leaves, where)
    counts = _wholes(columns, "num_features", leaves, where)
    _check_range(counts, features + 1, f"{where}: num_features")
    _check_range(_wholes(columns, "leaf_features", int(counts.sum()), where), features, f"{where}: leaf_features")
    _list(columns, "leaf_coeff", _NUMBER, int(counts.sum()), where)


def _check_range(values: NDArray[np.int64], end: int, what: str) -> None:
    if ((values < 0) | (values >= end)).any():
        raise ValueError(f"{what} is not from 0 to {end - 1:,}.")


def _columns(lines: str, where: str) -> dict[str, str]:
    columns: dict[str, str] = {}
    for name, value in _pairs(lines):
        if name in columns:
            raise ValueError(f"{where}: {name} stands there twice.")
        columns[name] = value
    return columns


def _pairs(lines: str) -> Iterator[tuple[str, str]]:
    for line in lines.split("\n"):
        name, equals, value = line.partition("=")
        if equals or _HEAD.get(name):
            yield name, value


def _list(columns: Columns, name: str, kind: re.Pattern[str], length: int, where: str) -> Sequence[str]:
    """The entries of a column, each of one kind, parted by blanks."""
    entries = columns.get(name, "").split()
    if len(entries) != length:
        raise ValueError(f"{where}: {name} has {len(entries)} entries, and {length} are expected.")
    if wrong := [entry for entry in entries if not kind.fullmatch(entry)]:
        raise ValueError(f"{where}: {name} holds {wrong[0]!r:.40}, which is no number as LightGBM writes them.")
    return entries


def _wholes(columns: Columns, name: str, length: int, where: str) -> NDArray[np.int64]:
    return np.array(_list(columns, name, _WHOLE, length, where), np.int64)


def _whole(columns: Columns, name: str, where: str, instead: str = "") -> int:
    """A whole number; that of the column `instead` where there is none."""
    name = name if name in columns or not instead else instead
    return int(_list(columns, name, _WHOLE, 1, where)[0])
