"""The contract checks have teeth: each sees the very fault it is there for, and passes what is sound."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import types
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from nirank.data import Candidates, Collection, Documents, Explanation, Mark, Matches, Queries, looked_up
from nirank.errors import BadInput, UnknownName
from nirank.hooks import hookimpl
from nirank.plugins import Plugin, active
from nirank.registry import Entry
from nirank.testing import checks, violations
from nirank.testing.contract import KINDS
from nirank.testing.promises import Broken
from nirank.testing.samples import DOCUMENTS, LONG, LetterCodes, LetterEncoder, corpus
from nirank.testing.subject import Subject
from nirank.training import Sample
from nirank.training.sampling import Judged


def _words(text):
    return set(str(text).lower().split())


class SoundScorer:
    """How many words a document shares with the query, per word of the document."""

    def score(self, queries, candidates):
        contents = candidates.corpus[candidates.docs]
        pairs = zip(candidates.rows, contents, strict=True)
        shared = [len(_words(queries.contents[row]) & _words(content)) / (1 + len(content)) for row, content in pairs]
        return np.array(shared, np.float32)


class SoundGenerator:
    """What shares a word with the query, by how many."""

    def build(self, corpus, folder, encode=None):
        np.save(folder / "size.npy", len(corpus))

    def open(self, corpus, folder):
        self.words = [_words(content) for content in corpus[:]]

    def generate(self, queries, k):
        return self.found(queries, k)

    def found(self, queries, k):
        scores = [[len(self.asked(text) & words) for words in self.words] for text in queries.contents]
        everything = Candidates.of([np.arange(len(self.words))] * len(queries), scores)
        return everything.where(everything.scores > 0).top(k)

    def asked(self, text):
        return {word.strip('-+"*') for word in _words(text)}


class SoundEncoder(LetterEncoder):
    """The stand-in of the checks is held to them too."""


def _faulty(sound, **methods):
    return type("Faulty", (sound,), methods)()


# Scorers


def _more(self, queries, candidates):
    return np.append(SoundScorer.score(self, queries, candidates), 0)


def _not_finite(self, queries, candidates):
    scores = SoundScorer.score(self, queries, candidates)
    return np.where(candidates.docs == 10, np.nan, scores)


def _scaled_to_the_batch(self, queries, candidates):
    scores = SoundScorer.score(self, queries, candidates)
    return scores / np.max(scores, initial=1e-9)


def _by_rank(self, queries, candidates):
    return SoundScorer.score(self, queries, candidates) + np.arange(candidates.pairs)


def _by_row(self, queries, candidates):
    return SoundScorer.score(self, queries, candidates) + candidates.rows


def _needs_pairs(self, queries, candidates):
    return np.stack(list(SoundScorer.score(self, queries, candidates)))


def _reads_so_much(self, queries, candidates):
    scores = SoundScorer.score(self, queries, candidates)
    if candidates.pairs and set(candidates.docs.tolist()) == {LONG}:
        raise IndexError("index 512 is out of range for 512 positions")
    return scores


def _writes_to_its_input(self, queries, candidates):
    candidates.scores[:] = SoundScorer.score(self, queries, candidates)
    return candidates.scores.copy()


def _samples(self, queries, candidates):
    self.calls = getattr(self, "calls", 0) + 1
    return SoundScorer.score(self, queries, candidates) + np.float32(1e-6) * (self.calls % 2)


@pytest.mark.parametrize(
    ("score", "broken"),
    [
        (_more, "one_score_per_pair"),
        (_not_finite, "one_score_per_pair"),
        (_scaled_to_the_batch, "query_alone"),
        (_scaled_to_the_batch, "document_alone"),
        (_by_rank, "order_of_documents"),
        (_by_row, "order_of_queries"),
        (_needs_pairs, "no_candidates"),
        (_reads_so_much, "long_document"),
        (_writes_to_its_input, "inputs_unchanged"),
        (_samples, "deterministic"),
    ],
)
def test_a_scorers_fault_is_seen(score, broken):
    assert f"scorer/{broken}" in violations("scorer", _faulty(SoundScorer, score=score))


def _explaining(change):
    """A sound scorer whose explanations are changed: its words are marked and counted, one part each."""

    def explain(self, queries, candidates):
        scores = self.score(queries, candidates).tolist()
        read = zip(candidates.rows.tolist(), candidates.docs.tolist(), scores, strict=True)
        return [change(_explained(score), queries.contents[row], candidates.corpus[doc]) for row, doc, score in read]

    return _faulty(SoundScorer, explain=explain)


def _explained(score):
    return Explanation("all", score, (Explanation("half", score / 2), Explanation("the rest", score - score / 2)))


def _beyond(explanation, query, document):
    return replace(explanation, document_marks=(Mark(0, len(document) + 1),))


def _beyond_the_query(explanation, query, document):
    part = replace(explanation.parts[0], query_marks=(Mark(2, 2),))
    return replace(explanation, parts=(part, explanation.parts[1]))


def _of_another_score(explanation, query, document):
    return _explained(explanation.score + 1)


def _nameless(explanation, query, document):
    return replace(explanation, parts=(replace(explanation.parts[0], label=3), explanation.parts[1]))


def _short(explanation, query, document):
    return replace(explanation, parts=(*explanation.parts, Explanation("more", 0.01)))


def _misshapen(explanation, query, document):
    return replace(explanation, matches=Matches(("a",), ("b", "c"), np.zeros((1, 3), np.float32)))


@pytest.mark.parametrize("fault", [_beyond, _beyond_the_query, _of_another_score, _nameless, _short, _misshapen])
def test_a_fault_in_an_explanation_is_seen(fault):
    (broken,) = violations("scorer", _explaining(fault))
    assert broken == "scorer/" + "explains_its_scores"


@pytest.mark.parametrize("off", [0, 1])
def test_a_fault_in_an_explanation_of_vectors_is_seen(off):
    """Of an index, and of an encoder: the dot product of a pair, and not a number beside it."""

    def of_index(self, queries, candidates):
        return [_explained(score + off) for score in self.score(queries, candidates).tolist()]

    def of_encoder(self, queries, candidates):
        left, right = self.encode(queries), self.encode_documents(candidates.corpus[candidates.docs])
        return [_explained(score + off) for score in np.einsum("ij,ij->i", left[candidates.rows], right).tolist()]

    for kind, sound, explain in (("generator", Keeps, of_index), ("encoder", SoundEncoder, of_encoder)):
        known = violations(kind, _faulty(sound, explain=explain))
        assert (f"{kind}/" + "explains_its_scores" in known) == bool(off)


def test_a_sound_explanation_passes():
    assert violations("scorer", _explaining(lambda explanation, query, document: explanation)) == {}


def test_only_the_check_of_a_fault_fails():
    assert set(violations("scorer", _faulty(SoundScorer, score=_writes_to_its_input))) == {"scorer/inputs_unchanged"}
    assert set(violations("scorer", _faulty(SoundScorer, score=_needs_pairs))) == {"scorer/no_candidates"}
    assert set(violations("scorer", _faulty(SoundScorer, score=_samples))) == {"scorer/deterministic"}


def test_a_listwise_scorer_is_held_to_all_but_lone_documents():
    def by_length_of_list(self, queries, candidates):
        return SoundScorer.score(self, queries, candidates) * candidates.lengths[candidates.rows]

    assert set(violations("scorer", _faulty(SoundScorer, score=by_length_of_list))) == {"scorer/document_alone"}
    assert violations("scorer", _faulty(SoundScorer, score=by_length_of_list, listwise=True)) == {}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def neural(torch):
    class Neural(torch.nn.Module):
        """A linear model of two features, with dropout; `forgets` says which fault it has."""

        def __init__(self, forgets=None):
            super().__init__()
            self.used, self.other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
            self.dropout, self.forgets = torch.nn.Dropout(0.5), forgets
            if forgets == "frozen":
                self.other.requires_grad_(False)

        def score(self, queries, candidates):
            texts = list(candidates.corpus[candidates.docs])
            features = torch.tensor([[len(text) / 1e4, len(_words(text)) / 10] for text in texts]).reshape(-1, 2)
            if self.forgets == "evaluation":
                features = torch.nn.functional.dropout(features)
            scores = self.used(self.dropout(features))
            if self.forgets is None:
                scores = scores + self.other(features)
            if self.forgets == "finite":
                scores = scores + self.other(features) + 0 * torch.sqrt(self.other.weight - self.other.weight).sum()
            return scores.squeeze(-1).detach() if self.forgets == "gradients" else scores.squeeze(-1)

    return Neural


def test_a_neural_scorer_is_checked_in_evaluation_mode_and_trained_in_training_mode(neural):
    scorer = neural()
    assert violations("scorer", scorer) == {}
    assert scorer.training
    assert violations("scorer", neural("frozen")) == {}
    assert "scorer/deterministic" in violations("scorer", neural("evaluation"))


@pytest.mark.parametrize(
    ("forgets", "message"),
    [("other", "no gradient reaches other"), ("gradients", "carry no gradients"), ("finite", "is not finite")],
)
def test_gradients_that_do_not_arrive_are_seen(neural, forgets, message):
    broken = "gradients_reach_every_parameter"
    found = violations("scorer", neural(forgets))
    assert set(found) == {f"scorer/{broken}"}
    assert message in found[f"scorer/{broken}"]


# Extractors


class SoundExtractor:
    """The score of the sound scorer, and the number of letters of the document."""

    names = ("shared", "letters")

    def extract(self, queries, candidates):
        letters = [len(content) for content in candidates.corpus[candidates.docs]]
        scores = SoundScorer().score(queries, candidates)
        return np.column_stack([scores, np.array(letters, np.float32)]).astype(np.float32).reshape(-1, 2)


def _extracting(score):
    """An extractor with the fault of a scorer."""
    faulty = _faulty(SoundScorer, score=score)

    def extract(self, queries, candidates):
        scores = np.asarray(faulty.score(queries, candidates))
        return np.column_stack([scores, scores]).astype(np.float32).reshape(-1, 2)

    return _faulty(SoundExtractor, extract=extract)


@pytest.mark.parametrize(
    ("score", "broken"),
    [
        (_more, "one_row_per_pair"),
        (_not_finite, "one_row_per_pair"),
        (_scaled_to_the_batch, "query_alone"),
        (_scaled_to_the_batch, "document_alone"),
        (_by_rank, "order_of_documents"),
        (_needs_pairs, "no_candidates"),
        (_reads_so_much, "long_document"),
        (_writes_to_its_input, "inputs_unchanged"),
        (_samples, "deterministic"),
    ],
)
def test_an_extractors_fault_is_seen(score, broken):
    assert f"extractor/{broken}" in violations("extractor", _extracting(score))


@pytest.mark.parametrize("names", [("twice", "twice"), ("one",), ()])
def test_an_extractor_names_each_of_its_features(names):
    assert "extractor/one_row_per_pair" in violations("extractor", _faulty(SoundExtractor, names=names))


def test_a_ranker_over_features_is_given_some(torch):
    class Ranker(torch.nn.Module):
        reads = "features"

        def __init__(self):
            super().__init__()
            self.weigh = torch.nn.Linear(3, 1)

        def score(self, queries, candidates):
            return self.weigh(torch.from_numpy(candidates.features.values))[:, 0]

    assert violations("scorer", Ranker()) == {}


# Rewriters


class SoundRewriter:
    """The words in the order of the alphabet."""

    def rewrite(self, queries):
        return [" ".join(sorted(text.split())) for text in queries.contents]


def _one_less(self, queries):
    return SoundRewriter.rewrite(self, queries)[1:]


def _numbers_for_texts(self, queries):
    return list(range(len(queries)))


def _other_ids(self, queries):
    return Queries([f"new {name}" for name in queries.ids], list(queries.contents))


def _by_place(self, queries):
    return [f"{text} {place}" for place, text in enumerate(queries.contents)]


def _needs_words(self, queries):
    return [text.split()[0] for text in queries.contents]


def _sorts_its_input(self, queries):
    queries.contents[:] = SoundRewriter.rewrite(self, queries)
    return list(queries.contents)


def _counts_calls(self, queries):
    self.calls = getattr(self, "calls", 0) + 1
    return [f"{text} {self.calls}" for text in queries.contents]


@pytest.mark.parametrize(
    ("rewrite", "broken"),
    [
        (_one_less, "one_for_each"),
        (_numbers_for_texts, "one_for_each"),
        (_other_ids, "one_for_each"),
        (_by_place, "query_alone"),
        (_needs_words, "odd_text"),
        (_sorts_its_input, "inputs_unchanged"),
        (_counts_calls, "deterministic"),
    ],
)
def test_a_rewriters_fault_is_seen(rewrite, broken):
    assert f"rewriter/{broken}" in violations("rewriter", _faulty(SoundRewriter, rewrite=rewrite))


# Generators


def _one_more(self, queries, k):
    return self.found(queries, k + 1)


def _twice(self, queries, k):
    found = self.found(queries, k)
    docs = found.docs.copy()
    docs[1:][np.diff(found.rows) == 0] = docs[0]
    return Candidates(found.offsets, docs, found.scores)


def _rising(self, queries, k):
    found = self.found(queries, k)
    return found.with_scores(-found.scores)


def _last_first(self, queries, k):
    found = self.found(queries, 99)
    order = np.lexsort((-found.docs, -found.scores, found.rows))
    turned = Candidates(found.offsets, found.docs[order], found.scores[order])
    return turned.where(np.arange(turned.pairs) - turned.offsets[turned.rows] < k)


def _other_few(self, queries, k):
    return self.found(queries, k) if k > 2 else self.found(queries, k + 1).where(_not_first(self.found(queries, k + 1)))


def _not_first(found):
    return np.arange(found.pairs) != found.offsets[found.rows]


def _small_k_only(self, queries, k):
    if k > len(self.words):
        raise RuntimeError("selected index k out of range")
    return self.found(queries, k)


def _of_the_batch(self, queries, k):
    found = self.found(queries, k)
    return found.with_scores(found.scores / found.scores.max(initial=1e-9))


def _some_queries(self, queries, k):
    if not len(queries):
        raise ValueError("need at least one array to concatenate")
    return self.found(queries, k)


def _some_words(self, queries, k):
    if any(not text for text in queries.contents):
        raise ValueError("empty query")
    return self.found(queries, k)


def _latin(self, queries, k):
    for text in queries.contents:
        text.encode("latin-1", "strict" if "AND" in text or len(text) > 20 else "replace")
        if "/" in text:
            raise BadInput("cannot parse the query")
    return self.found(queries, k)


def _operators(self, queries, k):
    found = self.found(queries, k)
    banned = [{w[1:] for w in text.split() if w.startswith("-")} for text in queries.contents]
    keep = [not self.words[doc] & banned[row] for row, doc in zip(found.rows, found.docs, strict=True)]
    return found.where(np.array(keep, bool))


def _unknown_documents(self, queries, k):
    found = self.found(queries, k)
    return Candidates(found.offsets, found.docs + len(DOCUMENTS), found.scores)


@pytest.mark.parametrize(
    ("generate", "broken"),
    [
        (_one_more, "at_most_k"),
        (_unknown_documents, "at_most_k"),
        (lambda self, queries, k: [[]] * len(queries), "at_most_k"),
        (lambda self, queries, k: Candidates.empty(1), "at_most_k"),
        (_twice, "no_duplicates"),
        (_rising, "falling_scores"),
        (_last_first, "ties_by_ordinal"),
        (_other_few, "fewer_is_a_prefix"),
        (_small_k_only, "k_beyond_the_corpus"),
        (_of_the_batch, "query_alone"),
        (_some_queries, "no_queries"),
        (_some_words, "empty_query"),
        (_latin, "any_text"),
        (_operators, "no_query_language"),
    ],
)
def test_a_generators_fault_is_seen(generate, broken):
    assert f"generator/{broken}" in violations("generator", _faulty(SoundGenerator, generate=generate))


class Within(SoundGenerator):
    """A generator that can search among some documents; `fault` says how it fails to."""

    mask, fault = None, None

    def within(self, mask):
        within = type(self)()
        within.words, within.mask = self.words, mask
        return within

    def generate(self, queries, k):
        if self.mask is None:
            return self.found(queries, k)
        found = self.found(queries, k if self.fault == "cuts first" else 99)
        kept = found if self.fault == "forgets" else found.where(self.mask[found.docs])
        return (kept.with_scores(kept.scores + 1) if self.fault == "scores anew" else kept).top(k)


def test_a_search_within_some_documents_is_that_of_all_filtered():
    assert violations("generator", Within()) == {}
    broken = "within_some"
    for fault in ("cuts first", "forgets", "scores anew"):
        found = violations("generator", type("Faulty", (Within,), {"fault": fault})())
        assert set(found) == {f"generator/{broken}"}, fault


def test_a_generator_of_dense_vectors_is_given_some():
    class Searches(SoundGenerator):
        searches = "dense"

        def build(self, corpus, folder, encode=None):
            np.save(folder / "vectors.npy", encode(corpus[:]))

        def open(self, corpus, folder):
            self.vectors = np.load(folder / "vectors.npy")

        def generate(self, queries, k):
            everything = [np.arange(len(self.vectors))] * len(queries)
            return Candidates.of(everything, list(queries.vectors @ self.vectors.T)).top(k)

    assert violations("generator", Searches()) == {}
    fault = violations("generator", type("Tokens", (Searches,), {"searches": "tokens"})())["generator/at_most_k"]
    assert "no encoder with a `tiny` that makes them" in fault


class Tokenised:
    """An index of texts as words or as letters."""

    def __init__(self, unit: Literal["word", "letter"] = "word", boost: float = 1.0, tells: bool = False) -> None:
        self.unit, self.boost, self.tells = unit, boost, tells

    @property
    def index_key(self):
        return {"index": "tokenised", "version": 1, **({"unit": self.unit} if self.tells else {})}

    def build(self, corpus, folder, encode=None):
        entries = [sorted(set(self._entries(text))) for text in corpus[np.arange(len(corpus))]]
        (folder / "entries.json").write_text(json.dumps(entries))

    def open(self, corpus, folder):
        self.entries = [set(some) for some in json.loads((folder / "entries.json").read_text())]

    def generate(self, queries, k):
        asked = [set(self._entries(text)) for text in queries.contents]
        scores = [[self.boost * len(one & some) for some in self.entries] for one in asked]
        return Candidates.from_scores(np.array(scores, np.float32).reshape(len(asked), len(self.entries)), k)

    def _entries(self, text):
        return text.split() if self.unit == "word" else list(text)


def test_a_setting_that_changes_files_and_not_their_key_is_seen():
    promise = "index_key_covers_settings"
    fault = violations("generator", Tokenised())[f"generator/{promise}"]
    assert "does not cover the setting 'unit'" in fault
    assert f"generator/{promise}" not in violations("generator", Tokenised(tells=True))


class Keeps:
    """An index of dense vectors that scores pairs and says what it has kept; `off` is added to the one or the other."""

    searches = "dense"

    def __init__(self, score_off=0, kept_off=0):
        self.score_off, self.kept_off = score_off, kept_off

    def build(self, corpus, folder, encode):
        np.save(folder / "vectors.npy", encode(corpus[:]))

    def open(self, corpus, folder):
        self.kept = np.load(folder / "vectors.npy")

    def generate(self, queries, k):
        return Candidates.from_scores(queries.vectors @ self.kept.T, k)

    def score(self, queries, candidates):
        products = np.einsum("ij,ij->i", queries.vectors[candidates.rows], self.kept[candidates.docs])
        return products + self.score_off * np.arange(len(products))

    def vectors_of(self, docs):
        return self.kept[docs] + self.kept_off


@pytest.mark.parametrize(("fault", "promise"), [("score_off", "scores_what_it_finds"), ("kept_off", "keeps_vectors")])
def test_an_index_that_scores_otherwise_than_it_finds_is_seen(fault, promise):
    sound = violations("generator", Keeps())
    assert f"generator/{promise}" not in sound
    assert f"generator/{promise}" in violations("generator", Keeps(**{fault: 1}))


def test_names_that_no_expression_can_hold_are_seen(monkeypatch):
    plugin = Plugin("odd", module=types.ModuleType("odd"))
    entries = [Entry("scorer", name, "json:dumps", plugin) for name in ("my-scorer", "raise", "fine")]
    monkeypatch.setattr(active().registry, "of", lambda plugin: entries)
    check = next(check for check in checks("plugin") if check.function.__name__ == "names_stand_in_expressions")
    with pytest.raises(Broken, match="'my-scorer', 'raise' cannot stand in an expression"):
        check.function(Subject("plugin", plugin))


# Encoders


def _encoding(change):
    """A stand-in whose vectors are changed, for queries and documents alike."""

    def encode_documents(self, contents):
        return change(LetterEncoder.encode_documents(self, contents), contents)

    return _faulty(SoundEncoder, encode_documents=encode_documents)


def _centred(vectors, contents):
    return vectors - vectors.mean(axis=0) if len(vectors) else vectors


def _stops_at_none(vectors, contents):
    return np.stack(list(vectors))


def _strict_text(vectors, contents):
    "".join(contents).encode("ascii" if "\x00" in "".join(contents) else "utf-8")
    return vectors


@pytest.mark.parametrize(
    ("encoder", "broken"),
    [
        (_faulty(SoundEncoder, vectors="bags"), "kind_of_vectors"),
        (_encoding(lambda vectors, contents: vectors[:-1]), "one_vector_each"),
        (_encoding(lambda vectors, contents: vectors / vectors.sum(axis=1, keepdims=True)), "one_vector_each"),
        (_encoding(_centred), "text_alone"),
        (_encoding(lambda vectors, contents: vectors + np.arange(len(vectors))[:, None]), "order_of_texts"),
        (_encoding(lambda vectors, contents: 0 * vectors), "different_texts_differ"),
        (_encoding(_strict_text), "any_text"),
        (_encoding(_stops_at_none), "no_texts"),
        (_faulty(SoundEncoder, encode=lambda self, queries: np.ones((len(queries), 3))), "queries_match_documents"),
        (_encoding(lambda vectors, contents: vectors + np.random.default_rng().random()), "deterministic"),
        (types.SimpleNamespace(vectors="dense"), "one_vector_each"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_encoders_fault_is_seen(encoder, broken):
    assert f"encoder/{broken}" in violations("encoder", encoder)


@pytest.fixture(scope="module")
def neural_encoder(torch):
    class Letters(torch.nn.Module):
        """A weight for each pair of letters, one set a side; `forgets` says which fault it has."""

        vectors = "dense"

        def __init__(self, forgets=None):
            super().__init__()
            self.forgets = forgets
            self.left, self.right = (torch.nn.Parameter(torch.arange(1.0, 17.0)) for _ in range(2))

        def encode(self, queries):
            return self._vectors(queries.contents, self.left)

        def encode_documents(self, contents):
            right = self.left if self.forgets == "right" else self.right
            return self._vectors(contents, 0 * torch.sqrt(right - right) + right if self.forgets == "finite" else right)

        def _vectors(self, contents, weights):
            vectors = torch.from_numpy(LetterEncoder().encode_documents(contents)) * weights
            if self.forgets == "evaluation" or (self.forgets is None and self.training):
                vectors = torch.nn.functional.dropout(vectors)
            if self.forgets == "shape":
                return list(vectors)
            return vectors.detach() if self.forgets == "gradients" else vectors

    return Letters


def test_a_neural_encoder_is_checked_in_evaluation_mode_and_trained_in_training_mode(neural_encoder):
    encoder = neural_encoder()
    assert violations("encoder", encoder) == {}
    assert encoder.training
    assert violations("encoder", neural_encoder("shape")) == {}
    assert "encoder/deterministic" in violations("encoder", neural_encoder("evaluation"))
    encoder = neural_encoder("right").requires_grad_(False)
    assert violations("encoder", encoder) == {}


@pytest.mark.parametrize(
    ("forgets", "message"),
    [("right", "no gradient reaches right"), ("gradients", "carry no gradients"), ("finite", "is not finite")],
)
def test_gradients_that_do_not_arrive_in_an_encoder_are_seen(neural_encoder, forgets, message):
    found = violations("encoder", neural_encoder(forgets))
    assert set(found) == {"encoder/gradients_reach_every_parameter"}
    assert message in found["encoder/gradients_reach_every_parameter"]


def test_token_vectors_and_term_weights_are_encoders_too():
    from scipy.sparse import csr_matrix

    class Tokens(SoundEncoder):
        vectors = "tokens"

        def encode_documents(self, contents):
            words = [text.split() for text in contents]
            return [np.array([[len(word), ord(word[0])] for word in some]).reshape(-1, 2) for some in words]

    class Terms(SoundEncoder):
        vectors = "terms"

        def encode_documents(self, contents):
            return csr_matrix(LetterEncoder.encode_documents(self, contents))

    assert violations("encoder", Tokens()) == {}
    assert violations("encoder", Terms()) == {}


class SoundCodes(LetterCodes):
    fingerprint = "letters"


def _widened(self, contents):
    return LetterCodes.encode_documents(self, contents).astype(np.int64)


def _longer(self, contents):
    codes = LetterCodes.encode_documents(self, contents)
    return np.concatenate([codes, codes], axis=1)


def _larger(self, contents):
    return LetterCodes.encode_documents(self, contents) + np.uint8(8)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (_faulty(SoundCodes, encode_documents=_widened), "int64"),
        (_faulty(SoundCodes, encode_documents=_longer), "several numbers of positions"),
        (_faulty(SoundCodes, encode_documents=_larger), "tables of"),
        (_faulty(SoundCodes, encode=lambda self, queries: np.zeros((len(queries), 16))), r"\[positions, codes\]"),
    ],
)
def test_codes_that_do_not_fit_tables_are_seen(encoder, message):
    check, found = "codes_fit_tables", violations("encoder", encoder)
    assert re.search(message, found[f"encoder/{check}"])


def test_sound_codes_keep_all_promises_and_an_encoder_of_codes_is_trained_by_scores(torch):
    class Scoring(torch.nn.Module, SoundCodes):
        """Learns a weight of what is looked up; one that `forgets` leaves it out."""

        def __init__(self, forgets=False):
            super().__init__()
            self.weight, self.forgets = torch.nn.Parameter(torch.ones(())), forgets

        def score(self, queries, candidates):
            known = looked_up(
                self.encode(queries),
                self.encode_documents(candidates.corpus[candidates.docs]),
                candidates.rows,
                np.arange(candidates.pairs),
            )
            return torch.from_numpy(known) * (self.weight.detach() if self.forgets else self.weight)

    assert violations("encoder", SoundCodes()) == {}
    assert violations("encoder", Scoring()) == {}
    assert [*violations("encoder", Scoring(forgets=True))] == ["encoder/gradients_reach_every_parameter"]


# Losses


@pytest.fixture(scope="module")
def logistic(torch):
    """The pairwise logistic loss, averaged over the pairs of each list and then over the lists."""

    def loss(scores, labels, mask):
        both = mask[:, :, None] & mask[:, None, :]
        wanted = both & (labels[:, :, None] > labels[:, None, :])
        scores = torch.where(mask, scores, 0.0)
        costs = torch.nn.functional.softplus(scores[:, None, :] - scores[:, :, None])
        return (torch.where(wanted, costs, 0.0).sum((1, 2)) / wanted.sum((1, 2)).clamp(min=1)).mean()

    return loss


def test_a_sound_loss_passes(logistic):
    assert violations("loss", logistic) == {}


class _SharpensLabels:
    gamma = 1.0

    def __init__(self, sound):
        self.sound = sound

    def __call__(self, scores, labels, mask):
        return (self.gamma * labels).max() * self.sound(scores, labels, mask)


class _MeansTheSum:
    reduction = "mean"

    def __init__(self, sound, stack):
        self.sound, self.stack = sound, stack

    def __call__(self, scores, labels, mask):
        rows = zip(scores, labels, mask, strict=True)
        costs = self.stack([self.sound(*(each[None] for each in row)) for row in rows])
        return costs if self.reduction == "none" else costs.mean()


def _losses(torch, sound):
    """Losses with one fault each, by the check that has to see it."""

    def masked_by_multiplication(scores, labels, mask):
        return sound(scores * mask, labels * mask, torch.ones_like(mask))

    def softmax_of_everything(scores, labels, mask):
        return sound(torch.log_softmax(scores, dim=0), labels, mask)

    def position(scores, labels, mask):
        return sound(scores * torch.arange(1, scores.shape[1] + 1), labels, mask)

    def mean_of_no_pairs(scores, labels, mask):
        better = (labels[:, :, None] > labels[:, None, :]) & mask[:, :, None] & mask[:, None, :]
        return (scores[:, None, :] - scores[:, :, None])[better].clamp(min=-1).mean()

    def standardised(scores, labels, mask):
        centred = scores - scores.mean(dim=1, keepdim=True)
        return sound(centred / centred.std(dim=1, unbiased=False, keepdim=True), labels, mask)

    def overflowing(scores, labels, mask):
        return sound(scores, labels, mask) + 1e-3 * torch.log(torch.exp(scores) + 1).sum()

    def sigmoid(scores, labels, mask):
        return torch.where(mask, torch.sigmoid(scores) * (labels.mean() - labels), 0.0).sum()

    def ties_by_position(scores, labels, mask):
        ranks = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return sound(scores * (1 + ranks), labels, mask)

    return {
        "gradient_is_the_derivative": lambda *lists: 2 * sound(*lists) - sound(*lists).detach(),
        "precision": lambda scores, labels, mask: sound(scores.float(), labels, mask),
        "empty_lists": lambda *lists: sound(*lists) + 1,
        "order_of_ties": ties_by_position,
        "repeated_documents": lambda scores, labels, mask, documents=None: sound(scores, labels, mask),
        "temperature": _SharpensLabels(sound),
        "reduction": _MeansTheSum(sound, torch.stack),
        "scalar": lambda scores, labels, mask: scores.sum(dim=1),
        "differentiable": lambda scores, labels, mask: scores.argsort().float().sum(),
        "padding": masked_by_multiplication,
        "order_of_documents": position,
        "lists_are_independent": softmax_of_everything,
        "one_document": mean_of_no_pairs,
        "equal_labels": standardised,
        "large_scores": overflowing,
        "badly_wrong_pair": sigmoid,
        "perfect_is_not_worse": lambda scores, labels, mask: -sound(scores, labels, mask),
    }


_OF_LOSSES = [check.name.removeprefix("loss/") for check in checks("loss")]


@pytest.mark.parametrize("check", [name for name in _OF_LOSSES if not name.startswith("vectors_")])
def test_a_losss_fault_is_seen(torch, logistic, check):
    assert f"loss/{check}" in violations("loss", _losses(torch, logistic)[check])


@pytest.fixture(scope="module")
def nearness(torch):
    """A softmax over the documents of a list by the cosines of vectors, with a scale that is learned."""
    normalize = torch.nn.functional.normalize

    class Nearness(torch.nn.Module):
        reduction = "mean"

        def begin(self, collection, dim):
            self.turn = torch.nn.Parameter(torch.eye(dim))

        def costs(self, query_vectors, document_vectors, documents, labels, mask):
            cosines = (
                normalize(query_vectors @ self.turn.to(query_vectors.dtype), dim=1) @ normalize(document_vectors).T
            )
            shares = torch.log_softmax(5 * cosines.gather(1, documents).masked_fill(~mask, -1e9), dim=1)
            return -torch.where(mask, labels * shares, 0.0).sum(1)

        def forward(
            self, scores, labels, mask, documents, queries, query_vectors, document_vectors, distinct_documents
        ):
            places = torch.searchsorted(distinct_documents, documents.contiguous()).clamp(
                max=len(distinct_documents) - 1
            )
            costs = self.costs(query_vectors, document_vectors, places, torch.where(mask, labels, 0.0), mask)
            counts = torch.where(mask, labels, 0.0).any(1)
            self.skipped = int((~counts).sum())
            total = costs[counts].sum() + 0 * costs.sum()
            return total / counts.sum().clamp(min=1) if self.reduction == "mean" else total

    return Nearness


def test_a_sound_loss_of_vectors_passes(nearness):
    assert violations("loss", nearness()) == {}


def _losses_of_vectors(torch, sound):
    """Losses of vectors with one fault each, by the check that has to see it."""

    class Wrapped(sound):
        change = staticmethod(lambda value, **given: value)

        def forward(
            self, scores, labels, mask, documents, queries, query_vectors, document_vectors, distinct_documents
        ):
            given = {name: value for name, value in locals().items() if name != "self"}
            given.pop("__class__", None)
            return self.change(super().forward(**given), **given)

    def changed(change):
        return type("Changed", (Wrapped,), {"change": staticmethod(change)})()

    class Unseeded(Wrapped):
        def begin(self, collection, dim):
            self.turn = torch.nn.Parameter(torch.randn(dim, dim))

    class Forgotten(Wrapped):
        def begin(self, collection, dim):
            super().begin(collection, dim)
            self.other = torch.nn.Parameter(torch.ones(2))

    class Adding(Wrapped):
        def forward(
            self, scores, labels, mask, documents, queries, query_vectors, document_vectors, distinct_documents
        ):
            given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
            value = super().forward(**given)
            return value if self.reduction == "mean" else 2 * value

    def long(value, query_vectors, **given):
        return value + 0 * torch.exp(query_vectors.square().sum())

    def padded(value, scores, **given):
        return value * scores.shape[1]

    def first(value, query_vectors, document_vectors, **given):
        return value + (query_vectors[0] @ document_vectors[0])

    return {
        "vectors_scalar": changed(lambda value, query_vectors, **given: value + query_vectors.sum(1)),
        "vectors_differentiable": Forgotten(),
        "vectors_gradient_is_the_derivative": changed(lambda value, **given: 2 * value - value.detach()),
        "vectors_precision": changed(lambda value, **given: value.float()),
        "vectors_padding": changed(padded),
        "vectors_order_of_lists": changed(first),
        "vectors_length": changed(long),
        "vectors_nothing_relevant": changed(lambda value, **given: value + 1),
        "vectors_reduction": Adding(),
        "vectors_begins_alike": Unseeded(),
        "vectors_learns": changed(lambda value, **given: -value),
    }


@pytest.mark.parametrize("check", [name for name in _OF_LOSSES if name.startswith("vectors_")])
def test_the_fault_of_a_loss_of_vectors_is_seen(torch, nearness, check):
    assert f"loss/{check}" in violations("loss", _losses_of_vectors(torch, nearness)[check])


# Samplers


class SoundSampler:
    """Two documents for each positive of those not relevant to its query; at some steps not of the first ones."""

    each = "positive"

    def begin(self, collection, stages):
        self.corpus, self.first = collection.corpus, 0
        everything = Candidates.of([np.arange(len(self.corpus))] * len(collection.queries), corpus=self.corpus)
        self.others = everything.where(everything.lookup(collection.judgments, 0) <= 0)

    def refresh(self, step):
        self.first = step % 3

    def state(self):
        return {"first": np.array(self.first)}

    def restore(self, state):
        self.first = int(state["first"])

    def sample(self, rows, positives, random):
        return self.lists(rows, positives, random)

    def lists(self, rows, positives, random):
        pools = self.others.where(self.others.docs >= self.first).take(rows)
        drawn = pools.with_scores(random.random(pools.pairs)).top(2)
        order = np.argsort(np.concatenate([positives.rows, drawn.rows]), kind="stable")
        docs, labels = (
            np.append(positives.docs, drawn.docs)[order],
            np.append(positives.scores, 0 * drawn.scores)[order],
        )
        lists = Candidates(positives.offsets + drawn.offsets, docs, labels, self.corpus)
        shares = drawn.lengths / np.maximum(pools.lengths, 1)
        return Sample(lists, np.log(np.where(labels > 0, 1, shares[lists.rows])).astype(np.float32))


def _sampling(change, sound=SoundSampler, **methods):
    """A sampler whose samples are changed; `change` is given the sampler and what it was asked, too."""

    def sample(self, rows, positives, random):
        return change(self.lists(rows, positives, random), self, rows, positives, random)

    return _faulty(sound, sample=sample, **methods)


def _changed_lists(change):
    return _sampling(lambda sample, *asked: replace(sample, candidates=change(sample.candidates)))


def _changed_counts(change):
    return _sampling(lambda sample, *asked: replace(sample, log_expected_count=change(sample)))


def _anything_may_be_drawn(self, collection, stages):
    SoundSampler.begin(self, collection, stages)
    self.others = Candidates.of([np.arange(len(collection.corpus))] * len(collection.queries))


def _in_order_of_queries(sample, sampler, rows, positives, random):
    return sampler.lists(np.sort(rows), positives, random)


def _some_lists(sample, sampler, rows, *asked):
    np.stack(list(rows))
    return sample


def _grades_lost(candidates):
    return candidates.with_scores(candidates.scores > 0)


def _sharpens_its_input(sample, sampler, rows, positives, random):
    positives.scores[:] *= 2
    return sample


def _never_twice_the_same(sample, sampler, rows, positives, random):
    sampler.calls = getattr(sampler, "calls", 0) + 1
    return sampler.lists(rows, positives, np.random.default_rng(sampler.calls))


def _drawn_in_vain(sample, sampler, rows, positives, random):
    return sampler.lists(rows, positives, np.random.default_rng(0))


def _shared_by_name(sample, *asked):
    return replace(sample, shared=True)


def _masked_by_place(sample, *asked):
    return replace(sample, mask=np.arange(sample.candidates.pairs) > 0)


@pytest.mark.parametrize(
    ("sampler", "broken"),
    [
        (_faulty(SoundSampler, each="document"), "what_a_list_is_for"),
        (_changed_lists(lambda candidates: candidates.over(None)), "one_list_each"),
        (_sampling(lambda sample, *asked: Sample(sample.candidates.take(slice(1, None)))), "one_list_each"),
        (_sampling(lambda sample, *asked: sample.candidates), "one_list_each"),
        (_changed_lists(lambda lists: replace(lists, docs=lists.docs + (lists.scores == 0))), "documents_exist"),
        (_changed_lists(_grades_lost), "positives_are_there"),
        (_sampling(_masked_by_place), "positives_are_there"),
        (_faulty(SoundSampler, begin=_anything_may_be_drawn), "negatives_are_not_relevant"),
        (_sampling(_in_order_of_queries), "order_of_lists"),
        (_sampling(_some_lists), "no_lists"),
        (_sampling(_shared_by_name), "shared_is_shared"),
        (_sampling(_sharpens_its_input), "inputs_unchanged"),
        (_sampling(_never_twice_the_same), "same_generator_same_sample"),
        (_sampling(_drawn_in_vain), "other_generator_other_sample"),
        (_changed_counts(lambda sample: np.log(sample.candidates.scores)), "expected_counts_are_finite"),
        (_changed_counts(lambda sample: sample.log_expected_count - np.float32(0.5)), "expected_counts_are_right"),
        (_faulty(SoundSampler, restore=lambda self, state: None), "state_can_be_restored"),
        (_faulty(SoundSampler, state=lambda self: {"first": self.first}), "state_can_be_restored"),
        (_faulty(SoundSampler, state=lambda self: {"first": np.array([self], object)}), "state_can_be_restored"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_samplers_fault_is_seen(sampler, broken):
    assert f"sampler/{broken}" in violations("sampler", sampler)


def test_only_the_check_of_a_samplers_fault_fails():
    faults = {
        "no_lists": _sampling(_some_lists),
        "state_can_be_restored": _faulty(SoundSampler, restore=lambda self, state: None),
        "expected_counts_are_right": _changed_counts(lambda sample: sample.log_expected_count - np.float32(0.5)),
    }
    assert {check: set(violations("sampler", sampler)) for check, sampler in faults.items()} == {
        check: {f"sampler/{check}"} for check in faults
    }


def test_a_sampler_that_keeps_hits_says_so():
    assert violations("sampler", _faulty(SoundSampler, begin=_anything_may_be_drawn, hits="keep")) == {}


def test_a_sampler_with_a_state_that_cannot_be_had_is_told():
    class Restless(Judged):
        def refresh(self, step):
            pass

    assert "it has refresh; `state` and" in violations("sampler", Restless())["sampler/state_can_be_restored"]
    assert violations("sampler", Judged()) == {}


# Collections


def _collection(ids=("a", "b"), queries=("1", "2"), judged=((0,), (1,))):
    documents = Documents(list(ids), ["cat", "dog"])
    return Collection("c", documents, Queries(list(queries), ["x", "y"]), Candidates.of(judged, corpus=documents))


class _Shifting(Documents):
    def __getitem__(self, ordinals):
        found = super().__getitem__(ordinals)
        return found if isinstance(ordinals, slice) else sorted(found)


def _shifting():
    documents = _Shifting(["a", "b"], ["cat", "dog"])
    return Collection("c", documents, Queries([], []), Candidates.empty(0, documents))


@pytest.mark.parametrize(
    ("collection", "broken"),
    [
        (["cat"], "complete"),
        (_collection(ids=("a", "b c")), "ids_are_words"),
        (_collection(queries=("1", "1")), "ids_are_words"),
        (_shifting(), "one_content_per_document"),
        (_collection(judged=((5,), (6,))), "judged_documents_exist"),
    ],
)
def test_a_collections_fault_is_seen(collection, broken):
    assert f"collection/{broken}" in violations("collection", collection)


# Observers


class Watching:
    """Counts what is scored."""

    pairs = 0

    @hookimpl(wrapper=True)
    def nirank_score(self, candidates):
        scores = yield
        self.pairs += candidates.pairs
        return scores


class _Listening:
    @hookimpl
    def nirank_scored(self, scores):
        pass


class _Asking:
    @hookimpl
    def nirank_score(self, device):
        pass


class _Doubling:
    @hookimpl
    def nirank_wrap(self, component):
        return lambda call, method, *inputs: call(*inputs) if method != "encode" else 2 * call(*inputs)


class _Forgetting:
    """The second time it says what it remembers, of the wrong inputs."""

    seen = None

    @hookimpl
    def nirank_wrap(self, component):
        def recall(call, method, *inputs):
            if method != "encode_documents":
                return call(*inputs)
            found = call(*inputs) if self.seen is None else self.seen[::-1]
            self.seen = found
            return found[: len(inputs[0])]

        return recall


class _Swallowing:
    @hookimpl(wrapper=True)
    def nirank_encode(self):
        try:
            return (yield)
        except Exception:
            return None


class _Translating(_Swallowing):
    @hookimpl(wrapper=True)
    def nirank_encode(self):
        try:
            return (yield)
        except Exception as error:
            raise RuntimeError("observer failed") from error


@pytest.mark.parametrize(
    ("observer", "broken"),
    [
        (object, "implements_hooks"),
        (_Listening, "implements_hooks"),
        (_Asking, "implements_hooks"),
        (_Doubling, "same_results"),
        (_Forgetting, "same_results"),
        (_Swallowing, "errors_pass"),
        (_Translating, "errors_pass"),
    ],
)
def test_an_observers_fault_is_seen(observer, broken):
    assert f"observer/{broken}" in violations("observer", observer())


# Plugins


REGISTERS = "from nirank import hookimpl\n@hookimpl\ndef nirank_register(registry):\n    "


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Loads a plugin from source, and forgets it again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(active(), "known", list(active().known))
    loaded = []

    def plant(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        __import__(name)
        plugin = active().load(Plugin(name), lambda: sys.modules[name])
        loaded.append((name, plugin))
        return plugin

    yield plant
    for name, plugin in loaded:
        active().registry.remove(plugin)
        if active().manager.is_registered(plugin.module):
            active().manager.unregister(plugin.module)
        del sys.modules[name]


def _component(definition, tiny=", tiny='MODULE:T'"):
    return f"{REGISTERS}registry.add('scorer', 'MODULE', 'MODULE:T'{tiny})\n{definition}\n"


@pytest.mark.parametrize(
    ("name", "source", "broken"),
    [
        ("p_loads", REGISTERS + "raise RuntimeError('no')", "loads"),
        ("p_heavy", "import types, sys\nsys.modules['torch'] = types.ModuleType('torch')", "imports_nothing_heavy"),
        ("p_reaches", "import nirank.plugins.loading", "imports_faces_only"),
        ("p_takes", "from nirank.data.ids import Ids", "imports_faces_only"),
        ("p_private", "from nirank.data import candidates", "imports_faces_only"),
        ("p_reads", REGISTERS + "open(__file__).close()", "registers_quietly"),
        ("p_calls", REGISTERS + "__import__('socket').socket().close()", "registers_quietly"),
        ("p_lists", REGISTERS + "__import__('os').listdir('.')", "registers_quietly"),
        ("p_tiny", _component("class T:\n    'Docs.'", tiny=""), "components_have_a_tiny"),
        ("p_docs", _component("class A:\n    'Docs.'\nclass T(A):\n    pass"), "components_are_documented"),
        ("p_there", _component("U = 1"), "components_are_documented"),
        ("p_repr", _component("def T(stemmer=object()):\n    'Docs.'"), "components_are_readable"),
    ],
)
def test_a_plugins_fault_is_seen(planted, name, source, broken, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch"))  # whatever is planted there goes again
    found = violations("plugin", planted(name, source.replace("MODULE", name)))
    assert set(found) == {f"plugin/{broken}"} or name in ("p_loads", "p_there")
    assert f"plugin/{broken}" in found


def test_a_sound_plugin_passes(planted):
    source = _component("class T:\n    'Docs.'\n    def __init__(self, k1: float = 0.9): pass")
    assert violations("plugin", planted("p_sound", source.replace("MODULE", "p_sound"))) == {}


# Writers


class SoundWriter:
    """The first word of a document, and how many letters it has."""

    def write(self, contents):
        return [[*text.split()[:1], f"{len(text)} letters"] for text in contents]


def _one_too_few(self, contents):
    return SoundWriter().write(contents)[1:]


def _numbers(self, contents):
    return [[len(text)] for text in contents]


def _no_length(self, contents):
    return map(len, contents)


def _with_the_batch(self, contents):
    return [f"one of {len(contents)}" for _ in contents]


def _by_place(self, contents):
    return [f"document {place}" for place, _ in enumerate(contents)]


def _only_ascii(self, contents):
    return [text.encode("ascii").decode() if len(contents) > 1 else text for text in contents]


def _needs_documents(self, contents):
    return [min(contents)] + list(contents)[1:] if contents else ["nothing"]


def _at_random(self, contents):
    return [str(random.random()) for _ in contents]


@pytest.mark.parametrize(
    ("write", "broken"),
    [
        (_one_too_few, "texts_for_each"),
        (_numbers, "texts_for_each"),
        (_no_length, "texts_for_each"),
        (_with_the_batch, "document_alone"),
        (_by_place, "order_of_documents"),
        (_only_ascii, "any_text"),
        (_needs_documents, "no_documents"),
        (_at_random, "deterministic"),
    ],
)
def test_a_writers_fault_is_seen(write, broken):
    assert f"writer/{broken}" in violations("writer", _faulty(SoundWriter, write=write))


# In another process


class OddScorer(SoundScorer):
    """Depends on the order of a set, which is another one in each process."""

    def score(self, queries, candidates):
        return super().score(queries, candidates) + np.float32(hash("a") % 1009)


class OddExtractor(SoundExtractor):
    def extract(self, queries, candidates):
        return super().extract(queries, candidates) + np.float32(hash("a") % 1009)


class OddGenerator(SoundGenerator):
    def generate(self, queries, k):
        found = self.found(queries, k)
        return found.with_scores(found.scores + np.float32(hash("a") % 1009))


class OddEncoder(SoundEncoder):
    def encode_documents(self, contents):
        return super().encode_documents(contents) + np.float32(hash("a") % 1009)


class OddRewriter(SoundRewriter):
    def rewrite(self, queries):
        return [f"{text} {hash('a')}" for text in queries.contents]


class OddWriter(SoundWriter):
    def write(self, contents):
        return [str(hash("a")) for _ in contents]


class Locked(SoundScorer):
    def __init__(self):
        self.lock = threading.Lock()


class Ending(SoundScorer):
    def __setstate__(self, state):
        os._exit(3)

    def __getstate__(self):
        return {"once": 1}


class Refusing(Locked):
    def __reduce__(self):
        raise BadInput("it holds a lock: build it where it is used.")


ODD = [OddScorer, OddExtractor, OddGenerator, OddEncoder, OddRewriter, OddWriter]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
def test_another_answer_in_another_process_is_seen(odd):
    kind, broken = odd.__name__.removeprefix("Odd").lower(), "same_in_another_process"
    found = violations(kind, odd())
    assert set(found) == {f"{kind}/{broken}"}
    assert "not the same" in found[f"{kind}/{broken}"]


def test_what_cannot_be_pickled_is_seen_and_what_refuses_with_a_reason_is_not():
    for kind, told in ((Locked, "multiprocessing and joblib cannot send it"), (Ending, "ended over its pickle")):
        assert told in violations("scorer", kind())["scorer/same_in_another_process"]
    assert violations("scorer", Refusing()) == {}


# All of them


SOUND = {
    "scorer": SoundScorer,
    "extractor": SoundExtractor,
    "writer": SoundWriter,
    "generator": SoundGenerator,
    "rewriter": SoundRewriter,
    "encoder": SoundEncoder,
    "sampler": SoundSampler,
    "collection": _collection,
    "observer": Watching,
}


@pytest.mark.parametrize("kind", SOUND)
def test_what_is_sound_passes(kind):
    assert violations(kind, SOUND[kind]()) == {}


def test_every_check_is_planted_a_fault_and_promises_something():
    source = Path(__file__).read_text(encoding="utf-8")
    for kind in KINDS:
        for check in checks(kind):
            assert f'"{check.function.__name__}"' in source, check.name
            assert check.promise.endswith((".", ".)")), check.name


def test_a_kind_that_there_is_not_is_told():
    with pytest.raises(UnknownName, match="Did you mean 'scorer'"):
        violations("scorers", SoundScorer())


def test_the_samples_hold_what_breaks_things():
    assert "" in DOCUMENTS
    assert len(set(DOCUMENTS)) < len(DOCUMENTS)
    assert len(DOCUMENTS[LONG]) > 10_000
    assert len(corpus()) == len(DOCUMENTS)


# As a pytest plugin


PLUGIN = '''
import numpy as np
from nirank import hookimpl

@hookimpl
def nirank_register(registry):
    registry.add("scorer", "zeros", "outside:Zeros", tiny="outside:Zeros")
    registry.add("scorer", "noise", "outside:Noise", tiny="outside:Noise")
    registry.add("scorer", "needy", "outside_needy:Needy", tiny="outside_needy:Needy", extra="all")

contract_exceptions = {"noise::scorer/deterministic": "draws a sample at every call"}

class Zeros:
    """Nothing is relevant."""
    def score(self, queries, candidates):
        return np.zeros(candidates.pairs, np.float32)

class Noise(Zeros):
    """Nothing is relevant, more or less."""
    calls = 0
    def score(self, queries, candidates):
        self.calls += 1
        return super().score(queries, candidates) + np.float32(self.calls % 2 * 1e-6)
'''


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder with a plugin, its tests and a conftest that switches the checks on."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "outside.py").write_text(PLUGIN)
    (folder / "outside_needy.py").write_text("import surely_not_installed\n")
    (folder / "pytest.ini").write_text("[pytest]\nnirank_plugins = outside\naddopts = -p no:cacheprovider\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "conftest.py").write_text('pytest_plugins = ["nirank.testing"]\n')
    (folder / "tests" / "test_own.py").write_text("def test_own(): pass\n")
    return folder


def _pytest(folder, *arguments, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "NIRANK_BLOCK")}
    environment |= {"PYTHONPATH": str(folder), "NIRANK_PLUGINS": "outside", **variables}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # for speed
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_checks_are_collected_skipped_and_excepted_as_pytest_does(outside):
    done = _pytest(outside, "-v", "-rs")
    assert done.returncode == 0, done.stdout
    assert "zeros::scorer/query_alone PASSED" in done.stdout
    assert "noise::scorer/deterministic XFAIL" in done.stdout
    assert "noise::scorer/deterministic: draws a sample at every call" in done.stdout.partition("exceptions from")[2]
    assert "needy::scorer/query_alone SKIPPED" in done.stdout
    assert "needs the package 'surely_not_installed'" in done.stdout
    assert "test_own PASSED" in done.stdout
    assert "bm25" not in done.stdout


def test_a_missing_dependency_fails_where_ci_is_set_or_it_is_asked_for(outside):
    chosen = ("tests/conftest.py::needy::scorer/query_alone",)
    for done in (_pytest(outside, *chosen, CI="1"), _pytest(outside, *chosen, "--nirank-strict")):
        assert done.returncode == 1
        assert "'surely_not_installed', which is not installed" in done.stdout


def test_the_name_of_a_plugin_that_is_not_there_is_a_usage_error(outside):
    done = _pytest(outside, "--nirank-plugin", "outsid")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "There is no plugin 'outsid'. Did you mean 'outside'?" in done.stderr
    blocked = _pytest(outside, NIRANK_BLOCK="outside")
    assert blocked.returncode == pytest.ExitCode.USAGE_ERROR


@pytest.fixture
def changed(outside, tmp_path):
    """Runs pytest on a copy of the folder in which the plugin reads otherwise."""

    def run(old, new, *arguments):
        folder = shutil.copytree(outside, tmp_path / "changed", ignore=shutil.ignore_patterns("__pycache__"))
        assert old in PLUGIN
        (folder / "outside.py").write_text(PLUGIN.replace(old, new))
        return _pytest(folder, *arguments).stdout

    return run


def test_an_exception_that_names_no_check_is_refused(changed):
    shown = changed("scorer/deterministic", "scorer/determinist")
    assert "names 'noise::scorer/determinist', which is not one of its checks" in shown


def test_an_exception_that_is_not_needed_fails(changed):
    assert "[XPASS(strict)] draws a sample at every call" in changed("self.calls += 1", "", "-k", "noise")


def test_a_broken_promise_is_told_in_words(changed):
    shown = changed("contract_exceptions", "no_exceptions", "-k", "noise and deterministic")
    assert "breaks scorer/deterministic: 13 of 13 scores changed" in shown
    assert "The promise: Scoring twice in evaluation mode gives the same scores" in shown
    assert "Traceback" not in shown


def test_a_tiny_that_asks_the_network_fails(changed):
    asks = "calls = __import__('socket').create_connection(('192.0.2.1', 80), 1)"
    shown = changed("calls = 0", "def __init__(self):\n        self." + asks, "-k", "noise and query_alone")
    assert "a component built by its `tiny` needs no network" in shown
