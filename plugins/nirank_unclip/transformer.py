"""A prior of diffusers: the `PriorTransformer` of Karlo and the like, loaded in parts, without what draws pictures."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nirank.errors import BadInput, MissingDependency
from nirank.kit import weights_digest
from nirank.kit.transformers import best_device, load, naming_model, quiet, tokenizer_text
from nirank_unclip.diffusion import Drawing
from nirank_unclip.encoder import Encoder
from nirank_unclip.spaces import Spaces

#: The parts of a pipeline of diffusers that are read, by the names of their folders.
PRIOR, TEXT, TOKENS, SCHEDULE = "prior", "text_encoder", "tokenizer", "prior_scheduler"


class TransformerPrior(Encoder):
    """Draws vectors of pictures for a text with a transformer of diffusers, which is not trained here.

    `folder` has the folders `prior`, `text_encoder`, `tokenizer` and perhaps `prior_scheduler` of an unCLIP pipeline.
    Guidance has the empty text as what there is without one. Chance comes from the seed and the text. Raises `BadInput`
    for folders that lack a part, for vectors of another length than those of `clip`, and for a prior whose `clip_std`
    is 0, as it is in one that is new: all of its vectors would be 0.
    """

    how = "transformer"

    def __init__(
        self, spaces: Spaces, folder: str, drawing: Drawing, batch_size: int, device: str | None = None
    ) -> None:
        library = _diffusers()
        place = Path(folder).expanduser()
        self.spaces, self.drawing, self.batch_size, self.folder = spaces, drawing, batch_size, place.absolute()
        with quiet(), naming_model(str(place / PRIOR), "diffusers' PriorTransformer"):
            self.model = library.PriorTransformer.from_pretrained(str(place), subfolder=PRIOR, local_files_only=True)
        self.text = load("CLIPTextModelWithProjection", str(place / TEXT), unused=(), use_safetensors=True)
        self.tokenizer = load("AutoTokenizer", str(place / TOKENS))
        self.scheduler = _scheduler(library, place)
        self._check()
        for part in (self.model, self.text):
            part.to(device or best_device()).eval()

    def made(self, texts: Sequence[str]) -> Tensor:
        """The mean of the vectors that are drawn for each text, unit, `[texts, dim]`."""
        with torch.inference_mode():
            drawn = [self._drawn(text) for text in texts]
        return F.normalize(torch.stack(drawn).mean(1), dim=-1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Return the table of a stage that builds this encoder again; the model stays where it is."""
        del folder
        own = vars(self.drawing)
        return {"use": "encoder/prior", **self.spaces.saved, "how": self.how, **own, "model": str(self.folder)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, of the tokenizer, and of how vectors are drawn."""
        weights = [weights_digest(part.state_dict()) for part in (self.model, self.text)]
        return self._hash([weights, tokenizer_text(self.tokenizer), self.drawing, dict(self.scheduler.config)])

    def _drawn(self, text: str) -> Tensor:
        """Unit vectors for one text, `[samples, dim]`: by itself, so that no other text changes it."""
        samples, generators = self.drawing.samples, _generators(text, self.drawing)
        vectors, states, mask = self._read([text, ""])
        given = [each.repeat_interleave(samples, 0) for each in (vectors, states, mask)]
        size = self.model.config.embedding_dim
        latents = torch.cat([torch.randn(1, size, generator=each) for each in generators]).to(vectors.device)
        self.scheduler.set_timesteps(self.drawing.steps)
        times = self.scheduler.timesteps
        for number, time in enumerate(times):
            said = self.model(
                latents.repeat(2, 1), timestep=time, proj_embedding=given[0], encoder_hidden_states=given[1],
                attention_mask=given[2],
            ).predicted_image_embedding  # fmt: skip
            with_text, without = said.chunk(2)
            guided = without + self.drawing.guidance * (with_text - without)
            before = int(times[number + 1]) if number + 1 < len(times) else None
            step = self.scheduler.step(guided, int(time), latents, generator=generators, prev_timestep=before)
            latents = step.prev_sample
        return F.normalize(self.model.post_process_latents(latents), dim=-1)

    def _read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Projected vectors of texts, the vectors of their tokens, and a mask of these."""
        length = int(self.model.config.num_embeddings)
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        read = self.tokenizer(whole, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        ids, mask = (read[name].to(self.text.device) for name in ("input_ids", "attention_mask"))
        found = self.text(input_ids=ids, attention_mask=mask)
        return found.text_embeds, found.last_hidden_state, mask.bool()

    def _check(self) -> None:
        if not self.model.clip_std.any():
            raise BadInput(
                "clip_std of this prior is 0 everywhere, as it is before a training: all vectors would be 0. Save it "
                "with the mean and the standard deviation of the vectors of pictures.",
                self.folder / PRIOR,
            )
        if (size := int(self.model.config.embedding_dim)) != self.spaces.dims[1]:
            raise BadInput(
                f"this prior makes vectors of {size} numbers, and `clip` has {self.spaces.dims[1]}: give the encoder "
                "of pictures that it was trained with.",
                self.folder / PRIOR,
            )


def _generators(text: str, drawing: Drawing) -> list[torch.Generator]:
    """Chance for each sample of a text."""
    found = []
    for number in range(drawing.samples):
        told = f"{drawing.chance} {number} ".encode() + text.encode("utf-8", "surrogatepass")
        seed = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little") >> 1
        found.append(torch.Generator().manual_seed(seed))
    return found


def _diffusers() -> Any:
    try:
        import diffusers
    except ModuleNotFoundError as error:
        message = f"a PriorTransformer needs the package {error.name!r}. Run: pip install 'nirank[unclip]'"
        raise MissingDependency(message, name=error.name) from error
    return diffusers


def _scheduler(library: Any, place: Path) -> Any:
    if (place / SCHEDULE).is_dir():
        with naming_model(str(place / SCHEDULE), "diffusers' UnCLIPScheduler"):
            return library.UnCLIPScheduler.from_pretrained(str(place), subfolder=SCHEDULE, local_files_only=True)
    return library.UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample_range=5.0
    )
