"""nirank in BEIR: a ranking as what `EvaluateRetrieval` asks, a scoring as what `Rerank` asks.

    EvaluateRetrieval(Searcher(bm25)).retrieve(corpus, queries)
    Rerank(Predictor(cross_encoder)).rerank(corpus, queries, results, top_k=100)

Corpora are BEIR's dictionaries, `{id: {"title": ..., "text": ...}}`; the content of a document is title and text,
joined by a blank, as BEIR's own models read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nirank import Documents, Queries
from nirank.data import Floats
from nirank.pipeline import as_ranking
from nirank_adapters.dictionaries import run_to_dict
from nirank_adapters.needing import needing
from nirank_adapters.pairs import Rescorer

with needing("beir"):
    from beir.retrieval.search.base import BaseSearch


class Searcher(BaseSearch):
    """A ranking as BEIR's search: `search` with a corpus and queries, in one call."""

    def __init__(self, ranking: Any) -> None:
        self.ranking = as_ranking(ranking)

    def search(
        self,
        corpus: Mapping[str, Mapping[str, str]],
        queries: Mapping[str, str],
        top_k: int,
        *_score_function: Any,
        **_options: Any,
    ) -> dict[str, dict[str, float]]:
        """The best `top_k` documents of each query, with scores; the score function is the ranking's own affair."""
        found = self.ranking.at_depth(top_k).search(Queries.of(queries), documents(corpus))
        return run_to_dict(found.for_queries([*queries]).top(top_k))

    def encode(self, *_given: Any, **_options: Any) -> None:
        """Refuse: nirank keeps vectors in indexes of its own."""
        raise NotImplementedError("nirank keeps vectors in indexes of its own: use `search`.")

    search_from_files = encode


class Predictor:
    """A scoring as the model of BEIR's `Rerank`: pairs of texts to scores.

    Raises `BadInput` for one that needs an index of the corpus (`bm25`), or whose scores depend on a list.
    """

    def __init__(self, scoring: Any) -> None:
        self._rescorer = Rescorer(scoring)

    def predict(self, sentences: Sequence[Sequence[str]], **_options: Any) -> Floats:
        """The score of each pair of a query and a document, float32 `[pairs]`."""
        return self._rescorer.of_pairs([pair[0] for pair in sentences], [pair[1] for pair in sentences])


def documents(corpus: Mapping[str, Mapping[str, str]]) -> Documents:
    """BEIR's corpus as nirank's, with the fields `title` and `text`."""
    fields = {name: [each.get(name) or "" for each in corpus.values()] for name in ("title", "text")}
    return Documents(
        [*corpus], [f"{title} {text}".strip() for title, text in zip(*fields.values(), strict=True)], fields
    )
