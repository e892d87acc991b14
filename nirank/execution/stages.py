"""The execution of stages where no plugin steps in: dispatched through their hooks and run in batches.

The functions without a prefix dispatch a stage (`encode`, `generate`, `score`, `extract`, `loss`); the hook
implementations below them are the core's own plugin, asked last.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.arrays import to_numpy
from nirank.data.batches import (
    Batch,
    ContentBatch,
    Pairs,
    QueryBatch,
    by_length,
    concatenate,
    cuts,
    first_of_equal,
    first_of_equal_documents,
    similarities,
)
from nirank.data.candidates import Candidates
from nirank.data.corpus import field_of
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Floats
from nirank.data.vectors import Vectors
from nirank.errors import BadInput, ComponentError
from nirank.execution.sharing import Memo, Same, once
from nirank.hooks import hookimpl
from nirank.plugins.loading import active
from nirank.progress import progress

log = logging.getLogger("nirank")

_TRAINING = ContextVar("training", default=False)
_SEARCH: ContextVar[_Search | None] = ContextVar("search", default=None)


@dataclass
class _Search:
    """A search of one pipeline: its open indexes of vectors, and the queries that were encoded."""

    indexes: Sequence[Component]
    encoded: Memo = field(default_factory=Memo)


@contextlib.contextmanager
def searching(indexes: Iterable[Component]) -> Iterator[None]:
    """Inside the block one pipeline is searched, and nothing is encoded twice.

    Queries are encoded once by each encoder. Documents of which one of the pipeline's `indexes` keeps the vectors are
    not encoded at all, where index and encoder fit by their fingerprints.
    """
    token = _SEARCH.set(_Search([index for index in indexes if index.can("vectors_of")]))
    try:
        yield
    finally:
        _SEARCH.reset(token)


def encode(encoder: Component, queries: Queries) -> Queries:
    """The queries with the vectors that `encoder` makes of them."""
    search = _SEARCH.get()
    if search is None or encoder.traits.feedback:
        return _encoded(encoder, queries)
    return search.encoded.recall((Same(encoder), Same(queries)), lambda: _encoded(encoder, queries))


def _encoded(encoder: Component, queries: Queries) -> Queries:
    return once("encode", encoder, (queries,), lambda: _encode(encoder, queries))


def _encode(encoder: Component, queries: Queries) -> Queries:
    with _Noted(encoder, "encode", queries=len(queries)):
        read = queries if queries.found is None else queries.with_found(as_read(encoder, queries.found))
        vectors = active().hook.nirank_encode(encoder=encoder, queries=read)
        _refuse_nan_vectors(encoder, vectors)
    return queries.with_vectors(vectors)


def rewrite(rewriter: Component, queries: Queries) -> Queries:
    """The queries as `rewriter` writes them, under their ids.

    Raises `ComponentError` for another number of them or other ids, and for what is no content.
    """
    with _Noted(rewriter, "rewrite", queries=len(queries)):
        read = queries if queries.found is None else queries.with_found(as_read(rewriter, queries.found))
        made = active().hook.nirank_rewrite(rewriter=rewriter, queries=read)
        contents = made.contents if isinstance(made, Queries) else made
        _checked(rewriter, "rewrite", contents, len(queries))
        if isinstance(made, Queries) and list(made.ids) != list(queries.ids):
            raise ComponentError(f"{rewriter.spec} returned queries of other ids; ids and their order stay.")
        if wrong := [content for content in contents if not is_content(content)]:
            raise ComponentError(f"{rewriter.spec} returned {wrong[0]!r:.80}, which is no query (a text or an image).")
        _tell_of_empty(rewriter, contents)
    return replace(queries, contents=contents, vectors=None)


def is_content(value: Any) -> bool:
    """True for a text, and for what may be an image."""
    return isinstance(value, (str, bytes, PurePath)) or hasattr(value, "mode")


def generate(generator: Component, queries: Queries, k: int, documents: int) -> Candidates:
    """At most `k` of so many documents for each query. Raises `ComponentError` for what is no ranking of them."""
    try:  # which costs nothing where all is well, unlike the `with` of other stages
        if active().manager.sole.get("nirank_generate") is nirank_generate:  # in a tenth of the time of a hook's call
            found: Any = nirank_generate(generator, queries, k)
        else:
            found = active().hook.nirank_generate(generator=generator, queries=queries, k=k)
        check_ranking(generator, found, len(queries), k, documents)
        ranking: Candidates = found
        return ranking
    except Exception as error:
        _note(error, generator, "generate", queries=len(queries), k=k)
        raise


def score(scorer: Component, queries: Queries, candidates: Candidates) -> Floats:
    """One float32 for each pair. Raises `ComponentError` for another shape, or for scores that are no numbers.

    Raises `BadInput` for documents that their corpus does not have.
    """
    return once("score", scorer, (queries, candidates), lambda: _score(scorer, queries, candidates))


def _score(scorer: Component, queries: Queries, candidates: Candidates) -> Floats:
    with _Noted(scorer, "score", queries=len(queries), pairs=candidates.pairs):
        refuse_strangers(scorer.name, candidates)
        read = as_read(scorer, candidates)
        scores = _numbers(scorer, active().hook.nirank_score(scorer=scorer, queries=queries, candidates=read))
        if scores.shape != (candidates.pairs,):
            raise ComponentError(
                f"{scorer.spec} returned scores of shape {scores.shape} for {candidates.pairs} pairs; "
                "one score per pair is expected."
            )
        _refuse_nan(scorer, scores)
        return scores.astype(np.float32, copy=False)


def explain(component: Component, queries: Queries, candidates: Candidates) -> list[Explanation]:
    """One explanation for each pair, by the component's own method `explain`.

    Raises `ComponentError` for another number of them, or where the parts of one do not add up to its score. Marks in
    documents are those of their contents: of a component that reads a field there are none.
    """
    with _Noted(component, "explain", queries=len(queries), pairs=candidates.pairs):
        refuse_strangers(component.name, candidates)
        with _inference(component.target):
            made = component.target.explain(queries, as_read(component, candidates))
        found = [*_checked(component, "explain", made, candidates.pairs)]
        _refuse_what_does_not_add_up(component, found)
    return found if component.field is None else [each.without_document_marks() for each in found]


def _refuse_what_does_not_add_up(component: Component, found: Sequence[Any]) -> None:
    for each in found:
        if not isinstance(each, Explanation):
            raise ComponentError(f"{component.spec} explained a score by {each!r:.80}; an Explanation is expected.")
        if not each.adds_up():
            raise ComponentError(
                f"{component.spec} explained the score {each.score:.8g} by parts that leave {each.missing:.3g} over "
                "(or a part by its own); what is not explained is a part of its own, such as a rest."
            )


def extract(extractor: Component, queries: Queries, candidates: Candidates) -> Floats:
    """The features of each pair, float32 `[pairs, names]`. Raises as `score` does."""
    return once("extract", extractor, (queries, candidates), lambda: _extract(extractor, queries, candidates))


def _extract(extractor: Component, queries: Queries, candidates: Candidates) -> Floats:
    with _Noted(extractor, "extract", queries=len(queries), pairs=candidates.pairs):
        read = as_read(extractor, candidates)
        values = _numbers(extractor, active().hook.nirank_score(scorer=extractor, queries=queries, candidates=read))
        expected = (candidates.pairs, len(extractor.target.names))
        if values.shape != expected:
            raise ComponentError(
                f"{extractor.spec} returned features of shape {values.shape}; {expected} is expected, [pairs, names]."
            )
        return values.astype(np.float32, copy=False)


def write(writer: Component, contents: Sequence[Content]) -> list[str]:
    """The text that a writer writes for each content; of several each stands on a line of its own.

    Raises `ComponentError` for another number of texts, or for what is none.
    """
    with _Noted(writer, "write", documents=len(contents)):
        written = active().hook.nirank_write(writer=writer, contents=contents)
        return [_lines(writer, each) for each in _checked(writer, "write", written, len(contents))]


def loss(component: Component, scores: Any, labels: Any, mask: Any, **more: Any) -> Any:
    """The loss of a batch of lists; `scores`, `labels` and `mask` are `[lists, length]`."""
    with _Noted(component, "loss", lists=len(scores)):
        return active().hook.nirank_loss(loss=component, scores=scores, labels=labels, mask=mask, more=more)


def encode_documents(encoder: Component, contents: Sequence[Content], what: str = "Encoding documents") -> Vectors:
    """Encode documents in batches of similar length; the vectors come in the order of the documents."""
    with _Noted(encoder, "encode_documents", documents=len(contents)):
        call = encoder.around("encode_documents", lambda contents: _sorted_batches(encoder, contents, what))
        vectors = call(contents)
        _refuse_nan_vectors(encoder, vectors)
        return vectors


@dataclass(frozen=True, eq=False)
class Encoding:
    """Encodes documents for an index: some contents, or ranges of a corpus, wherever a plugin has that done.

    `known` are the vectors of all documents where these are known, `[documents, dim]`: contents are their numbers then.
    """

    encoder: Component
    known: Floats | None = None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder."""
        return self.encoder.fingerprint

    def __call__(self, contents: Sequence[Content]) -> Vectors:
        """The vectors of contents, in their order."""
        if self.known is not None:
            return self.known[np.asarray(contents, np.int64)]
        return encode_documents(self.encoder, contents)

    def of_ranges(self, corpus: Corpus, ranges: Sequence[range]) -> Iterator[tuple[range, Vectors]]:
        """The vectors of each range of documents, in any order, through the hook."""
        if self.known is not None:
            yield from ((one, self.known[one.start : one.stop]) for one in ranges)
        elif ranges:
            yield from self._of_ranges(corpus, ranges)

    def _of_ranges(self, corpus: Corpus, ranges: Sequence[range]) -> Iterator[tuple[range, Vectors]]:
        for made in active().hook.nirank_encode_corpus(encoder=self.encoder, corpus=corpus, ranges=ranges):
            if isinstance(made, tuple) and len(made) == 2:  # who writes them refuses all else
                _refuse_nan_vectors(self.encoder, made[1])
            yield made


