"""Heads that read what a transformer makes of tokens in every layer, and not only of the first token in the last.

MacAvaney, Yates, Cohan and Goharian, CEDR: Contextualized Embeddings for Document Ranking, SIGIR 2019, sections 2.2 and
2.3. A transformer reads `[CLS] query [SEP] document [SEP]`; the cosines of tokens of the query with those of the
document are a matrix for each of its L layers and for what goes into the first, S `[L + 1, Q, D]`. A head reads these
beside c, the vector of `[CLS]` in the last layer:

    "cedr_knrm"   f = w . (phi; c) + b,   phi_lk = sum over i of log(1e-6 + sum over j of K_k(S_lij))
    "cedr_drmm"   f = sum over i of (w . relu(V (h_i; c) + v) + b),   h_il = log(1e-5 + histogram of S_li)

    "cedr_pacrr"  f = layers of (k largest over j of relu(max over filters of conv_n(S))_ij for n = 1, 2, 3; c)

K are eleven Gaussian kernels as in KNRM, histograms have eleven bins over [-1, 1], and V has five units. Of PACRR there
are 32 filters over all layers for each n x n window, the 2 largest values, the first 20 tokens of a query, and two
layers of 32 units before the last. All is as in the authors' program (Georgetown-IR-Lab/cedr), in which padding counts
as tokens of similarity 0; here it does not count.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nirank.errors import BadInput

_KERNELS, _BINS, _UNITS = 11, 11, 5
#: Of PACRR: the largest window, its filters, values of each token, tokens of a query, units.
_LARGEST, _FILTERS, _STRONGEST, _ASKED, _HIDDEN = 3, 32, 2, 20, 32


class JointHead(nn.Linear):
    """The last layer of a head that reads all layers; `layers` counts what goes into the first one as well."""

    def forward(  # type: ignore[override]  # more than one tensor goes in
        self, states: tuple[Tensor, ...], first: Tensor, inputs: dict[str, Tensor]
    ) -> Tensor:
        """The outputs of each row, `[rows, outputs]`.

        `states` are the vectors of tokens of each layer, `[rows, tokens, dim]`, `first` those of `[CLS]`,
        `[rows, dim]`, and `inputs` what the transformer was given. Raises `BadInput` where these do not tell query
        from document.
        """
        queries, documents = _sides(inputs)
        units = torch.stack([nn.functional.normalize(layer.float(), dim=2) for layer in states], 1)
        return self.read(units @ units.transpose(2, 3), queries, documents, first)

    def read(self, cosines: Tensor, queries: Tensor, documents: Tensor, first: Tensor) -> Tensor:
        """The outputs, from cosines `[rows, layers, tokens, tokens]` and which tokens are whose, `[rows, tokens]`."""
        raise NotImplementedError

    def draw(self, generator: torch.Generator) -> None:
        """Draw first weights, evenly from +-1 / sqrt(inputs)."""
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                bound = layer.weight[0].numel() ** -0.5
                for parameter in layer.parameters(recurse=False):
                    nn.init.uniform_(parameter, -bound, bound, generator=generator)


class SoftCounts(JointHead):
    """The head of "cedr_knrm"."""

    centres: Tensor
    factors: Tensor

    def __init__(self, layers: int, dim: int, outputs: int) -> None:
        super().__init__(_KERNELS * layers + dim, outputs)
        centres = torch.tensor([1.0, *(0.9 - 0.2 * step for step in range(_KERNELS - 1))])
        widths = torch.tensor([0.001] + [0.1] * (_KERNELS - 1))
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("factors", -0.5 / widths**2, persistent=False)

    def read(self, cosines: Tensor, queries: Tensor, documents: Tensor, first: Tensor) -> Tensor:
        """The outputs, `[rows, outputs]`."""
        told = documents[:, None, None].float()
        kernels = zip(self.centres, self.factors, strict=True)  # one at a time, for each is as large as all cosines
        counts = [((cosines - centre).square().mul(factor).exp() * told).sum(3) for centre, factor in kernels]
        logs = (torch.stack(counts, 3) + 1e-6).log() * queries[:, None, :, None]  # [rows, layers, tokens, kernels]
        return nn.functional.linear(torch.cat([logs.sum(2).flatten(1), first], 1), self.weight, self.bias)


class Histograms(JointHead):
    """The head of "cedr_drmm". Histograms have no gradient: the transformer learns through c alone."""

    def __init__(self, layers: int, dim: int, outputs: int) -> None:
        super().__init__(_UNITS, outputs)
        self.first = nn.Linear(_BINS * layers + dim, _UNITS)

    def read(self, cosines: Tensor, queries: Tensor, documents: Tensor, first: Tensor) -> Tensor:
        """The outputs, `[rows, outputs]`."""
        places = ((cosines.detach() + 1.000001) / 2 * (_BINS - 1)).long()
        counts = [((places == place) & documents[:, None, None]).sum(3) for place in range(_BINS)]
        logs = (torch.stack(counts, 3) + 1e-5).log().transpose(1, 2).flatten(2)  # [rows, tokens, layers x bins]
        seen = torch.cat([logs, first[:, None].expand(-1, logs.shape[1], -1)], 2)
        each = nn.functional.linear(self.first(seen).relu(), self.weight, self.bias)
        return (each * queries[:, :, None]).sum(1)


class Strongest(JointHead):
    """The head of "cedr_pacrr"."""

    def __init__(self, layers: int, dim: int, outputs: int) -> None:
        super().__init__(_HIDDEN, outputs)
        self.convolutions = nn.ModuleList(nn.Conv2d(layers, _FILTERS, n) for n in range(1, _LARGEST + 1))
        first = nn.Linear(_LARGEST * _ASKED * _STRONGEST + dim, _HIDDEN)
        self.network = nn.Sequential(first, nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU())

    def read(self, cosines: Tensor, queries: Tensor, documents: Tensor, first: Tensor) -> Tensor:
        """The outputs, `[rows, outputs]`."""
        layers, length = cosines.shape[1:3]
        asked, told = (side.float().argsort(dim=1, descending=True, stable=True) for side in (queries, documents))
        asked = asked[:, :_ASKED]
        image = cosines.gather(2, asked[:, None, :, None].expand(-1, layers, -1, length))
        image = image.gather(3, told[:, None, None].expand(-1, layers, asked.shape[1], -1))
        inside = queries.gather(1, asked)[:, :, None] & documents.gather(1, told)[:, None]  # [rows, query, document]
        found = [self._largest(image * inside[:, None], inside, each) for each in self.convolutions]
        seen = self.network(torch.cat([*found, first], 1))
        return nn.functional.linear(seen, self.weight, self.bias)

    def _largest(self, image: Tensor, inside: Tensor, convolution: Any) -> Tensor:
        """The largest values of each token of a query, `[rows, 20 x 2]`, 0 where there are no more."""
        beyond = convolution.kernel_size[0] - 1
        best = convolution(nn.functional.pad(image, (0, beyond, 0, beyond))).amax(1).relu() * inside
        largest = best.topk(_STRONGEST, 2).values
        return nn.functional.pad(largest, (0, 0, 0, _ASKED - largest.shape[1])).flatten(1)


#: By the value of `pooling`.
JOINT: dict[str, type[SoftCounts | Histograms | Strongest]] = {
    "cedr_knrm": SoftCounts,
    "cedr_drmm": Histograms,
    "cedr_pacrr": Strongest,
}


def _sides(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """True for tokens of queries and of documents, `[rows, tokens]` each; for none of those around them."""
    if "token_type_ids" not in inputs:
        raise BadInput(
            "this model has no types of tokens, by which cedr tells queries from documents: take one like BERT."
        )
    mask, kinds = inputs["attention_mask"].bool(), inputs["token_type_ids"]
    places, asked = torch.arange(mask.shape[1], device=mask.device), mask & (kinds == 0)
    queries = asked & (places > 0) & (places < asked.sum(1, keepdim=True) - 1)
    return queries, mask & (kinds == 1) & (places < mask.sum(1, keepdim=True) - 1)
