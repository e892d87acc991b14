"""Measures of subtopics beside slow loops over the papers' formulas, hand-computed values, and ndeval itself."""

import math
import random

import numpy as np
import pytest
from typer.testing import CliRunner

import nirank
from nirank.cli import app
from nirank.errors import BadInput, UnknownName
from nirank.evaluation import check_measures, evaluate
from nirank.formats import Subtopics, read_subtopics

#: Of three subtopics the third has no relevant document; b covers two, d is the only one that covers a new one after b.
QRELS = "1 1 a 1\n1 1 b 1\n1 2 b 2\n1 1 c 1\n1 2 d 1\n1 3 d 0\n1 3 x -2\n2 1 y 1\n3 1 z 0\n"
RUN = "1 Q0 a 1 9 t\n1 Q0 n 2 8 t\n1 Q0 b 3 7 t\n1 Q0 d 4 6 t\n3 Q0 z 1 1 t\n4 Q0 z 1 1 t\n"
#: ndeval's names, and those here.
NAMES = {
    "ERR-IA": "ERR_IA",
    "nERR-IA": "nERR_IA",
    "alpha-DCG": "alpha_DCG",
    "alpha-nDCG": "alpha_nDCG",
    "P-IA": "P_IA",
    "strec": "StRecall",
    "NRBP": "NRBP",
    "nNRBP": "nNRBP",
    "MAP-IA": "AP_IA",
}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "qrels").write_text(QRELS)
    (tmp_path / "run").write_text(RUN)
    return tmp_path


def first(files, *names, **settings):
    found = evaluate(files / "run", files / "qrels", list(names), **settings)
    assert found.query_ids == ["1", "2", "3"]  # 4 is not judged
    return [found.values[name][0] for name in names]


def log(rank):
    return 1 / math.log2(rank + 1)


def test_values_by_hand(files):
    # Gains: a 1, n 0, b 1/2 + 1, d 1/2. Ideal: b 2, then d, c, a by falling id among equals: 1/2, 1/2, 1/4.
    gained, ideal = 1 + 1.5 * log(3) + 0.5 * log(4), 2 + 0.5 * log(2) + 0.5 * log(3) + 0.25 * log(4)
    most = 2 * sum(0.5 ** (rank - 1) * log(rank) for rank in range(1, 11))
    err, best = 1 + 1.5 / 3 + 0.5 / 4, 2 + 0.5 / 2 + 0.5 / 3 + 0.25 / 4
    names = ["alpha_nDCG@10", "alpha_DCG@10", "nERR_IA@10", "ERR_IA@10", "NRBP", "nNRBP"]
    assert first(files, *names) == pytest.approx(
        [
            gained / ideal,
            gained / most,
            err / best,
            err / (2 * sum(0.5 ** (rank - 1) / rank for rank in range(1, 11))),
            (1 + 1.5 / 4 + 0.5 / 8) * 0.75 / 2,
            (1 + 1.5 / 4 + 0.5 / 8) / (2 + 0.5 / 2 + 0.5 / 4 + 0.25 / 8),
        ],
        rel=1e-12,
    )
    assert first(files, "P_IA@4", "AP_IA", "StRecall@2", "StRecall@3") == pytest.approx(
        [4 / 8, ((1 + 2 / 3) / 3 + (1 / 3 + 2 / 4) / 2) / 2, 0.5, 1]
    )


def test_a_query_with_nothing_found_or_nothing_relevant_counts_as_zero(files):
    found = evaluate(files / "run", files / "qrels", ["alpha_nDCG@5", "nNRBP", "StRecall@5"])
    assert all(values[1:].tolist() == [0, 0] for values in found.values.values())
    assert (found.empty, found.unjudged) == (1, 1)
    assert evaluate(files / "run", files / "qrels", ["NRBP"], complete=False).query_ids == ["1", "3"]


def test_the_grade_that_counts_and_the_depth_are_settings(files):
    # From grade 2 on b alone is relevant, and to one subtopic.
    assert first(files, "StRecall@10", "P_IA@3", relevance_level=2) == [1, pytest.approx(1 / 3)]
    assert first(files, "StRecall(rel=2)@2", "StRecall(rel=2)@3") == [0, 1]
    assert first(files, "StRecall@10", depth=2) == [0.5]


def test_alpha_and_beta_are_settings(files):
    whole = [1 + 2 * log(3) + log(4), 2 + log(2) + log(3) + log(4)]
    assert first(files, "alpha_nDCG(alpha=0)@10")[0] == pytest.approx(whole[0] / whole[1])
    assert first(files, "NRBP(alpha=1,beta=0.1)")[0] == pytest.approx((1 + 0.01) / 2)


