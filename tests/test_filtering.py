"""Filters by fields and by functions: what a search among some documents finds is what a search of all finds there."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from fractions import Fraction

import numpy as np
import pytest

import nirank
from nirank.data import ArrowCorpus, Candidates, Documents, Queries, attributes, write_corpus
from nirank.data.conditions import Condition
from nirank.errors import BadInput, CompositionError, DamagedFile
from nirank.experiments import workspace
from nirank.formats.tables import read_table

pytest.importorskip("Stemmer")

CONDITIONS = {
    "year >= 2020": lambda year, lang, new: year is not None and year >= 2020,
    "not year >= 2020": lambda year, lang, new: year is not None and year < 2020,
    "year is None": lambda year, lang, new: year is None,
    "year is not None and year != 2003": lambda year, lang, new: year is not None and year != 2003,
    "2001 <= year < 2004.5": lambda year, lang, new: year is not None and 2001 <= year < 2004.5,
    "lang == 'en' or new": lambda year, lang, new: lang == "en" or new,
    "lang in ['en', 'de'] and not new": lambda year, lang, new: lang in ("en", "de") and not new,
    "lang not in ('en',)": lambda year, lang, new: lang is not None and lang != "en",
    "'e' in lang": lambda year, lang, new: lang is not None and "e" in lang,
    "field('lang') > 'en'": lambda year, lang, new: lang is not None and lang > "en",
    "new == False": lambda year, lang, new: not new,
    "year == 2001": lambda year, lang, new: year == 2001,
    "year > 3000": lambda year, lang, new: False,
    "year >= 2000 or year is None": lambda year, lang, new: True,
}


@pytest.fixture(scope="module")
def fields():
    drawn = np.random.default_rng(3)
    years = [None if year == 1999 else int(year) for year in drawn.integers(1999, 2026, 3000)]
    langs = [[None, "en", "de", "fr"][place] for place in drawn.integers(0, 4, 3000)]
    return {"year": years, "lang": langs, "new": [bool(each) for each in drawn.integers(0, 2, 3000)]}


@pytest.fixture(scope="module")
def many(fields):
    drawn = np.random.default_rng(4)
    texts = [" ".join(f"w{word}" for word in drawn.zipf(1.4, drawn.integers(0, 8)).clip(max=60)) for _ in range(3000)]
    return Documents([str(number) for number in range(3000)], texts, fields)


@pytest.fixture(scope="module")
def asked():
    return Queries.of(["w1 w2", "w3 w9 w44", "w7", "nowhere"])


def _mask(fields, text):
    return np.array([CONDITIONS[text](*row) for row in zip(*fields.values(), strict=True)])


def _same(found, expected):
    assert found.offsets.tolist() == expected.offsets.tolist()
    assert found.docs.tolist() == expected.docs.tolist()
    assert found.scores.tobytes() == expected.scores.tobytes()


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_condition_is_what_python_says_of_each_document(text, many, fields):
    assert Condition(text).mask(many).tolist() == _mask(fields, text).tolist()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("year >=", "is not a condition"),
        ("yaer > 3", "no field 'yaer' in .*: their fields are year, lang, new"),
        ("year > '3'", "column 8: \"'3'\" is refused: the field 'year' holds numbers"),
        ("lang == 3", "the field 'lang' holds texts"),
        ("lang", "holds texts, not truth values"),
        ("new == lang", "texts and truth values are compared"),
        ("1 < 2", "no field is compared"),
        ("year == None", "`is None`"),
        ("year in []", "the list is empty"),
        ("lang in year", "`in` follows"),
        ("3 in lang", "`in` follows"),
        ("'a' in year", "holds numbers, not texts"),
        ("year + 1 > 3", "is refused"),
        ("len(lang) > 3", "is refused"),
        ("__import__('os').system('true')", "is refused: only fields"),
        ("[year for year in lang]", "is refused"),
        ("not " * 5000 + "new", "is not a condition"),
    ],
)
def test_anything_else_is_refused_with_its_place_and_never_run(text, told, many):
    with pytest.raises(BadInput, match=told):
        Condition(text).mask(many)


def test_masks_are_computed_once_for_each_corpus_and_condition(many):
    assert Condition("year > 2001").mask(many) is Condition(" year > 2001 ").mask(many)
    assert Condition("year > 2001").mask(Documents(["a"], ["x"], {"year": [2002]})).tolist() == [True]
    with pytest.raises(ValueError, match="read-only"):
        Condition("year > 2001").mask(many)[0] = False


# Search


@pytest.fixture(params=["by numpy", "compiled"])
def way(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("numba")
    search = pytest.importorskip("nirank_lexical.search")
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0 if request.param == "compiled" else 10**12)


@pytest.mark.parametrize("name", ["bm25", "ql", "tfidf", "sdm"])
@pytest.mark.parametrize("text", CONDITIONS)
def test_lexical_search_among_some_is_the_search_of_all_filtered(way, name, text, many, fields, asked):
    ranking, mask = nirank.load(name), _mask(fields, text)
    full = (ranking % 3000).search(asked, many)
    expected = full.where(mask[full.docs])
    for k in (1, 10, 3000):
        _same(((ranking >> nirank.where(text)) % k).search(asked, many), expected.top(k))


class Vectors:
    """A stand-in for an encoder: vectors that a text's hash draws."""

    vectors = "dense"

    def _of(self, texts):
        drawn = [np.random.default_rng(abs(hash(text)) % 2**32).integers(-3, 4, 8) for text in texts]
        return np.array(drawn, np.float32).reshape(len(texts), 8)

    def encode(self, queries):
        return self._of(queries.contents)

    def encode_documents(self, contents):
        return self._of(contents)


