"""Dense vectors: bi-encoders from sentence-transformers, weighted word vectors, and exact search over either."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders and the exact index."""
    tiny = "nirank_dense.tiny:encoder"
    registry.add("encoder", "sentence", "nirank_dense.sentence:SentenceEncoder", tiny=tiny, extra="dense")
    registry.add("encoder", "minilm", "nirank_dense.sentence:minilm", tiny=tiny, extra="demo")
    words = "nirank_dense.words:WordVectors"
    registry.add("encoder", "words", words, tiny="nirank_dense.tiny:words", extra="dense")
    registry.add("generator", "exact", "nirank_dense.exact:ExactSearch", tiny="nirank_dense.exact:tiny", extra="dense")
