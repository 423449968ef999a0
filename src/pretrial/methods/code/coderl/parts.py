"""Building the models that CodeRL is made of: from scratch, from checkpoints, from each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from pretrial.checkpoints.keys import read_weights
from pretrial.checkpoints.pretrained import load_generator
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.critic import HEAD, Critic
from pretrial.methods.code.coderl.model import ProgramModel, shallower
from pretrial.methods.code.coderl.prompt import prompt
from pretrial.models.tokenizers import learn_bpe

_SENTINELS = 20


def around(config: Config, model: Any, tokenizer: Any) -> ProgramModel:
    """A ProgramModel with the lengths of `config`."""
    return ProgramModel(
        model, tokenizer, config.max_source, config.max_target, config.release_padding
    )


def architecture(config: Config, tokenizer: Any) -> Any:
    """The untrained language model of `config`; on the current default device."""
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    if config.architecture == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config.vocab_size,
                n_positions=config.max_source + config.max_target,
                n_embd=config.width,
                n_layer=config.num_layers,
                n_head=config.num_heads,
                n_inner=config.feed_forward,
                resid_pdrop=config.dropout_prob,
                embd_pdrop=config.dropout_prob,
                attn_pdrop=config.dropout_prob,
                bos_token_id=eos,
                eos_token_id=eos,
                pad_token_id=pad,
            )
        )
    start: dict[str, Any] = {"decoder_start_token_id": pad}  # no field of T5Config, yet its own
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=config.vocab_size,
            d_model=config.width,
            d_kv=config.width // config.num_heads,
            d_ff=config.feed_forward,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            dropout_rate=config.dropout_prob,
            pad_token_id=pad,
            eos_token_id=eos,
            **start,
        )
    )


def from_scratch(config: Config, problems: Sequence[Problem]) -> ProgramModel:
    """An untrained model whose vocabulary is learned from the prompts and solutions.

    Without problems the vocabulary is bytes; the model has room for `vocab_size` all the same.
    """
    texts = [prompt(p, config.layout) for p in problems]
    texts += [solution for p in problems for solution in p.solutions]
    tokenizer = learn_bpe(
        texts, config.vocab_size, num_sentinels=_SENTINELS if config.pretrain_data else 0
    )
    return around(config, architecture(config, tokenizer), tokenizer)


def load_language_model(config: Config, source: str | Path) -> ProgramModel:
    """A model of programs around a public or saved checkpoint."""
    return around(config, *load_generator(source))


def _beside(source: str | Path, actor: ProgramModel) -> ProgramModel:
    """A model around a checkpoint that reads and writes the actor's tokens."""
    model, _ = load_generator(source, tokenizer=actor.tokenizer, beside=HEAD)
    if model.config.vocab_size < len(actor.tokenizer):
        raise UserError(
            f"the critics and the repair model share the actor's {len(actor.tokenizer)} tokens, but"
            f" {source} knows {model.config.vocab_size}; name a checkpoint of the same family"
        )
    return actor.around(model)


def load_critic(
    config: Config, source: str | Path, actor: ProgramModel, num_classes: int
) -> Critic:
    """A critic around a checkpoint, with the head that lies in its weights, if one does.

    Released and saved critics have one. The tokenizer is the actor's, whose tokens a critic reads.

    Raises:
        UserError: the checkpoint's vocabulary is smaller than the actor's.
    """
    beside = _beside(source, actor)
    critic = Critic(beside, num_classes, config.pooling, config.release_pooling)
    weights = read_weights(source) if Path(source).is_dir() else {}
    last = weights.get(f"{HEAD}2.weight")
    if last is not None and len(last) == num_classes:
        critic.load_head(weights)
    return critic


def new_critic(config: Config, actor: ProgramModel, num_classes: int, seed: int) -> Critic:
    """An untrained critic: from `critic_init`, or from the lower half of the actor.

    Its fresh weights depend on `seed` alone, so that a run that goes on builds the same critic.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if config.critic_init:
            return load_critic(config, config.critic_init, actor, num_classes)
        return Critic(shallower(actor), num_classes, config.pooling, config.release_pooling)


def new_repairer(config: Config, actor: ProgramModel) -> ProgramModel:
    """An untrained repair model: from `repair_init`, or a copy of the actor."""
    if config.repair_init:
        return _beside(config.repair_init, actor)
    return actor.copy()


def untrained() -> UserError:
    """The error of an ability that needs the critic of a finished run."""
    return UserError(
        "critic sampling needs the binary critic and the repair model, which this checkpoint lacks:"
        " train it with `pretrial train coderl --init` it, or use `--ability generate`"
    )
