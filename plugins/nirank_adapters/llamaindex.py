"""nirank in LlamaIndex: a ranking as a retriever, a scoring as a postprocessor of nodes (a reranker).

    retriever = Retriever(bm25 % 10, corpus)
    retriever.retrieve("small cat")

Needs llama-index-core alone. What is found are text nodes with the id and the text of the corpus.
"""

from __future__ import annotations

from typing import Any

from nirank.data import Corpus
from nirank.errors import BadInput
from nirank.pipeline import as_ranking
from nirank_adapters.needing import needing
from nirank_adapters.pairs import Rescorer, refuse_top

with needing("llamaindex"):
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode


class Retriever(BaseRetriever):
    """What a ranking finds in a corpus of texts, as nodes with scores, the best first.

    How many is the ranking's own affair (`bm25 % 10`). Indexes that are missing are built at the first query.
    """

    def __init__(self, ranking: Any, corpus: Corpus, **settings: Any) -> None:
        super().__init__(**settings)
        self.ranking, self.corpus = as_ranking(ranking), corpus

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        docs, scores = self.ranking.search(query_bundle.query_str, self.corpus)[0]
        rows = zip(self.corpus.ids.take(docs), self.corpus[docs], scores.tolist(), strict=True)
        return [NodeWithScore(node=TextNode(id_=name, text=_text(text)), score=score) for name, text, score in rows]


class Reranker(BaseNodePostprocessor):
    """Nodes that others have found, ordered by the scores of a scoring; the best `top_n`, or all.

    Their texts, without metadata, are scored as they come, or, with a `corpus`, joined with it by their ids
    (`nirank_adapters.pairs.Rescorer`). Equal scores stay in the order in which the nodes came. Raises `BadInput` for a
    scoring that needs an index, without a corpus; for nodes that the corpus lacks; and without a query.
    """

    scoring: Any
    corpus: Any = None
    top_n: int | None = None

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex writes it down."""
        return "NirankReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise BadInput("a query is needed to rank nodes: give `query_str` or `query_bundle`.")
        refuse_top(self.top_n)
        texts = [each.node.get_content(metadata_mode=MetadataMode.NONE) for each in nodes]
        rescorer = Rescorer(self.scoring, self.corpus)
        scores = rescorer.of_one(query_bundle.query_str, [each.node.node_id for each in nodes], texts).tolist()
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        return [NodeWithScore(node=nodes[place].node, score=scores[place]) for place in order[: self.top_n]]


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise BadInput(f"LlamaIndex's text nodes are texts, and this corpus has a {type(content).__name__}.")
    return content
