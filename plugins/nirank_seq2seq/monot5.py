"""monoT5: a sequence-to-sequence model says "true" or "false" of a document."""

from __future__ import annotations

from nirank.kit.transformers import Precision
from nirank_seq2seq.pointwise import PLACES, Pointwise
from nirank_seq2seq.reader import Contract, Reader, Score

TEMPLATE = "Query: {query} Document: {document} Relevant:"


class MonoT5(Pointwise):
    """Scores a document by the first token that a T5 decodes after `Query: {query} Document: {document} Relevant:`

        s(q, d) = log P(true) - log(P(true) + P(false))         score = "log_probability", as in the paper
        s(q, d) = log P(true) - log P(false)                    score = "log_odds": the same order, for losses of logits

    Nogueira, Jiang, Pradeep and Lin, Document Ranking with a Pretrained Sequence-to-Sequence Model, Findings of EMNLP
    2020. `model` is a name on the model hub or a folder; `true` and `false` have to be single tokens of its own
    tokenizer. A prompt has at most `max_length` tokens (512 unless the tokenizer has fewer); where it would have more
    the document is cut, and a query only where it alone has more than half of the room: the template stays whole.

    `batch_size` is how many pairs are given at once, `tokens` how many a forward pass has, padding counted; prompts of
    similar length go together. Any loss trains it. Raises `BadInput` for a model that cannot be loaded, a template
    without `{query}` and `{document}`, and words that are not single tokens.
    """

    def __init__(
        self,
        model: str,
        template: str = TEMPLATE,
        true: str = "true",
        false: str = "false",
        score: Score = "log_probability",
        max_length: int | None = None,
        device: str | None = None,
        precision: Precision = "float32",
        batch_size: int | None = None,
        tokens: int | None = None,
    ) -> None:
        contract = Contract(template, PLACES, (true, false), max_length)
        stage = {
            "use": "scorer/monot5",
            "template": template,
            "true": true,
            "false": false,
            "score": score,
            "precision": precision,
        }
        reader = Reader("AutoModelForSeq2SeqLM", model, contract, device, precision, tokens)
        super().__init__(reader, score, batch_size, stage)