def test_names_of_ndeval_and_settings_in_brackets_mean_the_same(files):
    for theirs, ours in NAMES.items():
        cut = "" if ours in ("NRBP", "nNRBP", "AP_IA") else "@5"
        assert first(files, theirs + cut) == first(files, ours + cut)
        assert first(files, f"{ours}(cutoff=5)" if cut else ours) == first(files, ours + cut)
    assert first(files, "α_nDCG@5") == first(files, "alpha-ndcg@5")  # noqa: RUF001


def test_judgments_come_as_paths_as_what_was_read_and_as_rows(files):
    rows = [(query, subtopic, doc, int(grade)) for query, subtopic, doc, grade in map(str.split, QRELS.splitlines())]
    expected = evaluate(files / "run", files / "qrels", ["alpha_nDCG@5", "nDCG@5"])
    run = nirank.read_run(files / "run")
    for judgments in (files / "qrels", nirank.read_subtopics(files / "qrels"), Subtopics.of(rows)):
        for ranked in (run, files / "run"):
            found = evaluate(ranked, judgments, ["alpha_nDCG@5", "nDCG@5"])
            assert found.mean == expected.mean
            assert found.query_ids == expected.query_ids
    assert repr(Subtopics.of(rows)) == "<Subtopics: 3 queries, 3 subtopics, 9 judgments>"


def test_a_search_is_measured_by_the_ids_of_its_corpus(files):
    corpus = nirank.Documents(list("dbnax"), ["red"] * 5)
    run = nirank.Candidates.of([[], [3, 2, 1, 0]], [[], [9, 8, 7, 6]], corpus).for_queries(["2", "1"])
    found = evaluate(run, files / "qrels", ["alpha_nDCG@10", "AP_IA"])
    by = {name: dict(zip(found.query_ids, values.tolist(), strict=True)) for name, values in found.values.items()}
    assert [by[name]["1"] for name in by] == pytest.approx(first(files, *by))


def test_other_measures_take_a_documents_highest_grade(files):
    # Documents of query 1: b 2, then a, c and d 1, x -2.
    subtopics = read_subtopics(files / "qrels")
    found = evaluate(nirank.read_run(files / "run"), subtopics, ["P@4", "num_rel", "nDCG@4"])
    assert [values[0] for values in found.values.values()] == pytest.approx(
        [3 / 4, 4, (1 + 2 * log(3) + log(4)) / (2 + log(2) + log(3) + log(4))]
    )


def test_one_subtopic_in_all_is_told(files):
    (files / "plain").write_text("1 0 a 1\n1 0 b 2\n")
    (warning, *_) = evaluate(files / "run", files / "plain", ["alpha_nDCG@2", "P@2"]).warnings
    assert warning.startswith("alpha_nDCG@2: all judgments are of one subtopic, '0'")
    assert not any("subtopic" in text for text in evaluate(files / "run", files / "qrels", ["NRBP"]).warnings)


def test_the_command_line_reads_subtopics_where_a_measure_asks_for_them(files):
    command = ["evaluate", str(files / "run"), str(files / "qrels"), "-m", "alpha-nDCG@10", "-m", "P@4", "-q"]
    told = CliRunner().invoke(app, command, catch_exceptions=False)
    lines = {tuple(line.split()[:2]): line.split()[-1] for line in told.stdout.splitlines()}
    assert lines["alpha-nDCG@10", "1"] == f"{first(files, 'alpha_nDCG@10')[0]:.4f}"
    assert lines["P@4", "1"] == "0.7500"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alpha_nDCG", "alpha_nDCG needs a cutoff: alpha_nDCG@10"),
        ("ERR_IA@0", "cannot have cutoff=0; a whole number from 1 on"),
        ("NRBP@10", "cannot have cutoff=10; it has none"),
        ("alpha_nDCG(alpha=2)@10", "cannot have alpha=2"),
        ("NRBP(beta='a')", "cannot have beta='a'"),
        ("alpha_nDCG(beta=0.5)@10", "no setting of alpha_nDCG 'beta'"),
        ("P_IA(rel=0)@10", "cannot have rel=0"),
    ],
)
def test_settings_that_a_measure_cannot_have_are_refused(name, message):
    with pytest.raises((BadInput, UnknownName), match=message):
        check_measures([name], subtopics=True)


