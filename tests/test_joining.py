import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, CompositionError
from nirank.evaluation import compare, evaluate
from nirank.formats import read_qrels, read_run, write_qrels, write_run

CORPUS = Documents(["d0", "d1", "d2", "d3"], ["zero", "one", "two", "three"])
QUERIES = Queries(["a", "b", "c"], ["one", "two", "three"])
JUDGMENTS = Candidates.of([[1], [2], [3]], [[1], [1], [1]])
RIGHT = {"a": 1.0, "b": 0.5, "c": 0.0}


class Lists:
    """Finds the second document first for "two", and nothing relevant for "three"."""

    def generate(self, queries, k):
        found = {"one": [1, 0], "two": [0, 2], "three": [0, 1]}
        return Candidates.of([found[text][:k] for text in queries.contents], [[2, 1][:k]] * len(queries))


@pytest.fixture
def collection():
    return Collection("small", CORPUS, QUERIES, JUDGMENTS)


@pytest.fixture
def files(tmp_path, collection):
    run, qrels = tmp_path / "a.run", tmp_path / "b.qrels"
    found = nirank.load(Lists()).search(collection.queries, collection.corpus)
    write_run(run, collection.queries, found)
    write_qrels(qrels, collection.queries, collection.judgments)
    return run, qrels


def values(evaluation, measure="RR"):
    return dict(zip(evaluation.query_ids, evaluation.values[measure].tolist(), strict=True))


def test_a_search_knows_its_queries_and_its_corpus(collection):
    found = nirank.load(Lists()).search(collection.queries, collection.corpus)
    assert [*found.query_ids] == ["a", "b", "c"]
    assert found.corpus is CORPUS
    assert [*found.take(np.array([2, 0])).query_ids] == ["c", "a"]
    assert [*found.take(slice(1, None)).query_ids] == ["b", "c"]
    assert [*found.top(1).query_ids] == [*found.where(found.docs > 0).query_ids] == ["a", "b", "c"]
    assert nirank.load(Lists()).search(["one", "two"], CORPUS).query_ids is None  # which nobody named


def test_queries_in_another_order_are_joined_by_their_ids(collection):
    backwards = collection.queries.take(np.array([2, 1, 0]))
    found = nirank.load(Lists()).search(backwards, collection.corpus)
    evaluation = evaluate(found, collection.judgments, ["RR"])
    assert values(evaluation) == RIGHT
    assert evaluation.to_dict(per_query=True)["per_query"]["b"] == {"RR": 0.5}


def test_queries_of_another_collection_are_refused_naming_both(collection):
    others = Queries(["x", "b", "c"], QUERIES.contents)
    found = nirank.load(Lists()).search(others, CORPUS)
    with pytest.raises(BadInput, match=r"of the run: 3 \('x', 'b', 'c'\).*3 \('a', 'b', 'c'\); 2 of them"):
        evaluate(found, collection.judgments, ["RR"])


def test_documents_of_another_corpus_are_refused_naming_both(collection):
    other = Documents(["e0", "e1", "e2", "e3"], [*CORPUS])
    found = nirank.load(Lists()).search(QUERIES, other)
    with pytest.raises(BadInput, match=f"{other.fingerprint[:8]}.*{CORPUS.fingerprint[:8]}"):
        evaluate(found, collection.judgments, ["RR"])
    rewritten = Documents(CORPUS.ids, ["other", "words", "for", "them"])
    assert values(evaluate(Lists_over(rewritten), collection.judgments, ["RR"])) == RIGHT


def Lists_over(corpus):  # noqa: N802 - reads as the class
    return nirank.load(Lists()).search(QUERIES, corpus)


def test_all_ways_to_give_a_run_and_judgments_give_the_same(collection, files):
    run, qrels = files
    found = nirank.load(Lists()).search(collection.queries, collection.corpus)
    runs = [found, read_run(run), run, str(run)]
    judged = [collection.judgments, read_qrels(qrels), qrels, str(qrels)]
    for one in runs:
        for other in judged:
            assert values(evaluate(one, other, ["RR"])) == RIGHT, (one, other)


def test_a_file_that_lacks_a_query_counts_as_zero_there(collection, tmp_path):
    (tmp_path / "run").write_text("b Q0 d9 1 3 x\nb Q0 d2 2 3 x\nz Q0 d1 1 1 x\n")
    evaluation = evaluate(tmp_path / "run", collection.judgments, ["RR"])
    assert values(evaluation) == {"a": 0, "b": 0.5, "c": 0}  # d9, which the corpus lacks, wins the tie
    assert (evaluation.empty, evaluation.unjudged, evaluation.ties) == (2, 1, 1)


