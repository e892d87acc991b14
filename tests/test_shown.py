"""What objects show of themselves: readable text, HTML in which markup of ids and texts is text, diagrams."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries, images
from nirank.experiments.experiment import Experiment
from nirank.experiments.results import Results, System
from nirank.showing import html

EVIL = "<script>alert('x')</script>&\"<img src=x onerror=alert(1)>"


class _Tags(HTMLParser):
    """The tags, attributes and text of a page; that every tag is closed."""

    def __init__(self, text) -> None:
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


@pytest.fixture
def collection():
    corpus = Documents([f"d{EVIL}", "d1", "d2"], [f"text {EVIL}", images.drawn(1), "z " * 400])
    queries = Queries([f"q{EVIL}", "b", "c", "d"], [EVIL, "two", images.drawn(2), "four"])
    judged = Candidates.of([[0], [1], [2], [0, 7]], [[1], [2], [1], [1, 1]], corpus)
    return Collection(f"name {EVIL}", corpus, queries, judged)


@pytest.fixture
def found(collection):
    docs = [[0, 1, 2], [1], [], [2]]
    run = Candidates.of(docs, [np.arange(len(row), 0, -1) for row in docs], collection.corpus)
    return run.for_queries(collection.queries.ids)


@pytest.fixture
def results(collection, found, overlap):
    judged = nirank.evaluate(found, collection.judgments, ["RR", "P@1"])
    ranking = nirank.load(overlap, "overlap") % 3
    systems = {name: System(name, ranking, found, judged, 0.5, {}) for name in (f"a{EVIL}", "b")}
    comparison = nirank.compare(dict.fromkeys(systems, judged), "b")
    described = Experiment.of({"collection": "x", "pipelines": {"b": "bm25"}, "evaluate": {"baseline": "b"}})
    return Results(described, collection, systems, comparison)


def test_markup_of_ids_and_texts_is_text_wherever_it_is_shown(collection, found, results):
    for value in (found, collection, collection.queries, results, results.comparison):
        page = _Tags(value._repr_html_())
        assert not {"script", "iframe", "link"} & {*page.tags}
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert all(value.startswith("data:image/jpeg;base64,") for name, value in page.attributes if name == "src")
        assert EVIL in page.text
        assert "http" not in value._repr_html_()


def test_results_are_shown_with_ids_scores_texts_and_small_pictures(found):
    page = _Tags(found._repr_html_())
    assert page.tags.count("img") == 2
    assert "3.0000" in page.text
    assert "query c: nothing" in page.text
    assert "... and 1 more queries; 5 pairs in all." in page.text
    assert "z z z" in page.text
    assert len(page.text) < 3000


def test_text_forms_are_tables_and_short_ones_are_short(found, collection, results):
    assert repr(found) == "<Candidates for 4 queries: 5 pairs of <Documents: 3>>"
    assert "1  3.0000  d<script>" in str(found)
    assert "(an image)" in str(found)
    assert repr(collection.queries).startswith("<4 Queries: q<script>")
    assert str(collection.queries).startswith("4 queries\n")
    assert repr(results.comparison) == f"<Comparison of a{EVIL}, b on 4 queries>"
    assert "Paired randomisation test over 4 queries" in str(results.comparison)
    assert repr(results).startswith(f"<Results of experiment: a{EVIL}, b on <Collection")
    assert "overlap % 3" in str(results)
    assert "\x1b" not in "".join(map(str, (found, results, results.comparison)))


def test_control_characters_are_shown_and_not_obeyed():
    corpus = Documents(["d\x1b[2J"], ["text\x1b]0;"])
    found = Candidates.of([[0]], [[1]], corpus).for_queries(["q\x07"])
    assert "\x1b" not in str(found)
    assert "\x07" not in str(found)


def test_documents_without_a_corpus_or_beyond_it_are_ordinals(found):
    bare = Candidates.of([[5]], [[1]])
    assert "(ordinal 5)" in str(bare)
    assert "candidates.over(corpus)" in str(bare)
    assert "(ordinal 7)" in Candidates.of([[7]], [[1]], found.corpus)._repr_html_()


def test_nothing_at_all_is_shown_too():
    assert str(Candidates.empty(0)) == "Without a corpus documents have no ids here: candidates.over(corpus)."
    assert repr(Queries([], [])) == "<0 Queries>"
    _Tags(Candidates.empty(0)._repr_html_())


def test_an_element_keeps_the_order_of_its_texts_and_elements():
    made = html.page(html.element("p", "a", html.element("b", "<b>"), "c", "d", html.element("i"), "e", class_="x"))
    assert '<p class="x">a<b>&lt;b&gt;</b>cd<i></i>e</p>' in made


@pytest.fixture
def stages(overlap):
    return nirank.load("bm25"), nirank.load("ql"), nirank.load(overlap, "overlap"), nirank.load(overlap, "third")


def test_a_diagram_has_stages_and_what_flows_between_them(stages):
    bm25, ql, overlap, third = stages
    ranking = (bm25 % 20 | ql % 20) >> 0.3 * bm25 + overlap + third
    assert str(ranking.diagram()).splitlines() == [
        "queries",
        "  ↓",
        "|  what either found",
        "├─ bm25 % 20  (generator/bm25)",
        "├─ ql % 20  (generator/ql)",
        "  ↓ candidates",
        "+  sum",
        "├─ bm25  (generator/bm25)",
        "│    ↓ scores",
        "│  * 0.3",
        f"├─ overlap  ({overlap.component.spec})",
        f"├─ third  ({third.component.spec})",
        "  ↓",
        "candidates",
    ]
    page = _Tags(ranking._repr_html_())
    assert [page.text.count(word) for word in ("queries", "candidates", "scores")] == [1, 2, 1]
    assert (0.3 * bm25)._repr_html_().count("pairs") == 1


def test_every_kind_of_pipeline_draws_itself_with_each_of_its_components(stages):
    bm25, ql, overlap, _ = stages
    made = [
        bm25 ^ ql,
        bm25 & ql,
        nirank.fuse(bm25, ql),
        bm25 % 10 >> nirank.top(3, overlap),
        nirank.others(bm25),
        bm25 >> nirank.where(lambda document: True),
        bm25 >> nirank.where("year > 3"),
        nirank.route(len, {"1": bm25, "2": ql}),
        nirank.passages(bm25, words=5) >> overlap,
        bm25 >> nirank.normalise(ql) - overlap,
        bm25 >> nirank.scores(ql, missing=0),
        nirank.rewrite(str.lower) >> (bm25 >> overlap),
        nirank.variants(lambda query: [query]) >> bm25,
    ]
    for ranking in made:
        drawn = str(ranking.diagram())
        names = {component.name for component in ranking.components()} & {"bm25", "ql", "overlap"}
        assert [name for name in names if name not in drawn] == [], repr(ranking)
        _Tags(ranking._repr_html_())
        assert str(ranking) == repr(ranking)
