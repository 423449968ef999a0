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

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import RobertaModel

from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.errors import UserError
from pretrial.methods.code.unixcoder.abilities import Abilities, mean_of
from pretrial.methods.code.unixcoder.config import TASKS, Config
from pretrial.methods.code.unixcoder.decoding import logits_of, states_of
from pretrial.methods.code.unixcoder.fragments import (
    Fragment,
    Item,
    Turn,
    Turns,
    items_of,
    read_fragments,
)
from pretrial.methods.code.unixcoder.inputs import PAIRED, PATTERNS, Objective, Sampler, collate
from pretrial.methods.code.unixcoder.mapping import Mark
from pretrial.methods.code.unixcoder.vocabulary import Vocabulary, learn_vocabulary
from pretrial.objectives.contrastive import info_nce
from pretrial.objectives.tokens import token_loss
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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


class UniXcoder(Abilities, Method):
    """The stack, under three attention masks.

    Args:
        config: the settings.
        network: the stack.
        vocabulary: None in a model that is neither trained nor used, such as one on the meta
            device.

    Attributes:
        network: `RobertaModel`, keys and all.
        vocabulary: its tokens.
    """

    Config: ClassVar[type] = Config
    compares_examples: ClassVar[bool] = True

    def __init__(
        self, config: Any, network: RobertaModel, vocabulary: Vocabulary | None = None
    ) -> None:
        super().__init__(config)
        self.network = network
        self.network.pooler.requires_grad_(False)
        self.vocabulary: Any = vocabulary
        self.tokenizer: Any = vocabulary.tokenizer if vocabulary else None

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Fragment] | None = None
    ) -> Self:
        """See `Method.build`. A checkpoint decides the sizes and the vocabulary."""
        if source is not None:
            return cls._load(config, source)
        if data is None:
            return cls(config, RobertaModel(config.network_config(pad_id=1)))
        kinds: set[str] = set()
        if config.ast != "none":
            for fragment in data:
                kinds.update(s.kind for s in fragment.symbols("mapping") if isinstance(s, Mark))
        texts = (text for fragment in data for text in (fragment.said, fragment.bare))
        tokenizer = learn_vocabulary(texts, kinds, config.vocab_size)
        sizes = config.network_config(int(tokenizer.pad_token_id))
        sizes.vocab_size = len(tokenizer)
        return cls(config.sized_as(sizes), RobertaModel(sizes), Vocabulary(tokenizer))

    @classmethod
    def _load(cls, config: Any, source: str | Path) -> Self:
        try:
            kind = load_config(source).model_type
        except (OSError, ValueError) as error:
            raise UserError(
                f"{source} holds no checkpoint that can be read: give the name or folder of a"
                " UniXcoder checkpoint, such as microsoft/unixcoder-base"
            ) from error
        if kind != "roberta":
            raise UserError(
                f"{source} is a {kind} checkpoint: give the name or folder of a UniXcoder"
                " checkpoint, such as microsoft/unixcoder-base"
            )
        vocabulary = Vocabulary(load_tokenizer(source), source)
        # older versions of transformers wrote the numbers of the positions as if they were weights
        network: Any = load_pretrained(RobertaModel, source, beside="embeddings.position_ids")
        return cls(config.sized_as(network.config), network, vocabulary)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> list[Fragment]:
        """See `read_fragments`."""
        return read_fragments(rows)

    # -- training ---------------------------------------------------------------------------------

    @property
    def sampler(self) -> Sampler:
        """Makes the sequences that are trained on."""
        config = self.config
        return Sampler(
            vocabulary=self.vocabulary,
            max_length=config.max_length,
            drop_prob=config.drop_prob,
            swap_prob=config.swap_prob if config.task == "pretrain" else 0.0,
            mask_ratio=config.mask_ratio,
            mask_prob=config.mask_prob,
            random_prob=config.random_prob,
            span_ratio=config.span_ratio,
            span_length=config.span_length,
        )

    def batch(self, examples: Sequence[Turn], generator: torch.Generator) -> Batch:
        """Sequences of one objective; see `collate`."""
        objective = examples[0].objective
        samples = self.sampler.samples(objective, [turn.item for turn in examples], generator)
        return collate(objective, samples, len(examples), self.vocabulary.pad)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of the batch's objective, also under its own name."""
        objective, counts = batch["objective"], batch["counts"]
        pattern = PATTERNS[objective]
        lengths = batch["source_lengths"] if pattern == "prefix" else None
        states = states_of(self.network, batch["seen"], batch["real"], pattern, lengths)
        if objective in ("contrast", "align"):
            one, other = F.normalize(mean_of(states, batch["real"]), dim=-1).chunk(2)
            loss = info_nce(one, other, self.config.temperature, counts["examples"])
        else:
            logits = logits_of(self.network, states.flatten(0, 1)[batch["asking"]])  # [N, V]
            targets = batch["ids"].flatten()[batch["asked"]]
            loss = token_loss(logits, targets, counts["predicted"])
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
            yield self.stage(config.task, data, (TASKS[config.task],), run, run.budget)
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
            yield self.stage(name, data, names, run, budget)

    def stage(
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
        return Stage(
            name,
            self,
            Turns(items, objectives, config.batch_size, config.language_alpha, run.seed),
            budget,
            optim=Optim(config.peak_lr, config.weight_decay, warmup=config.warmup),
            batch_size=config.batch_size,
            evaluate=partial(self.held_out, held_out, objectives) if held_out else None,
            shuffle=False,
        )

    def items(self, fragments: Sequence[Fragment], comments: bool = True) -> list[Item]:
        """Fragments as token ids, with or without their comments."""
        config = self.config
        order = None if config.ast == "none" or config.task != "pretrain" else config.ast
        items = items_of(fragments, self.vocabulary, order, config.max_length)
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

    def export(self) -> PreTrainedModel:
        """The stack, `RobertaModel`."""
        return self.network

    def save(self, folder: Path) -> None:
        """The stack and the tokenizer, in the layout of transformers."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

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
