"""Architecture and objective: six ways to pre-train on text, and the ways from one to another.

A causal decoder (CD), a decoder whose inputs see each other (non-causal, ND) and an encoder-decoder
(ED) learn from the same texts by language modelling of every token (FLM), of those behind a random
point (PLM) or of hidden spans (MLM). They read as many tokens for as many FLOPs: a token passes one
of the two stacks of an ED, which has twice the layers. Many prompted tasks at once may follow
(multitask fine-tuning, MTF). CD:FLM is best where nothing follows, models that see their whole
input and learnt MLM where MTF does. CD and ND are the same weights under two masks, so that one
becomes the other by a little more training: `--init CHECKPOINT --adapt` takes over a checkpoint of
another architecture or objective, which is refused otherwise. What a checkpoint is lies in its
config.json. Zero-shot answers are choices ranked by their likelihood.

Deviations from the paper:
1. A window holds one text, or a part of it; the paper joins texts.
2. The random point of PLM may leave a single token to be predicted, where the paper leaves two.
3. AdamW instead of Adafactor; the schedule is an option.
4. Every target ends with the end token; the paper's language modelling, of joined texts, has none
   at the end of a window.

| field | content |
| --- | --- |
| text | raw text of any length |
| input, target | a prompt and its answer, for multitask fine-tuning |
| choices | answers to choose from, for `rank` |
| task | the data set of a prompted example; tasks are mixed by their sizes, up to a bound |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.bases import prompted
from pretrial.bases.prompted import Example
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.denoisers import MixtureOfDenoisers, Pair
from pretrial.errors import UserError
from pretrial.methods.text.architecture_objective import building
from pretrial.methods.text.architecture_objective.config import Config
from pretrial.models.architectures.conditional import ConditionalLM
from pretrial.models.tokenizers import sentinel_ids
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import token_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "ArchitectureObjective", "Config"]

CARD = Card(
    slug="architecture_objective",
    title="What Language Model Architecture and Pretraining Objective Work Best for Zero-Shot"
    " Generalization?",
    authors="Thomas Wang and others",
    year=2022,
    arxiv="2204.05832",
    summary="Three architectures, three objectives, and checkpoints adapted from one to another",
    baseline="the same architecture and objective from scratch",
    abilities=("generate", "rank"),
    fields=(
        Field("text", "raw text of any length"),
        Field("input", "a prompt, for multitask fine-tuning", required=False),
        Field("target", "its answer", required=False),
        Field("choices", "answers to choose from, for rank", required=False),
        Field("task", "the data set of a prompted example", required=False),
    ),
    claims=(
        Claim(
            "after pre-training alone a causal decoder with full language modelling is best:"
            " EAI-Eval 44.2, against 43.5 (ND:PLM) and 39.9 (ED:PLM)",
            "(unverified) results after pre-training; the order is the abstract's",
        ),
        Claim(
            "after multitask fine-tuning T0-Eval is 60.6 (ED:MLM), 55.2 (ND:MLM), 51.4 (CD:FLM)",
            "(unverified) results after fine-tuning; the order is the abstract's",
        ),
        Claim(
            "adaptation is 1.6 times (to CD:FLM) and 3.3 times (to ND:MLM) faster than training"
            " from scratch",
            "(unverified) section on adaptation",
        ),
    ),
)


class ArchitectureObjective(Method):
    """A model of one architecture that learns by one objective.

    Args:
        config: the settings.
        network: an encoder-decoder or a decoder.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.

    Attributes:
        model: the network as what reads inputs and writes targets.
        objective: makes inputs and targets of windows.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.objective: MixtureOfDenoisers | None = None
        separator = None
        if tokenizer is not None:
            if config.separator:
                separator = int(tokenizer.convert_tokens_to_ids(building.SEPARATOR))
            alone = config.architecture == "encoder_decoder" and config.objective == "masked_lm"
            self.objective = MixtureOfDenoisers(
                [config.member],
                (),
                sentinel_ids(tokenizer),
                heads={},
                max_inputs=config.max_inputs - config.separator,
                max_targets=config.max_targets,
                joined=not alone,
                t5_spans=True,
            )
        self.model = ConditionalLM(network, tokenizer, separator, config.loss_on)

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. `source` is a decoder of Llama's layout, a T5, or a folder of ours.

        Raises:
            UserError: it is of another architecture or objective, and `config.adapt` is not set.
        """
        if source is not None:
            return cls(config, *building.load(config, source))
        return cls(config, *building.from_scratch(config, data))

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """See `prompted.read_examples`."""
        return prompted.read_examples(rows)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Inputs and targets of windows of token ids; see `ConditionalLM.batch`."""
        assert self.objective is not None
        pairs = self.objective.pairs(examples, generator)
        closed = [Pair(pair.inputs, [*pair.targets, self.model.end]) for pair in pairs]
        return self.model.batch(closed, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the targets, or of all tokens."""
        return self.model.losses(batch)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training, multitask fine-tuning, or both."""
        config, share = self.config, self.config.multitask_ratio
        amount, unit = run.budget.amount, run.budget.unit
        if config.task != "multitask":
            building.set_dropout(self.model.network, config.dropout_prob)
            first = share if config.task == "both" else 0.0
            yield self._pretraining(run, Budget(amount * (1 - first), unit))
        if config.task != "pretrain":
            building.set_dropout(self.model.network, config.multitask_dropout_prob)
            rest = share if config.task == "both" else 1.0
            yield self._multitask(run, Budget(amount * rest, unit))

    def _pretraining(self, run: Run, budget: Budget) -> Stage:
        assert self.objective is not None
        windows, aside = (
            token_windows(
                run, name, prompted.texts_of(part), self.model.tokenizer, self.objective.window
            )
            for name, part in (("data", run.data), ("held-out", run.held_out))
        )
        if not windows:
            raise UserError("there is no text to learn from: give rows with 'text'")
        return self._stage("pretrain", self, budget, windows, aside)

    def _multitask(self, run: Run, budget: Budget) -> Stage:
        data, aside = self._pairs(run.data), self._pairs(run.held_out)
        if not data:
            raise UserError("there are no tasks to learn: give rows with 'input' and 'target'")
        return self._stage("multitask", self.model, budget, data, aside)

    def _pairs(self, examples: Sequence[Example]) -> Sequence[Pair]:
        config = self.config
        return prompted.task_mixture(
            self.model,
            examples,
            config.most_per_task,
            max_inputs=config.max_inputs,
            max_targets=config.max_targets,
        )

    def _stage(
        self, name: str, module: Any, budget: Budget, data: Sequence[Any], aside: Sequence[Any]
    ) -> Stage:
        config = self.config
        evaluate = partial(held_out_losses, module, aside, config.batch_size)
        return Stage(
            name,
            module,
            data,
            budget,
            optim=Optim(
                config.lr, config.weight_decay, schedule=config.schedule, warmup=config.warmup
            ),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size or None,
            evaluate=evaluate if len(aside) else None,
            evaluate_every=config.evaluate_every,
        )

    # Abilities

    def generate(
        self,
        examples: Sequence[Example],
        *,
        max_new_tokens: int = 0,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        spans: bool = False,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Writes what follows each text or prompt.

        Args:
            max_new_tokens: longest text, in tokens; 0 takes the model's own limit.
            num_samples: texts for each, with a temperature.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus, when sampling.
            spans: the text has gaps <extra_id_0>, ...; keep these signs between what fills them.
            seed: of sampling.
        """
        tokenizer = self.model.tokenizer
        prompts = [example.prompt for example in examples]
        rows = self.model.write(
            prompted.encode_plain(tokenizer, prompts, self.config.max_inputs - 1),
            max_new_tokens=max_new_tokens or self.config.max_targets,
            num_samples=num_samples,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        for group in rows:
            texts = [tokenizer.decode(ids, skip_special_tokens=not spans).strip() for ids in group]
            yield {"text": texts[0], **({"texts": texts} if num_samples > 1 else {})}

    def rank(
        self, examples: Sequence[Example], *, per_token: bool = False
    ) -> Iterator[dict[str, Any]]:
        """The most probable of the choices of each prompt, and the log-likelihood of each.

        Args:
            per_token: divide a log-likelihood by the number of its tokens.
        """
        yield from prompted.ranked(examples, partial(self.choice_scores, per_token=per_token))

    def choice_scores(
        self, prompts: Sequence[str], choices: Sequence[Sequence[str]], *, per_token: bool = False
    ) -> list[list[float]]:
        """See `prompted.choice_scores`; the ability of the task "rank"."""
        config = self.config
        return prompted.choice_scores(
            self.model,
            prompts,
            choices,
            per_token=per_token,
            max_inputs=config.max_inputs,
            max_targets=config.max_targets,
        )

    def export(self) -> PreTrainedModel:
        """The network: a T5, a decoder of Llama's layout, or a `T5Decoder` (`positions`)."""
        return self.model.network

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers; config.json says what it is."""
        self.model.network.save_pretrained(folder)
        self.model.tokenizer.save_pretrained(folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        verbs = ("Return", "Print", "Close", "Copy", "Write down")
        nouns = ("the list", "a file", "each name", "the number of items", "an open socket")
        return [
            {"text": f"{verb} {noun} and then look at {noun}, and at all the others."}
            for verb in verbs
            for noun in nouns
        ]
