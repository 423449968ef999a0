"""Architecture and objective: six ways to pre-train on text, and the ways from one to another.

A causal decoder (CD), a decoder whose inputs see each other (non-causal, ND) and an encoder-decoder
(ED) learn from the same texts by language modelling of every token (FLM), of those behind a random
point (PLM) or of hidden spans (MLM). They read as many tokens for as many FLOPs: a token passes one
of the two stacks of an ED, which has twice the layers. Many prompted tasks at once may follow
(multitask fine-tuning, MTF). CD:FLM is best where nothing follows, models that see their whole
input and learned MLM where MTF does. CD and ND are the same weights under two masks, so that one
becomes the other by a little more training: `--init CHECKPOINT --adapt` takes over a checkpoint of
another architecture or objective, which is refused otherwise. What a checkpoint is lies in its
config.json. Zero-shot answers are choices ranked by their likelihood.

Deviations from the paper:
1. A window holds one text, or a part of it; the paper joins texts (section 3.2).
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretrial.bases.language_model import PromptedMethod
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.denoisers import MixtureOfDenoisers
from pretrial.errors import UserError
from pretrial.methods.text.architecture_objective.config import SHORT, Config, Objective
from pretrial.models.architectures.language_model import ConditionalLM
from pretrial.models.architectures.layouts import architecture_of, set_architecture
from pretrial.models.tokenizers import sentinel_ids
from pretrial.train.budget import Budget
from pretrial.train.modules import set_dropout
from pretrial.train.stage import Optim, Stage

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
            "Table 3",
        ),
        Claim(
            "after multitask fine-tuning T0-Eval is 60.6 (ED:MLM), 55.2 (ND:MLM), 51.4 (CD:FLM)",
            "Table 8 (appendix E.2)",
        ),
        Claim(
            "adaptation is 1.6 times (to CD:FLM) and 3.3 times (to ND:MLM) faster than training"
            " from scratch",
            "section 5",
        ),
    ),
)


#: Between inputs and targets.
SEPARATOR = "<sep>"


class ArchitectureObjective(PromptedMethod):
    """A model of one architecture that learns by one objective."""

    Config: ClassVar[type] = Config

    def new_language_model(self, network: Any, tokenizer: Any) -> ConditionalLM:
        """Learns pairs of token ids, with a separator if there is to be one."""
        separator = None
        if tokenizer is not None and self.config.separator:
            separator = int(tokenizer.convert_tokens_to_ids(SEPARATOR))
        return ConditionalLM(network, tokenizer, separator, self.config.loss_on)

    def new_mixture(self) -> MixtureOfDenoisers:
        """The one objective, as a denoiser (section 2.2)."""
        config = self.config
        # all objectives read as many tokens: 626 = 512 inputs + 114 targets of MLM in the paper
        alone = config.architecture == "encoder_decoder" and config.objective == "masked_lm"
        return MixtureOfDenoisers(
            [config.member],
            (),
            sentinel_ids(self.tokenizer),
            heads={},
            max_inputs=config.max_inputs - config.separator,
            max_targets=config.max_targets,
            joined=not alone,
            t5_spans=True,
        )

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """A vocabulary with the sentinels of MLM whatever the objective.

        Each model can then be adapted to each objective without another weight.
        """
        how = {"num_sentinels": config.max_spans, "task_tokens": [SEPARATOR]} | more
        return super().vocabulary(config, data, **how)

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """A T5, `T5Decoder` or decoder of Llama's layout; GEGLU, tied embeddings (section 3.1)."""
        activations = {"t5": "gated-gelu", "llama": "gelu_pytorch_tanh"}
        network = cls.new_layout(config, vocab_size, tied=True, **activations)
        network.config.pretraining_objective = config.objective
        return network

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any, Any]:
        """A decoder of Llama's layout, a T5, or a folder of ours, as what is asked for.

        Raises:
            UserError: it is of another architecture or objective and `adapt` is not set, or of a
                kind that cannot become the one that is asked for.
        """
        config, network, tokenizer = super().load(config, source)
        found, learned = architecture_of(network), objective_of(network)
        wanted = config.objective if config.task != "multitask" else learned
        if not config.adapt and (found, learned) != (config.architecture, wanted):
            raise UserError(
                f"{source} is a {found} trained with {learned} ({SHORT[found]}:{SHORT[learned]}),"
                f" not a {config.architecture} with {wanted}"
                f" ({SHORT[config.architecture]}:{SHORT[wanted]}): give --adapt to adapt it, or ask"
                " for what it is"
            )
        set_architecture(network, config.architecture)  # section 2.3: only the mask differs
        network.config.pretraining_objective = wanted
        cls.check_length(config, network, source)
        separator = [SEPARATOR] if config.separator else []
        cls.add_tokens(tokenizer, network, separator, sentinels=wanted == "masked_lm")
        return config, network, tokenizer

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training (section 3.2), multitask fine-tuning (section 3.3), or both."""
        config, share = self.config, self.config.multitask_ratio
        amount, unit = run.budget.amount, run.budget.unit
        if config.task != "multitask":
            set_dropout(self.network, config.dropout_prob)
            first = share if config.task == "both" else 0.0
            yield self.stage_on_texts("pretrain", run, Budget(amount * (1 - first), unit))
        if config.task != "pretrain":
            set_dropout(self.network, config.multitask_dropout_prob)
            rest = share if config.task == "both" else 1.0
            yield self.stage_on_tasks("multitask", run, Budget(amount * rest, unit))

    def optim(self) -> Optim:
        """With the schedule of the settings."""
        return Optim.of(self.config, schedule=self.config.schedule)


def objective_of(network: Any) -> Objective:
    """What a network was trained with; elsewhere decoders are trained with FLM, and T5 with MLM."""
    usual: Objective = "masked_lm" if network.config.is_encoder_decoder else "full_lm"
    return getattr(network.config, "pretraining_objective", usual)
