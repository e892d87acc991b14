"""benchmarks/quality_sizes.py: settings follow the number of lists, and what is left out has no say in the choice."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from nirank.data import Candidates, Collection, Documents, Queries
from nirank.training import Options


@pytest.fixture
def sizes(benchmark):
    return benchmark("quality_sizes")


@pytest.mark.parametrize("lists", [1, 50, 93, 300, 873, 20_000])
def test_no_rule_trains_for_less_than_today(sizes, lists):
    def steps(options):
        return options.steps or options.epochs * -(-lists // options.batch_size)

    found = {name: Options(**rule.options(lists)) for name, rule in sizes.RULES.items()}
    assert {name: steps(each) >= steps(found[sizes.TODAY]) for name, each in found.items()} == dict.fromkeys(
        found, True
    )
    assert all(4 <= each.batch_size <= 32 for each in found.values())
    assert all(each.evaluate_every is None or each.evaluate_every < each.steps for each in found.values())


def test_lists_without_a_difference_do_not_count(sizes):
    corpus = Documents(list("abc"), ["cat", "dog", "owl"])
    judged = Candidates.of([[0, 1], [0, 1, 2], [], [2]], [[1, 0], [0, 0, 0], [], [1]], corpus)
    some = Collection("some", corpus, Queries.of(["cat", "dog", "owl", "cow"]), judged)
    assert sizes.Lists(some, some, some, judged).count == 1


def test_a_collection_and_its_kin_have_no_say_in_their_own_rule(sizes):
    class Values:
        def __init__(self, mean):
            self.mean = mean

        def values(self, measure):
            return np.array([self.mean])

        def figure(self, measure):
            return self.mean

        def gain(self, other, measure):
            return self.mean - other.mean

    def rules(best):
        return {name: Values(0.9 if name == best else 0.1) for name in sizes.RULES}

    rows = {
        ("KNRM", "WikiQA"): rules("smaller batches"),
        ("KNRM", "WikiQA, 93 questions"): rules("smaller batches"),
        ("KNRM", "Vaswani"): rules("as many steps"),
    }
    assert sizes._left_out("KNRM", "WikiQA", rows)[2] == "as many steps"
    assert sizes._left_out("KNRM", "Vaswani", rows)[2:] == ["smaller batches", 0.1, 0.0]