@pytest.mark.parametrize("index", ["exact", "flat", "hnsw"])
@pytest.mark.parametrize("text", ["year >= 2020", "year >= 2000 or year is None", "year > 3000", "year == 2001", "new"])
def test_dense_search_among_some_is_the_search_of_all_filtered(index, text, many, fields, asked, request):
    pytest.importorskip("torch")
    if index != "exact":
        pytest.importorskip("faiss")
    mask = Condition(text).mask(many)
    given = {"device": "cpu", "block": 700} if index == "exact" else {}
    ranking = nirank.load(Vectors()) >> nirank.load(index, **given)
    full = (ranking % 3000).search(asked, many)
    expected = full.where(mask[full.docs])
    for k in (1, 10, 3000):
        _same(((ranking >> nirank.where(text)) % k).search(asked, many), expected.top(k))


class Numbers:
    """A generator that can only be asked for the best of all documents, and counts how often it is."""

    def __init__(self, ending=10**9):
        self.asked, self.ending = [], ending

    def build(self, corpus, folder, encode=None):
        pass

    def open(self, corpus, folder):
        self.corpus = corpus

    def generate(self, queries, k):
        self.asked.append((len(queries), k))
        found = min(k, self.ending, len(self.corpus))
        docs = [np.arange(len(self.corpus))[::-1][:found] for _ in queries.contents]
        return Candidates.of(docs, [doc.astype(np.float32) for doc in docs])


@pytest.mark.parametrize("text", ["year >= 2020", "year == 2001", "year > 3000", "year >= 2000 or year is None"])
def test_a_generator_that_takes_no_mask_is_asked_for_more(text, many, fields, asked):
    mask, generator = _mask(fields, text), Numbers()
    found = ((nirank.load(generator, "numbers") >> nirank.where(text)) % 7).search(asked, many)
    expected = np.flatnonzero(mask)[::-1][:7].tolist()
    assert [found[row][0].tolist() for row in range(4)] == [expected] * 4
    assert max([k for _, k in generator.asked], default=0) < 1500  # and not for everything where that is not needed


