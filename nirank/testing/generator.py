"""The promises of a candidate generator: a ranking, the same whatever else is asked, and any text is a query."""

from __future__ import annotations

import copy
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.execution import indexes
from nirank.plugins import settings
from nirank.testing import samples
from nirank.testing.elsewhere import expect_same_answer
from nirank.testing.explanations import expect_explanations, refuse_silent
from nirank.testing.promises import Broken, Inapplicable, expect, expect_same
from nirank.testing.subject import Subject

_ALL = len(samples.DOCUMENTS)


def at_most_k(subject: Subject) -> None:
    """Each query has at most `k` documents."""
    for k in (1, 3, 7):
        longest = int(subject.generate(samples.QUERIES, k).lengths.max(initial=0))
        expect(longest <= k, f"with k = {k} it returned {longest} documents for a query.")


def no_duplicates(subject: Subject) -> None:
    """No document is found twice for one query."""
    found = subject.generate(samples.QUERIES, _ALL)
    for text, docs in zip(samples.QUERIES, _lists(found), strict=True):
        twice = sorted({doc for doc in docs if docs.count(doc) > 1})
        expect(not twice, f"documents {twice} are found more than once for {text!r}.")


def falling_scores(subject: Subject) -> None:
    """Scores are finite and fall, or stay equal, from rank to rank."""
    found = subject.generate(samples.QUERIES, _ALL)
    expect(np.isfinite(found.scores).all(), "some scores are not finite.")
    rises = _neighbours(found) & (np.diff(found.scores) > 0)
    _expect_nowhere(rises, found, "the score rises")


def ties_by_ordinal(subject: Subject) -> None:
    """Documents of equal score are ordered by rising ordinal."""
    found = subject.generate(samples.QUERIES, _ALL)
    wrong = _neighbours(found) & (np.diff(found.scores) == 0) & (np.diff(found.docs) < 0)
    _expect_nowhere(wrong, found, "the score is equal and the ordinal falls")


def fewer_is_a_prefix(subject: Subject) -> None:
    """The best few are the first of the best many, with the same scores."""
    many = subject.generate(samples.QUERIES, _ALL)
    for k in (1, 2, 5):
        for row, docs in enumerate(_lists(subject.generate(samples.QUERIES, k))):
            best = many[row][0][:k].tolist()
            expect(
                docs == best,
                f"for {samples.QUERIES[row]!r} k = {k} returns {docs}, but the first {k} of all are {best}.",
            )


def k_beyond_the_corpus(subject: Subject) -> None:
    """Asking for more documents than there are finds what asking for all of them finds."""
    everything = _lists(subject.generate(samples.QUERIES, _ALL))
    expect(
        _lists(subject.generate(samples.QUERIES, 10 * _ALL)) == everything,
        f"k = {10 * _ALL} returns other documents than k = {_ALL}.",
    )


def within_some(subject: Subject) -> None:
    """Searching `within` some documents, where it can, finds what a search of all of them finds there."""
    if not subject.component.can("within"):
        raise Inapplicable("it has no method `within`, and is asked for more documents where only some may be found.")
    many = subject.generate(samples.QUERIES, _ALL)
    for mask in (np.arange(_ALL) % 2 == 0, np.arange(_ALL) < 1, np.zeros(_ALL, bool)):
        within = subject.component.target.within(mask)
        expected = many.where(mask[many.docs])
        for k in (1, 3, _ALL):
            found = subject.generate(samples.QUERIES, k, by=within)
            expect(
                _lists(found) == _lists(expected.top(k)),
                f"k = {k} within {np.flatnonzero(mask)} finds {_lists(found)}, not {_lists(expected.top(k))}.",
            )
            expect_same(found.scores, expected.top(k).scores, f"within {np.flatnonzero(mask)}")


def query_alone(subject: Subject) -> None:
    """A query alone finds what it finds in a batch, with the same scores."""
    together = subject.generate(samples.QUERIES, 5)
    for row, text in enumerate(samples.QUERIES):
        alone = subject.generate([text], 5)
        docs, expected = alone.docs.tolist(), together[row][0].tolist()
        expect(docs == expected, f"{text!r} alone finds {docs}, but {expected} in a batch.")
        expect_same(alone.scores, together[row][1], f"{text!r} alone")


def no_queries(subject: Subject) -> None:
    """An empty list of queries finds nothing."""
    expect(subject.generate([], 3).pairs == 0, "an empty list of queries returned documents.")


def empty_query(subject: Subject) -> None:
    """An empty query raises no error and changes no other query's results; what it finds is up to the generator."""
    subject.generate([""], 3)
    both = subject.generate(["", samples.QUERIES[0]], 3)
    alone = subject.generate([samples.QUERIES[0]], 3).docs.tolist()
    expect(both[1][0].tolist() == alone, "an empty query changes the results of the other query in its batch.")


def any_text(subject: Subject) -> None:
    """Any Unicode text is a query."""
    for text in samples.ODD_TEXTS:
        subject.generate([text], 3)
    subject.generate(samples.ODD_TEXTS, 3)


