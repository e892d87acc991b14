"""Priors: from the vector of a text to that of a picture, by regression, a small network, or diffusion.

Ramesh, Dhariwal, Nichol, Chu and Chen, Hierarchical Text-Conditional Image Generation with CLIP Latents, 2022, section
2.2. They draw pictures from such vectors; here pictures are found by them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Candidates, Collection, Queries
from nirank.errors import BadInput
from nirank.kit import weights_digest
from nirank.kit.transformers import best_device
from nirank_unclip.diffusion import Diffusion, Drawing
from nirank_unclip.encoder import Encoder
from nirank_unclip.spaces import Model, Spaces

How = Literal["mlp", "ridge", "diffusion", "transformer"]
WEIGHTS = "prior.safetensors"


@dataclass(frozen=True)
class Network:
    """The shape of a network: `layers` of `hidden` units, first weights from `seed`; `batch_size` texts at once.

    `device` is where it is, the best there is unless given.
    """

    hidden: int = 512
    layers: int = 2
    seed: int = 0
    batch_size: int = 512
    device: str | None = None

    def __post_init__(self) -> None:
        if min(self.hidden, self.layers, self.batch_size) < 1:
            raise BadInput(f"hidden = {self.hidden}, layers = {self.layers}: whole numbers from 1 are expected.")


def prior(
    clip: Model,
    text: Model | None = None,
    how: How = "mlp",
    penalty: float = 1.0,
    model: str | None = None,
    network: Network = Network(),
    drawing: Drawing = Drawing(),
) -> Any:
    """An encoder whose documents are pictures as `clip` encodes them, and whose queries are texts made into such.

    `clip` is an encoder of pictures, and of texts unless `text` names one: a stage, a name, or `trained:FOLDER`. Where
    there is a text tower that was trained with the pictures, nothing is gained; where pictures were encoded by a model
    of pictures alone, they are found by words at all. What a text becomes is learned by `nirank.fit`:

    `how = "mlp"` is a network, trained as any encoder: with a loss of all against all (`clip` over `in_batch`), which
    ranks best, or by regression of the cosine (`likelihood` over `positives`). "ridge" is linear regression with the
    `penalty`, in one step and without a loss. "diffusion" predicts the vector from noise (`diffusion.Diffusion`, with
    the settings of `diffusion.Drawing`), and is trained by `likelihood` over `positives`. "transformer" is a
    `PriorTransformer` of diffusers in the folder `model`, and is not trained here.

    Raises `BadInput` for encoders that make no dense vectors, and for weights that do not fit.
    """
    spaces = Spaces(clip, text)
    if how == "transformer":
        from nirank_unclip.transformer import TransformerPrior

        if model is None:
            raise BadInput('how = "transformer" needs `model`, a folder with prior, text_encoder and tokenizer.')
        return TransformerPrior(spaces, model, drawing, network.batch_size, network.device)
    if how == "ridge":
        return RidgePrior(spaces, penalty, model)
    kinds: dict[str, Any] = {"mlp": MLPPrior, "diffusion": DiffusionPrior}
    return kinds[how](spaces, network, drawing, model)


class MLPPrior(Encoder, nn.Module):
    """A network with layers of GELU from the vector of a text to that of a picture."""

    how = "mlp"

    def __init__(self, spaces: Spaces, network: Network, drawing: Drawing, model: str | None) -> None:
        nn.Module.__init__(self)
        self.spaces, self.settings, self.drawing, self.batch_size = spaces, network, drawing, network.batch_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(network.seed)
            self.network = self._built(*spaces.dims)
        if model is not None:
            _load(self, Path(model))
        self.to(network.device or best_device()).eval()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def _built(self, text: int, image: int) -> nn.Module:
        return mlp(text, self.settings.hidden, self.settings.layers, image)

    def made(self, texts: Sequence[str]) -> Tensor:
        """The vectors that texts become, unit, `[texts, dim]`."""
        return F.normalize(self.network(self.spaces.texts(texts).to(self.device)), dim=-1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights into `folder`. Returns the table of a stage that builds this encoder again."""
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS)
        own = {**asdict(self.settings), **asdict(self.drawing)}
        del own["device"]  # another machine has others
        return {"use": "encoder/prior", **self.spaces.saved, "how": self.how, **own, "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, of both encoders, and of how vectors are drawn."""
        return self._hash([weights_digest(self.state_dict()), asdict(self.drawing), self.settings.seed])


class DiffusionPrior(MLPPrior):
    """Vectors of pictures drawn for a text by diffusion, all chance from the seed and the text.

    In training the score of a pair is minus the squared error of the picture's vector, predicted from noise, so that
    `likelihood` over `positives` teaches it.
    """

    how = "diffusion"
    network: Any

    def _built(self, text: int, image: int) -> nn.Module:
        return Diffusion(text, image, self.settings.hidden, self.settings.layers)

    def made(self, texts: Sequence[str]) -> Tensor:
        """The mean of the vectors that are drawn for each text, or the one that is nearest to it; unit."""
        given = self.spaces.texts(texts).to(self.device)
        drawn = self.network.drawn(given, texts, self.drawing)  # [texts, samples, dim]
        if self.drawing.pick == "mean":
            return F.normalize(drawn.mean(1), dim=-1)
        if given.shape[1] != drawn.shape[2]:
            raise BadInput('pick = "nearest" compares vectors of texts and pictures, which are of two spaces here.')
        nearest = (drawn * given[:, None]).sum(-1).argmax(1)
        return drawn[torch.arange(len(drawn)), nearest]

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Minus the error of each pair in training; else the dot product of their vectors; `[pairs]`."""
        docs, places = np.unique(candidates.docs, return_inverse=True)
        contents = candidates.corpus_for("prior")[docs] if len(docs) else []
        rows, columns = torch.from_numpy(candidates.rows), torch.from_numpy(places)
        if not self.training:
            return (self.encode(queries)[rows] * self.encode_documents(contents)[columns]).sum(1)
        texts = [content for content in queries.contents if isinstance(content, str)]
        if len(texts) < len(queries):
            raise BadInput("a prior learns from texts that ask for pictures; a query is no text.")
        pairs = (self.spaces.texts(texts)[rows], self.spaces.images(contents)[columns])
        return -self.network.error(*(each.to(self.device) for each in pairs))


class RidgePrior(Encoder):
    """Ridge regression from the vectors of texts to those of pictures, centred on both sides."""

    how = "ridge"

    def __init__(self, spaces: Spaces, penalty: float, model: str | None) -> None:
        if penalty < 0:
            raise BadInput(f"penalty = {penalty}; a number from 0 is expected.")
        self.spaces, self.penalty = spaces, penalty
        text, image = spaces.dims
        self.map, self.before, self.behind = torch.zeros(text, image), torch.zeros(text), torch.zeros(image)
        self._collection: Collection | None = None
        if model is not None:
            self._take(_tensors(Path(model)))

    def begin(self, collection: Collection) -> None:
        """Keep what will be learned from."""
        self._collection = collection

    def learn(self, train: Candidates, dev: Any, gradient: Any, options: Any) -> int:
        """Solve for the map from texts to the pictures that are relevant to them. Raises `BadInput` with a loss."""
        del dev, options
        if gradient is not None:
            raise BadInput("ridge has an objective of its own: leave the loss out.")
        if self._collection is None or not (train.scores > 0).any():
            raise BadInput("there is no pair of a text and a picture to learn from.")
        judged = self._collection.judgments.over(self._collection.corpus)
        pairs = judged.where((judged.scores > 0) & (judged.docs < len(self._collection.corpus)))
        docs, places = np.unique(pairs.docs, return_inverse=True)
        asked = [str(content) for content in self._collection.queries.contents]
        left = self.spaces.texts(asked)[torch.from_numpy(pairs.rows)].double()
        right = self.spaces.images(self._collection.corpus[docs])[torch.from_numpy(places)].double()
        before, behind = left.mean(0), right.mean(0)
        left, right = left - before, right - behind
        gram = left.T @ left + self.penalty * torch.eye(left.shape[1], dtype=torch.float64)
        solved = torch.linalg.lstsq(gram, left.T @ right).solution
        self.map, self.before, self.behind = solved.float().contiguous(), before.float(), behind.float()
        return 1

    def made(self, texts: Sequence[str]) -> Tensor:
        """The vectors that texts become, unit, `[texts, dim]`. Raises `BadInput` before it has learned."""
        if not self.behind.any():
            raise BadInput("this prior has learned nothing yet: train it first, `nirank.fit(prior, None, collection)`.")
        return F.normalize((self.spaces.texts(texts) - self.before) @ self.map + self.behind, dim=-1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what was learned into `folder`. Returns the table of a stage that builds this encoder again."""
        save_file({"map": self.map, "before": self.before, "behind": self.behind}, folder / WEIGHTS)
        return {
            "use": "encoder/prior",
            **self.spaces.saved,
            "how": self.how,
            "penalty": self.penalty,
            "model": Path(WEIGHTS),
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what was learned, and of both encoders."""
        return self._hash(
            [weights_digest({"map": self.map, "before": self.before, "behind": self.behind}), self.penalty]
        )

    def _take(self, state: dict[str, Tensor]) -> None:
        text, image = self.spaces.dims
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        if shapes != {"map": (text, image), "before": (text,), "behind": (image,)}:
            raise BadInput(
                f"the regression in this file has other dimensions than texts ({text}) and pictures ({image})."
            )
        self.map, self.before, self.behind = state["map"], state["before"], state["behind"]


def mlp(before: int, hidden: int, layers: int, after: int) -> nn.Sequential:
    """Layers of `hidden` units with GELU behind each, and a linear one."""
    parts: list[nn.Module] = []
    for number in range(layers):
        parts += [nn.Linear(hidden if number else before, hidden), nn.GELU()]
    return nn.Sequential(*parts, nn.Linear(hidden, after))


def _load(module: nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(_tensors(path))
    except RuntimeError as error:
        raise BadInput(f"does not hold the weights of this prior: {error}", path) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path.expanduser())
    except (SafetensorError, OSError) as error:
        raise BadInput(f"cannot be read as the weights of a prior: {error}", path) from error
