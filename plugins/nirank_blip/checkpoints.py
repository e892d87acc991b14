"""Networks from files: checkpoints of transformers by hub name or folder, and what a training here has written.

Components that name the same model have its weights in memory once. One that is trained gets its own (`own`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from nirank.errors import BadInput, DamagedFile
from nirank.kit.transformers import load, quiet, tokenizer_of
from nirank.kit.vision import Pixels
from nirank.pipeline import Stage
from nirank_blip.network import Network
from nirank_blip.nothing import Shape, built
from nirank_blip.pictures import Pictures

RETRIEVAL, CAPTIONER = "BlipForImageTextRetrieval", "BlipForConditionalGeneration"
#: Where a network that was trained here lies in the folder of its component, and its files.
FOLDER, _SHAPE, _WEIGHTS, _TOKENS = "network", "shape.json", "network.safetensors", "tokenizer"
_LONGEST = 35  # tokens of a text, as BLIP reads them in retrieval

_OPEN: WeakValueDictionary[tuple[Any, ...], Network] = WeakValueDictionary()


def opened(model: str | Stage, kind: str, device: str) -> Network:
    """The network of a model: a name on the hub, a folder, `trained:FOLDER`, or a stage that has one.

    `kind` is the class of transformers that a checkpoint of theirs is loaded as. The weights are shared with all
    others that were opened from the same place. Raises `BadInput` where there is no such model, and where it lacks
    weights.
    """
    if isinstance(model, Stage):
        return _of_stage(model)
    place = _place(model)
    key = (str(place), _state(place), kind, device)
    network = _OPEN.get(key)
    if network is None:
        network = _OPEN[key] = _loaded(place, kind).to(device).eval()
    return alike(network)


def alike(network: Network) -> Network:
    """A network with the same weights in memory, which is frozen and put into training by itself."""
    memo: dict[int, Any] = {id(network.tokenizer): network.tokenizer}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.data, requires_grad=True)
    memo |= {id(buffer): buffer for buffer in network.buffers()}
    found = copy.deepcopy(network, memo)
    found.origin = (network,)  # keeps it in the cache, and is no part of it
    return found


def own(network: Network) -> None:
    """Give a network weights of its own, before they are trained."""
    kept: dict[int, Tensor] = {}
    for parameter in network.parameters():
        parameter.data = kept.setdefault(parameter.data.data_ptr(), parameter.data.clone())
    network.origin = ()


def save(network: Network, shape: Shape | None, folder: Path) -> None:
    """Write a network into `folder / "network"`: weights, tokenizer, and the shape or the configurations."""
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {"shape": asdict(shape)} if shape else {"configs": _configs(network)}
    described |= {"longest": network.longest, "lead": network.lead, "pictures": network.pictures.described}
    (place / _SHAPE).write_text(json.dumps(described, indent=1), encoding="utf-8")
    save_model(network, str(place / _WEIGHTS))
    with quiet():
        network.tokenizer.save_pretrained(place / _TOKENS)


def shape_of(model: str | Stage) -> Shape | None:
    """The shape of a network from nothing that was trained here; None of others."""
    if isinstance(model, Stage):
        return getattr(model.component.target, "shape", None)
    place = Path(_place(model))
    return _shape(_described(place), None) if (place / _SHAPE).exists() else None


def _of_stage(stage: Stage) -> Network:
    network = getattr(stage.component.target, "network", None)
    if not isinstance(network, Network):
        raise BadInput(
            f"{stage!r} is {stage.component!r:.80}, which has no network of BLIP: name a stage that has one."
        )
    return alike(network)


def _place(model: str) -> Path | str:
    """The folder of a network that was trained here, or the name of a model as it is."""
    folder = Path(model.removeprefix("trained:")).expanduser()
    for inside in (folder, folder / FOLDER, folder / "checkpoint" / FOLDER):
        if (inside / _SHAPE).exists():
            return inside
    return folder.absolute() if folder.is_dir() else model


def _state(place: Path | str) -> tuple[Any, ...]:
    """Sizes and times of the files in a folder, by which a change is known."""
    if isinstance(place, str):
        return ()
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def _loaded(place: Path | str, kind: str) -> Network:
    if isinstance(place, Path) and (place / _SHAPE).exists():
        return _trained_here(place)
    settings: dict[str, Any] = {"use_safetensors": True} if isinstance(place, Path) else {}
    model = load(kind, str(place), unused=(), **settings)
    pixels = Pixels.of(load("AutoImageProcessor", str(place), backend="pil"))
    tokenizer = tokenizer_of(str(place), model)
    pictures = Pictures(model.vision_model, pixels, model.config.vision_config.hidden_size, "first")
    longest = min(_LONGEST, int(model.config.text_config.max_position_embeddings))
    if kind == CAPTIONER:
        return Network(pictures, tokenizer, longest, decoder=model.text_decoder)
    network = Network(pictures, tokenizer, longest, model.text_encoder)
    return network.give(model.text_proj, model.vision_proj, model.itm_head)


def _trained_here(place: Path) -> Network:
    described = _described(place)
    tokenizer = load("AutoTokenizer", str(place / _TOKENS))
    shape = _shape(described, None)
    network = built(shape, tokenizer, 0) if shape else _of_configs(described, tokenizer)
    try:
        load_model(network, str(place / _WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DamagedFile(f"does not hold the weights of this network: {error}", place / _WEIGHTS) from error
    network.lead = described["lead"]
    return network


def _described(place: Path) -> dict[str, Any]:
    try:
        described: dict[str, Any] = json.loads((place / _SHAPE).read_text(encoding="utf-8"))
        (
            described["longest"] + 0,
            described["lead"],
            described["pictures"]["pool"],
            described.get("shape") or described["configs"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(f"is damaged: {error!r}. Train it again, or copy it again.", place / _SHAPE) from error
    return described


def _shape(described: Mapping[str, Any], weights: str | None) -> Shape | None:
    """The shape in a description; its image tower is among the weights, and no file is read."""
    return Shape.of({**described["shape"], "image_weights": weights}) if described.get("shape") else None


def _configs(network: Network) -> dict[str, Any]:
    """The configurations of the parts of a network that came from transformers."""
    parts = {"vision": network.pictures.network, "encoder": network.encoder, "decoder": network.decoder}
    found = {name: part.config.to_dict() for name, part in parts.items() if part is not None}
    return {**found, "dim": network.dim if network.encoder is not None else None}


def _of_configs(described: Mapping[str, Any], tokenizer: Any) -> Network:
    """A network as `_configs` describes it, with random weights."""
    import transformers

    configs, told = described["configs"], dict(described["pictures"])
    pool, width = told.pop("pool"), told.pop("width")
    lists: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    pixels = Pixels(**lists)
    with quiet(), torch.random.fork_rng(devices=[]):
        vision = transformers.BlipVisionModel(transformers.BlipVisionConfig(**configs["vision"]))
        texts = {
            name: transformers.BlipTextConfig(**configs[name]) for name in ("encoder", "decoder") if name in configs
        }
        encoder = transformers.BlipTextModel(texts["encoder"], add_pooling_layer=False) if "encoder" in texts else None
        decoder = transformers.BlipTextLMHeadModel(texts["decoder"]) if "decoder" in texts else None
        network = Network(Pictures(vision, pixels, width, pool), tokenizer, described["longest"], encoder, decoder)
        if encoder is None:
            return network
        inner, dim = texts["encoder"].hidden_size, configs["dim"]
        return network.give(nn.Linear(inner, dim), nn.Linear(width, dim), nn.Linear(inner, 2))
