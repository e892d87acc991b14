"""Queries rewritten: spelling by the words of a corpus, and what a language model writes for a query."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the rewriters."""
    registry.add(
        *("rewriter", "spelling", "nirank_rewriting.spelling:Spelling"),
        tiny="nirank_rewriting.tiny:spelling",
        extra="rewriting",
    )
    for name in ("hyde", "query2doc", "llm_rewrite"):
        made, small = f"nirank_rewriting.written:{name}", f"nirank_rewriting.tiny:{name}"
        registry.add("rewriter", name, made, tiny=small, extra="rewriting")
