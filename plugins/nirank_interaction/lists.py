"""Queries with their documents, laid out so that a model computes what it needs of each pair of words once.

A query's documents share most of their words. So the similarities of a query are those of its words and the *distinct*
words of all its documents, `[words, query words]`, and a document is a list of places in that table: what a model sums
over a document's words it sums over rows of the table, and a matrix of similarities is rows of it one under another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nirank.data import offsets_of
from nirank_interaction.lexicon import Lexicon, Numbers, Ragged

#: Words of documents that one query brings along at a time, unless one document has more.
_TOKENS = 1 << 16
#: Numbers in a table of similarities of lists that are computed together, and in the matrices of documents that are.
CELLS, _GRIDS = 1 << 17, 1 << 16
#: With so few query words it takes less time to multiply all known words with all of them than to copy vectors.
_FEW = 32


@dataclass(frozen=True, eq=False)
class WordLists:
    """B queries of up to Q words with P documents; of each query's documents up to U distinct words. All on one device.

    known        [W]         the distinct words of all, as numbers of the lexicon (numpy)
    query        [B, Q]      the query words as places in `known`; W in the padding
    is_word      [B, Q]      True for words, False for padding
    words        [B, U]      the distinct words of each query's documents, as places in `known`; W in the padding
    exact        [B, U, Q]   which words have the same term
    idf          [B, Q]      how rare the query words are; 0 in the padding
    tokens       [T]         the words of one document after the other, as places in the flat `words` `[B * U]`
    starts       [P + 1]     where each document begins in `tokens`
    owners       [P]         the query of each document, rising
    pairs        [P]         which of all pairs each document is (numpy)
    """

    known: Numbers
    query: Tensor
    is_word: Tensor
    words: Tensor
    exact: Tensor
    idf: Tensor
    tokens: Tensor
    starts: Tensor
    owners: Tensor
    pairs: Numbers

    @property
    def lengths(self) -> Tensor:
        """The number of words of each document, `[P]`."""
        return self.starts.diff()

    def sums(self, rows: Tensor) -> Tensor:
        """The sum for each document, over its words, of their `rows` `[B, U, ...]`; `[P, ...]`."""
        flat = rows.flatten(2).flatten(0, 1)
        summed = F.embedding_bag(self.tokens, flat, self.starts, mode="sum", include_last_offset=True)
        return summed.unflatten(1, rows.shape[2:])

    def products(self, vectors: Tensor) -> Tensor:
        """The dot products of words of documents and words of queries, `[B, U, Q]`, from `vectors` `[W + 1, dim]`."""
        query = F.embedding(self.query, vectors)
        if self.query.numel() > _FEW:
            return F.embedding(self.words, vectors) @ query.transpose(1, 2)
        tables = (vectors @ query.flatten(0, 1).T).split(query.shape[1], 1)  # [W + 1, Q] for each query
        return torch.stack([F.embedding(words, table) for words, table in zip(self.words, tables, strict=True)])

    def cosines(self, vectors: Tensor) -> Tensor:
        """The cosines instead; 0 for a vector of length 0."""
        lengths = vectors.norm(dim=1).clamp_min(1e-12)
        return self.products(vectors) / (lengths[self.words][:, :, None] * lengths[self.query][:, None])

    def parts(self, each: int) -> Iterator[WordLists]:
        """The same lists with some of their distinct words at a time, so that tables `[B, U, Q, each]` stay small.

        A sum over a document's words is the sum of those over the parts.
        """
        lists, width = self.words.shape
        step = max(1, 8 * CELLS // (lists * self.query.shape[1] * each))
        if step >= width:
            yield self
            return
        within = self.tokens % width
        for start in range(0, width, step):
            here = (within >= start) & (within < start + step)
            kept = torch.cat([here.new_zeros(1, dtype=torch.int64), here.cumsum(0)])
            words = self.words[:, start : start + step]
            tokens = self.tokens[here] // width * words.shape[1] + within[here] - start
            exact = self.exact[:, start : start + step]
            yield self._of(replace(self, words=words, exact=exact, tokens=tokens, starts=kept[self.starts]))

    @staticmethod
    def _of(lists: WordLists) -> WordLists:
        """The same lists with no more known words than they need."""
        used, places = torch.cat([lists.words.flatten(), lists.query.flatten()]).unique(return_inverse=True)
        words, query = places.split([lists.words.numel(), lists.query.numel()])
        known = lists.known[used[used < len(lists.known)].cpu().numpy()]  # padding stays behind them
        return replace(lists, known=known, words=words.view_as(lists.words), query=query.view_as(lists.query))

    def over_grids(self, rows: Tensor, score: Callable[[Grid], Tensor]) -> Tensor:
        """The scores of all documents, `[P]`, by their matrices; `score` takes some of these at a time.

        `rows` `[B, U, Q]` are the similarities of all words. Documents of similar length go together.
        """
        nothing = rows.new_zeros(1, rows.shape[2])
        flat = torch.cat([(rows * self.is_word[:, None]).flatten(0, 1), nothing])
        query_lengths = self.is_word.sum(1)[self.owners]
        order = (query_lengths // 4 * (self.lengths.max() + 1) + self.lengths).argsort(descending=True, stable=True)
        sizes = torch.stack([query_lengths, self.lengths])[:, order].clamp_min(1)
        scores, start, (queries, documents) = [], 0, sizes.tolist()
        while start < len(order):
            high, wide = min(rows.shape[2], queries[start] + 3), documents[start]
            stop = start + max(1, _GRIDS // (high * wide))
            wide = max(documents[start:stop])
            scores.append(score(self._grid(flat, order[start:stop], max(queries[start:stop]), wide)))
            start = stop
        return torch.cat(scores)[order.argsort()]

    def _grid(self, flat: Tensor, documents: Tensor, high: int, wide: int) -> Grid:
        lengths, owners = self.lengths[documents], self.owners[documents]
        at = torch.arange(wide, device=lengths.device)
        places = (self.starts[documents, None] + at).masked_fill(at >= lengths[:, None], len(self.tokens))
        tokens = torch.cat([self.tokens, self.tokens.new_tensor([len(flat) - 1])])[places]
        values = F.embedding(tokens, flat)[:, :, :high].transpose(1, 2)
        return Grid(values, self.is_word[owners].sum(1), lengths, self.idf[owners, :high])


@dataclass(frozen=True, eq=False)
class Grid:
    """Matrices of similarities, float32 `[p, Q, D]`, 0 beyond the words there are.

    `query_lengths` and `document_lengths` count the words of the query and the document of each, `[p]`; `idf` `[p, Q]`.
    """

    values: Tensor
    query_lengths: Tensor
    document_lengths: Tensor
    idf: Tensor


@dataclass(frozen=True, eq=False)
class _List:
    """One query, some of its documents: distinct words, and each document's words as places among these."""

    query: Numbers
    words: Numbers
    documents: Ragged
    pairs: Numbers


