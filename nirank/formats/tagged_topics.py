"""Topics in tags: TREC's `<top>` with fields that may stay open, and the XML of later tracks and of CLEF."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nirank.errors import BadInput
from nirank.formats.markup import INLINE, Event, closings, events, plain

log = logging.getLogger("nirank")

_RECORDS = {"top", "topic"}
#: The labels that TREC puts before the text of a field.
_LABELS = {
    "num": "number|num|topic",
    "title": "title|topic",
    "desc": "description|desc",
    "narr": "narrative|narr",
    "dom": "domain",
    "smry": "summary",
    "con": r"concept(?:\(s\)|s)?",
    "fac": r"factor(?:\(s\)|s)?",
    "def": r"definition(?:\(s\)|s)?",
}
_SYNONYMS = {"query": "title", "description": "desc", "narrative": "narr", "number": "num"}
_LANGUAGE = re.compile(r"[a-z]{2}-(?=(?:title|desc|narr|num)$)")  # CLEF's `<EN-title>`
_NUMBERS = ("id", "qid", "identifier", "topicid", "tid")
_KNOWN = {"num", "title", "desc", "narr", *_NUMBERS}
#: Markup of texts, which begins no field of a topic.
_INLINE = {*INLINE, "p", "br", "div"}


def tagged(text: str, fields: Sequence[str], path: Path) -> list[tuple[int, str, str]]:
    """The line, number and text of each topic. Raises `BadInput` for one that lacks either."""
    wanted = [_name(name) for name in fields]
    topics, several = [], ""
    for start, inside in _topics(events(text)):
        contents = _fields(inside)
        several = several or _repeated(inside, wanted)
        number = _number(start, contents)
        words = " ".join(filter(None, (contents.get(name, "") for name in wanted)))
        if not number or not words:
            raise BadInput(_lacking(" and ".join(fields) if number else "number", contents), path, start.line)
        topics.append((start.line, number, words))
    if several:
        log.warning("%s: there are topics with several <%s>; the first of each is read.", path, several)
    return topics


def _repeated(inside: Sequence[Event], wanted: Sequence[str]) -> str:
    """One of the names that begin more than one element of a topic, if there is one."""
    begun = [_name(event.content) for event in inside if event.kind == "start"]
    return next((name for name in wanted if begun.count(name) > 1), "")


def _lacking(missing: str, contents: Mapping[str, str]) -> str:
    filled = ", ".join(name for name, text in contents.items() if text) or "no fields"
    empty = ", ".join(name for name, text in contents.items() if not text)
    return f"this topic has no {missing}; it has {filled}{f', and without a text {empty}' if empty else ''}."


def _topics(found: Sequence[Event]) -> Iterator[tuple[Event, Sequence[Event]]]:
    """The start tag of each topic, and what is in it: up to its end, or to the next start where it has none."""
    records = _RECORDS if any(_begins(each, _RECORDS) for each in found) else {"query"}
    ends = closings(found, records)
    starts = [place for place, each in enumerate(found) if _begins(each, records)]
    reached = 0
    for start, following in itertools.pairwise([*starts, len(found)]):
        if start >= reached:
            reached = ends.get(start, following)
            yield found[start], found[start + 1 : reached]


def _begins(event: Event, names: set[str]) -> bool:
    return event.kind == "start" and event.content in names


def _fields(inside: Sequence[Event]) -> dict[str, str]:
    """The text of each field, the first where there are several; that of a topic without fields is its title."""
    contents: dict[str, str] = {}
    rest, place, ends = [], 0, closings(inside)
    while place < len(inside):
        if inside[place].kind == "start" and inside[place].content not in _INLINE:
            end = ends.get(place) or _open_end(inside, place)
            name = _name(inside[place].content)
            contents.setdefault(name, _unlabelled(name, plain(inside[place + 1 : end])))
            place = end
        else:
            rest.append(inside[place])
            place += 1
    if not contents.keys() - {"num", *_NUMBERS}:
        contents |= {"title": " ".join(plain(rest).split())} if plain(rest).strip() else {}
    return contents


def _unlabelled(name: str, text: str) -> str:
    """The words of a field without the label that TREC puts before them."""
    label = _LABELS.get(name)
    return " ".join((re.sub(rf"^\s*(?:{label})\s*:", "", text, flags=re.IGNORECASE) if label else text).split())


def _open_end(inside: Sequence[Event], start: int) -> int:
    """The end of a field that is not closed: at the next field, which is one of TREC's or begins a line."""
    for place in range(start + 1, len(inside)):
        begins = inside[place].kind == "start" and inside[place].content not in _INLINE
        if begins and (_name(inside[place].content) in _KNOWN or _begins_line(inside[place - 1])):
            return place
    return len(inside)


def _begins_line(before: Event) -> bool:
    _, newline, rest = before.content.rpartition("\n")
    return before.kind != "text" or (bool(newline) and not rest.strip(" \t\r"))


def _number(start: Event, contents: dict[str, str]) -> str:
    numbers = [
        contents.get("num"),
        *map(start.attributes.get, ("number", "num", *_NUMBERS)),
        *map(contents.get, _NUMBERS),
    ]
    return next((number.strip() for number in numbers if number and number.strip()), "")


def _name(tag: str) -> str:
    name = _LANGUAGE.sub("", tag.lower())
    return _SYNONYMS.get(name, name)
