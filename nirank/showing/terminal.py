"""Text for a terminal, and tables of rich as text."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

#: Control characters with their pictures; those from 128 to 159, and the delete, have one in common. Halves of
#: surrogate pairs, which no terminal and no file can hold, become question marks in a lozenge.
_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    **dict.fromkeys(range(127, 160), 9249),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}
#: Columns where there is no terminal to ask, as in a notebook.
_WIDTH = 120


def shown(text: str, style: str = "") -> Text:
    """A text for the terminal: control characters, which could write elsewhere on it, are shown and not obeyed."""
    from rich.text import Text

    return Text(harmless(text), style=style)


def harmless(text: str) -> str:
    """A text of as many characters, its control characters but line feeds and tabs as Unicode's pictures of them."""
    return text.translate(_PICTURES)


def printed(*parts: Any) -> str:
    """Tables and texts of rich, one below the other, as plain text of the terminal's width."""
    from rich.console import Console

    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def beginning(text: str, letters: int) -> str:
    """The beginning of a text on one line, with a sign where it goes on."""
    line = " ".join(text[: 4 * letters].split())
    return line if len(line) <= letters and len(text) <= 4 * letters else f"{line[: letters - 1]}…"
