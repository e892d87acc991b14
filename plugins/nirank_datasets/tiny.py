"""A collection small enough to read, for checks that need one and nothing else."""

from __future__ import annotations

from nirank.data import Candidates, Collection, Documents, Queries


def tiny() -> Collection:
    """Four documents, two queries, three judgments."""
    corpus = Documents(["cat", "dog", "car", "bus"], ["a small cat", "a small dog", "a fast car", "a slow bus"])
    judgments = Candidates.of([[0, 1], [3]], [[2, 1], [1]], corpus)
    return Collection("tiny", corpus, Queries(["1", "2"], ["small cat", "bus"]), judgments)
