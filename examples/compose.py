"""Search some documents for a rewritten query, and show the best part of each: pip install 'nirank[lexical]'."""

from __future__ import annotations

import nirank

FILMS = {
    "nosferatu": (1922, "A count buys a house by the sea. He sleeps in a coffin. Rats leave his ship."),
    "metropolis": (1927, "A city of towers stands on its machines. An inventor builds a robot with a woman's face."),
    "alien": (1979, "A ship answers a call from a dead planet. One of the crew is a robot. Only the cat is calm."),
    "wall-e": (2008, "A robot cleans an empty planet. He finds a plant. Then a ship comes, and another robot."),
}
SYNONYMS = {"android": "robot", "spaceship": "ship"}


def plain(query: str) -> str:
    """Say the query in the words of the films."""
    return " ".join(SYNONYMS.get(word, word) for word in query.split())


def main() -> None:
    """Find films by words, of some years, and by how short they are told too; print each with its best sentence."""
    years, plots = zip(*FILMS.values(), strict=True)
    corpus = nirank.Documents(list(FILMS), plots, {"year": years})
    bm25 = nirank.load("bm25")
    short = nirank.score_by(lambda query, plot: -len(plot))
    recent = bm25 >> nirank.where("year >= 1960")
    ranking = nirank.rewrite(plain) >> (recent >> bm25 + 0.01 * short)
    print(ranking)
    queries = nirank.Queries.of(["android on a spaceship"])
    found = ranking.search(queries, corpus)
    asked = nirank.Queries.of([plain(query) for query in queries.contents])
    for snippet in nirank.snippets(asked, found, sentences=1)[0]:
        print(f"{corpus.ids[snippet.doc]}: {snippet.marked()}")


if __name__ == "__main__":
    main()
