"""Runs and judgments as other libraries write them: ranx, MS MARCO, pandas, Hugging Face's datasets."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import nirank
from nirank.errors import BadInput
from tests.run_rows import rows

RUN = {"1": {"a": 2.5, "b": 1e-9}, "2": {"c": -1.0}}
ROWS = [(query, document, score) for query, row in RUN.items() for document, score in row.items()]
TABLE = pa.table(dict(zip(("q_id", "doc_id", "score"), map(list, zip(*ROWS, strict=True)), strict=True)))


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_parquet(table, **settings):
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, **settings)
    return sink.getvalue().to_pybytes()


def objects(ids=str):
    return [{"query-id": ids(query), "corpus-id": document, "score": score} for query, document, score in ROWS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ranx.json", json.dumps(RUN)),
        ("ranx.json", json.dumps(RUN, indent=2)),
        ("ranx.lz4", pa.compress(json.dumps(RUN).encode(), "lz4", asbytes=True)),
        ("ranx.parquet", as_parquet(TABLE)),
        ("hub.parquet", as_parquet(TABLE.rename_columns(["query-id", "corpus-id", "score"]))),
        ("hub.jsonl", "\n".join(map(json.dumps, objects()))),
        ("hub.jsonl", "\n".join(map(json.dumps, objects(int)))),
        ("array.json", json.dumps(objects())),
        ("pandas.csv", "qid,docid,score\n" + "".join(f"{q},{d},{s}\n" for q, d, s in ROWS)),
        ("pandas.csv", '"qid","docid","score"\r\n' + "".join(f'"{q}","{d}",{s}\r\n' for q, d, s in ROWS)),
    ],
)
def test_a_run_of_another_library_is_read(tmp_path, name, content):
    run = nirank.read_run(write(tmp_path / name, content))
    expected = {query: {doc: float(np.float32(score)) for doc, score in row.items()} for query, row in RUN.items()}
    assert rows(run) == expected


def test_zeros_before_an_id_are_kept(tmp_path):
    run = nirank.read_run(write(tmp_path / "r.csv", "query_id,doc_id,score\n01,007,2\n"))
    assert rows(run) == {"01": {"007": 2.0}}


def test_folders_of_datasets_are_judgments(tmp_path):
    datasets = pytest.importorskip("datasets")
    columns = {"query-id": [1, 1, 2], "corpus-id": ["a", "b", "c"], "score": [1, 0, 2]}
    datasets.Dataset.from_dict(columns).save_to_disk(str(tmp_path / "qrels"), num_shards=2)
    assert rows(nirank.read_qrels(tmp_path / "qrels")) == {"1": {"a": 1.0, "b": 0.0}, "2": {"c": 2.0}}


def test_msmarco_runs_have_ranks_for_scores(tmp_path):
    judged = write(tmp_path / "q", "7\t0\tb\t1\n8\t0\ta\t1\n")
    run = write(tmp_path / "run.tsv", "7\ta\t1\n7\tb\t2\n8\ta\t1\n")
    assert nirank.evaluate(run, judged, ["RR@10"])["RR@10"] == 0.75
    assert nirank.evaluate(write(tmp_path / "b", "7  a 1\n7  b 2\n8  a 1\n"), judged, ["RR@10"])["RR@10"] == 0.75


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run", "7 a 0.5\n7 b 0.2\n", "run:1: the rank must be a whole number from 1 on, not 0.5. The third of three"),
        ("run", "7 a 5\n7 b 3\n", "the ranks of query '7' do not begin at 1"),
        ("run", "7 Q0 a\0 1 1 x\n", "run:1: there are NUL bytes"),
        ("run", "7 Q0 a 1 1 x\n".encode("utf-16"), "there are NUL bytes"),
        ("a.json", '{"1": {"a": "x"}}', "the column of numbers holds string"),
        ("a.json", '{"1": {"a": NaN}}', "the score must be a number, not 'nan'"),
        ("a.json", '{"1": {"a": null, "b": 1}}', "some ids or numbers are missing (null)"),
        ("a.json", "{}", "a.json: there are no rows"),
        ("a.json", "[" * 100_000, "a.json: the file is malformed"),
        ("a.json", '{"caf\xe9": {"a": 1}}'.encode("latin-1"), "a.json: the file is malformed"),
        ("a.jsonl", '{"qid": 1, "docid": 2, "score": 1}\n{"qid"', "a.jsonl:2: this is not JSON"),
        (
            "a.csv",
            "1,a,2\n2,a,2\n",
            "columns such as 'query_id', 'doc_id' and 'score' are expected; the columns are 1, a, 2.",
        ),
        ("a.csv", "qid,docid,score\n1,a,2\n1,a,1\n", "row 2: document 'a' of query '1' is already in row 1"),
        ("a.lz4", "junk", "a.lz4: the file cannot be read"),
        ("a.parquet", "PAR1", "a.parquet: the file is malformed"),
    ],
)
def test_a_fault_of_a_run_is_named(tmp_path, name, content, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        nirank.read_run(write(tmp_path / name, content))


def test_grades_of_tables_are_whole_numbers(tmp_path):
    with pytest.raises(BadInput, match="the grade must be a whole number"):
        nirank.read_qrels(write(tmp_path / "q.csv", "qid,docid,rel\n1,a,0.5\n"))


def test_lines_may_end_as_old_macs_end_them_however_columns_are_parted(tmp_path):
    for blank in (" ", "  "):
        text = "1 Q0 a 1 2 x\r2 Q0 c 1 1 x\r".replace(" ", blank)
        assert rows(nirank.read_run(write(tmp_path / "run", text))) == {"1": {"a": 2.0}, "2": {"c": 1.0}}


def test_a_run_in_the_place_of_judgments_is_told(tmp_path):
    run, judged = write(tmp_path / "run", "1 Q0 a 1 2 x\n"), write(tmp_path / "qrels", "1 0 a 1\n")
    with pytest.raises(BadInput, match="looks like a run, which comes before the judgments"):
        nirank.evaluate(judged, run)


def test_a_packed_run_beyond_the_limit_is_refused_and_not_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr("nirank.formats.other_lines._LARGEST", 10)
    packed = pa.compress(json.dumps(RUN).encode(), "lz4", asbytes=True)
    with pytest.raises(BadInput, match="when it is unpacked; that is the limit"):
        nirank.read_run(write(tmp_path / "ranx.lz4", packed))


def test_shards_that_an_earlier_saving_left_behind_are_not_read(tmp_path):
    for number in (0, 1):
        name = f"data-0000{number}-of-00002.parquet"
        (tmp_path / name).write_bytes(as_parquet(TABLE))
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00002.parquet"}]}))
    assert rows(nirank.read_run(tmp_path)) == rows(nirank.read_run(tmp_path / "data-00000-of-00002.parquet"))
