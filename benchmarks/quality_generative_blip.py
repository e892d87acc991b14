"""BLIP, CapFilt and unCLIP's prior as rankers: on icons, emoji and Fashion-MNIST, three seeds each unless told.

What is measured, and what is not gained, stands beside each other: matching behind a contrastive first stage on icons;
captions as document expansion on emoji; the filter of CapFilt on captions of which most are wrong; and priors that lead
from words into a space that pictures alone have made.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from losses_cells import Outcome
from quality_generative_work import LITE0, NDCG, SMALL, Work, columns, dual, emoji, few, over_names, ranked, with_names
from quality_generative_work import icons as icon_pictures
from quality_rows import Row
from quality_table import Cell, Figure, Table

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.evaluation import Evaluation
from nirank.kit.vision import EfficientNet, Pixels
from nirank.pipeline import Ranking, Stage


def tables(asked: argparse.Namespace) -> list[Table]:
    """All tables, or those whose names are among `only`."""
    made = {"icons": icons, "captions": captions, "capfilt": capfilt, "prior": prior}
    return [table(asked) for name, table in made.items() if not asked.only or name in asked.only]


# Icons: the text space fixed, and matching as a second stage

ICONS = {
    "dual": {"hidden": 1024, "steps": 900, "batch_size": 256},
    "itm": {"steps": 400, "depth": 20, "batch_size": 24},
}
MATCHING = {"image": "efficientnet_lite0", "side": SMALL, "width": 96, "layers": 2, "vocabulary": 6000, "longest": 12}
WEIGHTS = (0.25, 0.5, 1.0)


def icons(asked: argparse.Namespace) -> Table:
    """Icons by keywords of other people: pictures alone, names alone, both, and matching behind pictures."""
    test = icon_pictures(asked, "test")
    names = ranked(over_names() >> nirank.load("exact"), icon_pictures(asked, "test"), NDCG)
    bm25 = ranked(nirank.load("bm25", field="name") % 100, test, NDCG)
    outcomes = Work("icons", {"icons": ICONS, "matching": MATCHING, "weights": WEIGHTS}, _icons_of).outcomes(asked)
    baseline = Row("MiniLM over names", [Outcome(columns("", names), None, [], 0.0)])
    rows = [Row("BM25 over names", [Outcome(columns("", bm25), None, [], 0.0)]), baseline]
    rows.append(Row("dual over pictures, text space fixed", outcomes, "frozen EfficientNet-lite0", "dual "))
    rows.append(Row("names + dual", outcomes, "weight chosen on dev", "fused "))
    rows.append(Row("dual, best 20 by blip_itm", outcomes, "weight chosen on dev", "itm "))
    compared = {"fused ": (baseline, None), "itm ": (rows[2], "dual ")}
    cells: list[list[Cell]] = []
    for row in rows:
        whole, first = compared.get(row.prefix, (None, None))
        split = [_part(outcomes, row.prefix, part, first) if row.prefix else None for part in ("seen", "unseen")]
        cells.append([row.name, row.figure("nDCG@10", whole), *split, row.made])
    seen = [float(np.mean([each.mean(f"{name} seen nDCG@10") for each in outcomes])) for name in ("dual", "itm")]
    return Table(
        title="Icons by keyword",
        about=(
            f"{len(test.queries)} tags of Lucide find its {len(test.corpus)} icons; trained on Tabler and Phosphor, "
            "whose names and tags are other people's. Queries that are texts of training are seen, others unseen. "
            "Significance (randomisation test) of names + dual against names, and of matching against dual."
        ),
        columns=["system", "nDCG@10", "seen", "unseen", "how"],
        rows=cells,
        notes=[
            f"Matching changes seen texts by {100 * (seen[1] / seen[0] - 1):+.1f} %. Weights that dev chose for it, by "
            f"seed: {', '.join(f'{each.dev:g}' for each in outcomes)}, of 0, {', '.join(map(str, WEIGHTS))}."
        ]
        if min(seen) > 0
        else [],
    )


def _part(outcomes: list[Outcome], prefix: str, part: str, first: str | None) -> Figure:
    """A system over seen or unseen queries, with the significance of the difference from `first` if one is named."""
    baseline = first and Row("", outcomes, prefix=f"{first}{part} ")
    return Row("", outcomes, prefix=f"{prefix}{part} ").figure("nDCG@10", baseline or None)


def _icons_of(asked: argparse.Namespace, seed: int) -> tuple[dict[str, list[float]], float | None]:
    train, dev, test = (icon_pictures(asked, split) for split in ("train", "dev", "test"))
    seen = np.isin(np.array(test.queries.contents), train.queries.contents)
    told, exact = ICONS["dual"], nirank.load("exact")
    first = dual(asked, train, {**told, "learning_rate": 2e-3}, seed)
    values = _split("dual ", ranked(first >> exact, test, NDCG), seen)
    names = over_names()
    both = {w: (first >> exact % 100 | names >> exact % 100) >> w * first + names for w in WEIGHTS}
    best = max(WEIGHTS, key=lambda w: ranked(both[w], dev, NDCG).mean["nDCG@10"])
    values |= _split("fused ", ranked(both[best], test, NDCG), seen)
    matching = _second_stage(asked, first, train, seed)
    depth = ICONS["itm"]["depth"]
    of_dev, of_test = (_matched(first >> exact % depth, matching, collection) for collection in (dev, test))
    best = max((0.0, *WEIGHTS), key=lambda w: of_dev(w).mean["nDCG@10"])
    return values | _split("itm ", of_test(best), seen), float(best)


def _matched(first: Ranking, matching: Stage, collection: Collection) -> Callable[[float], Evaluation]:
    """What the first stage finds, ordered by 20 times its own cosine and by matching, which has a weight from 0 to 1.

    Both are asked once for all weights.
    """
    found = first.search(collection.queries, collection.corpus)
    matches = matching.score(collection.queries, found)

    def evaluated(weight: float) -> Evaluation:
        scored = found.with_scores(20.0 * (1 - weight) * found.scores + weight * matches)
        return nirank.evaluate(scored.ranked(), collection.judgments, NDCG)

    return evaluated


def _second_stage(asked: argparse.Namespace, first: Stage, train: Collection, seed: int) -> Stage:
    """Matching, whose score begins with 20 times the cosine, trained on what the first stage finds."""
    told = ICONS["itm"]
    config = {**MATCHING, "image_weights": str(asked.data / LITE0)}
    stage = nirank.load("blip_itm", config=config, first=first, scale=20.0, by="odds", freeze=["image"], seed=seed)
    sampler = nirank.load("confused", pipeline=first >> nirank.load("exact") % told["depth"], top=told["depth"])
    random = np.random.default_rng(seed)
    wanted = np.sort(random.permutation(len(train.queries))[: few(asked, told["steps"]) * told["batch_size"]])
    options = {"steps": few(asked, told["steps"]), "batch_size": told["batch_size"], "learning_rate": 1e-3}
    nirank.fit(stage, "softmax_cross_entropy", train.take(wanted), sampler=sampler, seed=seed, **options)
    return stage


def _split(prefix: str, found: Evaluation, seen: np.ndarray) -> dict[str, list[float]]:
    """Values of all queries, and of those that are seen and unseen texts."""
    column = found.values["nDCG@10"]
    parts = {"": column, "seen ": column[seen], "unseen ": column[~seen]}
    return {f"{prefix}{part}nDCG@10": values.tolist() for part, values in parts.items()}


# Emoji: captions as document expansion

CAPTIONS = {"steps": 1500, "batch_size": 64, "texts": (1, 4, 16), "side": SMALL}
WRITER = {"image": "efficientnet_lite0", "side": SMALL, "width": 128, "layers": 2, "vocabulary": 3000, "longest": 12}


def captions(asked: argparse.Namespace) -> Table:
    """BM25 over names, names with captions, and captions alone."""
    test = emoji("test")
    names = ranked(nirank.load("bm25", field="name") % 1000, test, NDCG)
    outcomes = Work("captions", {"captions": CAPTIONS, "writer": WRITER}, _captions_of).outcomes(asked)
    baseline = Row("BM25 over names", [Outcome(columns("", names), None, [], 0.0)])
    rows = [baseline]
    rows += [Row(f"names + {count} captions", outcomes, "n best beams", f"{count} ") for count in CAPTIONS["texts"]]
    rows.append(Row(f"{CAPTIONS['texts'][-1]} captions alone", outcomes, "no name is read", "alone "))
    return Table(
        title="Captions as document expansion",
        about="Keywords of test, none of which was a text of training, find emoji; the writer saw names and keywords.",
        columns=["system", "nDCG@10", "how"],
        rows=[[row.name, row.figure("nDCG@10", None if row is baseline else baseline), row.made] for row in rows],
    )


def _captions_of(asked: argparse.Namespace, seed: int) -> tuple[dict[str, list[float]], float | None]:
    test = emoji("test")
    config = {**WRITER, "image_weights": str(asked.data / LITE0)}
    stage = nirank.load("encoder/blip", config=config, lm=1.0, freeze=["image"], seed=seed)
    options = {"steps": few(asked, CAPTIONS["steps"]), "batch_size": CAPTIONS["batch_size"], "learning_rate": 2e-3}
    nirank.fit(stage, "clip", with_names(emoji("train")), sampler="in_batch", seed=seed, **options)
    most = 2 if asked.quick else CAPTIONS["texts"][-1]
    writer = nirank.load("writer/blip", "captions", model=stage, texts=most, beams=most, length=8)
    lines = nirank.write(test.corpus, writer, append=False).column("written", slice(None))
    names = test.corpus.column("name", slice(None))
    values: dict[str, list[float]] = {}
    for count in CAPTIONS["texts"]:
        told = [" ".join([name, *line.split("\n")[:count]]) for name, line in zip(names, lines, strict=True)]
        values |= columns(f"{count} ", _by_words(told, test))
    return values | columns("alone ", _by_words([line.replace("\n", " ") for line in lines], test)), None


def _by_words(texts: Sequence[str], test: Collection) -> Evaluation:
    corpus = Documents(test.corpus.ids, texts)
    return ranked(nirank.load("bm25") % 1000, Collection("c", corpus, test.queries, test.judgments.over(corpus)), NDCG)


# Fashion-MNIST: CapFilt

CLASSES = ("top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
CAPFILT = {"pictures": 20_000, "searched": 3_000, "clean": 20, "wrong": 0.6, "steps": 1200, "batch_size": 96}
FASHION = {
    "side": 28,
    "patch": 7,
    "image_width": 96,
    "image_layers": 3,
    "width": 48,
    "layers": 1,
    "dim": 64,
    "least": 1,
}


def capfilt(asked: argparse.Namespace) -> Table:
    """What a model becomes with noisy captions, with those that it lets pass itself, and with clean ones."""
    outcomes = Work("capfilt", {"capfilt": CAPFILT, "shape": FASHION}, _capfilt_of).outcomes(asked)
    rows = [
        Row("noisy", outcomes, "three fifths of the captions wrong, but for a clean twentieth", "noisy "),
        Row("trained anew on what it keeps", outcomes, "threshold where nine tenths of the clean pairs pass", "kept "),
        Row("no wrong captions", outcomes, "what could be reached", "clean "),
    ]
    auc, wrong, share = (float(np.mean([each.mean(name) for each in outcomes])) for name in ("auc", "wrong", "share"))
    return Table(
        title="CapFilt with the contrastive score as the filter",
        about=(
            f"Ten names find {CAPFILT['searched']:,} pictures of Fashion-MNIST. Of {CAPFILT['pictures']:,} captioned "
            f"pictures {100 * CAPFILT['wrong']:.0f} % have the name of another class, but for a clean twentieth."
        ),
        columns=["trained with", "MAP", "how"],
        rows=[[row.name, row.figure("AP", None if row is rows[0] else rows[0]), row.made] for row in rows],
        notes=[
            f"The filter's AUC is {auc:.3f}; it keeps {100 * share:.0f} % of the noisy pairs, {100 * wrong:.0f} % of "
            "these wrong."
        ],
    )


def captioned(asked: argparse.Namespace, seed: int, wrong: float, quick: bool = False) -> tuple[Collection, Collection]:
    """Captioned pictures, of which a share has the name of another class; and a clean twentieth."""
    pictures = 600 if quick else CAPFILT["pictures"]
    whole = nirank.collection(f"idx:{asked.data / 'fashion_mnist'}", split="train", limit=pictures)
    labels = _labels(asked, "train")[:pictures]
    random = np.random.default_rng([7, seed])
    order = random.permutation(pictures)
    clean, noisy = order[: pictures // CAPFILT["clean"]], order[pictures // CAPFILT["clean"] :]
    given = labels.copy()
    spoilt = noisy[random.random(len(noisy)) < wrong]
    given[spoilt] = (labels[spoilt] + random.integers(1, 10, len(spoilt))) % 10
    return _of_names("noisy", whole, noisy, given), _of_names("clean", whole, clean, labels)


def _labels(asked: argparse.Namespace, split: str) -> np.ndarray:
    import gzip

    name = {"train": "train", "test": "t10k"}[split]
    with gzip.open(asked.data / "fashion_mnist" / f"{name}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read()[8:], np.uint8).astype(np.int64)


def _of_names(name: str, whole: Collection, chosen: np.ndarray, labels: np.ndarray) -> Collection:
    chosen = np.sort(chosen)
    corpus = Documents(list(whole.corpus.ids.take(chosen)), whole.corpus[chosen])
    rows = [np.flatnonzero(labels[chosen] == number) for number in range(10)]
    judged = Candidates.of(rows, [np.ones(len(row)) for row in rows], corpus)
    return Collection(name, corpus, Queries([f"c{number}" for number in range(10)], list(CLASSES)), judged)


def _capfilt_of(asked: argparse.Namespace, seed: int) -> tuple[dict[str, list[float]], float | None]:
    from nirank_blip.capfilt import filtered

    test = nirank.collection(f"idx:{asked.data / 'fashion_mnist'}", limit=300 if asked.quick else CAPFILT["searched"])
    test = _of_names("test", test, np.arange(len(test.corpus)), _labels(asked, "test"))
    noisy, clean = captioned(asked, seed, CAPFILT["wrong"], asked.quick)
    truth, _ = captioned(asked, seed, 0.0, asked.quick)
    both = filtered(noisy, clean, _Everything().stage).collection
    first = _trained(asked, both, seed)
    found = filtered(noisy, clean, first)
    pairs = noisy.judgments
    right = pairs.lookup(truth.judgments, 0) > 0
    values = columns("noisy ", _map(first, test)) | columns(
        "kept ", _map(_trained(asked, found.collection, seed), test)
    )
    known = filtered(truth, clean, _Everything().stage).collection
    values |= columns("clean ", _map(_trained(asked, known, seed), test))
    wrong = float((~right[found.kept]).mean())
    return values | {"auc": [auc(found.scores, right)], "wrong": [wrong], "share": [float(found.kept.mean())]}, None


class _Everything:
    """A filter that lets all pass."""

    def score(self, queries: Queries, candidates: Candidates) -> np.ndarray:  # noqa: ARG002
        return np.zeros(candidates.pairs, np.float32)

    @property
    def stage(self) -> Stage:
        """The filter as a scoring."""
        return nirank.load(self)


def _trained(asked: argparse.Namespace, collection: Collection, seed: int) -> Stage:
    stage = nirank.load("encoder/blip", config=FASHION, seed=seed)
    options = {"steps": few(asked, CAPFILT["steps"]), "batch_size": CAPFILT["batch_size"], "learning_rate": 1e-3}
    nirank.fit(stage, "clip", collection, sampler="in_batch", seed=seed, **options)
    return stage


def _map(stage: Stage, test: Collection) -> Evaluation:
    return ranked(stage >> nirank.load("exact"), test, ["AP"])


def auc(scores: np.ndarray, right: np.ndarray) -> float:
    """The share of pairs of a right and a wrong one of which the right one scores higher; ties count a half."""
    _, ranks, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # ranks from 1, ties at their middle
    n, m = int(right.sum()), int((~right).sum())
    return float((middle[ranks][right].sum() - n * (n + 1) / 2) / (n * m))


# Emoji: priors into a space of pictures

PRIOR = {"pca": 256, "hidden": 1024, "steps": 1500, "batch_size": 256, "samples": 16}
GUIDANCE = (1.0, 4.0)
MLP, RIDGE = "network, all against all", "ridge regression"


class Lite0:
    """EfficientNet-lite0's features of pictures, centred, projected on their first components, of length 1."""

    vectors = "dense"

    def __init__(self, weights: Path, corpus: Documents, dims: int) -> None:
        self._network, side = EfficientNet().eval(), (SMALL, SMALL)
        self._network.load(weights)
        self._pixels = Pixels(side, mean=(EfficientNet.MEAN,) * 3, std=(EfficientNet.STD,) * 3)
        features = self._features(corpus[:])
        self._mean = features.mean(0)
        self._axes = np.linalg.svd(features - self._mean, full_matrices=False)[2][:dims].T
        self.fingerprint = f"lite0 {SMALL} {dims} {len(corpus)}"

    def encode_documents(self, contents: Sequence[Any]) -> np.ndarray:
        """Vectors of pictures, `[pictures, dims]`."""
        return ((self._features(contents) - self._mean) @ self._axes).astype(np.float32)

    def _features(self, contents: Sequence[Any]) -> np.ndarray:
        with torch.inference_mode():
            return torch.cat([self._network(each) for each in self._pixels.batches(contents, 64)]).numpy()


