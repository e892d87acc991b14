"""Losses to train scorers and encoders with; each family is a file, each loss a class with its equation."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_LOSSES = {
    "pointwise": {
        "cross_entropy": "CrossEntropy",
        "binary_cross_entropy": "BinaryCrossEntropy",
        "mse": "MeanSquaredError",
        "ordinal": "Ordinal",
    },
    "likelihood": {"likelihood": "Likelihood"},
    "distance": {"contrastive": "Contrastive", "triplet": "Triplet"},
    "listwise": {
        "softmax_cross_entropy": "SoftmaxCrossEntropy",
        "listnet": "ListNet",
        "listmle": "ListMLE",
        "p_listmle": "PositionListMLE",
    },
    "smooth": {"approx_ndcg": "ApproxNDCG", "approx_mrr": "ApproxMRR", "neural_ndcg": "NeuralNDCG"},
    "sampled": {"sampled_softmax": "SampledSoftmax", "nce": "NCE", "negative_sampling": "NegativeSampling"},
    "hierarchical": {"hierarchical_softmax": "HierarchicalSoftmax"},
    "pairwise": {"ranknet": "RankNet", "hinge": "Hinge"},
    "lambdarank": {"lambdarank": "LambdaRank", "lambdaloss": "LambdaLoss"},
    "distillation": {"kl": "KLDivergence", "margin_mse": "MarginMSE", "adr_mse": "ADRMSE"},
    "similarity": {
        "multi_similarity": "MultiSimilarity",
        "circle": "Circle",
        "supcon": "SupCon",
        "mega_batch_margin": "MegaBatchMargin",
    },
    "proxies": {
        "arc_face": "ArcFace",
        "cos_face": "CosFace",
        "proxy_nca": "ProxyNCA",
        "proxy_anchor": "ProxyAnchor",
    },
    "memory": {"xbm": "CrossBatchMemory"},
    "angles": {"angle": "AnglE"},
    "softmaxes": {
        "unique_softmax": "UniqueSoftmax",
        "poly1": "PolyOne",
        "gist": "GuidedSoftmax",
        "cosent": "CoSENT",
    },
    "contrastive_pairs": {"clip": "CLIPLoss", "siglip": "SigLIPLoss"},
}


#: Checked with settings of their own.
_TINY = {"cross_entropy": "tiny_cross_entropy"}

_DRAWN = "a document that is drawn twice into a sample counts twice"

contract_exceptions = {
    "neural_ndcg::loss/badly_wrong_pair": "far from any swap a soft sort is a plain sort, whose gradient is zero",
    "kl::loss/temperature": "gamma also multiplies the scores of the teacher",
    "sampled_softmax::loss/repeated_documents": _DRAWN,
    "nce::loss/repeated_documents": _DRAWN,
    "negative_sampling::loss/repeated_documents": _DRAWN,
    "angle::loss/vectors_learns": "its angles are absolute values, as in its peers: opposite vectors may have them too",
    "circle::loss/gradient_is_the_derivative": "the weights of pairs have no gradient, as the authors have it",
    "clip::loss/lists_are_independent": "each document is compared with all queries of the batch",
}


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name every loss, and the core's own; checked is its class with its defaults, unless that needs a setting."""
    for module, losses in _LOSSES.items():
        for name, loss in losses.items():
            tiny = f"nirank_losses.{module}:{_TINY.get(name, loss)}"
            registry.add("loss", name, f"nirank_losses.{module}:{loss}", tiny=tiny, extra="losses")
    weighted = "nirank.training.weighted_loss:Weighted"
    registry.add("loss", "weighted", weighted, tiny=weighted, extra="losses")
