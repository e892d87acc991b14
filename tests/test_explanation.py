"""The type of explanations: sums within rounding, marks that move, and how it shows itself."""

from html.parser import HTMLParser

import numpy as np
import pytest

from nirank.data import Explanation, Mark, Matches

EVIL = "<script>alert('x')</script> & \ud83d"


def _of(*scores):
    return tuple(Explanation(f"part {place}", score) for place, score in enumerate(scores))


def test_parts_add_up_within_float32():
    score = float(np.float32(0.1) + np.float32(0.2))
    assert Explanation("sum", score, _of(0.1, 0.2)).adds_up()
    assert not Explanation("sum", 0.3, _of(0.1, 0.2001)).adds_up()
    assert not Explanation("outer", 0.3, (Explanation("inner", 0.3, _of(0.1, 0.1)),)).adds_up()
    assert Explanation("alone", 7.0).adds_up()


def test_what_cancels_is_compared_with_what_cancelled():
    assert Explanation("sum", 0.0, _of(1e6, -1e6 + 0.01)).adds_up()
    assert not Explanation("sum", 0.0, _of(1.0, -0.999)).adds_up()


def test_scaling_reaches_parts_and_marks():
    inner = Explanation(
        "a", 2.0, (Explanation("b", 2.0, document_marks=(Mark(0, 1, 2.0),)),), document_marks=(Mark(0, 1, 2.0),)
    )
    half = inner.scaled(0.5, "half")
    assert (half.label, half.score, half.parts[0].score, half.parts[0].label) == ("half", 1.0, 1.0, "b")
    assert half.document_marks == half.parts[0].document_marks == (Mark(0, 1, 1.0),)


def test_a_sum_has_the_marks_of_its_parts_each_place_once():
    parts = [
        Explanation("a", 1.0, document_marks=(Mark(3, 4, 1.0), Mark(0, 2, 0.5))),
        Explanation("b", 1.0, document_marks=(Mark(3, 4, 1.0),)),
    ]
    assert Explanation.summed("both", 2.0, tuple(parts)).document_marks == (Mark(0, 2, 0.5), Mark(3, 4, 2.0))


class _Strict(HTMLParser):
    """Every tag that is opened is closed, in order, and the text is gathered."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.text = [], [], ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def _evil():
    text = f"word {EVIL} word"
    marks = (Mark(0, 4, 1.0), Mark(2, 9, -0.5))
    matches = Matches((EVIL,), (EVIL, "b"), np.array([[0.5, -1]], np.float32))
    parts = tuple(Explanation(EVIL, 0.01, note=EVIL) for _ in range(100))
    return Explanation(EVIL, 1.0, parts, EVIL, marks, marks, matches, text, text)


def test_markup_in_texts_shows_as_text():
    page = _evil()._repr_html_()
    page.encode()  # which halves of surrogate pairs would not survive
    parsed = _Strict(page)
    assert "script" not in parsed.seen
    assert parsed.text.count("<script>alert('x')</script> &") >= 5
    assert "60 more parts" in parsed.text
    assert "http" not in page


def test_marks_are_where_they_belong_and_overlaps_add_up():
    page = Explanation(
        "a", 1.0, query="cafés 東京", query_marks=(Mark(0, 4, 1.0), Mark(2, 5, -0.25), Mark(6, 8, 0.0))
    )._repr_html_()
    assert 'title="1">ca</mark>' in page
    assert 'title="0.75">fé</mark>' in page
    assert 'title="-0.25">s</mark>' in page
    assert " 東京</div>" in page


def test_a_wide_heat_map_is_cut_and_says_so():
    wide = Matches(("q",), tuple(map(str, range(500))), np.zeros((1, 500), np.float32))
    assert "and 440 more columns" in Explanation("a", 0.0, matches=wide)._repr_html_()


def test_as_a_text_it_has_a_line_for_each_part():
    explanation = Explanation("sum", 3.0, (Explanation("a", 1.0, _of(1.0), note="why"), Explanation("b", 2.0)))
    assert str(explanation).splitlines() == [
        "    3.0000  sum",
        "      1.0000  a  (why)",
        "        1.0000  part 0",
        "      2.0000  b",
    ]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_matrices_without_cells_are_shown_too(shape):
    empty = Matches(("q",) * shape[0], ("d",) * shape[1], np.zeros(shape, np.float32))
    _Strict(Explanation("a", 0.0, matches=empty)._repr_html_())
