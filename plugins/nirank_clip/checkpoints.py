"""Models of texts and images, from transformers (CLIP, SigLIP) or open_clip, behind the same few methods.

Each gives features of texts and of images, float32 `[n, dim]`, not yet of length 1; `towers` are the modules of each
side, `preparation` is a text of all that features depend on beside the weights, and `save` writes all into a folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nirank.data import Content, images
from nirank.errors import BadInput
from nirank.kit import Fast, Runtime
from nirank.kit.transformers import load, quiet, tokenizer_of, tokenizer_text
from nirank.kit.vision import Pixels, imported
from nirank_clip.contents import by_length

#: The beginning of the name of a model of open_clip, and that of a folder in open_clip itself.
OPEN_CLIP, _FOLDER = "open_clip:", "local-dir:"
_CONFIG, _WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
#: With more images, or tokens of texts, at once torch takes longer than a graph takes to be compiled.
_IMAGES_WORTH_COMPILING, _TOKENS_WORTH_COMPILING = 200, 2_000
#: The parts of each tower of the models of transformers.
_PARTS = {"text": ("text_model", "text_projection"), "image": ("vision_model", "visual_projection")}


class Checkpoint(Protocol):
    """A model with what prepares its texts and its images."""

    model: nn.Module
    dim: int
    preparation: str

    @property
    def towers(self) -> Mapping[str, Sequence[nn.Module]]:
        """The modules of each side, "text" and "image"."""

    def texts(self, texts: Sequence[str], passed: int) -> Tensor:
        """Features of texts, `passed` at a time."""

    def images(self, contents: Sequence[Content], passed: int) -> Tensor:
        """Features of images, `passed` at a time."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder, so that it can be opened from there."""


def opened(name: str, runtime: Runtime | None) -> Checkpoint:
    """The checkpoint of a name: `open_clip:...`, a name on the hub, or a folder; `runtime` computes it.

    Raises `BadInput` for a model without two towers, where there is none, and for OpenVINO with one of open_clip;
    `MissingDependency` without open_clip.
    """
    folder = Path(name).expanduser()
    if not name.startswith(OPEN_CLIP) and not (folder / _CONFIG).exists():
        return Transformers(name, runtime)
    if runtime == "openvino":
        raise BadInput(
            f"runtime = 'openvino' is for models of transformers, but {name} is of open_clip: set runtime = 'torch'."
        )
    return OpenCLIP(name.removeprefix(OPEN_CLIP) if name.startswith(OPEN_CLIP) else f"{_FOLDER}{folder}")


class Transformers:
    """A checkpoint of CLIP or SigLIP on the model hub, or a folder with model, tokenizer and image processor."""

    def __init__(self, name: str, runtime: Runtime | None) -> None:
        self.model = load("AutoModel", name, unused=())
        if not (hasattr(self.model, "get_text_features") and hasattr(self.model, "get_image_features")):
            raise BadInput(f"{name} is a {self.model.config.model_type}; a model of texts and images is expected.")
        self.tokenizer = tokenizer_of(name, self.model)
        self.processor = load("AutoImageProcessor", name, backend="pil")
        self.pixels = Pixels.of(self.processor)
        config = self.model.config
        self.dim = int(getattr(config, "projection_dim", None) or config.vision_config.hidden_size)
        self.preparation = f"{tokenizer_text(self.tokenizer)}\n{self.pixels}"
        self._longest = int(config.text_config.max_position_embeddings)
        self._siglip = str(config.model_type).startswith("siglip")
        self.fast_images = Fast(self.model, _image_features, self._pictures, runtime, _IMAGES_WORTH_COMPILING)
        self.fast_texts = Fast(self.model, _text_features, self._sentences, runtime, _TOKENS_WORTH_COMPILING)

    @property
    def towers(self) -> Mapping[str, Sequence[nn.Module]]:
        """The modules of each side."""
        return {side: [getattr(self.model, part, nn.Module()) for part in parts] for side, parts in _PARTS.items()}

    def texts(self, texts: Sequence[str], passed: int) -> Tensor:
        """Features of texts, those of similar length together."""
        tokens = self._tokens(texts)
        read = len(tokens) * self._longest if self._siglip else sum(map(len, tokens))
        run = self._computing(self.fast_texts, read)
        return by_length(tokens, passed, lambda some: run(self._padded(some)))

    def images(self, contents: Sequence[Content], passed: int) -> Tensor:
        """Features of images."""
        run = self._computing(self.fast_images, len(contents))
        batches = self.pixels.batches(contents, passed, self.model.device)
        return torch.cat([run({"pixel_values": each.to(self.model.dtype)}) for each in batches])

    def save(self, folder: Path) -> None:
        """Write model, tokenizer and image processor, as transformers does."""
        with quiet():
            for part in (self.model, self.tokenizer, self.processor):
                part.save_pretrained(folder)

    def _computing(self, fast: Fast, work: int) -> Callable[[dict[str, Tensor]], Tensor]:
        graph = fast.graph(work)
        return partial(fast.function, self.model) if graph is None else graph

    def _pictures(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Two images, and three others, as the image tower takes them."""
        one = self.pixels.batches([images.drawn(0)], 1)
        others = self.pixels.batches([images.drawn(number) for number in (1, 2, 3)], 3)
        return {"pixel_values": next(one).repeat(2, 1, 1, 1)}, {"pixel_values": next(others)}

    def _sentences(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Two texts, and three of other lengths, as the text tower takes them."""
        two, three = ["a cat", "a dog"], ["three small black cats", "a", "12"]
        return self._padded(self._tokens(two)), self._padded(self._tokens(three))

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self._longest)["input_ids"]
        return found

    def _padded(self, tokens: Sequence[list[int]]) -> dict[str, Tensor]:
        """Texts as the text tower takes them. SigLIP was trained on texts padded to one length, without mask."""
        whole = {"padding": "max_length", "max_length": self._longest} if self._siglip else {"padding": True}
        padded = self.tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt", **whole)
        names = ["input_ids"] if self._siglip else ["input_ids", "attention_mask"]
        return {name: padded[name].to(self.model.device) for name in names}


