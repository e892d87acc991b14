"""Evaluators of sentence-transformers by nirank's measures, for its trainers and `load_best_model_at_end`.

    evaluator = Retrieval(collection, ["nDCG@10", "R@100"], name="dev")
    SentenceTransformerTrainer(model, ..., evaluator=evaluator)

`Retrieval` searches a whole collection with the vectors of a `SentenceTransformer`, `Reranking` orders given candidates
by a `CrossEncoder`. Grades, ties and queries without results count as in `nirank.evaluate`; the library's own
`InformationRetrievalEvaluator` knows relevant documents but no grades.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nirank import Candidates, Collection, evaluate
from nirank.data import to_numpy
from nirank_adapters.needing import needing

with needing("dense"):
    from sentence_transformers.base.evaluation import BaseEvaluator

_QUERIES_AT_ONCE = 256


class Measured(BaseEvaluator):
    """The base of both: measures of what `_found(model)` returns, by their names, with `name` before them.

    The first measure is the one that chooses the best model. Raises `UnknownName` for a measure that does not exist.
    """

    def __init__(self, collection: Collection, measures: Sequence[str] | str = ("nDCG@10",), name: str = "") -> None:
        super().__init__()
        measures = [measures] if isinstance(measures, str) else [*measures]
        one = Candidates.of([[0]], [[1]])
        evaluate(one, one, measures)  # tells one that does not exist now, and not after hours of training
        self.collection, self.measures, self.name = collection, measures, name
        self.primary_metric = measures[0]

    def __call__(
        self,
        model: Any,
        output_path: str | None = None,  # noqa: ARG002 - the library's signature
        epoch: int = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        """The mean of each measure over the judged queries; they are noted for the model card."""
        found = self._found(model).for_queries(self.collection.queries.ids)
        means = evaluate(found, self.collection.judgments, self.measures).mean
        values: dict[str, float] = self.prefix_name_to_metrics(means, self.name)
        self.store_metrics_in_model_card_data(model, values, epoch, steps)
        return values

    def get_config_dict(self) -> dict[str, Any]:
        """The facts that the model card has of the evaluation."""
        return {"collection": self.collection.name, "corpus": self.collection.corpus.fingerprint}

    def _found(self, model: Any) -> Candidates:
        raise NotImplementedError


class Retrieval(Measured):
    """The best `k` documents of the collection by the similarity of a `SentenceTransformer`.

    Texts are encoded by `encode_query` and `encode_document`, so that its prompts hold, `batch_size` at a time.
    """

    def __init__(
        self,
        collection: Collection,
        measures: Sequence[str] | str = ("nDCG@10",),
        name: str = "",
        k: int = 1000,
        batch_size: int = 32,
    ) -> None:
        super().__init__(collection, measures, name)
        self.k, self.batch_size = k, batch_size

    def _found(self, model: Any) -> Candidates:
        corpus, queries = self.collection.corpus, self.collection.queries
        how = {"batch_size": self.batch_size, "convert_to_tensor": True, "show_progress_bar": False}
        documents = model.encode_document([*corpus[slice(None)]], **how)
        asked = model.encode_query([*queries.contents], **how)
        blocks = [asked[start : start + _QUERIES_AT_ONCE] for start in range(0, len(queries), _QUERIES_AT_ONCE)]
        scored = [Candidates.from_scores(model.similarity(block, documents), self.k, corpus) for block in blocks]
        return Candidates.stack(scored)


class Reranking(Measured):
    """The `candidates` of the collection, as a search found them, ordered by the scores of a `CrossEncoder`."""

    def __init__(
        self,
        collection: Collection,
        candidates: Candidates,
        measures: Sequence[str] | str = ("nDCG@10",),
        name: str = "",
        batch_size: int = 32,
    ) -> None:
        super().__init__(collection, measures, name)
        self.candidates, self.batch_size = candidates.over(collection.corpus), batch_size

    def _found(self, model: Any) -> Candidates:
        queries = [self.collection.queries.contents[row] for row in self.candidates.rows.tolist()]
        pairs = [*zip(queries, self.collection.corpus[self.candidates.docs], strict=True)]
        scores = to_numpy(model.predict(pairs, batch_size=self.batch_size, show_progress_bar=False))
        return self.candidates.with_scores(np.asarray(scores, np.float32).reshape(-1)).ranked()
