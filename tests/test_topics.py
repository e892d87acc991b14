"""Topics as people have them: XML with markup, TREC's open tags, lines, Million Query's, CLEF's, Latin-1."""

import bz2
import lzma
import re
import time
import xml.etree.ElementTree as ElementTree

import pyarrow as pa
import pytest

from nirank.errors import BadInput
from nirank.formats import read_topics


def topics(folder, content, fields=("title",), name="topics"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    queries = read_topics(path, fields)
    return dict(zip(queries.ids, queries.contents, strict=True))


XML = """<?xml version="1.0"?>
<!DOCTYPE topics [<!ENTITY ship "container ship">]>
<topics>
<!-- <topic number="9"><query>withdrawn</query></topic> -->
<topic number="01"><query>cause of <b>rust</b> in a <i>&ship;</i></query><narr><p>One.</p><p>Two.</p></narr></topic>
<topic number="2"><query><![CDATA[rise & fall of <b> trees]]></query></topic>
<topic number="3"><query>H<sub>2</sub>O &amp; ice</query></topic>
</topics>"""


def test_xml_is_read_as_an_xml_parser_reads_it(tmp_path):
    elements = ElementTree.fromstring(XML).findall("topic")
    expected = {each.get("number"): "".join(each.find("query").itertext()) for each in elements}
    assert topics(tmp_path, XML) == expected
    assert topics(tmp_path, XML.replace("</topics>", ""))["2"] == "rise & fall of <b> trees"  # no longer well-formed


def test_paragraphs_of_a_field_are_parted(tmp_path):
    assert topics(tmp_path, XML, ["narr", "title"])["01"] == "One. Two. cause of rust in a container ship"


def test_fields_that_stay_open_end_at_the_next_field_and_not_at_markup(tmp_path):
    text = (
        "<top>\n<num> Number: 007\n<title> AT&T <i>and</i> <b>rivals <br> a < b\n\n<desc> Description:\nWhy? <p>And\n"
        "<narr> none\n</top>\n<!-- <top><num>8<title>no</top> -->\n<top>\n<num> Number: 9\n<title> last\n"
    )
    assert topics(tmp_path, text) == {"007": "AT&T and rivals a < b", "9": "last"}
    assert topics(tmp_path, text.replace("9\n", "9\n<desc>x\n"), ["desc"]) == {"007": "Why? And", "9": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<topics><topic number="1">\n A cough.\n</topic></topics>', {"1": "A cough."}),  # clinical trials
        ("<top>\n<num> C1 </num>\n<EN-title> Train strikes </EN-title>\n</top>", {"C1": "Train strikes"}),  # CLEF
        ('<topic lang="en"><identifier>10/451</identifier><title>oil</title></topic>', {"10/451": "oil"}),
        ("<queries><query><qid>0001</qid><title>fair</title></query></queries>", {"0001": "fair"}),
        ("20001:1:family tree\n20002::a:b\n", {"20001": "family tree", "20002": "a:b"}),  # Million Query
        ("10001:after the third\n10002:b: c\n", {"10001": "after the third", "10002": "b: c"}),  # its first year
        ("wt09-1:family tree\nwt09-2:x\n", {"wt09-1": "family tree", "wt09-2": "x"}),  # the Web track
        ("1:2:a\tcat\n1:3:b\tdog\n", {"1:2:a": "cat", "1:3:b": "dog"}),  # lines with a tab, whatever the ids are
        ("text\tqid\nsmall cat\t7\ndog\t8\n", {"7": "small cat", "8": "dog"}),  # columns by their names
        ("1\tcat\r2\tdog\r", {"1": "cat", "2": "dog"}),  # lines as old Macs end them
        ("<x:top><x:num>1</x:num><x:title>cat</x:title></x:top>", {"1": "cat"}),
        ("<topic><num>1</num><title><a>one</a><z>two</z><z>three</z></title></topic>", {"1": "one two three"}),
        ("<top><num> Number: 051\n<title> Topic: Airbus\n</top>", {"051": "Airbus"}),
        ("<top><num>2</num><title>Number: a theory</title></top>", {"2": "Number: a theory"}),
        (
            "1\tuse <topic id='7'><title>x</title></topic>\n2\tcat\n",
            {"1": "use <topic id='7'><title>x</title></topic>", "2": "cat"},
        ),
        ("<top>\t<title>\n2\tcat\n", {"<top>": "<title>", "2": "cat"}),
    ],
)
def test_kinds_of_topics(tmp_path, text, expected):
    assert topics(tmp_path, text) == expected


