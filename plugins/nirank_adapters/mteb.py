"""nirank in MTEB 2: rankings, encoders and scorings as the models that its tasks evaluate.

    mteb.evaluate(Searcher(bm25), tasks=[task])            a ranking, as `SearchProtocol`
    mteb.evaluate(Encoder(minilm), tasks=[task])           a dense encoder, as `EncoderProtocol`
    mteb.evaluate(CrossEncoder(reranker), tasks=[task])    a scoring of pairs, as `CrossEncoderProtocol`

MTEB measures with pytrec_eval, and gives five digits. The content of a document is its title and text, joined by a
blank, and that of a query its text and instruction, as MTEB's own models read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nirank import Candidates, Documents, Queries
from nirank.data import Floats
from nirank.errors import BadInput, CompositionError
from nirank.kit import encode, encode_documents
from nirank.pipeline import Stage, as_ranking, as_scoring
from nirank_adapters.dictionaries import from_dict, run_to_dict
from nirank_adapters.needing import needing
from nirank_adapters.pairs import Rescorer

with needing("mteb"):
    from mteb.models import ModelMeta


class Described:
    """The base of these models: what MTEB is told of them, and writes into its results."""

    _type = "dense"

    def __init__(self, pipeline: Any, name: str | None, revision: str | None) -> None:
        self._pipeline, self._name, self._revision = pipeline, name, revision

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """A name (`nirank/` and the pipeline, unless one was given), a revision, and the kind of model.

        The revision is, unless given, a hash of what the components are made of.
        """
        known = {"name": self._name or f"nirank/{_plain(self._pipeline)}", "model_type": [self._type]}
        return ModelMeta.create_empty(known | {"revision": self._revision or _fingerprint(self._pipeline)})


class Searcher(Described):
    """A ranking: it indexes the corpus of a task and searches it; where a task brings lists, it scores these.

    Raises `CompositionError` for such a task where the ranking cannot score given pairs.
    """

    _type = "late-interaction"

    def __init__(self, ranking: Any, name: str | None = None, revision: str | None = None) -> None:
        super().__init__(as_ranking(ranking), name, revision)
        self._corpus: Documents | None = None

    def index(self, corpus: Any, **_task: Any) -> None:
        """Build or open the indexes of a task's corpus."""
        self._corpus = documents(corpus)
        self._pipeline.index(self._corpus)

    def search(
        self,
        queries: Any,
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **_task: Any,
    ) -> dict[str, dict[str, float]]:
        """The best `top_k` documents of each query, of all, or of those in `top_ranked`."""
        if self._corpus is None:
            raise BadInput("`index` comes first: there is no corpus to search.")
        asked = Queries([*queries["id"]], _texts(queries, "instruction"))
        if top_ranked is not None:
            return run_to_dict(self._rescored(asked, top_ranked).top(top_k))
        return run_to_dict(self._pipeline.at_depth(top_k).search(asked, self._corpus).top(top_k))

    def _rescored(self, queries: Queries, given: Mapping[str, Sequence[str]]) -> Candidates:
        lists = {query: dict.fromkeys(given.get(query, ()), 0.0) for query in queries.ids}
        run = from_dict(lists)
        if unknown := run.unknown_documents(self._corpus.ids):  # type: ignore[union-attr]
            raise BadInput(f"{unknown} documents of the lists to rank are not in the corpus.")
        pairs = run.align(queries.ids, self._corpus.ids).over(self._corpus)  # type: ignore[union-attr,arg-type]
        return pairs.with_scores(as_scoring(self._pipeline).score(queries, pairs)).ranked()


class Encoder(Described):
    """A dense encoder of texts; queries are told from documents by MTEB's prompt type, all else is a document.

    Raises `CompositionError` for anything but an encoder of dense vectors.
    """

    def __init__(self, encoder: Stage, name: str | None = None, revision: str | None = None) -> None:
        component = getattr(encoder, "component", None)
        if component is None or component.traits.vectors != "dense" or not component.can("encode_documents"):
            raise CompositionError(f"{encoder!r} is no encoder of queries and documents with dense vectors.")
        super().__init__(encoder, name, revision)

    def encode(self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: Any = None, **_task: Any) -> Floats:
        """The vectors of the texts, `[texts, dimensions]`."""
        texts = _loaded(inputs)
        component = self._pipeline.component
        if getattr(prompt_type, "value", prompt_type) == "query":
            return np.asarray(encode(component, Queries.of(texts)).vectors, np.float32)
        return np.asarray(encode_documents(component, texts), np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The products of all with all, a tensor `[first, second]`: how nirank compares dense vectors."""
        import torch

        first, second = (torch.atleast_2d(torch.as_tensor(each)) for each in (embeddings1, embeddings2))
        return first @ second.T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The products of each with its counterpart, a tensor `[vectors]`."""
        import torch

        return (torch.as_tensor(embeddings1) * torch.as_tensor(embeddings2)).sum(dim=-1)


class CrossEncoder(Described):
    """A scoring of pairs of texts. Raises `BadInput` as `nirank_adapters.beir.Predictor` does."""

    _type = "cross-encoder"

    def __init__(self, scoring: Any, name: str | None = None, revision: str | None = None) -> None:
        self._rescorer = Rescorer(scoring)
        super().__init__(self._rescorer.scoring, name, revision)

    def predict(
        self, inputs1: Iterable[Mapping[str, Any]], inputs2: Iterable[Mapping[str, Any]], **_task: Any
    ) -> Floats:
        """The score of each pair, float32 `[pairs]`: queries on the left, documents on the right."""
        return self._rescorer.of_pairs(_loaded(inputs1), _loaded(inputs2))


def documents(corpus: Any) -> Documents:
    """A corpus of MTEB as nirank's: the columns `id` and `text`, and `title` where there is one."""
    titles = corpus["title"] if "title" in corpus.column_names else [""] * len(corpus)
    texts = [f"{title or ''} {text}".strip() for title, text in zip(titles, corpus["text"], strict=True)]
    return Documents([*corpus["id"]], texts)


def _texts(queries: Any, more: str) -> list[str]:
    """The texts of queries, with what stands beside them in the column `more`."""
    beside = queries[more] if more in queries.column_names else [""] * len(queries)
    if odd := [text for text in queries["text"] if not isinstance(text, str)]:
        raise BadInput(f"queries are texts here, and a conversation is none: {odd[0]!r:.80}.")
    return [f"{text} {extra}" if extra else text for text, extra in zip(queries["text"], beside, strict=True)]


def _loaded(inputs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The texts of all batches. Raises `BadInput` for those of another modality."""
    batches = [*inputs]
    if any("text" not in batch for batch in batches):
        raise BadInput("texts are expected, and a batch has none.")
    return [text for batch in batches for text in batch["text"]]


def _plain(pipeline: Any) -> str:
    """A pipeline as a name on the hub may be written."""
    kept = "".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in repr(pipeline))
    return "-".join(filter(None, kept.split("-")))[:90]


def _fingerprint(pipeline: Any) -> str:
    from nirank.kit import digest

    return digest([component.fingerprint for component in pipeline.components()])
