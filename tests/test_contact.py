"""The page of an experiment over images: what it shows, that it is whole, and that it stays small."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from nirank.data import (  # noqa: E402
    Candidates,
    Collection,
    Documents,
    Queries,
    images,
)
from nirank.errors import BadInput  # noqa: E402
from nirank.evaluation import evaluate  # noqa: E402
from nirank.experiments import contact_sheet, experiment  # noqa: E402
from nirank.experiments.results import Results, System  # noqa: E402
from nirank.experiments.write import write  # noqa: E402
from nirank.pipeline import load  # noqa: E402


def _results(collection, **found):
    """Results of systems that found these documents for the queries, with falling scores."""
    systems = {}
    for name, docs in found.items():
        run = Candidates.of(docs, [np.arange(len(row), 0, -1) for row in docs], collection.corpus)
        systems[name] = System(name, load("bm25"), run, evaluate(run, collection.judgments, ["RR"]), 0.0, {})
    table = {"collection": "pictures", "pipelines": dict.fromkeys(found, "bm25"), "name": "pictures"}
    return Results(experiment.Experiment.of(table), collection, systems, None)


@pytest.fixture
def pictures():
    names = ["a <b>cat</b>", "dog & cat", "bus", "car", "x" * 300]
    corpus = Documents(list("abcde"), [images.drawn(n, 300, 100) for n in range(5)], {"name": names})
    judged = Candidates.of([[0, 3], [1, 2]], [[1, 1], [2, 0]], corpus)
    return Collection("pictures", corpus, Queries(["q1", "q2"], ["<script>cats", images.drawn(9)]), judged)


class _Page(HTMLParser):
    """The figures of each column, and the tags that were left open."""

    def __init__(self, text) -> None:
        super().__init__()
        self.figures, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "figure":
            self.figures.append([dict(attributes)["class"], ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "figcaption" in self.open:
            self.figures[-1][1] += data


def test_what_was_found_is_shown_in_order_and_framed(pictures):
    text = contact_sheet.page(_results(pictures, one=[[0, 2, 3], [2, 4, 1]], two=[[], [1]]), [0, 1])
    page = _Page(text)
    assert page.open == []
    assert page.figures == [
        ["right", "1 ✓ a <b>cat</b>"],
        ["wrong", "2 ✗ bus"],
        ["right", "3 ✓ car"],
        ["wrong", "1 ✗ bus"],
        ["open", f"2 ? {'x' * 79}…"],
        ["right", "3 ✓ dog & cat"],
        ["right", "1 ✓ dog & cat"],
    ]
    assert "<p>nothing</p>" in text
    assert "2 of 2" in text
    assert "0 of 2" in text
    assert "<script>" not in text


def test_each_picture_is_in_the_page_once_and_small(pictures):
    text = contact_sheet.page(_results(pictures, one=[[0, 2], [2, 0]], two=[[0], [0, 2]]), [0, 1])
    data = re.findall(r"data:image/jpeg;base64,([^)]+)\)", text)
    assert len(data) == 3  # two documents and a query
    sizes = {Image.open(io.BytesIO(base64.b64decode(each))).size for each in data}
    assert sizes == {(96, 32), (24, 24)}
    assert "http" not in text


def test_a_page_has_so_many_queries_that_it_stays_small():
    corpus = Documents([str(n) for n in range(30)], [images.drawn(n) for n in range(30)])
    judged = Candidates.of([[n % 30] for n in range(500)], [[1]] * 500, corpus)
    many = Collection("many", corpus, Queries.of(["q"] * 500), judged)
    docs = [list(range(30))] * 500
    one = contact_sheet.page(_results(many, a=docs))
    assert (one.count("<section>"), one.count("<figure ")) == (24, 240)
    several = contact_sheet.page(_results(many, **{f"s{n}": docs for n in range(10)}))
    assert several.count("<figure ") == 1000
    assert len(several) < 500_000


def test_an_image_that_cannot_be_read_leaves_its_place_empty(tmp_path):
    path = tmp_path / "gone.png"
    corpus = Documents(["a"], [path])
    gone = Collection("gone", corpus, Queries.of("q"), Candidates.of([[0]], [[1]], corpus))
    text = contact_sheet.page(_results(gone, one=[[0]]), [0])
    assert _Page(text).figures == [["right", "1 ✓ a"]]
    assert "url(data:,)" in text


def test_classes_found_for_images_are_shown_as_texts():
    corpus = Documents(["c", "d"], ["cat", "dog"])
    judged = Candidates.of([[1]], [[1]], corpus)
    zero_shot = Collection("z", corpus, Queries(["p"], [images.drawn(1)]), judged)
    assert contact_sheet.pictured(zero_shot)
    text = contact_sheet.page(_results(zero_shot, one=[[1, 0]]), [0])
    assert [kind for kind, _ in _Page(text).figures] == ["right", "wrong"]
    assert "<p>dog</p>" in text


def test_results_over_images_have_the_page_and_those_over_texts_none(pictures, tmp_path):
    write(_results(pictures, one=[[0, 2, 3], [2]]), tmp_path / "images")
    assert (tmp_path / "images" / "contact.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    corpus = Documents(["a"], ["text"])
    texts = Collection("t", corpus, Queries.of("q"), Candidates.of([[0]], [[1]], corpus))
    write(_results(texts, one=[[0]]), tmp_path / "texts")
    assert not (tmp_path / "texts" / "contact.html").exists()


class _Draughtsman:
    """Scores nothing apart, and draws a picture of every text."""

    def score(self, queries, candidates):
        return np.zeros(candidates.pairs)

    def draw(self, queries, count, seed):
        assert all(isinstance(text, str) for text in queries.contents)
        return [[images.drawn(100 + place) for place in range(count)] for _ in queries.contents]


def test_drawings_of_a_text_stand_beside_it_and_an_image_is_not_drawn(pictures):
    results = _results(pictures, one=[[0], [1]])
    system = results.systems["one"]
    ranking = load("bm25") >> load(_Draughtsman(), "artist")
    results.systems["one"] = System("one", ranking, system.run, system.evaluation, 0.0, {})
    text = contact_sheet.page(results, [0, 1])
    page = _Page(text)
    assert page.open == []
    assert text.count("<h2>drawn by artist</h2>") == 1
    assert text.count('aria-label="drawn by artist"') == 4
    assert [kind for kind, _ in page.figures] == ["open"] * 4 + ["right", "right"]


def test_what_cannot_draw_says_so_and_the_page_is_there(pictures, caplog):
    class Mute(_Draughtsman):
        def draw(self, queries, count, seed):
            raise BadInput("there is no decoder.")

    results = _results(pictures, one=[[0], [1]])
    system = results.systems["one"]
    ranking = load("bm25") >> load(Mute(), "mute")
    results.systems["one"] = System("one", ranking, system.run, system.evaluation, 0.0, {})
    assert "drawn by" not in contact_sheet.page(results, [0])
    assert "mute draws nothing" in caplog.text
