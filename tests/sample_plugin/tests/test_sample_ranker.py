"""What sample_ranker is for, beyond the contract."""

import logging

import nirank
from nirank import Documents

CORPUS = Documents(["a", "b", "c"], ["a dog", "one small cat", "cats"])


def test_beginnings_of_words_are_found_and_early_mentions_win(caplog):
    with caplog.at_level(logging.INFO, "sample_ranker"):
        found = nirank.parse("sample_prefix >> sample_early").search("cat", CORPUS)
    assert CORPUS.ids.take(found.docs) == ["b", "c"]
    assert "sample_early scored 2 pairs" in caplog.text
