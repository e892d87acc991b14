"""The promises of a sampler: lists with the positives they are made for, and documents that are not judged relevant.

Lists are drawn for a small collection, one batch of all its positives (or queries, as `each` says). A sampler that
gives documents the label 0 though they are judged relevant to the query, as some losses ask for, says so by its
attribute `hits = "keep"`. One that takes only some of the relevant documents into a list says `positives = "some"`. One
that leaves the state of the generator as it was draws nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.types import Floats, Ints
from nirank.testing import samples
from nirank.testing.promises import Inapplicable, expect
from nirank.testing.subject import Subject
from nirank.training.sampling import Sample

#: Rows of the collection, and the positives of each.
Batch: TypeAlias = tuple[Ints, Candidates]

#: How many batches are drawn to see how often a document comes, and of how many lists.
_BATCHES, _LISTS = 1000, 12


def what_a_list_is_for(subject: Subject) -> None:
    """Its attribute `each` says what a list is made for: "positive" or "query"."""
    each = getattr(subject.target, "each", None)
    expect(each in ("positive", "query"), f"its attribute `each` is {each!r}; 'positive' or 'query' is expected.")


def one_list_each(subject: Subject) -> None:
    """There is one list for each row of the positives, which knows the corpus."""
    drawing = _Drawing(subject)
    sample = drawing.sample(drawing.all())
    lists, rows = len(sample.candidates), len(drawing.all()[0])
    expect(lists == rows, f"{rows} rows of positives gave {lists} lists; one list for each is expected.")
    expect(
        sample.candidates.corpus is drawing.collection.corpus,
        "its candidates have no corpus: use `candidates.over(corpus)`.",
    )


def documents_exist(subject: Subject) -> None:
    """Documents are ordinals of the corpus."""
    drawing = _Drawing(subject)
    docs = drawing.sample(drawing.all()).candidates.docs
    inside = (docs >= 0) & (docs < len(drawing.collection.corpus))
    expect(inside.all(), f"documents {docs[~inside][:5]} are not among 0..{len(drawing.collection.corpus) - 1}.")


def positives_are_there(subject: Subject) -> None:
    """Every positive counts in its list, once and with its label, and nothing else has a label above 0.

    Where the attribute `positives` is "some", some do.
    """
    drawing = _Drawing(subject)
    _expect_positives(drawing.sample(drawing.all()), drawing.all()[1], drawing.some)


def negatives_are_not_relevant(subject: Subject) -> None:
    """Documents labelled not relevant are not judged relevant to the query, unless `hits` is "keep"."""
    if subject.traits.hits == "keep":
        raise Inapplicable('its attribute `hits` is "keep": it may draw relevant documents as negatives.')
    drawing = _Drawing(subject)
    for seed in range(20):
        _expect_negatives(drawing.sample(drawing.all(), seed), drawing.judged(drawing.all()))


def order_of_lists(subject: Subject) -> None:
    """Lists for positives in another order, and for the same ones several times, are right as well."""
    drawing = _Drawing(subject)
    last = len(drawing.all()[0]) - 1
    for order in (np.arange(last, -1, -1), np.array([last, 0, last, 0, 0])):
        batch = drawing.all(order)
        sample = drawing.sample(batch)
        _expect_positives(sample, batch[1], drawing.some)
        if subject.traits.hits != "keep":
            _expect_negatives(sample, drawing.judged(batch))


def no_lists(subject: Subject) -> None:
    """A batch without positives gives no lists."""
    drawing = _Drawing(subject)
    lists = drawing.sample(drawing.all(np.arange(0))).candidates
    expect(len(lists) == 0, f"a batch without positives gave {len(lists)} lists.")


def shared_is_shared(subject: Subject) -> None:
    """Lists that are said to be shared hold the same documents in the same order."""
    drawing = _Drawing(subject)
    sample = drawing.sample(drawing.all())
    if not sample.shared:
        raise Inapplicable("its lists are not shared.")
    first, _ = sample.candidates[0]
    same = all(np.array_equal(first, sample.candidates[row][0]) for row in range(len(sample.candidates)))
    expect(same, "`shared` is set, but the lists hold different documents.")


def inputs_unchanged(subject: Subject) -> None:
    """Rows, positives and the judgments are left as they were given."""
    drawing = _Drawing(subject)
    batch, judged = drawing.all(), drawing.collection.judgments
    given = {"rows": (batch[0],), "positives": _columns(batch[1]), "judgments": _columns(judged)}
    before = copy.deepcopy(given)
    drawing.sample(batch)
    for name, old in before.items():
        same = all(np.array_equal(one, other) for one, other in zip(old, given[name], strict=True))
        expect(same, f"the {name} that it was given were changed in place.")


def same_generator_same_sample(subject: Subject) -> None:
    """The same state of the generator gives the same sample, bit by bit."""
    drawing = _Drawing(subject)
    first, second = drawing.sample(drawing.all()), drawing.sample(drawing.all())
    expect(_equal(first, second), "two samples drawn with equal generators differ.")


def other_generator_other_sample(subject: Subject) -> None:
    """Of generators in other states, some give another sample."""
    drawing = _Drawing(subject)
    batch, random = drawing.all(np.arange(3)), np.random.default_rng(0)
    before = copy.deepcopy(random.bit_generator.state)
    first = drawing.target.sample(*batch, random)
    if random.bit_generator.state == before:
        raise Inapplicable("it draws no random numbers.")
    others = [drawing.sample(batch, seed) for seed in range(1, 20)]
    expect(not all(_equal(first, other) for other in others), "twenty generators gave the same sample.")


def expected_counts_are_finite(subject: Subject) -> None:
    """The expected count of every pair, of positives too, is finite, and above 0."""
    drawing = _Drawing(subject)
    odd = ~np.isfinite(_log_counts(drawing.sample(drawing.all())))
    expect(not odd.any(), f"{int(odd.sum())} of {len(odd)} in log_expected_count are not finite.")


def expected_counts_are_right(subject: Subject) -> None:
    """Documents come as often as they are expected to, over many batches of positives drawn at random.

    Of lists that share their documents one is counted, of others all, without their positives. A document may come more
    or less often by five times the root of the number expected, and by five.
    """
    drawing = _Drawing(subject)
    sample = drawing.sample(drawing.all())
    _log_counts(sample)
    if sample.shared and drawing.target.each == "query":
        raise Inapplicable("the positives of a batch of queries are not drawn one by one.")
    tally = _Tally()
    for rows, drawn in drawing.batches():
        tally.add(rows, drawn)
    tally.expect_right()


def state_can_be_restored(subject: Subject) -> None:
    """A new sampler that is given the state (plain arrays) goes on as the old one would have."""
    target = subject.target
    methods = dict.fromkeys(name for name in ("refresh", "state", "restore") if hasattr(target, name))
    if not methods:
        raise Inapplicable("it has no state: neither `refresh` nor `state` and `restore`.")
    expect(
        {"state", "restore"} <= methods.keys(), f"it has {', '.join(methods)}; `state` and `restore` are both needed."
    )
    drawing = _Drawing(subject)
    drawing.refresh(range(5))
    expected, state = drawing.sample(drawing.all()), drawing.target.state()
    odd = [name for name, value in state.items() if not isinstance(value, np.ndarray) or value.dtype.hasobject]
    expect(not odd, f"`state` has entries that are not arrays of plain values: {', '.join(map(repr, odd))}.")
    resumed = _Drawing(subject)
    resumed.target.restore(copy.deepcopy(state))
    expect(_equal(resumed.sample(drawing.all()), expected), "after `restore` it draws another sample than before.")


class _Drawing:
    """A sampler that has begun, and what it is given."""

    def __init__(self, subject: Subject) -> None:
        self.collection = samples.collection()
        self.target = subject.anew() if subject.entry else copy.deepcopy(subject.target)
        self.target.begin(self.collection, {})
        self.some = subject.traits.positives == "some"
        self.refresh(range(1))

    def refresh(self, steps: range) -> None:
        """Tell of the steps that come, where the sampler wants to know."""
        for step in steps if hasattr(self.target, "refresh") else ():
            self.target.refresh(step)

    def all(self, order: Any = slice(None)) -> Batch:
        """Everything that a list can be made for, or what of it stands at the places `order`."""
        judged = self.collection.judgments
        positives = judged.where(judged.scores > 0)
        if self.target.each == "query":
            rows = np.flatnonzero(judged.lengths)[order]
            return rows, positives.take(rows)
        one_each = Candidates(np.arange(positives.pairs + 1), positives.docs, positives.scores, judged.corpus)
        return positives.rows[order], one_each.take(order)

    def judged(self, batch: Batch) -> Candidates:
        """The judgments for the query of each list."""
        return self.collection.judgments.take(batch[0])

    def sample(self, batch: Batch, seed: int = 0) -> Sample:
        """The lists for a batch."""
        sample: Any = self.target.sample(*batch, np.random.default_rng(seed))
        expect(isinstance(sample, Sample), f"sample returned {type(sample).__name__}, not Sample.")
        drawn: Sample = sample
        return drawn

    def batches(self) -> Iterator[tuple[Ints, Sample]]:
        """The queries and the samples of many batches that are drawn with replacement."""
        random = np.random.default_rng(0)
        size = len(self.all()[0])
        for _ in range(_BATCHES):
            batch = self.all(random.integers(0, size, _LISTS))
            yield batch[0], self.target.sample(*batch, random)


class _Tally:
    """Counts of documents, drawn and expected, `[queries, documents]`; all in one row where lists are shared."""

    def __init__(self) -> None:
        shape = len(samples.QUERIES), len(samples.DOCUMENTS)
        self.found, self.expected, self.lists = np.zeros(shape), np.full(shape, np.nan), np.zeros(shape[0])

    def add(self, rows: Ints, sample: Sample) -> None:
        """Take in the lists of one batch."""
        lists, counts = sample.candidates, np.exp(_log_counts(sample))
        queries = rows[:1] * 0 if sample.shared else rows
        counted = lists.rows < 1 if sample.shared else lists.scores <= 0
        at = queries[lists.rows[counted]], lists.docs[counted]
        np.add.at(self.found, at, 1)
        np.add.at(self.lists, queries, 1)
        self.expected[at] = counts[counted]

    def expect_right(self) -> None:
        """Compare; documents that never came have no count to compare with."""
        expected = self.expected * self.lists[:, None]
        wrong = np.argwhere(np.abs(self.found - expected) > 5 * np.sqrt(expected) + 5)
        faults = [f"{doc} {self.found[at, doc]:.0f} times, expected {expected[at, doc]:.1f}" for at, doc in wrong]
        expect(not faults, f"it drew document {'; document '.join(faults[:3])}.")


def _expect_positives(sample: Sample, positives: Candidates, some: bool) -> None:
    lists = sample.candidates
    found, wanted = lists.where(_counting(sample) & (lists.scores > 0)), positives
    for row in range(len(positives)):
        one, other = (sorted(zip(*map(np.ndarray.tolist, some[row]), strict=True)) for some in (found, wanted))
        kept = len(set(one)) == len(one) and set(one) <= set(other) if some else one == other
        expect(kept, f"a list has the positives (document, label) {one}, but was given {other}.")


def _expect_negatives(sample: Sample, judged: Candidates) -> None:
    lists = sample.candidates
    hits = _counting(sample) & (lists.scores <= 0) & (lists.lookup(judged, 0) > 0)
    where = list(zip(lists.rows[hits].tolist(), lists.docs[hits].tolist(), strict=True))
    expect(not where, f"relevant documents are labelled not relevant: (list, document) {where[:5]}.")


def _counting(sample: Sample) -> NDArray[np.bool_]:
    return np.ones(sample.candidates.pairs, bool) if sample.mask is None else sample.mask


def _log_counts(sample: Sample) -> Floats:
    if sample.log_expected_count is None:
        raise Inapplicable("its samples have no log_expected_count.")
    return sample.log_expected_count


def _columns(candidates: Candidates) -> tuple[Any, ...]:
    return candidates.offsets, candidates.docs, candidates.scores


def _equal(first: Sample, second: Sample) -> bool:
    names = ("log_expected_count", "mask")
    columns = [(*_columns(one.candidates), *(getattr(one, name) for name in names)) for one in (first, second)]
    return all(np.array_equal(one, other) for one, other in zip(*columns, strict=True))