def test_only_queries_with_too_few_are_asked_again_and_what_takes_long_is_told(many, caplog):
    rare = Documents(many.ids, many[:], {"rank": list(range(3000))})
    generator = Numbers()
    found = ((nirank.load(generator, "numbers") >> nirank.where("rank < 5")) % 4).search(Queries.of(["a", "b"]), rare)
    assert found[1][0].tolist() == [4, 3, 2, 1]
    generator = Numbers(ending=100)
    assert ((nirank.load(generator) >> nirank.where("rank < 5")) % 4).search(["a"], rare).pairs == 0  # it has no more
    with caplog.at_level(logging.WARNING, "nirank"):
        worst = (nirank.load(Numbers(), "numbers") >> nirank.where(lambda text: text == many[0])) % 1
        worst.search(["a"], Documents(many.ids, [str(place) for place in range(2999)] + [""], {}))
    assert "numbers is asked for more than" in caplog.text


def test_a_function_lets_documents_pass(many, asked):
    called = []

    def short(text):
        called.append(text)
        return len(text) < 12

    ranking = (nirank.load("bm25") >> nirank.where(short)) % 10
    assert repr(ranking) == "(bm25 >> where(short)) % 10"
    full = (nirank.load("bm25") % 3000).search(asked, many)
    passed = np.array([len(text) < 12 for text in many[:]])
    _same(ranking.search(asked, many), full.where(passed[full.docs]).top(10))
    assert called
    both = (nirank.load("bm25") >> nirank.where(short) >> nirank.where("new")) % 10
    passed &= np.array(many._columns["new"])
    _same(both.search(asked, many), full.where(passed[full.docs]).top(10))


def test_an_error_of_a_function_names_it(many):
    def broken(text):
        raise KeyError("nothing")

    with pytest.raises(KeyError) as caught:
        (nirank.load("bm25") >> nirank.where(broken)).search("w1", many)
    assert any("in the function broken, called with 'w" in note for note in caught.value.__notes__)


# Composition


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("bm25 >> where('new')", "bm25 >> where('new')"),
        ("(bm25 >> where('new')) % 3 % 5", "(bm25 >> where('new')) % 3"),
        ("bm25 % 10 >> where('new')", "(bm25 % 10) >> where('new')"),
        ("(bm25 >> where('new')) % 10 >> where('year > 3')", "((bm25 >> where('new')) % 10) >> where('year > 3')"),
        ("bm25 >> where('new') >> where('year > 3')", "bm25 >> where('new') >> where('year > 3')"),
        ("bm25 >> ql >> where('new')", "(bm25 >> where('new')) >> ql"),
        ("bm25 % 9 >> ql >> where('new')", "((bm25 % 9) >> ql) >> where('new')"),
        ("(bm25 | ql) >> where('new') >> tfidf", "((bm25 >> where('new')) | (ql >> where('new'))) >> tfidf"),
        ("fuse(bm25, ql) >> where('new')", "fuse(bm25 >> where('new'), ql >> where('new'), method='rrf')"),
        ("fuse(bm25 % 9, ql) >> where('new')", "fuse(bm25 % 9, ql, method='rrf') >> where('new')"),
        ("others(bm25) >> where('new')", "others(bm25 >> where('new'))"),
        ("bm25 >> top(3, ql) >> where('new')", "((bm25) >> top(3, ql)) >> where('new')"),
        ("bm25 % 10 >> rm3 >> bm25 >> where('new')", "((bm25 % 10) >> rm3 >> bm25) >> where('new')"),
    ],
)
def test_a_filter_narrows_what_no_cut_has_closed(written, meant, many, asked):
    ranking = nirank.parse(written)
    assert repr(ranking) == meant
    assert repr(nirank.parse(repr(ranking))) == meant
    found = ranking.search(asked, many)
    assert np.array(many._columns["new"])[found.docs].all()
    assert len(ranking.components()) == len({part.name for part in ranking.components()})


def test_depth_is_that_of_what_passes(many, asked):
    ranking = nirank.load("bm25") >> nirank.where("new")
    assert (ranking.depth, ranking.at_depth(5).depth, (ranking % 7).at_depth(5).depth) == (1000, 5, 7)
    assert ranking.at_depth(5).search(asked, many).lengths.tolist()[:3] == [5, 5, 5]
    assert nirank.parse("bm25 % 9 >> where('new')").at_depth(5).depth == 9


