"""Language models with random weights and tokenizers over letters, made in a second, for checks without a download."""

from __future__ import annotations

import re
import string
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from nirank.kit.transformers import Computing, quiet
from nirank_seq2seq.doc2query import Decoding, Doc2Query
from nirank_seq2seq.duot5 import DuoT5
from nirank_seq2seq.judge import LLMJudge
from nirank_seq2seq.monot5 import MonoT5
from nirank_seq2seq.prp import PRP
from nirank_seq2seq.rankgpt import RankGPT
from nirank_seq2seq.reader import Lengths
from nirank_seq2seq.setwise import Setwise
from nirank_seq2seq.upr import UPR

_COMPUTING = Computing("cpu")
_LETTERS = string.ascii_letters + string.digits + ":?."
_SPACE = "\u2581"
_WORDS = ("true", "false", "Query", "Document", "Document0", "Document1", "Relevant")


def monot5(seed: int = 0) -> MonoT5:
    """A two-layer T5, 16 dimensions; the same weights for the same seed."""
    return _made(save_t5, lambda folder: MonoT5(folder, lengths=Lengths(64), computing=_COMPUTING), seed)


def duot5(seed: int = 0) -> DuoT5:
    """The same, to compare documents."""
    return _made(save_t5, lambda folder: DuoT5(folder, lengths=Lengths(64), computing=_COMPUTING), seed)


def llm_judge(seed: int = 0) -> LLMJudge:
    """A two-layer Llama, 16 dimensions; the same weights for the same seed."""
    return _made(save_llama, lambda folder: LLMJudge(folder, lengths=Lengths(256), computing=_COMPUTING), seed)


def upr(seed: int = 0) -> UPR:
    """The same Llama, asked how likely a query is."""
    return _made(save_llama, lambda folder: UPR(folder, lengths=Lengths(256), computing=_COMPUTING), seed)


def rankgpt(seed: int = 0) -> RankGPT:
    """Windows of three documents, ordered by a function that counts shared letters."""
    return RankGPT(Counting(seed), window=3, stride=1, passes=2)


def setwise(seed: int = 0) -> Setwise:
    """The same function, asked for the best of three documents."""
    return Setwise(Counting(seed), together=3)


def prp(seed: int = 0) -> PRP:
    """The same function, asked for the better of two documents."""
    return PRP(Counting(seed))


class Counting:
    """A stand-in for a language model: it prefers passages that share letters with the query, and answers in labels."""

    def __init__(self, seed: int = 0) -> None:
        self.fingerprint = f"counting letters {seed}"
        self.seed = seed

    def __call__(self, prompts: list[str]) -> list[str]:
        """The labels of the passages of each prompt, the best first; of letters the best alone."""
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        numbered = re.findall(r"^\[(\d+)\] (.*)$", prompt, re.MULTILINE)
        lettered = re.findall(r'^Passage ([A-Z]): "(.*)"$', prompt, re.MULTILINE)
        (query,) = re.findall(r'(?:^Search Query: |^Given a query ")(.*?)(?:\. $|", which)', prompt, re.MULTILINE)
        best = sorted(numbered or lettered, key=lambda each: -self._shared(query, each[1]))
        return " > ".join(f"[{label}]" for label, _ in best) if numbered else f"Passage {best[0][0]}"

    def _shared(self, query: str, passage: str) -> float:
        return len({*query} & {*passage}) + zlib.crc32(f"{passage}{self.seed}".encode()) / 2**32


def doc2query(seed: int = 0) -> Doc2Query:
    """A two-layer T5 that writes two texts of at most six tokens."""
    decoding = Decoding(texts=2, length=6)
    return _made(
        save_t5, lambda folder: Doc2Query(folder, decoding=decoding, lengths=Lengths(64), computing=_COMPUTING), seed
    )


def save_t5(folder: Path, seed: int = 0, words: Sequence[str] = (), **config: Any) -> None:
    """Write a T5 as transformers does; its tokens are letters, a few words, and `words`."""
    tokenizer = t5_tokenizer(words)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2} | config
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        settings = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **sizes)
        T5ForConditionalGeneration(settings).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def save_llama(folder: Path, seed: int = 0, chat_template: str | None = None) -> None:
    """Write a Llama as transformers does; its tokens are bytes, and yes and no."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = chat_template
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        settings = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=None,
            initializer_range=0.3,  # scores that differ enough to be told apart
        )
        LlamaForCausalLM(settings).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def t5_tokenizer(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """The likeliest pieces of words, as in T5: `</s>` ends a text, and each word begins with a mark for the space."""
    pieces = ["<pad>", "</s>", "<unk>", _SPACE, *_LETTERS, *(_SPACE + word for word in (*_WORDS, *words))]
    unigram = models.Unigram([(piece, -float(1 + (len(piece) < 3))) for piece in dict.fromkeys(pieces)], unk_id=2)
    tokenizer = Tokenizer(unigram)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, as in GPT-2, of which only yes and no are put together; `<s>` begins a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("y", "e"), ("ye", "s"), ("n", "o"), ("Ġ", "yes"), ("Ġ", "no")]
    pieces = ["<s>", "</s>", "<|user|>", *letters, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 0)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": ["<|user|>"]}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special)


def _made(save: Callable[[Path, int], None], make: Callable[[str], Any], seed: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return make(folder)