def as_read(component: Component, candidates: Candidates) -> Candidates:
    """The candidates as documents that a component reads: of a field of the corpus, where it is set to read one."""
    if component.field is None or candidates.corpus is None:
        return candidates
    return candidates.over(field_of(candidates.corpus, component.field))


def forward(component: Component, method: str, batch: Batch) -> Any:
    """Run one method of a component on one batch, through the hook."""
    return active().hook.nirank_forward(component=component, method=method, batch=batch)


@contextlib.contextmanager
def training() -> Iterator[None]:
    """Inside the block `forward` leaves the component in the mode it is in, and keeps what gradients need."""
    token = _TRAINING.set(True)
    try:
        yield
    finally:
        _TRAINING.reset(token)


@hookimpl(trylast=True)
def nirank_write(writer: Component, contents: Sequence[Content]) -> Any:
    """Write in batches."""

    def call(contents: Sequence[Content]) -> Any:
        return _batched(writer, "write", ContentBatch(contents), f"Writing with {writer.name}")

    return writer.around("write", call)(contents)


@hookimpl(trylast=True)
def nirank_encode(encoder: Component, queries: Queries) -> Vectors:
    """Encode the queries in batches."""

    def call(queries: Queries) -> Vectors:
        return _batched(encoder, "encode", QueryBatch(queries), "Encoding queries")

    return encoder.around("encode", call)(queries)