def test_a_filter_stands_after_a_ranking_only(many):
    for wrong in (lambda: nirank.parse("where('new') >> bm25"), lambda: nirank.parse("bm25 >> (ql + where('new'))")):
        with pytest.raises(CompositionError):
            wrong()
    with pytest.raises(CompositionError, match="where takes a function, not 3"):
        nirank.where(3)
    with pytest.raises(BadInput, match="has no fields"):
        (nirank.load("bm25") >> nirank.where("new")).search("w1", _Bare(many))


class _Bare:
    """A corpus of a user's own, without fields."""

    def __init__(self, corpus):
        self.ids, self.fingerprint, self._corpus = corpus.ids, corpus.fingerprint, corpus

    def __len__(self):
        return len(self._corpus)

    def __getitem__(self, which):
        return self._corpus[which]


# Attributes in files

ROWS = [
    {
        "id": str(n),
        "title": "t",
        "text": f"cat {n}",
        "year": 2000 + n,
        "date": "2020-01-01",
        "tags": ["a"],
        "n": {"x": 1},
    }
    for n in range(6)
]
ROWS[2]["year"] = None
ROWS[3]["score"] = 1.5


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))

    def write(rows, name="c.jsonl"):
        text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows)) + "\n"
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["c.jsonl", "c.json"])
@pytest.mark.parametrize("small", [False, True])
def test_other_keys_of_json_are_attributes(written, name, small, monkeypatch):
    if small:  # so that types are found out block by block
        monkeypatch.setattr("nirank.formats.jsonl._BLOCK", 100)
    corpus = nirank.collection(f"jsonl:{written(ROWS, name)}").corpus
    kept = {each: corpus.values(each).to_pylist() for each in corpus.attributes}
    assert kept == {
        "year": [2000, 2001, None, 2003, 2004, 2005],
        "date": ["2020-01-01"] * 6,
        "score": [None, None, None, 1.5, None, None],
    }
    assert corpus.fields == ("title", "text")
    assert list(corpus.field("year")) == ["2000", "2001", "", "2003", "2004", "2005"]
    with pytest.raises(BadInput, match="'tags' holds lists, objects or bytes, which are not kept"):
        corpus.values("tags")


def test_attributes_change_neither_contents_nor_fingerprints(written):
    bare = [{"id": row["id"], "title": row["title"], "text": row["text"]} for row in ROWS]
    plain = nirank.collection(f"jsonl:{written(bare, 'b.jsonl')}").corpus
    more = nirank.collection(f"jsonl:{written(ROWS, 'm.jsonl')}").corpus
    texts = Documents([row["id"] for row in ROWS], [f"t {row['text']}" for row in ROWS])
    assert plain.fingerprint == more.fingerprint == texts.fingerprint
    assert list(plain) == list(more)
    assert plain.attributes == ()
    assert not list(plain.path.parent.glob("b-*.attributes.arrow"))


def test_values_of_several_kinds_are_texts_and_whole_numbers_with_others_are_numbers(written):
    values = [(1, 1), ("two", 2.5), (True, 3)]
    rows = [{"id": str(number), "text": "x", "a": one, "b": two} for number, (one, two) in enumerate(values)]
    corpus = nirank.collection(f"jsonl:{written(rows)}").corpus
    assert corpus.values("a").to_pylist() == ["1", "two", "true"]
    assert corpus.values("b").to_pylist() == [1.0, 2.5, 3.0]


