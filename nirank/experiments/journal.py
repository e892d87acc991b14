"""A journal of trials: a line of JSON for each, so that what was killed goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nirank.errors import BadInput

Record = dict[str, Any]


class Journal:
    """Records under a number and a part of the queries, in a file that grows; in memory where there is no path.

    The first line is the `head`, which says what they follow from. Raises `BadInput` where that of the file differs.
    """

    def __init__(self, path: Path | None, head: Mapping[str, Any]) -> None:
        self.path = path
        self.known: dict[tuple[int, int], Record] = {}
        if path is not None and path.exists():
            self._read(path, dict(head))
        else:
            self._append(dict(head))

    def find(self, number: int, part: int) -> Record | None:
        """The record of a trial on a part of the queries, if it was kept."""
        return self.known.get((number, part))

    def keep(self, number: int, part: int, record: Record) -> None:
        """Keep a record, and write it before anything else is done."""
        self.known[number, part] = record
        self._append({"number": number, "part": part, **record})

    def _read(self, path: Path, head: Record) -> None:
        whole = path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]  # the last line may have been cut off when the process was killed
        if not kept and _line(head).startswith(whole):  # which was the first one
            os.truncate(path, 0)
            self._append(head)
            return
        try:
            written, *records = map(json.loads, kept.decode().split("\n")[:-1] or ["{}"])
            self.known = {(record.pop("number"), record.pop("part")): record for record in records}
        except (ValueError, KeyError, AttributeError) as error:
            raise BadInput(f"is damaged ({error}): remove it to begin anew.", path) from None
        head = as_kept(head)
        if differs := [key for key in {**head, **written} if head.get(key) != written.get(key)]:
            raise BadInput(f"is of another tuning: {', '.join(differs)} differ. Name another folder.", path)
        if kept != whole:
            os.truncate(path, len(kept))

    def _append(self, line: Record) -> None:
        if self.path is None:
            return
        with self.path.open("ab") as file:
            file.write(_line(line))
            file.flush()
            os.fsync(file.fileno())


def as_kept(value: Any) -> Any:
    """A value as it is when it is read again."""
    return json.loads(json.dumps(value, default=str))


def _line(record: Record) -> bytes:
    """A line of JSON; what no text can have in UTF-8, such as half of a pair of surrogates, as JSON escapes it."""
    return (json.dumps(record, ensure_ascii=False, default=str) + "\n").encode("utf-8", "backslashreplace")
