"""The promises of a writer: what is written belongs to its document, and to nothing else in the batch."""

from __future__ import annotations

from typing import Any

from nirank.testing import samples
from nirank.testing.elsewhere import expect_same_answer
from nirank.testing.promises import expect
from nirank.testing.subject import Subject


def texts_for_each(subject: Subject) -> None:
    """There is one entry for each document, and every entry is a text or several."""
    documents = samples.documents(subject.reads)
    written = subject.write(documents)
    expect(len(written) == len(documents), f"for {len(documents)} documents it returned {len(written)} entries.")
    odd = [text for entry in written for text in entry if not isinstance(text, str)]
    expect(not odd, f"{odd[:1]!r:.80} is no text.")


def document_alone(subject: Subject) -> None:
    """A document alone has the texts that it has in a batch."""
    documents = samples.documents(subject.reads)
    for content, written in zip(documents, subject.write(documents), strict=True):
        alone = subject.write([content])[0]
        expect(alone == written, f"{content!r:.40} alone: {alone!r:.80}, and among others {written!r:.80}.")


def order_of_documents(subject: Subject) -> None:
    """The order of the documents does not matter to what is written."""
    documents = samples.documents(subject.reads)
    forwards, backwards = subject.write(documents), subject.write(documents[::-1])[::-1]
    for content, one, two in zip(documents, forwards, backwards, strict=True):
        expect(one == two, f"{content!r:.40} in reverse order: {two!r:.80}, expected is {one!r:.80}.")


def any_text(subject: Subject) -> None:
    """For any Unicode text something can be written, the empty one too; where images are read, for any of these."""
    subject.write(samples.odd(subject.reads))


def no_documents(subject: Subject) -> None:
    """For an empty list of documents nothing is written."""
    expect(len(subject.write([])) == 0, "an empty list of documents gave texts.")


def same_in_another_process(subject: Subject) -> None:
    """Pickled, its index open, and loaded in another process, it gives the same texts, bit by bit."""
    expect_same_answer(subject, _answer)


def deterministic(subject: Subject) -> None:
    """Writing twice gives the same texts."""
    documents = samples.documents(subject.reads)
    twice = zip(documents, subject.write(documents), subject.write(documents), strict=True)
    changed = [content for content, one, two in twice if one != two]
    expect(not changed, f"what is written for {changed[:1]!r:.60} changed when it was written a second time.")


def _answer(subject: Subject) -> list[Any]:
    return subject.write(samples.documents(subject.reads))
