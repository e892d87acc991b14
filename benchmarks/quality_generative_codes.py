"""Codes of a discrete autoencoder as an index of pictures, and DALL-E's transformer over them, on Fashion-MNIST.

Pictures of the training part train, those of the test part are searched. What is trained is kept as checkpoints beside
the outcomes, so that an interrupted run goes on in the middle of a training.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from losses_cells import Cells, Outcome
from losses_code import note, takes_file
from quality_rows import Row
from quality_table import Cell, Table, number

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.files import beside
from nirank.kit import digest
from nirank.pipeline import Ranking, Stage

RESULTS = Path(__file__).with_name("results")
MEASURES = ("CMC@1", "mAP@R")
NAMES = (
    *("T-shirt or top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
CODES, HAMMING, PIXELS = "dvae >> codes", "codes, Hamming", "pixels, L2"
DIFFERENCE, RAW, FIRST = "dalle", "dalle, likelihood alone", "dalle_marginals >> codes"
BOTH = "dalle_marginals >> codes % 200 >> dalle"
_COMMON = {"learning_rate": 3e-3, "schedule": "cosine", "weight_decay": 0.0, "log_every": 50, "save_every": 100}


@dataclass(frozen=True)
class Recipe:
    """How many pictures train, are searched and ask, and how each model is trained."""

    train: int = 20000
    documents: int = 10000
    queries: int = 1000
    named: int = 2000  # pictures that names ask for
    drawings: int = 20  # of each name
    dvae: Mapping[str, Any] = field(default_factory=lambda: {"beta": 0.1, "tau": 0.25})
    dvae_training: Mapping[str, Any] = field(
        default_factory=lambda: {**_COMMON, "steps": 1500, "batch_size": 64, "learning_rate": 1e-2}
    )
    dalle_training: Mapping[str, Any] = field(default_factory=lambda: {**_COMMON, "steps": 600, "batch_size": 32})
    marginals_training: Mapping[str, Any] = field(
        default_factory=lambda: {**_COMMON, "steps": 300, "batch_size": 64, "learning_rate": 1e-2}
    )

    def quick(self) -> Recipe:
        """Little of everything."""
        few = {"steps": 3, "batch_size": 8}
        trainings = {
            name: {**getattr(self, name), **few} for name in ("dvae_training", "dalle_training", "marginals_training")
        }
        return replace(self, train=200, documents=60, queries=20, named=40, drawings=1, **trainings)


def tables(asked: argparse.Namespace) -> list[Table]:
    """Pictures by pictures, then pictures by names."""
    recipe = Recipe().quick() if asked.quick else Recipe()
    seeds = range(1 if asked.quick else asked.seeds)
    works: dict[str, tuple[Callable[..., Outcome], Callable[..., Table]]] = {
        "dvae": (by_pictures, _pictures_table),
        "dalle": (by_names, _names_table),
    }
    found = []
    for name, (make, table) in works.items():
        if not asked.only or name in asked.only:
            cells, told, given = Cells(asked.cells), {"recipe": asdict(recipe)}, (recipe, asked.data, asked.cells)
            outcomes = [
                cells.get("generative", name, told | {"seed": seed}, partial(make, *given, seed)) for seed in seeds
            ]
            found.append(table(recipe, outcomes, asked))
    return found


# Training


def trained(use: str, folder: Path, train: Collection, options: Mapping[str, Any], **settings: Any) -> Stage:
    """A stage trained by maximum likelihood, or read from the folder where that was done before."""
    whole = (folder / "checkpoint").exists()
    if not whole or not takes_file(folder):
        if whole:
            shutil.rmtree(folder)
        stage = nirank.load(use, **settings)
        nirank.fit(stage, "likelihood", train, sampler="positives", out=folder, **options)
        note(folder)
    return nirank.load(f"trained:{folder}")


def autoencoder(recipe: Recipe, data: Path, cells: Path, seed: int) -> Stage:
    """The discrete autoencoder of a seed."""
    settings = {**recipe.dvae, "seed": seed}
    known = digest([settings, dict(recipe.dvae_training), recipe.train])[:12]
    pictures = _pictures(data, "train", recipe.train, ask="self")
    options = {**recipe.dvae_training, "seed": seed}
    return trained("dvae", cells / f"generative-dvae-{known}", pictures, options, **settings)


def named(data: Path, split: str, limit: int) -> Collection:
    """The ten names as queries, to which pictures of their class are relevant."""
    alike = _pictures(data, split, limit)
    classes = _classes(data, split, limit)
    rows = [np.flatnonzero(classes == number) for number in range(len(NAMES))]
    judged = Candidates.of(rows, [np.ones(len(row)) for row in rows], alike.corpus)
    return Collection(f"{alike.name}/names", alike.corpus, Queries(NAMES, NAMES), judged)


# Measuring


class Flat:
    """Pixels as vectors whose dot product orders as minus their distance does."""

    vectors = "dense"

    def __init__(self, side: int = 28) -> None:
        self.side = side

    def encode(self, queries: Queries) -> np.ndarray:
        """Pixels and 1."""
        pixels = self._pixels(queries.contents)
        return np.concatenate([pixels, np.ones((len(pixels), 1), np.float32)], axis=1)

    def encode_documents(self, contents: Any) -> np.ndarray:
        """Pixels and minus half the square of their length."""
        pixels = self._pixels(contents)
        return np.concatenate([pixels, -np.square(pixels).sum(1, keepdims=True) / 2], axis=1)

    def _pixels(self, contents: Any) -> np.ndarray:
        found = [np.asarray(each.convert("L").resize((self.side, self.side)), np.float32) / 255 for each in contents]
        return np.array(found, np.float32).reshape(-1, self.side**2)


class Hamming:
    """Codes compared as they are: how many are the same."""

    vectors = "codes"

    def __init__(self, model: Any) -> None:
        self.model, self.fingerprint = model, f"Hamming {model.fingerprint}"

    def encode(self, queries: Queries) -> np.ndarray:
        """Tables with 1 for the query's own code."""
        codes = np.asarray(self.model.encode_documents(queries.contents), np.int64)
        return np.eye(self.model.codes, dtype=np.float32)[codes]

    def encode_documents(self, contents: Any) -> Any:
        """Codes."""
        return self.model.encode_documents(contents)