def test_columns_of_tables_are_attributes(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "c.csv").write_text("id,text,year,zip,price\n1,cat,2000,01234,1.5\n2,dog,,99,2\n")
    corpus = read_table(tmp_path / "c.csv")
    assert {name: corpus.values(name).to_pylist() for name in corpus.attributes} == {
        "year": [2000, None],
        "zip": ["01234", "99"],
        "price": [1.5, 2.0],
    }
    columns = {"id": ["1", "2"], "text": ["cat", "dog"], "year": [3, None], "tags": [["a"], []], "raw": [b"x", b"y"]}
    parquet.write_table(pa.table(columns), tmp_path / "c.parquet")
    corpus = read_table(tmp_path / "c.parquet")
    assert (corpus.attributes, corpus.values("year").to_pylist()) == (("year",), [3, None])


def test_a_corpus_of_an_earlier_version_opens_as_it_was(written):
    corpus = nirank.collection(f"jsonl:{written(ROWS)}").corpus
    for path in corpus.path.parent.glob("*.attributes.arrow*"):
        path.unlink()
    old = ArrowCorpus(corpus.path)
    assert (old.attributes, old.fingerprint) == ((), corpus.fingerprint)
    with pytest.raises(BadInput, match="no field 'year'; there are title, text"):
        Condition("year > 1").mask(old)


def test_attributes_that_are_damaged_or_of_other_documents_are_told(written):
    corpus = nirank.collection(f"jsonl:{written(ROWS)}").corpus
    (path,) = corpus.path.parent.glob("*.attributes.arrow")
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    with pytest.raises(DamagedFile, match="is damaged"):
        ArrowCorpus(corpus.path).values("year")
    for left in corpus.path.parent.glob("*.attributes.arrow.*"):
        left.unlink()  # the seal
    with pytest.raises(DamagedFile, match="cannot be read as an Arrow file"):
        ArrowCorpus(corpus.path).values("year")


def test_one_field_as_a_corpus_can_be_filtered_by_all(many, asked):
    titles = Documents(many.ids, [""] * 3000, {"title": many[:], "new": many._columns["new"]}).field("title")
    found = (nirank.load("bm25") >> nirank.where("new")).search(asked, titles)
    assert found.pairs
    assert np.array(many._columns["new"])[found.docs].all()


def test_an_indexed_folder_keeps_the_attributes(written, tmp_path):
    name = f"jsonl:{written(ROWS)}"
    made = workspace.create(tmp_path / "folder", name, "bm25 >> where('year >= 2003')")
    assert made.search("cat", 10)[0].tolist() == [3, 4, 5]
    assert workspace.open_folder(tmp_path / "folder").search("cat", 10)[0].tolist() == [3, 4, 5]


def _passes(condition, **fields):
    length = len(next(iter(fields.values())))
    corpus = Documents(list(map(str, range(length))), ["text"] * length, fields)
    return Condition(condition).mask(corpus).tolist()


def test_whole_numbers_are_compared_exactly_whatever_they_are_compared_with():
    large = [2**53 + 1, 2**53, 2**63 - 1, -(2**63), 3, None]
    literals = [2**53 + 1, float(2**53), 1.5, 3.0, -3.5, 2**64, -(2**70), 10**400, 1e300]
    operators = {"<": "__lt__", "<=": "__le__", "==": "__eq__", "!=": "__ne__", ">": "__gt__", ">=": "__ge__"}
    for literal in literals:
        for sign, name in operators.items():
            wanted = [value is not None and getattr(Fraction(value), name)(Fraction(literal)) for value in large]
            assert _passes(f"n {sign} {literal!r}", n=large) == wanted, (sign, literal)
    wanted = [value is not None and value in literals for value in large]
    assert _passes(f"n in {literals!r}", n=large) == wanted
    assert _passes(f"n not in {literals!r}", n=large) == [
        value is not None and value not in literals for value in large
    ]


def test_numbers_that_no_type_holds_are_texts_and_not_rounded(tmp_path):
    rows = [{"_id": str(n), "text": "x", "u": 2**64 - n, "w": [1] if n == 2 else "t"} for n in (1, 2, 3)]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = nirank.collection(f"jsonl:{tmp_path / 'c.jsonl'}").corpus
    assert Condition(f"u == '{2**64 - 2}'").mask(corpus).tolist() == [False, True, False]
    lines = ["id,text,tweet,u", "a,x,1234567890123456789,1", "b,x,1234567890123456788,98765432109876543210"]
    (tmp_path / "c.csv").write_text("\n".join(lines))
    corpus = nirank.collection(f"jsonl:{tmp_path / 'c.csv'}").corpus
    assert Condition("tweet == 1234567890123456788").mask(corpus).tolist() == [False, True]
    assert corpus.values("u").to_pylist() == ["1", "98765432109876543210"]


