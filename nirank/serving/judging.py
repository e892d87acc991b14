"""Judgments of relevance: graded, with annotator and time, kept beside the run and exported as TREC's files."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nirank.data.candidates import Candidates
from nirank.data.ids import Ids
from nirank.data.queries import Queries
from nirank.errors import BadInput, UnknownName
from nirank.formats.column_names import named_columns
from nirank.formats.trec import write_qrels
from nirank.serving.agreement import RULES, Agreement, Rule, agreements
from nirank.serving.ledger import Ledger
from nirank.serving.query_names import QueryNames, cleaned, require_unicode

#: From not relevant at all to perfectly relevant.
GRADES = (0, 1, 2, 3)
FILE = "judgments.jsonl"
_KIND = "nirank judgments 1"
_LONGEST = 200  # characters of a name
#: A query and a document, by their ids.
Pair = tuple[str, str]


@dataclass(frozen=True)
class Judgment:
    """A document's grade for a query, by an annotator, at a time (UTC, ISO 8601). Without a grade, one is withdrawn."""

    query_id: str
    query: str
    document: str
    grade: int | None
    annotator: str
    time: str


class JudgmentStore:
    """The judgments in a folder, which is made; `queries` are those of the collection, whose ids are used.

    Several threads, and several processes, may add to one folder. One that is not `writable` is only read. Raises as
    `Ledger` does.
    """

    def __init__(self, folder: Path, queries: Queries | None = None, writable: bool = True) -> None:
        self.names = QueryNames(queries)
        self._current: dict[tuple[str, str, str], Judgment] = {}
        self._asked: dict[str, str] = {}
        self._mutex = threading.Lock()
        self._ledger = Ledger(Path(folder) / FILE, _KIND, self._take, writable)

    @property
    def path(self) -> Path:
        """The file of judgments."""
        return self._ledger.path

    def add(
        self, query: str | None, document: str, grade: int | None, annotator: str, query_id: str | None = None
    ) -> Judgment:
        """Keep a judgment, on disk before this returns; the grade None withdraws that of the annotator.

        The query is given by its text, its id or both. A text that the collection does not have is given an id, always
        the same. Raises `UnknownName` for an id that is not known, `BadInput` for what is no judgment, and `NotSaved`
        where it could not be written: nothing is lost then, and it can be sent again.
        """
        name = _checked(document, grade, annotator)
        identity, text = self.identify(query, query_id)
        judgment = Judgment(identity, text, document, grade, name, datetime.now(UTC).isoformat())
        self._ledger.append(asdict(judgment))
        return judgment

    def identify(self, query: str | None, query_id: str | None = None) -> Pair:
        """The id and the text of a query, given by either; see `QueryNames.identify`."""
        return self.names.identify(query, query_id, self._asked)

    def current(
        self, query: str | None = None, annotator: str | None = None, query_id: str | None = None
    ) -> list[Judgment]:
        """The judgments that hold: the last of each annotator on each document, unless it is withdrawn.

        They come in the order in which their pairs were first judged; on request those of one text, one id of a query,
        or one annotator.
        """
        self._ledger.read()
        with self._mutex:
            judgments = [each for each in self._current.values() if each.grade is not None]
        text, name = (None if query is None else cleaned(query)), (None if annotator is None else annotator.strip())
        return [
            each
            for each in judgments
            if text in (None, each.query) and name in (None, each.annotator) and query_id in (None, each.query_id)
        ]

    def grades(self) -> dict[str, dict[Pair, int]]:
        """The grades of each annotator, by query and document."""
        grades: dict[str, dict[Pair, int]] = {}
        for each in self.current():
            grades.setdefault(each.annotator, {})[each.query_id, each.document] = each.grade or 0
        return grades

    def documents(self, annotator: str | None = None) -> dict[str, set[str]]:
        """The documents that are judged for each query, by anybody or by one annotator."""
        documents: dict[str, set[str]] = {}
        for each in self.current(annotator=annotator):
            documents.setdefault(each.query_id, set()).add(each.document)
        return documents

    def agreement(self) -> list[Agreement]:
        """The agreement of each two annotators."""
        return agreements(self.grades())

    def resolved(self, annotator: str | None = None, rule: Rule = "median") -> dict[str, dict[str, int]]:
        """One grade for each query and each of its documents: that of an annotator, or by a rule that of all.

        Raises `UnknownName` for an annotator who has judged nothing and for an unknown rule, and `BadInput` where
        nothing is judged.
        """
        if rule not in RULES:
            raise UnknownName("rule for several annotators", rule, RULES)
        judgments = self.current(annotator=annotator)
        if not judgments:
            raise self._nothing(annotator)
        several: dict[str, dict[str, list[int]]] = {}
        for each in judgments:
            several.setdefault(each.query_id, {}).setdefault(each.document, []).append(each.grade or 0)
        resolve = RULES[rule]
        return {
            query: {document: resolve(grades) for document, grades in documents.items()}
            for query, documents in several.items()
        }

    def qrels(self, annotator: str | None = None, rule: Rule = "median") -> str:
        """The judgments as TREC's qrels, which `nirank evaluate` reads.

        Raises as `resolved`, and `BadInput` for ids that TREC's files cannot hold: `json_lines` can.
        """
        resolved = self.resolved(annotator, rule)
        ordinals: dict[str, int] = {}
        rows = [[ordinals.setdefault(each, len(ordinals)) for each in row] for row in resolved.values()]
        judged = Candidates.of(rows, [list(row.values()) for row in resolved.values()])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "qrels"
            write_qrels(path, Queries(list(resolved), [""] * len(resolved)), judged, Ids(list(ordinals)))
            return path.read_text(encoding="utf-8")

    def json_lines(self, annotator: str | None = None, rule: Rule = "median") -> str:
        """The same as JSON lines, which hold any id; `nirank evaluate` reads them from a file named `.jsonl`."""
        return "".join(
            json.dumps({"query_id": query, "doc_id": document, "relevance": grade}, ensure_ascii=False) + "\n"
            for query, row in self.resolved(annotator, rule).items()
            for document, grade in row.items()
        )

    def topics(self) -> str:
        """The queries that are judged, lines of id, tab and text. Raises `BadInput` for an id with white space."""
        asked = {each.query_id: each.query for each in self.current()}
        if not asked:
            raise self._nothing(None)
        for query, text in asked.items():
            if not text or query.split() != [query]:
                what = "has no text" if not text else "has white space in its id, or no id"
                raise BadInput(f"query {query!r} cannot be a line of topics: it {what}.")
        lines = sorted(asked.items(), key=_names_columns)
        if _names_columns(lines[0]):
            raise BadInput(f"{lines[0]} cannot be the first line of topics: it would be read as names of columns.")
        return "".join(f"{query}\t{text}\n" for query, text in lines)

    def _nothing(self, annotator: str | None) -> Exception:
        known = dict.fromkeys(each.annotator for each in self.current())
        if annotator is None or not known:
            return BadInput("nothing is judged yet.")
        return UnknownName("annotator", annotator, known)

    def _take(self, record: Mapping[str, Any]) -> None:
        judgment = Judgment(**record)
        with self._mutex:
            self._current[judgment.query_id, judgment.document, judgment.annotator] = judgment
            self._asked.setdefault(judgment.query_id, judgment.query)


def _names_columns(line: Pair) -> bool:
    """True where the first line of a file of topics would be taken for its heading."""
    return named_columns(line) is not None


def _checked(document: str, grade: int | None, annotator: str) -> str:
    """The name of the annotator without blanks around it. Raises `BadInput` for what is no judgment."""
    if grade is not None and (type(grade) is not int or grade not in GRADES):
        raise BadInput(
            f"the grade is {grade!r}: a whole number from {GRADES[0]} to {GRADES[-1]}, or none, is expected."
        )
    if not document:
        raise BadInput("the document has no id.")
    require_unicode(document, "the document's id")
    require_unicode(annotator, "the annotator's name")
    name = annotator.strip()
    if not 0 < len(name) <= _LONGEST:
        raise BadInput(f"the annotator's name has {len(name)} characters; 1 to {_LONGEST} are expected.")
    return name