def by_pictures(recipe: Recipe, data: Path, cells: Path, seed: int) -> Outcome:
    """Pictures that ask for pictures of their class; and what the codes are worth."""
    start, model = time.perf_counter(), autoencoder(recipe, data, cells, seed)
    whole = _pictures(data, "test", recipe.documents)
    test = whole.take(slice(0, recipe.queries))
    systems = {
        CODES: model >> nirank.load("codes"),
        HAMMING: nirank.load(Hamming(model.component.target)) >> nirank.load("codes"),
        PIXELS: nirank.load(Flat()) >> nirank.load("exact"),
    }
    values = {}
    for name, system in systems.items():
        found = nirank.evaluate(_others(system, test), test.judgments, MEASURES)
        values |= {f"{name} {measure}": found.values[measure].tolist() for measure in MEASURES}
    return Outcome(values | worth(model, whole.corpus[:1000]), None, [], time.perf_counter() - start)


def by_names(recipe: Recipe, data: Path, cells: Path, seed: int) -> Outcome:
    """Names that ask for pictures, pictures that ask for names, and pictures drawn by names."""
    start, vae = time.perf_counter(), autoencoder(recipe, data, cells, seed)
    train, test = named(data, "train", recipe.train), named(data, "test", recipe.named)
    first = trained(
        *("dalle_marginals", cells / f"generative-marginals-{_known(recipe, vae)}", train),
        {**recipe.marginals_training, "seed": seed},
        vae=vae,
        seed=seed,
    )
    dalle = transformer(recipe, data, cells, seed)
    raw = nirank.load(f"trained:{cells / f'generative-dalle-{_known(recipe, vae)}'}", weight=0.0)
    values = {}
    for name, system in _named_systems(first, dalle, raw, len(test.corpus)):
        found = (system % len(test.corpus)).search(test.queries, test.corpus)
        values[f"{name} AP"] = nirank.evaluate(found, test.judgments, ["AP"]).values["AP"].tolist()
    values["zero-shot"] = _zero_shot(dalle, data, recipe.named)
    values |= _judged(dalle, recipe, data)
    return Outcome(values, None, [], time.perf_counter() - start)


def transformer(recipe: Recipe, data: Path, cells: Path, seed: int) -> Stage:
    """DALL-E's transformer of a seed, trained or read from where it is kept."""
    vae = autoencoder(recipe, data, cells, seed)
    train, folder = named(data, "train", recipe.train), cells / f"generative-dalle-{_known(recipe, vae)}"
    return trained("dalle", folder, train, {**recipe.dalle_training, "seed": seed}, vae=vae, seed=seed)


