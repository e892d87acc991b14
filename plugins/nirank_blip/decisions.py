"""What a filter says of each pair, kept in a folder part by part, and what came of it.

capfilt.json          how many pairs were kept, and the threshold
queries.jsonl         the texts of the collection that is trained with, a line each with `_id` and `text`
qrels.txt             its pairs, as TREC's judgments
noisy-000000.npy ...  the scores of some pairs each; written last is capfilt.json
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Collection, Floats, Queries, content_bytes
from nirank.errors import BadInput, DamagedFile
from nirank.kit import beside, digest, progress
from nirank.pipeline import Scoring, Stage

SUMMARY, PAIRS, KNOWN, TEXTS = "capfilt.json", "pairs.jsonl", "filter.json", "written.json"
#: Where folders are made for filters that are given none, as the command `nirank capfilt` does.
PLACE: ContextVar[Path | None] = ContextVar("place", default=None)
#: Pairs that are scored at once, and kept.
_TOGETHER = 1 << 14


class Decisions:
    """Scores pairs by a filter; in a folder, if there is one, where an interrupted filter goes on.

    Raises `BadInput` for a folder that has what another filter said, or of other pairs.
    """

    def __init__(self, folder: Path | None, by: Scoring, sources: Sequence[Collection], writer: Any = None) -> None:
        place, self.by = PLACE.get(), by
        self.folder = folder
        if folder is None and place is None:
            return
        place = place or Path()
        known = digest([_known(by), *map(_pairs_known, sources), _known(writer) if writer is not None else None])
        self.folder = _opened(folder or place / known[:12], known)

    def scores(self, name: str, queries: Queries, pairs: Candidates) -> Floats:
        """The scores of pairs, float32 `[pairs]`, some thousand at a time."""
        found = np.empty(pairs.pairs, np.float32)
        with progress(f"Filtering {name} pairs", pairs.pairs) as advance:
            for start in range(0, pairs.pairs, _TOGETHER):
                stop = min(start + _TOGETHER, pairs.pairs)
                found[start:stop] = self._part(f"{name}-{start // _TOGETHER:06}.npy", queries, pairs, start, stop)
                advance(stop - start)
        return found

    def texts(self, write: Callable[[], Sequence[str]]) -> list[str]:
        """What a writer writes, once."""
        if self.folder is None:
            return list(write())
        path = self.folder / TEXTS
        if not path.exists():
            _save(path, list(write()))
        return list(_read(path))

    def write(self, collection: Collection, told: Mapping[str, Any]) -> None:
        """Write the collection that came of it, and the counts."""
        if self.folder is None:
            return
        pairs, texts = collection.judgments, collection.queries.contents
        with beside(self.folder / PAIRS) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            for row, name in zip(pairs.rows.tolist(), collection.corpus.ids.take(pairs.docs), strict=True):
                file.write(json.dumps({"document": name, "text": texts[row]}, ensure_ascii=False) + "\n")
        _save(self.folder / SUMMARY, dict(told))

    def _part(self, name: str, queries: Queries, pairs: Candidates, start: int, stop: int) -> Floats:
        path = self.folder / name if self.folder else None
        if path is not None and path.exists():
            try:
                kept: Floats = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise DamagedFile(
                    f"is damaged: {error}. Delete it; its pairs are then filtered again.", path
                ) from error
            if kept.shape != (stop - start,):
                raise DamagedFile("has not the scores of its pairs. Delete it; they are then filtered again.", path)
            return kept
        rows, part = pairs.cut(start, stop)
        scores = np.asarray(self.by.score(queries.take(rows), part), np.float32)
        if path is not None:
            with beside(path) as unfinished, unfinished.open("wb") as file:
                np.save(file, scores)
        return scores


def summary(folder: Path) -> dict[str, Any]:
    """What was kept, as `capfilt.json` says. Raises `DamagedFile` where it cannot be read."""
    return dict(_read(folder / SUMMARY))


def _opened(folder: Path, known: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / KNOWN
    if not path.exists():
        if any(folder.iterdir()):
            raise BadInput("is no folder of capfilt, and not empty: name another one.", folder)
        _save(path, {"filter": known})
    elif _read(path).get("filter") != known:
        raise BadInput("holds what another filter said, or of other pairs: name another folder.", folder)
    return folder


def _known(by: Any) -> Any:
    """What the scores of a filter, or the texts of a writer, depend on; refused where that is not known."""
    if not isinstance(by, Stage) or not by.component.recognised:
        raise BadInput(
            f"{by!r}: nothing tells whether it is the same in another process, so that what it says cannot be kept. "
            "Leave `kept` out, or give its class an attribute `fingerprint`."
        )
    return by.component.fingerprint


def _pairs_known(collection: Collection) -> list[str]:
    judged = collection.judgments
    texts = [content_bytes(content).hex() for content in collection.queries.contents]
    columns = [column.tobytes().hex() for column in (judged.offsets, judged.docs, judged.scores)]
    return [collection.corpus.fingerprint, digest(columns), digest(texts)]


def _save(path: Path, value: Any) -> None:
    with beside(path) as unfinished:
        unfinished.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedFile(f"cannot be read: {error}", path) from error
