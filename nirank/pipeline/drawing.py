"""Pipelines as diagrams: boxes, arrows that say what flows, and branches beside one another.

A part of a pipeline draws itself of these shapes (`_drawn`); a diagram prints as text, and shows itself in a notebook.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from nirank.showing import html, terminal


@dataclass(frozen=True)
class Box:
    """One stage: its name as it is written, and what it is."""

    title: str
    note: str = ""

    def lines(self) -> Iterator[str]:
        """The shape as lines of text."""
        yield terminal.harmless(f"{self.title}  ({self.note})" if self.note else self.title)

    def element(self) -> Element:
        """The shape in HTML."""
        note = [html.element("small", self.note)] if self.note else []
        return html.element("div", html.element("code", self.title), *note, class_="box")


@dataclass(frozen=True)
class Flow:
    """Shapes one after the other; `kinds` are what flows from each to the next, one fewer than shapes."""

    steps: tuple[Drawing, ...]
    kinds: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The shapes as lines of text, one below the other."""
        for place, step in enumerate(self.steps):
            if place:
                yield f"  ↓ {self.kinds[place - 1]}"
            yield from step.lines()

    def element(self) -> Element:
        """The shapes in HTML, with arrows between them."""
        made = html.element("div", class_="flow")
        for place, step in enumerate(self.steps):
            if place:
                made.append(arrow(self.kinds[place - 1]))
            made.append(step.element())
        return made


@dataclass(frozen=True)
class Branches:
    """Shapes beside one another, and the sign or word that puts them together."""

    label: str
    branches: tuple[Drawing, ...]

    def lines(self) -> Iterator[str]:
        """The label and below it the branches as lines of text."""
        yield terminal.harmless(self.label)
        for branch in self.branches:
            first, *others = branch.lines()
            yield f"├─ {first}"
            yield from (f"│  {line}" for line in others)

    def element(self) -> Element:
        """The branches in HTML, one below the other in a frame."""
        label = html.element("div", self.label, class_="label")
        return html.element("div", label, *(branch.element() for branch in self.branches), class_="branches")


Drawing = Box | Flow | Branches


def flow(first: Drawing, kind: str, then: Drawing) -> Flow:
    """One shape after another, `kind` flowing between them; flows become part of the new one."""
    steps = [each.steps if isinstance(each, Flow) else (each,) for each in (first, then)]
    kinds = [each.kinds if isinstance(each, Flow) else () for each in (first, then)]
    return Flow((*steps[0], *steps[1]), (*kinds[0], kind, *kinds[1]))


def branches(label: str, *parts: Drawing) -> Branches:
    """Shapes beside one another; those that the same label puts together already become part of the new ones."""
    flat = [each.branches if isinstance(each, Branches) and each.label == label else (each,) for each in parts]
    return Branches(label, tuple(branch for some in flat for branch in some))


def arrow(kind: str) -> Element:
    """An arrow in HTML with what flows along it."""
    return html.element("div", html.element("small", kind), html.element("span", "⟶"), class_="arrow")


@dataclass(frozen=True)
class Diagram:
    """A whole pipeline: what goes in, the shapes, and what comes out."""

    given: str
    drawing: Drawing
    made: str

    def __str__(self) -> str:
        return "\n".join([self.given, "  ↓", *self.drawing.lines(), "  ↓", self.made])

    def _repr_html_(self) -> str:
        inner = self.drawing.element()
        steps = list(inner) if inner.get("class") == "flow" else [inner]
        ends = (html.element("i", self.given), html.element("i", self.made))
        whole = html.element("div", ends[0], arrow(""), *steps, arrow(""), ends[1], class_="flow")
        return html.page(whole, style=_STYLE)


_LINE = "1px solid color-mix(in srgb, currentColor 45%, transparent)"
_STYLE = f"""
div.nirank.nirank .flow {{display: flex; align-items: center; flex-wrap: wrap; gap: .45em}}
div.nirank.nirank .box {{border: {_LINE}; border-radius: 6px; padding: .25em .6em}}
div.nirank.nirank .box small, div.nirank.nirank .box code {{display: block; background: none; color: inherit}}
div.nirank.nirank .box small, div.nirank.nirank .arrow small, div.nirank.nirank .label {{opacity: .65}}
div.nirank.nirank .arrow {{display: flex; flex-direction: column; align-items: center; line-height: 1.1}}
div.nirank.nirank .branches {{border: 1px dashed color-mix(in srgb, currentColor 45%, transparent); border-radius: 6px;
  padding: .35em .6em; display: flex; flex-direction: column; gap: .4em}}
"""
