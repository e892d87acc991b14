"""doc2query: a sequence-to-sequence model writes queries that a document answers, before the document is indexed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank.kit import transformers as pretrained
from nirank.kit import tried, weights_digest
from nirank.kit.text import Tokens, require_text
from nirank.kit.transformers import Computing, longest, padding_of, passes, tokenizer_text
from nirank_seq2seq.reader import COMPUTING, LENGTHS, Lengths
from nirank_seq2seq.template import PromptTemplate, TokenisedTemplate, ends

Search = Literal["sample", "beam"]

#: Padded tokens of documents that are written for at once.
_CPU_TOKENS, _GPU_TOKENS = 4096, 65_536
_USUAL_LENGTH = 512
#: The step of SplitMix64 from one number to the next.
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Decoding:
    """Settings of how texts are written.

    texts    how many for each document
    search   "sample" draws each token among the `top_k` likeliest, by its probability; "beam" takes the likeliest
             texts that a beam of `texts` finds. `top_k = 1` with one text is greedy decoding
    top_k    how many tokens are drawn from
    length   the most tokens of a text
    seed     of the drawing, together with the text of the document
    """

    texts: int = 5
    search: Search = "sample"
    top_k: int = 10
    length: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("texts", "top_k", "length"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} = {getattr(self, name)}; a whole number from 1 is expected.")


_DECODING = Decoding()


class Doc2Query(nn.Module):
    """Writes queries that a document answers, to be indexed with it: `expanded(bm25, doc2query)`.

    Nogueira, Yang, Lin and Cho, Document Expansion by Query Prediction, 2019; Nogueira and Lin, From doc2query to
    docTTTTTquery, 2019, whose models draw among the 10 likeliest tokens. `model` is a name on the model hub or a
    folder, any that transformers loads as a sequence-to-sequence model; `template` is what it reads, and a document is
    cut to fit. All chance comes from `seed` and the document's own text, so that a document alone gets the texts that
    it gets among others. Raises `BadInput` where there is no such model, and for a template without `{document}`.
    """

    reads = "text"

    def __init__(
        self,
        model: str,
        template: str = "{document}",
        *,
        decoding: Decoding = _DECODING,
        lengths: Lengths = LENGTHS,
        computing: Computing = COMPUTING,
    ) -> None:
        super().__init__()
        self.decoding, self.precision, self.text = decoding, computing.precision, template
        self.model = pretrained.load("AutoModelForSeq2SeqLM", model, dtype=computing.dtype).to(computing.place)
        self.tokenizer = pretrained.tokenizer_of(model, self.model)
        usual = min(_USUAL_LENGTH, self.tokenizer.model_max_length)
        self.max_length = longest(self.model, lengths.max_length, usual)
        filled = PromptTemplate.of(template, ("document",))
        self.template = TokenisedTemplate(self.tokenizer, filled, self.max_length, ends(self.tokenizer))
        self.tokens = lengths.tokens or (_CPU_TOKENS if computing.place == "cpu" else _GPU_TOKENS)
        self.batch_size = computing.batch_size or 256
        self.eval()
        tried(model, self._tried, computing.precision)

    def write(self, contents: Sequence[Any]) -> list[list[str]]:
        """The texts for each document, in the order in which they were drawn, or from the likeliest on."""
        texts = require_text(contents, "document")
        read = self._read(texts)
        written: dict[int, list[str]] = {}
        for some in passes(np.array([len(tokens) for tokens in read], np.int64), self.batch_size, self.tokens):
            found = self._written([texts[place] for place in some], [read[place] for place in some])
            written |= dict(zip(some.tolist(), found, strict=True))
        return [written[place] for place in range(len(texts))]

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the texts depend on: weights, tokenizer, template, lengths, decoding."""
        reading = (tokenizer_text(self.tokenizer), self.text, self.max_length, self.decoding, self.precision)
        state = weights_digest(self.model.state_dict()) + repr(reading)
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def _written(self, texts: Sequence[str], read: Sequence[Tokens]) -> list[list[str]]:
        """The texts for some documents, which are read in one pass."""
        inputs, mask = self._inputs(read)
        each = self.decoding.texts
        if self.decoding.search == "beam":
            beams = {"num_beams": each, "num_return_sequences": each}
            made = self.model.generate(input_ids=inputs, attention_mask=mask, **beams, **self._ending())
        else:
            made = self.model.generate(**self._sampling(inputs, mask, texts), **self._ending())
        lines = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [lines[start : start + each] for start in range(0, len(lines), each)]

    def _sampling(self, inputs: Tensor, mask: Tensor, texts: Sequence[str]) -> dict[str, Any]:
        """What `generate` is given to draw several texts of each document, which is read once."""
        from transformers import LogitsProcessorList
        from transformers.modeling_outputs import BaseModelOutput

        each = self.decoding.texts
        states = self.model.get_encoder()(input_ids=inputs, attention_mask=mask).last_hidden_state
        drawing = Drawing([(text, number) for text in texts for number in range(each)], self.decoding)
        return {
            "encoder_outputs": BaseModelOutput(last_hidden_state=states.repeat_interleave(each, 0)),
            "attention_mask": mask.repeat_interleave(each, 0),
            "logits_processor": LogitsProcessorList([drawing]),
            "num_beams": 1,
            "num_return_sequences": 1,
        }

    def _ending(self) -> dict[str, Any]:
        """What is the same for every way of decoding; it goes before what the model's own settings say."""
        return {"do_sample": False, "max_new_tokens": self.decoding.length, "top_k": None, "temperature": None}

    def _inputs(self, read: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        ids, mask = self.template.prompt.filled([(tokens,) for tokens in read], padding_of(self.tokenizer, self.model))
        place = self.model.device
        return torch.from_numpy(ids).to(place), torch.from_numpy(mask.astype(np.int64)).to(place)

    def _tried(self, texts: Sequence[str]) -> Tensor:
        """The vectors that the encoder makes of the first token of some texts, all in one pass."""
        inputs, mask = self._inputs(self._read(texts))
        states: Tensor = self.model.get_encoder()(input_ids=inputs, attention_mask=mask).last_hidden_state[:, 0]
        return states

    def _read(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of documents that there is room for."""
        return [tokens[: self.template.prompt.room] for tokens in self.template.tokens("document", texts)]


class Drawing:
    """Makes greedy decoding draw: the k likeliest tokens get Gumbel noise, the largest of which is a draw by softmax.

    The noise of a token follows from the seed, the text of the document, the number of its draw and the step, so that
    what else is in the batch does not matter (Gumbel 1954; Maddison, Tarlow and Minka, A* Sampling, NeurIPS 2014).
    """

    def __init__(self, rows: Sequence[tuple[str, int]], decoding: Decoding) -> None:
        self._seeds = np.array([_seed(decoding.seed, *row) for row in rows], np.uint64)
        self._top_k, self._step = decoding.top_k, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - of transformers
        """Scores of the next token with noise, -inf for all but the k likeliest, `[rows, tokens]`."""
        best, tokens = scores.float().topk(min(self._top_k, scores.shape[1]), dim=1)
        noise = gumbel(self._seeds, self._step, tokens.cpu().numpy())
        self._step += 1
        noisy = best + torch.from_numpy(noise).to(best.device)
        return torch.full_like(scores, -torch.inf, dtype=torch.float32).scatter(1, tokens, noisy)


def gumbel(seeds: NDArray[np.uint64], step: int, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Standard Gumbel noise for each token of each row, `[rows, tokens]`, which only these three numbers decide."""
    of_step = _mixed(seeds + np.uint64((step + 1) * _GOLDEN % 2**64))[:, None]
    bits = _mixed(of_step + (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN))
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return (-np.log(-np.log(uniform))).astype(np.float32)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's mixing (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def _seed(seed: int, text: str, number: int) -> int:
    """A number of 64 bits from the seed, a document and which of its texts is drawn."""
    told = f"{seed} {number} ".encode() + text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little")