def no_query_language(subject: Subject) -> None:
    """A query is text: signs and words that other engines take for operators exclude nothing."""
    plain = set(subject.generate(["cat"], _ALL).docs.tolist())
    for text in ("-cat", "NOT cat", '"cat zzyzx"', "+zzyzx cat", "zzyzx AND cat", "title: cat", "cat* -dog"):
        lost = sorted(plain - set(subject.generate([text], _ALL).docs.tolist()))
        expect(not lost, f"'cat' finds documents {lost}, but {text!r} does not: is a query language parsed?")


def scores_what_it_finds(subject: Subject) -> None:
    """If it also scores given pairs, these get the scores that it finds them with, whatever their order."""
    if not subject.component.can("score"):
        raise Inapplicable("it has no method `score`.")
    found = subject.generate(samples.QUERIES, _ALL)
    expect_same(subject.score_found(samples.QUERIES, found), found.scores, "the scores of what was found")
    order = np.lexsort((found.docs % 3, found.rows))
    mixed = Candidates(found.offsets, found.docs[order], found.scores[order])
    expect_same(subject.score_found(samples.QUERIES, mixed), mixed.scores, "the scores in another order")


def explains_its_scores(subject: Subject) -> None:
    """Explanations, if it has any, have parts that add up to each score, texts as labels, and marks inside of texts."""
    refuse_silent(subject)
    found = subject.generate(samples.QUERIES, _ALL)
    queries = subject.searched(samples.QUERIES)
    expect_explanations(subject, queries, found.over(samples.corpus(subject.reads)), found.scores)


def same_in_another_process(subject: Subject) -> None:
    """Pickled, its index open, and loaded in another process, it gives the same documents and scores, bit by bit."""
    expect_same_answer(subject, _answer)


def keeps_vectors(subject: Subject) -> None:
    """The vectors that it says it has kept (`vectors_of`) are those that the encoder makes of the documents."""
    if not subject.component.can("vectors_of"):
        raise Inapplicable("it has no method `vectors_of`.")
    docs = np.array([2, 0, _ALL - 1, 2])
    for doc, kept, made in zip(docs.tolist(), *subject.kept(docs), strict=True):
        width = max(len(kept), len(made))  # of sparse ones an index may know fewer terms than the encoder
        kept, made = (np.pad(vector, (0, width - len(vector))) for vector in (kept, made))
        expect_same(kept, made, f"the vector kept of document {doc}")


def index_key_covers_settings(subject: Subject) -> None:
    """An index of other settings, in which other documents are found, has another `index_key`, or would be shared."""
    if getattr(subject.target, "index_key", None) is None or not subject.component.can("build"):
        raise Inapplicable("it states no `index_key`, so that all of its settings count.")
    own = _found_in_index_of(subject, subject.target)
    for name, other in _changed(subject.target):
        if other.index_key == subject.target.index_key:
            found = _found_in_index_of(subject, other)
            same = np.array_equal(found.docs, own.docs) and np.allclose(found.scores, own.scores, rtol=1e-4, atol=1e-6)
            expect(same, f"`index_key` does not cover the setting {name!r}.")


def _answer(subject: Subject) -> list[Any]:
    found = subject.generate(samples.QUERIES, _ALL)
    return [found.offsets, found.docs, found.scores]


def _changed(target: Any) -> Iterator[tuple[str, Any]]:
    """The object built anew with one setting changed, for each setting that it keeps under its own name."""
    declared = settings.declared(type(target))
    own = {name: vars(target)[name] for name in declared if name in vars(target)}
    for name, value in own.items():
        try:
            yield name, _built(type(target), own | {name: _other(value, declared[name].hint)})
        except Exception:  # noqa: S112 (whatever the object says of a value that makes no sense)
            continue


def _built(factory: Any, given: dict[str, Any]) -> Any:
    return factory(**settings.bind(factory, given, factory.__name__).arguments)


def _other(value: Any, hint: Any) -> Any:
    """Another value of the type of a setting. Raises `StopIteration` where none is known."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return next(other for other in typing.get_args(hint) if isinstance(other, str) and other != value)


def _found_in_index_of(subject: Subject, maker: Any) -> Candidates:
    """The documents that the object finds in an index that another one made of the samples."""
    with tempfile.TemporaryDirectory(prefix="nirank-check-") as folder:
        place, searching = Path(folder) / "index", copy.copy(subject.target)
        indexes.build(
            Component("index", maker, {}, subject.entry), samples.corpus(subject.reads), subject.encoder, place
        )
        searching.open(samples.corpus(subject.reads), place)
        return subject.generate(samples.QUERIES, _ALL, searching)


def _lists(found: Candidates) -> list[list[int]]:
    return [found[row][0].tolist() for row in range(len(found))]


def _neighbours(found: Candidates) -> NDArray[np.bool_]:
    """For each pair but the last whether the next one belongs to the same query."""
    return np.diff(found.rows) == 0


def _expect_nowhere(wrong: NDArray[np.bool_], found: Candidates, fault: str) -> None:
    for place in np.flatnonzero(wrong).tolist():
        row = int(found.rows[place])
        rank = place - int(found.offsets[row]) + 1
        raise Broken(f"{fault} after rank {rank} for {samples.QUERIES[row]!r}.")
