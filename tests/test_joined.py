"""Two rankings joined, differences of scorings, and operators that stand where they bind otherwise than they look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, CompositionError
from nirank.pipeline import parse
from nirank.pipeline.concatenation import concatenated

CORPUS = Documents([f"d{number}" for number in range(6)], ["abc", "bcd", "cde", "xyz", "", "ab"])
QUERIES = Queries(["q1", "q2"], ["abc", "xyz"])


class Fixed:
    """A generator that finds what it is told, and scores that too."""

    def __init__(self, docs, scores):
        self.found = Candidates.of(docs, scores)

    def generate(self, queries, k):
        rows = np.array([QUERIES.ids.index(name) for name in queries.ids])
        return self.found.take(rows).top(k)


class Number:
    """A scorer: the number of the document, times something."""

    def __init__(self, factor):
        self.factor = factor

    def score(self, queries, candidates):
        return (self.factor * candidates.docs).astype(np.float32)


@pytest.fixture
def parts():
    made = {
        "a": Fixed([[3, 2], []], [[5.1, 4.9], []]),
        "b": Fixed([[3, 1], [0, 4]], [[5.1, 4.9], [2, 1]]),
        "c": Fixed([[5, 1, 2, 0], [4]], [[9, 8, 7, 6], [1]]),
        "one": Number(1),
        "ten": Number(10),
    }
    return {name: nirank.load(part, name) for name, part in made.items()}


def _lists(found):
    return [list(zip(*map(np.ndarray.tolist, found[row]), strict=True)) for row in range(len(found))]


def _search(text, parts):
    return _lists(parse(text, parts).search(QUERIES, CORPUS))


# The semantics of PyTerrier's operators, in our terms


def test_what_both_found_has_the_scores_of_the_left_one(parts):
    assert _search("a & b", parts) == [[(3, np.float32(5.1))], []]
    assert _search("c & b", parts) == [[(1, 8.0)], [(4, 1.0)]]
    assert _search("b & c", parts) == [[(1, np.float32(4.9))], [(4, 1.0)]]


def test_behind_the_left_one_comes_what_only_the_right_one_found(parts):
    """PyTerrier's numbers: 5.1, 4.9, and a ten-thousandth less for what the right one adds."""
    first, second = _search("a ^ b", parts)
    assert [doc for doc, _ in first] == [3, 2, 1]
    assert [score for _, score in first] == pytest.approx([5.1, 4.9, 4.8999])
    assert second == [(0, 2.0), (4, 1.0)]  # as it was, where nothing stands before it; PyTerrier loses these


def test_the_right_one_keeps_its_distances(parts):
    [first, _] = _search("a ^ c", parts)
    assert [doc for doc, _ in first] == [3, 2, 5, 1, 0]
    assert [score for _, score in first] == pytest.approx([5.1, 4.9, 4.8999, 3.8999, 1.8999])


def test_several_are_concatenated_one_behind_the_other(parts):
    pipeline = nirank.concatenate(parts["a"], parts["b"], parts["c"])
    assert repr(pipeline) == "(a ^ b) ^ c"
    assert [[doc for doc, _ in row] for row in _lists(pipeline.search(QUERIES, CORPUS))] == [[3, 2, 1, 5, 0], [0, 4]]


def test_the_best_reranked_and_the_rest_behind_them(parts):
    """`a % k >> b ^ a` is PyTerrier's way to rerank the best, and `top` is ours."""
    two, top = (parse(text, parts).search(QUERIES, CORPUS) for text in ("c % 2 >> one ^ c", "c >> top(2, one)"))
    assert two.docs.tolist() == top.docs.tolist() == [5, 1, 2, 0, 4]


def test_a_sum_of_scores_where_what_was_not_found_counts_as_nothing(parts):
    """What PyTerrier's `2 * b + c` is, written out: nothing is 0 unless one says so."""
    found = _search("(b | c) >> 2 * scores(b, missing=0.0) + scores(c, missing=0.0)", parts)
    first = {1: 2 * 4.9 + 8, 5: 9, 3: 2 * 5.1, 2: 7, 0: 6}
    assert dict(found[0]) == pytest.approx(first)
    assert dict(found[1]) == {0: 4.0, 4: 3.0}


def test_a_negative_weight_turns_a_ranking_around(parts):
    assert [doc for doc, _ in _search("c >> -1 * one", parts)[0]] == [0, 1, 2, 5]
    assert [doc for doc, _ in _search("c >> -one", parts)[0]] == [0, 1, 2, 5]


# Differences


