"""Documents from JSON lines."""

import gzip
import json
import os

import pyarrow as pa
import pytest

from nirank.errors import BadInput
from nirank.formats import jsonl, read_jsonl

GOOD = '{"id": "a", "title": "T", "text": "x"}'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("NIRANK_CACHE", str(folder))
    return folder


def write(path, *lines):
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def small_blocks(monkeypatch, size):
    monkeypatch.setattr(jsonl, "_BLOCK", size)


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_documents_are_read_in_order(tmp_path, name):
    lines = [
        GOOD,
        '{"_id": "b", "title": null, "text": "y", "metadata": {"url": ["u"]}}',
        "",
        '  {"text": "\\u00e9\\ud83d\\ude00\\n\\"", "id": "c\\u0000"}\r',
        '{"id": "日本", "text": ""}',
    ]
    corpus = read_jsonl(write(tmp_path / name, *lines))
    assert list(corpus.ids) == ["a", "b", "c\x00", "日本"]
    assert corpus[:] == ["T x", "y", 'é😀\n"', ""]
    assert corpus.column("title", slice(None)) == ["T", "", "", ""]


def test_a_file_may_end_with_or_without_a_newline_and_start_with_a_mark(tmp_path):
    assert len(read_jsonl(write(tmp_path / "one", GOOD))) == 1
    assert len(read_jsonl(write(tmp_path / "two", GOOD, "", " ", ""))) == 1
    assert list(read_jsonl(write(tmp_path / "mark", "\ufeff" + GOOD)).ids) == ["a"]


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_small_blocks_give_the_same_corpus(tmp_path, monkeypatch, size):
    records = [{"id": str(n), "title": "t" * (n % 3), "text": "é" * (n % 40)} for n in range(60)]
    path = write(tmp_path / "c.jsonl", *(json.dumps(record, ensure_ascii=False) for record in records))
    whole = read_jsonl(path, tmp_path / "whole")
    small_blocks(monkeypatch, size)
    cut = read_jsonl(path, tmp_path / "cut")
    assert cut[:] == whole[:] == [" ".join(filter(None, [r["title"], r["text"]])) for r in records]
    assert cut.fingerprint == whole.fingerprint


FAULTY = {
    '{"id": "b", "text": "y"': "not JSON",
    "id b text y": "not JSON",
    '["b", "y"]': "not a JSON object but",
    "7": "not a JSON object but 7",
    '{"text": "y"}': "there is no id",
    '{"id": null, "text": "y"}': "there is no id",
    '{"id": "", "text": "y"}': "there is no id",
    '{"id": 5.5, "text": "y"}': '"id" is not a text but 5.5',
    '{"_id": true, "text": "y"}': '"_id" is not a text but true',
    '{"id": "b", "text": "y", "title": ' + "[" * 5000 + "]" * 5000 + "}": "nested too deeply",
    '{"id": "b"}': '"text" is not a text but null',
    '{"id": "b", "text": null}': '"text" is not a text but null',
    '{"id": "b", "text": {"a": [1, 2]}}': '"text" is not a text but {"a": ',
    '{"id": "b", "title": 3, "text": "y"}': '"title" is not a text but 3',
    '{"id": "b", "text": "\\ud83d"}': '"text" is not a text but',
    '{"id": "b", "text": "y"} {"id": "c", "text": "z"}': "not JSON",
    '{"id": "b", "text": "y"} x': "not JSON",
    '{"id": "b", "id": "c", "text": "y"}': "a key comes twice",
    '{"id": "b", "text": "\udcff"}': "not JSON",  # a byte that is not UTF-8
}


@pytest.mark.parametrize("line", FAULTY)
@pytest.mark.parametrize("size", [60, 1 << 20])
def test_a_faulty_line_is_named(tmp_path, cache, monkeypatch, line, size):
    small_blocks(monkeypatch, size)
    path = write(tmp_path / "c.jsonl", GOOD, "", '{"id": "ok", "text": "w"}', line, '{"id": "z", "text": "y"}')
    with pytest.raises(BadInput) as caught:
        read_jsonl(path)
    assert str(caught.value).startswith(f"{path}:4: ")
    assert FAULTY[line] in str(caught.value)
    assert '{"id": ..., "title": ..., "text": ...} a line is expected' in str(caught.value)
    assert not list(cache.rglob("*.*")), "nothing half written is left"


