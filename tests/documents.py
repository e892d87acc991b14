"""The documents: their pages, the blocks of code in them, and how each kind of block is run.

A block of `python` is run; all blocks of a page share their names. A block of `sh` is run by bash in a temporary
folder, where `nirank` and `python` are those at hand. A comment before a block says what else becomes of it:

    <!-- file: experiment.toml -->      it is written to that file, for the blocks after it
    <!-- not run: it downloads -->      it cannot run here, and why

`python tests/documents.py` prints what pages have of the code: the table of traits (the guide to plugins), and every
command with its arguments and options (the page on the command line).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>file|not run): (?P<what>[^\n]+?) -->\n)?```(?P<language>[^\n]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SHELL = 'nirank() { "$NIRANK_PYTHON" -m nirank "$@"; }\npython() { "$NIRANK_PYTHON" "$@"; }\n'


def pages():
    """Every document that people read, by its path from the root."""
    above = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    found = [*above, ROOT / "plugins" / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def blocks(page):
    """The fenced blocks of a page, as matches with `mark`, `what`, `language` and `body`."""
    return list(_BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")))


def parser(folder):
    """A parser for Sybil: it finds the blocks of a document, and says how each is run in `folder`."""
    from sybil import Region
    from sybil.evaluators.python import PythonEvaluator
    from sybil.region import Lexeme

    python = PythonEvaluator()

    def parse(document) -> Iterable[Region]:
        for block in _BLOCK.finditer(document.text):
            start = block.start("language") + len(block["language"]) + 1
            if block["mark"] == "file":
                yield Region(block.start(), block.end(), (block["what"], block["body"]), _writer(folder))
            elif block["mark"] is None and block["language"] == "python":
                body = Lexeme(block["body"], start - block.start(), 0)
                yield Region(block.start(), block.end(), body, python)
            elif block["mark"] is None and block["language"] == "sh":
                yield Region(block.start(), block.end(), block["body"], _shell(folder))

    return parse


def _writer(folder):
    def write(example):
        name, text = example.parsed
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return write


def _shell(folder):
    def run(example):
        path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", _SHELL + example.parsed],
            cwd=folder,
            env={**os.environ, "NIRANK_PYTHON": sys.executable, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{example.parsed}\n{done.stdout}\n{done.stderr}"

    return run


def traits():
    """The table of traits, as the guide has it."""
    from nirank import traits

    lines = ["| attribute | of | type | default | what it says |", "|---|---|---|---|---|"]
    for name, kind, hint, default, meaning in traits.table():
        cells = (f"`{name}`", "any stage" if kind == "stage" else kind, f"`{hint}`", f"`{default}`", meaning)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def commands():
    """Every command with its arguments and options, as the page on the command line has them."""
    import typer

    from nirank.cli import app
    from nirank.plugins import active

    group = typer.main.get_command(app)
    observers = [entry.name for entry in active().registry if entry.kind == "observer"]
    brought = [name for name in observers if group.get_command(None, name)]
    options = _table(parameter for parameter in group.params if parameter.name != "help")
    each = [_described(f"nirank {name}", group.get_command(None, name)) for name in [*group.commands, *brought]]
    return "\n\n".join([f"## nirank\n\n{options}", *each])


def _described(name, command):
    if inner := getattr(command, "commands", None):
        return "\n\n".join(_described(f"{name} {each}", inner[each]) for each in inner)
    parts = [f"## {name}", " ".join(command.help.split())]
    parameters = [parameter for parameter in command.params if parameter.name != "help"]
    return "\n\n".join([*parts, *([_table(parameters)] if parameters else [])])


def _table(parameters):
    rows = [f"| {' | '.join(_row(parameter))} |" for parameter in parameters]
    return "\n".join(["| argument or option | meaning | default |", "|---|---|---|", *rows])


def _row(parameter):
    """An argument or option: how it is written, its help, its default."""
    default = getattr(parameter.default, "value", parameter.default)
    shown = "" if default is None or default is False or parameter.required else f"`{default}`"
    return _spelled(parameter), (getattr(parameter, "help", None) or "").replace("|", chr(92) + "|"), shown


def _spelled(parameter):
    if parameter.param_type_name == "argument":
        several = "..." if parameter.nargs == -1 else ""
        return f"`{parameter.name.upper()}{several}`" if parameter.required else f"`[{parameter.name.upper()}]`"
    value = "" if parameter.is_flag else " VALUE"
    return ", ".join(f"`{option}{value}`" for option in sorted(parameter.opts, key=len, reverse=True))


def targets(page):
    """What a page links to: pairs of a path from the root and an anchor, either of them perhaps empty."""
    text = _BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if not re.match(r"[a-z]+:", target):
            name, _, anchor = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            yield target, path.resolve(), anchor


def anchors(path):
    """The anchors of the headings of a page, as GitHub and MyST make them."""
    text = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        yield kept.replace(" ", "-")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
    sys.stdout.write(traits() + "\n\n" + commands() + "\n")