@pytest.mark.parametrize("measure", ["RR", "Rprec"])
def test_documents_beyond_the_corpus_are_not_taken_for_each_other(measure, tmp_path):
    judgments = Candidates.of([[4], [2], [3]], [[1], [1], [1]])  # of the first the corpus lacks the one that is judged
    collection = Collection("small", CORPUS, QUERIES, judgments)
    (tmp_path / "run").write_text("a Q0 e7 1 3 x\n")
    assert values(evaluate(tmp_path / "run", collection.judgments, [measure]), measure)["a"] == 0


def test_files_without_a_query_in_common_are_refused(files, tmp_path):
    (tmp_path / "padded").write_text("0a Q0 d1 1 3 x\n")
    for run in (tmp_path / "padded", read_run(tmp_path / "padded")):
        with pytest.raises(BadInput, match=r"1 \('0a'\).*none of them are in both"):
            evaluate(run, files[1], ["RR"])


def test_rows_without_ids_are_taken_as_they_stand(collection):
    found = Candidates.of([[1], [0, 2], [0]], [[1], [2, 1], [1]])
    assert values(evaluate(found, collection.judgments, ["RR"])) == RIGHT
    assert evaluate(found, JUDGMENTS, ["RR"]).query_ids is None


def test_systems_over_other_queries_are_not_compared(collection):
    one = evaluate(Lists_over(CORPUS), collection.judgments, ["RR"])
    renamed = Collection("other", CORPUS, Queries(["x", "y", "z"], QUERIES.contents), JUDGMENTS)
    found = nirank.load(Lists()).search(renamed.queries, CORPUS)
    with pytest.raises(BadInput, match="only in one"):
        compare({"one": one, "other": evaluate(found, renamed.judgments, ["RR"])})


@pytest.mark.parametrize(
    ("run", "judgments", "message"),
    [
        ("found", "collection", "write `collection.judgments`"),
        ("collection", "judgments", "a Collection: search it first"),
        ("stage", "judgments", "not a Stage: search with it first"),
        ("dict", "judgments", "not a dict: write it into a file"),
        ("found", "dict", "judgments must be those of a collection.*not a dict"),
        ("found", "nothing", "not a NoneType"),
    ],
)
def test_what_stands_in_the_wrong_place_is_told(run, judgments, message, collection):
    things = {
        "collection": collection,
        "judgments": collection.judgments,
        "found": Lists_over(CORPUS),
        "stage": nirank.load(Lists()),
        "dict": {"a": {"d1": 1.0}},
        "nothing": None,
    }
    with pytest.raises(BadInput, match=message):
        evaluate(things[run], things[judgments], ["RR"])


def test_a_search_tells_what_stands_in_the_wrong_place(collection):
    stage = nirank.load(Lists())
    with pytest.raises(CompositionError, match=r"collection\.corpus"):
        stage.search(collection.queries, collection)
    with pytest.raises(CompositionError, match="the queries come first"):
        stage.search(collection.corpus, collection.queries)
    with pytest.raises(CompositionError, match=r"collection\.queries"):
        stage.search(collection, collection.corpus)
    with pytest.raises(CompositionError, match="the first argument is a corpus"):
        stage.search(collection.corpus, collection.corpus)
    with pytest.raises(CompositionError, match=r"nirank\.Documents\(ids, texts\)"):
        stage.search("one", ["one", "two"])


def test_a_sum_that_is_searched_is_told():
    class Zero:
        def score(self, queries, candidates):
            return np.zeros(candidates.pairs)

    summed = nirank.load(Zero()) + nirank.load(Zero())
    with pytest.raises(CompositionError, match="put a generator before it"):
        summed.search("one", CORPUS)


def test_what_makes_figures_doubtful_is_told_by_evaluate_and_by_compare(files, tmp_path, collection):
    (tmp_path / "upper").write_text("a Q0 D1 1 3 x\nb Q0 D2 1 3 x\n")
    odd, good = (evaluate(run, files[1], ["RR"]) for run in (tmp_path / "upper", files[0]))
    assert "None of the retrieved documents is judged" in odd.warnings[0]
    assert not good.warnings
    notes = compare({"odd": odd, "good": good}).notes
    assert "1 judged queries have no results." in notes["odd"]
    assert odd.warnings[0] in notes["odd"]
    assert notes["good"] == good.notes()
    assert odd.to_dict()["warnings"] == list(odd.warnings)
    assert "warnings" not in good.to_dict()


