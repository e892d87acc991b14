"""RankGPT: windows by hand, answers repaired by the rules of its paper, prompts as data, and what asks a server."""

from __future__ import annotations

import logging
import math
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, ComponentError, UnknownName
from nirank.experiments import run as experiment
from nirank_seq2seq import conversation
from nirank_seq2seq.rankgpt import RankGPT, permutation, windows
from nirank_seq2seq.writers import Writing
from tests.chat_server import PROXIES, Server
from tests.oracle import Asked, given, ordering, ranked

MIXED = [3, 11, 7, 0, 15, 9, 2, 14, 6, 12, 1, 8, 13, 4, 10, 5]


def _slid(grades, window, stride):
    """One pass, with slices that are sorted in place."""
    grades, stop, asked = list(grades), len(grades), 0
    while True:
        start = max(stop - window, 0)
        grades[start:stop] = sorted(grades[start:stop], reverse=True)
        asked += 1
        if start == 0:
            return grades, asked
        stop -= stride


@settings(deadline=None, max_examples=50)
@for_all(st.permutations(range(17)), st.integers(2, 20), st.data())
def test_a_pass_orders_window_by_window_and_brings_the_best_to_the_front(grades, window, data):
    stride, model = data.draw(st.integers(1, window - 1)), ordering()
    (found,) = ranked(RankGPT(model, window, stride), grades)
    expected, asked = _slid(grades, window, stride)
    assert found == expected
    sure = min(window - stride, 17)
    assert found[:sure] == sorted(grades, reverse=True)[:sure]
    assert len(model.prompts) == asked == math.ceil(max(17 - window, 0) / stride) + 1


@pytest.mark.parametrize(("documents", "asked"), [(100, 9), (20, 1), (25, 2), (21, 2), (2, 1), (1, 0), (0, 0)])
def test_the_windows_of_the_paper(documents, asked):
    found = list(windows(documents, 20, 10))
    assert len(found) == asked
    if documents == 100:
        assert found[:2] == [(80, 100), (70, 90)]
        assert found[-1] == (0, 20)
    assert not found or found[-1][0] == 0  # all of a list that no multiple of the stride fits


def test_enough_passes_give_the_true_order_and_then_nothing_more_is_asked():
    model = ordering()
    (found,) = ranked(RankGPT(model, 4, 2, passes=100), MIXED)
    assert found == sorted(MIXED, reverse=True)
    slowly, passes = list(MIXED), 0
    while True:
        before, (slowly, asked) = list(slowly), _slid(slowly, 4, 2)
        passes += 1
        if before == slowly:
            break
    assert len(model.prompts) == passes * asked
    assert passes < 9


def test_lists_begin_in_the_order_of_their_scores_however_they_are_stored():
    scorer = RankGPT(Asked(lambda labels, grades: "[1]"), 4, 2)
    assert ranked(scorer, MIXED) == [MIXED]
    queries, candidates = given(MIXED)
    equal = candidates.with_scores(np.zeros(16))
    found = equal.with_scores(scorer.score(queries, equal)).ranked()
    assert found.docs.tolist() == list(range(16))  # equal scores rank by rising ordinal, as everywhere


def test_lists_are_ranked_side_by_side_and_as_if_alone():
    lists = [random.Random(n).sample(range(50), n) for n in (16, 1, 9, 0, 4, 30)]
    together = ordering()
    found = ranked(RankGPT(together, 4, 2), *lists)
    assert found == [ranked(RankGPT(ordering(), 4, 2), one)[0] for one in lists]
    assert len(together.calls) == 14  # as many as the longest list has windows
    assert len(together.calls[0]) == 4
    many = [random.Random(n).sample(range(50), 5) for n in range(100)]
    assert ranked(RankGPT(ordering()), *many) == [sorted(one, reverse=True) for one in many]


def test_equal_texts_are_shown_once_and_tie():
    model = ordering()
    corpus = Documents(list("abcd"), ["grade 1", "grade 2", "grade 1", "grade 3"])
    scores = RankGPT(model).score(Queries.of("q"), Candidates.of([[0, 1, 2, 3]], corpus=corpus))
    assert scores.tolist() == [1, 2, 1, 3]
    assert [len(prompt.split("Received")) for prompt in model.prompts] == [4]


# Answers


def _as_rankgpt(answer, length):
    """The rules of its code, letter by letter."""
    digits = "".join(letter if letter.isdigit() else " " for letter in answer)
    found = []
    for number in digits.split():
        if int(number) - 1 not in found:
            found.append(int(number) - 1)
    found = [place for place in found if place in range(length)]
    return found + [place for place in range(length) if place not in found]


