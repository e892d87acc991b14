"""Setwise and pairwise ranking: sorts beside the true order, comparisons beside double loops, questions counted."""

from __future__ import annotations

import hashlib
import logging
import math
import random

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

import nirank
from nirank.errors import BadInput
from nirank_seq2seq import conversation
from nirank_seq2seq.choosing import label_of
from nirank_seq2seq.prp import PRP
from nirank_seq2seq.setwise import Setwise
from tests.oracle import Asked, choosing, given, ranked

LISTS = st.integers(0, 30).flatmap(lambda n: st.permutations(range(n)))


def _rest(grades, best):
    """The best, and behind them the others as they came."""
    return [*best, *(grade for grade in grades if grade not in best)]


# Setwise


@settings(deadline=None, max_examples=60)
@for_all(LISTS, st.integers(1, 12), st.integers(3, 6))
def test_heap_sort_finds_the_best_in_order_and_leaves_the_rest_as_it_came(grades, k, together):
    model = choosing()
    (found,) = ranked(Setwise(model, k, together), grades)
    assert found == _rest(grades, sorted(grades, reverse=True)[:k])
    assert len(model.prompts) == _heap_questions(grades, k, together - 1)
    n, c = max(len(grades), 2), together - 1
    height = math.ceil(math.log(n * (c - 1) + 1, c)) if c > 1 else n
    assert len(model.prompts) <= math.ceil((n - 1) / c) * 2 + (k - 1) * height + height  # O(n / c + k log n)


def _heap_questions(grades, k, children):
    """The number of questions of a heap sort of the textbook: nodes are sifted down, and the root is taken off."""
    heap, asked = list(grades), set()

    def sift(node, end):
        while node * children + 1 < end:
            family = [node, *range(node * children + 1, min(node * children + children + 1, end))]
            asked.add(tuple(heap[each] for each in family))
            largest = max(family, key=heap.__getitem__)
            if largest == node:
                break
            heap[node], heap[largest] = heap[largest], heap[node]
            node = largest

    for node in reversed(range(len(heap))):
        sift(node, len(heap))
    end, taken = len(heap), 1
    while end > 1 and taken < k:
        end, taken = end - 1, taken + 1
        heap[0], heap[end] = heap[end], heap[0]
        sift(0, end)
    return len(asked)


@settings(deadline=None, max_examples=60)
@for_all(LISTS, st.integers(1, 12), st.integers(2, 6))
def test_bubble_sort_finds_the_best_in_order(grades, k, together):
    model, n = choosing(), len(grades)
    (found,) = ranked(Setwise(model, k, together, "bubbles"), grades)
    assert found[:k] == sorted(grades, reverse=True)[:k]
    assert len(model.prompts) == len({*model.prompts})
    assert len(model.prompts) <= sum(math.ceil((n - 1 - done) / (together - 1)) for done in range(min(k, n - 1)))


def test_bubbles_go_as_a_slow_loop_takes_them():
    grades = random.Random(3).sample(range(40), 13)
    slow, asked, model = list(grades), set(), choosing()
    for done in range(4):
        start = len(slow) - 3
        while True:
            start = max(start, done)
            window = slow[start : start + 3]
            best = window.index(max(window))
            asked.add(tuple(window))
            slow[start], slow[start + best] = slow[start + best], slow[start]
            if start == done:
                break
            start -= 2
    assert ranked(Setwise(model, 4, 3, "bubbles"), grades) == [slow]
    assert len(model.prompts) == len(asked) < 6 + 6 + 5 + 5


def test_heap_sort_asks_less_than_bubbles_and_more_children_less_still():
    grades = random.Random(0).sample(range(100), 100)
    asked = {}
    for sort, together in (("heap", 3), ("heap", 4), ("heap", 10), ("bubbles", 4), ("bubbles", 2)):
        model = choosing()
        ranked(Setwise(model, 10, together, sort), grades)
        asked[sort, together] = len(model.prompts)
    assert asked["heap", 10] < asked["heap", 4] < asked["heap", 3] < asked["bubbles", 4] < asked["bubbles", 2]
    assert asked["bubbles", 2] < sum(range(90, 100))


def test_many_lists_are_asked_together():
    lists = [random.Random(n).sample(range(50), 20) for n in range(8)]
    model = choosing()
    found = ranked(Setwise(model), *lists)
    assert found == [_rest(one, sorted(one, reverse=True)[:10]) for one in lists]
    assert len(model.prompts) > 5 * len(model.calls)


def test_an_answer_without_a_label_leaves_the_first_and_is_counted(caplog):
    scorer = Setwise(Asked(lambda labels, grades: "None of them."), 2, 3)
    with caplog.at_level(logging.WARNING, logger="nirank"):
        assert ranked(scorer, [1, 2, 3, 4])[0][0] == 1
    asked = scorer.counts["questions"]
    assert [record.message for record in caplog.records] == [
        f"setwise: {asked} of {asked} answers had to be repaired ({asked} with no label)."
    ]


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        *(("Passage B", 1), ("B", 1), (" b.", 1), ("[B]", 1), ('"Passage: B"', 1), ("**C**", 2), ("passage c", 2)),
        *(("The most relevant is Passage B.", 1), ("Passage B, since Passage B says so", 1), ("I choose passage B", 1)),
        *(("Passage D", None), ("", None), ("A passage about cats", None), ("Passage A or Passage B", None)),
        *(("Passage", None), ("1", None), ("AB", None), ("passage is", None)),
    ],
)
def test_the_label_of_an_answer(answer, place):
    assert label_of(answer, conversation.read("setwise"), 3) == place


