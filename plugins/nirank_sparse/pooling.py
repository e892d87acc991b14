"""Weights of terms from a masked language model: its logits at the tokens of a text, pooled, some terms at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nirank.kit.transformers import Precision
from nirank_sparse.reading import Reading

#: Terms whose logits a CPU has at once: they stay in its cache.
_TERMS = 512


class TermPooling:
    """The weights of all terms for some texts, from a masked language model and its inputs.

    `pooled`, which is nearly all of the work, is what a runtime computes: of weights, many of which are 0 whatever the
    logit, one could not see as well that it computes what torch does.
    """

    def __init__(self, reading: Reading, precision: Precision) -> None:
        self.reading, self.precision, self._bare = reading, precision, False

    def bare_head(self, network: Any, run: Callable[[], Tensor], expected: Tensor) -> None:
        """Let the model give what logits are made of, unless it does more than make them of it.

        Then `run`, which computes weights through this function, no longer gives what is `expected`.
        """
        found = network.get_output_embeddings()
        if not isinstance(found, nn.Linear):
            return
        head: Any = found
        self._bare, head.forward = True, _itself
        near = 1e-4 if self.precision == "float32" else 1e-2
        try:
            self._bare = torch.allclose(run(), expected, rtol=near, atol=near)
        except RuntimeError:  # of what is done behind that layer
            self._bare = False
        if not self._bare:
            del head.forward

    def pooled(self, network: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The largest logit of each term, or the sum of its weights, by the pooling, float32 `[texts, terms]`.

        Texts are "input_ids" and "attention_mask", `[texts, longest]`.
        """
        hidden = network(**inputs).logits
        real = inputs["attention_mask"].bool()[..., None]
        if self.reading.pooling == "sum":
            weigh = self.reading.weight
            return torch.cat([(weigh(some.float()) * real).sum(1) for some in self._logits(network, hidden)], dim=1)
        # Padding repeats the first token, which a maximum does not mind: [texts, longest, hidden].
        hidden = torch.where(real, hidden, hidden[:, :1])
        return (self._with_gradients if network.training else self._largest)(network, hidden).float()

    def weights(self, pooled: Tensor) -> Tensor:
        """The weight of each term. The logarithm rises, so that of the largest logit is the largest."""
        return pooled if self.reading.pooling == "sum" else self.reading.weight(pooled)

    def _largest(self, network: Any, hidden: Tensor) -> Tensor:
        """The largest logit of each term, `[texts, terms]`."""
        return torch.cat([some.amax(1) for some in self._logits(network, hidden)], dim=1)

    def _with_gradients(self, network: Any, hidden: Tensor) -> Tensor:
        """The same, with gradients where a logit is above 0: elsewhere relu has none.

        Few terms have such a logit, so that theirs are made a second time and the gradients of the others left out.
        """
        if not self._bare:
            return hidden.max(1).values
        with torch.no_grad():
            largest = self._largest(network, hidden)
        terms = (largest > 0).any(0).nonzero().squeeze(1)
        return largest.index_copy(1, terms, _linear(network, hidden, terms).max(1).values)

    def _logits(self, network: Any, hidden: Tensor) -> Iterator[Tensor]:
        """The logits at each token, `[texts, longest, some terms]`; some terms at a time."""
        if not self._bare:
            yield hidden
            return
        size = len(network.get_output_embeddings().weight)
        at_once = _TERMS if hidden.device.type == "cpu" else size
        for start in range(0, size, at_once):
            yield _linear(network, hidden, slice(start, start + at_once))


def _linear(network: Any, hidden: Tensor, terms: slice | Tensor) -> Tensor:
    """The logits of some terms at each token, `[texts, longest, some terms]`."""
    head = network.get_output_embeddings()
    return nn.functional.linear(hidden, head.weight[terms], None if head.bias is None else head.bias[terms])


def _itself(hidden: Tensor) -> Tensor:
    return hidden
