"""PolyCom: activations that are polynomials with trained coefficients, composed with a function.

A feed-forward layer needs a non-linear function between its two matrices. Here that is a sum of
powers: of ReLU(x) (PolyReLU), or of x, each power divided by its root mean square over the hidden
vector (PolyNorm), so that no power outgrows the others. A layer trains the few coefficients along
with its weights; no gate is needed, and the width that a gate would cost goes into the hidden
vector. The point is that products of features arise in one layer, where ReLU must piece them
together. Powers are computed again in the backward pass, so that memory stays that of a plain
activation.

Deviations from the paper:
1. x is divided by its largest value before powers are taken, and the normalisation's eps by the
   same to the right power: no overflow, the same function.
2. Tokens are spread over experts sequence by sequence, so that the loss of a batch is the sum over
   its parts; the release does so over what one device holds.
3. Experts of a layer share one set of coefficients, as in the release, but each normalises its own
   hidden vector; the release finds that layout by dividing sizes.
4. Coefficients are not decayed; the release decays those of its mixture of experts.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.card import Card, Claim, Field
from pretrial.data.rows import is_on_disk, texts
from pretrial.data.windows.cutting import token_ids
from pretrial.data.windows.packing import blocks
from pretrial.errors import UserError
from pretrial.evaluate.perplexity import causal_nll
from pretrial.methods.text.polycom.building import load_network, new_network
from pretrial.methods.text.polycom.config import Config
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation
from pretrial.methods.text.polycom.network.spectra import effective_rank, layer_similarity
from pretrial.models.architectures.causal_lm import CausalLM
from pretrial.models.decoding.sample import sample
from pretrial.models.tokenizers import learn_bpe
from pretrial.objectives.experts import balance_loss, router_loss
from pretrial.objectives.tokens import token_loss
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import kept_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "Config", "PolyCom"]

CARD = Card(
    slug="polycom",
    title="Polynomial Composition Activations: Unleashing the Dynamics of Large Language Models",
    authors="Zhuo and others",
    year=2024,
    arxiv="2411.03884",
    summary="Feed-forward layers with polynomials of trained coefficients instead of a gate",
    baseline="swiglu",
    abilities=("generate", "analyse"),
    fields=(Field("text", "raw text of any length"),),
    claims=(
        Claim(
            "1 B dense: training loss 2.17 with PolyNorm against 2.19 with SwiGLU, validation"
            " perplexity 3.17 against 3.22, 1.21 points more over six tasks",
            "(secondary) results of the dense model",
        ),
        Claim(
            "1 B of 7 B: validation loss 0.02 lower over eleven sets, better on 8 of 9 tasks",
            "(secondary) results of the mixture of experts",
        ),
        Claim("optimal rate of approximating smooth (Sobolev) functions", "abstract"),
    ),
)


class PolyCom(Method):
    """A causal language model whose feed-forward layers have polynomial activations.

    Attributes:
        language_model: the network and its tokenizer.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.language_model = CausalLM(network, tokenizer)

    @property
    def tokenizer(self) -> Any:
        """Of the language model."""
        return self.language_model.tokenizer

    @property
    def network(self) -> Any:
        """Of the language model."""
        return self.language_model.network

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[str] | None = None
    ) -> Self:
        """See `Method.build`; what may be a checkpoint, `load_network` tells."""
        if source is not None:
            network, tokenizer = load_network(source, config)
            longest = network.config.max_position_embeddings
            length = min(config.max_length, longest)
            return cls(replace(config, max_length=length), network, tokenizer)
        if data is None:
            return cls(config, new_network(config, config.vocab_size, None))
        tokenizer = learn_bpe(
            data,
            config.vocab_size,
            specials={"eos_token": "<|endoftext|>", "pad_token": "<pad>", "unk_token": "<unk>"},
        )
        return cls(config, new_network(config, len(tokenizer), tokenizer.eos_token_id), tokenizer)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[str]:
        """The texts of the rows."""
        return texts(rows)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """See `CausalLM.batch`."""
        return self.language_model.batch(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the next token; with experts, with the losses of their routers."""
        if not hasattr(self.network.config, "num_experts"):
            return self.language_model.losses(batch)
        ids, positions, counts = batch["ids"], batch["positions"], batch["counts"]
        found = self.network.base_model(input_ids=ids, use_cache=False, output_router_logits=True)
        states = found.last_hidden_state.flatten(0, 1)[positions]
        targets = ids.flatten()[positions + 1]
        main = token_loss(self.network.lm_head(states), targets, counts["tokens"])
        routers = torch.stack(found.router_logits).unflatten(1, ids.shape)  # [L, B, T, E]
        chosen, config = self.network.config.num_experts_per_tok, self.config
        balance = balance_loss(routers, chosen, counts["examples"])
        small = router_loss(routers, counts["examples"])
        total = main + config.balance_weight * balance + config.router_weight * small
        return {"loss": total, "text_loss": main, "balance_loss": balance, "router_loss": small}

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over windows of the joined texts."""
        config = self.config
        windows, held_out = (
            self._windows(run, name, part)
            for name, part in (("data", run.data), ("held-out", run.held_out))
        )
        if not windows:
            raise UserError(
                f"the texts do not fill one window of {config.max_length} tokens: give more text,"
                " or lower max_length"
            )
        evaluate = partial(held_out_losses, self, held_out, config.batch_size)
        yield Stage(
            "train",
            self,
            windows,
            run.budget,
            optim=Optim(
                config.lr,
                config.weight_decay,
                betas=(0.9, 0.95),
                schedule="cosine",
                warmup=config.warmup,
                final_ratio=config.final_ratio,
            ),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size or None,
            evaluate=evaluate if held_out else None,
            evaluate_every=config.evaluate_every,
        )

    def _windows(self, run: Run, name: str, texts: Sequence[str]) -> Sequence[list[int]]:
        return kept_windows(run, name, self._blocks(texts), is_on_disk(texts))

    def _blocks(self, texts: Sequence[str]) -> Iterator[list[int]]:
        ids = token_ids(texts, self.tokenizer)
        return blocks(ids, self.config.max_length, self.language_model.end)

    def generate(
        self,
        examples: Sequence[str],
        *,
        max_new_tokens: int = 0,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[dict[str, str]]:
        """Continues each text; of long ones the end is read.

        Args:
            examples: texts.
            max_new_tokens: longest continuation; 0 is 50, or half of what the model reads.
            temperature: of the sampling; 0 takes the most probable tokens.
            top_p: mass of the nucleus.
            seed: of the sampling.
        """
        reads = self.network.config.max_position_embeddings
        max_new_tokens = max_new_tokens or min(50, reads // 2)
        room = reads - max_new_tokens
        if room < 1:
            raise UserError(f"the model reads {reads} tokens: lower max_new_tokens")
        generator, end = torch.Generator().manual_seed(seed), self.language_model.end
        for text in examples:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][-room:]
            ((written,),) = sample(
                self.network,
                [ids or [end]],
                num_samples=1,
                max_new_tokens=max_new_tokens,
                eos_token_id={end},
                pad_token_id=end,
                temperature=temperature or 1.0,
                top_p=top_p,
                greedy=temperature == 0,
                generator=generator,
            )
            yield {"generate": self.tokenizer.decode(written, skip_special_tokens=True)}

    def analyse(self, examples: Sequence[str], *, num_windows: int = 8) -> Iterator[dict[str, Any]]:
        """For each layer its coefficients, effective ranks, and how alike it is to the others.

        Args:
            examples: texts.
            num_windows: windows of them that similarities are measured on.
        """
        windows = list(islice(self._blocks(examples), num_windows))
        if not windows:
            raise UserError(f"the texts do not fill a window of {self.config.max_length} tokens")
        similarity = layer_similarity(self.network, windows)
        for number, layer in enumerate(self.network.model.layers):
            mlp = getattr(layer.mlp, "experts", layer.mlp)
            row: dict[str, Any] = {"layer": number}
            if isinstance(mlp.activation_func, PolynomialActivation):
                row["coefficients"] = mlp.activation_func.coefficients()
            for name in ("up_proj", "down_proj"):
                weight = getattr(mlp, name)
                weight = getattr(weight, "weight", weight).flatten(0, -2)
                row[f"{name}_rank"] = round(effective_rank(weight), 2)
            row["similarity"] = [round(value, 4) for value in similarity[number].tolist()]
            yield row

    def nll(self, texts: Sequence[Any]) -> tuple[list[float], list[int]]:
        """Negative log-likelihood in nats and UTF-8 bytes of each text; see `causal_nll`."""
        plain = [text if isinstance(text, str) else text["text"] for text in texts]
        return causal_nll(self.network, self.tokenizer, plain, max_length=self.config.max_length)

    def export(self) -> PreTrainedModel:
        """The language model, `PolyLlamaForCausalLM` or `PolyOlmoeForCausalLM`."""
        return self.network

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        nouns = ("list", "file", "name", "number", "socket")
        return [
            {
                "text": f"Return the {noun} number {number}, then close the {noun} and look at it"
                " again."
            }
            for number, noun in enumerate(nouns * 3)
        ]
