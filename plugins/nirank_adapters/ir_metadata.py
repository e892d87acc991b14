"""The header of a run that says how it was made: ir_metadata, YAML in comments (Breuer, Keller and Schaer 2022).

    # ir_metadata.start
    # tag: bm25
    # platform:
    #   software: ...
    # ir_metadata.end
    q1 Q0 d7 1 12.5 bm25

`nirank.read_run` and trec_eval 10 skip such lines, and version 9 of trec_eval does not: so they are written only where
one asks. What is known comes from a manifest, which is that of `nirank run` (`manifest.json`, `Results.manifest()`);
what nobody but the author knows (actor, research goal) is added by hand. See https://www.ir-metadata.org.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nirank.errors import BadInput
from nirank.formats import opened
from nirank.kit import beside
from nirank_adapters.needing import needing

with needing("ir_metadata"):
    import yaml

START, END = "# ir_metadata.start", "# ir_metadata.end"
_LONGEST = 1 << 20  # bytes of a header
_BLOCK = 1 << 20
#: What a manifest tells that the header has.
_TOLD = ("pipelines", "platform", "versions", "collection", "ties", "seed", "components", "when")


def from_manifest(manifest: Mapping[str, Any], system: str, **more: Any) -> dict[str, Any]:
    """The metadata of one system's run, by the names of ir_metadata 1.0; `more` are further entries, or replace these.

    Raises `BadInput` where the manifest has no such system, and for one that does not tell all this.
    """
    _refuse_partial(manifest)
    pipelines = manifest["pipelines"]
    if system not in pipelines:
        raise BadInput(f"the manifest has no system {system!r}; it has {', '.join(pipelines) or 'none'}.")
    cmd = pipelines[system]
    known = {
        "tag": system,
        "platform": {
            "hardware": {"architecture": manifest["platform"]["machine"]},
            "operating system": {"kernel": manifest["platform"]["system"]},
            "software": {"libraries": {"python": [f"{name}=={it}" for name, it in manifest["versions"].items()]}},
        },
        "implementation": {"executable": {"cmd": cmd}, "lang": {"python": manifest["versions"]["python"]}},
        "collection": {"test_collection": manifest["collection"]},
        "method": {
            "automatic": "true",
            "score ties": manifest["ties"]["search"],
            "seed": manifest["seed"],
            "retrieval": [{"name": name, **made} for name, made in manifest["components"].items() if _is_in(name, cmd)],
        },
        "created": manifest["when"],
    }
    return known | more


def _refuse_partial(manifest: Mapping[str, Any]) -> None:
    if lacking := [name for name in _TOLD if not isinstance(manifest, Mapping) or name not in manifest]:
        raise BadInput(
            f"this manifest does not tell {', '.join(lacking)}: give that of `nirank run`, manifest.json or "
            "`Results.manifest()`."
        )


def annotate(run: str | Path, metadata: Mapping[str, Any], out: str | Path) -> None:
    """Write the run in a file, with this header in the place of one that it may have, into another file.

    The lines of the run stay as they are; `out` appears whole or not at all. Raises `BadInput` for metadata that YAML
    cannot hold, and where `out` is the run itself: results are sealed.
    """
    run, out = Path(run), Path(out)
    if out.exists() and out.samefile(run):
        raise BadInput("is the run itself: name another file, for results stay as they were written.", out)
    header = _header(metadata)
    with opened(run) as lines, beside(out) as unfinished, unfinished.open("wb") as file:
        file.write(header)
        _skip(lines, run, file)
        while block := lines.read(_BLOCK):
            file.write(block)


def read(run: str | Path) -> dict[str, Any] | None:
    """The metadata in the header of a run, plain or compressed; None where it has none.

    Raises `BadInput` for a header without an end, one of more than a mebibyte, and one that is no YAML mapping. Nothing
    but plain values is made of it.
    """
    path = Path(run)
    with opened(path) as lines:
        if lines.readline(_LONGEST).decode("utf-8", "replace").strip("\ufeff \r\n") != START:
            return None
        text = "\n".join(_bare(line) for line in _inside(lines, path))
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadInput(f"the header is no YAML: {str(error).splitlines()[0]}", path) from error
    if not isinstance(found, dict):
        raise BadInput(f"the header holds a {type(found).__name__}; ir_metadata is a mapping.", path)
    return found


def _is_in(name: str, pipeline: str) -> bool:
    """True where the expression of a pipeline names a component."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", pipeline) is not None


def _header(metadata: Mapping[str, Any]) -> bytes:
    plain = json.loads(json.dumps(dict(metadata), default=str))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=4096)
    lines = [START, *(f"# {line}" for line in text.splitlines()), END]
    return ("\n".join(lines) + "\n").encode()


def _inside(lines: IO[bytes], path: Path) -> Iterator[str]:
    """The lines of a header, up to its end."""
    left = _LONGEST
    while (line := lines.readline(left)) and left > 0:
        left -= len(line)
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text == END:
            return
        if not text.startswith("#"):
            break
        yield text
    raise BadInput(f"the header has no end, {END!r}, within {_LONGEST:,} bytes.", path)


def _bare(line: str) -> str:
    """A line of a header without the sign of comments, and the blank behind it."""
    return line.removeprefix("#").removeprefix(" ").rstrip()


def _skip(lines: IO[bytes], path: Path, file: IO[bytes]) -> None:
    """Leave out a header that a run has; write its first line, where that is none."""
    first = lines.readline(_LONGEST)
    if first.decode("utf-8", "replace").strip("\ufeff \r\n") != START:
        file.write(first)
        return
    for _ in _inside(lines, path):
        pass
