"""The parts of bench/gpu.py: each takes a setting and gives rows, whether it was cut, and more.

A row is a way of doing the same as the first one; on sampling, rows come in pairs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from gpu_tools import Clock, Setting, in_rounds, take_turns
from gpu_training import (
    Part,
    Windows,
    by_hand,
    compared,
    corpus,
    network,
    trained,
    windows_of,
    with_trainer,
)
from loop import Tiny, bare, ours
from sampling import ours as ours_sampled
from sampling import theirs as generated
from unpadded import STEPS, mosaic, step_of

from pretrial.checkpoints.gguf import load_gguf
from pretrial.data.windows.cutting import TokenWindows
from pretrial.errors import UserError
from pretrial.train.stage import Batch

LOOP_ROUNDS, SAMPLING_ROUNDS, UNPADDED_ROUNDS = 5, 3, 6
PROMPT_TOKENS = (40, 120)
PEAKEDNESS = 10  # random weights name every token about as often, which no trained model does


class TimedTiny(Tiny):
    """The tiny model, whose steps a clock sees."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        self.clock.tick()
        return super().batch(examples, generator)


def measure_loop(setting: Setting) -> Part:
    """What our loop costs over one by hand, where the model costs next to nothing."""
    sizes, block = setting.sizes, setting.sizes.loop_block
    steps = (sizes.blocks + 1) * block + 1
    data = list(torch.randn(4096, 32, generator=torch.Generator().manual_seed(0)))

    def way(loop: Callable[[Any, Any, int], None], clock: Clock) -> None:
        loop(TimedTiny(clock).to(setting.device), data, steps)

    ways = {"bare loop": partial(way, bare), "pretrial": partial(way, ours)}
    found = take_turns(setting, ways, block, LOOP_ROUNDS).map(lambda seconds: 1000 * seconds)
    rows = found.rows("ms a step")
    over = rows[1]["median"] - rows[0]["median"]
    return {"rows": rows, "cut": found.cut, "ms_over_bare": over}


def sampled_model(setting: Setting) -> tuple[Any, Any, str]:
    """SmolLM2 in bf16, its tokenizer, and where its weights are from."""
    source = "random"
    if setting.sizes.vocabulary >= 49152:
        try:
            model, tokenizer = load_gguf("smollm2", "bfloat16")
            return model.to(setting.device), tokenizer, "smollm2"
        except UserError as error:
            source = f"random, as {error}"
    model = network(setting.sizes)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(PEAKEDNESS)
    return model.to(setting.device, torch.bfloat16).eval(), corpus()[1], source