def lists_of(
    lexicon: Lexicon, queries: Ragged, documents: Ragged, offsets: Numbers, contents: Numbers, device: torch.device
) -> Iterator[WordLists]:
    """The lists of queries: pairs `offsets[i]:offsets[i + 1]` are those of query `i` with the documents `contents`."""
    found = [*_cut(lexicon, queries, documents, offsets, contents)]
    found.sort(key=lambda one: (len(one.query), len(one.words)), reverse=True)
    start = 0
    while start < len(found):
        widest, longest, stop = 1, max(1, len(found[start].query)), start
        while stop < len(found):
            widest = max(widest, len(found[stop].words))
            if stop > start and (stop + 1 - start) * widest * longest > CELLS:
                break
            stop += 1
        yield _together(lexicon, found[start:stop], device)
        start = stop


def _cut(lexicon: Lexicon, queries: Ragged, documents: Ragged, offsets: Numbers, contents: Numbers) -> Iterator[_List]:
    """Each query with its documents, in pieces of about `_TOKENS` words."""
    scratch = np.zeros(len(lexicon), np.int64)
    ends = np.cumsum(documents.lengths[contents])
    for number, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        query = queries.values[queries.offsets[number] : queries.offsets[number + 1]]
        pairs = np.arange(start, stop)
        edges = np.flatnonzero(np.diff(ends[pairs] // _TOKENS)) + 1
        for some in np.split(pairs, edges) if len(pairs) else ():
            held = documents.take(contents[some])
            words, places = distinct(held.values, scratch)
            yield _List(query, words, Ragged(places, held.offsets), some)


def distinct(words: Numbers, scratch: Numbers) -> tuple[Numbers, Numbers]:
    """The distinct words in the order in which they come, and for each word which of these it is.

    `scratch` has a place for each word there may be. A sort would take ten times as long.
    """
    at = np.arange(len(words))
    scratch[words[::-1]] = at[::-1]  # the last that is written stays: the first place of each word
    first = scratch[words]
    new = first == at
    return words[new], (np.cumsum(new) - 1)[first]


def _together(lexicon: Lexicon, lists: Sequence[_List], device: torch.device) -> WordLists:
    words, in_words = _padded([one.words for one in lists])
    query, in_query = _padded([one.query for one in lists])
    known, places = distinct(np.concatenate([words[in_words], query[in_query]]), np.zeros(len(lexicon), np.int64))
    terms = lexicon.terms(known)
    at_words, at_query = (
        _spread(*some, len(known))
        for some in ((places[: in_words.sum()], in_words), (places[in_words.sum() :], in_query))
    )
    word_terms = _spread(terms[at_words[in_words]], in_words, -1)
    query_terms = _spread(terms[at_query[in_query]], in_query, -2)
    columns = {
        "query": at_query,
        "is_word": in_query,
        "words": at_words,
        "exact": word_terms[:, :, None] == query_terms[:, None],
        "idf": _spread(lexicon.idf(known)[at_query[in_query]], in_query),
        "tokens": np.concatenate([one.documents.values + row * words.shape[1] for row, one in enumerate(lists)]),
        "starts": offsets_of(np.concatenate([one.documents.lengths for one in lists])),
        "owners": np.repeat(np.arange(len(lists)), [len(one.pairs) for one in lists]),
    }
    pairs = np.concatenate([one.pairs for one in lists])
    return WordLists(
        known, pairs=pairs, **{name: torch.from_numpy(column).to(device) for name, column in columns.items()}
    )


def _padded(rows: Sequence[Numbers]) -> tuple[Numbers, NDArray[np.bool_]]:
    """Rows as a matrix of one column at least, 0 beyond them, and which of its entries are theirs."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    return _spread(np.concatenate(rows), mask), mask


def _spread(values: NDArray[Any], mask: NDArray[np.bool_], fill: int = 0) -> NDArray[Any]:
    matrix = np.full(mask.shape, fill, values.dtype)
    matrix[mask] = values
    return matrix