def test_a_difference_is_that_of_the_scores(parts):
    pairs = Candidates.of([[0, 5], [2]], corpus=CORPUS)
    one, ten = (parts[name].score(QUERIES, pairs) for name in ("one", "ten"))
    for made, expected in (
        (parts["ten"] - parts["one"], ten - one),
        (0.5 * parts["ten"] - 2 * parts["one"] - parts["ten"], 0.5 * ten - 2 * one - ten),
        (-parts["one"] + parts["ten"], ten - one),
        (parts["one"] - (parts["ten"] - parts["one"]), 2 * one - ten),
    ):
        assert made.score(QUERIES, pairs).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a & b", "a & b"),
        ("a % 1 & b >> one", "(a % 1) & (b >> one)"),
        ("(a & b) % 2 ^ c", "((a & b) % 2) ^ c"),
        ("a ^ b ^ c", "(a ^ b) ^ c"),
        ("a | b ^ c & a", "a | (b ^ (c & a))"),
        ("(a & (b | c)) >> one", "(a & (b | c)) >> one"),
        ("((a | b) & c) >> one", "((a | b) & c) >> one"),
        ("concatenate(a, b, c)", "(a ^ b) ^ c"),
        ("a >> one - ten", "a >> (one - ten)"),
        ("a >> one - ten - 2 * one", "a >> ((one - ten) - (2.0 * one))"),
        ("a >> one - (ten - one)", "a >> (one - (ten - one))"),
        ("a >> -one", "a >> (-1.0 * one)"),
        ("a >> -(one + ten)", "a >> (-1.0 * (one + ten))"),
        ("((a | b) >> 0.3 * one + ten) % 2", "((a | b) >> ((0.3 * one) + ten)) % 2"),
        ("fuse(a & b, a ^ b)", "fuse(a & b, a ^ b, method='rrf')"),
        ("others(a ^ b)", "others(a ^ b)"),
    ],
)
def test_text_and_objects_say_the_same(parts, text, shown):
    pipeline = parse(text, parts)
    again = parse(repr(pipeline), parts)
    assert repr(pipeline) == repr(again) == shown
    if pipeline.scored:
        one, two = (_lists(each.at_depth(3).search(QUERIES, CORPUS)) for each in (pipeline, again))
        assert one == two


def test_the_depth_is_that_of_both(parts):
    assert [[doc for doc, _ in row] for row in _lists(parse("b & c", parts).at_depth(1).search(QUERIES, CORPUS))] == [
        [],
        [],
    ]
    deeper = parse("b ^ c", parts).at_depth(1).search(QUERIES, CORPUS)
    assert deeper.docs.tolist() == [3, 5, 0, 4]


# What is refused, and what it tells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c >> (2 * one + ten) % 2", r"no best 2.*write `\(ranking >> \(\(2.0 \* one\) \+ ten\)\) % 2`"),
        ("c >> 2 * one % 2", r"`%` binds before `>>`: write `\(ranking >> \(2.0 \* one\)\) % 2`"),
        ("c >> one % 2", r"finds none.*write `\(ranking >> one\) % 2`"),
        ("c >> a % 2", r"scores none but.*write `\(ranking >> scorer\) % 2`"),
        ("(a | b) ^ c", "has no order before"),
        ("a ^ (b | c)", "has no order before"),
        ("((a | b) & c) % 2", "has no best 2"),
        ("a & one", "finds none"),
        ("a ^ one", "finds none"),
        ("a >> one - 3", "not a stage"),
        ("a >> one - (a | b)", "has no scores"),
        ("-a", "no method `score`"),
        ("a - b", "no method `score`"),
    ],
)
def test_what_binds_otherwise_than_it_looks_is_told(parts, text, message):
    with pytest.raises(CompositionError, match=message):
        parse(text, parts).search(QUERIES, CORPUS)


def test_an_intersection_of_what_has_no_order_has_none(parts):
    with pytest.raises(CompositionError, match="does not order"):
        parse("(a | b) & c", parts).search(QUERIES, CORPUS)
    assert _search("((a | b) & c) >> one", parts) == [[(2, 2.0), (1, 1.0)], [(4, 4.0)]]


# Concatenation against a slow one


def _slowly(first, second):
    """The documents of `first ^ second`, list by list, and how many of them are the first one's."""
    lists = []
    for row in range(len(first)):
        ours = first[row][0].tolist()
        lists.append((ours + [doc for doc in second[row][0].tolist() if doc not in ours], len(ours)))
    return lists


_scores = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, 1.0, 1e-45, -1e-45, 16777216.0, 1e20, -1e20]
)
_rows = st.lists(st.dictionaries(st.integers(0, 8), _scores, max_size=6), min_size=2, max_size=2)


def _ranked(rows):
    return Candidates.of([list(row) for row in rows], [list(row.values()) for row in rows]).ranked()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(left=_rows, right=_rows)
@example(left=[{0: 1e8}, {}], right=[{1: 2.0, 2: 1.9999999, 3: 1.9999998}, {2: 1.0}])  # float32 cannot tell 1e8 - 1e-4
@example(left=[{0: -3.4e38}, {}], right=[{1: 1.0, 2: 0.5}, {}])
def test_the_order_is_that_of_the_first_and_then_of_the_second(left, right):
    first, second = _ranked(left), _ranked(right)
    try:
        found = concatenated(first, second)
    except BadInput:  # so near to the least of all numbers that there are too few below
        assert min(first.scores) < -1e37 or np.ptp(second.scores.astype(np.float64)) > 1e37
        return
    assert found.is_ranked()
    for row, (docs, ours) in enumerate(_slowly(first, second)):
        assert found[row][0].tolist() == docs
        assert found[row][1][:ours].tolist() == first[row][1].tolist()


def test_nothing_stands_behind_an_infinite_score():
    first, second = Candidates.of([[0]], [[-np.inf]]), Candidates.of([[1]], [[1.0]])
    with pytest.raises(BadInput, match="below"):
        concatenated(first, second)


def test_a_list_alone_has_what_it_has_among_others():
    first, second = _ranked([{0: 3.0, 1: 1.0}, {2: 7.0}]), _ranked([{1: 5.0, 4: 2.0, 3: 1.0}, {0: 1.0, 5: 0.5}])
    together = concatenated(first, second)
    for row in range(2):
        one = np.array([row])
        alone = concatenated(first.take(one), second.take(one))
        assert (alone.docs.tolist(), alone.scores.tolist()) == tuple(part.tolist() for part in together[row])
