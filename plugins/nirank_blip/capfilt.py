"""CapFilt: captions of pictures are filtered by a model of what belongs together, others written, a model trained anew.

    [train.again]
    loss = "clip"
    sampler = "in_batch"

    [train.again.collection]
    use = "capfilt"
    noisy = "images:web.jsonl"          # pairs of a text and an image, many of them wrong
    clean = "images:right.jsonl"        # pairs that are known to be right
    filter = "trained:models/first"     # an encoder or a scorer that was trained on both
    writer = "trained:models/captions"  # and a writer, where captions are to be added

`filter` and `writer` may also name stages of the experiment (`"@first"`), which are trained before. `nirank capfilt`
does all of it, and says what was kept (`nirank_blip.command`).

Li et al., BLIP, ICML 2022, section 3.3, who keep what matching gives more than one half. But matching is trained with
one right pair for two hard wrong ones, and its probability is not calibrated: here the threshold is where nine tenths
of the clean pairs pass, and the contrastive score is as good a filter as any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import nirank
from nirank.data import Candidates, Collection, Content, Documents, Floats, Queries
from nirank.errors import BadInput
from nirank.pipeline import Scoring, Stage, as_scoring
from nirank_blip.command import command
from nirank_blip.decisions import Decisions

Source: TypeAlias = str | Mapping[str, Any] | Any
Model: TypeAlias = str | Stage

_ROUNDING = 1e-9  # so that a tenth of ten is one


@dataclass(frozen=True)
class Filtered:
    """What came of filtering: the collection to train with, and how.

    `threshold` is the least score of what was kept; `scores` and `kept` are those of the noisy pairs, in the order of
    their judgments above 0; `written` counts the captions that were added.
    """

    collection: Collection
    threshold: float
    scores: Floats
    kept: NDArray[np.bool_]
    written: int

    @property
    def told(self) -> dict[str, Any]:
        """The counts, and the threshold."""
        kept = int(self.kept.sum())
        return {"threshold": self.threshold, "noisy": len(self.kept), "kept": kept, "written": self.written}


def capfilt(
    noisy: Source,
    clean: Source,
    filter: Model,
    writer: Model | None = None,
    passing: float = 0.9,
    kept: str | None = None,
) -> Collection:
    """The clean pairs, those noisy ones that a filter lets pass, and what a writer writes and the filter lets pass.

    `noisy` and `clean` are collections by name, tables with `use`, or collections. `filter` is an encoder or a scorer,
    `writer` a writer: `trained:FOLDER`, another name, or a stage. The share `passing` of the clean pairs scores at or
    above the threshold. The clean part is never filtered. What comes out is a collection of the documents and texts of
    both.

    `kept` is a folder for what the filter says of each pair, and for what was kept (`decisions`): what was interrupted
    goes on there, and what is done is not done again.

    Raises `BadInput` where one of them has no pairs, for a share that is none, and for a folder of another filter.
    """
    noisy, clean, by, captions = _opened(noisy), _opened(clean), _stage(filter), writer and _stage(writer)
    return filtered(noisy, clean, by, captions, passing, Path(kept).expanduser() if kept else None).collection


vars(capfilt)["command"] = command


def filtered(
    noisy: Collection,
    clean: Collection,
    by: Scoring,
    writer: Any = None,
    passing: float = 0.9,
    kept: Path | None = None,
) -> Filtered:
    """The same, with what was decided."""
    if not 0 < passing <= 1:
        raise BadInput(f"passing = {passing}: the share of clean pairs that pass, above 0 and at most 1, is expected.")
    right, doubtful = (_pairs(each) for each in (clean, noisy))
    decided = Decisions(kept, as_scoring(by), (noisy, clean), writer)
    known = decided.scores("clean", clean.queries, right)
    threshold = float(np.sort(known)[int((1 - passing) * len(known) + _ROUNDING)])
    scores = decided.scores("noisy", noisy.queries, doubtful)
    made, passed = _Union.of(clean, right), scores >= threshold
    made.add(noisy, doubtful.where(passed))
    written = _written(made, noisy, decided, writer, threshold) if writer is not None else 0
    found = Filtered(made.collection(f"{noisy.name}/capfilt"), threshold, scores, passed, written)
    decided.write(found.collection, {"name": noisy.name, "passing": passing, "clean": right.pairs, **found.told})
    return found


def _written(made: _Union, noisy: Collection, decided: Decisions, writer: Any, threshold: float) -> int:
    """Add captions of the noisy pictures that score at the threshold or above; and count them."""
    lines = decided.texts(lambda: nirank.write(noisy.corpus, writer, append=False).column("written", slice(None)))
    pairs = [(text, doc) for doc, told in enumerate(lines) for text in dict.fromkeys(told.split("\n")) if text]
    texts = list(dict.fromkeys(text for text, _ in pairs))
    row, rows = {text: number for number, text in enumerate(texts)}, [list[int]() for _ in texts]
    for text, doc in pairs:
        rows[row[text]].append(doc)
    queries = Queries([f"caption:{'_'.join(text.split())}" for text in texts], texts)
    found = Candidates.of(rows, [np.ones(len(each)) for each in rows], noisy.corpus)
    passed = found.where(decided.scores("written", queries, found) >= threshold) if texts else found
    made.add(Collection("captions", noisy.corpus, queries, passed), passed)
    return passed.pairs


class _Union:
    """Pairs of several collections: documents are known by their ids, texts by what they say."""

    def __init__(self) -> None:
        self._documents: dict[str, Content] = {}
        self._queries: dict[Any, str] = {}
        self._labels: dict[tuple[Any, str], float] = {}

    @classmethod
    def of(cls, collection: Collection, pairs: Candidates) -> _Union:
        """Those of one collection."""
        made = cls()
        made.add(collection, pairs)
        return made

    def add(self, collection: Collection, pairs: Candidates) -> None:
        """Add pairs of a collection, with their queries and documents; a pair that is there keeps its label."""
        docs = np.unique(pairs.docs)
        names = dict(zip(docs.tolist(), collection.corpus.ids.take(docs), strict=True))
        for name, content in zip(names.values(), collection.corpus[docs], strict=True):
            self._documents.setdefault(name, content)
        for row, doc, label in zip(pairs.rows.tolist(), pairs.docs.tolist(), pairs.scores.tolist(), strict=True):
            query = collection.queries.contents[row]
            self._queries.setdefault(query, collection.queries.ids[row])
            self._labels.setdefault((query, names[doc]), label)

    def collection(self, name: str) -> Collection:
        """All of it."""
        corpus = Documents(list(self._documents), list(self._documents.values()))
        place = {document: number for number, document in enumerate(self._documents)}
        row = {query: number for number, query in enumerate(self._queries)}
        docs, labels = [list[int]() for _ in row], [list[float]() for _ in row]
        for (query, document), label in self._labels.items():
            docs[row[query]].append(place[document])
            labels[row[query]].append(label)
        queries = Queries(_distinct(list(self._queries.values())), list(self._queries))
        return Collection(name, corpus, queries, Candidates.of(docs, labels, corpus))


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, a number behind each that is there already: two collections may number their queries alike."""
    taken: dict[str, None] = {}
    for name in names:
        number, free = 2, name
        while free in taken:
            free, number = f"{name}~{number}", number + 1
        taken[free] = None
    return list(taken)


