"""Time to the first token, tokens a second and bytes of cache: an encoder-decoder and a peer.

    OMP_NUM_THREADS=1 python bench/first_token.py [--inputs 128 512 2048] [--output 32] [--rounds 5]
    OMP_NUM_THREADS=1 python bench/first_token.py --paper       # 330 M parameters, minutes

The peer is a decoder-only model of the same layers and, within 1 %, as many parameters; both have
caches, written in place. By default 8 + 4 layers against 12, d 256. "No cache" is the same
encoder-decoder as its release decodes: the encoder once, the whole output anew for each token. All
take turns on the same random inputs, one at a time; figures are medians of the thread's own time,
so that what else the machine does has no part in them. The paper's figures (abstract): a first
token 47 % sooner, 4.7 times the throughput, on edge devices.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

import torch
import tyro

from pretrial.evaluate.latency import decoding_speed
from pretrial.methods.text.return_of_encoder.building import new_student
from pretrial.methods.text.return_of_encoder.config import Config


@torch.no_grad()
def without_cache(model: Any, num_input: int, num_output: int) -> tuple[float, float]:
    """Seconds to the first token and to the last, as the release decodes."""
    ids = torch.randint(model.config.vocab_size, (1, num_input))
    began = time.thread_time()
    memory = model.get_encoder()(ids)
    answer = torch.tensor([[1]])
    first = 0.0
    for _ in range(num_output):
        logits = model(encoder_outputs=memory, decoder_input_ids=answer).logits[:, -1:]
        answer = torch.cat([answer, logits.argmax(-1)], dim=1)
        first = first or time.thread_time() - began
    return first, time.thread_time() - began


def main(
    inputs: tuple[int, ...] = (128, 512, 2048),
    output: int = 32,
    rounds: int = 5,
    paper: bool = False,
) -> None:
    """Prints a table for each length of input.

    Args:
        inputs: tokens that are read.
        output: tokens that are written.
        rounds: timed, after one that warms up.
        paper: the published size, 20 + 10 layers, d 1,024.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = Config.paper() if paper else replace(
        Config.small(),
        width=256,
        num_encoder_layers=8,
        num_decoder_layers=4,
        feed_forward=1024,
        head_width=64,
        vocab_size=4096,
    )  # fmt: skip
    pair = {
        "encoder-decoder": new_student(config, None, None)[0].eval(),
        "decoder-only": new_student(config.decoder_only(), None, None)[0].eval(),
    }
    for name, model in pair.items():
        print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters")
    for num_input in inputs:
        found = decoding_speed(pair, num_input=num_input, num_output=output, rounds=rounds)
        print(f"{num_input} tokens in, {output} out")
        print(f"  {'':18}{'first token':>13}{'tokens/s':>11}{'after it':>11}{'cache':>11}")
        for name, speed in found.items():
            print(
                f"  {name:18}{1000 * speed.median_first:10.1f} ms"
                f"{statistics.median(speed.rates):11.1f}"
                f"{statistics.median(speed.later_rates):11.1f}"
                f"{speed.cache_bytes / 1e6:8.2f} MB"
            )
        plain = [without_cache(pair["encoder-decoder"], num_input, output) for _ in range(rounds)]
        first, whole = (statistics.median(each) for each in zip(*plain, strict=True))
        print(
            f"  {'  no cache':18}{1000 * first:10.1f} ms{output / whole:11.1f}"
            f"{(output - 1) / (whole - first):11.1f}{0:8.2f} MB"
        )
        ours, peer = found["encoder-decoder"], found["decoder-only"]
        ratios = {
            name: [a / b for a, b in zip(*each, strict=True)]
            for name, each in {
                "sooner": (ours.first_token, peer.first_token),
                "whole": (ours.rates, peer.rates),
                "after": (ours.later_rates, peer.later_rates),
            }.items()
        }
        print(
            f"  first token {100 * (1 - statistics.median(ratios['sooner'])):.0f} % sooner (paper"
            f" 47 %); tokens/s {statistics.median(ratios['whole']):.1f} times, after the first"
            f" {statistics.median(ratios['after']):.1f} (paper 4.7); cache"
            f" {100 * (1 - ours.cache_bytes / peer.cache_bytes):.0f} % smaller"
        )


if __name__ == "__main__":
    tyro.cli(main)
