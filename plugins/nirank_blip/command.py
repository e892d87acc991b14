"""The command `nirank capfilt EXPERIMENT.toml`: train the filter, filter, train anew, and say what was kept.

[stage.first]
use = "encoder/blip"

[train.first]                       # on noisy captions and clean ones
collection = { ... }

[train.again.collection]            # what `nirank capfilt` looks for
use = "capfilt"
noisy = { ... }
clean = { ... }
filter = "@first"                   # or trained:FOLDER
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import nirank
from nirank.errors import BadInput
from nirank_blip import decisions

KEPT, TRAINED = "kept", "trained"


def command(
    experiment: Path,
    out: Annotated[Path | None, "The folder to write, or to go on in; runs/NAME-capfilt-DATE unless given."] = None,
) -> None:
    """Train an experiment whose captions are filtered, and say what was kept; with the same --out it goes on."""
    folder = out or Path("runs") / f"{experiment.stem}-capfilt-{time.strftime('%Y%m%d-%H%M%S')}"
    lines = [f"{told(kept)} Its pairs are in {kept / decisions.PAIRS}." for kept in run(experiment, folder)]
    sys.stdout.write("\n".join([*lines, f"Written to {folder}\n"]))


def run(experiment: Path, folder: Path) -> list[Path]:
    """Train what an experiment says; the folders, inside of `folder / "kept"`, of what was kept of each collection.

    What was trained is in `folder / "trained"`, as `nirank train` writes it. What was interrupted goes on, in the
    middle of a filter or of a training, and what is finished is not done again. Raises `BadInput` for an experiment in
    which no stage learns from a collection `capfilt`.
    """
    if not any(_learns_from(_table(experiment))):
        raise BadInput(
            'no stage learns from a collection `capfilt`: a table [train.NAME.collection] with use = "capfilt", '
            "noisy, clean and filter is expected.",
            experiment,
        )
    place = (folder / KEPT).resolve()
    if not (folder / TRAINED / "results").exists():
        token = decisions.PLACE.set(place)
        try:
            nirank.train(experiment, folder / TRAINED)
        finally:
            decisions.PLACE.reset(token)
    return sorted(path.parent for path in place.glob(f"*/{decisions.SUMMARY}"))


def told(folder: Path) -> str:
    """One line about what was kept."""
    found = decisions.summary(folder)
    share = f"{100 * found['kept'] / max(found['noisy'], 1):.0f} %"
    return (
        f"{found['name']}: kept {found['kept']:,} of {found['noisy']:,} noisy pairs ({share}) and all "
        f"{found['clean']:,} clean ones, from the score {found['threshold']:.4f}, which {100 * found['passing']:.0f} % "
        f"of the clean ones reach; {found['written']:,} captions were added."
    )


def _learns_from(table: Mapping[str, Any]) -> Iterator[bool]:
    """For each table [train.NAME], True where its collection is `capfilt`."""
    train = table.get("train", {})
    for recipe in train.values() if isinstance(train, Mapping) else ():
        collection = recipe.get("collection") if isinstance(recipe, Mapping) else None
        use = collection.get("use") if isinstance(collection, Mapping) else None
        yield str(use).removeprefix("collection/") == "capfilt"


def _table(experiment: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(experiment.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"this is not TOML: {error}", experiment) from None
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}.", experiment) from None