def test_what_is_not_utf8_is_read_as_latin1_and_told(tmp_path, caplog):
    assert topics(tmp_path, "1:1:café\n".encode("latin-1")) == {"1": "café"}
    assert "topics: this is not UTF-8" in caplog.text
    caplog.clear()
    declared = '<?xml version="1.0" encoding="ISO-8859-1"?><topic number="1"><title>café</title></topic>'
    assert topics(tmp_path, declared.encode("latin-1")) == {"1": "café"}
    assert topics(tmp_path, "1\tcafé\n".encode("utf-16")) == {"1": "café"}
    assert not caplog.text


def test_topics_may_be_compressed(tmp_path):
    content = b"1\ta cat\n"
    packed = {"bz2": bz2.compress(content), "xz": lzma.compress(content)}
    packed["zst"] = pa.compress(content, "zstd", asbytes=True)
    for kind, data in packed.items():
        assert topics(tmp_path, data, name=f"topics.{kind}") == {"1": "a cat"}
        with pytest.raises(BadInput, match=rf"topics\.{kind}: this is not a complete"):
            topics(tmp_path, data[:-2] if kind != "zst" else b"no zstd at all", name=f"topics.{kind}")


@pytest.mark.parametrize(
    "text",
    [
        "<top " * 80_000,
        "<top>" * 80_000,
        "<top><num>1<title>" + "<title>" * 60_000,
        "<!--" * 100_000 + "<top>",
        "<top><num>1" + "<![CDATA[" * 60_000,
        "<top><num>1<desc>x" + "<a>" * 60_000 + "</b>" * 60_000,
        "<top><num>1\n" + "\n<x>" * 60_000,
        "<top x=" + "'" * 400_000 + ">",
        "<top " + "a " * 200_000 + ">",
        "<top><num>1" + "\n" * 400_000 + " <",
    ],
)
def test_the_time_of_reading_grows_with_the_length_alone(tmp_path, text):
    began = time.process_time()
    with pytest.raises(BadInput):
        topics(tmp_path, text)
    assert time.process_time() - began < 5


def test_the_label_of_a_field_is_left_out_and_no_other(tmp_path):
    text = "<top>\n<num> Number: 051\n<title> Topic: Jets\n<con> Concept(s):\n1. jet\n<narr> Description: x\n</top>"
    assert topics(tmp_path, text, ["title", "con", "narr"]) == {"051": "Jets 1. jet Description: x"}


def test_entities_that_a_dtd_declares_elsewhere_are_never_dropped(tmp_path):
    text = "<!DOCTYPE topic SYSTEM 'topics.dtd'><topic number='1'><title>caf&eacute; &odd;</title></topic>"
    assert topics(tmp_path, text) == {"1": "café &odd;"}
    text = text.replace("SYSTEM 'topics.dtd'", "[<!ENTITY odd SYSTEM 'file:///etc/passwd'><!ENTITY eacute '&#233;'>]")
    assert topics(tmp_path, text) == {"1": "café &odd;"}


def test_what_is_read_otherwise_than_it_may_be_meant_is_told(tmp_path, caplog):
    assert len(topics(tmp_path, "topic\twords\n1\tcat\n2\tdog\n")) == 3
    assert "the first line has the id 'topic'" in caplog.text
    topics(tmp_path, "1\tcat\tx\n2\tdog\ty\n")
    assert "further columns too" in caplog.text
    text = "<topic number='1'><field name='a'>one</field><field name='b'>two</field></topic>"
    assert topics(tmp_path, text, ["field"]) == {"1": "one"}
    assert "topics with several <field>" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\tca\0t\n", "topics:1: this is no text: it has NUL bytes"),
        ("1\tcat\n".encode("utf-16-le"), "it has NUL bytes"),
        ("20001:1:cat\n20002:1:\n", "topics:1: an id, a tab and a text"),
        (
            "<top><num>1</num><title></title><desc>x</desc></top>",
            "no title; it has num, desc, and without a text title",
        ),
    ],
)
def test_a_fault_of_topics_is_named(tmp_path, text, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        topics(tmp_path, text)


@pytest.mark.parametrize("fields", [[], None, [1], [None]])
def test_fields_are_names(tmp_path, fields):
    with pytest.raises(BadInput, match="names such as 'title'"):
        topics(tmp_path, "1\tcat", fields)


def test_topics_are_read_from_a_path():
    with pytest.raises(BadInput, match="by its path, not by a dict"):
        read_topics({"1": "cat"})


def test_topics_may_be_json_or_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    assert topics(tmp_path, '{"query_id": 7, "query": "a cat"}\n', name="q.jsonl") == {"7": "a cat"}
    assert topics(tmp_path, '[{"_id": "7", "text": "a cat"}]', name="q.json") == {"7": "a cat"}
    assert topics(tmp_path, 'qid,query\n7,"a, cat"\n', name="q.csv") == {"7": "a, cat"}
