"""Time to the first token, tokens a second and bytes of cache: an encoder-decoder and a peer.

    OMP_NUM_THREADS=1 python bench/first_token.py [--inputs 128 512 2048] [--output 32] [--rounds 5]
        [--out results/first-token.json]
    OMP_NUM_THREADS=1 python bench/first_token.py --paper       # 330 M parameters, minutes

The peer is a decoder-only model of the same layers and, within 1 %, as many parameters; both have
caches, written in place. By default 8 + 4 layers against 12, d 256. "No cache" is the same
encoder-decoder as its release decodes: the encoder once, the whole output anew for each token. All
take turns on the same random inputs, one at a time; figures are medians of the thread's own time,
so that what else the machine does has no part in them. The paper's figures (abstract): a first
token 47 % sooner, 4.7 times the throughput, on edge devices.
"""

from __future__ import annotations

import json
import shlex
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import tyro

from pretrial.environment import commit, environment
from pretrial.evaluate.latency import decoding_speed
from pretrial.methods.text.return_of_encoder import Config, ReturnOfEncoder


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


def measure(pair: dict[str, Any], num_input: int, num_output: int, rounds: int) -> dict[str, Any]:
    """Medians of each model, and of the ratios of the two, paired by round."""
    found = decoding_speed(pair, num_input=num_input, num_output=num_output, rounds=rounds)
    ours, peer = found["encoder-decoder"], found["decoder-only"]
    rows = {
        name: {
            "first_token_ms": 1000 * speed.median_first,
            "tokens_per_second": statistics.median(speed.rates),
            "later_tokens_per_second": statistics.median(speed.later_rates),
            "cache_bytes": speed.cache_bytes,
        }
        for name, speed in found.items()
    }
    plain = [without_cache(pair["encoder-decoder"], num_input, num_output) for _ in range(rounds)]
    first, whole = (statistics.median(each) for each in zip(*plain, strict=True))
    rows["no cache"] = {
        "first_token_ms": 1000 * first,
        "tokens_per_second": num_output / whole,
        "later_tokens_per_second": (num_output - 1) / (whole - first),
        "cache_bytes": 0,
    }

    def ratio(ours: list[float], peer: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(ours, peer, strict=True))

    return {
        "inputs": num_input,
        "output": num_output,
        **rows,
        "first_token_ratio": ratio(ours.first_token, peer.first_token),
        "tokens_per_second_ratio": ratio(ours.rates, peer.rates),
        "later_tokens_per_second_ratio": ratio(ours.later_rates, peer.later_rates),
        "cache_ratio": ours.cache_bytes / peer.cache_bytes,
    }


def show(row: dict[str, Any]) -> None:
    """Prints a table."""
    print(f"{row['inputs']} tokens in, {row['output']} out")
    print(f"  {'':18}{'first token':>13}{'tokens/s':>11}{'after it':>11}{'cache':>11}")
    for name in ("encoder-decoder", "decoder-only", "no cache"):
        speed = row[name]
        print(
            f"  {name:18}{speed['first_token_ms']:10.1f} ms{speed['tokens_per_second']:11.1f}"
            f"{speed['later_tokens_per_second']:11.1f}{speed['cache_bytes'] / 1e6:8.2f} MB"
        )
    print(
        f"  first token {100 * (1 - row['first_token_ratio']):.0f} % sooner (paper 47 %);"
        f" tokens/s {row['tokens_per_second_ratio']:.1f} times, after the first"
        f" {row['later_tokens_per_second_ratio']:.1f} (paper 4.7); cache"
        f" {100 * (1 - row['cache_ratio']):.0f} % smaller",
        flush=True,
    )


def main(
    inputs: tuple[int, ...] = (128, 512, 2048),
    output: int = 32,
    rounds: int = 5,
    paper: bool = False,
    out: Path | None = None,
) -> None:
    """Prints a table for each length of input.

    Args:
        inputs: tokens that are read.
        output: tokens that are written.
        rounds: timed, after one that warms up.
        paper: the published size, 20 + 10 layers, d 1,024.
        out: file for the figures.
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
        "encoder-decoder": ReturnOfEncoder.build(config).network.eval(),
        "decoder-only": ReturnOfEncoder.build(config.decoder_only()).network.eval(),
    }
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in pair.items()}
    for name, size in sizes.items():
        print(f"{name}: {size:,} parameters")
    rows = []
    for num_input in inputs:
        rows.append(measure(pair, num_input, output, rounds))
        show(rows[-1])
    if out is not None:
        found = {
            "kind": "first-token",
            "command": shlex.join(["python", "bench/first_token.py", *sys.argv[1:]]),
            "parameters": sizes,
            "rounds": rounds,
            "rows": rows,
            "environment": environment(),
            "commit": commit(),
        }
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
