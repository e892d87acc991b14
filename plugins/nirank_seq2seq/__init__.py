"""Language models as judges of relevance: of one document, of two, of a few, and of whole lists."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_SCORERS = {
    "monot5": "monot5:MonoT5",
    "duot5": "duot5:DuoT5",
    "llm_judge": "judge:LLMJudge",
    "upr": "upr:UPR",
    "rankgpt": "rankgpt:RankGPT",
    "setwise": "setwise:Setwise",
    "prp": "prp:PRP",
}


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the scorers, and the writer."""
    for name, scorer in _SCORERS.items():
        tiny = f"nirank_seq2seq.tiny:{name}"
        registry.add("scorer", name, f"nirank_seq2seq.{scorer}", tiny=tiny, extra="seq2seq")
    writer = "nirank_seq2seq.doc2query:Doc2Query"
    registry.add("writer", "doc2query", writer, tiny="nirank_seq2seq.tiny:doc2query", extra="seq2seq")