class OpenCLIP:
    """A model of open_clip: `NAME/WEIGHTS` of its list of pretrained ones, `hf-hub:NAME` or `local-dir:FOLDER`.

    Cherti et al., Reproducible Scaling Laws for Contrastive Language-Image Learning, CVPR 2023. Images are prepared by
    open_clip's own transformation, in several threads.
    """

    def __init__(self, name: str) -> None:
        library = imported("open_clip", "models of open_clip")
        model, _, weights = (name, "", None) if ":" in name else name.partition("/")
        if weights == "":
            tags = ", ".join(library.list_pretrained_tags_by_model(model)) or "none, as there is no such model"
            raise BadInput(f"{OPEN_CLIP}{name} names no weights, as {OPEN_CLIP}{model}/TAG does; its tags: {tags}.")
        try:
            made = library.create_model_and_transforms(model, pretrained=weights, require_pretrained=True)
            self.model, _, self.preprocess = made
            self.tokenizer = library.get_tokenizer(model)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise BadInput(f"{OPEN_CLIP}{name} is not a model that open_clip can load: {error}") from error
        self._config = library.get_model_config(model)
        self.dim = int(self._config["embed_dim"])
        self.preparation = f"{self._config} {self.model.visual.preprocess_cfg}"

    @property
    def towers(self) -> Mapping[str, Sequence[nn.Module]]:
        """The modules of each side; what is not of images, and no scale, is of texts."""
        texts = nn.Module()
        for name, value in [*self.model.named_children(), *self.model.named_parameters(recurse=False)]:
            if name != "visual" and not name.startswith("logit_"):
                setattr(texts, name, value)
        return {"text": [texts], "image": [self.model.visual]}

    def texts(self, texts: Sequence[str], passed: int) -> Tensor:
        """Features of texts, each padded to the same length as open_clip does."""
        parts = [self.tokenizer(list(texts[start : start + passed])) for start in range(0, len(texts), passed)]
        return torch.cat([self.model.encode_text(part.to(self._device)).float() for part in parts])

    def images(self, contents: Sequence[Content], passed: int) -> Tensor:
        """Features of images."""
        return torch.cat([self.model.encode_image(part).float() for part in self._batches(contents, passed)])

    def save(self, folder: Path) -> None:
        """Write model, settings and tokenizer, as open_clip does for a folder."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in self.model.state_dict().items()}, folder / _WEIGHTS)
        settings = {"model_cfg": self._config, "preprocess_cfg": self.model.visual.preprocess_cfg}
        (folder / _CONFIG).write_text(json.dumps(settings), encoding="utf-8")
        if hasattr(self.tokenizer, "save_pretrained"):  # open_clip's own comes with it
            self.tokenizer.save_pretrained(folder)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _batches(self, contents: Sequence[Content], size: int) -> Iterator[Tensor]:
        kind = next(self.model.parameters()).dtype
        for some in images.batches(contents, self.preprocess, size):
            yield torch.stack(some).to(self._device, kind)


def _image_features(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    return _features(model.get_image_features(**inputs))


def _text_features(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    return _features(model.get_text_features(**inputs))


def _features(output: Any) -> Tensor:
    """The features in the output of a tower: a tensor, or in later versions of transformers an object that holds it."""
    features: Tensor = getattr(output, "pooler_output", output)
    return features.float()
