"""Vectors of a pipeline's index written to a file, and an index built from vectors in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nirank.component import Component
from nirank.data.arrays import to_numpy
from nirank.data.corpus import field_of
from nirank.data.types import Corpus, Floats
from nirank.data.vector_files import read_vectors, write_vectors
from nirank.errors import BadInput, CompositionError
from nirank.execution import indexes, stages
from nirank.pipeline.algebra import Ranking, as_ranking

#: Documents whose vectors are read at a time.
_ROWS = 4096
#: How far a vector in a file may be from the one that the encoder makes, of its own length.
_APART = 1e-2


def export_vectors(ranking: Ranking, corpus: Corpus, path: str | Path) -> None:
    """Write the vectors in the index of a pipeline, such as `minilm >> exact`, to a Parquet or Arrow file.

    The index is built where there is none. Raises `CompositionError` for a pipeline without one index of vectors, and
    `BadInput` for one that does not keep them.
    """
    index, encoder = _index_of(ranking)
    if not index.can("vectors_of"):
        raise BadInput(f"{index.spec} does not keep the vectors: export them from the index `exact`.")
    indexes.prepare(index, corpus, encoder)
    ordinals = np.arange(len(corpus))
    blocks = (
        to_numpy(index.target.vectors_of(ordinals[start : start + _ROWS])) for start in range(0, len(corpus), _ROWS)
    )
    write_vectors(path, field_of(corpus, encoder.field), blocks, encoder.fingerprint)


def import_vectors(ranking: Ranking, corpus: Corpus, path: str | Path, unmarked: bool = False) -> None:
    """Build the index of a pipeline from the vectors in a file, by which nothing is encoded.

    The file names the corpus and the encoder by their fingerprints; `unmarked=True` takes one that does not. A few
    documents are encoded, to see that these are the encoder's vectors. Raises `BadInput` where they are not, or where
    the file does not fit the corpus (`nirank.data.vector_files`).
    """
    index, encoder = _index_of(ranking)
    documents = field_of(corpus, encoder.field)
    vectors = read_vectors(path, documents, encoder.fingerprint, unmarked)
    _refuse_foreign(vectors, documents, encoder, Path(path))
    indexes.prepare(index, corpus, encoder, vectors=vectors)


def _index_of(ranking: Ranking) -> tuple[Component, Component]:
    """The one index of vectors in a pipeline, and its encoder."""
    found: Sequence[tuple[Component, Component]] = [
        (index, encoder) for index, encoder in as_ranking(ranking)._indexed() if encoder is not None
    ]
    dense = [(index, encoder) for index, encoder in found if encoder.traits.vectors == "dense"]
    if len(dense) != 1:
        raise CompositionError(
            f"{ranking!r} has {len(dense)} indexes of dense vectors; name one, as `encoder >> index`."
        )
    return dense[0]


def _refuse_foreign(vectors: Floats, corpus: Corpus, encoder: Component, path: Path) -> None:
    """Raise `BadInput` unless the vectors of a few documents are those that the encoder makes."""
    docs = np.unique(np.linspace(0, len(corpus) - 1, 3).astype(np.int64))
    made = to_numpy(stages.encode_documents(encoder, corpus[docs]))
    if made.shape[1] != vectors.shape[1]:
        raise BadInput(f"has vectors of {vectors.shape[1]} numbers, and {encoder.spec} makes {made.shape[1]}.", path)
    apart = np.linalg.norm(made - vectors[docs], axis=1) > _APART * np.maximum(np.linalg.norm(made, axis=1), 1e-6)
    if apart.any():
        wrong = corpus.ids[int(docs[int(np.flatnonzero(apart)[0])])]
        raise BadInput(f"has another vector of {wrong!r} than {encoder.spec} makes: they are of another encoder.", path)
