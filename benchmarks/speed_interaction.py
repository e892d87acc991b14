"""Interaction models score lists: nirank, and the same formulas as libraries of such models compute them in torch.

OpenNIR and Capreolus, which do not install any more, pad the texts of a batch to matrices of word numbers, look up a
vector for each place, multiply, and apply kernels or convolutions to the whole of each padded matrix. That is written
here in plain torch, with the weights of nirank's models, so that scores agree. All texts of a side have equally many
words: there is no padding, which is the best case of padded matrices. Texts are known as word numbers to both when the
clock starts.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from speed_run import Run
from speed_table import OURS, Report, agreement
from speed_worker import Engine, contest, each, working

from nirank.kit.text import Word2Vec

_PADDED = "padded matrices in torch"
_VOCABULARY, _DIM, _QUERY, _DOCUMENT = 20_000, 256, 5, 150
#: Pairs that are scored together as padded matrices.
_BATCH = 100
#: Models, with settings where the defaults are not the same.
MODELS: dict[str, dict[str, Any]] = {
    "knrm": {},
    "conv_knrm": {},
    "drmm": {},
    "matchpyramid": {"pool": [3, 10]},
    "pacrr": {"max_query": _QUERY},
    "duet_local": {"max_query": _QUERY, "max_document": _DOCUMENT},
}


def compare(run: Run, report: Report) -> None:
    """Time every model on the lists of some queries, and see that both find the same scores."""
    queries, documents = run.size(20, 2), run.size(100, 10)
    words = [f"w{number}" for number in range(_VOCABULARY)]
    matrix = np.random.default_rng(1).standard_normal((_VOCABULARY, _DIM), np.float32)
    path = run.folder / "interaction.safetensors"
    Word2Vec(words, matrix, matrix, {}).save(path)
    settings = {"queries": queries, "documents": documents, "threads": run.threads, "vectors": str(path)}
    engines = [
        Engine(OURS, "speed_interaction:Nirank", ["torch", "safetensors"], settings),
        Engine(_PADDED, "speed_interaction:Padded", ["torch", "safetensors"], settings),
    ]
    with working(engines, report.note) as workers:
        for model in MODELS:
            laps = contest(workers, report.note, run.rounds, "score", model)
            work = f"{model}, {queries} queries x {documents} documents of {_DOCUMENT} words"
            report.times(work, laps, amounts=dict.fromkeys(laps, queries * documents), rate="pairs")
            found = each(workers, report.note, lambda worker, model=model: worker.call("found", model))
            for difference in agreement(found).values():
                report.note(f"{model}: no score of padded matrices is further than {difference:.1g} from nirank's.")


# In the engine's process


class Lists:
    """Random words, some more often than others, and models with their first weights: the same in every process."""

    def __init__(self, queries: int, documents: int, threads: int, vectors: str) -> None:
        import torch

        import nirank
        from nirank.data import Candidates, Collection, Queries

        torch.set_num_threads(threads)
        shares = 1 / np.arange(10, _VOCABULARY + 10)
        random = np.random.default_rng(0)
        drawn = [
            random.choice(_VOCABULARY, (queries * count, length), p=shares / shares.sum())
            for count, length in ((1, _QUERY), (documents, _DOCUMENT))
        ]
        asked, told = ([" ".join(f"w{number}" for number in row) for row in rows.tolist()] for rows in drawn)
        lists = np.arange(queries * documents).reshape(queries, documents)
        corpus = nirank.Documents(list(map(str, lists.ravel())), told)
        judgments = Candidates.of(list(lists), corpus=corpus)
        self.collection = Collection("random", corpus, Queries.of(asked), judgments)
        self.vectors, self.models = vectors, dict[str, Any]()

    def model(self, name: str) -> Any:
        """A model that is ready, in evaluation mode."""
        import nirank

        if name not in self.models:
            settings = {} if name == "duet_local" else {"vectors": self.vectors}
            self.models[name] = nirank.load(name, device="cpu", **settings, **MODELS[name]).component.target
            self.models[name].begin(self.collection)
        return self.models[name]

    def score(self, name: str) -> Any:
        """The scores of all pairs."""
        import torch

        with torch.inference_mode():
            return self.scores(self.model(name), name)

    def scores(self, model: Any, name: str) -> Any:
        raise NotImplementedError

    def found(self, name: str) -> list[float]:
        """The scores as a list."""
        scores: list[float] = self.score(name).tolist()
        return scores


class Nirank(Lists):
    """nirank: all pairs at once."""

    def scores(self, model: Any, name: str) -> Any:  # noqa: ARG002 (models know what they are)
        return model.score(self.collection.queries, self.collection.judgments)


class Padded(Lists):
    """`_BATCH` pairs at a time, as matrices of word numbers."""

    def scores(self, model: Any, name: str) -> Any:
        import torch

        formula: Callable[..., Any] = getattr(self, f"_{name}")
        asked, told, idf, matrix = self._numbers(model, name)
        parts = zip(asked.split(_BATCH), told.split(_BATCH), idf.split(_BATCH), strict=True)
        return torch.cat([formula(model, matrix, *part) for part in parts])

    def _numbers(self, model: Any, name: str) -> Any:
        """Word numbers of queries and documents, a row a pair, the idf of query words, and a vector of each number."""
        import torch

        if name not in self.__dict__:
            pairs, lexicon = self.collection.judgments, model.lexicon
            asked = lexicon.read(self.collection.queries.contents).values.reshape(-1, _QUERY)[pairs.rows]
            told = lexicon.read(pairs.corpus[pairs.docs]).values.reshape(-1, _DOCUMENT)
            vectors = None if name == "duet_local" else model.vectors_of(np.arange(len(lexicon)))
            numbers = [torch.from_numpy(each) for each in (asked, told, lexicon.idf(asked))]
            self.__dict__[name] = (*numbers, vectors)
        return self.__dict__[name]

    def _cosines(self, matrix: Any, asked: Any, told: Any) -> Any:
        """`[pairs, query words, document words]`."""
        import torch.nn.functional as F

        return F.normalize(matrix[asked], dim=2) @ F.normalize(matrix[told], dim=2).transpose(1, 2)

    def _pooled(self, kernels: Any, similarities: Any) -> Any:
        """Kernel by kernel over all places, and summed up: `[pairs, kernels]`."""
        import torch

        each = zip(kernels.centres.tolist(), kernels.factors.tolist(), strict=True)
        sums = [((similarities - centre) ** 2 * factor).exp().sum(2) for centre, factor in each]
        return torch.stack(sums, 2).clamp_min(1e-10).log().mul(0.01).sum(1)

    def _knrm(self, model: Any, matrix: Any, asked: Any, told: Any, _: Any) -> Any:
        features = self._pooled(model.kernels, self._cosines(matrix, asked, told))
        return model.linear(features).squeeze(1).tanh()

    def _conv_knrm(self, model: Any, matrix: Any, asked: Any, told: Any, _: Any) -> Any:
        import torch
        import torch.nn.functional as F

        sides = [[], []]
        for (side, numbers), layer in product(enumerate((asked, told)), model.convolutions):
            size = layer.in_features // matrix.shape[1]
            windows = layer.weight.unflatten(1, (size, -1)).transpose(1, 2)
            texts = F.pad(matrix[numbers].transpose(1, 2), (0, size - 1))
            sides[side].append(F.normalize(F.conv1d(texts, windows, layer.bias).relu(), dim=1))
        pairs = [self._pooled(model.kernels, a.transpose(1, 2) @ b) for a, b in product(*sides)]
        return model.linear(torch.cat(pairs, 1)).squeeze(1).tanh()

    def _drmm(self, model: Any, matrix: Any, asked: Any, told: Any, idf: Any) -> Any:
        cosines, inner = self._cosines(matrix, asked, told), model.bins - 1
        bins = ((cosines + 1) * (inner / 2)).long().clamp(0, inner - 1)
        bins = bins.masked_fill(asked[:, :, None] == told[:, None], inner)
        counts = cosines.new_zeros(*asked.shape, model.bins).scatter_add(2, bins, cosines.new_ones(()).expand_as(bins))
        values = model.network(counts.log1p()).squeeze(2)
        return (values * model.weight(idf[:, :, None]).squeeze(2).softmax(1)).sum(1)

    def _matchpyramid(self, model: Any, matrix: Any, asked: Any, told: Any, _: Any) -> Any:
        import torch.nn.functional as F

        images = self._cosines(matrix, asked, told)[:, None]
        layer = model.convolution
        found = F.conv2d(images, layer.weight, layer.bias, padding="same").relu()
        return model.network(F.adaptive_max_pool2d(found, model.pool).flatten(1)).squeeze(1)

    def _pacrr(self, model: Any, matrix: Any, asked: Any, told: Any, idf: Any) -> Any:
        import torch
        import torch.nn.functional as F

        image = self._cosines(matrix, asked, told)
        images = [image]
        for layer in model.convolutions:
            beyond = layer.kernel_size[0] - 1
            images.append(layer(F.pad(image[:, None], (0, beyond, 0, beyond))).relu().amax(1))
        signals = torch.cat([*(each.topk(model.k, 2).values for each in images), idf.softmax(1)[:, :, None]], 2)
        return model.dense(signals.flatten(1)).squeeze(1)

    def _duet_local(self, model: Any, _: Any, asked: Any, told: Any, __: Any) -> Any:
        matches = (asked[:, :, None] == told[:, None]).float()
        return model.network((matches @ model.positions).tanh().flatten(1)).squeeze(1)
