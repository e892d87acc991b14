"""The options of training: of `fit(...)`, or in a table [train.NAME] of an experiment."""

# Options are checked against these annotations: no postponed evaluation here.
import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from nirank.errors import BadInput
from nirank.hints import fits, readable, spelled_out

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of training, with their defaults.

    A *step* is one update of the weights. It sees `batch_size` lists in each process, `accumulate` times over (which
    adds lists and no negatives); training ends after `epochs`, or after `steps` where that is given.

    batch_size, accumulate    lists in a forward pass and process; passes added up for one step
    epoch_steps               steps that an epoch has at least: few lists are trained in smaller batches, from 4 lists;
                              not for losses that need large batches, as those of in-batch negatives do
    chunk                     texts or pairs that are encoded or scored at once with gradients: memory is that of one
                              chunk, the gradient that of the whole batch (Gao et al., Scaling Deep Contrastive Learning
                              Batch Size under Memory Limited Setup, RepL4NLP 2021); all at once unless given
    gather                    queries also meet the documents of the other processes, where lists share documents
    learning_rate, schedule   rises over the first `warmup` (a share of all steps), then falls to 0 as the schedule says
    optimizer, weight_decay   biases and other vectors do not decay
    clip                      the largest length of the gradient; 0: any
    precision                 of the forward pass, by autocast; weights stay as they are (bf16 and fp16 are accepted as
                              short names of bfloat16 and float16)
    evaluate_every            steps between evaluations on dev, by `measure`; once an epoch unless given
    patience                  evaluations without a better one before training stops early; never unless given
    save_every, log_every     steps between the states from which training resumes (five minutes unless given), and
                              between lines of the log
    seed                      of the order of examples, of sampling and of dropout; unless it is 0, also the setting
                              `seed` of what is built by name and does not say its own: first weights, a loss's chance
    anneal                    settings that change while training runs: see `nirank.training.schedules`
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    accumulate: int = 1
    epoch_steps: int | None = None
    chunk: int | None = None
    gather: bool = True
    learning_rate: float = 2e-5
    schedule: Schedule = "linear"
    warmup: float = 0.1
    optimizer: Optimizer = "adamw"
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: Precision = "float32"
    evaluate_every: int | None = None
    measure: str = "nDCG@10"
    patience: int | None = None
    save_every: int | None = None
    log_every: int = 10
    seed: int = 0
    anneal: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", spelled_out(self.precision, Precision))
        for option in dataclasses.fields(self):
            _check(option.name, getattr(self, option.name), option.type)


#: The least value of an option; 1 for every other whole number.
_LEAST = {"seed": 0, "warmup": 0.0, "clip": 0.0, "weight_decay": 0.0, "learning_rate": 0.0}


def _check(name: str, value: Any, hint: Any) -> None:
    if not fits(value, hint):
        raise BadInput(f"{name} = {value!r} is not of the type {readable(hint)}.")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not value >= _LEAST.get(name, 1):  # or NaN
        raise BadInput(f"{name} = {value!r} is too small; give {_LEAST.get(name, 1):g} or more.")
    if name == "warmup" and value > 1:
        raise BadInput(f"warmup = {value!r} is above 1; give a share of all steps, from 0 to 1.")
