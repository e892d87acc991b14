"""Random pipelines: each finds what its definition says, whatever is searched before it and beside it."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

import nirank
from nirank.component import Component
from nirank.data import Candidates, Documents, Explanation, Mark, Queries
from nirank.errors import BadInput, CompositionError
from nirank.execution import sharing
from nirank.pipeline.algebra import Stage
from nirank.registry import Entry, Plugin
from tests import random_pipelines as slow


class Lexical:
    """A generator and scorer whose scores depend on the corpus that its index is of."""

    def __init__(self, score):
        self._score, self.kind = score, score.__name__
        self.index_key = {"index": f"random {self.kind}"}
        self.fingerprint = f"random {self.kind}"

    def build(self, corpus, folder, encode=None):
        (folder / "texts.json").write_text(json.dumps(corpus[:]))

    def open(self, corpus, folder):
        texts = tuple(json.loads((folder / "texts.json").read_text()))
        self.world = slow.World((), texts, ())

    def generate(self, queries, k):
        every = Candidates.of([range(len(self.world.texts))] * len(queries))
        scored = every.with_scores(self.score(queries, every))
        return scored.where(scored.scores > 0).top(k)

    def score(self, queries, candidates):
        pairs = zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True)
        values = [self._score(queries.contents[row], self.world.texts[doc], self.world) for row, doc in pairs]
        return np.array(values, np.float32)

    def explain(self, queries, candidates):
        """A part for each word of the query, marked where the document has it."""
        pairs = zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True)
        return [self._explained(queries.contents[row].split(), self.world.texts[doc]) for row, doc in pairs]

    def _explained(self, words, text):
        parts = [
            Explanation(word, self._score(word, text, self.world), document_marks=_places(word, text)) for word in words
        ]
        return Explanation.summed(self.kind, sum(part.score for part in parts), tuple(parts))


def _places(word, text):
    return tuple(Mark(found.start(), found.end(), 1.0) for found in re.finditer(rf"\b{word}\b", text))


class Encoder:
    vectors, fingerprint = "dense", "random letters"

    def encode(self, queries):
        return np.array([slow.letters(text) for text in queries.contents]).reshape(-1, 4)

    def encode_documents(self, contents):
        return np.array([slow.letters(text) for text in contents]).reshape(-1, 4)


class Length:
    def score(self, queries, candidates):
        return np.array([len(text.split()) for text in candidates.corpus[candidates.docs]], np.float32)


class Summed:
    reads = "features"

    def score(self, queries, candidates):
        values = candidates.features.values
        return values[:, 0] + 2 * values[:, 1]


class Writer:
    fingerprint = "random writer"

    def write(self, contents):
        return [slow.writing(text) for text in contents]


def halved(queries, candidates):
    """Its documents, the order turned."""
    return candidates.with_scores(-candidates.scores)


def parts():
    made = {
        "common": Lexical(slow.common),
        "rare": Lexical(slow.rare),
        "encoder": Encoder(),
        "length": Length(),
        "summed": Summed(),
        "writer": Writer(),
    }
    functions = ["overlap", "longer", "last", "twice", "told", "parts", "kind", "short"]
    named = {name: getattr(slow, name) for name in functions} | {"halved": halved}
    stages = {name: nirank.load(part, name) for name, part in made.items()}
    stages["exact"] = nirank.load("exact", device="cpu")
    return stages | {name: _function(name, each) for name, each in named.items()}


def _function(name, function):
    """A function as a plugin registers it."""
    return Stage(Component(name, function, {}, Entry("function", name, "", Plugin("random"))))


def world(seed, size):
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(slow.WORDS, k=chance.randint(1, 9))) for _ in range(size)]
    return slow.World(tuple(f"d{n}" for n in range(size)), tuple(texts), tuple(chance.choices([1990, 2010], k=size)))


WORLDS = [world(1, 12), world(2, 9)]
CORPORA = [Documents(list(each.ids), list(each.texts), {"year": list(each.years)}) for each in WORLDS]
ASKED = [("q0", "cat"), ("d3", "dog cat"), ("q2", "emu"), ("d1", "fox ant bee ant"), ("q4", "gnu"), ("q5", "bee fox")]
QUERIES = Queries([name for name, _ in ASKED], [text for _, text in ASKED])


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIRANK_CACHE", str(tmp_path_factory.mktemp("random")))
        yield


def same(one, other):
    for name in ("offsets", "docs", "scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def check(tree, stages, folder=None):
    """Search in all ways. False for what is refused."""
    text = slow.written(tree)
    try:
        pipeline = nirank.parse(text, stages)
        if not hasattr(pipeline, "at_depth") or not pipeline.scored:
            return False
    except (CompositionError, BadInput):
        return False
    shown = repr(pipeline)
    again = nirank.parse(shown, stages)
    assert repr(again) == shown
    assert len(pipeline.components()) == len({*pipeline.components()})
    try:
        results = [pipeline.search(QUERIES, CORPORA[at]) for at in (0, 1, 0)]
    except (CompositionError, BadInput) as error:
        if any(word in str(error) for word in ("unique", "already", "infinite", "too large")):
            return False
        raise
    for found, at in zip(results, (0, 1), strict=False):
        _equal(found, [slow.find(tree, query, WORLDS[at]) for query in ASKED], tree)
    found = results[0]
    same(found, results[2])
    same(found, again.search(QUERIES, CORPORA[0]))
    for row in range(len(QUERIES)):
        same(found.take([row]), pipeline.search(QUERIES.take([row]), CORPORA[0]))
    with sharing.sharing():
        for other in (pipeline, again, pipeline % 2, pipeline):
            other.search(QUERIES, CORPORA[0])
        same(found, again.search(QUERIES, CORPORA[0]))
    same(found, pipeline.at_depth(1000).search(QUERIES, CORPORA[0]))
    for k in (1, 3):
        cut = (pipeline % k).search(QUERIES, CORPORA[0])
        same(cut, found.top(k))
        same(cut, nirank.parse(repr(pipeline % k), stages).search(QUERIES, CORPORA[0]))
        assert cut.longest <= cut.depth <= k
        shallow = pipeline.at_depth(k).search(QUERIES, CORPORA[0])
        assert shallow.depth is None or shallow.longest <= shallow.depth
    assert found.depth is None or found.longest <= found.depth
    _explained(pipeline, found)
    if folder is not None:
        fresh = nirank.parse(text, parts())
        fresh.index(CORPORA[0], folder)
        same(found, fresh.search(QUERIES, CORPORA[0]))
    return True


def _explained(pipeline, found):
    for row in (1, 5):
        _one_explained(pipeline, row, found)


def _one_explained(pipeline, row, found):
    """The explanation of each document adds up to the score that it is found with; of others it is refused, or told."""
    asked, (docs, scores) = QUERIES.take([row]), found[row]
    for doc, name in enumerate(CORPORA[0].ids):
        try:
            explanation = pipeline.explain(asked, name, CORPORA[0])
        except BadInput:
            assert doc not in docs
            continue
        assert explanation.adds_up(), str(explanation)
        text = CORPORA[0][doc]
        marked = {text[mark.start : mark.end] for mark in explanation.document_marks}
        assert marked <= set(slow.WORDS), (marked, repr(pipeline))
        if doc in docs:
            at = docs.tolist().index(doc)
            assert explanation.score == pytest.approx(scores[at], rel=1e-5, abs=1e-5), str(explanation)
            assert f"rank {at + 1} of {len(docs)} from {pipeline!r}" in explanation.note
        else:
            assert "not among" in explanation.note


def _equal(found, expected, tree):
    for row, wanted in enumerate(expected):
        docs, scores = found[row]
        assert sorted(docs.tolist()) == sorted(wanted), (ASKED[row], wanted, docs, scores)
        np.testing.assert_allclose(scores, [wanted[doc] for doc in docs.tolist()], rtol=1e-5, atol=1e-5)
        assert docs.tolist() == sorted(docs.tolist(), key=lambda doc: (-scores[docs.tolist().index(doc)], doc))


@pytest.mark.parametrize("seed", range(10))
def test_a_random_pipeline_finds_what_its_definition_says(seed, tmp_path):
    pytest.importorskip("torch")
    chance, stages, searched = random.Random(seed), parts(), 0
    while searched < 3:
        tree = slow.ranking(chance, chance.choice([1, 2, 2, 3]))
        searched += check(tree, stages, tmp_path / str(searched))


# What they have found, each by itself


def _found(text, stages=None, corpus=CORPORA[0]):
    return nirank.parse(text, stages or parts()).search(QUERIES, corpus)


def test_variants_are_fused_alike_whatever_other_queries_are_in_the_batch():
    pipeline = nirank.parse("variants(parts, method='borda') >> common", parts())
    whole = pipeline.search(QUERIES, CORPORA[0])
    alone = pipeline.search(QUERIES.take([0]), CORPORA[0])
    same(whole.take([0]), alone)
    assert whole.depth is None  # two variants may find more than one of them is asked for


def test_passages_of_a_reranking_are_cut_and_not_searched_less_deep():
    for inner in ("common >> length", "fuse(common, rare)", "common & rare", "common >> top(9, length)"):
        whole = _found(f"passages({inner}, words=3, stride=2)")
        for k in (1, 2, 4):
            same(_found(f"passages({inner}, words=3, stride=2) % {k}"), whole.top(k))


def test_the_rest_stays_in_order_behind_a_best_score_that_float32_cannot_lower_by_one():
    stages = parts()
    large = nirank.score_by(lambda query, document: 3e9)
    found, before = (stages["common"] >> nirank.top(2, large)).search(QUERIES, CORPORA[0]), _found("common", stages)
    for row in range(len(QUERIES)):
        assert found[row][0][2:].tolist() == before[row][0][2:].tolist()
        assert (np.diff(found[row][1][2:]) < 0).all()
    infinite = nirank.score_by(lambda query, document: -np.inf)
    with pytest.raises(BadInput, match="infinite"):
        (stages["common"] >> nirank.top(2, infinite)).search(QUERIES, CORPORA[0])


@pytest.mark.parametrize("second", ["rare", "passages(rare, words=2)", "expanded(rare, writer)", "rare >> length"])
def test_the_scoring_that_lines_are_chosen_by_has_an_index_apart(second):
    first = "passages(expanded(common, writer, rare, keep=0.5), words=3)"
    stages = parts()
    both = nirank.parse(f"fuse({first}, {second}, method='combsum')", stages)
    for corpus in (*CORPORA, CORPORA[0]):
        found, lists = both.search(QUERIES, corpus), [_found(first, corpus=corpus), _found(second, corpus=corpus)]
        for row in range(len(QUERIES)):
            single = [dict(zip(docs.tolist(), scores, strict=True)) for docs, scores in (each[row] for each in lists)]
            expected = slow.fused(single, "combsum", "minmax", [1.0, 1.0])
            assert found[row][0].tolist() == slow.ordered(expected)


def test_a_function_may_search_another_corpus_with_the_same_component():
    stages = parts()
    common, dense = stages["common"], stages["encoder"] >> stages["exact"]

    def searching(queries, candidates):
        common.search("cat dog", CORPORA[1])
        dense.search("cat dog", CORPORA[1])
        return candidates

    for ranking, filtered in ((common, "common >> where('year > 2000')"), (dense, "encoder >> exact >> where(short)")):
        other = nirank.parse(filtered, stages)
        found = (ranking >> nirank.apply(searching) ^ ranking ^ other).search(QUERIES, CORPORA[0])
        same(found, ranking.search(QUERIES, CORPORA[0]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("common >> 0.5 * (rewrite(last) >> (common >> length))", "common >> (0.5 * (rewrite(last) >> length))"),
        ("common >> -(rewrite(last) >> encoder >> exact)", "common >> (-1.0 * (rewrite(last) >> (encoder >> exact)))"),
        ("common >> rare - (rewrite(last) >> rewrite(twice) >> rare)", None),
    ],
)
def test_a_rewritten_ranking_scores_as_the_ranking_does_for_what_was_rewritten(text, shown):
    pipeline = nirank.parse(text, parts())
    assert shown is None or repr(pipeline) == shown
    assert len(pipeline.search(QUERIES, CORPORA[0]).docs)


def test_a_rewriting_keeps_what_is_known_of_scores():
    ql, same_ = nirank.load("ql"), nirank.rewrite(lambda query: query)
    rm3 = nirank.load("rm3")
    plain = (ql % 3 >> rm3 >> nirank.load("bm25")).search(QUERIES, CORPORA[0])
    for first in (same_ >> ql % 3, nirank.route(lambda query: "ql", {"ql": ql % 3})):
        assert first.log_likelihoods
        same((first >> rm3 >> nirank.load("bm25")).search(QUERIES, CORPORA[0]), plain)


@pytest.mark.parametrize("scoring", ["normalise(rare) + length", "0.5 * score_by(longer, by='list')",
                                     "features(normalise(rare), length) >> summed"])  # fmt: skip
def test_a_sum_that_looks_at_the_list_is_no_score_of_any_pair(scoring):
    stages = parts()
    with pytest.raises(CompositionError, match="missing"):
        nirank.parse(f"common >> 0.5 * (common % 3 >> ({scoring}))", stages)
    nirank.parse(f"common >> 0.5 * scores(common % 3 >> ({scoring}), missing=0.0)", stages)
    kept = nirank.parse(f"common >> scores(common % 3 >> ({scoring}), missing=0.0) + length", stages)
    assert not kept.scoring.listwise


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5 * (common | rare)", r"put it before a scoring, `\(common \| rare\) >> scoring`"),
        ("(common + rare) >> length", "put a generator before it"),
        ("(common + rare) | common", "put a generator before it"),
        ("top(3, rare) >> common", r"write `ranking >> top\(3, rare\)"),
        ("common >> where('year > 2000') % 3", r"write `\(ranking >> where\('year > 2000'\)\) % 3`"),
        ("apply(halved) >> common", r"write `ranking >> apply\(halved\)"),
    ],
)
def test_what_is_refused_says_what_to_write(text, message):
    with pytest.raises(CompositionError, match=message):
        nirank.parse(text, parts())


def test_a_function_that_finds_a_document_twice_is_told():
    twice = nirank.apply(lambda queries, found: Candidates.of([[1, 1]] * len(queries), [[2, 1]] * len(queries)))
    with pytest.raises(nirank.NirankError, match="each document once"):
        (parts()["common"] >> twice).search(QUERIES, CORPORA[0])


def test_a_weight_may_be_any_real_number():
    common = parts()["common"]
    assert repr(common * np.float32(0.5)) == repr(0.5 * common) == repr(np.float64(0.5) * common)
    assert repr(common * np.int64(2)) == "2.0 * common"


def test_what_failed_to_open_another_index_opens_its_own_again():
    class Failing(Lexical):
        def open(self, corpus, folder):
            super().open(corpus, folder)
            if len(corpus) == len(CORPORA[1]):
                raise OSError("no memory left")

    stage = nirank.load(Failing(slow.common), "failing")
    before = stage.search(QUERIES, CORPORA[0])
    with pytest.raises(nirank.NirankError, match="no memory left"):
        stage.search(QUERIES, CORPORA[1])
    same(stage.search(QUERIES, CORPORA[0]), before)
