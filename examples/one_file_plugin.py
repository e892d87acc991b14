"""A plugin in one file: a scorer with one setting, named in expressions and experiments.

Called `nirank_plugin.py` and put beside an experiment, such a file is loaded with it. pip install 'nirank[lexical]'
"""

from __future__ import annotations

import nirank
from nirank.plugins import PluginRegistry, load_file
from nirank.testing import violations


class Brief:
    """Prefers documents of about `words` words."""

    def __init__(self, words: int = 5) -> None:
        self.words = words

    def score(self, queries: nirank.Queries, candidates: nirank.Candidates) -> list[float]:
        """Score each pair by how near the document is to that length."""
        return [-abs(len(text.split()) - self.words) for text in candidates.corpus[candidates.docs]]


@nirank.hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the scorer."""
    registry.add("scorer", "brief", f"{__name__}:Brief", tiny=f"{__name__}:Brief")


def main() -> None:
    """Rank by it, and check that it keeps the promises of a scorer."""
    load_file(__file__)
    corpus = nirank.Documents(["a", "b", "c"], ["a red fox", "a red fox in the snow", "a red fox, and then some more"])
    docs, _ = nirank.parse("bm25 % 10 >> brief").search("red fox", corpus)[0]
    print("best first:", *(corpus.ids[doc] for doc in docs))
    print("promises broken:", violations("scorer", Brief()) or "none")


if __name__ == "__main__":
    main()
