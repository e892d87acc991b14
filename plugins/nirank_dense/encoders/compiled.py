"""The transformer under a model of sentence-transformers as a graph of OpenVINO."""

from __future__ import annotations

from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer

from nirank.errors import BadInput
from nirank.kit import import_openvino, token_examples, token_states, trace

#: The output of the graph, under the name that transformers has for it.
STATES = "last_hidden_state"
#: Inputs that a transformer may have, in the order in which the graph takes them.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def names(model: SentenceTransformer) -> list[str]:
    """The inputs that the tokenizer makes and the transformer takes."""
    return [name for name in _INPUTS if name in model.tokenizer.model_input_names]


def compilable(model: SentenceTransformer) -> bool:
    """True if the model begins with a transformer that makes nothing but the vectors of its tokens."""
    first = model[0]
    if not isinstance(first, Transformer) or first.module_output_name != "token_embeddings":
        return False
    config, text = first.model.config, first.modality_config.get("text", {})
    plain = text.get("method") == "forward" and text.get("method_output_name") in (STATES, None)
    return plain and not config.is_encoder_decoder and not getattr(config, "output_hidden_states", False)


def write_graph(model: SentenceTransformer, folder: Path) -> None:
    """Write the transformer of a model as `openvino_model.xml`, with its weights in float32 beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    example, _ = token_examples(names(model))
    graph = trace(model[0].model, token_states, example, STATES)
    import_openvino("openvino").save_model(graph, str(folder / "openvino_model.xml"), compress_to_fp16=False)


def refuse_unless_compilable(model: SentenceTransformer, name: str, device: str) -> None:
    """Raise `BadInput` for what OpenVINO is not used for here."""
    if device != "cpu":
        raise BadInput(f"runtime = 'openvino' computes on the CPU, but device = {device!r}: change one of them.")
    if not compilable(model):
        kinds = ", ".join(type(module).__name__ for module in model)
        raise BadInput(
            f"{name} ({kinds}) cannot be compiled: it does not begin with a plain transformer of texts. Set "
            "runtime = 'torch'."
        )