def _pairs(collection: Collection) -> Candidates:
    """The pairs of a collection that are judged to belong together. Raises `BadInput` where there are none."""
    judged = collection.judgments.over(collection.corpus)
    pairs = judged.where((judged.scores > 0) & (judged.docs < len(collection.corpus)))
    if not pairs.pairs:
        raise BadInput("has no pairs of a text and an image that are judged to belong together.", collection.name)
    return pairs


def _opened(source: Source) -> Collection:
    if isinstance(source, Collection):
        return source
    if isinstance(source, str):
        return nirank.collection(source)
    settings = dict(source)
    use = settings.pop("use", None)
    if not isinstance(use, str):
        raise BadInput(f'a collection is a name, or a table with `use = "NAME"` and its settings, not {source!r:.80}.')
    return nirank.collection(use, **settings)


def _stage(model: Model) -> Stage:
    return model if isinstance(model, Stage) else nirank.load(model)


def tiny() -> Collection:
    """Two right pairs, and of two others the one that shares a word."""
    corpus = Documents(["cat", "dog", "car", "bus"], ["a small cat", "a small dog", "a fast car", "a slow bus"])
    right, doubtful = Candidates.of([[0], [1]], [[1], [1]], corpus), Candidates.of([[2], [3]], [[1], [1]], corpus)
    clean = Collection("clean", corpus, Queries(["1", "2"], ["cat", "dog"]), right)
    noisy = Collection("noisy", corpus, Queries(["3", "4"], ["car", "cat"]), doubtful)
    return capfilt(noisy, clean, nirank.load(_Words()))


class _Words:
    """Scores by how many words are shared."""

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The number of words of the query that are in the document, `[pairs]`."""
        told = candidates.corpus_for("words")[candidates.docs]
        pairs = zip(candidates.rows.tolist(), told, strict=True)
        shared = [len({*str(queries.contents[row]).split()} & {*str(text).split()}) for row, text in pairs]
        return np.array(shared, np.float32)
