"""Collections from files: BEIR's folders, TREC's corpora, topics and judgments, and plain JSON lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nirank.data import ArrowCorpus, Candidates, Collection, Queries
from nirank.errors import BadInput
from nirank.formats import read_jsonl, read_qrels, read_topics
from nirank_datasets.assemble import judged_collection
from nirank_datasets.candidate_lists import with_candidates
from nirank_datasets.sgml import read_sgml

_JSON_LINES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")


def beir(folder: str | Path, split: str = "test", candidates: str | None = None) -> Collection:
    """A folder in BEIR's layout (Thakur et al. 2021).

    It holds `corpus.jsonl` and `queries.jsonl`, with ids under `_id` or `id`, and the judgments of a split in
    `qrels/SPLIT.tsv`, `qrels.SPLIT.tsv` or `qrels.SPLIT.txt`; those of `test` may also be in `qrels.tsv` or
    `qrels.txt`. Judgments are BEIR's three columns or TREC's four; each file may be gzipped (`.gz`). The queries of
    the collection are those that the split judges. The terms are those of the collection at hand. Counted with
    BEIR's: nfcorpus 3,633 documents and 323 test queries, scifact 5,183 and 300. `candidates` are lists to be ranked by
    `given >> scorer`: "judged", or the path of a TREC run (`nirank_datasets.candidate_lists`).

    Judgments on documents or queries that are not there are counted in warnings of the logger `nirank`;
    those on documents are kept. Raises `BadInput` where a file is missing or malformed.
    """
    path = Path(folder)
    if not path.is_dir():
        raise BadInput("there is no such folder; one with corpus.jsonl, queries.jsonl and qrels is expected.", path)
    named = [f"qrels/{split}.tsv", f"qrels.{split}.tsv", f"qrels.{split}.txt"]
    judgments = _present(path, [*named, "qrels.tsv", "qrels.txt"] if split == "test" else named)
    corpus = read_jsonl(_present(path, ["corpus.jsonl"]))
    queries = _queries(_present(path, ["queries.jsonl"]))
    judged = judged_collection(f"{path.resolve().name}/{split}", corpus, queries, read_qrels(judgments))
    return with_candidates(judged, candidates)


def trec(
    corpus: str | Path,
    topics: str | Path | None = None,
    qrels: str | Path | None = None,
    candidates: str | None = None,
) -> Collection:
    """A collection of TREC's files.

    `corpus` is a file of JSON lines (`.jsonl`, `.jsonl.gz`), or a file or folder of TREC's SGML (`<DOC>` with
    `<DOCNO>`; plain or `.gz`); `topics` are TREC's `<top>` or lines of id, tab and text; `qrels` are TREC's four
    columns. The queries of the collection are those that are judged; warnings and errors are as for `beir`. Without
    both topics and qrels there are only documents, to index and to search; `BadInput` is raised where one is missing.
    `candidates` are as for `beir`. The terms are those of the collection at hand. Counted with the files of Vaswani's:
    11,429 documents, 93 queries.
    """
    path = Path(corpus)
    if (topics is None) != (qrels is None):
        lone = "topics without qrels" if qrels is None else "qrels without topics"
        raise BadInput(f"{lone}: set both or, for the documents alone, neither.", path)
    documents = read_jsonl(path) if path.name.endswith(_JSON_LINES) else read_sgml(path)
    if topics is None or qrels is None:
        return _unjudged(path.resolve().name, documents)
    judged = judged_collection(path.resolve().name, documents, read_topics(topics), read_qrels(qrels))
    return with_candidates(judged, candidates)


def jsonl(path: str | Path) -> Collection:
    """Only documents, from JSON lines such as `{"id": ..., "title": ..., "text": ...}`: to index and to search.

    Raises `BadInput` as `nirank.formats.jsonl.read_jsonl` does.
    """
    return _unjudged(Path(path).name, read_jsonl(Path(path)))


def _unjudged(name: str, corpus: ArrowCorpus) -> Collection:
    return Collection(name, corpus, Queries([], []), Candidates.empty(0, corpus))


def _present(folder: Path, names: Iterable[str]) -> Path:
    names = [variant for name in names for variant in (name, f"{name}.gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadInput(f"none of these files is there: {', '.join(names)}.", folder)


def _queries(path: Path) -> Queries:
    texts: ArrowCorpus = read_jsonl(path)
    return Queries(texts.ids, texts[:])
