"""Encoding images from files, and texts: nirank's CLIP beside a plain loop with transformers over the same model.

The files are JPEGs of the size of a small photograph, drawn at random; the models have the shape of CLIP's ViT-B/32,
and one of a quarter of its layers and width, beside which decoding takes most of the time. Their weights are random:
what an image means does not matter to how long it takes. The texts are documents of real collections, in tokens of a
vocabulary of single characters, cut at the 77 that the model reads. Where there is a GPU both use it.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import speed_encode
from speed_run import Run
from speed_table import OURS, Report, agreement
from speed_worker import Engine, contest, each, working

#: Models by name: the settings of the image tower of `transformers.CLIPConfig`, and how many images are encoded.
MODELS: dict[str, tuple[Mapping[str, int], int]] = {
    "ViT-B/32": (
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        256,
    ),
    "a quarter of it": (
        {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 3, "num_attention_heads": 3},
        512,
    ),
}
#: The text tower of ViT-B/32, and how many texts are encoded.
TEXT_TOWER: Mapping[str, int] = {
    "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8
}  # fmt: skip
TEXTS = 300
#: How many times the speed of the plain loop is wanted.
WANTED = 1.0
#: Pixels of the files, and how many images a batch of either has.
WIDTH, HEIGHT, BATCH = 640, 480, 32
#: Unit vectors that count as the same differ by less.
SAME = 1e-5
_PLAIN, _TORCH = "plain transformers", "nirank in torch"
_SMALL: Mapping[str, int] = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1
}  # fmt: skip


def compare(run: Run, report: Report) -> None:
    """Time each model on its files, and compare the vectors."""
    folder = _drawn(run.folder / "images", run.size(max(count for _, count in MODELS.values()), 8))
    for name, (tower, count) in MODELS.items():
        paths = list(map(str, sorted(folder.iterdir())[: run.size(count, 8)]))
        what = f"encode {len(paths)} JPEGs of {WIDTH} x {HEIGHT}, {name}"
        _compare(what, {"model": _saved(run, name, tower), "paths": paths}, run, report)
    texts = json.loads(speed_encode.written("descriptions", run.size(TEXTS, 20), run).read_text(encoding="utf-8"))
    model = _saved(run, "texts", MODELS["a quarter of it"][0], TEXT_TOWER)
    _compare(f"encode {len(texts)} descriptions, ViT-B/32's text tower", {"model": model, "texts": texts}, run, report)


def _compare(what: str, given: Mapping[str, Any], run: Run, report: Report) -> None:
    settings = {**given, "threads": run.threads}
    needs = ["torch", "transformers", "PIL"]
    engines = [
        Engine(OURS, "speed_images:Nirank", [*needs, "openvino"], settings),
        Engine(_TORCH, "speed_images:Nirank", needs, settings | {"runtime": "torch"}),
        Engine(_PLAIN, "speed_images:Transformers", needs, settings),
    ]
    with working(engines, report.note) as workers:
        laps = contest(workers, report.note, run.rounds, "encode")
        vectors = each(workers, report.note, lambda worker: worker.call("some"))
    kind = "texts" if "texts" in given else "images"
    report.times(what, laps, {_PLAIN: WANTED}, dict.fromkeys(laps, len(given.get("texts") or given["paths"])), kind)
    for apart in agreement(vectors).values():
        report.note(f"{what}: {'the same' if apart < SAME else 'NOT the same'} vectors, {apart:.1e} apart at most.")


def _drawn(folder: Path, count: int) -> Path:
    """Files in a folder: coarse fields of colour with grain, which decode like photographs."""
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float)
        grained = np.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(grained).save(folder / f"{number:04}.jpg", quality=90)
    return folder


def _saved(run: Run, name: str, tower: Mapping[str, int], text: Mapping[str, int] = _SMALL) -> str:
    """A model with random weights, its tokenizer and its image processor, in a folder."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    from nirank.kit.transformers import quiet
    from nirank_clip.tiny import tokenizer

    folder = run.folder / f"model-{'-'.join(name.split()).replace('/', '-')}"
    torch.manual_seed(0)
    letters = tokenizer()
    known = {"vocab_size": len(letters), "bos_token_id": letters.bos_token_id, "eos_token_id": letters.eos_token_id}
    config = CLIPConfig(text_config={**text, **known}, vision_config={**tower, "image_size": 224, "patch_size": 32})
    with quiet():
        for part in (CLIPModel(config), CLIPImageProcessorPil(), letters):
            part.save_pretrained(folder)
    return str(folder)


class Encoder:
    """A model, and texts or the paths of images; `encode` is timed, from files or texts to vectors."""

    def __init__(
        self, model: str, threads: int, paths: Sequence[str] = (), texts: Sequence[str] = (), **settings: Any
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self.contents: Sequence[str | Path] = [*map(Path, paths), *texts]
        self._ready(model, **settings)

    def _ready(self, model: str, **settings: Any) -> None:
        """Load the model, in the way that settings say."""
        raise NotImplementedError

    def encode(self) -> None:
        self.vectors()

    def vectors(self) -> Any:
        """Unit vectors of all contents, float32 `[contents, dim]`."""
        raise NotImplementedError

    def some(self) -> list[float]:
        """The vectors of a few contents, which were encoded among all, one behind the other."""
        found = np.asarray(self.vectors(), np.float64)
        return np.round(found[:: max(1, len(found) // 8)].ravel(), 9).tolist()


class Transformers(Encoder):
    """As its documentation has it: batches are opened, given to the processor, and then to the model."""

    def _ready(self, model: str, **_: Any) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = CLIPModel.from_pretrained(model).to(self.device).eval()
        self.processor, self.tokenizer = (kind.from_pretrained(model) for kind in (AutoImageProcessor, AutoTokenizer))

    def vectors(self) -> Any:
        import torch

        starts = range(0, len(self.contents), BATCH)
        with torch.inference_mode():
            outputs = [self._batch(self.contents[start : start + BATCH]) for start in starts]
            features = torch.cat([getattr(output, "pooler_output", output) for output in outputs])
            return torch.nn.functional.normalize(features, dim=1).cpu().numpy()

    def _batch(self, contents: Sequence[Any]) -> Any:
        from PIL import Image

        if isinstance(contents[0], str):
            given = self.tokenizer(contents, padding=True, truncation=True, max_length=77, return_tensors="pt")
            return self.model.get_text_features(**given.to(self.device))
        pictures = [Image.open(path).convert("RGB") for path in contents]
        return self.model.get_image_features(**self.processor(images=pictures, return_tensors="pt").to(self.device))


class Nirank(Encoder):
    """`nirank.load("clip")`, which encodes documents as an index is built."""

    def _ready(self, model: str, **settings: Any) -> None:
        import nirank

        self.component = nirank.load("clip", model=model, passed=BATCH, **settings).component

    def vectors(self) -> Any:
        from nirank.execution import stages

        return stages.encode_documents(self.component, self.contents).cpu().numpy()
