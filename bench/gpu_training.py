"""Trainings of a language model for bench/gpu.py: in our loop, by hand, and with a peer.

The model has the sizes of SmolLM2-135M and random weights; its texts are the docstrings of the
standard library, joined.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from gpu_tools import Clock, Setting, Sizes, take_turns
from loop import DECAY, RATE, trainer
from transformers import LlamaConfig, LlamaForCausalLM
from unpadded import VOCABULARY

from pretrial.data.builtin.stdlib import stdlib_docstrings
from pretrial.data.windows.cutting import TokenWindows, joined
from pretrial.models.architectures.language_model import CausalLM
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.device import to_device
from pretrial.train.distributed import Losses
from pretrial.train.loop import train
from pretrial.train.optim import Optimizers
from pretrial.train.run import Run
from pretrial.train.sharding import Sharding
from pretrial.train.stage import Batch, Optim, Stage

Part = dict[str, Any]
Windows = list[list[int]]
OPTIM = Optim(lr=RATE, weight_decay=DECAY)


@cache
def corpus() -> tuple[list[str], Any]:
    """The docstrings of the standard library, and a tokenizer learnt from them."""
    texts = [row["text"] for row in stdlib_docstrings()]
    return texts, learn_bpe(texts, VOCABULARY, template="<cls> $A <sep>")


def num_steps(sizes: Sizes) -> int:
    """Of a training; the last one only begins, so that the time of those before it is seen."""
    return (sizes.blocks + 1) * sizes.block + 1


def windows_of(sizes: Sizes, length: int) -> Windows:
    """The docstrings joined and cut into windows, at most as many as a training takes."""
    texts, tokenizer = corpus()
    tokens = TokenWindows(texts, tokenizer, 2**31 - 1)
    made = joined(tokens, [range(len(tokens))], length, tokenizer.sep_token_id)
    return [each for each in islice(made, num_steps(sizes) * sizes.batch) if len(each) == length]


def network(sizes: Sizes) -> Any:
    """A language model with random weights, the same each time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


class EndError(Exception):
    """A training has taken its steps."""


class TimedCausalLM(CausalLM):
    """A language model whose steps a clock sees.

    Args:
        made: the network.
        clock: sees the steps.
        sizes: of the training; its last step is not taken, so that nothing is written after it.
    """

    def __init__(self, made: Any, clock: Clock, sizes: Sizes) -> None:
        super().__init__(made, corpus()[1])
        self.clock, self.sizes = clock, sizes

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        self.clock.tick()
        if self.clock.steps == num_steps(self.sizes):
            raise EndError
        return super().batch(examples, generator)

    def stages(self, run: Run) -> Iterator[Stage]:
        yield Stage("train", self, run.data, run.budget, OPTIM, batch_size=self.sizes.batch)


def trained(
    setting: Setting, start: Any, windows: Windows, losses: list[float], clock: Clock, **how: Any
) -> None:
    """Trains a copy of a model with our loop; `losses` then ends with the mean of its last steps.

    Args:
        setting: of the part.
        start: the model.
        windows: of tokens.
        losses: of trainings before.
        clock: sees every step.
        how: arguments of `train`.
    """
    sizes = setting.sizes
    model: Any = TimedCausalLM(deepcopy(start), clock, sizes)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = Run(
            folder,
            windows,
            budget=Budget(num_steps(sizes)),
            device=setting.device,
            quiet=True,
            log_every=sizes.block,
        )
        try:
            with suppress(EndError):
                train(model, run, **how)
        finally:
            run.close()
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["step"] % sizes.block == 0]
    losses.append(rows[-1]["loss"])


def compared(
    setting: Setting,
    ways: dict[str, Callable[[list[float], Clock], None]],
    length: int,
    rounds: int,
) -> Part:
    """Tokens a second of trainings, and the losses that they end with.

    Args:
        setting: of the part.
        ways: of training, each of which adds its last loss to a list.
        length: tokens of a window.
        rounds: turns of each.
    """
    sizes = setting.sizes
    losses: dict[str, list[float]] = {name: [] for name in ways}
    timed = {name: partial(way, losses[name]) for name, way in ways.items()}
    found = take_turns(setting, timed, sizes.block, rounds)
    tokens = sizes.batch * length
    part: Part = {
        "rows": found.map(lambda seconds: tokens / seconds).rows("tokens/s"),
        "cut": found.cut,
        "tokens_a_step": tokens,
        "steps": num_steps(sizes) - 1,
    }
    last = {name: each[-1] for name, each in losses.items() if each}
    part["last_loss"] = last
    first, *others = ways
    for name in others:
        if first in last and name in last:
            part["loss_difference"] = last[name] - last[first]
    return part


def by_hand(
    setting: Setting, start: Any, windows: Windows, losses: list[float], clock: Clock, shard: bool
) -> None:
    """As `trained`, with the loop's parts put together by hand: alone, it never shards."""
    sizes, device = setting.sizes, setting.device
    module: Any = TimedCausalLM(deepcopy(start), clock, sizes).to(device).train()
    wrapped = Losses(module)
    sharding = Sharding(wrapped, module) if shard else None
    optim = Optimizers(dict(module.named_parameters()), [OPTIM])
    generator = torch.Generator()
    loss = torch.zeros(())
    with suppress(EndError):
        for step in range(num_steps(sizes)):
            first = step * sizes.batch % (len(windows) - sizes.batch + 1)
            examples = windows[first : first + sizes.batch]
            batch = to_device(module.batch(examples, generator), device)
            with setting.autocast():
                loss = wrapped(batch)["loss"]
            loss.backward()
            optim.step()
            optim.clear()
    if sharding is not None:
        sharding.end()
    losses.append(loss.item())


def with_trainer(
    setting: Setting, start: Any, windows: Windows, losses: list[float], clock: Clock
) -> None:
    """As `trained`, with transformers' Trainer and the model's own loss."""
    sizes = setting.sizes

    def collate(examples: Windows) -> dict[str, torch.Tensor]:
        clock.tick()
        ids = torch.tensor(examples)
        return {"input_ids": ids, "labels": ids}

    made = trainer(
        deepcopy(start),
        windows,
        collate,
        per_device_train_batch_size=sizes.batch,
        max_steps=num_steps(sizes),
        logging_steps=sizes.block,
        bf16=True,
        use_cpu=setting.device.type == "cpu",
    )
    made.train()
    losses.append([row["loss"] for row in made.state.log_history if "loss" in row][-1])
