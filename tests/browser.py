"""A real browser, without a head: what became of a page in it, and what it asked the network for."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Commands that may be a browser.
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: No network, and none of a browser's own questions.
_ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-extensions", "--disable-sync", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"),
)


@dataclass(frozen=True)
class Seen:
    """The document as it is after all scripts have run, and the addresses that were asked for."""

    document: str
    asked: list[str]


def opened(page: Path, folder: Path) -> Seen:
    """Open a page; skips where there is no browser."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("there is no Chromium or Chrome")
    log = folder / "network.json"
    flags = [*_ALONE, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--virtual-time-budget=2000"]
    command = [browser, *flags, "--dump-dom", page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return Seen(done.stdout, _addresses(log))


def _addresses(log: Path) -> list[str]:
    """The addresses on a network that a page from a file asked for: others are the browser's own questions."""
    text = log.read_text(encoding="utf-8")
    whole = text if text.rstrip().endswith("}") else f"{text.rstrip().rstrip(',')}]}}"  # of a browser that was ended
    told = [event.get("params", {}) for event in json.loads(whole)["events"]]
    asked = {
        each["url"] for each in told if each.get("network_isolation_key", "").startswith("file:") and "url" in each
    }
    return sorted(url for url in asked if url.startswith(("http", "ws", "ftp")))
