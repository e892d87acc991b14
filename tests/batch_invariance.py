"""What an encoder's score of a pair must not depend on: the other texts of its batch, and their order."""

from __future__ import annotations

import numpy as np

from nirank.data import Candidates, Documents, Queries


def check(encoder, texts, tolerance):
    """Score all of nine `texts` for three queries together, turned round and alone; `tolerance` is of their spread."""
    corpus, order = Documents([*map(str, range(len(texts)))], texts), [5, 0, 7, 2, 4, 8, 1, 3, 6]
    queries = Queries.of(["cat", "the dog ran over a bridge", ""])
    whole = encoder.score(queries, Candidates.of([range(len(texts))] * 3, corpus=corpus)).reshape(3, -1)
    turned = encoder.score(queries.take([2, 0, 1]), Candidates.of([order] * 3, corpus=corpus)).reshape(3, -1)
    alone = [
        [encoder.score(Queries.of([asked]), Candidates.of([[doc]], corpus=corpus))[0] for doc in range(len(texts))]
        for asked in queries.contents
    ]
    allowed = tolerance * np.ptp(whole)
    np.testing.assert_allclose(turned, whole[[2, 0, 1]][:, order], atol=allowed)
    np.testing.assert_allclose(alone, whole, atol=allowed)
    assert allowed > 0