def _known(recipe: Recipe, vae: Stage) -> str:
    """A hash of all that trainings over the codes of an autoencoder depend on."""
    return digest([vae.component.fingerprint, dict(recipe.dalle_training), dict(recipe.marginals_training)])[:12]


def _named_systems(first: Stage, dalle: Stage, raw: Stage, documents: int) -> Iterator[tuple[str, Ranking]]:
    everything = nirank.load(_Everything()) % documents
    yield DIFFERENCE, everything >> dalle
    yield RAW, everything >> raw
    yield FIRST, first >> nirank.load("codes")
    yield BOTH, first >> nirank.load("codes") % 200 >> dalle


class _Everything:
    """Finds all documents."""

    def build(self, corpus: Any, folder: Path, encode: object = None) -> None:  # noqa: ARG002
        (folder / "size").write_text(str(len(corpus)), encoding="utf-8")

    def open(self, corpus: Any, folder: Path) -> None:  # noqa: ARG002
        self.size = len(corpus)

    def generate(self, queries: Queries, k: int) -> Candidates:
        docs = np.arange(min(k, self.size))
        return Candidates.of([docs] * len(queries), [np.zeros(len(docs))] * len(queries))


def _others(system: Ranking, test: Collection) -> Candidates:
    """What is found beside the picture that asks."""
    return (nirank.others(system) % len(test.corpus)).search(test.queries, test.corpus)


def worth(model: Stage, contents: Sequence[Any]) -> dict[str, list[float]]:
    """The squared error of each picture rebuilt from its codes, and how many codes are in use."""
    target: Any = model.component.target
    codes = target.encode_documents(contents)
    with torch.inference_mode():
        read = target.read(contents)
        made = target.read(target.decode(codes))
    errors = (read - made).square().flatten(1).mean(1).tolist()
    counts = np.bincount(np.ravel(codes), minlength=target.codes)
    shares = counts[counts > 0] / counts.sum()
    perplexity = float(np.exp(-(shares * np.log(shares)).sum()))
    return {"error": errors, "used": [float((counts > 0).sum())], "perplexity": [perplexity]}


def _zero_shot(dalle: Stage, data: Path, limit: int) -> list[float]:
    """1 for each picture whose name has the best score, else 0."""
    pictures, classes = _pictures(data, "test", limit), _classes(data, "test", limit)
    names = Documents([*NAMES], [*NAMES])
    pairs = Candidates.of([np.arange(len(NAMES))] * len(classes), corpus=names)
    asked = Queries(pictures.queries.ids, pictures.queries.contents)
    scores = dalle.score(asked, pairs).reshape(-1, len(NAMES))
    return (scores.argmax(1) == classes).astype(float).tolist()


def _judged(dalle: Stage, recipe: Recipe, data: Path) -> dict[str, list[float]]:
    """1 for each drawing that a classifier of real pictures takes for what was asked; and for each real one."""
    target: Any = dalle.component.target
    with torch.inference_mode():
        drawn = target.draw(Queries(NAMES, NAMES), recipe.drawings)
    flat = Flat(32)
    train, classes = _pictures(data, "train", recipe.train), _classes(data, "train", recipe.train)
    judge = _classifier(flat._pixels(train.corpus[:]), classes)
    wanted = np.repeat(np.arange(len(NAMES)), recipe.drawings)
    made = judge(flat._pixels([each for pictures in drawn for each in pictures]))
    real = judge(flat._pixels(_pictures(data, "test", recipe.named).corpus[:]))
    right = real == _classes(data, "test", recipe.named)
    return {"drawn": (made == wanted).astype(float).tolist(), "real": right.astype(float).tolist()}


