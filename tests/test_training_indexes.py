"""Training makes another model of a component: no cache and no index answers for the one that it was."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

import nirank
from nirank.execution import indexes
from nirank.hooks import hookimpl
from nirank.plugins import build, observers
from nirank_cache.cache import Cache
from tests.training_toys import registered

OPTIONS = {"sampler": "in_batch", "learning_rate": 0.05, "batch_size": 10, "steps": 4}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of caches and indexes; temporary files have a folder beside it."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with registered():
        yield tmp_path / "cache"
    assert not list((tmp_path / "temporary").glob("nirank-*"))


def _indexes(cache):
    return sorted(path.name for path in cache.glob("indexes/*") if path.is_dir())


@pytest.fixture
def letters():
    return nirank.collection("letters")


def test_after_training_an_index_is_made_with_the_new_weights(cache, letters):
    tuned = nirank.load("encoder/letters", "tuned")
    pipeline = tuned >> (nirank.load("exact") % 7)
    before = pipeline.search(letters.queries, letters.corpus)
    old = _indexes(cache)
    nirank.fit(tuned, "clip", letters, **OPTIONS)
    after = pipeline.search(letters.queries, letters.corpus)
    encoder = tuned.component.target
    expected = encoder.encode(letters.queries) @ encoder.encode_documents(letters.corpus[np.arange(60)]).T
    best = expected.detach().topk(7).values.numpy()
    np.testing.assert_allclose(after.scores.reshape(-1, 7), best, rtol=1e-5)
    assert (after.docs != before.docs).any()
    assert len(old) == 1
    assert len(_indexes(cache)) == 2


def test_the_index_of_the_weights_before_is_found_again_by_who_has_these(cache, letters):
    tuned = nirank.load("encoder/letters")
    exact = nirank.load("exact")
    (tuned >> exact).search(letters.queries, letters.corpus)
    nirank.fit(tuned, "clip", letters, **OPTIONS)
    (nirank.load("encoder/letters") >> exact).search(letters.queries, letters.corpus)
    assert len(_indexes(cache)) == 1


@pytest.mark.parametrize("kept", ["scores", "vectors"])
def test_a_cache_does_not_answer_for_the_weights_before(letters, kept):
    name, loss = {"scores": ("weighed", "ranknet"), "vectors": ("encoder/letters", "clip")}[kept]
    collection = nirank.collection("numbers") if kept == "scores" else letters
    options = OPTIONS | ({"sampler": "judged"} if kept == "scores" else {})
    watching = Cache()
    with observers.switched_on([watching]):
        stage = nirank.load(name)
        pairs = collection.queries, collection.judgments
        before = stage.score(*pairs)
        assert (stage.score(*pairs) == before).all()
        found, computed = watching.counts()
        assert found > 0
        nirank.fit(stage, loss, collection, **options)
        after = stage.score(*pairs)
        assert watching.counts() == (found, 2 * computed)
    plain = nirank.load(name)
    plain.component.target.load_state_dict(stage.component.target.state_dict())
    np.testing.assert_array_equal(after, plain.score(*pairs))
    assert (after != before).any()


def test_a_cache_on_the_way_does_not_answer_for_other_steps():
    """The measures on dev are those without a cache."""
    logs, collection = [], nirank.collection("numbers")
    options = OPTIONS | {"sampler": "judged", "learning_rate": 0.2}
    for watching in ([], [Cache()]):
        with observers.switched_on(watching):
            fitted = nirank.fit("weighed", "ranknet", collection, dev=collection, evaluate_every=1, **options)
            logs.append([line["dev nDCG@10"] for line in fitted.log if "dev nDCG@10" in line])
    assert logs[0] == logs[1]
    assert len(set(logs[0])) == 4


class Watch:
    """Counts the indexes that are opened and not in the cache."""

    def __init__(self, ranking):
        self.ranking, self.seen = ranking, []

    @hookimpl
    def nirank_trained(self, component, step, values):
        if any(name.startswith("dev") for name in values):
            self.seen.append([other.opened for other in self.ranking.components()])


def test_indexes_that_are_made_on_the_way_are_gone_afterwards(cache, letters):
    tuned = nirank.load("encoder/letters", "tuned")
    pipeline = tuned >> nirank.load("exact")
    watch = Watch(pipeline)
    with observers.switched_on([watch]):
        fitted = nirank.fit(
            tuned, "clip", letters, dev=letters, pipeline=pipeline, measure="RR", evaluate_every=1, **OPTIONS
        )
    assert watch.seen == [[None, None]] * 4
    assert _indexes(cache) == []
    measured = [line["dev RR"] for line in fitted.log if "dev RR" in line]
    assert len(set(measured)) == 4  # they were made anew each time
    found = pipeline.search(letters.queries, letters.corpus)
    assert nirank.evaluate(found, letters.judgments, ["RR"])["RR"] == fitted.best == max(measured)


def test_an_index_that_was_open_before_is_not_asked_on_the_way(cache, letters):
    measured = []
    for opened in (False, True):
        tuned = nirank.load("encoder/letters", "tuned")
        pipeline = tuned >> nirank.load("exact")
        if opened:
            pipeline.index(letters.corpus)
        fitted = nirank.fit(tuned, "clip", letters, dev=letters, pipeline=pipeline, evaluate_every=2, **OPTIONS)
        measured.append([line["dev nDCG@10"] for line in fitted.log if "dev nDCG@10" in line])
    assert measured[0] == measured[1]
    assert len(_indexes(cache)) == 1


def test_negatives_are_mined_with_indexes_that_do_not_stay(cache, letters):
    tuned = nirank.load("encoder/letters", "tuned")
    sampler = build("sampler/mined", {"pipeline": "tuned >> exact", "every": 2, "top": 9})
    nirank.fit(tuned, "ranknet", letters, **OPTIONS | {"sampler": sampler})
    assert _indexes(cache) == []


def test_indexes_of_others_go_to_the_cache_also_on_the_way(cache, letters):
    tuned, other = nirank.load("encoder/letters", "tuned"), nirank.load("encoder/letters", seed=3)
    with indexes.apart(tuned.component):
        (other >> nirank.load("exact")).index(letters.corpus)
        (tuned >> nirank.load("exact")).index(letters.corpus)
    assert len(_indexes(cache)) == 1