@hookimpl(trylast=True)
def nirank_encode_corpus(
    encoder: Component, corpus: Corpus, ranges: Sequence[range]
) -> Iterator[tuple[range, Vectors]]:
    """Encode one range after the other, here."""
    return ((one, encode_documents(encoder, corpus[one.start : one.stop])) for one in ranges)


@hookimpl(trylast=True)
def nirank_open_shard(opening: Any, on: str, threads: int) -> Any:
    """Open it on this machine, where that is what is asked for."""
    from nirank.execution.shards.hosts import opened_on_this_machine  # which most searches do without

    return opened_on_this_machine(opening, on, threads)


@hookimpl(trylast=True)
def nirank_rewrite(rewriter: Component, queries: Queries) -> Any:
    """Have the queries rewritten in batches."""

    def call(queries: Queries) -> Any:
        return _batched(rewriter, "rewrite", QueryBatch(queries), "Rewriting queries")

    return rewriter.around("rewrite", call)(queries)


@hookimpl(trylast=True)
def nirank_generate(generator: Component, queries: Queries, k: int) -> Candidates:
    """Ask the generator with all queries at once; it batches them as it likes."""
    generate = generator.target.generate
    found: Candidates = (generator.around("generate", generate) if generator.middleware else generate)(queries, k)
    return found


