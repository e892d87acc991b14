"""A plugin of tests, loaded through NIRANK_PLUGINS on every host: an encoder that takes its time, and small ones."""

from __future__ import annotations

import os
import time

import numpy as np

from nirank import hookimpl

#: A content that ends the process that encodes it.
POISON = "poison"


@hookimpl
def nirank_register(registry):
    registry.add("encoder", "slow_letters", "slow_letters:SlowLetters")
    registry.add("encoder", "letter_codes", "slow_letters:LetterCodes")
    registry.add("encoder", "small_colbert", "nirank_late.tiny:encoder")
    registry.add("encoder", "small_splade", "nirank_sparse.tiny:encoder")


class SlowLetters:
    """Counts letters, adds what depends on the whole batch, and takes some seconds for each."""

    vectors = "dense"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    @property
    def fingerprint(self):
        return f"slow letters {os.environ.get('SLOW_LETTERS', '')}"

    def encode_documents(self, contents):
        time.sleep(self.seconds)
        if POISON in contents:
            os._exit(9)
        counts = np.array([np.bincount([ord(one) % 16 for one in text], minlength=16) for text in contents], np.float32)
        return counts / (1 + counts.sum(0))

    def encode(self, queries):
        return self.encode_documents(queries.contents)


class LetterCodes:
    """Codes a text by its letters, two bytes each, with what depends on the whole batch."""

    vectors, fingerprint = "codes", "letter codes"

    def encode_documents(self, contents):
        padded = [(text + " " * 6)[:6] for text in contents]
        return np.array([[ord(one) + len(contents) % 7 for one in text] for text in padded], np.uint16)

    def encode(self, queries):
        return np.ones((len(queries), 6, 300), np.float32)
