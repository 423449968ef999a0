"""The stages of CodeT5+: what data each takes, and its share of the budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pretrial.data.rows import is_on_disk, mapped, where
from pretrial.data.windows.cutting import token_ids
from pretrial.data.windows.packing import blocks
from pretrial.errors import UserError
from pretrial.evaluate.retrieval import Search, measure_retrieval
from pretrial.methods.code.codet5p.bimodal import Bimodal
from pretrial.methods.code.codet5p.config import Objective
from pretrial.methods.code.codet5p.reading import Example, pairs_of
from pretrial.methods.code.codet5p.unimodal import Unimodal
from pretrial.models.architectures.language_model import TextToText
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.run import Run
from pretrial.train.stage import Optim, Stage, Trainable
from pretrial.train.tokens import kept_windows

if TYPE_CHECKING:
    from pretrial.methods.code.codet5p import CodeT5p

_MOST_HELD_OUT = 500
_EMBEDDINGS = r"shared\.weight$"


def stages(method: CodeT5p, run: Run) -> Iterator[Stage]:
    """Those of `config.stages` that there are data for, in that order."""
    config = method.config
    plan = {}
    for name in config.stages:
        if found := _data(method, name, run, "data", run.data):
            plan[name] = found
    if not plan:
        raise UserError(
            f"the data has nothing for {', '.join(config.stages)}: give rows with 'code', with"
            " 'text' and 'code', or with 'instruction' and 'output'"
        )
    for name, share in _shares(list(plan), config.unimodal_ratio).items():
        budget = Budget(run.budget.amount * share, run.budget.unit)
        aside = _data(method, name, run, "held-out", run.held_out)[:_MOST_HELD_OUT]
        if name == "unimodal" and method.beside is None:
            yield from _unimodal(method, plan[name], aside, budget)
            continue
        rate = {"unimodal": config.lr, "bimodal": config.pair_lr}.get(name, config.instruct_lr)
        module = _module(method, name)
        check: Callable[[], dict[str, float]]
        if isinstance(module, Bimodal):
            check = partial(_retrieval, method, aside)
        else:
            check = partial(held_out_losses, module, aside, config.pair_batch_size)
        yield _stage(method, name, module, plan[name], budget, rate, check if aside else None)


def _module(method: CodeT5p, name: str) -> Trainable:
    """What is trained on pairs or instructions."""
    if method.beside is not None:
        return method.beside
    config, network = method.config, method.network
    if name == "bimodal":
        return Bimodal(network, method.tokenizer, config)
    network.requires_grad_(True)
    for head in (network.proj, network.itm_head):
        head.requires_grad_(False)
    return TextToText(network, method.tokenizer, config.max_text + config.max_code, config.max_code)


def _data(
    method: CodeT5p, name: str, run: Run, part: str, examples: Sequence[Example]
) -> Sequence[Any]:
    """What a stage can use of the examples, which are a part of the run's."""
    config, tokenizer = method.config, method.tokenizer
    if name == "bimodal":
        pairs = pairs_of(examples, config.cut_docstrings)
        if method.beside is None:
            return pairs
        return mapped(pairs, lambda _, pair: (pair.text, pair.code))
    if name == "instruct":
        asked = where(examples, lambda example: example.prompt and example.response)
        return mapped(asked, lambda _, example: (example.prompt, example.response))
    ids = token_ids((e.code for e in examples if e.code.strip()), tokenizer)
    joined = blocks(ids, config.max_code - 2, tokenizer.eos_token_id)
    return kept_windows(run, part, joined, is_on_disk(examples))


def _shares(names: list[str], unimodal_ratio: float) -> dict[str, float]:
    """Each stage's share of the budget."""
    if len(names) == 1:
        return {names[0]: 1.0}
    first = unimodal_ratio if "unimodal" in names else 0.0
    others = [name for name in names if name != "unimodal"]
    rest = (1 - first) / len(others)
    return {name: first if name == "unimodal" else rest for name in names}


def _unimodal(
    method: CodeT5p, data: Sequence[Any], aside: Sequence[Any], budget: Budget
) -> Iterator[Stage]:
    """Spans alone for a while, then all ways."""
    config, ways = method.config, method.config.objectives
    warm = config.warm_ratio if "span" in ways and len(ways) > 1 else 0.0
    first: tuple[Objective, ...] = ("span",)
    for name, objectives, share in (("denoise", first, warm), ("unimodal", ways, 1 - warm)):
        if not share:
            continue
        module = Unimodal(method.network, method.tokenizer, config, objectives)
        part = Budget(budget.amount * share, budget.unit)
        check = partial(held_out_losses, module, aside, config.batch_size) if aside else None
        yield _stage(method, name, module, data, part, config.lr, check)


def _retrieval(method: CodeT5p, pairs: Sequence[Example]) -> dict[str, float]:
    """How well the codes of pairs are found by their texts, by embeddings alone."""
    rows = [{"query": pair.text, "document": pair.code} for pair in pairs]
    found = measure_retrieval(method, Search.of_pairs(rows, "query", "document"))
    return {name: interval.value for name, interval in found.metrics.items()}


def _stage(
    method: CodeT5p,
    name: str,
    module: Trainable,
    data: Sequence[Any],
    budget: Budget,
    lr: float,
    evaluate: Callable[[], dict[str, float]] | None,
) -> Stage:
    config = method.config
    other = Optim(lr, config.weight_decay, warmup=config.warmup)
    optim: Optim | tuple[Optim, ...] = other
    has_embeddings = any(re.search(_EMBEDDINGS, name) for name, _ in module.named_parameters())
    if config.embedding_lr_ratio != 1 and has_embeddings:
        optim = (
            replace(other, lr=lr * config.embedding_lr_ratio, match=_EMBEDDINGS),
            replace(other, match=f"^(?!.*{_EMBEDDINGS})"),
        )
    alone = name in ("denoise", "unimodal")
    stage = Stage(
        name,
        module,
        data,
        budget,
        optim=optim,
        batch_size=config.batch_size if alone else config.pair_batch_size,
        evaluate=evaluate,
    )
    if config.micro_batch_size and not module.compares_examples:
        return replace(stage, micro_batch_size=config.micro_batch_size)
    return stage
