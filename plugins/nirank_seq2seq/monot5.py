"""monoT5: a sequence-to-sequence model says "true" or "false" of a document."""

from __future__ import annotations

import dataclasses

from nirank.kit import Runtime
from nirank.kit.transformers import Computing
from nirank_seq2seq.pointwise import PLACES, Pointwise
from nirank_seq2seq.reader import COMPUTING, LENGTHS, TRUE_OR_FALSE, AnswerReader, Contract, Lengths, Score, TrueOrFalse

TEMPLATE = "Query: {query} Document: {document} Relevant:"


class MonoT5(Pointwise):
    """Scores a document by the first token that a T5 decodes after `Query: {query} Document: {document} Relevant:`

        s(q, d) = log P(true) - log(P(true) + P(false))         score = "log_probability", as in the paper
        s(q, d) = log P(true) - log P(false)                    score = "log_odds": the same order, for losses of logits

    Nogueira, Jiang, Pradeep and Lin, Document Ranking with a Pretrained Sequence-to-Sequence Model, Findings of EMNLP
    2020. `model` is a name on the model hub or a folder. `runtime` is as `nirank_seq2seq.reader.AnswerReader` has it.
    Any loss trains it.
    """

    def __init__(
        self,
        model: str,
        template: str = TEMPLATE,
        score: Score = "log_probability",
        *,
        answers: TrueOrFalse = TRUE_OR_FALSE,
        lengths: Lengths = LENGTHS,
        runtime: Runtime | None = None,
        computing: Computing = COMPUTING,
    ) -> None:
        contract = Contract(template, PLACES, dataclasses.astuple(answers), lengths.max_length)
        stage = {
            "use": "scorer/monot5",
            "template": template,
            **dataclasses.asdict(answers),
            "score": score,
            "precision": computing.precision,
        }
        reader = AnswerReader("AutoModelForSeq2SeqLM", model, contract, lengths.tokens, runtime, computing)
        super().__init__(reader, score, computing.batch_size, stage)
