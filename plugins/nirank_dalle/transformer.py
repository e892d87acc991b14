"""A transformer over a text and the codes of a picture: the text is read in both directions, codes one after the other.

Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021, with vectors for rows and for columns. The text is not
modelled, only read: `log p(text)` is the same for every picture. What a text becomes in each layer does not depend on
codes, so it is computed once for all pictures that it meets, and while a picture is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput

#: A text is the bytes of its UTF-8, behind this token: alone it is the text of which nothing is known.
_START = 256
#: Keys and values of a layer, `[n, heads, tokens, dim / heads]` each.
Past = tuple[Tensor, Tensor]


class Transformer(nn.Module):
    """Codes of `kinds` kinds on a `grid` of rows and columns, after texts of at most `longest` bytes.

    Raises `BadInput` for heads that do not divide `dim`.
    """

    def __init__(
        self, kinds: int, grid: tuple[int, int], dim: int, depth: int, heads: int, longest: int, dropout: float
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads or depth < 1 or longest < 1:
            raise BadInput(
                f"dim = {dim}, heads = {heads}, depth = {depth}, longest = {longest}: numbers from 1, and heads that "
                "divide dim, are expected."
            )
        self.kinds, self.positions, self.longest = kinds, math.prod(grid), longest
        self.bytes, self.places = nn.Embedding(_START + 1, dim), _small(longest + 1, dim)
        self.codes = nn.Embedding(kinds + 1, dim)  # the last one stands before the first position
        self.rows, self.columns = _small(grid[0], 1, dim), _small(1, grid[1], dim)
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, kinds)
        for table in (self.bytes, self.codes):
            nn.init.normal_(table.weight, std=0.02)

    def read(self, texts: Sequence[str]) -> Read:
        """What texts become in each layer."""
        tokens = [[_START, *text.encode("utf-8", "replace")[: self.longest]] for text in texts]
        width = max(map(len, tokens), default=1)
        padded = torch.tensor(
            [each + [_START] * (width - len(each)) for each in tokens], device=self.head.weight.device
        )
        lengths = torch.tensor([len(each) for each in tokens], device=padded.device)
        seen = (torch.arange(width, device=padded.device) < lengths[:, None])[:, None, None]
        hidden, past = self.bytes(padded) + self.places[:width], []
        for block in self.blocks:
            hidden, made = block(hidden, seen)
            past.append(made)
        return Read(past, seen)

    def forward(self, text: Read, codes: Tensor) -> Tensor:
        """Logits of the code at each position given the text and the codes before it, `[n, positions, kinds]`.

        `codes` are int64 `[n, positions]`; with fewer, logits are those of these positions and of the next one.
        """
        hidden = self._slots(codes)
        length = hidden.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=codes.device).tril()
        seen = torch.cat([text.seen.expand(-1, -1, length, -1), causal.expand(len(codes), 1, -1, -1)], 3)
        for block, past in zip(self.blocks, text.past, strict=True):
            hidden, _ = block(hidden, seen, past)
        made: Tensor = self.head(self.norm(hidden))
        return made

    def likelihoods(self, text: Read, codes: Tensor) -> Tensor:
        """`log p(codes | text)` of each pair of a row, `[n]`: summed in float32 over all positions."""
        logs = self(text, codes).float().log_softmax(-1)
        return logs.gather(2, codes[..., None]).sum((1, 2))

    def next(self, text: Read, codes: Tensor) -> tuple[Tensor, Read]:
        """Logits of the next code, `[n, kinds]`, after `codes` so far; and what was read, with the last of them.

        `text` has read all codes but the last.
        """
        hidden, past = self._slots(codes)[:, -1:], []
        seen = F.pad(text.seen, (0, 1), value=True)
        for block, before in zip(self.blocks, text.past, strict=True):
            hidden, made = block(hidden, seen, before)
            past.append(made)
        return self.head(self.norm(hidden))[:, 0], Read(past, seen)

    def _slots(self, codes: Tensor) -> Tensor:
        """What goes in at each position: the code before it, and where it is."""
        first = codes.new_full((len(codes), 1), self.kinds)
        before = torch.cat([first, codes], 1)[:, : self.positions]
        where = (self.rows + self.columns).flatten(0, 1)
        slots: Tensor = self.codes(before) + where[: before.shape[1]]
        return slots


class Read:
    """What has been read: keys and values of each layer, and which tokens count, bool `[n, 1, 1, tokens]`."""

    def __init__(self, past: Sequence[Past], seen: Tensor) -> None:
        self.past, self.seen = past, seen

    def take(self, rows: Tensor) -> Read:
        """Some of the texts, int64 `[rows]`."""
        return Read([(keys[rows], values[rows]) for keys, values in self.past], self.seen[rows])


class _Block(nn.Module):
    """Attention to what was read and to itself, then a feed-forward layer, each of what was normalised."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.asks, self.answers = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.wide, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, hidden: Tensor, seen: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """`[n, tokens, dim]` to the same shape, and all keys and values; `seen` says who sees whom."""
        parts = self.asks(self.before(hidden)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen).transpose(1, 2).flatten(2)
        hidden = hidden + self._dropped(self.answers(found))
        hidden = hidden + self._dropped(self.narrow(F.gelu(self.wide(self.between(hidden)))))
        return hidden, (keys, values)

    def _dropped(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)


def _small(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * 0.02)
