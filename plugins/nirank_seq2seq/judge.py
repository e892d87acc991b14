"""A decoder-only language model as a judge, which answers yes or no to the question if a document is relevant."""

from __future__ import annotations

from nirank.errors import BadInput
from nirank.kit import transformers
from nirank.kit.transformers import Computing
from nirank_seq2seq.pointwise import PLACES, Pointwise
from nirank_seq2seq.reader import COMPUTING, LENGTHS, AnswerReader, Contract, Lengths, Score

TEMPLATE = "Query: {query}\nDocument: {document}\nDoes the document answer the query? Yes or no?\nAnswer:"


class LLMJudge(Pointwise):
    """Scores a document by the token with which a language model goes on after the question about it, yes or no

        s(q, d) = log P(yes) - log(P(yes) + P(no))          score = "log_probability"
        s(q, d) = log P(yes) - log P(no)                    score = "log_odds": the same order, for losses of logits

    the contract of monoT5 with a decoder. `model` is a name on the model hub or a folder. With `chat` the template is
    what a user says, in the chat template of the tokenizer; unless given, where the tokenizer has one. `yes` and `no`
    have to be single tokens of the tokenizer: unless given " yes" and " no", and in a chat "yes" and "no". Any loss
    trains it. Raises `BadInput` for `chat` without a chat template, and as `nirank_seq2seq.reader.AnswerReader` does.
    """

    def __init__(
        self,
        model: str,
        template: str = TEMPLATE,
        yes: str | None = None,
        no: str | None = None,
        chat: bool | None = None,
        score: Score = "log_probability",
        *,
        lengths: Lengths = LENGTHS,
        computing: Computing = COMPUTING,
    ) -> None:
        chat = chats(model, chat)
        space = "" if chat else " "
        words = (space + "yes" if yes is None else yes, space + "no" if no is None else no)
        contract = Contract(template, PLACES, words, lengths.max_length, chat)
        stage = {
            "use": "scorer/llm_judge",
            "template": template,
            "yes": words[0],
            "no": words[1],
            "chat": chat,
            "score": score,
            "precision": computing.precision,
        }
        reader = AnswerReader("AutoModelForCausalLM", model, contract, lengths.tokens, computing=computing)
        super().__init__(reader, score, computing.batch_size, stage)


def chats(model: str, chat: bool | None) -> bool:
    """Tell whether a model is spoken to through its chat template. Raises `BadInput` for `chat` where it has none."""
    has = bool(transformers.load("AutoTokenizer", model).chat_template)
    if chat and not has:
        raise BadInput(f"{model!r} has no chat template: leave `chat` out, or give the whole prompt as `template`.")
    return has if chat is None else chat
