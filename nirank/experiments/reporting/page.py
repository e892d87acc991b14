"""The page of a report: one file of HTML without scripts, which forbids itself to run any and to fetch anything.

Jinja2 fills it, with every text escaped. What is to be copied stands in boxes of which one click selects all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.errors import MissingDependency
from nirank.experiments import summary
from nirank.experiments.reporting.plots import COLOURS, missing, plots
from nirank.experiments.reporting.tables import tables
from nirank.experiments.reporting.telling import Album, telling
from nirank.formats.toml import to_toml

if TYPE_CHECKING:
    from nirank.data.explanation import Explanation

log = logging.getLogger("nirank")

#: The name of the page in a folder of results.
PAGE = "report.html"


def page(results: Any, manifest: dict[str, Any] | None = None) -> str:
    """The page; `manifest` is that of results which were written before.

    Raises `MissingDependency` where jinja2 is not installed. Without matplotlib there are no plots, and a line says so.
    """
    album = Album()
    queries, lacking = telling(results, album), missing()
    return str(
        _template().render(
            name=results.experiment.name,
            collection=repr(results.collection).strip("<>"),
            measure=results.measured[0],
            tables=list(tables(results)),
            notes=summary.notes(results),
            failed=results.failed,
            plots=[] if lacking else plots(results),
            lacking=lacking,
            queries=queries,
            pictures=album.pictures,
            colours=dict(zip(results.systems, COLOURS * len(results.systems), strict=False)),
            manifest=json.dumps(manifest or results.manifest(), indent=1, ensure_ascii=False, default=str),
            experiment=to_toml(results.experiment.as_table()),
        )
    )


def write_page(results: Any, folder: Path) -> None:
    """Write the page into a folder of results; one that cannot be made is told, and is no reason to lose the others."""
    try:
        (folder / PAGE).write_text(page(results), encoding="utf-8", errors="backslashreplace")
    except MissingDependency as error:
        log.warning("there is no %s: %s", PAGE, error)
    except Exception as error:  # of whatever part: the results are worth more than their picture
        log.warning("there is no %s, for it could not be made: %s", PAGE, error)
        log.debug("the error", exc_info=error)


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError as error:
        message = "a report needs the package 'jinja2'. Run: pip install 'nirank[report]'"
        raise MissingDependency(message, name=error.name) from error
    source = (files("nirank.experiments.reporting") / "page.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters["largest"] = _largest
    return environment.from_string(source)


def _largest(parts: Sequence[Explanation]) -> list[Explanation]:
    """The parts of a score, those first that raise or lower it most."""
    return sorted(parts, key=lambda part: -abs(part.score))
