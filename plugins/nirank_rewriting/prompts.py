"""Prompts: what a language model is asked for a query, which stands where `{query}` does."""

from __future__ import annotations

from nirank.errors import BadInput

#: Prompts by name, for the setting `prompt`; it may also be a prompt itself.
PROMPTS = {
    # Gao et al., ACL 2023, "Precise Zero-Shot Dense Retrieval without Relevance Labels": a passage that would answer.
    "hyde": "Write one paragraph that answers this question.\n\nQuestion: {query}\n\nParagraph:",
    # Wang, Yang and Wei, EMNLP 2023, "Query2doc": the same, to stand after the query.
    "query2doc": "Write a passage that answers the given query.\n\nQuery: {query}\n\nPassage:",
    "keywords": "List up to ten search terms for this query, separated by blanks, and nothing else.\n\nQuery: {query}",
    "correct": "Correct the spelling of this search query. Answer with the query alone.\n\nQuery: {query}",
    "translate": "Translate this search query into English. Answer with the translation alone.\n\nQuery: {query}",
}


def prompt_of(prompt: str) -> str:
    """A prompt by its name, or as it is. Raises `BadInput` for one without a place for the query."""
    text = PROMPTS.get(prompt, prompt)
    if "{query}" not in text:
        raise BadInput(f"prompt = {prompt!r:.80} has no {{query}}, and is none of {', '.join(PROMPTS)}.")
    return text
