"""benchmarks/quality_seq2seq.py: the task is what it says, and a T5 from scratch learns a small form of it."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import AutoModelForSeq2SeqLM, AutoTokenizer


@pytest.fixture
def benchmark(benchmark):
    return benchmark("quality_seq2seq")


def test_documents_have_both_words_or_not_and_test_queries_are_new(benchmark):
    train, test = benchmark.Matching(words=8, length=4, documents=6, queries=20).split()
    assert (len(train.queries), len(test.queries)) == (20, 8)
    asked = [frozenset(query.split()) for part in (train, test) for query in part.queries.contents]
    assert len(set(asked)) == 28
    for part in (train, test):
        for row, query in enumerate(part.queries.contents):
            docs, labels = part.judgments[row]
            for text, label in zip(part.corpus[docs], labels, strict=True):
                words = text.split()
                assert len(set(words)) == len(words) == 4
                assert (set(query.split()) <= set(words)) == (label > 0)
            assert labels.mean() == 0.5


def test_trained_from_scratch_it_matches_words_of_queries_that_it_never_saw(benchmark, tmp_path):
    task = benchmark.Matching(words=10, length=4, documents=16, queries=30)
    size = benchmark.Training(dim=32, epochs=60, batch_size=8, learning_rate=4e-3)
    train, test = task.split()
    before = benchmark.accuracy(benchmark.built(task, size, 0), test).mean()
    stage, _ = benchmark.trained(task, size, "binary_cross_entropy")
    assert before < 0.65
    assert benchmark.accuracy(stage, train).mean() > 0.95
    assert benchmark.accuracy(stage, test).mean() > 0.85  # .975 where this was written

    stage.component.target.save(tmp_path)  # and what it says is what transformers decodes
    model, tokenizer = (kind.from_pretrained(tmp_path / "model") for kind in (AutoModelForSeq2SeqLM, AutoTokenizer))
    words = [tokenizer.convert_tokens_to_ids("\u2581" + word) for word in ("true", "false")]
    docs, _ = test.judgments[0]
    scores = benchmark._scores(stage, test.take([0]))
    for text, score in zip(test.corpus[docs], scores, strict=True):
        prompt = f"Query: {test.queries.contents[0]} Document: {text} Relevant:"
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        made = model.generate(
            input_ids=ids, max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        true, false = made.scores[0][0, words].tolist()
        assert score == pytest.approx(true - false, abs=1e-4)
