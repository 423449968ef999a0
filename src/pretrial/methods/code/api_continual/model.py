"""The method's class: one language model, and what a strategy keeps of the past."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from pretrial.corrupt.masks import IGNORE, mask_windows
from pretrial.data.rows import require
from pretrial.errors import UserError
from pretrial.evaluate.api_calls import Ranked
from pretrial.methods.code.api_continual import completion, networks, training
from pretrial.methods.code.api_continual.config import Config
from pretrial.methods.code.api_continual.domains import Example, called_names
from pretrial.objectives.continual import (
    EWC,
    Guard,
    RiemannianWalk,
    SynapticIntelligence,
    num_weights,
)
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

_STATE, _GUARD = "continual.json", "guard.safetensors"


class APIContinual(Method):
    """A decoder or an encoder of code, with what one strategy remembers. See the module's text.

    Attributes:
        network: the language model.
        guard: the penalty, for the strategies that have one.
        names: that call prediction chooses from, the most frequent first.
        remembered: sequences of token ids that replay mixes in; empty on the first domain.
        num_seen: sequences that they were drawn from.
        pretraining: whether pre-training is going on, of which no strategy takes notice.
        history: after pre-training, and after each domain, the scores at the sites of all domains.
    """

    Config = Config

    def __init__(
        self, config: Any, network: Any, tokenizer: Any = None, names: Sequence[str] = ()
    ) -> None:
        super().__init__(config)
        self.network = network
        self.tokenizer = tokenizer
        self.names = list(names)
        self.remembered: list[list[int]] = []
        self.num_seen = 0
        self.pretraining = False
        self.history: list[dict[str, Any]] = []
        self.guard = _guard(config, num_weights(network.parameters()))

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. A folder written by `save` goes on with what it remembers."""
        if source is None:
            if data is None:
                return cls(config, networks.make_network(config))
            tokenizer = networks.make_tokenizer(config, (example.text for example in data))
            config = replace(config, vocab_size=len(tokenizer))
            network = networks.make_network(config, tokenizer)
            return cls(config, network, tokenizer, called_names(data, config.num_candidates))
        network, tokenizer, encoder = networks.load_network(source)
        config = replace(
            config,
            architecture="encoder" if encoder else "decoder",
            vocab_size=network.config.vocab_size,
            num_positions=networks.num_positions(network) + (2 if encoder else 0),
            max_length=min(config.max_length, networks.num_positions(network)),
        )
        method = cls(config, network, tokenizer)
        names = called_names(data or (), config.num_candidates)
        state = Path(source) / _STATE
        if state.is_file():
            known = json.loads(state.read_text(encoding="utf-8"))
            method.remembered, method.num_seen = known["remembered"], known["num_seen"]
            names = list(dict.fromkeys([*names, *known["names"]]))
            if known["strategy"] == config.strategy and method.guard is not None:
                method.guard.load_state_dict(load_file(Path(source) / _GUARD))
        method.names = names
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> list[Example]:
        """Examples; `domain` may be missing where nothing is trained."""
        require(rows, ("text",))
        examples = []
        for number, row in enumerate(rows):
            if not isinstance(row["text"], str):
                kind = type(row["text"]).__name__
                raise UserError(f"'text' of row {number} is a {kind}: give a string")
            calls = row.get("calls")
            if calls is not None and not all({"call", "start"} <= set(call) for call in calls):
                raise UserError(
                    f"'calls' of row {number} must be a list of objects with 'call' and 'start':"
                    " correct it, or leave it out to have call sites found"
                )
            examples.append(
                Example(
                    row["text"],
                    str(row.get("domain") or ""),
                    row.get("language") or "python",
                    None if calls is None else tuple(calls),
                )
            )
        return examples

    # -- training ---------------------------------------------------------------------------------

    @property
    def replays(self) -> bool:
        """Whether batches hold remembered sequences."""
        return self.config.strategy == "replay" and bool(self.remembered) and not self.pretraining

    def windows(self, examples: Sequence[Example]) -> list[list[int]]:
        """The code of a domain as sequences of token ids: all of it in a row, cut into pieces."""
        encoder = self.config.architecture == "encoder"
        separator = self.tokenizer.sep_token_id if encoder else self.tokenizer.eos_token_id
        length = self.config.max_length - (2 if encoder else 0)
        stream: list[int] = []
        for ids in networks.text_ids(self.tokenizer, [e.text for e in examples if e.text]):
            stream += [*ids, separator]
        # a single token has nothing to predict
        pieces = [stream[start : start + length] for start in range(0, len(stream), length)]
        return [piece for piece in pieces if len(piece) > 1]

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """A batch of sequences; under replay with remembered ones, drawn with replacement.

        Returns, for a decoder, input_ids [B, T] and labels [B, T], `IGNORE` at padding and at the
        first token; for an encoder the fields of `mask_windows`, with labels `IGNORE` where no
        token is to be predicted.
        """
        sequences = list(examples)
        if self.replays:
            for _ in range(len(examples) * self.config.replay_per_new):
                place = int(torch.randint(len(self.remembered), (), generator=generator))
                sequences.append(self.remembered[place])
        if self.config.architecture == "encoder":
            masked = mask_windows(
                sequences,
                self.tokenizer,
                generator,
                ratio=self.config.mask_ratio,
                mask_prob=0.8,
                random_prob=0.1,
            )
            masked["labels"] = masked["labels"].masked_fill(~masked["loss_mask"], IGNORE)
            masked["counts"]["examples"] = float(len(examples))
            return masked
        return self._plain_batch(sequences, len(examples))

    def _plain_batch(self, sequences: Sequence[list[int]], num_examples: int) -> Batch:
        length = max(map(len, sequences))
        ids = torch.full((len(sequences), length), self.tokenizer.eos_token_id)
        labels = torch.full_like(ids, IGNORE)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            labels[row, 1 : len(sequence)] = ids[row, 1 : len(sequence)]
        tokens = float(sum(map(len, sequences)))
        counts = {
            "examples": float(num_examples),
            "tokens": tokens,
            "predicted": tokens - len(sequences),
        }
        return {"input_ids": ids, "labels": labels, "counts": counts}

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
        ids, labels = batch["input_ids"], batch["labels"]
        if self.config.architecture == "encoder":
            logits = self.network(
                input_ids=ids, attention_mask=batch["attention_mask"].long()
            ).logits
            count = batch["counts"]["masked"]
        else:
            logits = self.network(input_ids=ids, use_cache=False).logits[:, :-1]
            labels, count = labels[:, 1:], batch["counts"]["predicted"]
        logits, labels = logits.float().flatten(0, 1), labels.flatten()
        return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum") / count

    def after_step(self) -> None:
        """Lets the penalty follow the weights."""
        if self.guard is not None and not self.pretraining:
            self.guard.after_step(self.network.parameters())

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training where the data have it, then one stage a domain; see `training`."""
        return training.stages(self, run)

    # -- what it is for ---------------------------------------------------------------------------

    def complete_call(
        self, examples: Sequence[Example | str], *, top: int = 5
    ) -> Iterator[dict[str, Any]]:
        """The likeliest names of the call that comes next, of those called in the training data.

        Args:
            examples: code up to the name of a call, such as "x = np.".
            top: names to give.
        """
        if top < 1:
            raise UserError(f"--top is at least 1, not {top}")
        for ranked in self.rank_calls([_text(example) for example in examples], top=top):
            pairs = zip(ranked.names, ranked.nats, strict=True)
            yield {"calls": [{"name": n, "log_prob": round(-nats, 4)} for n, nats in pairs]}

    def complete_usage(
        self,
        examples: Sequence[Example | str],
        *,
        max_new_tokens: int = 30,
        temperature: float = 0.2,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, str]]:
        """The call that comes next with its arguments, up to the closing bracket.

        Args:
            examples: code up to the name of a call, such as "x = np.".
            max_new_tokens: longest usage, in tokens.
            temperature: of sampling; 0 takes the likeliest token.
            top_p: mass of the nucleus that tokens are drawn from.
            seed: of sampling.
        """
        written = self.write_usages(
            [_text(example) for example in examples],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        yield from ({"usage": usage} for usage in written)

    def rank_calls(
        self, contexts: Sequence[str], names: Sequence[str] = (), *, top: int = 10
    ) -> list[Ranked]:
        """For each context the likeliest of `self.names`, and how likely the name given is."""
        return completion.rank_calls(self, contexts, names, top)

    def write_usages(
        self,
        contexts: Sequence[str],
        *,
        max_new_tokens: int = 30,
        temperature: float = 0.2,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> list[str]:
        """For each context a call with its arguments; see `complete_usage`."""
        return completion.write_usages(
            self, contexts, max_new_tokens, temperature=temperature, top_p=top_p, seed=seed
        )

    def export(self) -> Any:
        """The language model, `GPT2LMHeadModel` or `RobertaForMaskedLM` where it was made here."""
        return self.network

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers, and what is remembered."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        state = {
            "strategy": self.config.strategy,
            "names": self.names,
            "remembered": self.remembered,
            "num_seen": self.num_seen,
        }
        (Path(folder) / _STATE).write_text(json.dumps(state), encoding="utf-8")
        if self.guard is not None:
            save_file(self.guard.state_dict(), Path(folder) / _GUARD)

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


def _text(example: Example | str) -> str:
    return example if isinstance(example, str) else example.text
