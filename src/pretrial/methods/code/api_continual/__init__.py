"""Continual learning of APIs: a model of code learns one library after another and keeps the old.

Software goes on and brings libraries that a trained model has never seen. Fine-tuning it on the
code of each new one makes it good at that and worse at the ones before. Here domains come in order,
each is learned by plain language modelling on its code, and six strategies can be had: naive
(nothing is done), cumulative (all data so far), replay (half of each batch is remembered), and
three penalties on moving weights that matter: elastic weight consolidation, synaptic intelligence,
Riemannian walk. After each domain the model is asked at held-out call sites of all domains which
call comes next; the accuracy matrix says what was learned and what was forgotten.

Deviations from the paper and its release:
 1. Call prediction ranks whole names by their likelihood; the release draws single tokens, so that
    no name of several tokens can be right. Its metric stands beside ours, in expectation.
 2. The encoder is fine-tuned as it was pre-trained, by masking; the release turns it into a decoder
    (`is_decoder`). It writes usages by filling one mask after the other.
 3. Separate penalties of EWC are kept as one equal quadratic, in two vectors instead of two for
    each domain; importances are of examples, and `release_importance` takes those of batches.
 4. Gradients that importances are made of are without the penalty's part, from the training step
    itself; the release computes them again for Riemannian walk, without dropout.
 5. Every domain begins with a fresh optimiser, and texts are parted by an end token.
 6. Validation data are drawn from all of a domain, not its beginning.
 7. Usages are scored by exact match, edit similarity and BLEU-4, not by CodeBLEU.

| field | content |
| --- | --- |
| text | code: a method or a file; for completion the code before the call |
| domain | the library it belongs to; domains are learned in the order in which they first appear |
| language | of the code, by default python |
| calls | call sites where they are known: a list of {"call": name, "start": offset} |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.parts import has_part, load_parts, load_value, save_parts
from pretrial.corrupt.masks import IGNORE, mask_windows
from pretrial.data.windows.cutting import joined
from pretrial.methods.code.api_continual import abilities, network, stages
from pretrial.methods.code.api_continual.config import Config
from pretrial.methods.code.api_continual.data import (
    Example,
    called_names,
    read_examples,
    text_ids,
)
from pretrial.models.architectures.language_model import decoder_batch
from pretrial.models.tokenizers import SPECIALS, special_ids
from pretrial.objectives.continual import (
    EWC,
    Guard,
    RiemannianWalk,
    SynapticIntelligence,
    num_weights,
)
from pretrial.train.stage import Batch, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "APIContinual", "Config"]

CARD = Card(
    slug="api_continual",
    title="On the Usage of Continual Learning for Out-of-Distribution Generalization in Pre-trained"
    " Language Models of Code",
    authors="Weyssow and others",
    year=2023,
    arxiv="2305.04106",
    summary="A model of code learns one library after another without forgetting the old ones",
    baseline="naive fine-tuning on one library after another",
    abilities=("complete_call", "complete_usage"),
    fields=(
        Field("text", "code: a method or a file; for completion the code before the call"),
        Field("domain", "the library it belongs to, in the order to learn; for training only"),
        Field("language", "of the code, by default python", required=False),
        Field("calls", 'call sites, as {"call": name, "start": offset}', required=False),
    ),
    claims=(
        Claim("Naive fine-tuning forgets the domains before, in both architectures", "Abstract"),
        Claim(
            "Five strategies, by replay and by regularisation, reduce forgetting in API call and"
            " usage prediction at comparable or better performance",
            "Abstract",
        ),
    ),
)

_MEMORY, _GUARD = "memory", "guard"


class APIContinual(abilities.Completion):
    """A decoder or an encoder of code, with what one strategy remembers. See the module's text.

    Attributes:
        guard: the penalty, for the strategies that have one.
        remembered: sequences of token ids that replay mixes in; empty on the first domain.
        num_seen: sequences that they were drawn from.
        pretraining: whether pre-training is going on, of which no strategy takes notice.
        history: after pre-training, and after each domain, the scores at the sites of all domains.
    """

    Config: ClassVar[type] = Config
    specials: ClassVar[Mapping[str, str]] = SPECIALS

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.names: list[str] = []
        self.remembered: list[list[int]] = []
        self.num_seen = 0
        self.pretraining = False
        self.history: list[dict[str, Any]] = []
        self.guard = _guard(config, num_weights(network.parameters()))

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `LanguageMethod.build`. A folder written by `save` goes on with what it remembers."""
        method = super().build(config, source, data)
        names = called_names(data or (), config.num_candidates)
        method.names = list(dict.fromkeys([*names, *method.names]))
        return method

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained GPT-2 or RoBERTa."""
        return network.new_network(config, vocab_size, special_ids(cls.specials))

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """An encoder's texts have a special token before and behind them."""
        template = "<cls> $A <sep>" if config.architecture == "encoder" else None
        return super().vocabulary(config, data, template=template, **more)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `LanguageMethod.load`: a decoder, or a masked language model."""
        found, tokenizer, encoder = network.load_network(source)
        longest = network.num_positions(found)
        config = replace(
            config,
            architecture="encoder" if encoder else "decoder",
            vocab_size=found.config.vocab_size,
            num_positions=longest + (2 if encoder else 0),
            max_length=min(config.max_length, longest),
        )
        return config, found, tokenizer

    def adopt(self, source: str | Path) -> None:
        """Takes over what a folder of ours remembers; the penalty if it is of the same strategy."""
        if not has_part(source, _MEMORY):
            return
        known = load_value(source, _MEMORY)
        self.names = known["names"]
        self.remembered, self.num_seen = known["remembered"], known["num_seen"]
        if known["strategy"] == self.config.strategy and self.guard is not None:
            load_parts(source, {_GUARD: self.guard})

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers, and what is remembered."""
        super().save(folder)
        memory = {
            "strategy": self.config.strategy,
            "names": self.names,
            "remembered": self.remembered,
            "num_seen": self.num_seen,
        }
        save_parts(folder, {_MEMORY: memory, _GUARD: self.guard})

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> list[Example]:
        """See `data.read_examples`."""
        return read_examples(rows)

    # Training

    @property
    def replays(self) -> bool:
        """Whether batches hold remembered sequences."""
        return self.config.strategy == "replay" and bool(self.remembered) and not self.pretraining

    def windows(self, examples: Sequence[Example]) -> list[list[int]]:
        """The code of a domain as sequences of token ids: all of it in a row, cut into pieces."""
        tokenizer = self.tokenizer
        separator = tokenizer.sep_token_id if self.is_encoder else tokenizer.eos_token_id
        length = self.config.max_length - (2 if self.is_encoder else 0)
        tokens = text_ids(tokenizer, [each.text for each in examples if each.text])
        return list(joined(tokens, [range(len(tokens))], length, separator))

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """A batch of sequences; under replay with remembered ones, drawn with replacement.

        Returns the fields of `decoder_batch`, or for an encoder those of `mask_windows`, with
        labels of `IGNORE` where nothing is predicted.
        """
        sequences = list(examples)
        if self.replays:
            for _ in range(len(examples) * self.config.replay_per_new):
                place = int(torch.randint(len(self.remembered), (), generator=generator))
                sequences.append(self.remembered[place])
        if self.is_encoder:
            batch = mask_windows(
                sequences,
                self.tokenizer,
                generator,
                ratio=self.config.mask_ratio,
                mask_prob=0.8,
                random_prob=0.1,
            )
            batch["labels"] = batch["labels"].masked_fill(~batch["loss_mask"], IGNORE)
        else:
            every = [[True] * len(sequence) for sequence in sequences]
            batch = decoder_batch(sequences, every, self.language_model.end)
            batch["counts"]["tokens"] = float(sum(map(len, sequences)))
        batch["counts"]["examples"] = float(len(examples))
        return batch

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy a predicted token, and the penalty."""
        loss = self.language_loss(batch)
        if self.guard is None or self.pretraining:
            return {"loss": loss, "lm_loss": loss.detach()}
        share = len(batch["input_ids"]) / batch["counts"]["examples"]
        penalty = self.guard.penalty(self.network.parameters()) * share
        return {"loss": loss + penalty, "lm_loss": loss.detach(), "penalty_loss": penalty.detach()}

    def language_loss(self, batch: Batch) -> Tensor:
        """Sum of the cross-entropies, divided by the number of predicted tokens."""
        ids, labels, counts = batch["input_ids"], batch["labels"], batch["counts"]
        if self.is_encoder:
            mask, count = batch["attention_mask"].long(), counts["masked"]
            logits = self.network(input_ids=ids, attention_mask=mask).logits
        else:  # behind the last token of a row there is none to predict
            logits = self.network(input_ids=ids, use_cache=False).logits[:, :-1]
            labels, count = labels[:, :-1], counts["targets"]
        logits, labels = logits.float().flatten(0, 1), labels.flatten()
        return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum") / count

    def after_step(self) -> None:
        """Lets the penalty follow the weights."""
        if self.guard is not None and not self.pretraining:
            self.guard.after_step(self.network.parameters())

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training where the data have it, then one stage a domain; see `stages`."""
        return stages.stages(self, run)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests: two domains."""
        rows = []
        for number in range(6):
            rows.append(
                {
                    "domain": "arrays",
                    "text": f"def f{number}(x):\n    y = np.zeros({number})\n"
                    f"    return np.dot(x, y).sum({number})\n",
                }
            )
        for number in range(6):
            rows.append(
                {
                    "domain": "graphs",
                    "text": f"def g{number}(edges):\n    graph = nx.Graph(edges)\n"
                    f"    graph.add_node({number})\n    return nx.degree(graph, {number})\n",
                }
            )
        return rows


def _guard(config: Config, count: int) -> Guard | None:
    """The penalty of the strategy."""
    if config.strategy == "ewc":
        return EWC(count, config.ewc_weight, config.ewc_online, config.ewc_decay)
    if config.strategy == "si":
        return SynapticIntelligence(
            count, config.si_weight, config.si_eps, config.si_most, config.release_importance
        )
    if config.strategy == "rwalk":
        return RiemannianWalk(count, config.rwalk_weight, config.rwalk_alpha, config.rwalk_interval)
    return None
