"""UL2: one model learns to denoise in seven ways and is told each time which way it is.

Span corruption, prefix language modelling and language modelling are settings of one operation,
which hides spans of a mean length and a share of a text. Each example draws its setting from seven:
R, short spans and few, which teaches knowledge; S, one span at the end, which teaches to go on; X,
long spans or many, where much is written from little. The inputs begin with a mode, [NLU], [S2S] or
[NLG]. The same mode in front of a prompt calls up the same behaviour later: a text is continued in
S, gaps are filled in R or X. It works in an encoder-decoder and in a decoder that sees its inputs
in both directions. With `--task instruct` the model then learns many prompted tasks at once, as
Flan-UL2 does, and needs no mode any more.

Deviations from the paper:
1. The number of spans is rounded up or down at random and they may stand anywhere, so that mean
   length and ratio hold at every length; T5's rounding is `t5_spans`.
2. A window holds one text, or a part of it; of a window that is too long for the denoiser that was
   drawn a random stretch is taken. The released data joins texts.
3. AdamW with a linear schedule instead of Adafactor with an inverse square root.
4. A decoder has rotary positions (Llama's layout), which other tools load; the paper's are T5's.

| field | content |
| --- | --- |
| text | raw text of any length |
| input, target | a prompt and its answer, for `--task instruct` |
| task | the data set of such a pair; tasks are mixed by their sizes, up to a bound |
| choices | answers to choose from, for `rank` |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretrial.card import Card, Claim, Field
from pretrial.corrupt.denoisers import MixtureOfDenoisers
from pretrial.methods.text.ul2 import abilities
from pretrial.methods.text.ul2.config import MODES, Config, token_of
from pretrial.models.architectures.layouts import architecture_of, set_architecture
from pretrial.models.tokenizers import check_sentinels, sentinel_ids
from pretrial.train.stage import Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "UL2", "Config"]

CARD = Card(
    slug="ul2",
    title="UL2: Unifying Language Learning Paradigms",
    authors="Yi Tay and others",
    year=2022,
    arxiv="2205.05131",
    summary="One model learns seven ways of denoising and is told which one by a mode token",
    baseline="span corruption (T5), prefix and causal language modelling",
    abilities=("generate", "rank", "answer", "score", "encode"),
    fields=(
        Field("text", "raw text of any length"),
        Field("input", "a prompt, for --task instruct", required=False),
        Field("target", "its answer", required=False),
        Field("task", "the data set of such a pair", required=False),
        Field("choices", "answers to choose from, for rank", required=False),
    ),
    claims=(
        Claim(
            "at equal compute 43.6 % above T5 and 76.1 % above a GPT-like model, mean relative"
            " score over nine tasks",
            "(unverified) UL2, ablations",
        ),
        Claim(
            "20 B parameters: above 175 B GPT-3 on zero-shot SuperGLUE, three times T5-XXL on"
            " one-shot summarization",
            "abstract",
        ),
    ),
)


class UL2(abilities.Abilities):
    """A model that reads and writes, with a mixture of denoisers to learn from."""

    Config: ClassVar[type] = Config

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """A vocabulary with as many sentinels as the denoisers need, and a token for each mode."""
        number = config.num_sentinels or config.needed_sentinels()
        modes = [token_of(mode) for mode in MODES.values()]
        return super().vocabulary(config, data, num_sentinels=number, task_tokens=modes, **more)

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """A T5 or a decoder of Llama's layout, with SwiGLU and an output matrix of its own."""
        return cls.new_layout(config, vocab_size, tied=False, t5="gated-silu", llama="silu")

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any, Any]:
        """Of google/ul2, google/flan-ul2, a T5 or a decoder.

        A decoder that knows no sentinels and modes gets tokens for them; an encoder-decoder must
        have sentinels, and has its modes as plain text where it has no tokens for them.

        Raises:
            UserError: it lacks what is needed.
        """
        config, network, tokenizer = super().load(config, source)
        if network.config.is_encoder_decoder:
            check_sentinels(tokenizer, network.get_input_embeddings().num_embeddings, 1)
            return replace(config, architecture="encoder_decoder"), network, tokenizer
        if not hasattr(network.config, "attention_pattern"):  # a causal one from elsewhere
            wanted = config.architecture
            set_architecture(network, "prefix_decoder" if wanted == "encoder_decoder" else wanted)
        config = replace(config, architecture=architecture_of(network))
        cls.check_length(config, network, source)
        if not sentinel_ids(tokenizer):
            modes = [token_of(mode) for mode in MODES.values()]
            cls.add_tokens(tokenizer, network, modes, sentinels=True)
        return config, network, tokenizer

    def new_mixture(self) -> MixtureOfDenoisers:
        """The denoisers of the settings, each behind its mode."""
        return self.mixture_of(self.config.members(), self.config.weights)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage: of denoising, or of instruction tuning."""
        if self.config.task == "instruct":
            head = self.head(self.config.instruct_mode)
            yield self.stage_on_tasks("instruct", run, run.budget, head)
        else:
            yield self.stage_on_texts("pretrain", run, run.budget)

    def optim(self) -> Optim | tuple[Optim, ...]:
        """One for all weights, or a second one for the embeddings of an encoder-decoder."""
        config = self.config
        others = Optim.of(config)
        if config.embedding_lr_ratio == 1 or config.architecture != "encoder_decoder":
            return others
        own = r"\bshared\.weight$"
        lr = config.lr * config.embedding_lr_ratio
        return replace(others, lr=lr, match=own), replace(others, match=f"^(?!.*{own})")
