"""Where a generative model gains nothing: DALL-E's transformer behind names of emoji, a prior where words have a tower.

Both are results beside the others: pictures of 1,923 emoji teach a transformer too little to rank by, and where texts
and pictures were trained together a prior has nothing to add.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from quality_generative_codes import sheet, trained, worth
from quality_generative_work import NDCG, Work, columns, dual, emoji, few, fitted, over_names, ranked, with_names
from quality_rows import Row
from quality_table import Table

import nirank
from nirank.data import Candidates, Collection, Queries
from nirank.kit import digest
from nirank.pipeline import Stage


def tables(asked: argparse.Namespace) -> list[Table]:
    """All tables, or those whose names are among `only`."""
    made = {"dalle-emoji": behind_names, "prior-joint": joint}
    return [table(asked) for name, table in made.items() if not asked.only or name in asked.only]


# DALL-E behind names

_COMMON = {"schedule": "cosine", "weight_decay": 0.0, "log_every": 50, "save_every": 100}
DALLE = {
    "dvae": {"channels": 3, "density": "normal", "normed": True},
    "dvae_training": {**_COMMON, "steps": 1500, "batch_size": 32, "learning_rate": 3e-3},
    "dalle_training": {**_COMMON, "steps": 600, "batch_size": 32, "learning_rate": 3e-3},
    "depth": 50,
}
#: What is added to the cosine of the name, for nats a code: chosen on dev, where 0 is the name alone.
WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0)
ALONE, RERANKED, RAW, ADDED = (
    "MiniLM over names",
    "its best 50 by dalle",
    "its best 50 by likelihood alone",
    "names + dalle, weight of dev",
)
_DRAWN = ("red heart", "sun", "flag", "cat", "grinning face", "car", "tree", "pizza")


def behind_names(asked: argparse.Namespace) -> Table:
    """Emoji by keywords that training never saw: names, and what DALL-E makes of their best."""
    outcomes = Work("dalle-emoji", {"dalle": DALLE, "weights": WEIGHTS}, _behind_names).outcomes(asked)
    rows = [Row(name, outcomes, prefix=f"{name} ") for name in (ALONE, RERANKED, RAW, ADDED)]
    chosen = ", ".join(f"{each.dev:g}" for each in outcomes)
    gain = rows[1].gain(rows[0], NDCG[0])
    notes = [
        f"By its score alone the best 50 {'lose' if gain.mean < 0 else 'win'}: {gain}. Weights that dev chose, by "
        f"seed: {chosen}, of {', '.join(f'{weight:g}' for weight in WEIGHTS)} (0 is the name alone)."
    ]
    error, used = (np.mean([np.mean(each.values[name]) for each in outcomes]) for name in ("error", "used"))
    notes.append(f"Pictures drawn of their own codes: squared error {error:.4f}, {used:.0f} of 256 codes in use.")
    if asked.save:
        drawings = _dalle(asked, 0).component.target.draw(Queries(_DRAWN, _DRAWN), 8)
        notes.append(f"Drawings at guidance 2: ![drawings of emoji]({sheet('emoji', _DRAWN, drawings)})")
    return Table(
        title="Emoji by keywords: DALL-E behind names",
        about=(
            "Keywords of test, none of which was a text of training, find emoji; the transformer learned from names "
            f"and keywords of train, in {DALLE['dalle_training']['steps']} steps, over codes of pictures of OpenMoji. "
            f"{len(outcomes)} seeds; significance of the difference from names alone (randomisation test)."
        ),
        columns=["system", *NDCG],
        rows=[[row.name, row.figure(NDCG[0], None if row is rows[0] else rows[0])] for row in rows],
        notes=notes,
    )


def _dalle(asked: argparse.Namespace, seed: int) -> Stage:
    """The transformer of a seed, trained or read from where it is kept."""
    train = emoji("train")
    known = digest([DALLE, seed, asked.quick])[:12]
    own = Collection("emoji/self", train.corpus, Queries(train.corpus.ids, train.corpus[:]), _each(train))
    vae = trained("dvae", asked.cells / f"generative-dvae-emoji-{known}", own, _options(asked, "dvae", seed), **_dvae())
    folder = asked.cells / f"generative-dalle-emoji-{known}"
    return trained("dalle", folder, with_names(train), _options(asked, "dalle", seed), vae=vae, seed=seed)


def _dvae() -> dict[str, Any]:
    return dict(DALLE["dvae"])


def _options(asked: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    told = dict(DALLE[f"{name}_training"])
    return {**told, "steps": few(asked, told["steps"]), "seed": seed}


def _each(collection: Collection) -> Candidates:
    """Each document, relevant to itself."""
    every = np.arange(len(collection.corpus))[:, None]
    return Candidates.of(every, np.ones(every.shape), collection.corpus)


def _behind_names(asked: argparse.Namespace, seed: int) -> tuple[dict[str, list[float]], float | None]:
    dalle = _dalle(asked, seed)
    folder = asked.cells / f"generative-dalle-emoji-{digest([DALLE, seed, asked.quick])[:12]}"
    raw = nirank.load(f"trained:{folder}", weight=0.0)
    dev, test = (_few_queries(asked, emoji(split)) for split in ("dev", "test"))
    first = over_names() >> nirank.load("exact") % DALLE["depth"]
    found = {part.name: first.search(part.queries, part.corpus) for part in (dev, test)}
    scored = {part.name: dalle.score(part.queries, found[part.name]) for part in (dev, test)}

    def added(part: Collection, weight: float) -> Any:
        names = found[part.name]
        mixed = names.with_scores(np.asarray(names.scores) + weight * scored[part.name]).ranked()
        return nirank.evaluate(mixed, part.judgments, NDCG)

    best = max(WEIGHTS, key=lambda weight: added(dev, weight).mean[NDCG[0]])
    alone = found[test.name]
    by_dalle = alone.with_scores(scored[test.name]).ranked()
    by_raw = alone.with_scores(raw.score(test.queries, alone)).ranked()
    values = columns(f"{ALONE} ", added(test, 0.0)) | worth(dalle.component.target.vae, test.corpus[:])
    values |= columns(f"{RERANKED} ", nirank.evaluate(by_dalle, test.judgments, NDCG))
    values |= columns(f"{RAW} ", nirank.evaluate(by_raw, test.judgments, NDCG))
    return values | columns(f"{ADDED} ", added(test, best)), best


def _few_queries(asked: argparse.Namespace, collection: Collection) -> Collection:
    return collection.take(slice(0, 6)) if asked.quick else collection


# A prior into a space that texts were trained with

JOINT = {
    "dual": {"hidden": 1024, "steps": 600, "batch_size": 256, "learning_rate": 2e-3},
    "prior": {"hidden": 1024, "steps": 1500, "batch_size": 256, "learning_rate": 1e-3},
    "samples": 16,
    "guidance": 4.0,
    "share": 0.25,
}
TOWER, RIDGE, NETWORK = "the text tower itself", "prior, ridge regression", "prior, network, all against all"
DIFFUSION, BOTH = "prior, diffusion, guidance 4", "text tower + .25 prior (network)"


def joint(asked: argparse.Namespace) -> Table:
    """Words that find pictures by a text tower that was trained with them, and by priors."""
    outcomes = Work("prior-joint", {"joint": JOINT}, _joint).outcomes(asked)
    rows = [Row(name, outcomes, prefix=f"{name} ") for name in (TOWER, RIDGE, NETWORK, DIFFUSION, BOTH)]
    gain = rows[2].gain(rows[0], NDCG[0])
    return Table(
        title="Priors where texts and pictures have one space",
        about=(
            "`dual` over emoji, MiniLM's space fixed, frozen EfficientNet-lite0 projected into it; priors then learn "
            "from the same names and keywords. Keywords of test, never seen, ask. "
            f"{len(outcomes)} seeds; significance of the difference from the text tower (randomisation test)."
        ),
        columns=["query vector", *NDCG],
        rows=[[row.name, row.figure(NDCG[0], None if row is rows[0] else rows[0])] for row in rows],
        notes=[f"The network against the text tower: {gain}{'' if gain.mean > 0 else ', no gain'}."],
    )


def _joint(asked: argparse.Namespace, seed: int) -> tuple[dict[str, list[float]], float | None]:
    train, test, exact = with_names(emoji("train")), _few_queries(asked, emoji("test")), nirank.load("exact")
    tower = dual(asked, train, JOINT["dual"], seed)
    values = columns(f"{TOWER} ", ranked(tower >> exact, test, NDCG))
    told = dict(JOINT["prior"])
    shape = {"clip": tower, "hidden": told.pop("hidden"), "seed": seed}
    ridge = nirank.load("prior", how="ridge", penalty=1.0, clip=tower)
    nirank.fit(ridge, None, train)
    values |= columns(f"{RIDGE} ", ranked(ridge >> exact, test, NDCG))
    hard = nirank.load("in_batch", negatives=512)
    mlp = fitted(asked, nirank.load("prior", layers=1, **shape), "clip", train, hard, told, seed)
    values |= columns(f"{NETWORK} ", ranked(mlp >> exact, test, NDCG))
    every = len(test.corpus)
    both = (tower >> exact % every | mlp >> exact % every) >> tower + JOINT["share"] * mlp
    values |= columns(f"{BOTH} ", ranked(both, test, NDCG))
    diffusion = nirank.load("prior", how="diffusion", samples=JOINT["samples"], **shape)
    fitted(asked, diffusion, "likelihood", train, "positives", told, seed)
    target: Any = diffusion.component.target
    target.drawing = replace(target.drawing, guidance=JOINT["guidance"])
    diffusion.component.changed()
    return values | columns(f"{DIFFUSION} ", ranked(diffusion >> exact, test, NDCG)), None