def prior(asked: argparse.Namespace) -> Table:
    """Words that find pictures of which nothing but the pictures was known when they were indexed."""
    test = emoji("test")
    bm25 = ranked(nirank.load("bm25", field="name") % 1000, test, NDCG)
    outcomes = Work("prior", {"prior": PRIOR, "guidance": GUIDANCE}, _prior_of).outcomes(asked)
    systems = [RIDGE, MLP, *(f"diffusion, guidance {w:g}" for w in GUIDANCE)]
    rows = [Row("BM25 over names", [Outcome(columns("", bm25), None, [], 0.0)])]
    rows += [Row(system, outcomes, "", f"{system} ") for system in systems]
    return Table(
        title="Priors into the space of EfficientNet-lite0",
        about=(
            f"Pictures of emoji are indexed by {PRIOR['pca']} components of their features, which know no words. "
            "Keywords of train, and names, taught the way from MiniLM's vectors; keywords of test, never seen, ask."
        ),
        columns=["query vector", "nDCG@10"],
        rows=[[row.name, row.figure("nDCG@10")] for row in rows],
    )


def _prior_of(asked: argparse.Namespace, seed: int) -> tuple[dict[str, list[float]], float | None]:
    train, test = with_names(emoji("train")), emoji("test")
    clip = nirank.load(Lite0(asked.data / LITE0, test.corpus, PRIOR["pca"]))
    settings = {"clip": clip, "text": nirank.load("minilm"), "hidden": PRIOR["hidden"], "seed": seed}
    options = {"steps": few(asked, PRIOR["steps"]), "batch_size": PRIOR["batch_size"], "learning_rate": 1e-3}
    exact = nirank.load("exact")
    ridge = nirank.load("prior", how="ridge", penalty=1.0, **settings)
    nirank.fit(ridge, None, train)
    values = columns(f"{RIDGE} ", ranked(ridge >> exact, test, NDCG))
    mlp = nirank.load("prior", layers=1, **settings)
    nirank.fit(mlp, "clip", train, sampler=nirank.load("in_batch", negatives=512), seed=seed, **options)
    values |= columns(f"{MLP} ", ranked(mlp >> exact, test, NDCG))
    diffusion = nirank.load("prior", how="diffusion", samples=PRIOR["samples"], **settings)
    nirank.fit(diffusion, _likelihood(), train, sampler=_positives(), seed=seed, **options)
    for guidance in GUIDANCE:
        target = diffusion.component.target
        target.drawing = type(target.drawing)(samples=PRIOR["samples"], guidance=guidance)
        diffusion.component.changed()
        found = ranked(diffusion >> exact, test, NDCG)
        values |= columns(f"diffusion, guidance {guidance:g} ", found)
    return values, None


def _likelihood() -> Any:
    return nirank.load("loss/likelihood")


def _positives() -> Any:
    return nirank.load("sampler/positives")