def test_a_number_with_fractions_far_behind_whole_ones_is_read(tmp_path):
    batches = [{"id": ["a"], "text": ["x"], "n": [2**60 + 1]}, {"id": ["b"], "text": ["y"], "n": [0.5]}]
    corpus = write_corpus(tmp_path / "c.arrow", batches, ["text"])
    assert Condition("n > 0.6").mask(corpus).tolist() == [True, False]


def test_a_field_that_holds_lists_anywhere_is_refused_and_not_taken_for_missing(tmp_path):
    batches = [{"id": ["a"], "text": ["x"], "n": ["t"]}, {"id": ["b"], "text": ["y"], "n": [["t"]]}]
    corpus = write_corpus(tmp_path / "c.arrow", batches, ["text"])
    with pytest.raises(BadInput, match="'n' holds lists"):
        Condition("n is None").mask(corpus)


def test_nan_is_no_value():
    for condition in ("not n < 3", "n != 1", "n not in [2]", "n >= 0"):
        assert _passes(condition, n=[float("nan"), 5.0, None]) == [False, True, False]
    assert _passes("n is None", n=[float("nan"), 5.0, None]) == [True, False, True]


def test_columns_of_numpy_and_dates_and_columns_of_nothing():
    assert _passes("n == 2", n=np.array([1, 2])) == [False, True]
    assert _passes("not n", n=np.array([True, False])) == [False, True]
    assert _passes("n > 1", n=[np.float32(0.5), np.float32(1.5)]) == [False, True]
    assert _passes("n >= '2020-05'", n=[date(2020, 1, 1), date(2021, 1, 1)]) == [False, True]
    for condition in ("n == 'a'", "n in [1]", "n in ['a']", "not n", "'a' in n", "n < 2", "n == m"):
        assert _passes(condition, n=[None, None], m=["a", "b"]) == [False, False]
    with pytest.raises(BadInput, match="'n' holds lists or objects"):
        _passes("n == 1", n=[[1], [2]])


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("kind = 'tie'", "`==` asks"),
        ("kind <> 'tie'", "`!=` asks"),
        ("kind == 'a' AND kind == 'b'", "write `and`, `or`"),
        ("kind == 'a' && kind == 'b'", "write `and` and `or`"),
        ("kind like 'a%'", "'text' in field"),
        ("class == 'A'", r"field\('class'\)"),
        ("kind == 'it''s'", "two texts stand beside each other"),
        ("(" * 1000 + "kind" + ")" * 1000, "nested"),
    ],
)
def test_what_is_written_in_another_language_is_told_with_what_to_write(condition, told):
    with pytest.raises(BadInput, match=told):
        nirank.where(condition)


def test_masks_are_computed_by_threads_at_once():
    corpus = Documents(list("abc"), list("abc"), {"n": [1, 2, 3]})
    conditions = [f"n < {number % 60}" for number in range(600)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: Condition(text).mask(corpus).tolist(), conditions))
    assert found == [[n < number % 60 for n in (1, 2, 3)] for number in range(600)]


def test_attributes_of_other_documents_are_refused(tmp_path):
    for name, text in (("one", "a"), ("two", "b")):
        write_corpus(tmp_path / f"{name}.arrow", [{"id": ["1"], "text": [text], "n": [1]}], ["text"])
    attributes.copy(tmp_path / "two.arrow", tmp_path / "one.arrow")
    with pytest.raises(BadInput, match="attributes of other documents"):
        Condition("n == 1").mask(nirank.ArrowCorpus(tmp_path / "one.arrow"))
