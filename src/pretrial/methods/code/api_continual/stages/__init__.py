"""The order of the work: pre-training, then one domain after another, measured on all of them.

`report` keeps the accuracy matrix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pretrial.data.reading.reservoir import Reservoir
from pretrial.data.rows import spread
from pretrial.errors import UserError
from pretrial.evaluate.api_calls import Site
from pretrial.methods.code.api_continual.data import Example, by_domain
from pretrial.methods.code.api_continual.stages.report import Matrix
from pretrial.objectives.continual import EWC, PathGuard, mean_squared_gradient
from pretrial.train import flops
from pretrial.train.batches import fitting
from pretrial.train.budget import Budget
from pretrial.train.seeds import seed_of
from pretrial.train.stage import EarlyStop, Optim, Stage

if TYPE_CHECKING:
    from pretrial.methods.code.api_continual import APIContinual
    from pretrial.train.run import Run

Windows = list[list[int]]

_UNSAFE = re.compile(r"[^\w.-]+")  # for names of folders


def stages(method: APIContinual, run: Run) -> Iterator[Stage]:
    """Pre-training where the data have it, then one stage a domain.

    Between the stages the strategy takes in what was learned, and the model is measured at held-out
    call sites of all domains. At the end the accuracy matrix and the curves lie in the run's folder
    under artefacts/forgetting.

    Raises:
        UserError: the data have no domains, or too little of one.
    """
    config = method.config
    domains = by_domain(run.data)
    base = domains.pop(config.pretrain_on, None)
    if config.pretrain_on and base is None:
        raise UserError(
            f"no example is of the domain {config.pretrain_on!r}, which pretrain_on names; there"
            f" are {', '.join(domains)}"
        )
    if base is not None:
        method.pretraining = True
        yield _pretraining(method, run, base, alone=not domains)
        method.pretraining = False
    if not domains:
        return
    order = by_domain([example for own in domains.values() for example in own], config.order)
    matrix = Matrix(method, run, list(order))
    matrix.measure("before")
    learned = _Domains(method, run, len(order), pretrained=base is not None)
    for number, (domain, examples) in enumerate(order.items()):
        name = f"{number + 1}-{_UNSAFE.sub('-', domain)}"
        yield learned.stage(name, domain, examples, last=number + 1 == len(order))
        learned.end_domain(name)
        matrix.measure(name, domain)
    matrix.report()


class _Domains:
    """The domains as they are learned, and what the strategy keeps of them.

    Attributes:
        windows: sequences of the open domain; with the cumulative strategy of all until now.
    """

    def __init__(self, method: APIContinual, run: Run, num_domains: int, pretrained: bool) -> None:
        config = method.config
        self.method, self.run = method, run
        self.share = (1 - config.pretrain_ratio if pretrained else 1.0) / num_domains
        self.windows: Windows = []
        self.paid = 0.0  # what measuring importances had cost when the last domain began
        self.measured = 0  # tokens that they were measured on
        self.reservoir: Reservoir[list[int]] | None = None
        if config.strategy == "replay":
            seed = seed_of(run.seed, "memory")
            # what an earlier run has left, and not what this one has added before it was resumed
            self.reservoir = Reservoir(config.memory_size, seed, method.remembered, method.num_seen)

    def stage(self, name: str, domain: str, examples: Sequence[Example], last: bool) -> Stage:
        """The stage of a domain."""
        method, run, config = self.method, self.run, self.method.config
        valid: list[Site] = []
        if config.patience:
            examples, valid = _validation(examples, domain, config.valid_ratio, run.seed)
        own = method.windows(examples)
        if not own:
            raise UserError(f"the domain {domain!r} has no code to learn from: leave it out")
        self.windows = [*self.windows, *own] if config.strategy == "cumulative" else own
        group = 1 + config.replay_per_new if method.replays else 1
        batch_size, micro = fitting(
            config.batch_size // group,
            config.micro_batch_size // group,
            len(self.windows),
            run.world.size,
        )
        epoch = max(1, len(self.windows) // batch_size)
        if method.guard is not None:
            method.guard.start_domain(method.network.parameters())
        return Stage.of(
            name,
            method,
            self.windows,
            config,
            budget=self._budget(epoch, last),
            # what importances are made of is the gradient itself, so it is not clipped
            optim=Optim(config.lr, config.weight_decay, schedule="constant", clip_norm=0.0),
            batch_size=batch_size,
            micro_batch_size=micro,
            evaluate=partial(_call_loss, method, valid) if valid else None,
            evaluate_every=epoch if valid else 0,
            early_stop=EarlyStop("call_loss", config.patience) if valid else None,
        )

    def _budget(self, epoch: int, last: bool) -> Budget:
        """An equal share of the run's, less what importances have cost since the last domain.

        From the last domain's share goes what they will cost there, by what a token has cost.
        """
        if self.run.limit is None:
            return Budget(self.method.config.epochs * epoch, "steps")
        unit = self.run.limit.unit
        paid = self.run.spent.by_purpose.get("importance", {}).get(unit, 0.0)
        cost, self.paid = paid - self.paid, paid
        if last and self.measured:
            cost += paid / self.measured * _num_tokens(self.method, self.windows)
        left = self.run.limit.amount * self.share - cost
        if left <= 0:
            raise UserError(
                "measuring importances takes more than a domain's share of the budget: give a"
                " larger --budget, or a smaller --ewc-examples"
            )
        return Budget(left, unit)

    def end_domain(self, name: str) -> None:
        """Lets the strategy take in the domain that has been learned."""
        method, guard = self.method, self.method.guard
        if self.reservoir is not None:
            self.reservoir.add(self.windows)
            method.remembered = list(self.reservoir)
            method.num_seen = self.reservoir.num_seen
        elif isinstance(guard, EWC):
            measure = partial(_measure_importance, method, self.run, self.windows)
            folder = self.run.once(f"importance-{name}", measure, purpose="importance")
            found = load_file(folder / "importance.safetensors")["importance"]
            guard.end_domain(method.network.parameters(), found.to(guard.anchor.device))
            self.measured += _num_tokens(method, self.windows)
        elif isinstance(guard, PathGuard):
            guard.end_domain(method.network.parameters())


def _num_tokens(method: APIContinual, windows: Windows) -> int:
    """Tokens that importances are measured on."""
    return sum(map(len, spread(windows, method.config.ewc_examples)))


def _measure_importance(method: APIContinual, run: Run, windows: Windows, folder: Path) -> None:
    """Writes the mean squared gradients over a domain's sequences."""
    config, network = method.config, method.network
    chosen = list(spread(windows, config.ewc_examples))
    size = config.batch_size if config.release_importance else 1
    batches = [chosen[start : start + size] for start in range(0, len(chosen), size)]
    generator = run.generator(f"importance {folder.name}")
    tokens = 0.0

    def losses() -> Iterator[Tensor]:
        nonlocal tokens
        for examples in batches:
            batch = method.batch(examples, generator)
            tokens += batch["counts"]["tokens"]
            tensors = {k: v.to(network.device) for k, v in batch.items() if isinstance(v, Tensor)}
            yield method.language_loss({**batch, **tensors})

    parameters = list(network.parameters())
    network.eval()
    with torch.enable_grad():
        if run.measure_flops or (run.limit is not None and run.limit.unit == "flops"):
            found, work = flops.count(lambda: mean_squared_gradient(losses(), parameters))
            run.book("importance", flops=work)
        else:
            found = mean_squared_gradient(losses(), parameters)
    save_file({"importance": found.cpu()}, folder / "importance.safetensors")
    # in steps of the usual size, for budgets in steps
    steps = len(chosen) / config.batch_size
    run.book("importance", tokens=tokens, examples=float(len(chosen)), steps=steps)


