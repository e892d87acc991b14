"""The errors of reading a file, plain or gzipped, in one wording."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nirank.errors import BadInput


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Raise `BadInput` with `path` where the block fails to read it: missing, forbidden, or cut off or spoilt gzip."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise BadInput(f"this is not a complete gzip file: {fault}.", path) from fault
    except OSError as fault:
        raise BadInput(f"the file cannot be read: {fault.strerror or fault}.", path) from fault
