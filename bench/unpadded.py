"""Real tokens a second of a training step, with padding and without.

    OMP_NUM_THREADS=1 python bench/unpadded.py [--lengths 64 128 256] [--rounds 5]

The texts are the docstrings of the standard library with their own lengths, cut at each length, in
random batches of 32. All models have the same vocabulary, width, depth and, within 1 %, the same
number of parameters; a step is masking, forward, backward and AdamW. BERT is transformers'
BertForMaskedLM as it comes, with its head at every token; "short head" is the project's own BERT,
whose head works on the hidden tokens alone. Steps of all models alternate over the same windows, so
that whatever else the machine does slows all of them; figures are medians over the rounds. The bar
is 1.5 times BERT's tokens a second. Both hide 15 % of the tokens; "30 %" is MosaicBERT's recipe.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from pretrial.data.builtin.stdlib import stdlib_docstrings
from pretrial.data.windows.cutting import TokenWindows
from pretrial.methods.text import mlm, mosaicbert
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.device import to_device

BATCH, VOCABULARY = 32, 2048
STEPS = 4  # of each model in a round

Step = Callable[[list[list[int]]], float]


def bert(tokenizer: Any, length: int) -> tuple[nn.Module, Step]:
    """BertForMaskedLM, with the project's masks, and a step that tells the tokens it read."""
    small = mlm.Config.small()
    sizes = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=small.width,
        num_hidden_layers=small.num_layers,
        num_attention_heads=small.num_heads,
        intermediate_size=small.feed_forward,
        max_position_embeddings=length,
    )
    model = BertForMaskedLM(sizes).train()
    source = masked(tokenizer, length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step(windows: list[list[int]]) -> float:
        batch = source.batch(windows, generator)
        labels = batch["labels"].masked_fill(~batch["loss_mask"], -100)
        model(
            batch["input_ids"],
            attention_mask=batch["attention_mask"].long(),
            labels=labels,
        ).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return batch["counts"]["tokens"]

    return model, step


def masked(tokenizer: Any, length: int) -> mlm.MLM:
    """The project's BERT."""
    config = replace(
        mlm.Config.small(), max_length=length, num_positions=length, vocab_size=len(tokenizer)
    )
    return mlm.MLM(config, mlm.MLM.new_network(config, len(tokenizer)), tokenizer)


def mosaic(tokenizer: Any, length: int, **changes: Any) -> mosaicbert.MosaicBERT:
    """MosaicBERT with as many parameters."""
    config = replace(mosaicbert.Config.small(), mask_ratio=0.15, vocab_size=len(tokenizer))
    config = replace(config, max_length=length, num_positions=length, **changes)
    network = mosaicbert.MosaicBERT.new_network(config, len(tokenizer))
    return mosaicbert.MosaicBERT(config, network, tokenizer)


def step_of(method: Any, autocast: bool = False) -> Step:
    """A step of a method, in bf16 if asked, which tells the tokens it read."""
    device = next(method.parameters()).device
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step(windows: list[list[int]]) -> float:
        batch = to_device(method.batch(windows, generator), device)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            loss = method.losses(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return batch["counts"]["tokens"]

    return step


def measure(steps: dict[str, Step], windows: TokenWindows, rounds: int) -> dict[str, list[float]]:
    """Tokens a second of each model in each round after the first, which warms up."""
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0)).tolist()
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        taken = [
            [windows[i] for i in order[start : start + BATCH]]
            for start in range(number * STEPS * BATCH, (number + 1) * STEPS * BATCH, BATCH)
        ]
        for name, step in steps.items():
            began = time.thread_time()
            tokens = sum(step(each) for each in taken)
            if number:
                speeds[name].append(tokens / (time.thread_time() - began))
    return speeds


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts = [row["text"] for row in stdlib_docstrings()]
    tokenizer = learn_bpe(texts, VOCABULARY, template="<cls> $A <sep>")
    for length in options.lengths:
        windows = TokenWindows(texts, tokenizer, length - 2)
        model, step = bert(tokenizer, length)
        methods = {
            "BERT, short head": masked(tokenizer, length),
            "MosaicBERT": mosaic(tokenizer, length),
            "  with padding": mosaic(tokenizer, length, unpadded=False),
            "  with the whole tail": mosaic(tokenizer, length, masked_tail=False),
            "  30 %": mosaic(tokenizer, length, mask_ratio=0.3),
        }
        steps = {"BERT, padded": step} | {
            name: step_of(method.train()) for name, method in methods.items()
        }
        speeds = measure(steps, windows, options.rounds)
        base = statistics.median(speeds["BERT, padded"])
        mean = sum(map(len, windows)) / len(windows) + 2
        print(f"length {length}: windows of {mean:.0f} tokens on average")
        print(f"  {'model':24}{'parameters':>12}{'tokens/s':>11}{'ratio':>8}{'lowest':>9}")
        sizes = {"BERT, padded": model, **methods}
        for name, figures in speeds.items():
            ratios = [a / b for a, b in zip(figures, speeds["BERT, padded"], strict=True)]
            count = sum(p.numel() for p in sizes[name].parameters())
            middle = statistics.median(figures)
            print(f"  {name:24}{count:12,}{middle:11,.0f}{middle / base:8.2f}{min(ratios):9.2f}")


if __name__ == "__main__":
    main()
