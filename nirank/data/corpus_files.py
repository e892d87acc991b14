"""Corpora as files: written beside and moved into place, and kept in the cache."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from nirank.data.arrow_files import map_table, write_batches
from nirank.data.columns import Strings
from nirank.data.corpus import ArrowCorpus
from nirank.data.ids import refuse_repeated
from nirank.errors import BadInput, DamagedFile
from nirank.files import cache_folder
from nirank.seals import sealed

log = logging.getLogger("nirank")

_FORMAT = 1  # of the files in the cache


def write_corpus(
    path: str | Path, batches: Iterable[Mapping[str, Strings]], fields: Sequence[str] = ("title", "text")
) -> ArrowCorpus:
    """Write documents into an Arrow file and open it.

    Each batch maps `"id"` and every field to equally many strings; only one batch is in memory at a time. The
    file is written beside `path` and moved into place. Raises `RepeatedId`, and `BadInput` where no documents
    came.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sealed(path) as unfinished:
        write_batches(unfinished, batches, fields)
        written, _ = map_table(unfinished)
        if not written.num_rows:
            raise BadInput("a corpus without documents cannot be written.", path)
        refuse_repeated(written["id"])
    return ArrowCorpus(path)


def cached_corpus(
    name: str,
    depends_on: Iterable[object],
    batches: Callable[[], Iterable[Mapping[str, Strings]]],
    *,
    fields: Sequence[str] = ("title", "text"),
    cache: str | Path | None = None,
) -> ArrowCorpus:
    """A corpus from the cache; where it is not there yet, it is written from `batches()` as by `write_corpus`.

    What it was made from is told by the printed form of `depends_on`: another source, version or date is another
    corpus. `name` only makes the file recognisable. `cache` is `cache_folder()` if None.
    """
    source = "\n".join(map(str, (_FORMAT, *fields, *depends_on)))
    key = hashlib.blake2b(source.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    path = Path(cache or cache_folder()) / "corpora" / f"{name}-{key}.arrow"
    if path.exists():
        try:
            return ArrowCorpus(path)
        except DamagedFile as fault:
            log.warning("%s It is made again.", fault)
    return write_corpus(path, batches(), fields)
