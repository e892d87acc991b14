"""The purpose of my_ranker, beyond the contract."""

import nirank
from nirank import Candidates, Documents, Queries


def test_a_document_with_more_words_of_the_query_is_ranked_higher() -> None:
    corpus = Documents(["a", "b", "c"], ["a dog", "a small cat", "a cat"])
    candidates = Candidates.of([[0, 1, 2]], corpus=corpus)
    scores = nirank.load("my_ranker", weight=2.0).score(Queries.of("small cat"), candidates)
    assert scores.tolist() == [0.0, 2.0, 1.0]
