"""Files of information retrieval: runs and judgments, topics, documents; read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.formats.jsonl import JSON_LINES as JSON_LINES
    from nirank.formats.jsonl import is_json_folder as is_json_folder
    from nirank.formats.jsonl import read_jsonl as read_jsonl
    from nirank.formats.markup import INLINE as INLINE
    from nirank.formats.opening import COMPRESSED as COMPRESSED
    from nirank.formats.opening import faults_of as faults_of
    from nirank.formats.opening import opened as opened
    from nirank.formats.subtopics import Subtopics as Subtopics
    from nirank.formats.subtopics import read_subtopics as read_subtopics
    from nirank.formats.tables import is_table as is_table
    from nirank.formats.tables import read_table as read_table
    from nirank.formats.topics import as_windows as as_windows
    from nirank.formats.topics import read_topics as read_topics
    from nirank.formats.trec import Run as Run
    from nirank.formats.trec import read_qrels as read_qrels
    from nirank.formats.trec import read_run as read_run
    from nirank.formats.trec import write_qrels as write_qrels
    from nirank.formats.trec import write_run as write_run

_HOMES = {
    "nirank.formats.jsonl": ["JSON_LINES", "is_json_folder", "read_jsonl"],
    "nirank.formats.markup": ["INLINE"],
    "nirank.formats.opening": ["COMPRESSED", "faults_of", "opened"],
    "nirank.formats.subtopics": ["Subtopics", "read_subtopics"],
    "nirank.formats.tables": ["is_table", "read_table"],
    "nirank.formats.topics": ["as_windows", "read_topics"],
    "nirank.formats.trec": ["Run", "read_qrels", "read_run", "write_qrels", "write_run"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
