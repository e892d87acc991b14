"""The searches whose bits are compared, in a process that may use some instructions only.

`exact` reads bytes first where that pays: always for few queries, and for many where there are instructions for it.
What `plaid` finds depends on similarities with centroids, which a library adds up as it likes; only the scores of what
it is given are promised. MaxSim fuses products and sums where the processor does.
"""

# ruff: noqa: D102 (what the methods of engines do is said where they are called)

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import instructions_levels
import numpy as np
from instructions_inputs import QUERY_TOKENS, VOCABULARY, Inputs
from instructions_levels import AVX2, SSE
from numpy.typing import NDArray

#: The searches, and the level from which on documents and scores are promised to be the same; None where they are not.
SEARCHES = {
    **dict.fromkeys(("bm25", "ql", "tfidf", "exact", "exact, one by one", "flat", "impact"), SSE),
    **dict.fromkeys(("maxsim", "plaid, scores of given documents"), AVX2),
    "plaid": None,
}
_LEXICAL = ("bm25", "ql", "tfidf")
_K = 100
#: Queries that are asked one by one.
_FEW = 20
#: Documents that each query is scored with where they are given.
_GIVEN = 50


class Systems:
    """All of them, over inputs in a folder.

    Indexes go into the folder `own`, and that of `plaid` into `shared`, since how it is made is not compared.
    """

    def __init__(self, inputs: dict[str, Any], own: str, shared: str) -> None:
        self.inputs = Inputs(**inputs | {"folder": Path(inputs["folder"])})
        self.own, self.shared = Path(own), Path(shared)
        self.opened: dict[str, Any] = {}

    def used(self) -> dict[str, int]:
        """The level of instructions that each library uses, asked when all have searched."""
        return instructions_levels.used()

    def open(self, name: str) -> None:
        """Index what is searched, and load compiled code; not timed."""
        import nirank

        corpus, asked = self._texts() if name in _LEXICAL else self._numbered(name)
        stage = self._stage(name)
        pipeline = stage if name in _LEXICAL else nirank.load(_Given(self.inputs, name)) >> stage
        folder = self.shared if name.startswith("plaid") else self.own / name.partition(",")[0]
        pipeline.index(corpus, folder)
        self.opened[name] = pipeline, corpus, asked, stage
        self.search(name)
        self._require_compiled(name, stage.component.target)

    def search(self, name: str) -> Any:
        import nirank

        pipeline, corpus, asked, stage = self.opened[name]
        if name.endswith("one by one"):
            return nirank.data.Candidates.stack([(pipeline % _K).search([each], corpus) for each in asked[:_FEW]])
        if name.endswith("given documents"):
            return self._given(asked, stage.component.target)
        return (pipeline % _K).search(asked, corpus)

    def found(self, name: str) -> str:
        """A hash of the documents and scores of all queries."""
        found = self.search(name)
        if isinstance(found, np.ndarray):
            return _hashed(found)
        return _hashed(found.offsets.astype(np.int64), found.docs.astype(np.int64), found.scores)

    def _stage(self, name: str) -> Any:
        import nirank

        settings: dict[str, Any] = {}
        if name in _LEXICAL:
            from nirank_lexical import search

            search._SCORES_WORTH_LOADING = 0  # it would wait until its own work pays for loading compiled code
            settings = {"threads": 1}
        if name.startswith("exact"):
            settings = {"device": "cpu", "precision": "int8"}
        return nirank.load(name.partition(",")[0], **settings)

    def _require_compiled(self, name: str, searched: Any) -> None:
        """Raise `RuntimeError` where the search did without the code that is to be compared."""
        from nirank_late import kernels

        used = {
            **dict.fromkeys(_LEXICAL, lambda: "_batch" in vars(searched._searched)),
            "exact, one by one": lambda: searched.passes is not None and searched.passes.queries > 0,
            "maxsim": lambda: bool(kernels.maxsim.signatures),
            "plaid": lambda: bool(kernels.interact.signatures and kernels.decompress.signatures),
        }
        if name in used and not used[name]():
            raise RuntimeError(f"{name} was searched without its compiled code, which is what was to be compared.")

    def _texts(self) -> tuple[Any, list[str]]:
        from nirank.data import ArrowCorpus

        return ArrowCorpus(self.inputs.folder / "documents.arrow"), self.inputs.texts_of_queries()

    def _numbered(self, name: str) -> tuple[Any, list[str]]:
        """Documents and queries that are numbers, by which their vectors are found."""
        import nirank

        few = name.startswith(("maxsim", "plaid"))
        documents = self.inputs.token_texts if few else self.inputs.texts
        queries = self.inputs.token_queries if few else self.inputs.queries
        numbers = list(map(str, range(documents)))
        return nirank.Documents(numbers, numbers), list(map(str, range(queries)))

    def _given(self, asked: Sequence[str], index: Any) -> NDArray[np.float32]:
        from nirank.data import Candidates, Queries

        queries = Queries.of(list(asked))
        vectors = _Given(self.inputs, "plaid").encode(queries)
        docs = np.random.default_rng(2).integers(0, self.inputs.token_texts, (len(asked), _GIVEN))
        return index.score(queries.with_vectors(vectors), Candidates.of(list(np.sort(docs, axis=1))))


class _Given:
    """An encoder whose vectors are those in the files, by the number that a content is."""

    fingerprint = "the vectors of benchmarks/instructions_inputs.py"

    def __init__(self, inputs: Inputs, name: str) -> None:
        self.inputs = inputs
        kinds = {"impact": "sparse", "exact": "dense", "flat": "dense"}
        self.vectors = kinds.get(name.partition(",")[0], "tokens")

    def encode(self, queries: Any) -> Any:
        return self._of(queries.contents, "asked")

    def encode_documents(self, contents: Sequence[str]) -> Any:
        return self._of(contents, "")

    def _of(self, contents: Sequence[str], side: str) -> Any:
        from nirank.data import SparseVectors, TokenVectors, offsets_of

        rows, array = np.array(contents, np.int64), self.inputs.array
        prefix = f"{side}_" if side else ""
        if self.vectors == "dense":
            return array("asked" if side else "vectors")[rows]
        if self.vectors == "sparse":
            terms, weights = array(f"{prefix}terms")[rows], array(f"{prefix}weights")[rows]
            offsets = offsets_of(np.full(len(rows), terms.shape[1]))
            return SparseVectors(offsets, terms.ravel(), weights.ravel(), VOCABULARY)
        lengths = np.full(self.inputs.token_queries, QUERY_TOKENS) if side else array("lengths")
        return TokenVectors(offsets_of(lengths), array(f"{prefix}tokens"))[rows]


def _hashed(*columns: NDArray[Any]) -> str:
    return hashlib.blake2b(b"".join(column.tobytes() for column in columns), digest_size=8).hexdigest()