def test_a_repeated_id_is_told_with_both_lines(tmp_path, cache):
    path = write(tmp_path / "c.jsonl", GOOD, "", '{"id": "b", "text": "y"}', '{"_id": "a", "text": "y"}')
    with pytest.raises(BadInput, match=r"c\.jsonl:4: the id 'a' is on line 1 already"):
        read_jsonl(path)
    assert not list(cache.rglob("*.*"))


def test_a_repeated_id_is_told_in_whatever_the_file_is_packed(tmp_path, cache):
    lines = "\n\n".join([GOOD, '{"id": "b", "text": "y"}', '{"id": "a", "text": "y"}']).encode()
    for ending, packed in {"gz": gzip.compress(lines), "zst": pa.compress(lines, "zstd", asbytes=True)}.items():
        path = tmp_path / f"c.jsonl.{ending}"
        path.write_bytes(packed)
        with pytest.raises(BadInput, match=rf"{ending}:5: the id 'a' is on line 1 already"):
            read_jsonl(path)


def test_a_repeated_id_is_told_in_an_array_after_blank_lines(tmp_path, cache):
    path = write(tmp_path / "c.json", "", "", '[{"id": "a", "text": "x"},', '{"id": "a", "text": "y"}]')
    with pytest.raises(BadInput, match="'a'"):
        read_jsonl(path)


@pytest.mark.parametrize("lines", [[], ["", "  ", ""]])
def test_a_file_without_documents_is_refused(tmp_path, lines):
    path = write(tmp_path / "c.jsonl", *lines)
    with pytest.raises(BadInput, match=r"c\.jsonl: there are no documents"):
        read_jsonl(path)


def test_missing_files_and_folders_are_told(tmp_path):
    with pytest.raises(BadInput, match="there is no such file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(BadInput, match="there is no such file"):
        read_jsonl(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"plain", lambda data: data[:20] + b"\xff" * 20]
)
def test_a_damaged_gzip_file_is_told(tmp_path, damage):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(damage(gzip.compress("\n".join([GOOD] * 99).encode())))
    with pytest.raises(BadInput, match="not a complete gzip file"):
        read_jsonl(path)


def test_the_second_reading_maps_the_file_until_the_source_changes(tmp_path, monkeypatch):
    path = write(tmp_path / "c.jsonl", GOOD)
    first = read_jsonl(path)
    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "_batches", lambda _: pytest.fail("read again"))
        patch.chdir(tmp_path)
        assert read_jsonl("c.jsonl").path == first.path
    write(path, '{"id": "b", "title": "T", "text": "x"}')
    os.utime(path, ns=(1, 1))
    assert list(read_jsonl(path).ids) == ["b"]
    assert list(first.ids) == ["a"], "what is mapped already stays as it was"


@pytest.mark.parametrize("size", [30, 1 << 20])
def test_ids_may_be_whole_numbers_and_texts_stand_under_contents(tmp_path, monkeypatch, size):
    small_blocks(monkeypatch, size)
    numbers = write(tmp_path / "numbers.jsonl", '{"_id": 7, "text": "x"}', '{"_id": -8, "contents": "y"}')
    assert list(zip(read_jsonl(numbers).ids, read_jsonl(numbers)[:], strict=True)) == [("7", "x"), ("-8", "y")]
    mixed = write(tmp_path / "mixed.jsonl", '{"id": 7, "contents": "x"}', '{"id": "07", "contents": "y", "text": null}')
    assert list(zip(read_jsonl(mixed).ids, read_jsonl(mixed)[:], strict=True)) == [("7", "x"), ("07", "y")]


