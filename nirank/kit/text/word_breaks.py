"""Text into lower-case words, cut as Lucene's StandardTokenizer cuts them (Unicode Standard Annex 29).

Any text is fine and nothing in it is syntax. Where a script is written without spaces these rules do not know the
words: Han and Hiragana come out as single characters, Katakana and Thai, Lao, Khmer and Burmese as unbroken runs.
Search still works there, by characters or by whole runs, but wants a segmenter of its own to work well.

Lucene 9 knows the letters of Unicode 12; letters that came later are words here and nothing there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import cast

import regex

#: Longer words are cut into pieces of this many characters (Lucene counts UTF-16 units).
LONGEST_WORD = 255

# What the rules leave of pure ASCII: letters, digits and _ hold together, and one mark may stand between two letters
# (can't, u.s.a, a:b) or between two digits (3.14, 1,000).
_ASCII_WORD = r"\w+(?:[.:',;](?:(?<=[a-z][.:'])(?=[a-z])|(?<=[0-9][.,;'])(?=[0-9]))\w+)*"

_NO_MARKS = bytes(set(range(128)) - set(b".:',;"))
_SPACED = bytes(code if chr(code).isalnum() or code == ord("_") else ord(" ") for code in range(128)) + bytes(128)

# Later versions of Unicode moved these characters, and took old symbols from the pictures; Lucene still has them so.
_NOT_YET_LETTERS = r"\u00B8\u02E5-\u02EB\u055A\u055F\u058A\uA708-\uA716"
_NUMBER_SIGNS = r"\u0600-\u0605\u06DD\u070F\u08E2\U000110BD\U000110CD"
_ONCE_PICTURES = (
    r"\u2388\u2605\u2607-\u2612\u2616-\u2685\u2690-\u2704\u270E-\u2711\u2765-\u2767\U0001F000-\U0001F0FF"
    r"\U0001F10D-\U0001F10F\U0001F12F\U0001F16C-\U0001F16F\U0001F1AD-\U0001F1E5\U0001F260-\U0001F3FA"
    r"\U0001F400-\U0001F4FE\U0001F546-\U0001F5F9\U0001F6C6-\U0001F6F2\U0001F774-\U0001F77F\U0001F7D5-\U0001F7FF"
    r"\U0001F8B0-\U0001F8FF\U0001FA00-\U0001FBFF"
)
# Named as in the annex; <X> is what its rule WB4 attaches to the character before.
_CLASSES = {
    "X": rf"[\p{{WB=Format}}\p{{WB=Extend}}\p{{WB=ZWJ}}{_NUMBER_SIGNS}]*+",
    "Letter": rf"[[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}]--[{_NOT_YET_LETTERS}{_NUMBER_SIGNS}]]",
    "Hebrew": r"\p{WB=Hebrew_Letter}",
    "Digit": rf"[[\p{{WB=Numeric}}[\p{{Block=Halfwidth_And_Fullwidth_Forms}}&&\p{{Nd}}]]--[{_NUMBER_SIGNS}]]",
    "Katakana": r"\p{WB=Katakana}",
    "Joiner": r"\p{WB=ExtendNumLet}",
    "MidLetter": rf"[[:\p{{WB=MidLetter}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]--[{_NOT_YET_LETTERS}]]",
    "MidDigit": r"[\uFE10\uFE14\p{WB=MidNum}\p{WB=MidNumLet}\p{WB=Single_Quote}]",
    "Quotes": r"\p{WB=Double_Quote}",
    "Flag": r"\p{WB=Regional_Indicator}",
    "Tone": r"\p{Emoji_Modifier}",
    "Picture": rf"[[\p{{Emoji}}\p{{Extended_Pictographic}}{_ONCE_PICTURES}]"
    r"--[\p{WB=Regional_Indicator}\p{Emoji_Modifier}0-9\#*]]",
    "Mark": rf"[[\p{{WB=Format}}\p{{WB=Extend}}\p{{WB=ZWJ}}{_NUMBER_SIGNS}]--[\uFE0E\uFE0F]]",
}

# Rules WB5 to WB13b.
_RUN = r"""(?:
    (?: <Katakana><X> )++
  | (?: <Hebrew><X> (?: <Quotes><X> <Hebrew><X> | '<X> )
      | <Letter><X> (?: <MidLetter><X> <Letter><X> )*+
      | <Digit><X> (?: <MidDigit><X> <Digit><X> )*+
    )++
)"""
_WORD = rf"(?: <Joiner><X> )*+ {_RUN} (?: (?: <Joiner><X> )++ {_RUN} )*+ (?: <Joiner><X> )*+"

# Unicode Technical Standard 51: a picture or a skin tone with its marks (skin tones are among these), the pictures
# joined to it, and the letters of a region's flag; a key cap; a flag of two letters.
_MARKS = r"(?: (?! \u200D++ <Picture> ) <Mark> )*+"
_PICTURE = rf"\u200D*+ <Picture> {_MARKS} \uFE0F?+"
_EMOJI = rf"""
    (?: {_PICTURE} | <Tone> {_MARKS} ) (?: \u200D {_PICTURE} )*+ (?: [\U000E0020-\U000E007E]++ \U000E007F )?+
  | [\#*] (?: (?!\u20E3) <Mark> )*+ \uFE0F?+ \u20E3 <Mark>*+
  | <Flag><X> <Flag><X>
"""
_UNSPACED = r"\p{Script=Han}<X> | \p{Script=Hiragana}<X> | (?: \p{LB=Complex_Context}<X> )++"

_SIMPLE_CASE = {"\u03a3": "\N{GREEK SMALL LETTER SIGMA}", "\u0130": "i"}


@cache
def _ascii_words() -> re.Pattern[str]:
    return re.compile(_ASCII_WORD, re.ASCII)


@cache
def _unicode_words() -> re.Pattern[str]:
    return compiled(f"{_WORD} | {_EMOJI} | {_UNSPACED}")


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern in which `<NAME>` stands for a class of the annex, compiled."""
    whole = re.sub(r"<(\w+)>", lambda name: _CLASSES[name[1]], pattern)
    return cast("re.Pattern[str]", regex.compile(whole, regex.VERSION1 | regex.VERBOSE))


def lower(text: str) -> str:
    """Lower case character by character, as Lucene does: no final sigma, and a Turkish capital I loses its dot."""
    if not text.isascii():
        for capital, small in _SIMPLE_CASE.items():  # faster than a translation
            text = text.replace(capital, small)
    return text.lower()


def spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Begin, end and text of each word of a text in lower case; a long word comes in its pieces."""
    simple = text.isascii() and "_" not in text  # of which runs are words to the faster pattern alone
    pattern = _ascii_words() if simple else _unicode_words()
    for found in pattern.finditer(text):
        start = found.start()
        for piece in _pieces(pattern, found[0]) if len(found[0]) > LONGEST_WORD else [found[0]]:
            yield start, start + len(piece), piece
            start += len(piece)


def words(text: str) -> list[str]:
    """The words of `text` in order, in lower case. Runs of `_` alone may be among them; `Analyzer` drops these."""
    text = text.lower() if text.isascii() else lower(text)
    is_ascii = text.isascii()
    found = _found_in_ascii(text) if is_ascii else _unicode_words().findall(text)
    if len(text) > LONGEST_WORD and len(max(found, key=len, default="")) > LONGEST_WORD:
        pattern = _ascii_words() if is_ascii else _unicode_words()
        return [piece for word in found for piece in _pieces(pattern, word)]
    return found


def _found_in_ascii(text: str) -> list[str]:
    """The words of ASCII: without marks that may stand in one, they are cut in half of the time of the pattern."""
    characters = text.encode("ascii")
    if characters.translate(None, _NO_MARKS):
        return _ascii_words().findall(text)
    return characters.translate(_SPACED).decode("ascii").split()


def _pieces(pattern: re.Pattern[str], word: str) -> list[str]:
    """A long word as a scanner cuts it that sees `LONGEST_WORD` characters at a time."""
    pieces, start = [], 0
    while start < len(word):
        start = _next_start(pattern, word, start)
        piece = pattern.match(word, start, start + LONGEST_WORD)
        if piece:
            pieces.append(piece[0])
        start = piece.end() if piece else len(word)
    return pieces


def _next_start(pattern: re.Pattern[str], word: str, start: int) -> int:
    found = pattern.search(word, start, start + LONGEST_WORD)
    return found.start() if found else start
