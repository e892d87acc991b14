"""Word pieces learned from texts: a tokenizer as BERT has it, the same each time that it is learned.

Schuster and Nakajima, Japanese and Korean Voice Search, ICASSP 2012. The library `tokenizers` finds the pieces.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nirank.data.types import Content
from nirank.errors import BadInput

#: The tokens that every vocabulary begins with, as BERT's do.
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_LETTERS = 1000  # that words are made of; those that are rarer are left out


def texts_of(*contents: Sequence[Content]) -> list[str]:
    """The texts among some contents, each once. Raises `BadInput` where there are none."""
    texts = list(dict.fromkeys(each for some in contents for each in some if isinstance(each, str)))
    if not any(text.strip() for text in texts):
        raise BadInput("there are no texts to learn a vocabulary from: no query is a text, and no document.")
    return texts


def learned_tokenizer(texts: Iterable[str], vocabulary: int, least: int, longest: int) -> Any:
    """BERT's tokenizer over pieces of the words of texts: at most `vocabulary`, of words that occur `least` times.

    It reads `longest` tokens of a text.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _tokenizer(texts, vocabulary, least, longest, Path(folder))


def _tokenizer(texts: Iterable[str], vocabulary: int, least: int, longest: int, folder: Path) -> Any:
    """BERT's tokenizer over pieces of the words of texts; its vocabulary is written into `folder`."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    learner = BertWordPieceTokenizer()
    words = [_words(learner, text) for text in texts]
    room = max(1, min(_LETTERS, (vocabulary - len(SPECIAL)) // 2))
    letters = _letters(words, room)
    known = {*letters}
    kept = [" ".join("".join(filter(known.__contains__, word)) for word in some) for some in words]
    # Named before, letters and the ends of words have numbers of their own; else these would be others each time.
    first = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    size = max(vocabulary, len(first))
    learner.train_from_iterator(
        kept, size, min_frequency=least, limit_alphabet=2 * _LETTERS, special_tokens=first, show_progress=False
    )
    learner.save_model(str(folder))
    return BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=longest)


def _words(learner: Any, text: str) -> list[str]:
    """The words of a text, as BERT parts and spells them."""
    readable = text.encode("utf-8", "replace").decode()
    tokenizer = learner._tokenizer
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(readable))]


def _letters(words: Iterable[Sequence[str]], most: int) -> list[str]:
    """The letters that come most often, at most so many, in their order in Unicode."""
    counts = Counter(letter for some in words for word in some for letter in word)
    return sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[:most])
