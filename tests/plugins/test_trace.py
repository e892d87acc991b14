"""The tracer: what it counts and times, the table, and the file for chrome://tracing."""

from __future__ import annotations

import json
import mmap
import time

import numpy as np
import pytest

from nirank import load
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.execution import stages as execute
from nirank.experiments import run
from nirank.experiments.experiment import Experiment
from nirank.plugins.observers import switched_on
from nirank_trace import gauge
from nirank_trace.gauge import Gauge
from nirank_trace.trace import Trace
from tests.named_toys import named


class Everything:
    """Finds, encodes and scores everything, two entries at a time."""

    vectors = "dense"
    batch_size = 2

    def generate(self, queries, k):
        return Candidates.of([np.arange(k)] * len(queries), [np.arange(k, 0, -1)] * len(queries))

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        time.sleep(0.002)
        return np.array([[len(text)] for text in contents], np.float32)


class Scorer:
    batch_size = 2

    def score(self, queries, candidates):
        return -candidates.docs


@pytest.fixture
def documents():
    return Documents(["a", "b", "c"], ["x", "xx", "xxx"])


@pytest.fixture
def trace():
    trace = Trace(table=False)
    with switched_on([trace]):
        yield trace


def _stages(trace):
    return [
        (span.stage, span.component, span.sizes, span.batches)
        for span in sorted(trace.spans, key=lambda span: span.start)
        if span.stage != "batch"
    ]


def test_every_stage_call_is_measured_with_its_sizes_and_batches(trace, documents):
    (load(Everything(), "all") % 3 >> load(Scorer(), "down")).search(["q", "r"], documents)
    assert _stages(trace) == [
        ("generate", "all", {"queries": 2, "pairs": 6}, 0),
        ("score", "down", {"queries": 2, "pairs": 6}, 3),
    ]


def test_stages_inside_a_stage_have_their_own_batches(trace, documents):
    candidates = Candidates.of([[0, 1, 2]], corpus=documents)
    execute.score(load(Everything(), "bi").component, Queries.of("q"), candidates)
    assert _stages(trace) == [
        ("score", "bi", {"queries": 1, "pairs": 3}, 0),
        ("encode", "bi", {"queries": 1}, 1),
        ("encode_documents", "bi", {"documents": 3}, 2),
    ]
    score, encode, encode_documents = (span for span in sorted(trace.spans, key=_start) if span.stage != "batch")
    assert score.start <= encode.start < encode.stop <= encode_documents.start < encode_documents.stop <= score.stop
    assert 4e6 <= encode_documents.in_batches <= encode_documents.stop - encode_documents.start


def _start(span):
    return span.start


def test_losses_are_measured(trace):
    def loss(scores, labels, mask):
        return 0.5

    scores = np.zeros((4, 3))
    for _ in range(2):
        assert execute.loss(load(loss, "none").component, scores, scores, scores == 0) == 0.5
    assert _stages(trace) == [("loss", "none", {"queries": 4}, 0)] * 2


def test_a_stage_that_fails_is_measured_and_its_error_told(trace):
    class Broken:
        def score(self, queries, candidates):
            raise KeyError("x")

    with pytest.raises(KeyError):
        execute.score(load(Broken(), "broken").component, Queries.of("q"), Candidates.of([[1]]))
    assert [(span.stage, span.error) for span in trace.spans] == [("batch", "KeyError"), ("score", "KeyError")]
    execute.score(load(Scorer(), "sound").component, Queries.of("q"), Candidates.of([[1]]))
    assert trace.spans[-1].batches == 1


def test_the_file_is_a_trace_event_file(tmp_path, documents):
    path = tmp_path / "deep" / "trace.json"
    with switched_on([Trace(str(path), table=False)]):
        load(Everything(), "all").search("q", documents)
        execute.score(load(Everything(), "bi").component, Queries.of("q"), Candidates.of([[0, 1, 2]], corpus=documents))
    events = json.loads(path.read_text())["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    assert {event["name"] for event in complete} == {
        "generate all", "score bi", "encode bi", "encode_documents bi", "batch bi",
    }  # fmt: skip
    for event in complete:
        assert {"name", "cat", "ts", "dur", "pid", "tid", "args"} <= event.keys()
        assert event["ts"] >= 0
        assert event["dur"] >= 0
    batches = [event for event in complete if event["cat"] == "batch"]
    stages = {event["name"]: event for event in complete if event["cat"] == "stage"}
    for batch in batches:  # viewers nest by time
        outer = stages["score bi"]
        assert outer["ts"] <= batch["ts"] <= batch["ts"] + batch["dur"] <= outer["ts"] + outer["dur"]
    assert stages["encode_documents bi"]["args"]["documents"] == 3
    assert stages["encode_documents bi"]["args"]["resident MB"] > 1


@pytest.fixture
def registered(documents):
    collection = Collection("few", documents, Queries.of(["q"]), Candidates.of([[0]], [[1]]))
    with named({"collection/few": lambda: collection, "generator/all": Everything}):
        yield


@pytest.mark.usefixtures("registered")
def test_an_experiment_has_its_trace_in_its_folder_and_the_table_on_standard_error(tmp_path, capsys):
    table = {"name": "try", "collection": "few", "pipeline": "all", "plugin": {"trace": {}}}
    run.run(Experiment.of(table), tmp_path / "out")
    events = json.loads((tmp_path / "out" / "trace.json").read_text())["traceEvents"]
    (mark,) = [event for event in events if event["ph"] == "i"]
    assert mark["name"] == "measured try"
    assert mark["args"]["RR@10"] == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (row,) = [line for line in shown.err.splitlines() if "generate" in line]
    assert row.split()[:9:2] == ["│", "│", "│", "│", "│"]
    assert row.split()[1:9:2] == ["generate", "all", "1", "1"]


@pytest.mark.usefixtures("registered")
def test_a_place_of_its_own_goes_before_the_folder(tmp_path):
    plugin = {"trace": {"file": str(tmp_path / "mine.json"), "table": False}}
    run.run(Experiment.of({"collection": "few", "pipeline": "all", "plugin": plugin}), tmp_path / "out")
    assert (tmp_path / "mine.json").exists()
    assert not (tmp_path / "out" / "trace.json").exists()


def test_switched_off_it_measures_nothing(documents):
    trace = Trace(table=False)
    with switched_on([trace]):
        component = load(Everything(), "all").component
    execute.encode_documents(component, ["x"])
    assert trace.spans == []


@pytest.mark.skipif(not gauge._SET_BACK.exists(), reason="only Linux can set its high-water mark back")
def test_the_peak_of_memory_is_that_of_the_piece_of_work():
    gauge = Gauge()
    with gauge.watch() as outer:
        # Not an array: its memory may come from what earlier tests freed, which is resident already.
        with gauge.watch() as large, mmap.mmap(-1, 240_000_000) as block:
            np.frombuffer(block, dtype=np.uint8)[::1024].max()
        with gauge.watch() as small:
            pass
    assert large.resident - small.resident > 200e6
    assert outer.resident >= large.resident
    assert outer.cuda == 0


def test_without_a_mark_that_can_be_set_back_the_highest_of_the_process_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(gauge, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(gauge, "_SET_BACK", tmp_path / "no" / "such")
    with Gauge().watch() as peak:
        pass
    assert peak.resident > 1e6
