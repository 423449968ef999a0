"""Where a model comes from, and what may become of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pretrial.bases.prompted import Example
from pretrial.checkpoints.keys import architecture as class_of
from pretrial.checkpoints.keys import load_pretrained, load_tokenizer
from pretrial.checkpoints.pretrained import load_generator
from pretrial.corrupt.denoisers import Denoiser, raw_length
from pretrial.errors import UserError
from pretrial.methods.text.architecture_objective.config import SHORT, Config, Objective
from pretrial.methods.text.architecture_objective.network import T5Decoder, new_t5_decoder
from pretrial.models.architectures.conditional import architecture_of, new_llama, set_architecture
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import add_task_tokens, learn_bpe, sentinel_ids, texts_of

#: Between inputs and targets.
SEPARATOR = "<sep>"
_SPECIALS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_NUM_SENTINELS = 100


def max_spans(config: Config) -> int:
    """The most spans that MLM hides in the longest text that it takes."""
    member = Denoiser(config.mask_ratio, config.mean_length)
    room = config.max_inputs + config.max_targets
    length = raw_length(member, room, room, room, joined=True, t5_spans=True)
    return member.longest(length, True)[2]


def from_scratch(config: Config, data: Sequence[Example] | None) -> tuple[Any, Any]:
    """An untrained network and a vocabulary learnt from the data; no vocabulary without data.

    The vocabulary has the sentinels of MLM whatever the objective, so that each model can be
    adapted to each objective without another weight.
    """
    tokenizer, vocab_size = None, config.vocab_size
    encoder = config.architecture == "encoder_decoder"
    if data is not None:
        tokenizer = learn_bpe(
            texts_of(data, lambda example: (example.prompt, example.target)),
            config.vocab_size,
            num_sentinels=max_spans(config),
            task_tokens=[SEPARATOR],
            specials=_SPECIALS,
            template="$A </s>" if encoder else "<pad> $A",  # as it begins in training
        )
        vocab_size = len(tokenizer)
    sizes: dict[str, Any] = {
        "width": config.width,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "feed_forward": config.feed_forward,
        "head_size": config.head_size,
    }
    if encoder:
        dropout = config.dropout_prob
        network: Any = new_t5(vocab_size, dropout_prob=dropout, activation="gated-gelu", **sizes)
    elif config.positions == "relative":
        dropout = config.dropout_prob
        network = new_t5_decoder(vocab_size, config.architecture, dropout_prob=dropout, **sizes)
    else:
        longest = config.max_inputs + config.max_targets
        activation = "gelu_pytorch_tanh"
        network = new_llama(
            vocab_size, config.architecture, activation=activation, max_positions=longest, **sizes
        )
    network.config.pretraining_objective = config.objective
    return network, tokenizer


def load(config: Config, source: str | Path) -> tuple[Any, Any]:
    """The network of a checkpoint as the architecture that is asked for, and its tokenizer.

    Raises:
        UserError: it is of another architecture or objective and `adapt` is not set, or of a kind
            that cannot become the one that is asked for.
    """
    if class_of(source) == "T5Decoder":
        network: Any = load_pretrained(T5Decoder, source)
        tokenizer = load_tokenizer(source)
    else:
        network, tokenizer = load_generator(source)
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {source} has no end token: give it one")
    found, learnt = architecture_of(network), objective_of(network)
    asked = config.objective if config.task != "multitask" else learnt
    if not config.adapt and (found, learnt) != (config.architecture, asked):
        raise UserError(
            f"{source} is a {found} trained with {learnt} ({SHORT[found]}:{SHORT[learnt]}), not a"
            f" {config.architecture} with {asked} ({SHORT[config.architecture]}:{SHORT[asked]}):"
            " give --adapt to adapt it, or ask for what it is"
        )
    set_architecture(network, config.architecture)
    network.config.pretraining_objective = asked
    longest = getattr(network.config, "max_position_embeddings", None)
    if longest is not None and config.max_inputs + config.max_targets > longest:
        raise UserError(
            f"{source} reads {longest} tokens: give --max-inputs and --max-targets whose sum is at"
            " most that"
        )
    missing = [SEPARATOR] if config.separator else []
    if asked == "masked_lm" and not sentinel_ids(tokenizer):
        missing += [f"<extra_id_{number}>" for number in range(_NUM_SENTINELS)]
    add_task_tokens(tokenizer, network, missing)
    return network, tokenizer


def objective_of(network: Any) -> Objective:
    """What a network was trained with; elsewhere decoders are trained with FLM, and T5 with MLM."""
    usual: Objective = "masked_lm" if network.config.is_encoder_decoder else "full_lm"
    return getattr(network.config, "pretraining_objective", usual)


def set_dropout(network: nn.Module, prob: float) -> None:
    """The probability of all dropout layers; Llama's layout has none."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = prob