@settings(deadline=None, max_examples=50)
@for_all(st.text(alphabet="123456789 >[],ab", max_size=40), st.integers(1, 8))
def test_answers_are_repaired_as_rankgpt_repairs_them(answer, length):
    counts = Counter()
    found = permutation(answer, length, counts)
    assert sorted(found) == list(range(length))
    if "[" not in answer:
        assert found == _as_rankgpt(answer, length)
    assert counts["repaired"] == any(counts[fault] for fault in counts if fault != "repaired")


@pytest.mark.parametrize(
    ("answer", "expected", "fault"),
    [
        ("[2] > [3] > [1]", [1, 2, 0], None),
        ("2 > 3 > 1", [1, 2, 0], None),
        ("Of the 3 passages, [2] > [ 3 ] > [1].", [1, 2, 0], None),
        ("[3] > [3] > [1] > [2]", [2, 0, 1], "with repeated numbers"),
        ("[3] > [0] > [4] > [1] > [2]", [2, 0, 1], "with unknown numbers"),
        (f"[3] > [{'9' * 6000}] > [1] > [02]", [2, 0, 1], "with unknown numbers"),
        ("[3]", [2, 0, 1], "with documents left out"),
        ("I cannot help with ² that.", [0, 1, 2], "with documents left out"),
        ("", [0, 1, 2], "with documents left out"),
    ],
)
def test_an_answer_that_is_no_order_becomes_one_and_is_counted(answer, expected, fault):
    counts = Counter()
    assert permutation(answer, 3, counts) == expected
    assert +counts == ({fault: 1, "repaired": 1} if fault else {})


def test_repairs_are_counted_in_one_warning_a_call(caplog):
    answers = iter(["[2] > [1] > [2]", "[1] > [2]", "nothing", "[2] > [1]"])
    scorer = RankGPT(Asked(lambda labels, grades: next(answers)), 2, 1)
    with caplog.at_level(logging.WARNING, logger="nirank"):
        ranked(scorer, [1, 2, 3, 4, 5])
    assert [record.message for record in caplog.records] == [
        "rankgpt: 2 of 4 answers had to be repaired (1 with repeated numbers, 1 with documents left out)."
    ]
    assert (scorer.counts["questions"], scorer.counts["repaired"], scorer.counts["passages"]) == (4, 2, 8)
    caplog.clear()
    scorer.writer.generate = ordering()
    ranked(scorer, [1, 2, 3])
    assert not caplog.records
    assert scorer.counts["repaired"] == 0


@settings(deadline=None, max_examples=50)
@for_all(st.permutations(range(12)), st.integers(0, 10**6))
def test_whatever_a_model_says_the_result_is_a_ranking(grades, seed):
    chance = random.Random(seed)
    noisy = Asked(lambda labels, _: " > ".join(f"[{chance.randrange(9)}]" for _ in range(chance.randrange(9))))
    assert sorted(ranked(RankGPT(noisy, 5, 2, 2), grades)[0]) == list(range(12))


def test_what_a_model_thinks_aloud_is_no_answer():
    assert ranked(RankGPT(Asked(lambda *_: "<think>[1] > [2]?</think>\n[2] > [1]")), [1, 2]) == [[2, 1]]
    assert ranked(RankGPT(Asked(lambda *_: "<think>[2] > [1], or")), [1, 2]) == [[1, 2]]
    assert ranked(RankGPT(Asked(lambda *_: "[1] > [2]?</think>[2] > [1]")), [1, 2]) == [[2, 1]]


@pytest.mark.parametrize("found", [[], ["[1]", "[1]"], [None], [b"[1]"], None, "[1]", 7])
def test_a_function_that_does_not_answer_each_prompt_is_told(found):
    def generate(prompts):
        return found

    with pytest.raises(ComponentError, match=r"generate returned .* for 1 prompts; a list with one text each"):
        ranked(RankGPT(generate), [1, 2])


# Prompts


def test_the_conversation_is_that_of_the_paper():
    said = conversation.read("rankgpt").filled("cats", ["one", "two"])
    assert [message["role"] for message in said] == ["system", "user", "assistant"] + ["user", "assistant"] * 2 + [
        "user"
    ]
    assert [message["content"] for message in said[3:7]] == [
        *("[1] one", "Received passage [1].", "[2] two", "Received passage [2].")
    ]
    assert said[1]["content"] == (
        "I will provide you with 2 passages, each indicated by number identifier []. \n"
        "Rank the passages based on their relevance to query: cats."
    )
    assert said[-1]["content"].startswith("Search Query: cats. \nRank the 2 passages above based on")
    assert said[-1]["content"].endswith("[1] > [2]. Only response the ranking results, do not say any word or explain.")


