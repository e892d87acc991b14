"""Code that lies beside an experiment: run where it is the user's own, asked about where it came with results.

A plugin file that a run copies into its results is remembered by its hash in the cache, so that one's own results run
again; a folder of results that somebody sent is another matter.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from nirank.errors import BadInput
from nirank.files import cache_folder

log = logging.getLogger("nirank")


def remember(path: Path) -> None:
    """Trust the code of a file from now on, wherever a copy of it lies."""
    known = cache_folder() / "trusted" / _hash(path)
    try:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()
    except OSError as error:
        log.warning("%s is trusted for this run only, since that cannot be saved: %s", path, error)


def check(path: Path, came_with_results: bool) -> None:
    """Name the code that is about to run. Raises `BadInput` for code that came with results and is not trusted."""
    if came_with_results and not (cache_folder() / "trusted" / _hash(path)).exists():
        raise BadInput(
            "came with these results, and would run with your rights. Read it; then pass --trust, once.", path
        )
    log.info("The code of %s is run.", path)


def _hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
