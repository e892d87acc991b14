"""Vectors of an index in Parquet and Arrow files, and indexes built from such files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import nirank
from nirank.data import Queries
from nirank.data.vector_files import read_vectors, write_vectors
from nirank.errors import BadInput, CompositionError
from tests.distributed.documents import DIM, Hashed, corpus, vector_of


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


def searching(index="exact", encoder=None, **settings):
    settings = {"device": "cpu"} if index == "exact" else settings
    return nirank.load(encoder or Hashed()) >> nirank.load(index, **settings)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("index", ["exact", "flat"])
def test_an_index_from_a_file_is_the_one_that_was_written_and_encodes_only_a_sample(
    tmp_path, monkeypatch, ending, index
):
    documents, path, asked = corpus(5000), tmp_path / f"vectors.{ending}", Queries.of(["cat", "dog"])
    expected = (searching(index) % 20).search(asked, documents)
    nirank.export_vectors(searching(index), documents, path)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "another"))
    encoder = Hashed()
    ranking = searching(index, encoder)
    nirank.import_vectors(ranking, documents, path)
    found = (ranking % 20).search(asked, documents)
    assert len(encoder.asked) == 3
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)


def test_others_read_the_file_and_find_ids_vectors_and_fingerprints(tmp_path):
    documents, path = corpus(30), tmp_path / "vectors.parquet"
    ranking = searching()
    nirank.export_vectors(ranking, documents, path)
    table = parquet.read_table(path)
    assert table["id"].to_pylist() == list(documents.ids)
    assert np.array_equal(np.stack(table["vector"].to_numpy()), [vector_of(text) for text in documents[:]])
    assert table.schema.metadata[b"nirank.corpus"].decode() == documents.fingerprint
    assert table.schema.metadata[b"nirank.encoder"]


def write(path, documents, change=lambda columns, about: (columns, about)):
    """A file as another program may write it, changed in one way."""
    vectors = np.array([vector_of(text) for text in documents[:]], np.float32)
    about = {"nirank.version": "1", "nirank.corpus": documents.fingerprint, "nirank.encoder": "ours"}
    columns, about = change({"id": list(documents.ids), "vector": vectors.tolist()}, about)
    table = pa.table({"id": columns["id"], "vector": pa.array(columns["vector"], pa.list_(pa.float32()))})
    if "only" in columns:
        table = table.select(columns["only"])
    parquet.write_table(table.replace_schema_metadata(about), path)
    return vectors


def test_rows_in_another_order_are_joined_by_their_ids(tmp_path):
    documents, path = corpus(50), tmp_path / "vectors.parquet"
    vectors = write(path, documents, lambda c, a: ({name: values[::-1] for name, values in c.items()}, a))
    assert np.array_equal(read_vectors(path, documents, "ours"), vectors)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c, a: (c | {"id": ["d1", *c["id"][1:]]}, a), "has 'd1' twice"),
        (lambda c, a: (c | {"id": ["new", *c["id"][1:]]}, a), "has 'new', which the corpus does not"),
        (lambda c, a: ({n: v[:-1] for n, v in c.items()}, a), "no vector of 1 of 20 documents, such as 'd19'"),
        (lambda c, a: (c | {"vector": [[1.0], *c["vector"][1:]]}, a), "no vectors of one length"),
        (lambda c, a: (c | {"vector": [None, *c["vector"][1:]]}, a), "no vectors of one length"),
        (lambda c, a: (c | {"vector": [[float("nan")] * DIM, *c["vector"][1:]]}, a), "missing or not finite"),
        (lambda c, a: (c | {"vector": [[None] * DIM, *c["vector"][1:]]}, a), "missing or not finite"),
        (lambda c, a: (c | {"only": ["id"]}, a), "no column 'vector'"),
        (lambda c, a: (c, a | {"nirank.corpus": "0" * 16}), "vectors of another corpus: 000000000000"),
        (lambda c, a: (c, a | {"nirank.encoder": "theirs"}), "vectors of another encoder: theirs"),
        (lambda c, a: (c, a | {"nirank.version": "2"}), "another version"),
        (lambda c, a: (c, {}), "does not say whose vectors it has"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, told):
    documents, path = corpus(20), tmp_path / "vectors.parquet"
    write(path, documents, change)
    with pytest.raises(BadInput, match=told):
        read_vectors(path, documents, "ours")


def test_a_file_that_says_nothing_is_taken_where_one_says_so_and_its_vectors_are_the_encoders(tmp_path):
    documents, path = corpus(20), tmp_path / "vectors.parquet"
    write(path, documents, lambda c, a: (c, {}))
    nirank.import_vectors(searching(), documents, path, unmarked=True)
    write(path, documents, lambda c, a: (c | {"vector": c["vector"][1:] + c["vector"][:1]}, {}))
    with pytest.raises(BadInput, match=r"has another vector of 'd0' than Hashed makes"):
        nirank.import_vectors(searching(), documents, path, unmarked=True)
    write(path, documents, lambda c, a: (c | {"vector": [vector[:-1] for vector in c["vector"]]}, {}))
    with pytest.raises(BadInput, match=f"vectors of {DIM - 1} numbers, and Hashed makes {DIM}"):
        nirank.import_vectors(searching(), documents, path, unmarked=True)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_numbers_of_another_precision_are_taken_and_those_that_were_rounded_are_told(tmp_path, caplog, ending):
    documents, told = corpus(20), "has vectors of float16, which are read as float32"
    vectors = np.array([vector_of(text) for text in documents[:]], np.float32)
    for kind, plain in ((pa.float16(), np.float16), (pa.float32(), np.float32), (pa.float64(), np.float64)):
        caplog.clear()
        path = tmp_path / f"{kind}.{ending}"
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(plain).ravel()), DIM)
        table = pa.table({"id": list(documents.ids), "vector": column})
        if ending == "parquet":
            parquet.write_table(table, path)
        else:
            with pa.ipc.new_file(str(path), table.schema) as file:
                file.write_table(table)
        found = read_vectors(path, documents, None, unmarked=True)
        assert found.dtype == np.float32
        assert np.array_equal(found, vectors.astype(plain).astype(np.float32))
        assert (told in caplog.text) == (plain is np.float16)


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    documents, path = corpus(20), tmp_path / "vectors.parquet"
    for rows in (19, 21):
        with pytest.raises(BadInput, match="for 20 documents; one for each"):
            write_vectors(path, documents, [np.ones((rows, 2), np.float32)], "ours")
    assert not list(tmp_path.glob("vectors*"))
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(BadInput, match="cannot be read as a table of vectors"):
        read_vectors(path, documents, "ours")
    with pytest.raises(BadInput, match=r"ends in '\.csv'"):
        read_vectors(tmp_path / "vectors.csv", documents, "ours")


def test_only_one_index_of_dense_vectors_is_exported():
    with pytest.raises(CompositionError, match="has 0 indexes of dense vectors"):
        nirank.export_vectors(nirank.load("bm25"), corpus(5), "vectors.parquet")
