"""A plugin of tests, loaded through NIRANK_PLUGINS on every host: an encoder that takes its time."""

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