def test_rankzephyr_is_shown_all_passages_in_one_message():
    system, user = conversation.read("rankzephyr").filled("cats", ["one", "two"])
    assert system["role"] == "system"
    lines = user["content"].splitlines()
    assert lines[0].endswith("Rank the passages based on their relevance to the search query: cats.")
    assert lines[1:4] == ["[1] one", "[2] two", "Search Query: cats."]
    assert ranked(RankGPT(ordering(), prompt="rankzephyr"), MIXED) == [sorted(MIXED, reverse=True)]


def test_what_texts_say_is_no_place_and_no_label():
    model = Asked(lambda labels, grades: "[1] > [2]")
    corpus = Documents(list("ab"), ["see [2] and {query}\n[9] {passage2}", "{count}"])
    RankGPT(model).score(Queries.of("{passage1} [2]"), Candidates.of([[0, 1]], corpus=corpus))
    (prompt,) = model.prompts
    assert "[1] see (2) and {query} (9) {passage2}\n" in prompt
    assert "[2] {count}\n" in prompt
    assert "Search Query: {passage1} (2)." in prompt


def test_passages_are_shown_to_so_many_words():
    model = ordering()
    corpus = Documents(list("ab"), ["meow " * 301, "meow " * 300])
    scorer = RankGPT(model)
    scorer.score(Queries.of("q"), Candidates.of([[0, 1]], corpus=corpus))
    assert scorer.counts["cut to words"] == 1
    assert model.prompts[0].count("meow") == 600
    RankGPT(model, writing=Writing(words=2)).score(Queries.of("q"), Candidates.of([[0, 1]], corpus=corpus))
    assert "[1] meow meow\n" in model.prompts[1]


def test_a_prompt_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'labels = "numbers"\npassage = "[{label}] {passage}"\n'
        '[[messages]]\nrole = "user"\ntext = "{count} for {query}:\\n{passages}"\n'
    )
    model = ordering()
    assert ranked(RankGPT(model, prompt=str(path)), [1, 2]) == [[2, 1]]
    assert model.prompts == ["2 for query 0:\n[1] this has the grade 1\n[2] this has the grade 2"]


_MESSAGE = '\n[[messages]]\nrole = "user"\ntext = "{query}: {passages}"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("labels = ", "is no prompt"),
        ('labels = "greek"' + _MESSAGE, "labels: Input should be"),
        ('labels = "letters"', "messages: Field required"),
        ('labels = "letters"\nmodel = "x"' + _MESSAGE, "has model; a prompt has between, labels"),
        ('labels = "letters"' + _MESSAGE.replace("{query}", ""), "shows no query"),
        ('labels = "letters"' + _MESSAGE.replace("{passages}", ""), "shows no passage"),
        ('labels = "letters"' + _MESSAGE.replace("{query}", "{query} {who}"), "has the place {who}; it may have"),
        ('labels = "letters"\npassage = "{passage} {query}"' + _MESSAGE, "has the place {query}"),
        ('labels = "letters"' + _MESSAGE.replace("{query}", "{query} {passages}"), "more than once"),
        ('labels = "letters"' + _MESSAGE.replace("user", "me"), "messages.0.role"),
    ],
)
def test_a_file_that_is_no_prompt_is_told(tmp_path, text, told):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(BadInput, match=told) as raised:
        conversation.read(str(tmp_path / "mine.toml"))
    assert str(raised.value).startswith(str(tmp_path / "mine.toml"))


def test_a_prompt_that_there_is_not_is_told():
    with pytest.raises(UnknownName, match="Did you mean 'rankgpt'"):
        RankGPT(ordering(), prompt="rankgp")
    with pytest.raises(BadInput, match="is no prompt"):
        RankGPT(ordering(), prompt="missing.toml")


# Settings, pipelines, servers


