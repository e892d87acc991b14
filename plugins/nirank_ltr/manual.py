"""Hand-made features of a query and a text: an extractor that computes them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Corpus, Floats, Queries
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank.kit import processors
from nirank.kit.text import (
    BM25Weighting,
    DirichletWeighting,
    ForwardIndex,
    JelinekMercerWeighting,
    TFIDFWeighting,
    Weighting,
    index_key,
)
from nirank_ltr.matches import FEATURES, MODELS, PROXIMITY, IndexedField
from nirank_ltr.query_terms import Numbers, QueryColumns, TermSettings, analysed, numbered

_WHOLE = ""  # the field that is the document as a whole
_OF_QUERY = ("query_length",)  # that no field changes
_TERMS_AT_ONCE = 1 << 17  # of queries, counted for each pair: their matches stay in the processor's cache


@dataclass(frozen=True)
class Weightings:
    """Settings of the models among the features: `k1` and `b` of BM25, `mu` and `lambda_` of query likelihood."""

    k1: float = 0.9
    b: float = 0.4
    mu: float = 1000.0
    lambda_: float = 0.1

    def by_name(self) -> dict[str, Weighting]:
        """The models by the names of their features."""
        models: list[Weighting] = [BM25Weighting(self.k1, self.b), DirichletWeighting(self.mu)]
        models += [JelinekMercerWeighting(self.lambda_), TFIDFWeighting()]
        return dict(zip(MODELS, models, strict=True))


class Manual:
    """Features of a query and a text: `features(manual) >> linear`. `nirank_ltr.matches` lists them.

    `names` chooses features, in that order; by default all of them. `fields` names fields of the corpus that get
    features of their own, such as `title.bm25`, beside those of the whole document. The window of `unordered` has
    `window` terms. `threads` share the pairs (None: one for each processor). The other settings are those of
    `Weightings` and of `query_terms.TermSettings`. It reads an index of the terms of documents in their order.

    Raises `UnknownName` for a feature that there is not, `BadInput` for other settings that make no sense.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        fields: Sequence[str] = (),
        window: int = 8,
        threads: int | None = None,
        weightings: Weightings = Weightings(),
        analysis: TermSettings = TermSettings(),
    ) -> None:
        if window < 2 or (threads is not None and threads < 1) or isinstance(fields, str):
            raise BadInput(
                f"window = {window}, threads = {threads}, fields = {fields!r}: a window from 2, threads from 1, and a "
                "list of fields are expected."
            )
        self.fields, self.window, self.threads = tuple(fields), window, threads
        self.index_fields = self.fields
        self.names = _chosen(names, self.fields)
        self.analyzer = analysis.analyzer()
        self.weightings = weightings.by_name()
        self._opened: dict[str, IndexedField] | None = None

    def __repr__(self) -> str:
        models = ", ".join(map(repr, self.weightings.values()))
        return f"Manual({list(self.names)}, {models}, window={self.window}, {self.analyzer})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """The settings that the indexes depend on: those of the analysis, and the fields."""
        key = index_key(self.analyzer)
        return {**key, "index": "terms of fields", "fields": list(self.fields)} if self.fields else key

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the terms of `corpus` into `folder`, which exists, and those of each field into one inside."""
        ForwardIndex.write(corpus, self.analyzer, folder)
        for number, field in enumerate(self.fields):
            inside = folder / f"field{number}"
            inside.mkdir()
            ForwardIndex.write(corpus, self.analyzer, inside, field)

    def open(self, corpus: Corpus, folder: Path) -> None:  # noqa: ARG002
        """Map the terms that `build` wrote. Raises `StaleIndex` where they are incomplete."""
        folders = {_WHOLE: folder} | {field: folder / f"field{number}" for number, field in enumerate(self.fields)}
        needed = {field for field, _ in map(_parted, self.names)}
        self._opened = {
            field: IndexedField(ForwardIndex.load(inside), self.weightings)
            for field, inside in folders.items()
            if field in needed
        }

    def extract(self, queries: Queries, candidates: Candidates) -> Floats:
        """The features of each pair, float32 `[pairs, names]`. A document beyond the corpus is an empty one."""
        if self._opened is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it first.")
        terms = analysed(queries.contents, self.analyzer)
        values = np.empty((candidates.pairs, len(self.names)), np.float32)
        lengths, rows = np.fromiter(map(len, terms), np.int64, len(terms)), candidates.rows
        docs = candidates.docs.astype(np.int64)
        for name, field in self._opened.items():
            query_terms = numbered(terms, field.index.vocabulary)

            def fill(
                here: slice, name: str = name, field: IndexedField = field, known: QueryColumns = query_terms
            ) -> None:
                self._fill(values[here], name, field, known, rows[here], docs[here], lengths)

            _spread(fill, list(_cuts(np.diff(query_terms.offsets)[rows])), self.threads or processors())
        return values

    def _fill(
        self,
        values: Floats,
        name: str,
        field: IndexedField,
        known: QueryColumns,
        rows: Numbers,
        docs: Numbers,
        lengths: Numbers,
    ) -> None:
        """Write the features of some pairs that belong to one field."""
        own = [(column, feature) for column, (of, feature) in enumerate(map(_parted, self.names)) if of == name]
        proximity = any(feature in PROXIMITY for _, feature in own)
        matches = field.matches(known, rows, docs, self.window, proximity, lengths)
        for column, feature in own:
            values[:, column] = matches.feature(feature)


def _parted(name: str) -> tuple[str, str]:
    """The field and the feature of a name; a field may have a dot in its own name."""
    field, _, feature = name.rpartition(".")
    return field, feature


def _chosen(names: Sequence[str] | None, fields: Sequence[str]) -> tuple[str, ...]:
    own = [name for name in FEATURES if name not in _OF_QUERY]
    known = [*FEATURES, *(f"{field}.{name}" for field in fields for name in own)]
    if names is None:
        return tuple(known)
    if isinstance(names, str) or not names or len(set(names)) < len(names):
        raise BadInput(f"names = {names!r}: a list of features is expected, each once.")
    for name in names:
        if name not in known:
            raise UnknownName("feature", name, known, "List its field in `fields`." if "." in name else "")
    return tuple(names)


def _cuts(sizes: Numbers) -> Iterator[slice]:
    """Pairs in pieces of about as many terms of queries; `sizes` is how many each pair has."""
    work = np.cumsum(sizes + 8)  # a pair without any costs something too
    edges = np.searchsorted(work, np.arange(_TERMS_AT_ONCE, work[-1] if len(work) else 0, _TERMS_AT_ONCE))
    yield from (slice(*ends) for ends in pairwise(np.unique([0, *edges, len(sizes)]).tolist()))


def _spread(work: Callable[[slice], None], pieces: Sequence[slice], threads: int) -> None:
    if threads == 1 or len(pieces) < 2:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, pieces))


def tiny() -> Manual:
    """All features, of whole documents."""
    return Manual(threads=1)
