"""Test collections: emoji, images, BEIR's folders, TREC's files, ir_datasets; lists that come with them; clicks."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the collections, the generator of the lists that come with them, and the scorer of a run."""
    registry.add(
        "generator", "given", "nirank_datasets.candidate_lists:Given", tiny="nirank_datasets.candidate_lists:Given"
    )
    registry.add("scorer", "stored", "nirank_datasets.stored:Stored", tiny="nirank_datasets.stored:tiny")
    registry.add("collection", "emoji", "nirank_datasets.emoji:emoji", tiny="nirank_datasets.tiny:tiny", extra="emoji")
    registry.add("collection", "beir", "nirank_datasets.folders:beir", tiny="nirank_datasets.tiny:tiny")
    registry.add("collection", "trec", "nirank_datasets.folders:trec", tiny="nirank_datasets.tiny:tiny")
    registry.add("collection", "jsonl", "nirank_datasets.folders:jsonl", tiny="nirank_datasets.tiny:tiny")
    registry.add("collection", "irds", "nirank_datasets.irds:irds", tiny="nirank_datasets.tiny:tiny", extra="irds")
    registry.add("collection", "clicked", "nirank.clicks.clicked:clicked", tiny="nirank.clicks.clicked:tiny")
    files = "nirank_datasets.image_files"
    registry.add("collection", "images", f"{files}:images", tiny=f"{files}:tiny", extra="images")
    pictures = "nirank_datasets.categories:tiny"
    registry.add("collection", "omniglot", "nirank_datasets.omniglot:omniglot", tiny=pictures, extra="images")
    registry.add("collection", "icons", "nirank_datasets.icons:icons", tiny=pictures, extra="images")
    registry.add("collection", "idx", "nirank_datasets.idx:idx", tiny=pictures, extra="images")