def test_a_json_array_is_read_and_its_faults_are_told(tmp_path):
    path = write(
        tmp_path / "a.json", "\ufeff [", '{"id": 1, "title": "T", "contents": "x"},', ' {"id": "b", "text": ""}]'
    )
    assert list(zip(read_jsonl(path).ids, read_jsonl(path)[:], strict=True)) == [("1", "T x"), ("b", "")]
    faults = {
        '[{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]': "documents 1 and 2 both have the id 'a'",
        '[{"id": "a", "text": "x"}, {"id": "b"}]': 'document 2 of the array: "text" is not a text but null',
        "[]": "there are no documents",
        '[{"id": "a", "text": "x"}': "not a JSON array",
        "[" * 100_000: "not a JSON array",
    }
    for text, message in faults.items():
        with pytest.raises(BadInput) as told:
            read_jsonl(write(tmp_path / "bad.json", text))
        assert str(told.value).startswith(f"{tmp_path / 'bad.json'}: ")
        assert message in str(told.value)


def test_a_file_that_changed_under_the_same_size_and_time_is_read_again(tmp_path):
    path = write(tmp_path / "c.jsonl", GOOD)
    times = path.stat()
    read_jsonl(path)
    write(path, GOOD.replace('"a"', '"b"'))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert list(read_jsonl(path).ids) == ["b"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"pid": "p1", "docid": "d1", "passage": "x"}', ("p1", "x")),  # MS MARCO's second version
        ('{"docid": "d1", "title": "t", "headings": "h", "body": "x"}', ("d1", "t x")),
        ('{"docid": "s#1", "title": "t", "segment": "x"}', ("s#1", "t x")),
        ('{"docno": 7, "contents": "x"}', ("7", "x")),
        ('{"id": null, "docid": "d1", "text": null, "body": "x"}', ("d1", "x")),
        ('{"id": "a", "docid": "d1", "text": "x", "body": "y"}', ("a", "x")),
    ],
)
def test_ids_and_texts_stand_under_the_names_of_the_trade(tmp_path, line, expected):
    other = '{"id": "z", "text": "last"}'
    for name, lines in {"first.jsonl": [line, other], "last.jsonl": [other, line]}.items():
        corpus = read_jsonl(write(tmp_path / name, *lines))
        assert dict(zip(corpus.ids, corpus[:], strict=True)) == dict([expected, ("z", "last")])


def test_all_files_of_json_lines_in_a_folder_are_a_corpus(tmp_path):
    (tmp_path / "docs").mkdir()
    write(tmp_path / "docs" / "b.jsonl.gz", '{"id": "2", "contents": "y"}')
    write(tmp_path / "docs" / "a.json", '{"id": "1", "contents": "x"}')
    write(tmp_path / "docs" / "dataset_info.json", "{}")
    corpus = read_jsonl(tmp_path / "docs")
    assert dict(zip(corpus.ids, corpus[:], strict=True)) == {"1": "x", "2": "y"}
    write(tmp_path / "docs" / "c.jsonl", '{"id": "2", "contents": "y"}')
    with pytest.raises(BadInput, match=r"docs: documents 2 and 3 both have the id '2'.*All files"):
        read_jsonl(tmp_path / "docs")


@pytest.mark.parametrize("text", ["null", " null\n" + GOOD, "nullx", "\ufeffnull\n", "null{}", GOOD + "\nnull"])
def test_a_null_in_the_place_of_a_document_is_told(tmp_path, text):
    with pytest.raises(BadInput, match=r"c\.jsonl:\d: this is not"):
        read_jsonl(write(tmp_path / "c.jsonl", text))


def test_a_null_at_the_beginning_of_a_later_block_is_told(tmp_path, monkeypatch):
    small_blocks(monkeypatch, len(GOOD) + 1)
    with pytest.raises(BadInput, match=r"c\.jsonl:2: this is not a JSON object but null"):
        read_jsonl(write(tmp_path / "c.jsonl", GOOD, "null", GOOD))
