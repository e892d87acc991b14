"""The stopwatch: times of the queries that are asked inside of it, and of each thread its own."""

import threading
import time

import numpy as np

import nirank
from nirank.data import Candidates, Documents
from nirank.experiments.latency import Stopwatch
from nirank.plugins import active

CORPUS = Documents(["a", "b"], ["one", "two"])


class Slow:
    """Finds everything, in as many seconds as the query says."""

    def generate(self, queries, k):
        time.sleep(max(float(text) for text in queries.contents))
        return Candidates.of([np.arange(2)] * len(queries), [[2, 1]] * len(queries)).top(k)


def _watched(work):
    watch = Stopwatch()
    active().manager.register(watch)
    try:
        work(watch)
    finally:
        active().manager.unregister(watch)
    return watch


def test_threads_have_their_own_numbers():
    slow, told, both = nirank.load(Slow(), "slow"), {}, threading.Barrier(3)

    def ask(watch, seconds):
        both.wait()
        with watch.query() as mine:
            slow.search(seconds, CORPUS)
        told[seconds] = dict(mine)

    def beside():
        both.wait()
        slow.search("0.2", CORPUS)  # which nobody times

    def work(watch):
        threads = [threading.Thread(target=ask, args=(watch, each)) for each in ("0.05", "0.3")]
        threads.append(threading.Thread(target=beside))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    watch = _watched(work)
    assert 0.05 <= told["0.05"]["generate slow"] < 0.2
    assert 0.3 <= told["0.3"]["generate slow"] < 0.45
    assert sorted(watch.seconds["generate slow"]) == sorted(each["generate slow"] for each in told.values())
    assert len(watch.seconds["total"]) == 2


def test_what_is_searched_outside_of_a_query_is_not_counted():
    slow = nirank.load(Slow(), "slow")

    def work(watch):
        slow.search("0", CORPUS)
        with watch.query() as mine:
            pass
        assert list(mine) == ["total"]

    _watched(work)


def test_a_query_that_fails_leaves_nothing_behind():
    slow = nirank.load(Slow(), "slow")

    def work(watch):
        try:
            with watch.query():
                slow.search("no number", CORPUS)
        except ValueError:
            pass
        with watch.query() as mine:
            slow.search("0", CORPUS)
        assert len(watch.seconds["total"]) == 1
        assert mine["generate slow"] < 1

    _watched(work)


class Encoder:
    """Takes its time to encode, and the scoring by its vectors takes none of its own."""

    vectors = "dense"

    def encode(self, queries):
        time.sleep(0.1)
        return np.ones((len(queries), 1), np.float32)

    def encode_documents(self, contents):
        return np.ones((len(contents), 1), np.float32)


def test_a_stage_within_another_may_count_for_itself_alone():
    ranking = nirank.load(Slow(), "slow") >> nirank.load(Encoder(), "encoder")
    for apart, scoring in ((True, False), (False, True)):
        watch = Stopwatch(keep=False, apart=apart)
        with watch.watching(), watch.query() as mine:
            ranking.search("0.05", CORPUS)
        assert [*mine] == ["generate slow", "encode encoder", "score encoder", "total"]
        assert mine["encode encoder"] >= 0.1
        assert (mine["score encoder"] >= 0.1) == scoring
        assert (sum(mine.values()) - mine["total"] <= mine["total"]) == apart
        assert watch.seconds == {}
