"""DESM: words of the query, by their vectors IN, against the centroid of the document's words, by their vectors OUT."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nirank.data import Candidates, Content, Corpus, Documents, Explanation, Floats, Mark, Queries
from nirank.errors import BadInput, StaleIndex
from nirank.kit.text import (
    Analyzer,
    ForwardIndex,
    QueryParser,
    SkipGram,
    Vocabulary,
    Word2Vec,
    require_text,
    term_places,
    unit,
)

FILE = "word2vec.safetensors"
_LAYOUT = 1

_SIDES = {"in-out": ("inputs", "outputs"), "in-in": ("inputs", "inputs"), "out-out": ("outputs", "outputs")}


@dataclass(frozen=True)
class DesmTraining:
    """Settings of `nirank.kit.text.word2vec.SkipGram`."""

    dim: int = 200
    window: int = 5
    negatives: int = 5
    epochs: int = 5
    min_count: int = 5
    sample: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class DesmAnalysis:
    """Settings of `nirank.kit.text.analysis.Analyzer`: words are not stemmed unless a stemmer is named."""

    language: str = "english"
    stemmer: str | None = None
    stopwords: Sequence[str] | None = None


_TRAINING, _ANALYSIS = DesmTraining(), DesmAnalysis()


class DESM:
    """Encodes a query as the mean of its words' unit vectors, a document as the unit centroid of those of its words:

        DESM(Q, D) = 1/|Q| sum over q in Q of  q . D' / (|q| |D'|),   D' = 1/|D| sum over d in D of d / |d|

    Nalisnick et al., Improving Document Ranking with Dual Word Embeddings, WWW 2016; Mitra et al., A Dual Embedding
    Space Model for Document Ranking, 2016, equations (1) to (3). The dot product of the two vectors is that score. By
    `variant`, q are the vectors IN of word2vec and d those OUT ("in-out": what the document is about), or both the same
    ("in-in", "out-out"). Words without vectors are left out, and a text of such words has the vector 0. The paper's
    mixture is `bm25 % 100 >> 0.97 * desm + 0.03 * bm25`.

    The vectors are an index, trained on the words of the corpus that is searched when that is first needed, so that an
    experiment names the encoder and its settings, and no other step or file; variants share it. Settings of training
    are those of `nirank.kit.text.word2vec.SkipGram`, those of words (`language`, `stemmer`, `stopwords`) the
    analyser's: words are not stemmed unless a stemmer is named. With `model`, a file that
    `nirank.kit.text.word2vec.Word2Vec.save` wrote, the vectors are those of the file, its words those that
    `about["analysis"]` says, and both kinds of settings are left
    aside.

    Raises `BadInput` for a file that holds something else and a variant that there is not, `StaleIndex` where vectors
    are needed before there are any.
    """

    vectors = "dense"
    reads = "text"
    batch_size = 256
    cacheable = False  # a vector depends on the corpus that word2vec saw

    def __init__(
        self,
        variant: Literal["in-out", "in-in", "out-out"] = "in-out",
        model: str | None = None,
        *,
        training: DesmTraining = _TRAINING,
        analysis: DesmAnalysis = _ANALYSIS,
    ) -> None:
        if variant not in _SIDES:
            raise BadInput(f"variant = {variant!r}; one of {', '.join(_SIDES)} is expected.")
        self.variant, self.model = variant, model
        self.skipgram = SkipGram(**asdict(training))
        self.analysis: Mapping[str, Any] = Analyzer(**vars(analysis)).settings
        self._words: Word2Vec | None = None
        if model is not None:
            self._take(Word2Vec.load(Path(model)))

    def __repr__(self) -> str:
        made = f"model={self.model!r}" if self.model else f"{self.skipgram}, {Analyzer(**self.analysis)}"
        return f"DESM({self.variant!r}, {made})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the vectors, or of all that training them depends on besides the corpus."""
        made = Path(self.model).read_bytes() if self.model else repr(sorted(self.index_key.items())).encode()
        return hashlib.blake2b(f"{self.variant} ".encode() + made, digest_size=16).hexdigest()

    @property
    def index_key(self) -> Mapping[str, object]:
        """Settings that the vectors depend on; with `model`, they lie there and not in the index."""
        if self.model:
            return {"index": "word2vec", "layout": _LAYOUT, "model": self.model}
        return {"index": "word2vec", "layout": _LAYOUT, **asdict(self.skipgram), **self.analysis}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Train the vectors on `corpus` and write them into `folder`."""
        if self.model:
            return
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            ForwardIndex.write(corpus, Analyzer(**self.analysis), Path(beside))
            index = ForwardIndex.load(Path(beside))
            Word2Vec.of_index(index, self.skipgram, analysis=self.analysis).save(folder / FILE)

    def open(self, corpus: Corpus, folder: Path) -> None:  # noqa: ARG002
        """Read the vectors that `build` wrote."""
        if not self.model:
            self._take(Word2Vec.load(folder / FILE))

    def encode(self, queries: Queries) -> Floats:
        """Vectors of queries, float32 `[queries, dim]`."""
        return self._means(queries.contents, 0)

    def encode_documents(self, contents: Sequence[Content]) -> Floats:
        """Unit vectors of documents, float32 `[documents, dim]`."""
        return unit(self._means(contents, 1))

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the words of the query: the cosine of each with the document, over their number."""
        corpus = candidates.corpus_for("desm")
        found = []
        for row, doc in zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True):
            query, centroid = queries.contents[row], self.encode_documents([corpus[doc]])[0]
            score = float(self._means([query], 0)[0] @ centroid)
            found.append(Explanation.summed("desm", score, tuple(self._of_words(str(query), centroid))))
        return found

    def _of_words(self, query: str, centroid: Floats) -> Iterator[Explanation]:
        asked, analyzer, places = self._parse([query]), Analyzer(**self.analysis), defaultdict[str, list[Any]](list)
        for start, end, term in term_places(analyzer, query):
            places[term].append((start, end))
        for term, count in zip(*asked.of(0), strict=True):
            cosine, name = float(self._sides[0][term] @ centroid), self._parse.vocabulary[term]
            score = cosine * float(count) / float(asked.tokens[0])
            marks = tuple(Mark(start, end, score / len(places[name])) for start, end in places[name])
            yield Explanation(name, score, note=f"cosine {cosine:.4f} with the document", query_marks=marks)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the vectors into `folder`. Returns the table of a stage that builds this encoder again."""
        self._opened().save(folder / FILE)
        return {"use": "encoder/desm", "variant": self.variant, "model": Path(FILE)}

    def _take(self, words: Word2Vec) -> None:
        vocabulary, order = Vocabulary.of(words.words)
        self._words = words
        self.analysis = words.about.get("analysis", self.analysis)
        self._parse = QueryParser(vocabulary, Analyzer(**self.analysis))
        self._sides = tuple(unit(getattr(words, side)[order]) for side in _SIDES[self.variant])

    def _means(self, texts: Sequence[Content], side: int) -> Floats:
        """The mean of the unit vectors of each text's words."""
        self._opened()
        terms, vectors = self._parse(require_text(texts, "content")), self._sides[side]
        means = np.zeros((len(texts), vectors.shape[1]), np.float32)
        known = np.flatnonzero(terms.tokens)
        if len(known):
            weighted = vectors[terms.terms] * terms.weights[:, None]
            means[known] = np.add.reduceat(weighted, terms.offsets[known]) / terms.tokens[known, None]
        return means

    def _opened(self) -> Word2Vec:
        if self._words is None:
            raise StaleIndex(
                f"{self} has no word vectors yet: use it in a search, which trains them, or set `model` to a saved one."
            )
        return self._words


def tiny() -> DESM:
    """Vectors of 8 numbers of the words of a few sentences."""
    texts = ["a small cat sat on the warm mat", "the dog ran over a long bridge", "a fast red car behind a slow bus"]
    with tempfile.TemporaryDirectory() as folder:
        encoder = DESM(training=DesmTraining(dim=8, min_count=1, epochs=2))
        encoder.build(Documents(list("abc"), texts), Path(folder))
        encoder.open(Documents([], []), Path(folder))
    return encoder
