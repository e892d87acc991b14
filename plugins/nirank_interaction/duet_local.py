"""Duet's local model: where in a document the words of the query stand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_interaction.lists import WordLists
from nirank_interaction.ranker import BoundedReading, Ranker, ready

_READING = BoundedReading(max_query=10, max_document=1000)


class DuetLocal(Ranker):
    """Scores by the positions of exact matches, the matrix X[i, j] = 1 where q_i and d_j have the same term:

        Z_i = tanh(X_i . W),   f(q, d) = w . dropout(tanh layers of (Z_1, ..., Z_n))

    Mitra, Diaz and Craswell, Learning to Match Using Local and Distributed Representations of Text for Web Search, WWW
    2017, section 3.1: W `[max_document, filters]` is a convolution whose window is the whole document, which is slid
    along the query; two layers of `hidden` units see all query words in their order. Of longer texts the first words
    count, `max_query` and `max_document` of them; where a text is shorter, X is 0. With `idf` a match counts the idf of
    its word, as in Mitra and Craswell, An Updated Duet Model for Passage Re-ranking, 2019; here that of a word never
    seen is 1.

    X has few ones: what is added up are the rows of W at the places of the matches.
    """

    name = "duet_local"

    def __init__(
        self,
        filters: int = 300,
        hidden: int = 300,
        dropout: float = 0.2,
        idf: bool = False,
        *,
        reading: BoundedReading = _READING,
    ) -> None:
        self._take(filters, hidden, dropout, idf, reading)
        super().__init__(reading, None, filters=filters, hidden=hidden, dropout=dropout, idf=idf)

    def layers(self, dim: int) -> None:  # noqa: ARG002 (it has no word vectors)
        """W and the layers."""
        self.positions = nn.Parameter(torch.randn(self.max_document, self.filters) / 10)
        self.network = self.reader(self.max_query * self.filters)

    def reader(self, inputs: int) -> nn.Sequential:
        """Layers that make a score of so many numbers."""
        return nn.Sequential(
            nn.Linear(inputs, self.hidden),
            nn.Tanh(),
            nn.Linear(self.hidden, self.hidden),
            nn.Tanh(),
            nn.Dropout(self.share),
            nn.Linear(self.hidden, 1),
        )

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        documents, width = len(lists.pairs), lists.query.shape[1]
        owner = torch.arange(documents, device=self.device).repeat_interleave(lists.lengths)  # [T]
        some = lists.exact.any(2).flatten()[lists.tokens].nonzero().squeeze(1)
        which, word = lists.exact.flatten(0, 1)[lists.tokens[some]].nonzero(as_tuple=True)
        token = some[which]  # the ones of X are at (token, word)
        added = self.positions[token - lists.starts[owner[token]]]
        if self.idf:
            added = added * lists.idf[lists.owners[owner[token]], word, None] / self.lexicon.rarity.largest
        sums = added.new_zeros(documents * width, self.filters).index_add(0, owner[token] * width + word, added)
        seen = F.pad(torch.tanh(sums.view(documents, width, -1)), (0, 0, 0, self.max_query - width))  # [P, n, filters]
        return self.network(seen.flatten(1)).squeeze(1)

    def _take(self, filters: int, hidden: int, dropout: float, idf: bool, reading: BoundedReading) -> None:
        """Keep the settings, and refuse those that make no sense."""
        if min(filters, hidden) < 1 or not 0 <= dropout < 1:
            raise BadInput(
                f"filters = {filters}, hidden = {hidden}, dropout = {dropout}: whole numbers from 1, and a dropout "
                "from 0 to below 1, are expected."
            )
        self.filters, self.hidden, self.share, self.idf = filters, hidden, dropout, idf
        self.max_query, self.max_document = reading.max_query, reading.max_document

    def similarities_of(self, lists: WordLists) -> Tensor:
        """The matrix X without the weights of words: 1 where two have the same term."""
        return lists.exact.float()


def tiny() -> Ranker:
    """Four words of a query and fifty of a document, with the first weights."""
    return ready(DuetLocal(filters=6, hidden=5, reading=BoundedReading(max_query=4, max_document=50, device="cpu")))
