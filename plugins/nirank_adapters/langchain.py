"""nirank in LangChain: a ranking as a retriever, a scoring as a document compressor (a reranker).

    retriever = Retriever(ranking=bm25 % 10, corpus=corpus)
    retriever.invoke("small cat")

Needs langchain-core alone. What is found are documents with the id and the text of the corpus; the score is in their
metadata under `relevance_score`, the key that LangChain's own rerankers use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nirank.data import Candidates, Corpus
from nirank.errors import BadInput
from nirank.pipeline import as_ranking
from nirank_adapters.needing import needing
from nirank_adapters.pairs import Rescorer, refuse_top

with needing("langchain"):
    from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever
    from pydantic import ConfigDict

SCORE = "relevance_score"


class Retriever(BaseRetriever):
    """What a ranking finds in a corpus of texts, as documents, the best first.

    How many is the ranking's own affair (`bm25 % 10`). Indexes that are missing are built at the first query.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    ranking: Any
    corpus: Any

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        return _documents(as_ranking(self.ranking).search(query, self.corpus), self.corpus)


class Reranker(BaseDocumentCompressor):
    """Documents that others have found, ordered by the scores of a scoring; the best `top_n`, or all.

    Their texts are scored as they come, or, with a `corpus`, joined with it by their ids
    (`nirank_adapters.pairs.Rescorer`). Equal scores stay in the order in which the documents came. Raises `BadInput`
    for a scoring that needs an index, without a corpus; and for documents that the corpus lacks.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    scoring: Any
    corpus: Any = None
    top_n: int | None = None

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - LangChain's signature
    ) -> Sequence[Document]:
        """The documents in their new order, their scores in their metadata."""
        refuse_top(self.top_n)
        texts = [document.page_content for document in documents]
        scores = Rescorer(self.scoring, self.corpus).of_one(query, self._ids(documents), texts).tolist()
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        return [_scored(documents[place], scores[place]) for place in order[: self.top_n]]

    def _ids(self, documents: Sequence[Document]) -> list[str]:
        if self.corpus is not None and any(document.id is None for document in documents):
            raise BadInput("some documents have no id, by which they would be joined with the corpus.")
        return [str(document.id) for document in documents]


def _documents(found: Candidates, corpus: Corpus) -> list[Document]:
    docs, scores = found[0]
    rows = zip(corpus.ids.take(docs), corpus[docs], scores.tolist(), strict=True)
    return [Document(id=name, page_content=_text(text), metadata={SCORE: score}) for name, text, score in rows]


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise BadInput(f"LangChain's documents are texts, and this corpus has a {type(content).__name__}.")
    return content


def _scored(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, SCORE: score}})
