"""What data each stage takes, and its share of the budget."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pretrial.bases.language_model import TextToTextMethod
from pretrial.data.rows import is_on_disk, mapped, where
from pretrial.data.windows.cutting import token_ids
from pretrial.data.windows.packing import blocks
from pretrial.errors import UserError
from pretrial.evaluate.retrieval import Search, measure_retrieval
from pretrial.methods.code.codet5p.config import Objective
from pretrial.methods.code.codet5p.data import Example, pairs_of
from pretrial.methods.code.codet5p.network.frozen import FrozenDecoder
from pretrial.methods.code.codet5p.stages.bimodal import Bimodal
from pretrial.methods.code.codet5p.stages.unimodal import Unimodal
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.stage import Optim, Stage, Trainable
from pretrial.train.tokens import kept_windows

_MOST_HELD_OUT = 500
_EMBEDDINGS = r"shared\.weight$"


def stages(method: TextToTextMethod, run: Run) -> Iterator[Stage]:
    """Those of `config.stages` that there are data for, in that order.

    Args:
        method: gives settings, network and tokenizer, and embeds what is measured.
        run: with the examples.
    """
    config = method.config
    data = {name: _data(method, name, run, "data", run.data) for name in config.stages}
    data = {name: found for name, found in data.items() if found}
    if not data:
        raise UserError(
            f"the data has nothing for {', '.join(config.stages)}: give rows with 'code', with"
            " 'text' and 'code', or with 'instruction' and 'output'"
        )
    for name, share in _shares(list(data), config.unimodal_ratio).items():
        held_out = _data(method, name, run, "held-out", run.held_out)[:_MOST_HELD_OUT]
        for part, module, ratio, rate in _parts(method, name):
            budget = Budget(run.budget.amount * share * ratio, run.budget.unit)
            how: dict[str, Any] = {"budget": budget, "held_out": held_out}
            if isinstance(module, Bimodal):
                how |= {"micro_batch_size": 0}
                if len(held_out):
                    how["evaluate"] = partial(_retrieval, method, held_out)
            if part not in ("denoise", "unimodal"):
                how["batch_size"] = config.pair_batch_size
            optim = _optim(config, module, rate)
            yield Stage.of(part, module, data[name], config, optim=optim, **how)


def _parts(method: TextToTextMethod, name: str) -> Iterator[tuple[str, Trainable, float, float]]:
    """What a stage trains one after the other: name, module, share of its budget, learning rate."""
    config, network, tokenizer = method.config, method.network, method.tokenizer
    rates = {"unimodal": config.lr, "bimodal": config.pair_lr, "instruct": config.instruct_lr}
    if isinstance(network, FrozenDecoder):
        yield name, network, 1.0, rates[name]
    elif name == "unimodal":
        # section 4: 10k steps of span denoising alone, then 100k of all ways together
        ways: tuple[Objective, ...] = config.objectives
        warm = config.warm_ratio if "span" in ways and len(ways) > 1 else 0.0
        if warm:
            yield "denoise", Unimodal(network, tokenizer, config, ("span",)), warm, config.lr
        if warm < 1:
            yield name, Unimodal(network, tokenizer, config, ways), 1 - warm, config.lr
    elif name == "bimodal":
        yield name, Bimodal(network, tokenizer, config), 1.0, rates[name]
    else:
        network.requires_grad_(True)
        for head in (network.proj, network.itm_head):
            head.requires_grad_(False)
        yield name, method.language_model, 1.0, rates[name]


def _data(
    method: TextToTextMethod, name: str, run: Run, part: str, examples: Sequence[Example]
) -> Sequence[Any]:
    """What a stage can use of the examples, which are a part of the run's."""
    config, tokenizer = method.config, method.tokenizer
    if name == "bimodal":
        pairs = pairs_of(examples, config.cut_docstrings)
        if not isinstance(method.network, FrozenDecoder):
            return pairs
        return mapped(pairs, lambda _, pair: (pair.text, pair.code))
    if name == "instruct":
        prompted = where(examples, lambda example: example.prompt and example.response)
        return mapped(prompted, lambda _, example: (example.prompt, example.response))
    ids = token_ids((e.code for e in examples if e.code.strip()), tokenizer)
    joined = blocks(ids, config.max_code - 2, tokenizer.eos_token_id)
    return kept_windows(run, part, joined, is_on_disk(examples))


def _shares(names: list[str], unimodal_ratio: float) -> dict[str, float]:
    """Each stage's share of the budget."""
    if len(names) == 1:
        return {names[0]: 1.0}
    first = unimodal_ratio if "unimodal" in names else 0.0
    rest = (1 - first) / (len(names) - ("unimodal" in names))
    return {name: first if name == "unimodal" else rest for name in names}


def _retrieval(method: TextToTextMethod, pairs: Sequence[Example]) -> dict[str, float]:
    """How well the codes of pairs are found by their texts, by embeddings alone."""
    rows = [{"query": pair.text, "document": pair.code} for pair in pairs]
    found = measure_retrieval(method, Search.of_pairs(rows, "query", "document"))
    return {name: interval.value for name, interval in found.metrics.items()}


def _optim(config: Any, module: Trainable, lr: float) -> Optim | tuple[Optim, ...]:
    """One optimiser, or a second one for the token embeddings."""
    every = Optim(lr, config.weight_decay, warmup=config.warmup)
    has_embeddings = any(re.search(_EMBEDDINGS, name) for name, _ in module.named_parameters())
    if config.embedding_lr_ratio == 1 or not has_embeddings:
        return every
    return (
        replace(every, lr=lr * config.embedding_lr_ratio, match=_EMBEDDINGS),
        replace(every, match=f"^(?!.*{_EMBEDDINGS})"),
    )
