"""Hard negatives for matching: drawn from the batch by how alike text and image are, and never what is relevant."""

from __future__ import annotations

import torch
from torch import Tensor

#: What a text and an image of a batch are to each other; nothing is known of what is in no list, or is masked there.
RELEVANT, NEGATIVE, UNKNOWN = 1, 0, -1


def relations(labels: Tensor, mask: Tensor, places: Tensor, documents: int) -> Tensor:
    """What each of so many documents is to each query, `[queries, documents]`, from lists `[queries, length]`."""
    found = torch.full((len(labels), documents), UNKNOWN, device=labels.device)
    rows, columns = mask.nonzero(as_tuple=True)
    relevant = (labels[rows, columns] > 0).long()
    found[rows, places[rows, columns]] = relevant
    known = relevant.bool()
    found[rows[known], places[rows[known], columns[known]]] = RELEVANT  # also where a list has a document twice
    return found


def drawn(scores: Tensor, allowed: Tensor, uniform: float) -> Tensor:
    """For each row one of the columns that are `allowed`, `[rows]`; -1 where none is.

    Columns are drawn by the softmax of their `scores`, and with the probability `uniform` all alike: hard negatives
    alone teach a new head nothing. Where a whole row is not allowed nothing is drawn, and nothing raised.
    """
    found = torch.full((len(scores),), -1, device=scores.device)
    rows = allowed.any(1).nonzero()[:, 0]
    if len(rows):
        logits = scores[rows].float().masked_fill(~allowed[rows], -torch.inf)
        even = allowed[rows] / allowed[rows].sum(1, keepdim=True)
        found[rows] = torch.multinomial((1 - uniform) * logits.softmax(1) + uniform * even, 1)[:, 0]
    return found
