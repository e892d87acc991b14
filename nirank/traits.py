"""Traits: every attribute that a component may have beside its methods, with type, default and meaning.

A component is a plain object; it states a trait by having the attribute. `Traits.of` reads them all once, when the
component is built: the core reads `component.traits.listwise`, and never the object itself.

Two kinds of attributes are not kept here, for their values come later: what is computed when it is needed
(`COMPUTED`), and the methods (`Component.can`).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from nirank.errors import ComponentError
from nirank.hints import fits, readable

log = logging.getLogger("nirank")

#: Attributes that are read when they are needed and not before, because to compute them costs something, or because
#: they change: name, and what they are.
COMPUTED = {
    "fingerprint": "a hash of what results depend on, for a component that starts from a model elsewhere",
    "index_key": "a mapping of what the files of its index depend on; its entry `index` names the kind of index",
    "names": "of an extractor, the names of its features; of a ranker over features, the names of those it reads",
    "device": "the device that it computes on, for the manifest",
    "known_as": "of the class itself and not of its bases: its name in fingerprints, where its module has moved since",
    "skipped": "of a loss, how many lists of the last batch had nothing to learn from",
}


STAGES = "stage"  # of encoders, generators, scorers, extractors, rewriters and writers
_METHODS = {
    "encoder": "encode",
    "generator": "generate",
    "rewriter": "rewrite",
    "scorer": "score",
    "extractor": "extract",
    "writer": "write",
    "sampler": "sample",
}


def trait(default: Any, kind: str, meaning: str) -> Any:
    """A field of `Traits`: the kind of component that may have it, and the sentence that the guide has of it."""
    return dataclasses.field(default=default, metadata={"kind": kind, "meaning": meaning})


@dataclass(frozen=True)
class Traits:
    """The attributes of a component; the defaults for those that it lacks, and for those of other kinds."""

    vectors: str | None = trait(None, "encoder", "the kind of vectors it makes: dense, tokens, sparse, terms or codes")
    feedback: bool = trait(False, "encoder, rewriter", "whether it needs the results of a ranking, in `queries.found`")
    searches: str | None = trait(None, "generator", "the kind of query vectors it needs")
    accepts: str | None = trait(None, "generator", "a kind of vectors it takes besides queries as they are")
    prefixes: bool = trait(
        False, "generator", "whether the fewer documents that it is asked for are the first of more, to the last bit"
    )
    separable: bool = trait(
        False, "generator", "whether shards of its index, with what `share` writes into them, answer as one index does"
    )
    log_likelihoods: bool = trait(
        False, STAGES, "whether its scores are logarithms of likelihoods, up to a number of the query's own"
    )
    index_fields: tuple[str, ...] = trait(
        (), STAGES, "the fields of documents that its index has beside their content, or in its place"
    )
    resumes: bool = trait(False, STAGES, "whether `build` goes on with what an interrupted one left in its folder")
    listwise: bool = trait(False, "scorer", "whether a score depends on the other documents of the list")
    batch_size: int | None = trait(None, STAGES, "how many entries one call gets; all of them if None")
    reads: Literal["text", "images", "either", "images by text", "features"] | None = trait(
        None, STAGES, "what content it takes; unless features, its checkpoints keep the scores of a few pairs"
    )
    cacheable: bool = trait(True, STAGES, "whether the cache may keep its results")
    reduction: Literal["mean", "sum", "none"] = trait("mean", "loss", "how the losses of the lists are combined")
    gamma: Any = trait(None, "loss", "the factor of the scores: a number, or a parameter that is learned")
    classes: int | None = trait(0, "loss", "the number of grades, None where it must be set; 0 for other losses")
    rate_factor: float = trait(1.0, "loss", "what the learning rate is multiplied by for what the loss itself learns")
    in_checkpoint: bool = trait(True, "loss", "whether a checkpoint also holds what the loss itself has learned")
    largest_label: float | None = trait(None, "loss", "the largest label that it accepts")
    each: Literal["positive", "query"] | None = trait(None, "sampler", "whether each list is for a positive or a query")
    positives: Literal["all", "some"] = trait("all", "sampler", "whether a list has every positive of its query")
    hits: Literal["drop", "keep"] = trait("drop", "sampler", "what happens to a drawn negative that is relevant")

    @classmethod
    def of(cls, target: Any, owner: str) -> Traits:
        """Read an object's attributes; `owner` is what messages call it.

        Raises `ComponentError` for an attribute of the wrong type; warns of one whose name is nearly a trait's.
        """
        hints = _hints_of(frozenset(kinds_of(target)))
        stated = {name: getattr(target, name) for name in hints if hasattr(target, name)}
        for name, value in stated.items():
            if not fits(value, hints[name]):
                wanted = f"{readable(hints[name])} is expected: {meaning(name)}"
                raise ComponentError(f"{owner} has {name} = {value!r}; {wanted}.")
        for name, near in _near_misses(target, hints.keys() - stated.keys()):
            log.warning("%s has an attribute %r, which nirank does not read. Is %r meant?", owner, name, near)
        return cls(**stated)


def kinds_of(target: Any) -> Iterator[str]:
    """The kinds of component that an object can be, by its methods; what has none of them and is called is a loss."""
    found = [kind for kind, method in _METHODS.items() if callable(getattr(target, method, None))]
    yield from found or (["loss"] if callable(target) else [STAGES])


def meaning(name: str) -> str:
    """The meaning of a trait, in words."""
    return str(Traits.__dataclass_fields__[name].metadata["meaning"])


def table() -> list[tuple[str, str, str, str, str]]:
    """Name, kind, type, default and meaning of every trait, in the order of the class: the table of the guide."""
    hints = typing.get_type_hints(Traits)
    return [
        (
            field.name,
            field.metadata["kind"],
            readable(hints[field.name]),
            repr(field.default),
            field.metadata["meaning"],
        )
        for field in dataclasses.fields(Traits)
    ]


@functools.cache
def _hints_of(kinds: frozenset[str]) -> dict[str, Any]:
    """The types of the traits that components of these kinds may have."""
    hints = typing.get_type_hints(Traits)
    wanted = kinds | ({STAGES} if kinds - {"loss", "sampler"} else set())
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(Traits)
        if wanted & {*field.metadata["kind"].split(", ")}
    }


def _near_misses(target: Any, missing: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Attributes that are no traits, with the trait that the object lacks and that they may have been meant for."""
    bare = {_bare(name): name for name in missing}
    for name, value in _own_attributes(target):
        if name in Traits.__dataclass_fields__ or name in COMPUTED or name.startswith("_") or callable(value):
            continue
        if near := difflib.get_close_matches(_bare(name), bare, n=1, cutoff=0.9):
            yield name, bare[near[0]]


def _own_attributes(target: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of the object and of its classes that are its author's: nothing that a library brings."""
    yield from getattr(target, "__dict__", {}).items()
    for kind in type(target).__mro__:
        if kind.__module__.partition(".")[0] not in ("builtins", "torch", "typing"):
            yield from vars(kind).items()


def _bare(name: str) -> str:
    return name.replace("_", "").lower()