class Everything:
    """Finds all of a large corpus, as many as it is asked for."""

    def __init__(self, size):
        self.size = size

    def generate(self, queries, k):
        row = np.arange(min(k, self.size))
        return Candidates.of([row] * len(queries), [-row] * len(queries))


@pytest.fixture
def large():
    corpus = Documents([f"d{number}" for number in range(3000)], ["apple"] * 3000)
    return Collection("large", corpus, Queries(["q"], ["apple"]), Candidates.of([np.arange(3000)], [np.ones(3000)]))


def test_a_cutoff_beyond_what_was_asked_for_is_told(large):
    stage = nirank.load(Everything(3000))
    measures = ["R@1000", "R@2000", "recall_2000", "AP"]
    found = evaluate(stage.search(large.queries, large.corpus), large.judgments, measures)
    beyond, unreachable = found.warnings
    assert beyond.startswith(
        "R@2000, recall_2000: the cutoff is deeper than the ranking, which ends at 1,000 documents"
    )
    assert unreachable.startswith("1 queries have more relevant documents than the 1,000")
    deep = evaluate((stage % 3000).search(large.queries, large.corpus), large.judgments, measures)
    assert not deep.warnings  # there are no more documents
    assert deep["R@2000"] == pytest.approx(2 / 3)
    few = nirank.load(Everything(20)).search(large.queries, large.corpus)
    assert not [note for note in evaluate(few, large.judgments, ["R@1000"]).warnings if "R@1000" in note]


def test_a_run_in_a_file_that_was_cut_off_is_told(tmp_path):
    lines = [f"q{query} Q0 d{rank} {rank} {-rank} x" for query in range(3) for rank in range(100)]
    (tmp_path / "run").write_text("\n".join(lines) + "\n")
    (tmp_path / "qrels").write_text("q0 0 d3 1\n")
    found = evaluate(tmp_path / "run", tmp_path / "qrels", ["R@100", "R@1000"])
    assert [note.split(":")[0] for note in found.warnings] == ["R@1000"]


@pytest.mark.parametrize(
    ("pipeline", "deeper"),
    [
        *[("e", "e % 2000"), ("e % 50", "e % 50"), ("e >> s", "(e % 2000) >> s"), ("e >> top(3, s)", "2000")],
        *[("fuse(e, e % 9)", "fuse(e % 2000, e % 9"), ("others(e)", "others(e % 2001)"), ("e | e", "(e % 2000) | ")],
    ],
)
def test_a_ranking_goes_deeper_where_it_does_not_say_how_deep(pipeline, deeper):
    class Zero:
        def score(self, queries, candidates):
            return np.zeros(candidates.pairs)

    parts = {"e": nirank.load(Everything(9), name="e"), "s": nirank.load(Zero(), name="s")}
    assert deeper in repr(nirank.parse(pipeline, parts).at_depth(2000))


def test_ids_in_the_place_of_ordinals_are_told():
    with pytest.raises(BadInput, match=r"documents are ordinals.*\['d1', 'd2'\]; `corpus\.ids\.find\(ids\)`"):
        Candidates.of([["d1", "d2"]])
    with pytest.raises(BadInput, match="documents are ordinals"):
        Candidates(np.array([0, 1]), np.array(["d1"]), np.array([1.0]))


def test_what_is_no_evaluation_is_not_compared(collection):
    evaluation = evaluate(Lists_over(CORPUS), collection.judgments)
    with pytest.raises(BadInput, match="not a list"):
        compare([evaluation, evaluation])
    with pytest.raises(BadInput, match="'b' is a Candidates, not an evaluation"):
        compare({"a": evaluation, "b": Lists_over(CORPUS)})


def test_judgments_of_a_collection_stay_the_same_object_while_they_are_known(collection):
    assert Collection("again", CORPUS, QUERIES, collection.judgments).judgments is collection.judgments
    renamed = Collection("renamed", CORPUS, Queries(["x", "y", "z"], QUERIES.contents), collection.judgments)
    assert [*renamed.judgments.query_ids] == ["x", "y", "z"]
    backwards = Collection("backwards", CORPUS, QUERIES.take(np.array([2, 1, 0])), collection.judgments)
    assert backwards.judgments.docs.tolist() == [3, 2, 1]
    assert [*backwards.judgments.query_ids] == ["c", "b", "a"]