def _classifier(pixels: np.ndarray, classes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression on pixels."""
    torch.manual_seed(0)
    model = torch.nn.Linear(pixels.shape[1], len(NAMES))
    given, wanted = torch.from_numpy(pixels), torch.from_numpy(classes.astype(np.int64))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        some = torch.randint(0, len(given), (512,))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(given[some]), wanted[some]).backward()
        optimiser.step()

    def judge(seen: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(seen)).argmax(1).numpy()

    return judge


def _pictures(data: Path, split: str, limit: int, **settings: Any) -> Collection:
    return nirank.collection(f"idx:{data / 'fashion_mnist'}", split=split, limit=limit, **settings)


def _classes(data: Path, split: str, limit: int) -> np.ndarray:
    """The class of each picture."""
    from nirank_datasets.idx import read_idx

    prefix = {"train": "train", "test": "t10k"}[split]
    return read_idx(data / "fashion_mnist" / f"{prefix}-labels-idx1-ubyte.gz", 1)[:limit]


# Tables


def sheet(name: str, texts: Sequence[str], drawings: Sequence[Sequence[Any]], side: int = 48) -> str:
    """Write drawings, a row a text, into the results as quality_generative_NAME.png; the name of the file."""
    from PIL import Image, ImageDraw

    told = 120  # pixels of the text before a row
    whole = Image.new("RGB", (told + side * max(map(len, drawings)), side * len(texts)), "white")
    pen = ImageDraw.Draw(whole)
    for row, (text, pictures) in enumerate(zip(texts, drawings, strict=True)):
        pen.text((4, row * side + side // 3), text, fill="black")
        for column, picture in enumerate(pictures):
            whole.paste(picture.convert("RGB").resize((side, side)), (told + column * side, row * side))
    path = RESULTS / f"quality_generative_{name}.png"
    with beside(path) as unfinished:
        whole.save(unfinished, "PNG", optimize=True)
    return path.name


def _drawings(recipe: Recipe, asked: argparse.Namespace) -> list[str]:
    """A note that shows what the transformer of the first seed draws, where results are saved."""
    if not asked.save:
        return []
    target: Any = transformer(recipe, asked.data, asked.cells, 0).component.target
    with torch.inference_mode():
        drawn = target.draw(Queries(NAMES, NAMES), 8)
    return [f"Drawings at guidance 2: ![drawings of clothes]({sheet('dalle', NAMES, drawn)})"]


def _pictures_table(recipe: Recipe, outcomes: list[Outcome], asked: argparse.Namespace) -> Table:  # noqa: ARG001
    rows = {name: Row(name, outcomes, prefix=f"{name} ") for name in (CODES, HAMMING, PIXELS)}
    size = {CODES: 64, HAMMING: 64, PIXELS: 784}
    compared = {CODES: rows[HAMMING], PIXELS: rows[HAMMING], HAMMING: None}
    lines: list[list[Cell]] = [
        [name, size[name], *(row.figure(measure, compared[name]) for measure in MEASURES)] for name, row in rows.items()
    ]
    error, used, perplexity = (
        float(np.mean([each.mean(key) for each in outcomes])) for key in ("error", "used", "perplexity")
    )
    return Table(
        title="Pictures by pictures: codes of 64 bytes",
        about=(
            f"{recipe.queries:,} pictures of Fashion-MNIST ask for those of their class among {recipe.documents:,}; "
            f"the autoencoder learned from {recipe.train:,} others, in {recipe.dvae_training['steps']:,} steps. "
            f"{len(outcomes)} seeds; means ± the deviation over seeds, intervals over queries, and the significance of "
            "the difference from Hamming distance (randomisation test)."
        ),
        columns=["system", "bytes", *MEASURES],
        rows=lines,
        notes=[
            f"Of a picture rebuilt from its codes the squared error is {error:.4f}; {used:.0f} codes are in use "
            f"(perplexity {perplexity:.0f}). {np.mean([each.seconds for each in outcomes]):.0f} seconds a seed."
        ],
    )


def _names_table(recipe: Recipe, outcomes: list[Outcome], asked: argparse.Namespace) -> Table:
    rows = [Row(name, outcomes, prefix=f"{name} ") for name in (DIFFERENCE, RAW, FIRST, BOTH)]
    whole = Row("", outcomes)
    zero, drawn, real = (
        f"{whole.figure(key)} (by seed {', '.join(number(each.mean(key)) for each in outcomes)})"
        for key in ("zero-shot", "drawn", "real")
    )
    return Table(
        title="Pictures by names: DALL-E's transformer as a scorer",
        about=(
            f"Ten names ask for {recipe.named:,} pictures of Fashion-MNIST. The transformer learned from "
            f"{recipe.train:,} others, in {recipe.dalle_training['steps']} steps; {len(outcomes)} seeds. The "
            "significance is that of the difference from the first row (randomisation test over ten queries)."
        ),
        columns=["system", "MAP"],
        rows=[[row.name, row.figure("AP", None if row is rows[0] else rows[0])] for row in rows],
        notes=[
            f"Zero-shot accuracy: {zero}.",
            f"Drawings at guidance 2 that a classifier, logistic regression on pixels, takes for what was asked: "
            f"{drawn}; of real pictures: {real}.",
            *_drawings(recipe, asked),
        ],
    )
