"""Classes by one name, by sentences and by several names: icons of Tabler put into its 41 categories by `dual`.

No gain is promised. What is tested is that a class of several names is the mean of as many classes
(tests/plugins/test_clip_from_nothing.py); what is measured is whether it helps.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from quality_generative_work import Work, columns, dual
from quality_rows import Row
from quality_table import Table

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.pipeline import Stage

TRAINING = {"hidden": 1024, "steps": 600, "batch_size": 256, "learning_rate": 2e-3}
SEARCHED, BETWEEN, MEASURE = "tabler", "|", "CMC@1"
PHOTO = ("a photo of a {}.",)
#: Names of a category besides its own, written down before anything was measured.
NAMES = {
    "Animals": ("animal", "pet", "wild animal"),
    "Arrows": ("arrow", "direction", "chevron"),
    "Badges": ("badge", "numbered badge"),
    "Brand": ("brand", "company logo", "social network"),
    "Buildings": ("building", "house", "monument"),
    "Charts": ("chart", "graph", "diagram"),
    "Communication": ("communication", "message", "phone call", "mail"),
    "Computers": ("computer", "server", "processor"),
    "Currencies": ("currency", "money", "coin"),
    "Database": ("database", "table", "storage"),
    "Design": ("design", "drawing tool", "layout"),
    "Development": ("development", "source code", "programming"),
    "Devices": ("device", "screen", "electronic device"),
    "Document": ("document", "file", "folder"),
    "E-commerce": ("shopping", "cart", "payment"),
    "Electrical": ("electrical circuit", "electric component"),
    "Extensions": ("file extension", "file type"),
    "Food": ("food", "drink", "meal"),
    "Games": ("game", "dice", "playing card"),
    "Gender": ("gender", "sex"),
    "Gestures": ("gesture", "hand", "finger"),
    "Health": ("health", "medicine", "hospital"),
    "Laundry": ("laundry", "washing", "ironing"),
    "Letters": ("letter", "alphabet"),
    "Logic": ("logic", "logic gate"),
    "Map": ("map", "location", "navigation"),
    "Math": ("mathematics", "formula", "calculation"),
    "Media": ("media", "music", "video player"),
    "Mood": ("mood", "face", "smiley"),
    "Nature": ("nature", "plant", "tree"),
    "Numbers": ("number", "digit"),
    "Photography": ("photography", "camera", "picture"),
    "Shapes": ("shape", "circle", "square", "triangle"),
    "Sport": ("sport", "ball", "exercise"),
    "Symbols": ("symbol", "sign"),
    "System": ("system", "settings", "interface"),
    "Text": ("text", "text formatting", "paragraph"),
    "Vehicles": ("vehicle", "car", "transport"),
    "Version control": ("version control", "git branch"),
    "Weather": ("weather", "sun", "rain", "cloud"),
    "Zodiac": ("zodiac", "star sign"),
}
#: The rows: templates, and whether a class has all of its names.
ROWS: dict[str, tuple[Any, bool]] = {
    "name": ((), False),
    "a photo of a name": (PHOTO, False),
    "five sentences for pictograms": ("pictograms", False),
    "several names": ((), True),
    "several names, five sentences": ("pictograms", True),
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """The table of classes by names."""
    outcomes = Work("templates", {"training": TRAINING, "names": NAMES, "rows": ROWS}, _measured).outcomes(asked)
    rows = [Row(name, outcomes, prefix=f"{name} ") for name in ROWS]
    largest = float(np.mean([each.mean("largest") for each in outcomes]))
    return [
        Table(
            title="Classes of icons by their names",
            about=(
                f"Icons of Tabler are put into {len(NAMES)} categories (the largest has {largest:.3f} of them). "
                "`dual`, MiniLM's space fixed, learned from names and tags of Phosphor and Lucide. Names besides a "
                "category's own were written down before anything was measured. "
                f"{len(outcomes)} seeds; significance of the difference from the name alone (randomisation test)."
            ),
            columns=["class", "accuracy"],
            rows=[[row.name, row.figure(MEASURE, None if row is rows[0] else rows[0])] for row in rows],
        )
    ]


def _measured(asked: argparse.Namespace, seed: int) -> tuple[dict[str, list[float]], float | None]:
    train = nirank.collection(f"icons:{asked.data / 'icons'}", split="train", searched=SEARCHED)
    encoder = dual(asked, train, TRAINING, seed)
    pictures = _by_category(asked)
    sizes = np.bincount(pictures.judgments.docs)
    values = {"largest": [float(sizes.max() / sizes.sum())]}
    for name, (templates, several) in ROWS.items():
        found = _with_prompts(encoder, templates, BETWEEN if several else None)
        corpus = Documents(list(NAMES), [BETWEEN.join(NAMES[each]) if several else each.lower() for each in NAMES])
        ranking = (found >> nirank.load("exact") % 1).search(pictures.queries, corpus)
        values |= columns(f"{name} ", nirank.evaluate(ranking, pictures.judgments.over(corpus), [MEASURE]))
    return values, None


def _with_prompts(encoder: Stage, templates: Any, separator: str | None) -> Stage:
    """The same encoder, which puts texts into other sentences."""
    target: Any = encoder.component.target
    target.prompts = type(target.prompts)(_sentences(templates), separator)
    encoder.component.changed()
    return encoder


def _sentences(templates: Any) -> tuple[str, ...]:
    """The sentences of a set of templates, by its name, or as they are."""
    from nirank_clip.templates import chosen

    return chosen(templates)


def _by_category(asked: argparse.Namespace) -> Collection:
    """Pictures that ask for the name of their category."""
    found = nirank.collection(f"icons:{asked.data / 'icons'}", searched=SEARCHED).corpus
    chosen = np.arange(40 if asked.quick else len(found))
    place = {name: number for number, name in enumerate(NAMES)}
    corpus = Documents(list(NAMES), list(NAMES))
    judged = [[place[name]] for name in found.column("category", chosen)]
    asking = Queries(found.ids.take(chosen), found[chosen])
    return Collection("icons/categories", corpus, asking, Candidates.of(judged, [[1.0]] * len(chosen), corpus))
