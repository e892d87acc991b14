"""Corpora at URLs: written, copied once into the cache, read range by range, and never trusted unseen."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import nirank
from nirank.data import ArrowCorpus, Documents, UrlRanges, urls, write_corpus
from nirank.errors import BadInput, DamagedFile, MissingDependency

fsspec = pytest.importorskip("fsspec")

TEXTS = [f"text {number} é" for number in range(50)]
TITLES = ["" if number % 3 else f"title {number}" for number in range(50)]
URL = "memory://nirank-tests/folder/corpus.arrow"


@pytest.fixture(autouse=True)
def _own(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    yield
    files = fsspec.filesystem("memory")
    if files.exists("/nirank-tests"):
        files.rm("/nirank-tests", recursive=True)


def _batches(texts=TEXTS, size=7):
    for start in range(0, len(texts), size):
        here = slice(start, start + size)
        numbers = [*range(len(texts))][here]
        yield {
            "id": [f"d{number}" for number in numbers],
            "title": TITLES[here],
            "text": texts[here],
            "year": [2000 + number for number in numbers],
        }


@pytest.fixture
def written():
    return write_corpus(URL, _batches())


@pytest.mark.parametrize("protocol", ["memory", "dir", "file"])
def test_a_corpus_at_a_url_is_the_one_that_is_written_here(tmp_path, protocol):
    local = write_corpus(tmp_path / "corpus.arrow", _batches())
    shared = f"file://{tmp_path}/shared"
    url = {"memory": URL, "file": f"{shared}/corpus.arrow", "dir": f"dir://corpus.arrow::{shared}"}[protocol]
    (tmp_path / "shared").mkdir()
    made = write_corpus(url, _batches())
    for corpus in (made, ArrowCorpus(url)):
        assert corpus.url == url
        assert corpus.fingerprint == local.fingerprint
        assert list(corpus) == list(local)
        assert list(corpus.ids.take(range(50))) == list(local.ids.take(range(50)))
        assert corpus.values("year").to_pylist() == local.values("year").to_pylist()


def test_it_is_copied_once(written, monkeypatch):
    copied = []
    monkeypatch.setattr(urls, "_copy", lambda *given: copied.append(given))
    assert ArrowCorpus(URL).path == written.path
    assert not copied
    assert written.fingerprint in str(written.path)


def test_another_corpus_at_the_same_url_is_another_one_here(written):
    write_corpus(URL, _batches(TEXTS[::-1]))
    again = ArrowCorpus(URL)
    assert again.fingerprint != written.fingerprint
    assert again[0] == "title 0 text 49 é"
    assert written[0] == "title 0 text 0 é"


def test_other_attributes_of_the_same_documents_are_read(written):
    write_corpus(URL, ({**batch, "year": [1 for _ in batch["id"]]} for batch in _batches()))
    again = ArrowCorpus(URL)
    assert again.fingerprint == written.fingerprint
    assert set(again.values("year").to_pylist()) == {1}
    assert written.values("year").to_pylist()[0] == 2000


def test_another_process_opens_it_by_its_url(written):
    assert pickle.loads(pickle.dumps(written)).url == URL
    assert nirank.load("bm25").search("49", ArrowCorpus(URL)).docs.tolist() == [49]


@pytest.mark.parametrize("field", [None, "text", "title", ("text", "title")])
@pytest.mark.parametrize(("start", "stop"), [(0, 50), (0, 0), (6, 8), (13, 14), (7, 14), (45, 60), (60, 70), (30, 10)])
def test_ranges_are_read_where_they_lie(written, field, start, stop):
    whole = written if field is None else written.field(field)
    ranges = UrlRanges(URL, written.fingerprint, field)
    assert len(ranges) == 50
    assert ranges[start:stop] == whole[start:stop]


def test_a_range_reads_its_batches_and_no_others(written):
    ranges = UrlRanges(URL, written.fingerprint)
    read = []
    whole = ranges._file
    ranges._file = type(
        "Counted", (), {"get_batch": lambda self, number: read.append(number) or whole.get_batch(number)}
    )()
    assert ranges[14:22] == written[14:22]
    assert ranges[22:28] == written[22:28]
    assert read == [2, 3]


def _content(name):
    return fsspec.filesystem("memory").cat_file(f"/nirank-tests/folder/{name}")


def _replace(name, content):
    fsspec.filesystem("memory").pipe_file(f"/nirank-tests/folder/{name}", content)


def test_a_damaged_file_is_told_and_not_kept(written, monkeypatch, tmp_path):
    content = bytearray(_content("corpus.arrow"))
    at = content.index(b"text 25")
    content[at : at + 7] = b"text 26"
    _replace("corpus.arrow", bytes(content))
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "other"))
    for _ in range(2):
        with pytest.raises(DamagedFile, match=r"is damaged.*Write memory://"):
            ArrowCorpus(URL)
    fsspec.filesystem("memory").rm("/nirank-tests/folder/corpus.arrow.seal.json")
    with pytest.raises(
        DamagedFile, match=r"is not what memory://"
    ):  # nor where nothing but its own word vouches for it
        ArrowCorpus(URL)


def test_a_damaged_range_is_told_and_the_others_are_read(written):
    content = bytearray(_content("corpus.arrow"))
    at = content.index(b"text 25")
    content[at : at + 7] = b"text 26"
    _replace("corpus.arrow", bytes(content))
    ranges = UrlRanges(URL, written.fingerprint)
    assert ranges[0:21] == written[0:21]
    with pytest.raises(DamagedFile, match=r"corpus\.arrow is damaged"):
        ranges[20:22]


def test_ranges_of_another_corpus_are_refused(written):
    write_corpus(URL, _batches(TEXTS[::-1]))
    with pytest.raises(ValueError, match="is another corpus now"):
        UrlRanges(URL, written.fingerprint)


def test_what_is_not_there_or_no_corpus_is_told():
    with pytest.raises(BadInput, match=r"memory://nirank-tests/none.arrow cannot be read or written: FileNotFound"):
        ArrowCorpus("memory://nirank-tests/none.arrow")
    with pytest.raises(BadInput, match=r"nowhere://a.arrow cannot be read"):
        ArrowCorpus("nowhere://a.arrow")
    _replace("text.arrow", b"no arrow file")
    with pytest.raises(BadInput, match=r"text\.arrow cannot be read"):
        ArrowCorpus("memory://nirank-tests/folder/text.arrow")


def test_a_protocol_without_its_package_is_told(monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingDependency, match=r"s3://bucket/a.arrow cannot be reached: Install s3fs"):
        ArrowCorpus("s3://bucket/a.arrow")


def test_an_empty_batch_and_one_batch_are_ranges_too(tmp_path):
    url = "memory://nirank-tests/one.arrow"
    made = write_corpus(
        url, [{"id": ["a"], "text": ["x"]}, {"id": [], "text": []}, {"id": ["b"], "text": ["y"]}], ["text"]
    )
    assert UrlRanges(url, made.fingerprint)[0:2] == ["x", "y"]


def test_a_worker_reads_ranges_by_the_url(written):
    errand = pytest.importorskip("nirank_ray.errand")
    source = errand.Source.of(written)
    assert (source.path, source.url) == (None, URL)
    assert source.open()[3:9] == written[3:9]
    assert errand.Source.of(written.field("text")).open()[3:9] == written.field("text")[3:9]
    fsspec.filesystem("memory").rm("/nirank-tests", recursive=True)
    assert source.open() is None  # rows are sent


def test_indexes_of_the_copy_and_of_memory_are_the_same(written):
    contents = Documents(list(written.ids.take(np.arange(50))), list(written))
    assert contents.fingerprint == written.fingerprint
