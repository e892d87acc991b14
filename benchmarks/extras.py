"""What each extra brings when it is all that is installed: every component that names it is built, one extra at a time.

    python benchmarks/extras.py                  all extras, each in an environment of its own: half an hour, or less
    python benchmarks/extras.py lexical faiss    some of them
    python benchmarks/extras.py --save           also write the table into benchmarks/results/

The wheel is made from this folder. torch goes first where an extra wants it, as `constraints.txt` has it. A component
is imported, and built by its `tiny`; with `--checks` its contract is checked, too. An extra that no component names
adds to what others bring: then what it installs is imported. `none` is nirank alone, whose promises are in
`extras_minimal.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from extras_probe import NONE

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).with_name("results") / "extras.md"
PROBE = Path(__file__).with_name("extras_probe.py")
#: Extras that bring no component: what developers need.
_TOOLS = ("adapters", "test", "bench")
#: What brings torch with it.
_WANT_TORCH = {
    "accelerate",
    "beir",
    "mteb",
    "open_clip_torch",
    "peft",
    "pyserini",
    "sentence-transformers",
    "timm",
    "torch",
}
_HEAD = "| extra | installed with it | seconds | components | what does not work |\n|---|---|---|---|---|"


def main() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = _arguments([NONE, *(name for name in extras if name not in _TOOLS)])
    rows, failed = _saved() if asked.save else {}, False
    print(_HEAD)
    with tempfile.TemporaryDirectory(prefix="nirank-extras-") as folder:
        wheel = _wheel(Path(folder))
        for extra in asked.extras:
            first = "torch" if set(_WANT_TORCH) & set(packages(extra, extras)) else None
            row, fine = _row(extra, wheel, first, asked.checks)
            print(row, flush=True)
            rows[extra] = row
            failed |= not fine
    if asked.save:
        RESULT.write_text("\n".join([*_heading(), "", _HEAD, *rows.values(), ""]), encoding="utf-8")
    sys.exit(int(failed))


def _arguments(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help=f"some of: {', '.join(known)} (default: all)")
    parser.add_argument("--checks", action="store_true", help="also check the contract of what was built")
    parser.add_argument("--save", action="store_true", help=f"also write {RESULT.relative_to(ROOT)}")
    asked = parser.parse_args()
    for extra in asked.extras:
        if extra not in known:
            parser.error(f"there is no extra {extra!r}; there are {', '.join(known)}.")
    asked.extras = asked.extras or known
    return asked


def _heading() -> list[str]:
    return [
        "# Extras, each installed alone",
        "",
        f"`python benchmarks/extras.py`, {date.today()}, {platform.system()}, Python {platform.python_version()}.",
        "",
        "Each extra was installed alone, `pip install 'nirank[EXTRA]'`, into a fresh environment; `none` is nirank",
        "without any, and what stands beside it are promises. Beside the others stand the components that were built.",
    ]


def _saved() -> dict[str, str]:
    """The lines of the table that was saved before, by extra: those that are not made again stay."""
    lines = RESULT.read_text(encoding="utf-8").splitlines() if RESULT.exists() else []
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def _wheel(folder: Path) -> Path:
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    return next(folder.glob("*.whl"))


def packages(extra: str, extras: dict[str, list[str]]) -> Iterator[str]:
    """The packages that an extra names, and those of the extras in it."""
    for line in extras.get(extra, []):
        name = re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]
        inner = re.search(r"\[(.*)\]", line)
        if name == "nirank" and inner:
            for other in inner[1].split(","):
                yield from packages(other.strip(), extras)
        else:
            yield name


def _row(extra: str, wheel: Path, first: str | None, checks: bool) -> tuple[str, bool]:
    """A line of the table, and whether all is well."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=f"nirank-{extra}-") as folder:
        venv.create(folder)
        python = str(Path(folder) / "bin" / "python")
        try:
            for wanted in filter(None, (first, str(wheel) if extra == NONE else f"{wheel}[{extra}]")):
                _run(*_installer(python), "--quiet", "--constraint", str(ROOT / "constraints.txt"), wanted)
            found = json.loads(_run(python, str(PROBE), extra, *["--checks"] * checks).splitlines()[-1])
        except subprocess.CalledProcessError as error:
            found = {"packages": 0, "works": [], "fails": {"all of it": error.stderr.strip().splitlines()[-1]}}
    fails = "; ".join(f"{name}: {why}" for name, why in found["fails"].items()).replace("|", r"\|")
    cells = (f"`{extra}`", f"{found['packages']} packages", f"{time.perf_counter() - start:.0f}")
    works = ", ".join(f"`{name}`" for name in found["works"])
    return f"| {' | '.join((*cells, works, fails))} |", not fails


def _installer(python: str) -> list[str]:
    """What installs packages for a Python: uv where it is there, which is several times as fast, or pip."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", python]
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--no-compile"]


def _run(*command: str) -> str:
    """What a program prints; nothing of this environment is seen by it."""
    hidden = ("PYTHONPATH", "NIRANK_BLOCK", "NIRANK_PLUGINS", "NIRANK_STRICT")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return done.stdout


if __name__ == "__main__":
    main()
