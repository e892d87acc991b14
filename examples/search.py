"""Search your own documents with BM25: pip install 'nirank[lexical]'."""

from __future__ import annotations

import nirank

PAGES = {
    "otter": "Sea otters hold hands while they sleep, so that the current does not part them.",
    "crow": "Crows remember the faces of people who were unkind to them, and tell other crows.",
    "octopus": "An octopus has three hearts, and tastes with its arms.",
    "swift": "Swifts sleep on the wing, and may fly for ten months without landing.",
}


def main() -> None:
    """Index the pages in the cache, and print what each question finds, best first."""
    corpus = nirank.Documents(list(PAGES), list(PAGES.values()))
    bm25 = nirank.load("bm25", k1=0.9, b=0.4)
    questions = ["which animals sleep in flight", "people remembered by crows", "hearts of an octopus"]
    found = (bm25 % 3).search(questions, corpus)
    for row, question in enumerate(questions):
        print(question)
        for doc, score in zip(*found[row], strict=True):
            print(f"  {score:.3f}  {corpus.ids[doc]}: {corpus[doc]}")


if __name__ == "__main__":
    main()