def _pretraining(method: APIContinual, run: Run, examples: Sequence[Example], alone: bool) -> Stage:
    config = method.config
    windows = method.windows(examples)
    if not windows:
        raise UserError(f"the domain {config.pretrain_on!r} has no code to learn from")
    size, micro = fitting(
        config.pretrain_batch_size, config.micro_batch_size, len(windows), run.world.size
    )
    if run.limit is None:
        budget = Budget(config.pretrain_epochs * max(1, len(windows) // size), "steps")
    else:
        ratio = 1.0 if alone else config.pretrain_ratio
        budget = Budget(run.limit.amount * ratio, run.limit.unit)
    optim = Optim(
        config.pretrain_lr,
        config.pretrain_decay,
        schedule="cosine",
        warmup=config.pretrain_warmup,
    )
    return Stage.of(
        "pretrain",
        method,
        windows,
        config,
        budget=budget,
        optim=optim,
        batch_size=size,
        micro_batch_size=micro,
        evaluate_every=0,
    )


def _validation(
    examples: Sequence[Example], domain: str, ratio: float, seed: int
) -> tuple[list[Example], list[Site]]:
    """Examples to learn from, and the call sites of those set aside."""
    count = max(1, round(len(examples) * ratio))
    generator = torch.Generator().manual_seed(seed_of(seed, "validation", domain))
    aside = set(torch.randperm(len(examples), generator=generator)[:count].tolist())
    sites = [site for place in sorted(aside) for site in examples[place].sites()]
    kept = [example for place, example in enumerate(examples) if place not in aside]
    if not sites or not kept:
        raise UserError(
            f"the domain {domain!r} has too few call sites to validate on: give it more code, or"
            " set --patience 0"
        )
    return kept, sites


def _call_loss(method: APIContinual, sites: Sequence[Site]) -> dict[str, float]:
    return {"call_loss": method.call_loss(sites)}
