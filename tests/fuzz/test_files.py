"""Files of others are changed at random: each is read, or ends in a sentence; nothing else comes of it.

NIRANK_FUZZ=2000 python -m pytest tests/fuzz      # so many cases of each kind; 60 unless said
"""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import nirank
from nirank.errors import NirankError
from nirank.formats import read_topics

CASES = int(os.environ.get("NIRANK_FUZZ", "60"))

_TABLE = pa.table({"id": [f"d{number}" for number in range(50)], "title": ["t"] * 50, "text": ["cat dog"] * 50})
_RUN = pa.table({"query_id": ["1"] * 20, "doc_id": [f"d{number}" for number in range(20)], "score": [1.0] * 20})


def _parquet(table):
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="none")
    return sink.getvalue().to_pybytes()


def _arrow(table, kind):
    sink = pa.BufferOutputStream()
    with kind(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _evaluated(path):
    run = path.with_name("ok.run")
    run.write_text("1 Q0 a 1 2 x\n1 Q0 b 2 1 x\n")
    return nirank.read_qrels(path), nirank.evaluate(run, path, ["nDCG@10", "map", "alpha_nDCG@5"])


def _documents(path):
    return nirank.collection(f"jsonl:{path}").corpus[:]


#: The name of a file, what reads it, and what stands in it.
KINDS = {
    "topics": (
        read_topics,
        b"<top>\n<num> Number: 1\n<title> a <b>cat</b>\n<desc> Description:\nx &amp; y\n</top>\n<top><num>2<title>dog",
        b"<!DOCTYPE t [<!ENTITY a 'b'>]><t><topic number='1'><query>&a;<![CDATA[x]]><!-- c --></query></topic></t>",
        b"qid\tquery\n1\tcat\n2\tdog\n",
        b"1:2:cat\n2:3:dog\n",
    ),
    "c.jsonl": (
        _documents,
        b'{"_id":"1","text":"cat"}\n{"id":2,"contents":"dog"}\n',
        b'[{"id":"1","text":"x","title":null}]',
    ),
    "c.tsv": (_documents, b'id\ttext\n1\t"a ""b"""\n', b"D1\tu\tt\tb\n"),
    "c.csv": (_documents, b'id,title,text\n1,t,"a, ""b"""\n2,,x\n'),
    "c.parquet": (_documents, _parquet(_TABLE)),
    "c.arrow": (_documents, _arrow(_TABLE, pa.ipc.new_stream), _arrow(_TABLE, pa.ipc.new_file)),
    "run": (
        nirank.read_run,
        b"1 Q0 a 1 2 x\n1 Q0 b 2 1e-3 x\n",
        b"1\ta\t1\n1\tb\t2\n",
        b"1  Q0 a 1 2 x\r2 Q0 b 1 2 x\r",
    ),
    "run.json": (nirank.read_run, b'{"1":{"a":1.0,"b":2},"2":{"c":3}}', b'[{"qid":1,"docid":"a","score":1}]'),
    "run.csv": (nirank.read_run, b'query_id,doc_id,score\n1,a,2\n1,"b",1\n'),
    "run.lz4": (nirank.read_run, pa.compress(b'{"1":{"a":1.0,"b":2}}', "lz4", asbytes=True)),
    "run.parquet": (nirank.read_run, _parquet(_RUN)),
    "run.arrow": (nirank.read_run, _arrow(_RUN, pa.ipc.new_stream)),
    "qrels": (
        _evaluated,
        b"1 0 a 1\n1 0 b 0\n2 0 c 300\n",
        b"query-id\tcorpus-id\tscore\n1\ta\t1\n",
        b"1 1 a 1\n1 2 a 1\n",
    ),
    "docs": (
        lambda path: nirank.collection(f"trec:{path}").corpus[:],
        b"<DOC>\n<DOCNO> A </DOCNO>\n<TITLE>t</TITLE><TEXT>x <b>y</b> &amp;</TEXT>\n</DOC><!--<--><DOC id='q'>x</DOC>",
    ),
    "letor": (
        lambda path: nirank.collection(f"letor:{path}"),
        b"2 qid:1 1:0.5 2:1 # docid=a\n0 qid:1 1:.1\n1 qid:2 2:3\n",
    ),
}
_TOKENS = (
    *(b"\0", b"\xff", b"\t", b"\n", b"\r", b" ", b'"', b"<", b">", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&", b";"),
    *(
        b"&#x110000;",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"1e999",
        b"nan",
        b"-1",
        b"9" * 20,
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\ud800",
    ),
    *(
        b"#",
        b"\xc2\x85",
        b"\x0b",
        b"\x1a",
        b"<DOC>",
        b"</DOC>",
        b"<top>",
        b"null",
        b"<?xml version='1.0' encoding='hex'?>",
    ),
)


def _changed(content, random):
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(len(data) + 1))
        match int(random.integers(6)):
            case 0 | 1:
                data[place:place] = _TOKENS[random.integers(len(_TOKENS))]
            case 2:
                del data[place : place + int(random.integers(1, 6))]
            case 3 if data:
                data[place % len(data)] ^= 1 << int(random.integers(8))
            case 4:
                data[place:place] = data[: int(random.integers(len(data) + 1))]
            case _:
                del data[place:]
    return bytes(data)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_a_file_is_read_or_ends_in_a_sentence(tmp_path, monkeypatch, name):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    read, *contents = KINDS[name]
    told = read_well = 0
    for number in range(CASES):
        random = np.random.default_rng(number)
        (tmp_path / name).write_bytes(_changed(contents[number % len(contents)], random))
        try:
            read(tmp_path / name)
        except NirankError as fault:
            told += bool(str(fault).strip())
            continue
        read_well += 1
    assert told + read_well == CASES
    assert told
