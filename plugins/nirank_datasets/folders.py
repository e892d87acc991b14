"""Collections from files: BEIR's folders, TREC's corpora, topics and judgments, and plain JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nirank.data import ArrowCorpus, Candidates, Collection, Queries
from nirank.errors import BadInput
from nirank.formats import JSON_LINES, is_json_folder, is_table, read_jsonl, read_qrels, read_table, read_topics
from nirank_datasets.assemble import judged_collection
from nirank_datasets.candidate_lists import with_candidates
from nirank_datasets.sgml import read_sgml

_PACKED = ("", ".gz", ".bz2", ".xz", ".zst")


def beir(folder: str | Path, split: str = "test", candidates: str | None = None) -> Collection:
    """A folder in BEIR's layout (Thakur et al. 2021).

    It holds `corpus.jsonl` and `queries.jsonl`, with ids under `_id` or `id`, and the judgments of a split in
    `qrels/SPLIT.tsv`, `qrels.SPLIT.tsv` or `qrels.SPLIT.txt`; those of `test` may also be in `qrels.tsv` or
    `qrels.txt`. Judgments are BEIR's three columns or TREC's four, or `.jsonl`, `.csv` or `.parquet` with such columns,
    as the hub has them. Each file may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`); documents, queries and judgments
    may be tables (`.parquet`, `.tsv`, `.csv`) or folders of shards, `corpus`, `queries` and `qrels`. The queries of the
    collection are those that the split judges. The terms are those of the collection at hand. Counted with BEIR's:
    nfcorpus 3,633 documents and 323 test queries, scifact 5,183 and 300. `candidates` are lists to be ranked by
    `given >> scorer`: "judged", or the path of a TREC run (`nirank_datasets.candidate_lists`).

    Judgments on documents or queries that are not there are counted in warnings of the logger `nirank`;
    those on documents are kept. Raises `BadInput` where a file is missing or malformed.
    """
    path = Path(folder)
    if not path.is_dir():
        raise BadInput("there is no such folder; one with corpus.jsonl, queries.jsonl and qrels is expected.", path)
    judgments = _judgments_of(path, split)
    corpus, asked = _part(path, "corpus"), _part(path, "queries")
    queries = Queries(asked.ids, asked[:])
    judged = judged_collection(f"{path.resolve().name}/{split}", corpus, queries, read_qrels(judgments))
    return with_candidates(judged, candidates)


def trec(
    corpus: str | Path,
    topics: str | Path | None = None,
    qrels: str | Path | None = None,
    candidates: str | None = None,
    fields: str | Sequence[str] = "title",
) -> Collection:
    """A collection of TREC's files.

    `corpus` is a file of JSON lines (`.jsonl`, `.json`), a table (`.tsv` as MS MARCO's, `.csv`, `.parquet`, a folder
    of Parquet or Arrow shards), or a file or folder of TREC's SGML (`<DOC>` with `<DOCNO>`); each may be compressed
    (`.gz`, `.bz2`, `.xz`, `.zst`). `topics` are TREC's `<top>`, of which the `fields` are asked ("title", or
    `["title", "desc"]`), or lines of id, tab and text; `qrels` are TREC's four columns. The queries of the collection
    are those that are judged; warnings and errors are as for `beir`. Without both topics and qrels there are only
    documents, to index and to search; `BadInput` is raised where one is missing. `candidates` are as for `beir`. The
    terms are those of the collection at hand. Counted with the files of Vaswani's: 11,429 documents, 93 queries.
    """
    path = Path(corpus)
    if (topics is None) != (qrels is None):
        lone = "there are topics without qrels" if qrels is None else "there are qrels without topics"
        raise BadInput(f"{lone}: set both or, for the documents alone, neither.", path)
    documents = _documents(path)
    if topics is None or qrels is None:
        return _unjudged(path.resolve().name, documents)
    asked = read_topics(topics, [fields] if isinstance(fields, str) else list(fields))
    judged = judged_collection(path.resolve().name, documents, asked, read_qrels(qrels))
    return with_candidates(judged, candidates)


def jsonl(path: str | Path) -> Collection:
    """Only documents, from JSON lines such as `{"id": ..., "title": ..., "text": ...}`: to index and to search.

    Tables (`.tsv`, `.csv`, `.parquet`, a folder of shards) are read by their endings. Raises `BadInput` as
    `nirank.formats.jsonl.read_jsonl` does.
    """
    path = Path(path)
    return _unjudged(path.name, read_table(path) if path.exists() and is_table(path) else read_jsonl(path))


def _documents(path: Path) -> ArrowCorpus:
    if path.name.lower().endswith(JSON_LINES):
        return read_jsonl(path)
    if path.exists() and is_table(path):
        return read_table(path)
    return read_jsonl(path) if is_json_folder(path) else read_sgml(path)


def _unjudged(name: str, corpus: ArrowCorpus) -> Collection:
    return Collection(name, corpus, Queries([], []), Candidates.empty(0, corpus))


def _present(folder: Path, names: Iterable[str]) -> Path:
    names = list(names)
    for name in (name + packed for name in names for packed in _PACKED):
        if (folder / name).is_file():
            return folder / name
    looked = [variant for name in names for variant in (name, f"{name}.gz")]
    raise BadInput(f"none of these files is there: {', '.join(looked)}.", folder)


def _judgments_of(folder: Path, split: str) -> Path:
    """The judgments of a split: a file, one shard of the split, or a folder of shards."""
    named = [f"qrels/{split}.tsv", f"qrels.{split}.tsv", f"qrels.{split}.txt"]
    named += ["qrels.tsv", "qrels.txt"] if split == "test" else []
    tables = [
        f"{name}{ending}" for name in (f"qrels/{split}", f"qrels.{split}") for ending in (".jsonl", ".csv", ".parquet")
    ]
    shards = [shard for place in ("qrels", "data", "default") for shard in folder.glob(f"{place}/{split}-*.parquet")]
    folders = [folder / "qrels" / split, *([folder / "qrels"] if (folder / "qrels" / "state.json").exists() else [])]
    found = [place for place in folders if place.is_dir() and is_table(place)]
    if any((folder / (name + packed)).is_file() for name in (*named, *tables) for packed in _PACKED):
        return _present(folder, [*named, *tables])
    if len(shards) > 1:
        raise BadInput(f"{len(shards)} shards of judgments of {split}: put them into a folder qrels/{split}.", folder)
    return next(iter([*shards, *found]), None) or _present(folder, named)


def _part(folder: Path, name: str) -> ArrowCorpus:
    """The documents or queries of a BEIR folder: JSON lines, or a table or a folder of shards of that name."""
    tables = [folder / name, *(folder / f"{name}{ending}" for ending in (".parquet", ".tsv", ".csv"))]
    table = next((each for each in tables if each.exists() and is_table(each)), None)
    lines = any((folder / f"{name}.jsonl{packed}").is_file() for packed in _PACKED)
    return read_table(table) if table and not lines else read_jsonl(_present(folder, [f"{name}.jsonl"]))
