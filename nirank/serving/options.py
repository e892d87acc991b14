"""The options of a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The options of a server, as `nirank serve` has them.

    `waiting` is how many searches may wait or run before others are refused, `deadline` the seconds that a request may
    take, `together` how many queries of one pipeline are searched at a time at most. `judgments` is the folder that
    judgments are kept in (None: none are taken), `annotate` and `living` say whether the server takes judgments, and
    changes of documents. `token` is what clients have to show; None lets everybody in.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    waiting: int = 256
    deadline: float = 30.0
    together: int = 32
    judgments: Path | None = None
    annotate: bool = False
    living: bool = False