@hookimpl(trylast=True)
def nirank_score(scorer: Component, queries: Queries, candidates: Candidates) -> Any:
    """Score or describe the pairs in batches; what encodes both sides scores by the dot product of their vectors."""
    method = "extract" if scorer.can("extract") else "score"
    if not candidates.pairs:
        return np.empty((0, len(scorer.target.names)) if method == "extract" else 0, np.float32)
    if not scorer.can(method):
        return _similarity(scorer, queries, candidates)

    def call(queries: Queries, candidates: Candidates) -> Any:
        return _scored_once(scorer, method, Pairs(queries, candidates))

    return scorer.around(method, call)(queries, candidates)


@hookimpl(trylast=True)
def nirank_forward(component: Component, method: str, batch: Batch) -> Any:
    """Call the component's own method; without gradients, unless it is in `training`."""
    with contextlib.nullcontext() if _TRAINING.get() else _inference(component.target):
        return batch.run(component.target, method)


@hookimpl(trylast=True)
def nirank_loss(loss: Component, scores: Any, labels: Any, mask: Any, more: dict[str, Any]) -> Any:
    """Call the loss."""
    return loss.target(scores, labels, mask, **more)


def _similarity(encoder: Component, queries: Queries, candidates: Candidates) -> Any:
    """Score by dot products; each distinct document is encoded once, however many queries it is a candidate of.

    It is not encoded where an index of the pipeline keeps its vector.
    """
    corpus = candidates.corpus_for(encoder.spec)
    docs, inverse = np.unique(candidates.docs, return_inverse=True)
    left, index = encode(encoder, queries).vectors, _index_of(encoder, corpus)
    if index:
        right = index.target.vectors_of(docs)
    else:
        right = encode_documents(encoder, corpus[docs], f"Encoding documents with {encoder.name}")
    return similarities(left, right, candidates.rows, inverse)


def _index_of(encoder: Component, corpus: Corpus) -> Component | None:
    """An open index, of the pipeline that is searched, of the vectors that `encoder` makes of this corpus."""
    search = None if _TRAINING.get() else _SEARCH.get()
    return next((index for index in search.indexes if _keeps(index, encoder, corpus)), None) if search else None


def _keeps(index: Component, encoder: Component, corpus: Corpus) -> bool:
    opened = index.opened
    if not opened or not opened.encoder or opened.encoded != encoder.fingerprint:
        return False
    return opened.corpus is corpus or opened.corpus.fingerprint == corpus.fingerprint


def _scored_once(scorer: Component, method: str, pairs: Pairs) -> Any:
    """Score a query's equal documents once, so that they tie whatever batch each would have been in."""
    what = f"Scoring with {scorer.name}"
    once = _distinct_pairs(pairs) if method == "score" and _reads_contents(scorer) else None
    if once is None:
        return _batched(scorer, method, pairs, what)
    kept, places = once
    return to_numpy(_batched(scorer, method, Pairs(pairs.queries, pairs.candidates.where(kept)), what))[places]


