"""The life of a search, as hooks in the order they are called.

    nirank_register      once     plugins name their components
    nirank_wrap          once     per component, when it is built
    nirank_rewrite       1 call   per rewriter of queries and request
    nirank_write         1 call   per writer and some hundred documents, before they are indexed
    nirank_encode_corpus 1 call   per encoder and index that is built of its vectors
    nirank_open_shard    1 call   per shard of an index that is opened elsewhere
    nirank_encode        1 call   per query encoder and request
    nirank_generate      1 call   per candidate generator and request
    nirank_score         1 call   per scorer and request
      nirank_forward     n calls  one per batch that fits on the device
    nirank_loss          1 call   per batch in training
    nirank_trained       1 call   per report of a training
    nirank_evaluated     once     when the measures of a run are known

A plugin implements the ones it needs, marked with `nirank.hookimpl`; a parameter it does not use may be left
out of its signature. The stage hooks return the first result that is not None, and the core's own answer
(`nirank.execution.stages`) comes last: to *watch* a stage, write a wrapper (`@hookimpl(wrapper=True)`); to run it
elsewhere, return a result; to change its input or to call it more than once, return a function from
`nirank_wrap`. A hook call costs about 3 microseconds, so hooks go round stages and batches, never documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nirank.component import Component, Middleware
    from nirank.data.batches import Batch
    from nirank.data.candidates import Candidates
    from nirank.data.queries import Queries
    from nirank.data.types import Content, Corpus
    from nirank.data.vectors import Vectors
    from nirank.evaluation.evaluating import Evaluation
    from nirank.registry import PluginRegistry

PROJECT = "nirank"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def nirank_register(registry: PluginRegistry) -> None:
    """Name the components of a plugin: `registry.add(kind, name, "module:attribute", tiny=..., extra=...)`.

    Called once for each plugin when plugins are loaded. Targets are strings, so that listing a component
    imports nothing. Raising here disables the plugin, not the program.
    """


@hookspec
def nirank_wrap(component: Component) -> Middleware | None:
    """Return a function that stands between the core and one component, or None.

    Called once when `component` is built. The function is called as `middleware(call, method, *inputs)`,
    where `method` is "rewrite", "write", "encode", "encode_documents", "generate", "score" or "extract"; it returns
    what `call(*inputs)` would. It may change the inputs, call several times, or not at all: a cache, a shard, a retry.
    """


@hookspec(firstresult=True)
def nirank_rewrite(rewriter: Component, queries: Queries) -> Any:
    """Rewrite queries: as many contents, or `Queries` of the same ids."""


@hookspec(firstresult=True)
def nirank_write(writer: Component, contents: Sequence[Content]) -> Sequence[str] | Sequence[Sequence[str]] | None:
    """Write texts for documents, such as queries that they answer: one text for each content, or several."""


@hookspec(firstresult=True)
def nirank_encode_corpus(
    encoder: Component, corpus: Corpus, ranges: Sequence[range]
) -> Iterator[tuple[range, Vectors]] | None:
    """Encode ranges of a corpus for an index: an iterator of each range, once, in any order, and its vectors.

    A range is the unit of the work: encoded as a whole, `corpus[range.start : range.stop]`, by
    `nirank.kit.encode_documents`, it has the same vectors in any process. What comes before its turn waits in a file.
    """


@hookspec(firstresult=True)
def nirank_open_shard(opening: Any, on: str, threads: int) -> Any:
    """Open one shard of an index at the place that `on` names, with so many threads; None for a place of others.

    `opening` can be sent to another process, and is opened there by `nirank.kit.OpenShard`. What is returned has the
    methods `ask`, `restart` and `close`, and the attribute `answers`, of `nirank.execution.shards.hosts.Host`.
    """


@hookspec(firstresult=True)
def nirank_encode(encoder: Component, queries: Queries) -> Vectors | None:
    """Turn queries into vectors, one entry for each query."""


@hookspec(firstresult=True)
def nirank_generate(generator: Component, queries: Queries, k: int) -> Candidates | None:
    """Find at most `k` documents for each query, ranked by falling score, then rising ordinal."""


@hookspec(firstresult=True)
def nirank_score(scorer: Component, queries: Queries, candidates: Candidates) -> Any:
    """Score the given pairs: an array `[pairs]` in the order of `candidates`.

    An extractor is asked here too, for its features of the pairs: `[pairs, names]`.
    """


@hookspec(firstresult=True)
def nirank_forward(component: Component, method: str, batch: Batch) -> Any:
    """Run one method of a component on one batch: what fits on the device at once.

    `batch` holds queries, contents of documents or pairs (`nirank.data.batches`). It has a length, and
    `batch.cut(start, stop)` is a part of it, so that a batch that does not fit can be halved.
    """


@hookspec(firstresult=True)
def nirank_loss(loss: Component, scores: Any, labels: Any, mask: Any, more: dict[str, Any]) -> Any:
    """Compute a loss from `scores`, `labels` and `mask`, each `[lists, length]`; `more` are named extras."""


@hookspec
def nirank_trained(component: Component, step: int, values: dict[str, float]) -> None:
    """Receive a report of the training of `component` after `step` steps.

    `values` are the loss, the learning rate and the like, or a measure on dev (its name begins with "dev ").
    """


@hookspec
def nirank_evaluated(system: str, evaluation: Evaluation) -> None:
    """Receive the measures of a finished run; `system` is its name in the experiment."""