def test_measures_of_subtopics_are_refused_where_documents_are_judged(files):
    with pytest.raises(BadInput, match=r"NRBP needs judgments of subtopics.*nirank\.read_subtopics"):
        check_measures(["NRBP", "nDCG@10"])
    check_measures(["NRBP"], subtopics=True)
    with pytest.raises(BadInput, match="needs judgments of subtopics"):
        evaluate(nirank.Candidates.of([[0]]), nirank.Candidates.of([[0]], [[1]]), ["NRBP"])
    with pytest.raises(BadInput, match="leave `query_ids` out"):
        evaluate(nirank.read_run(files / "run"), read_subtopics(files / "qrels"), ["NRBP"], query_ids=["1"])


@pytest.mark.parametrize("blank", [" ", "  "])  # read by Arrow, and line by line
def test_faults_of_a_file_are_told(tmp_path, blank):
    def refused(text):
        (tmp_path / "qrels").write_text(text.replace(" ", blank))
        with pytest.raises(BadInput) as told:
            read_subtopics(tmp_path / "qrels")
        return str(told.value)

    assert "qrels:3: document 'a' of query '1' and subtopic '1' is already in line 1." in refused(
        "1 1 a 1\n1 2 a 1\n1 1 a 0\n"
    )
    assert "4 columns (query, subtopic, document, grade) are expected, but the line has 3" in refused("1 a 1\n")
    assert "the grade must be a number, not 'x'" in refused("1 1 a x\n")
    (tmp_path / "qrels").write_text("1 1 a 1\n1 2 a 1\n1 2 b 0\n".replace(" ", blank))
    assert read_subtopics(tmp_path / "qrels").documents.candidates.pairs == 2
    with pytest.raises(BadInput, match=r"Judgments of subtopics are read by nirank\.read_subtopics"):
        nirank.read_qrels(tmp_path / "qrels")
    with pytest.raises(BadInput, match="document 'a' of query '1' is judged twice for subtopic '2'"):
        Subtopics.of([("1", "2", "a", 1), ("1", "2", "a", 0)])
    for row in (("1", "2", "a"), 3, ("1", "2", "a", "relevant")):
        with pytest.raises(BadInput, match=r"are rows \(query, subtopic, document, grade\), not "):
            Subtopics.of([row])
    with pytest.raises(BadInput, match="there are no judgments"):
        Subtopics.of([])


# Random cases, beside slow loops and ndeval


def _case(seed):
    """Judgments of a few queries, a run of them, and alpha, beta and the least relevant grade."""
    chance = random.Random(seed)
    qrels = [
        (f"q{query}", str(subtopic), f"d{doc}", chance.choice([-2, 0, 0, 1, 2]))
        for query in range(chance.randint(1, 4))
        for doc in range(chance.choice([3, 12, 40]))
        for subtopic in range(1, 2 + query + seed % 4)
        if chance.random() < 0.5
    ]
    chance.shuffle(qrels)
    documents = [f"d{doc}" for doc in range(50)]
    queries = sorted({query for query, *_ in qrels})
    run = {query: chance.sample(documents, chance.choice([1, 5, 30])) for query in queries}
    return qrels, run, chance.choice([0.5, 0.3, 0.9, 0, 1]), chance.choice([0.5, 0.8]), chance.choice([1, 1, 2])


def _named(name, cutoff, alpha, beta):
    settings = {"P_IA": "", "StRecall": "", "AP_IA": "", "NRBP": f"(alpha={alpha},beta={beta})"}
    settings["nNRBP"] = settings["NRBP"]
    return f"{name}{settings.get(name, f'(alpha={alpha})')}{'' if cutoff is None else f'@{cutoff}'}"


def _asked():
    cut = [name for name in NAMES.values() if name not in ("NRBP", "nNRBP", "AP_IA")]
    return [(name, cutoff) for name in cut for cutoff in (1, 5, 10, 20)] + [
        (name, None) for name in ("NRBP", "nNRBP", "AP_IA")
    ]


def _measured(case):
    qrels, run, alpha, beta, level = case
    scored = nirank.Documents(names := sorted({doc for docs in run.values() for doc in docs}), names)
    rows = [scored.ids.find(docs) for docs in run.values()]
    ranked = nirank.Candidates.of(rows, [-np.arange(len(row)) for row in rows], scored).for_queries([*run])
    asked = {entry: _named(*entry, alpha, beta) for entry in _asked()}
    found = evaluate(ranked, Subtopics.of(qrels), [*asked.values()], relevance_level=level)
    return {
        (query, entry): found.values[name][row]
        for row, query in enumerate(found.query_ids)
        for entry, name in asked.items()
    }