def _reads_contents(scorer: Component) -> bool:
    """Tell whether a score follows from the contents of query and document, and from nothing else."""
    traits = scorer.traits
    reads = traits.reads in ("text", "images", "either", "images by text")
    return reads and traits.cacheable and not traits.listwise and not scorer.can("build")


def _distinct_pairs(pairs: Pairs) -> tuple[NDArray[np.bool_], NDArray[np.int64]] | None:
    """A mask of the first of each query's equal documents, `[pairs]`, and for every pair its place among these."""
    candidates = pairs.candidates
    if candidates.corpus is None:
        return None
    docs, places = np.unique(candidates.docs, return_inverse=True)
    firsts = first_of_equal_documents(candidates.corpus, docs)
    if firsts is not None:
        places = firsts[places]
    _, first, number = np.unique(candidates.rows * len(docs) + places, return_index=True, return_inverse=True)
    if len(first) == len(pairs):
        return None
    kept = np.zeros(len(pairs), bool)
    kept[first] = True
    return kept, (np.cumsum(kept) - 1)[first][number]


def _sorted_batches(encoder: Component, contents: Sequence[Content], what: str) -> Vectors:
    """Encode equal contents once, and those of similar length together."""
    firsts = first_of_equal(contents)
    if firsts is None:
        return _by_length(encoder, contents, what)
    distinct, places = np.unique(firsts, return_inverse=True)
    return _by_length(encoder, [contents[place] for place in distinct.tolist()], what)[places]


def _by_length(encoder: Component, contents: Sequence[Content], what: str) -> Vectors:
    order = by_length(contents)
    if order is None or len(contents) < 2:
        return _batched(encoder, "encode_documents", ContentBatch(contents), what)
    vectors = _batched(encoder, "encode_documents", ContentBatch([contents[i] for i in order]), what)
    return vectors[np.argsort(order)]


def _batched(component: Component, method: str, batch: Batch, what: str) -> Any:
    size, listwise = component.traits.batch_size, component.traits.listwise
    results = []
    with progress(what, len(batch)) if size and len(batch) > size else _silent() as advance:
        for part in cuts(batch, size, whole_queries=listwise):
            results.append(_checked(component, method, forward(component, method, part), len(part)))
            advance(len(part))
    return concatenate(results)


def _lines(writer: Component, written: Any) -> str:
    """One text, or several, as lines: white space within a text is a blank."""
    texts = [written] if isinstance(written, str) else written
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise ComponentError(f"{writer.spec}.write returned {written!r:.80} for a document; texts are expected.")
    return "\n".join(filter(None, (" ".join(text.split()) for text in texts)))


def _checked(component: Component, method: str, result: Any, expected: int) -> Any:
    """Check the number of results: one too many or too few would shift all that come after it."""
    if not hasattr(result, "__len__"):
        raise ComponentError(
            f"{component.spec}.{method} returned {result!r:.80} for {expected} inputs; one result for each is expected."
        )
    if len(result) != expected:
        raise ComponentError(
            f"{component.spec}.{method} returned {len(result)} results for {expected} inputs; one for each is expected."
        )
    return result


def _tell_of_empty(rewriter: Component, contents: Sequence[Content]) -> None:
    empty = sum(isinstance(content, str) and not content.strip() for content in contents)
    if empty:
        log.warning("%s left %d of %d queries empty.", rewriter.name, empty, len(contents))


@contextlib.contextmanager
def _silent() -> Iterator[Callable[[int], None]]:
    yield lambda step: None


