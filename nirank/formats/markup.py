"""Markup as a flat list of events: by expat where it is XML, else by a reader that forgives what SGML leaves open."""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

#: Elements that stand apart from the text around them; all others are part of the word that they stand in.
_BLOCKS = {"p", "br", "div", "li", "ul", "ol", "tr", "td", "th", "table", "para", "par", "s", "sentence", "hr"}
#: Markup of words.
INLINE = frozenset({"i", "b", "em", "strong", "sub", "sup", "small", "big", "u", "tt", "span", "a", "font"})
_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]*)([^<>]*)>|<(?:!--|!\[CDATA\[|[!?][^<>]*>)")
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")


@dataclass(frozen=True)
class Event:
    """A start or an end tag, by its lower-case name without namespace, or a text."""

    kind: Literal["start", "end", "text"]
    content: str
    line: int
    attributes: Mapping[str, str] = field(default_factory=dict)


def events(text: str) -> list[Event]:
    """The tags and texts of marked-up text in their order, without comments; time grows with the length alone.

    Well-formed XML is read by expat, which limits what entities grow to. Anything else is read as TREC's SGML: tags
    may stay open, `&` and `<` may stand for themselves, CDATA is text.
    """
    return _by_expat(text) or list(_forgiving(text))


def closings(found: Sequence[Event], names: Container[str] | None = None) -> dict[int, int]:
    """The place of the end tag of each start tag that has one, of elements with `names` (all unless given).

    An end tag belongs to the nearest open start of its name; what was opened in between stays open.
    """
    ends: dict[int, int] = {}
    pending: list[int] = []
    waiting: dict[str, int] = {}
    for place, event in enumerate(found):
        if event.kind == "text" or (names is not None and event.content not in names):
            continue
        if event.kind == "start":
            pending.append(place)
            waiting[event.content] = waiting.get(event.content, 0) + 1
        elif waiting.get(event.content):
            while True:
                start = pending.pop()
                waiting[found[start].content] -= 1
                if found[start].content == event.content:
                    ends[start] = place
                    break
    return ends


def plain(found: Sequence[Event]) -> str:
    """The text of events, with blanks for what stands apart: paragraphs, and elements with nothing between them."""
    before = [None, *found]
    return "".join(
        event.content if event.kind == "text" else _gap(event, last) for event, last in zip(found, before, strict=False)
    )


def _gap(event: Event, last: Event | None) -> str:
    """A blank where a tag parts words: one of a paragraph, or one that begins where another element ends."""
    adjoins = last is not None and (last.kind, event.kind) == ("end", "start") and event.content not in INLINE
    return " " if event.content in _BLOCKS or adjoins else ""


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()


def _by_expat(text: str) -> list[Event] | None:
    from xml.parsers import expat

    found: list[Event] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        named = {_local(key): value for key, value in attributes.items()}
        found.append(Event("start", _local(name), parser.CurrentLineNumber, named))

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: found.append(Event("end", _local(name), parser.CurrentLineNumber))

    def text_of(words: str) -> None:
        found.append(Event("text", words, parser.CurrentLineNumber))

    def entity(context: str, *_: str | None) -> int:
        text_of(html.unescape(f"&{context.split(chr(12))[0]};"))
        return 1

    parser.CharacterDataHandler = text_of
    # What a DTD declares that is not read here: HTML's names have their meaning, others stand as they are written.
    parser.SkippedEntityHandler = lambda name, is_parameter: (
        None if is_parameter else text_of(html.unescape(f"&{name};"))
    )
    parser.ExternalEntityRefHandler = entity
    try:
        parser.Parse(text.lstrip(), True)
    except expat.ExpatError:
        return None
    skipped = text[: len(text) - len(text.lstrip())].count("\n")
    return [Event(each.kind, each.content, each.line + skipped, each.attributes) for each in found]


def _forgiving(text: str) -> Iterator[Event]:
    line, place, counted = 1, 0, 0
    sought = _Sought(text)
    while tag := _TAG.search(text, place):
        if tag.start() > place:
            yield Event("text", html.unescape(text[place : tag.start()]), line)
        line += text.count("\n", counted, tag.start())
        counted = tag.start()
        place = tag.end()
        if tag[2]:
            yield from _tags(tag, line)
        elif (closing := sought.end_of(tag[0])) is not None:
            end = closing.find(place)
            if end < 0:  # a beginning without end is text like any other
                yield Event("text", tag[0], line)
                continue
            if tag[0] == "<![CDATA[":
                yield Event("text", text[place:end], line)
            place = end + 3
    yield Event("text", html.unescape(text[place:]), line)


def _tags(tag: re.Match[str], line: int) -> Iterator[Event]:
    name = _local(tag[2])
    if tag[1]:
        yield Event("end", name, line)
        return
    named = {_local(key): html.unescape("".join(value)) for key, *value in _ATTRIBUTE.findall(tag[3])}
    yield Event("start", name, line, named)
    if tag[3].rstrip().endswith("/"):
        yield Event("end", name, line)


class _Sought:
    """The ends of comments and of CDATA: what was once sought in vain to the end is not sought again."""

    def __init__(self, text: str) -> None:
        self._ends = {"<!--": _End(text, "-->"), "<![CDATA[": _End(text, "]]>")}

    def end_of(self, beginning: str) -> _End | None:
        return self._ends.get(beginning)


class _End:
    def __init__(self, text: str, end: str) -> None:
        self._text, self._end, self._none = text, end, False

    def find(self, start: int) -> int:
        found = -1 if self._none else self._text.find(self._end, start)
        self._none = found < 0
        return found