class Slow:
    """The measures of one query as loops over ranks and subtopics."""

    def __init__(self, qrels, docs, alpha, beta, level):
        self.relevant = {}
        for _, subtopic, doc, grade in qrels:
            if grade >= level:
                self.relevant.setdefault(doc, set()).add(subtopic)
        self.subtopics = sorted(set().union(*self.relevant.values()))
        self.docs, self.alpha, self.beta = docs, alpha, beta

    def gains(self, docs):
        times = dict.fromkeys(self.subtopics, 0)
        for doc in docs:
            covered = sorted(self.relevant.get(doc, ()))
            yield sum((1 - self.alpha) ** times[subtopic] for subtopic in covered)
            times.update({subtopic: times[subtopic] + 1 for subtopic in covered})

    def ideal(self):
        chosen, left = [], sorted(self.relevant, reverse=True)
        while left:
            best = max(left, key=lambda doc: [*self.gains([*chosen, doc])][-1])  # the first of equal ones
            chosen.append(best)
            left.remove(best)
        return chosen

    def discounted(self, docs, discount, k):
        return sum(gain * discount(rank) for rank, gain in enumerate([*self.gains(docs)][:k], 1))

    def value(self, name, k):
        if not self.subtopics:
            return 0.0
        if name in ("P_IA", "AP_IA", "StRecall"):
            return sum(self.of_one(subtopic, name, k) for subtopic in self.subtopics) / len(self.subtopics)
        discount = {"alp": log, "ERR": lambda rank: 1 / rank, "NRB": lambda rank: self.beta ** (rank - 1)}
        discount = discount[name.removeprefix("n")[:3]]
        gained = self.discounted(self.docs, discount, k)
        if name in ("alpha_nDCG", "nERR_IA", "nNRBP"):
            return gained / self.discounted(self.ideal(), discount, k)
        if name == "NRBP":
            return gained * (1 - (1 - self.alpha) * self.beta) / len(self.subtopics)
        most = sum((1 - self.alpha) ** (rank - 1) * discount(rank) for rank in range(1, k + 1))
        return gained / (1 if k == 1 else most * len(self.subtopics))

    def of_one(self, subtopic, name, k):
        hits = [subtopic in self.relevant.get(doc, ()) for doc in self.docs][:k]
        if name == "StRecall":
            return float(any(hits))
        if name == "P_IA":
            return sum(hits) / k
        found = sum(sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1) if hit)
        return found / sum(subtopic in covered for covered in self.relevant.values())


@pytest.mark.parametrize("seed", range(40))
def test_values_equal_slow_loops(seed):
    qrels, run, alpha, beta, level = case = _case(seed)
    measured = _measured(case)
    slow = {query: Slow([line for line in qrels if line[0] == query], run[query], alpha, beta, level) for query in run}
    for (query, entry), value in measured.items():
        assert value == pytest.approx(slow[query].value(*entry), abs=1e-9), (query, entry)


@pytest.mark.parametrize("seed", range(100))
def test_values_equal_ndeval(seed):
    pyndeval = pytest.importorskip("pyndeval")
    qrels, run, alpha, beta, level = case = _case(seed)
    theirs = {name: other for other, name in NAMES.items()}
    asked = {entry: theirs[entry[0]] + ("" if entry[1] is None else f"@{entry[1]}") for entry in _asked()}
    evaluator = pyndeval.RelevanceEvaluator(qrels, [*asked.values()], level, alpha, beta)
    found = evaluator.evaluate([(query, doc, -float(rank)) for query in run for rank, doc in enumerate(run[query])])
    for (query, entry), value in _measured(case).items():
        expected = found[query][asked[entry]]
        assert value == pytest.approx(0 if math.isnan(expected) else expected, abs=1e-12), (query, entry)


#: The values of pyndeval 0.0.8 for one query of a case with alpha = 0.3, where equal gains differ in their last bits.
WRITTEN_DOWN = {
    "ERR-IA@5": 0.060712645027330814,
    "ERR-IA@20": 0.09967671084150849,
    "nERR-IA@5": 0.13333333333333333,
    "nERR-IA@20": 0.22857142857142856,
    "alpha-DCG@5": 0.10036361486705658,
    "alpha-DCG@20": 0.17102374583189475,
    "alpha-nDCG@5": 0.23719771276929622,
    "alpha-nDCG@20": 0.44158011035778233,
    "P-IA@5": 0.1,
    "P-IA@20": 0.05,
    "strec@5": 0.5,
    "strec@20": 1.0,
    "NRBP": 0.14778368000000006,
    "nNRBP": 0.3731911111111112,
    "MAP-IA": 0.17142857142857143,
}


def test_values_equal_those_of_ndeval_that_were_written_down():
    measured = _measured(_case(25))
    for name, value in WRITTEN_DOWN.items():
        family, _, cutoff = name.partition("@")
        assert measured["q0", (NAMES[family], int(cutoff) if cutoff else None)] == pytest.approx(value, abs=1e-12), name
