"""A transformer compiled by OpenVINO, which computes on the CPU what torch does, in less time.

The graph is traced from the weights in memory, in about a second, and compiled for a precision that is always said:
left to itself OpenVINO takes bfloat16 where the processor has it. Weights may change afterwards (training): then it is
traced anew.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank.pretrained import Precision, quiet
from nirank_dense.openvino import imported

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
#: What a transformer may be told of its tokens, in the order in which the graph takes it.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Compiled:
    """The first module of `model`, a transformer, compiled; weights are those at the time."""

    def __init__(self, model: SentenceTransformer, precision: Precision) -> None:
        openvino = imported("openvino")
        self._stamp = _stamp(model)
        self._names = _names(model)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        self._model = openvino.Core().compile_model(_graph(model[0].model, self._names), "CPU", settings)
        self._requests = threading.local()

    def fits(self, model: SentenceTransformer) -> bool:
        """Whether the weights of `model` are still those that were compiled."""
        return self._stamp == _stamp(model)

    def __call__(self, features: dict[str, Any]) -> Tensor:
        """Vectors of tokens, float32 `[texts, tokens, width]`; they are overwritten by the next call of the thread."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._model.create_infer_request()
        inputs = [features[name].numpy() for name in self._names]
        found = self._requests.own.infer(inputs, share_inputs=True, share_outputs=True)
        return torch.from_numpy(found[0])


def compilable(model: SentenceTransformer) -> bool:
    """Whether the model begins with a transformer that makes nothing but the vectors of its tokens."""
    first = model[0]
    if not isinstance(first, Transformer) or first.module_output_name != "token_embeddings":
        return False
    config, text = first.model.config, first.modality_config.get("text", {})
    plain = text.get("method") == "forward" and text.get("method_output_name") in ("last_hidden_state", None)
    return plain and not config.is_encoder_decoder and not getattr(config, "output_hidden_states", False)


def write_graph(model: SentenceTransformer, folder: Path) -> None:
    """Write the transformer of a model as `openvino_model.xml`, with its weights in float32 beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = _graph(model[0].model, _names(model))
    imported("openvino").save_model(graph, str(folder / "openvino_model.xml"), compress_to_fp16=False)


class _Tokens(nn.Module):
    """A transformer as a function of tensors, which can be traced."""

    def __init__(self, transformer: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.transformer, self.names = transformer, names

    def forward(self, *inputs: Tensor) -> Tensor:
        named = dict(zip(self.names, inputs, strict=True))
        vectors: Tensor = self.transformer(**named, return_dict=True).last_hidden_state
        return vectors


def _graph(transformer: nn.Module, names: list[str]) -> Any:
    """The graph of a transformer, for any number of texts and tokens; it shares the memory of the weights."""
    frontends, tracing = imported("openvino.frontend"), imported("openvino.frontend.pytorch.ts_decoder")
    device = next(transformer.parameters()).device
    example = tuple(torch.ones((2, 8), dtype=torch.long, device=device) for _ in names)
    with _evaluating(transformer), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the tracer says of conditions on shapes: a test tries other shapes
        decoder = tracing.TorchScriptPythonDecoder(_Tokens(transformer, names).eval(), example_input=example)
    frontend = frontends.FrontEndManager().load_by_framework("pytorch")
    graph = frontend.convert(frontend.load(decoder))
    for port, name in zip([*graph.inputs, *graph.outputs], [*names, "last_hidden_state"], strict=True):
        port.get_tensor().set_names({name})
    return graph


def _names(model: SentenceTransformer) -> list[str]:
    """What the tokenizer gives and the transformer takes."""
    return [name for name in _INPUTS if name in model.tokenizer.model_input_names]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout and gradients, whatever mode the module is in."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def _stamp(model: SentenceTransformer) -> int:
    """Changes whenever a weight is written to."""
    return sum(parameter._version for parameter in model.parameters())


def refuse_unless_compilable(model: SentenceTransformer, name: str, device: str) -> None:
    """Raise `BadInput` for what OpenVINO is not used for here."""
    if device != "cpu":
        raise BadInput(f"runtime = 'openvino' computes on the CPU, and the device is {device}.")
    if not compilable(model):
        kinds = ", ".join(type(module).__name__ for module in model)
        raise BadInput(f"{name} ({kinds}) cannot be compiled: it does not begin with a plain transformer of texts.")