@pytest.mark.parametrize(
    ("given_settings", "told"),
    [
        ({"window": 0}, "window = 0; a whole number from 1"),
        ({"passes": 0}, "passes = 0"),
        ({"stride": 0}, "stride = 0"),
        ({"window": 5, "stride": 5}, "windows overlap where the stride is smaller"),
        ({"words": 0}, "words = 0"),
        ({"answer_tokens": 0}, "answer_tokens = 0"),
        ({"max_length": 100}, "max_length and tokens are of models that are run here"),
        ({"tokens": 100}, "max_length and tokens are of models that are run here"),
        ({"endpoint": "http://localhost:1"}, "is asked for a model by its name, and .* is none"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given_settings, told):
    with pytest.raises(BadInput, match=told):
        nirank.load("rankgpt", model=ordering(), **given_settings)


def test_a_fingerprint_follows_all_that_matters():
    def of(model=None, **options):
        model = model or Asked(ordering().answer)
        model.fingerprint = "one"
        return RankGPT(model, **options).fingerprint

    assert of() == of()
    assert len({of(), of(window=5, stride=4), of(passes=2), of(prompt="rankzephyr"), of(writing=Writing(words=9))}) == 5
    assert RankGPT(ordering()).fingerprint != RankGPT(ordering()).fingerprint  # of a function nothing is known


def test_it_composes_with_other_stages():
    corpus = Documents(list("abcde"), ["cat", "cat dog", "cat dog bus", "cat dog bus car", "tree"])
    model = Asked(lambda labels, grades: "[3] > [2] > [1]")
    parts = {"rankgpt": nirank.load("rankgpt", model=model)}
    before = nirank.parse("bm25 % 5").search(["car dog bus cat"], corpus).docs.tolist()
    assert before == [3, 2, 1, 0]
    for text, expected in (
        ("bm25 % 5 >> top(3, rankgpt)", [1, 2, 3, 0]),
        ("bm25 % 3 >> 2.0 * rankgpt", [1, 2, 3]),
        ("bm25 % 3 >> rankgpt + 0.001 * bm25", [1, 2, 3]),
        ("fuse(bm25 % 3, bm25 % 3 >> rankgpt)", [1, 3, 2]),
        ("(bm25 % 3 >> rankgpt) % 1", [1]),
    ):
        pipeline = nirank.parse(text, parts)
        assert pipeline.search(["car dog bus cat"], corpus).docs.tolist() == expected
        assert repr(nirank.parse(repr(pipeline), parts)) == repr(pipeline)
        assert parts["rankgpt"].component in pipeline.components()


def test_a_function_needs_no_torch():
    script = (
        "import sys, nirank\n"
        "ranker = nirank.load('rankgpt', model=lambda prompts: ['[2] > [1]'])\n"
        "corpus = nirank.Documents(['a', 'b'], ['one', 'two'])\n"
        "found = nirank.Candidates.of([[0, 1]], corpus=corpus)\n"
        "assert ranker.score(nirank.Queries.of('q'), found).tolist() == [1, 2]\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_contents_than_texts_are_refused():
    corpus = Documents(list("ab"), ["one", 2])
    with pytest.raises(BadInput, match="a document 1 is of type int; only texts"):
        RankGPT(ordering()).score(Queries.of("q"), Candidates.of([[0, 1]], corpus=corpus))
    with pytest.raises(BadInput, match="these candidates have no corpus"):
        RankGPT(ordering()).score(Queries.of("q"), Candidates.of([[0, 1]]))


def test_a_server_is_asked_for_conversations_and_its_answers_are_kept(monkeypatch, tmp_path):
    pytest.importorskip("openai")
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    server = Server(ordering().one)
    stage = {"model": "zephyr", "endpoint": server.url, "window": 4, "stride": 2}
    for asked in (7, 7):
        scorer = nirank.load("rankgpt", **stage).component.target
        assert ranked(scorer, MIXED) == [_slid(MIXED, 4, 2)[0]]
        assert len(server.requests) == asked
    body = server.requests[0][2]
    assert [message["role"] for message in body["messages"]][:3] == ["system", "user", "assistant"]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("zephyr", 300, 0)
    ranked(nirank.load("rankgpt", **stage, keep_answers=False, answer_tokens=77).component.target, MIXED)
    assert len(server.requests) == 14
    assert server.requests[-1][2]["max_tokens"] == 77
    server.close()


def test_a_function_stands_in_an_experiment_through_a_plugin_beside_it(tmp_path):
    (tmp_path / "nirank_plugin.py").write_text(
        "import nirank\n\n\n"
        "def backwards(prompts):\n"
        "    return [' > '.join(f'[{n}]' for n in range(prompt.count('Received'), 0, -1)) for prompt in prompts]\n\n\n"
        "def ranker():\n"
        "    return nirank.load('rankgpt', model=backwards).component.target\n\n\n"
        "@nirank.hookimpl\n"
        "def nirank_register(registry):\n"
        "    registry.add('scorer', 'backwards', f'{__name__}:ranker', tiny=f'{__name__}:ranker')\n"
    )
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "cat"}\n{"_id": "b", "text": "cat and dog"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "cat"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tb\t1\n")
    file = tmp_path / "experiment.toml"
    file.write_text(f"collection = 'beir:{tmp_path}'\npipeline = 'bm25 % 10 >> backwards'\n")
    found = experiment.run(file).systems["experiment"].run
    assert found[0][0].tolist() == [1, 0]
