"""Dense vectors: bi-encoders, weighted word vectors, and exact or approximate search, here or in a store."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


_KINDS = {"flat": "Flat", "sq8": "SQ8", "hnsw": "HNSW", "ivf_flat": "IVFFlat", "ivf_pq": "IVFPQ"}
_STORES = {"pgvector": "PGVector", "milvus": "MilvusSearch", "qdrant": "QdrantSearch"}


_IN_MEMORY = "the stand-in for its server keeps rows in the memory of one process"
contract_exceptions = {f"{name}::generator/same_in_another_process": _IN_MEMORY for name in _STORES}


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders, the exact index, those of faiss, and those of stores."""
    tiny = "nirank_dense.tiny:encoder"
    registry.add("encoder", "sentence", "nirank_dense.encoders.sentence:SentenceEncoder", tiny=tiny, extra="dense")
    registry.add("encoder", "minilm", "nirank_dense.encoders.sentence:minilm", tiny=tiny, extra="dense")
    towers = "nirank_dense.encoders.towers:TwoTowers"
    registry.add("encoder", "two_towers", towers, tiny="nirank_dense.tiny:two_towers", extra="dense")
    adapter = "nirank_dense.encoders.adapter:Adapter"
    registry.add("encoder", "adapter", adapter, tiny="nirank_dense.tiny:adapter", extra="dense")
    words = "nirank_dense.encoders.words:WeightedWordVectors"
    registry.add("encoder", "words", words, tiny="nirank_dense.tiny:words", extra="dense")
    registry.add(
        "generator",
        "exact",
        "nirank_dense.exact.search:ExactSearch",
        tiny="nirank_dense.exact.search:tiny",
        extra="dense",
    )
    for name, kind in _STORES.items():
        target, tiny = f"nirank_dense.stores.{name}:{kind}", "nirank_dense.stores.tiny:graph"
        registry.add("generator", name, target, tiny=tiny, extra=name)
    for name, kind in _KINDS.items():
        registry.add(
            "generator",
            name,
            f"nirank_dense.faiss.indexes:{kind}",
            tiny=f"nirank_dense.faiss.tiny:{name}",
            extra="faiss",
        )
