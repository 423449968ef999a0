"""A causal language model with experts: what it learns beside the text is to spread them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pretrial.corrupt.masks import chosen_of
from pretrial.models.architectures.language_model import CausalLM
from pretrial.objectives.experts import balance_loss, router_loss
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch


class MixtureLM(CausalLM):
    """Any mixture of experts of transformers whose base model gives its routers' logits.

    Args:
        network: such as `OlmoeForCausalLM`.
        tokenizer: see `LanguageModel`.
        balance_weight: of the loss that spreads tokens over experts.
        router_weight: of the loss that keeps the router's logits small.
    """

    def __init__(
        self, network: Any, tokenizer: Any, balance_weight: float, router_weight: float
    ) -> None:
        super().__init__(network, tokenizer)
        self.balance_weight, self.router_weight = balance_weight, router_weight

    def losses(self, batch: Batch, vectors: Tensor | None = None) -> dict[str, Tensor]:
        """Mean cross-entropy of the next token, with the losses of the routers."""
        ids, counts = batch["input_ids"], batch["counts"]
        given = {"input_ids": ids} if vectors is None else {"inputs_embeds": vectors}
        found = self.network.base_model(**given, use_cache=False, output_router_logits=True)
        logits = self.network.lm_head(chosen_of(found.last_hidden_state, batch))  # [N, V]
        main = token_loss(logits, chosen_of(batch["labels"], batch), counts["targets"])
        routers = torch.stack(found.router_logits).unflatten(1, ids.shape)  # [L, B, T, E]
        chosen = self.network.config.num_experts_per_tok
        balance = balance_loss(routers, chosen, counts["examples"])
        small = router_loss(routers, counts["examples"])
        total = main + self.balance_weight * balance + self.router_weight * small
        return {"loss": total, "text_loss": main, "balance_loss": balance, "router_loss": small}
