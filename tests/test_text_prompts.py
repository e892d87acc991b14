"""Prompts: texts cut to fit as transformers cuts pairs, fixed tokens kept, special tokens in texts read as letters."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")

from transformers import BertTokenizerFast

from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank.kit.text import Prompt, Read, tokens


@pytest.fixture
def tokenizer(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "sep", "a", "b", "?"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    return BertTokenizerFast(str(tmp_path / "vocab.txt"))


def _prompt(max_length, *pieces):
    return Prompt([np.array(piece, np.int32) for piece in pieces], max_length)


@pytest.mark.parametrize("max_length", [5, 6, 11, 12])
def test_two_texts_are_cut_as_transformers_cuts_them(tokenizer, max_length):
    prompt = _prompt(max_length, [2], [3], [3])
    asked, told = np.divmod(np.arange(15 * 15), 15)
    shares = prompt.shares(np.stack([asked, told], axis=1))
    for query, document, share in zip(asked, told, shares, strict=True):
        texts = " ".join("a" * query), " ".join("b" * document)
        (ids,) = tokenizer([texts], truncation=True, max_length=max_length)["input_ids"]
        assert [ids.count(8), ids.count(9)] == share.tolist(), (query, document)
        ours, mask = prompt.filled([(np.full(share[0], 8, np.int32), np.full(share[1], 9, np.int32))])
        assert ours[0].tolist() == ids
        assert mask.all()


def test_of_three_texts_the_longest_are_cut_and_as_much_is_read_as_there_is_room_for():
    prompt = _prompt(16, [1], [2], [3], [4])  # room for 12
    lengths = np.array([[2, 3, 4], [2, 90, 90], [2, 3, 90], [90, 2, 2], [90, 90, 90], [0, 0, 0], [4, 5, 3]])
    assert prompt.shares(lengths).tolist() == [
        *([2, 3, 4], [2, 5, 5], [2, 3, 7], [8, 2, 2], [4, 4, 4], [0, 0, 0], [4, 5, 3])
    ]


def test_rows_are_padded_behind():
    prompt = _prompt(9, [1], [2, 3], [])
    rows = [(np.array([7, 7], np.int32), np.array([8], np.int32)), (np.array([], np.int32), np.array([], np.int32))]
    ids, mask = prompt.filled(rows, padding=5)
    assert ids.tolist() == [[1, 7, 7, 2, 3, 8], [1, 2, 3, 5, 5, 5]]
    assert mask.sum(1).tolist() == [6, 3]


def test_a_prompt_without_room_is_refused():
    assert _prompt(5, [1], [2], [3]).room == 2
    with pytest.raises(BadInput, match="max_length = 4 leaves no room for 2 texts beside 3 fixed tokens"):
        _prompt(4, [1], [2], [3])


def test_what_looks_like_a_special_token_is_read_as_letters(tokenizer):
    assert tokenizer("a [SEP] b", add_special_tokens=False)["input_ids"] == [8, 3, 9]
    read = tokens(tokenizer, ["a [SEP] b", "", "\ud800", "a" * 9000])
    assert [text.tolist() for text in read] == [[8, 5, 7, 6, 9], [], [10], [1]]
    assert tokenizer("a [SEP] b", add_special_tokens=False)["input_ids"] == [8, 3, 9]  # it is left as it was
    assert tokens(tokenizer, []) == []


def test_each_text_is_read_once(tokenizer):
    asked = []

    def tokenize(side, texts):
        asked.append((side, list(texts)))
        return tokens(tokenizer, texts)

    corpus = Documents(list("wxyz"), ["a b", "b", "a a a", "never"])
    lists = Candidates.of([[2, 0], [], [0, 1]], corpus=corpus)
    read = Read.of(Queries.of(["a", "not asked", "b b"]), lists, tokenize)
    assert asked == [("query", ["a", "b b"]), ("document", ["a b", "b", "a a a"])]
    assert read.lengths().tolist() == [[1, 3], [1, 2], [2, 2], [2, 1]]


def test_what_is_no_text_is_refused(tmp_path):
    def texts(side, texts):
        return texts

    lists = Candidates.of([[0]], corpus=Documents(["a"], [tmp_path]))
    with pytest.raises(BadInput, match="the content of a document is of the type PosixPath"):
        Read.of(Queries.of(["a"]), lists, texts)
    with pytest.raises(BadInput, match="have no corpus"):
        Read.of(Queries.of(["a"]), Candidates.of([[0]]), texts)
