"""UniXcoder: one encoder stack that embeds, completes and describes code.

A prefix token says which of three attention masks is on: all see all (embedding), each sees what
stands before it (completion), or a source whose tokens see each other and a target that sees it and
its own past (description). All weights are shared, and the output matrix is that of the embeddings.
A fragment is its comment followed by its code, in which the syntax tree is written as a mark at
each end of every inner node; half of the time the marks are left out, so the model can do without.
Steps alternate between masking, left-to-right modelling and span denoising and, where code has
comments, telling two views of a fragment from other fragments, and writing comments from code and
code from comments.

Deviations from the paper:
1. The code that trains UniXcoder was never released. What the paper leaves open is marked "assumed"
   in `Config`: above all the temperature and the schedule. The contrastive vectors are those of the
   encoder-only mode, in which the released model embeds.
2. The text is cut into sub-words as a whole, so that code with marks and code without them have the
   same ones; a sub-word that spans two leaves stands with the first.
3. Python is parsed by the standard library, whose tree has fewer kinds of nodes than the grammars
   of the paper; its tokens are the leaves. Other languages need `pretrial[code]`.
4. A public checkpoint keeps its vocabulary. Marks are those of its tokens that are spelt as ours;
   where it has none, training on goes without marks.
5. The pooler, which the layout of the release has, is neither used nor trained.

| field | content |
| --- | --- |
| code | source code, such as a function; "" in a row of plain text |
| comment | what it does; without the field, the docstring of its first function |
| language | python by default; see `code_views.languages` |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import RobertaConfig, RobertaModel

from pretrial.bases.text_encoder import TextEncoder
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.masks import chosen_of
from pretrial.errors import UserError
from pretrial.methods.code.unixcoder.abilities import RECIPE, Abilities
from pretrial.methods.code.unixcoder.config import TASKS, Config, Objective
from pretrial.methods.code.unixcoder.data.fragments import (
    Fragment,
    Item,
    items_of,
    read_fragments,
)
from pretrial.methods.code.unixcoder.data.mapping import Mark
from pretrial.methods.code.unixcoder.data.sequences import PAIRED, PATTERNS, Sampler, collate
from pretrial.methods.code.unixcoder.data.vocabulary import (
    SPECIALS,
    Vocabulary,
    learn_vocabulary,
)
from pretrial.methods.code.unixcoder.network import logits_of, states_of
from pretrial.methods.code.unixcoder.stages import Turn, Turns
from pretrial.models.architectures.text_encoder import mean_of
from pretrial.models.tokenizers import texts_of
from pretrial.objectives.contrastive import info_nce
from pretrial.objectives.tokens import token_loss
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.stage import Batch, Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "Config", "UniXcoder"]

CARD = Card(
    slug="unixcoder",
    title="UniXcoder: Unified Cross-Modal Pre-training for Code Representation",
    authors="Guo and others",
    year=2022,
    arxiv="2203.03850",
    summary="One encoder stack embeds, completes and describes code, with its syntax tree as text",
    baseline="the same network without contrast and cross-modal generation",
    abilities=("encode", "search", "complete", "summarise", "fill"),
    fields=(
        Field("code", "source code, such as a function"),
        Field("comment", "what it does; else the docstring is taken out of it", required=False),
        Field("language", "of the code; python by default", required=False),
    ),
    claims=(
        Claim(
            "zero-shot code-to-code search: MAP 20.45, about 9 for GraphCodeBERT; 13.73 without"
            " the contrastive objective",
            "Table 4",
        ),
        Claim("AdvTest: MRR 41.3 of natural-language search", "Table 1"),
        Claim("POJ-104: MAP@R 90.52, and 88.74 without the syntax tree", "Table 1"),
        Claim("PY150: exact match 43.12 of line completion", "Table 3"),
    ),
)


class UniXcoder(TextEncoder, Abilities):
    """The stack, under three attention masks.

    Attributes:
        network: `RobertaModel`, keys and all.
        tokens: what its tokens mean; None where there is no tokenizer.
    """

    Config: ClassVar[type] = Config
    compares_examples: ClassVar[bool] = True
    specials = SPECIALS
    mend = "give the name or folder of a UniXcoder checkpoint, such as microsoft/unixcoder-base"

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.network.pooler.requires_grad_(False)
        self.tokens: Any = None if tokenizer is None else Vocabulary(tokenizer)

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """The release's, whose output matrix is that of the embeddings."""
        return RobertaModel

    @classmethod
    def network_config(cls, config: Any, vocab_size: int, **more: Any) -> RobertaConfig:
        """RoBERTa's, with the token types of the release."""
        return super().network_config(config, vocab_size, layer_norm_eps=1e-5, **more)

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Fragment]) -> Any:
        """See `learn_vocabulary`; the marks are those of the data's syntax trees."""
        kinds: set[str] = set()
        if config.ast != "none":
            for fragment in data:
                kinds.update(s.kind for s in fragment.symbols("mapping") if isinstance(s, Mark))
        return learn_vocabulary(texts_of(data, cls.parts), kinds, config.vocab_size)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `TextEncoder.load`.

        Raises:
            UserError: it is no UniXcoder, or its vocabulary lacks the modes.
        """
        config, network, tokenizer = super().load(config, source)
        Vocabulary(tokenizer, source)
        return config, network, tokenizer

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> list[Fragment]:
        """See `read_fragments`."""
        return read_fragments(rows)

    @staticmethod
    def text_of(example: str | Fragment) -> str:
        """A text, or of a fragment the code, or the comment where there is none."""
        return example if isinstance(example, str) else example.code or example.comment or ""

    @classmethod
    def parts(cls, example: Fragment) -> Iterable[str]:
        """The comment, and the code without it."""
        return example.said, example.bare

    @property
    def text_length(self) -> int:
        """The longest sequence that the network reads."""
        return self.network.config.max_position_embeddings - 2

    @property
    def reader(self) -> Any:
        """The tokenizer that asks for the encoder-only mode, in which texts are embedded."""
        return self.tokens.reader

    # -- training ---------------------------------------------------------------------------------

    @property
    def sampler(self) -> Sampler:
        """Makes the sequences that are trained on."""
        return Sampler(self.tokens, self.config)

    def batch(self, examples: Sequence[Turn], generator: torch.Generator) -> Batch:
        """Sequences of one objective; see `collate`."""
        objective = examples[0].objective
        samples = self.sampler.samples(objective, [turn.item for turn in examples], generator)
        return collate(objective, samples, len(examples), self.tokens.pad)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of the batch's objective, also under its own name."""
        objective, mask, counts = batch["objective"], batch["attention_mask"], batch["counts"]
        pattern = PATTERNS[objective]
        lengths = batch["source_lengths"] if pattern == "prefix" else None
        states = states_of(self.network, batch["input_ids"], mask, pattern, lengths)
        if objective in ("contrast", "align"):  # section 3.3: two views against all other ones
            one, other = F.normalize(mean_of(states, mask), dim=-1).chunk(2)
            loss = info_nce(one, other, self.config.temperature, counts["examples"])
        else:
            logits = logits_of(self.network, chosen_of(states, batch))  # [N, V]
            loss = token_loss(logits, chosen_of(batch["labels"], batch), counts["predicted"])
        return {"loss": loss, f"{objective}_loss": loss.detach()}

    def stages(self, run: Run) -> Iterator[Stage]:
        """Plain text, code alone, then code with comments; each with its share of the budget.

        A stage without data, or whose share is 0, is left out, and the others share the budget.
        With a `task`, one stage over what that learns from.
        """
        config = self.config
        fragments = [fragment for fragment in run.data if fragment.bare.strip()]
        texts = [fragment for fragment in run.data if not fragment.bare.strip()]
        pairs = [fragment for fragment in fragments if config.comments and fragment.said]
        if config.task != "pretrain":
            data = fragments if config.task == "complete" else pairs
            if not data:
                raise UserError(
                    f"task {config.task} needs code with comments: name their field with --fields"
                    " comment=NAME"
                )
            yield self.turns(config.task, data, (TASKS[config.task],), run, run.budget)
            return
        objectives = [name for name in config.multimodal if pairs or name != "generate"]
        plans = (
            ("text", texts, config.text_ratio, config.unimodal),
            ("code", fragments, config.code_ratio, config.unimodal),
            ("pairs", pairs or fragments, config.pair_ratio, tuple(objectives)),
        )
        chosen = [plan for plan in plans if plan[1] and plan[2] > 0]
        whole = sum(share for _, _, share, _ in chosen)
        for name, data, share, names in chosen:
            budget = Budget(run.budget.amount * share / whole, run.budget.unit)
            yield self.turns(name, data, names, run, budget)

    def turns(
        self,
        name: str,
        data: Sequence[Fragment],
        objectives: tuple[Objective, ...],
        run: Run,
        budget: Budget,
    ) -> Stage:
        """A stage over fragments, under objectives that alternate from step to step."""
        config = self.config
        commented = name not in ("code", "complete")
        items, held_out = (self.items(each, commented) for each in (data, run.held_out))
        return Stage.of(
            name,
            self,
            Turns(items, objectives, config.batch_size, config.language_alpha, run.seed),
            config,
            budget=budget,
            optim=Optim(config.peak_lr, config.weight_decay, warmup=config.warmup),
            evaluate=partial(self.held_out, held_out, objectives) if held_out else None,
            shuffle=False,
        )

    def items(self, fragments: Sequence[Fragment], comments: bool = True) -> list[Item]:
        """Fragments as token ids, with or without their comments."""
        config = self.config
        order = None if config.ast == "none" or config.task != "pretrain" else config.ast
        items = items_of(fragments, self.tokens, order, config.max_length)
        keep = comments and config.comments
        return [item if keep or not len(item.code) else item.without_comment() for item in items]

    def held_out(self, items: Sequence[Item], objectives: Sequence[str]) -> dict[str, float]:
        """Mean loss of each objective over items, always with the same corruption."""
        found = {}
        for objective in objectives:
            turns = [
                Turn(objective, item)
                for item in items
                if objective not in PAIRED or (len(item.code) and len(item.comment))
            ]
            if turns:
                losses = held_out_losses(self, turns, self.config.batch_size)
                found[f"{objective}_loss"] = losses["loss"]
        return found

    def export_beside(self, folder: Path) -> str:
        """See `Method.export_beside`: the masks of the two modes that write."""
        return RECIPE

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        verbs = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
        nouns = ("prices", "sizes", "weights")
        rows = [
            {
                "code": f"def {verb}_{noun}(first, {noun}):\n    total = first\n"
                f"    for each in {noun}:\n        total = total {sign} each\n    return total\n",
                "comment": f"Start with the first and {verb} all {noun}.",
            }
            for verb, sign in verbs.items()
            for noun in nouns
        ]
        texts = [{"code": "", "comment": row["comment"] * 2} for row in rows[:8]]
        return [*rows, *texts]