@contextlib.contextmanager
def _inference(target: Any) -> Iterator[None]:
    """Evaluation mode and no gradients, for components made with torch; nothing for the others."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    training = getattr(target, "training", False)
    if training:
        target.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if training:
            target.train()


class _Noted:
    """Adds a note to an exception, which names the component that it came from; type and traceback stay."""

    def __init__(self, component: Component, stage: str, **sizes: int) -> None:
        self.component, self.stage, self.sizes = component, stage, sizes

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            _note(error, self.component, self.stage, **self.sizes)


def _note(error: Exception, of: Component, stage: str, **sizes: int) -> None:
    shown = ", ".join(f"{value} {name}" for name, value in sizes.items())
    error.add_note(f"while {of.name} = {of!r} from {of.origin} ran {stage} on {shown}")


def _numbers(scorer: Component, scores: Any) -> NDArray[Any]:
    """Scores as numpy has them. Raises `ComponentError` for what is no column of real numbers."""
    values = to_numpy(scores)
    if values.dtype.kind not in "fiub":
        raise ComponentError(
            f"{_answering(scorer, 'nirank_score')} returned {scores!r:.80}; real numbers are expected."
        )
    return values


def _answering(component: Component, hook: str) -> str:
    """The component, and the plugins that may have answered in its place."""
    implementers = getattr(active().hook, hook).get_hookimpls()
    others = [one.plugin_name for one in implementers if not one.wrapper and one.plugin_name != "nirank_execution"]
    return f"{component.spec}, or {' or '.join(others)} in its place ({hook})," if others else component.spec


def _refuse_nan_vectors(encoder: Component, vectors: Any) -> None:
    """Dense vectors with what is no number would rank nothing, far from where they were made."""
    if encoder.traits.vectors != "dense" or not hasattr(vectors, "dtype"):
        return
    wrong = int(np.isnan(to_numpy(vectors.sum(-1))).sum())  # summed where they are: one number a vector
    if wrong:
        raise ComponentError(
            f"{wrong} of the {len(vectors)} vectors that {encoder.spec} returned contain NaN (not a number)."
        )


def check_ranking(generator: Component, found: Any, queries: int, k: int, documents: int, of: str = "a corpus") -> None:
    """Raise `ComponentError` for what is no ranking of at most `k` of so many documents for each query."""
    if not isinstance(found, Candidates):
        name = _answering(generator, "nirank_generate")
        raise ComponentError(f"{name} returned a {type(found).__name__}; Candidates are expected.")
    if len(found.offsets) - 1 != queries:
        raise ComponentError(
            f"{generator.spec} returned {len(found)} lists for {queries} queries; one list per query is expected."
        )
    if found.longest > k:
        raise ComponentError(
            f"{generator.spec} returned {found.longest} documents for a query; at most k = {k} are expected."
        )
    if not found.is_ranked():
        _refuse_nan(generator, found.scores)
        raise ComponentError(
            f"{generator.spec} returned documents out of order (falling score, then rising ordinal); "
            "return Candidates.ranked()."
        )
    least, last = found.extent
    if least < 0 or last >= documents:
        stranger = least if least < 0 else last
        raise ComponentError(
            f"{generator.spec} returned the document {stranger} of {of} of {documents:,}; ordinals begin at 0."
        )


def refuse_strangers(scorer: str, candidates: Candidates) -> None:
    """Raise `BadInput` for documents beyond the corpus, such as `Run.align` gives those that it lacks."""
    corpus = candidates.corpus
    if corpus is None:
        return
    least, last = candidates.extent
    if least < 0 or last >= len(corpus):
        count = int(np.count_nonzero((candidates.docs < 0) | (candidates.docs >= len(corpus))))
        raise BadInput(
            f"{count:,} of {candidates.pairs:,} documents that {scorer} is to score are not in the corpus of "
            f"{len(corpus):,}, such as {least if least < 0 else last}. Leave them out: "
            "candidates.where(candidates.docs < len(corpus))."
        )


def _refuse_nan(component: Component, scores: Floats) -> None:
    wrong = int(np.isnan(scores).sum())
    if wrong:
        raise ComponentError(f"{component.spec} returned {wrong} scores of {len(scores)} that are not a number (NaN).")
