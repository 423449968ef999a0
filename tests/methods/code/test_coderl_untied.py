"""CodeRL on a T5 with an output matrix of its own, such as v1.1 and Flan, and on T5's like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LongT5Config,
    LongT5ForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

from pretrial.checkpoints.t5 import is_tied
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.network import parts
from pretrial.methods.code.coderl.network.critic import Judged
from pretrial.methods.code.coderl.network.model import ProgramModel
from pretrial.methods.code.coderl.stages.reinforce import Reinforce, Weighted
from pretrial.models.architectures.seq2seq import new_t5

PROBLEMS = mini_apps(num_train=6, num_test=0).train
GENERATOR = torch.Generator()
SIZES = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}


def tiny(network: Any = None, **changes: Any) -> ProgramModel:
    """A model of tiny size, around another network if one is given."""
    torch.manual_seed(0)
    model = CodeRL.build(replace(Config.tiny(), **changes), data=PROBLEMS).actor.eval()
    return model if network is None else model.around(network.eval())


def untied(**changes: Any) -> ProgramModel:
    """Around a T5 in the layout of v1.1."""
    config = Config.tiny()
    torch.manual_seed(1)
    network = new_t5(
        config.vocab_size, width=32, num_layers=4, num_heads=4, feed_forward=64,
        dropout_prob=0.0, activation="gated-gelu", tied=False,
    )  # fmt: skip
    network.lm_head.weight.data.normal_(std=0.5)  # else it is that of the embeddings, scaled
    return tiny(network, **changes)


def pairs(model: ProgramModel) -> list[tuple[list[int], list[int]]]:
    return [(model.problem_ids(p), model.program_ids(p.solutions[0])) for p in PROBLEMS]


def others() -> dict[str, Any]:
    size = Config.tiny().vocab_size
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    bart = {
        "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    }  # fmt: skip
    return {
        "mt5": MT5ForConditionalGeneration(MT5Config(vocab_size=size, **SIZES, **ids)),
        "umt5": UMT5ForConditionalGeneration(UMT5Config(vocab_size=size, **SIZES, **ids)),
        "longt5": LongT5ForConditionalGeneration(
            LongT5Config(vocab_size=size, tie_word_embeddings=False, **SIZES, **ids)
        ),
        "bart": BartForConditionalGeneration(BartConfig(vocab_size=size, **bart, **ids)),
    }


@torch.no_grad()
@pytest.mark.parametrize("kind", ["tied", "untied", "mt5", "umt5", "longt5", "bart"])
def test_hidden_states_are_what_the_output_matrix_receives(kind: str) -> None:
    model = untied() if kind == "untied" else tiny(None if kind == "tied" else others()[kind])
    batch = model.collate(*zip(*pairs(model)[:3], strict=True))
    logits = model.network.get_output_embeddings()(model.hidden(batch))
    torch.testing.assert_close(logits, model.position_logits(batch), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_head_of_its_own_starts_at_the_loss_of_the_model() -> None:
    model = untied()
    weighted = [Weighted(s, t, [1.0] * len(t)) for s, t in pairs(model)[:3]]
    losses = []
    for rl_head in (False, True):
        module = Reinforce(model, [], replace(model.config, rl_head=rl_head, ce_weight=0.0))
        losses.append(module.losses(module.batch(weighted, GENERATOR))["rl_loss"])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)


def test_a_critic_of_half_the_depth_keeps_both_matrices_and_learns() -> None:
    model = untied()
    critic = parts.new_critic(model.config, model, 4, seed=0)
    network = critic.program_model.network
    assert not is_tied(network)
    assert torch.equal(network.shared.weight, model.network.shared.weight)
    assert torch.equal(network.lm_head.weight, model.network.lm_head.weight)
    rows = [Judged(source, target, 1) for source, target in pairs(model)[:2]]
    critic.losses(critic.batch(rows, GENERATOR))["loss"].backward()
    for name, parameter in critic.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
