"""The headers of runs: read back as they were written, by this module and by repro_eval, and skipped by all readers."""

from __future__ import annotations

import gzip

import pytest

import nirank
from nirank.errors import BadInput

pytest.importorskip("yaml")

from nirank_adapters import ir_metadata

RUN = "q1 Q0 d1 1 2.5 mine\nq1 Q0 d2 2 1.5 mine\nq2 Q0 d1 1 0.5 mine\n"
FOREIGN = "# ir_metadata.start\n#   \n# tag: theirs \n# actor:\n#   name: 'Jane # Doe' \n# ir_metadata.end\n"


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "mine.run"
    path.write_text(RUN)
    return path


@pytest.fixture(scope="module")
def manifest():
    emoji = {"use": "emoji"}
    table = {"name": "try", "collection": emoji, "pipelines": {"mine": "bm25 % 5", "ql": "ql % 5"}}
    return nirank.run(table).manifest()


def test_what_is_written_is_read_back(run, manifest, tmp_path):
    metadata = ir_metadata.from_manifest(
        manifest, "mine", actor={"name": "Ã¥: 'x' # y\nz"}, **{"research goal": "none"}
    )
    ir_metadata.annotate(run, metadata, tmp_path / "out.run")
    assert ir_metadata.read(tmp_path / "out.run") == metadata
    assert (tmp_path / "out.run").read_text().endswith("# ir_metadata.end\n" + RUN)
    assert metadata["collection"]["test_collection"]["corpus"] == manifest["collection"]["corpus"]
    assert [each["name"] for each in metadata["method"]["retrieval"]] == ["bm25"]


def test_repro_eval_reads_the_same(run, manifest, tmp_path):
    handler = pytest.importorskip("repro_eval.metadata", exc_type=ImportError).MetadataHandler
    metadata = ir_metadata.from_manifest(manifest, "mine")
    ir_metadata.annotate(run, metadata, tmp_path / "out.run")
    assert handler.read_metadata(str(tmp_path / "out.run")) == metadata
    theirs = handler(str(run))
    theirs.set_metadata(metadata)
    theirs.write_metadata(str(tmp_path / "theirs.run"))
    assert ir_metadata.read(tmp_path / "theirs.run") == metadata


@pytest.mark.parametrize("header", [FOREIGN, "# a remark\n\n" + FOREIGN, "\ufeff" + FOREIGN])
def test_runs_with_headers_of_others_are_read(tmp_path, run, header):
    path = tmp_path / "theirs.run"
    path.write_text(header + RUN, encoding="utf-8")
    found, plain = nirank.read_run(path), nirank.read_run(run)
    assert (found.query_ids, list(found.ids), found.tag) == (plain.query_ids, list(plain.ids), plain.tag)
    assert found.candidates.scores.tolist() == plain.candidates.scores.tolist()


@pytest.mark.parametrize(("header", "separator"), [(FOREIGN, " "), (FOREIGN, "\t"), ("# one\n\n#two\n", " ")])
def test_a_header_costs_no_fast_reading(tmp_path, monkeypatch, header, separator):
    from nirank.formats import trec_lines

    monkeypatch.setattr(trec_lines, "_read_any", None)
    path = tmp_path / "theirs.run"
    path.write_text(header + RUN.replace(" ", separator))
    assert nirank.read_run(path).candidates.pairs == 3


def test_a_fault_behind_a_header_is_told_with_its_line(tmp_path):
    path = tmp_path / "theirs.run"
    path.write_text(FOREIGN + RUN + "q2 Q0 d1 2\n")
    with pytest.raises(BadInput, match=r"theirs\.run:10: 6 columns"):
        nirank.read_run(path)


def test_a_new_header_stands_in_the_place_of_the_old_one(tmp_path, run):
    ir_metadata.annotate(run, {"tag": "one"}, tmp_path / "one.run")
    ir_metadata.annotate(tmp_path / "one.run", {"tag": "two"}, tmp_path / "two.run")
    assert (tmp_path / "two.run").read_text() == "# ir_metadata.start\n# tag: two\n# ir_metadata.end\n" + RUN


def test_a_compressed_run_is_read(tmp_path):
    with gzip.open(tmp_path / "theirs.run.gz", "wt") as file:
        file.write(FOREIGN + RUN)
    assert ir_metadata.read(tmp_path / "theirs.run.gz") == {"tag": "theirs", "actor": {"name": "Jane # Doe"}}


def test_a_run_without_a_header_has_none(run):
    assert ir_metadata.read(run) is None


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("# ir_metadata.start\n# tag: x\n", "has no end"),
        ("# ir_metadata.start\n# - x\n# ir_metadata.end\n", "is a mapping"),
        ("# ir_metadata.start\n# a: [\n# ir_metadata.end\n", "no YAML"),
        ("# ir_metadata.start\n# a: !!python/object/apply:os.getcwd []\n# ir_metadata.end\n", "no YAML"),
        ("# ir_metadata.start\n" + "# a: b\n" * 200_000 + "# ir_metadata.end\n", "has no end"),
    ],
)
def test_a_header_that_is_damaged_is_refused(tmp_path, header, words):
    (tmp_path / "bad.run").write_text(header + RUN)
    with pytest.raises(BadInput, match=words):
        ir_metadata.read(tmp_path / "bad.run")


def test_results_stay_as_they_were_written(run):
    with pytest.raises(BadInput, match="another file"):
        ir_metadata.annotate(run, {}, run)


def test_a_system_that_the_manifest_lacks_is_told(manifest):
    with pytest.raises(BadInput, match="no system 'dense'; it has mine, ql"):
        ir_metadata.from_manifest(manifest, "dense")