def measure_sampling(setting: Setting) -> Part:
    """`sample` against `generate`, with as many rows at once."""
    sizes = setting.sizes
    model, tokenizer, source = sampled_model(setting)
    least, most = PROMPT_TOKENS
    long = (ids for ids in TokenWindows(corpus()[0], tokenizer, most) if len(ids) >= least)
    prompts = list(islice(long, max(sizes.rows) // sizes.samples))
    rows: list[dict[str, Any]] = []
    cut = False
    for number, count in enumerate(sizes.rows):
        now = time.monotonic()
        share = (setting.until - now) / (len(sizes.rows) - number)
        few = prompts[: count // sizes.samples]
        what = (model, few, sizes.samples, sizes.new_tokens)
        ways: dict[str, Callable[[], float]] = {
            f"generate, {count} rows": partial(generated, *what, together=len(few)),
            f"sample, {count} rows": partial(ours_sampled, *what, count),
        }
        found = in_rounds(replace(setting, until=now + share), ways, SAMPLING_ROUNDS)
        rows += found.rows("tokens/s")
        cut |= found.cut
    return {"rows": rows, "cut": cut, "weights": source}


def measure_unpadded(setting: Setting) -> Part:
    """MosaicBERT on texts with their own lengths, with padding and without, in bf16."""
    sizes = setting.sizes
    texts, tokenizer = corpus()
    windows = TokenWindows(texts, tokenizer, sizes.mosaic_length - 2)

    def batches() -> Iterator[Windows]:
        while True:
            order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
            for places in order.split(sizes.mosaic_batch)[:-1]:
                yield [windows[place] for place in places.tolist()]

    def way(unpadded: bool) -> Callable[[], float]:
        torch.manual_seed(0)
        method = mosaic(tokenizer, sizes.mosaic_length, unpadded=unpadded, **sizes.mosaic)
        step = step_of(method.to(setting.device).train(), autocast=True)
        taken = batches()
        return lambda: sum(step(next(taken)) for _ in range(STEPS))

    ways = {"padded": way(unpadded=False), "unpadded": way(unpadded=True)}
    found = in_rounds(setting, ways, UNPADDED_ROUNDS)
    lengths = [[len(each) + 2 for each in batch] for batch in islice(batches(), STEPS)]
    places = sum(max(own) * len(own) for own in lengths)
    return {
        "rows": found.rows("tokens/s"),
        "cut": found.cut,
        "mean_length": statistics.mean(length for own in lengths for length in own),
        "padding": 1 - sum(map(sum, lengths)) / places,
    }


def measure_bf16(setting: Setting) -> Part:
    """Our loop in bf16 against fp32: the same steps on the same data."""
    sizes = setting.sizes
    what = (setting, network(sizes), windows_of(sizes, sizes.length))
    ways = {
        "fp32": partial(trained, *what, autocast=None),
        "bf16": partial(trained, *what, autocast="bf16"),
    }
    return compared(setting, ways, sizes.length, sizes.rounds)


def measure_compile(setting: Setting) -> Part:
    """Our loop in bf16 with torch.compile, and without."""
    sizes = replace(setting.sizes, layers=setting.sizes.compile_layers)
    what = (setting, network(sizes), windows_of(sizes, sizes.length))
    ways = {
        "eager": partial(trained, *what, autocast="bf16"),
        "compiled": partial(trained, *what, autocast="bf16", compile=True),
    }
    return compared(setting, ways, sizes.length, rounds=1)


def measure_fsdp(setting: Setting) -> Part:
    """Steps in bf16 of a model sharded over one process, which is all cost and no gain."""
    sizes = setting.sizes
    backend = "cpu:gloo"
    if setting.device.type == "cuda":
        torch.cuda.set_device(setting.device)
        backend += ",cuda:nccl"
    store = dist.TCPStore("localhost", 0, 1, is_master=True)
    dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        what = (setting, network(sizes), windows_of(sizes, sizes.length))
        ways = {
            "whole": partial(by_hand, *what, shard=False),
            "sharded": partial(by_hand, *what, shard=True),
        }
        return compared(setting, ways, sizes.length, sizes.rounds)
    finally:
        dist.destroy_process_group()


def measure_trainer(setting: Setting) -> Part:
    """SmolLM2-135M in our loop and in transformers' Trainer, in bf16."""
    sizes, length = setting.sizes, 2 * setting.sizes.length
    start = network(sizes)
    what = (setting, start, windows_of(sizes, length))
    ways = {
        "transformers.Trainer": partial(with_trainer, *what),
        "pretrial": partial(trained, *what, autocast="bf16"),
    }
    part = compared(setting, ways, length, sizes.rounds)
    part.pop("loss_difference", None)  # the Trainer has an order of its own
    weights = sum(parameter.numel() for parameter in start.parameters())
    part["parameters"] = weights
    part["tflops"] = 6e-12 * weights * part["rows"][1]["median"]  # 6 a weight and token
    return part


PARTS: dict[str, Callable[[Setting], Part]] = {
    "loop": measure_loop,
    "sampling": measure_sampling,
    "unpadded": measure_unpadded,
    "bf16": measure_bf16,
    "compile": measure_compile,
    "fsdp": measure_fsdp,
    "trainer": measure_trainer,
}