def test_the_word_before_a_label_is_that_of_the_prompt():
    shown = conversation.Conversation((), "numbers", start="Item (x)")
    assert [label_of(answer, shown, 12) for answer in ("item (x) 12", "It is Item (x) 3.", "passage 3", "12")] == [
        *(11, 2, None, 11)
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"k": 0}, "k = 0; a whole number from 1"),
        ({"together": 2}, "together = 2; 3 or more documents can be compared by heap"),
        ({"together": 27}, "27 passages cannot be shown at once: there are letters for 26"),
        ({"together": 1, "sort": "bubbles"}, "2 or more documents can be compared by bubbles"),
        ({"by": "likelihood"}, r'Asked writes answers and does not say .*: set by = "generation"'),
        ({"sort": "quick"}, "sort = 'quick' is not of the type"),
    ],
)
def test_settings_that_compare_nothing_are_refused(options, told):
    with pytest.raises(BadInput, match=told):
        nirank.load("setwise", model=choosing(), **options)


def test_a_server_tells_no_likelihoods():
    for name in ("setwise", "prp"):
        with pytest.raises(BadInput, match="the server of some writes answers and does not say"):
            nirank.load(name, model="some", endpoint="http://localhost:1/v1", by="likelihood")


# Pairwise


class Whims(Asked):
    """Answers that depend on both passages and on their places: neither transitive nor consistent."""

    def __init__(self, seed, silent=0.0):
        super().__init__(self.whim)
        self.seed, self.silent = seed, silent

    def whim(self, labels, grades):
        chance = hashlib.sha256(f"{self.seed} {grades}".encode()).digest()
        return "neither" if chance[1] < 256 * self.silent else f"Passage {labels[chance[0] % 2]}"

    def wins(self, one, other):
        """1, 0 or -1 as one beats the other, ties with it or is beaten, asked both ways."""
        said = self.whim("AB", [one, other]), self.whim("AB", [other, one])
        return {("Passage A", "Passage B"): 1, ("Passage B", "Passage A"): -1}.get(said, 0)


@pytest.mark.parametrize("seed", range(5))
def test_all_pairs_are_copelands_count(seed):
    model, grades = Whims(seed, 0.1), list(range(9))
    queries, candidates = given(grades)
    scores = PRP(model, "pairs").score(queries, candidates)
    slow = [sum((model.wins(one, other) + 1) / 2 for other in grades if other != one) for one in grades]
    assert [scores[place] for place in np.argsort(candidates.docs)] == slow
    assert len(model.prompts) == 9 * 8
    assert sum(slow) == 36


def test_all_pairs_of_a_consistent_model_are_the_true_order_and_a_biased_one_ties():
    lists = [random.Random(n).sample(range(50), n) for n in (7, 0, 1, 12)]
    queries, candidates = given(*lists)
    found = candidates.with_scores(PRP(choosing(), "pairs").score(queries, candidates)).ranked()
    flat = [grade for one in lists for grade in one]
    assert [flat[doc] for doc in found.docs] == [grade for one in lists for grade in sorted(one, reverse=True)]
    assert found[0][1].tolist() == [6, 5, 4, 3, 2, 1, 0]
    biased = PRP(Asked(lambda labels, grades: "Passage A"), "pairs")
    assert set(biased.score(*given(lists[0])).tolist()) == {3.0}


@settings(deadline=None, max_examples=40)
@for_all(LISTS, st.integers(1, 12))
def test_the_sorts_find_the_best_in_order(grades, k):
    n, best = len(grades), sorted(grades, reverse=True)[:k]
    heap, sliding = choosing(), choosing()
    assert ranked(PRP(heap, "heap", k), grades) == [_rest(grades, best)]
    assert len(heap.prompts) <= 2 * (2 * n + 2 * k * math.log2(max(n, 2)))  # two questions a comparison
    assert ranked(PRP(sliding, "sliding", k), grades)[0][:k] == best
    assert len(sliding.prompts) <= 2 * sum(n - 1 - done for done in range(min(k, max(n - 1, 0))))
    assert all(len(model.prompts) == len({*model.prompts}) for model in (heap, sliding))


@pytest.mark.parametrize("seed", range(5))
def test_sliding_goes_as_a_slow_loop_takes_it_also_with_whims(seed):
    model, grades = Whims(seed), random.Random(seed).sample(range(40), 11)
    slow, asked = list(grades), set()
    for done in range(3):
        for place in range(len(slow) - 1, done, -1):
            asked.add(frozenset(slow[place - 1 : place + 1]))
            if model.wins(slow[place], slow[place - 1]) == 1:
                slow[place - 1], slow[place] = slow[place], slow[place - 1]
    assert ranked(PRP(model, "sliding", 3), grades) == [slow]
    assert len(model.prompts) == 2 * len(asked) < 2 * (10 + 9 + 8)


@pytest.mark.parametrize("compare", ["heap", "sliding"])
def test_where_answers_differ_with_the_order_nothing_moves(compare):
    for said in ("Passage A", "Passage B", "neither"):
        scorer = PRP(Asked(lambda labels, grades, said=said: said), compare, 2)
        (found,) = ranked(scorer, [5, 9, 1, 7])
        assert found == ([5, 9, 1, 7] if compare == "sliding" else found)
        assert found[0] == 5
        assert scorer.counts["repaired"] == (scorer.counts["questions"] if said == "neither" else 0)


def test_both_orders_are_asked_of_each_pair():
    model = choosing()
    PRP(model, "pairs").score(*given([1, 2]))
    first, second = model.prompts
    assert 'Passage A: "this has the grade 1"\n\nPassage B: "this has the grade 2"' in first
    assert 'Passage A: "this has the grade 2"\n\nPassage B: "this has the grade 1"' in second
    assert first.startswith('Given a query "query 0", which of the following two passages')
    assert first.endswith("Output Passage A or Passage B:")
