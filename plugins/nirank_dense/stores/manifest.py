"""The manifest that a store keeps beside the rows of an index: what it holds, and whether it is whole."""

from __future__ import annotations

import dataclasses
import json
import uuid
from dataclasses import dataclass
from typing import Any

from nirank.errors import StaleIndex

#: The version of the layout of rows and manifests.
VERSION = 1
BUILDING, UPDATING, COMPLETE = "building", "updating", "complete"


@dataclass(frozen=True)
class Manifest:
    """A description of the rows of one index. It holds nothing of how the server is reached.

    `corpus` and `encoder` are fingerprints (the latter None where vectors are of no known encoder), `settings` those
    that the rows and their index depend on. Of `rows` there is one for each document, under keys below `following`;
    no vector of `dim` numbers is longer than `longest`. `token` is another one after each building and updating;
    `since` is that of the state that an updating began with.
    """

    corpus: str
    encoder: str | None
    settings: dict[str, Any]
    rows: int
    dim: int
    longest: float
    following: int
    token: str
    state: str = BUILDING
    since: str | None = None
    version: int = VERSION

    @classmethod
    def of_text(cls, text: str, where: str) -> Manifest:
        """Read a manifest as `text` has it. Raises `StaleIndex` for what is none; `where` says whose it is."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise StaleIndex(f"{where} has a manifest that cannot be read: {error}. Build the index again.") from error

    @property
    def text(self) -> str:
        """The manifest in JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def identity(self) -> tuple[object, ...]:
        """The values by which indexes of one corpus, encoder and settings are the same."""
        return self.version, self.corpus, self.encoder, json.dumps(self.settings, sort_keys=True)

    def difference(self, held: Manifest) -> str:
        """The words for how a store that holds another manifest differs from this one."""
        if held.state != COMPLETE and held.identity == self.identity:
            return f"is half-built: its state is {held.state!r}. Run what made it again, and it goes on"
        if held.corpus != self.corpus:
            fingerprints = f"{held.corpus[:12]}, {held.rows:,} rows; wanted {self.corpus[:12]}, {self.rows:,} rows"
            return f"holds another corpus ({fingerprints})"
        differing = [name for name in ("encoder", "settings", "version") if getattr(held, name) != getattr(self, name)]
        return f"was made with another {' and '.join(differing)}" if differing else "was built anew or updated since"


def new_token() -> str:
    """A token that no other building or updating has."""
    return uuid.uuid4().hex
