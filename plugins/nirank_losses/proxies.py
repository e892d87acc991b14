"""Losses of metric learning with a proxy of each class: a vector that is learned, and that the class gathers round.

Classes are what the judgments of the training collection make of its queries and documents (`nirank_losses.classes`).
An example is a vector of the batch, that of a query or of a distinct document, with the class it belongs to; scores,
labels and mask are not looked at. The value of the loss is that of the batch, which all lists whose query has a class
count for alike, as `reduction` says. Vectors and proxies are taken at unit length, so what is compared are cosines.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Collection
from nirank.errors import BadInput
from nirank_losses.classes import Classes
from nirank_losses.lists import Reduced, Reduction, complete, softplus
from nirank_losses.listwise import log_total


class ProxyLoss(Reduced, nn.Module):
    """A loss of the cosines of vectors and proxies.

    `begin` makes the proxies, drawn at random from `seed`. They are trained with the encoder, at `rate_factor` times
    its learning rate and without weight decay, are saved for resuming, and are no part of a checkpoint. Of an encoder
    that also trains the beginnings of its vectors (`nested`), those of the proxies are compared with them.
    """

    in_checkpoint = False

    def __init__(self, *, rate_factor: float = 100.0, seed: int = 0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.rate_factor, self.seed, self.reduction = float(rate_factor), seed, reduction
        _above_zero(self, "rate_factor")

    def begin(self, collection: Collection, dim: int | None) -> None:
        """Learn the classes, and make a proxy of each, `[classes, dim]`.

        Raises `BadInput` where there are no vectors to compare, and where the judgments do not make two classes.
        """
        if dim is None:
            raise BadInput(
                f"{type(self).__name__} compares vectors with those of classes: train an encoder of dense or sparse "
                "vectors with it, or take a loss of scores."
            )
        classes = Classes.of(collection)
        if classes.count < 2:
            raise BadInput(
                f"{type(self).__name__}: there is one class only; two or more are expected.", collection.name
            )
        self._draw(classes.count, dim)
        self.query_classes, self.document_classes = map(torch.from_numpy, (classes.queries, classes.documents))

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,  # noqa: ARG002 (what losses are called with)
        mask: Tensor,  # noqa: ARG002
        queries: Tensor | None = None,
        query_vectors: Tensor | None = None,
        distinct_documents: Tensor | None = None,
        document_vectors: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch of `[lists, length]` scores; a scalar, or `[lists]` unreduced.

        `queries` `[lists]` are rows of the collection, `distinct_documents` `[distinct]` ordinals, `query_vectors`
        and `document_vectors` their vectors, `[lists, dim]` and `[distinct, dim]`. Raises `BadInput` where one is
        missing, or where nothing has begun.
        """
        given = queries, query_vectors, distinct_documents, document_vectors
        asked, wanted, shown, read = self._complete(*given)
        known = self.query_classes.to(wanted.device)[asked]
        classes = torch.cat([known, self.document_classes.to(wanted.device)[shown]])
        vectors = torch.cat([wanted, read])[classes >= 0]
        value = self.value(self._cosines(vectors), classes[classes >= 0])
        return self.reduce(value.expand(len(scores)), known >= 0)

    def value(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """The loss of the `cosines` of examples and proxies, `[examples, classes]`; `classes` are `[examples]`."""
        raise NotImplementedError

    def _draw(self, classes: int, dim: int) -> None:
        chance = torch.Generator().manual_seed(self.seed)
        self.proxies = nn.Parameter(torch.randn(classes, dim, generator=chance) / math.sqrt(dim))

    def _cosines(self, vectors: Tensor) -> Tensor:
        proxies = self.proxies[:, : vectors.shape[1]].to(vectors.dtype)
        return F.normalize(vectors, dim=1) @ F.normalize(proxies, dim=1).T

    def _complete(self, *given: Tensor | None) -> list[Tensor]:
        if not hasattr(self, "proxies"):
            raise BadInput(
                f"{type(self).__name__} has no proxies yet: call begin(collection, dim), as nirank.fit does."
            )
        needed = "queries=[lists], query_vectors=[lists, dim], distinct_documents=[distinct] and document_vectors"
        return complete(given, f"{type(self).__name__} needs {needed}=[distinct, dim]")


class MarginSoftmax(ProxyLoss):
    """`L = mean over examples of -log( exp(scale m(c_y)) / (exp(scale m(c_y)) + sum over others of exp(scale c_z)) )`.

    c_z is the cosine with the proxy of class z, y the class of the example, m takes a margin off.
    """

    def __init__(self, *, scale: float, margin: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.scale, self.margin = float(scale), float(margin)
        _above_zero(self, "scale")

    def value(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """The mean over the examples; 0 without any."""
        if not len(classes):
            return cosines.sum()
        own = F.one_hot(classes, cosines.shape[1]).bool()
        return F.cross_entropy(self.scale * self.less(cosines).where(own, cosines), classes)

    def less(self, cosines: Tensor) -> Tensor:
        """The cosines with the margin taken off."""
        raise NotImplementedError


class ArcFace(MarginSoftmax):
    """`m(c) = cos(arccos c + margin)`, the margin an angle in radians, in the softmax of `MarginSoftmax`.

    Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019, equation 3. Where the
    angle would pass pi, `c - margin sin(margin)`, as the authors' code has it, so that m falls with the angle.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        rate_factor: float = 100.0,
        seed: int = 0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(scale=scale, margin=margin, rate_factor=rate_factor, seed=seed, reduction=reduction)
        if not 0 <= margin < math.pi / 2:
            raise BadInput(f"ArcFace: margin = {margin}; an angle in radians, from 0 to below pi / 2, is expected.")

    def less(self, cosines: Tensor) -> Tensor:
        """The cosines of angles that are larger by the margin."""
        sines = (1 - cosines.square()).clamp(min=1e-12).sqrt()  # whose root has no derivative at 0
        turned = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        return turned.where(cosines >= -math.cos(self.margin), cosines - self.margin * math.sin(self.margin))


class CosFace(MarginSoftmax):
    """`m(c) = c - margin` in the softmax of `MarginSoftmax`.

    Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018, equation 4.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        margin: float = 0.35,
        rate_factor: float = 100.0,
        seed: int = 0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(scale=scale, margin=margin, rate_factor=rate_factor, seed=seed, reduction=reduction)

    def less(self, cosines: Tensor) -> Tensor:
        """The cosines less the margin."""
        return cosines - self.margin


class ProxyNCA(ProxyLoss):
    """`L = mean over examples x of -log( exp(-scale d(x, p_y)) / sum over classes z of exp(-scale d(x, p_z)) )`.

    d is the squared distance of unit vectors, 2 - 2 cos. With all classes in the sum and `scale` = 1/T it is ProxyNCA++
    (Teh, DeVries and Taylor, ECCV 2020, equation 6, T = 1/9), and with `scale` 1 pytorch-metric-learning's
    ProxyNCALoss. With `among="others"` the sum leaves out the class of the example: Movshovitz-Attias et al., No Fuss
    Distance Metric Learning using Proxies, ICCV 2017, equation 4, with `scale` 1.
    """

    def __init__(
        self,
        *,
        scale: float = 9.0,
        among: str = "all",
        rate_factor: float = 100.0,
        seed: int = 0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(rate_factor=rate_factor, seed=seed, reduction=reduction)
        self.scale, self.among = float(scale), among
        _above_zero(self, "scale")
        if among not in ("all", "others"):
            raise BadInput(f"ProxyNCA: among = {among!r}; 'all' or 'others' is expected.")

    def value(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """The mean over the examples; 0 without any."""
        if not len(classes):
            return cosines.sum()
        nearness = 2 * self.scale * (cosines - 1)
        own = F.one_hot(classes, cosines.shape[1]).bool()
        others = nearness.masked_fill(own, -torch.inf) if self.among == "others" else nearness
        return (others.logsumexp(1) - nearness[own]).mean()


class ProxyAnchor(ProxyLoss):
    """Each proxy as an anchor of the whole batch.

        L = mean over P+ of log(1 + sum+ of exp(-alpha (c - margin)))
            + mean over P of log(1 + sum- of exp(alpha (c + margin)))

    Kim et al., Proxy Anchor Loss for Deep Metric Learning, CVPR 2020, equation 4. P are the proxies of all classes, P+
    those of classes in the batch; the sums are over the examples of a proxy's class, and over all others, c is the
    cosine of example and proxy.
    """

    def __init__(
        self,
        *,
        alpha: float = 32.0,
        margin: float = 0.1,
        rate_factor: float = 100.0,
        seed: int = 0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(rate_factor=rate_factor, seed=seed, reduction=reduction)
        self.alpha, self.margin = float(alpha), float(margin)
        _above_zero(self, "alpha")

    def value(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """The two means; 0 without an example."""
        if not len(classes):
            return cosines.sum()
        own = F.one_hot(classes, cosines.shape[1]).bool().T  # [classes, examples]
        near = softplus(log_total(-self.alpha * (cosines.T - self.margin), own))
        far = softplus(log_total(self.alpha * (cosines.T + self.margin), ~own))
        return near.sum() / own.any(1).sum() + far.mean()


def _above_zero(loss: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(loss, name) < math.inf:
            raise BadInput(f"{type(loss).__name__}: {name} = {getattr(loss, name)}; a number above 0 is expected.")
