"""The accuracy matrix: measured after each domain, told in a table, kept as numbers and curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial.compare.report.page import Page
from pretrial.compare.report.plots import Curve, Lines
from pretrial.data.rows import spread
from pretrial.evaluate.api_calls import Site, site_scores
from pretrial.evaluate.forgetting import Forgetting, summarise
from pretrial.methods.code.api_continual.data import Example, by_domain

if TYPE_CHECKING:
    from pretrial.methods.code.api_continual import APIContinual
    from pretrial.train.run import Run

_SCORES = "scores.json"
_METRICS = ("top1", "top5", "nll")


class Matrix:
    """Measures a model at the held-out call sites of all domains, as often as it is asked.

    Attributes:
        domains: those that have call sites among the run's held-out examples, in the order learned.
    """

    def __init__(self, method: APIContinual, run: Run, domains: list[str]) -> None:
        self.method, self.run = method, run
        held_out = by_domain(run.held_out)
        own = {domain: held_out.get(domain, []) for domain in domains}
        self.sites = self.sites_of(own, method.config.max_sites)
        self.domains = list(self.sites)
        method.history = []
        if run.held_out and len(self.domains) < len(domains):
            rest = ", ".join(domain for domain in domains if domain not in self.sites)
            run.say(f"not measured, as they have no held-out call sites: {rest}")

    @staticmethod
    def sites_of(held_out: dict[str, list[Example]], most: int) -> dict[str, list[Site]]:
        """The call sites of each domain, at most so many, of those that have any."""
        found = {
            domain: [site for example in examples for site in example.sites()]
            for domain, examples in held_out.items()
        }
        return {domain: list(spread(sites, most)) for domain, sites in found.items() if sites}

    def measure(self, name: str, domain: str = "") -> None:
        """Adds a row to the method's history, and keeps the model where that is wanted.

        Args:
            name: of the artefact.
            domain: the one that has just been learned; "" before the first.
        """
        method, run = self.method, self.run
        if next(method.network.parameters()).is_meta:  # shapes have nothing to be measured
            return
        if not self.domains and not (domain and method.config.keep_checkpoints):
            return

        def make(folder: Path) -> None:
            if domain and method.config.keep_checkpoints:
                method.save(folder / "model")
            row = {"after": domain, "scores": score(method, self.sites), "state": state(method)}
            (folder / _SCORES).write_text(json.dumps(row), encoding="utf-8")

        folder = run.once(f"after-{name}" if domain else name, make, purpose="evaluate")
        method.history.append(json.loads((folder / _SCORES).read_text(encoding="utf-8")))

    def report(self) -> None:
        """Writes the matrix and its curves, and says it."""
        history = self.method.history
        if not self.domains or not history:
            return
        spent = self.run.spent.seconds()

        def make(folder: Path) -> None:
            numbers = {**as_matrices(history), "strategy": self.method.config.strategy}
            numbers |= {"seconds": spent, "state": history[-1]["state"]}
            (folder / "matrix.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
            curves(history, self.method.config.strategy).write(folder / "curves.html")

        folder = self.run.once("forgetting", make, purpose="evaluate")
        for line in table(history):
            self.run.say(line)
        self.run.say(f"the matrix and its curves are in {folder}")


def score(method: APIContinual, sites: dict[str, list[Site]]) -> dict[str, dict[str, list[float]]]:
    """For each domain the metrics of its sites."""
    every = [site for own in sites.values() for site in own]
    ranked = method.rank_calls([site.context for site in every], [site.name for site in every])
    found, start = {}, 0
    for domain, own in sites.items():
        found[domain] = site_scores(ranked[start : start + len(own)], own)
        start += len(own)
    return found


def state(method: APIContinual) -> dict[str, int]:
    """What the strategy keeps: bytes of the penalty's vectors, tokens of remembered sequences."""
    buffers = method.guard.buffers() if method.guard is not None else ()
    return {
        "bytes_of_penalty": sum(buffer.nbytes for buffer in buffers),
        "tokens_remembered": sum(map(len, method.remembered)),
    }


def as_matrices(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The history as matrices, a row for each domain learned, a column for each one measured."""
    rows = [row for row in history if row["after"] in row["scores"]]
    domains = [row["after"] for row in rows]
    numbers: dict[str, Any] = {"domains": domains, "before": {}, "forgetting": {}}
    for metric in rows[0]["scores"][domains[0]]:
        means = [[_mean(row["scores"][domain][metric]) for domain in domains] for row in rows]
        numbers[metric] = means
        first = history[0]
        if not first["after"]:
            numbers["before"][metric] = [_mean(first["scores"][d][metric]) for d in domains]
        # lower is better in nats, and the summary wants it higher
        signed = [[-x for x in row] for row in means] if metric == "nll" else means
        if metric in _METRICS:
            numbers["forgetting"][metric] = vars(summarise(signed))
    return numbers


def summary(history: list[dict[str, Any]], metric: str = "top1") -> Forgetting:
    """The summary of one metric's matrix."""
    return Forgetting(**as_matrices(history)["forgetting"][metric])


def table(history: list[dict[str, Any]], metric: str = "top1") -> list[str]:
    """Lines of text: the matrix of one metric, and what it comes to."""
    numbers = as_matrices(history)
    domains = numbers["domains"]
    rows = [("before", numbers["before"][metric])] if numbers["before"] else []
    rows += list(zip(domains, numbers[metric], strict=True))
    wide = max(len("learned"), *(len(name) for name, _ in rows))
    widths = [max(6, len(domain)) for domain in domains]
    lines = [f"{metric} at held-out call sites of each domain, after each domain learned:"]
    head = "  ".join(f"{d:>{w}}" for d, w in zip(domains, widths, strict=True))
    lines.append(f"{'learned':<{wide}}  {head}")
    for name, values in rows:
        cells = "  ".join(f"{v:>{w}.3f}" for v, w in zip(values, widths, strict=True))
        lines.append(f"{name:<{wide}}  {cells}")
    found = summary(history, metric)
    lines.append(
        f"average at the end {found.final:.3f}, forgetting {found.forgetting:.3f},"
        f" backward transfer {found.backward_transfer:+.3f}"
    )
    return lines


def curves(history: list[dict[str, Any]], strategy: str) -> Page:
    """A page with one curve a domain, over the domains learned."""
    numbers = as_matrices(history)
    domains = numbers["domains"]
    page = Page(f"What was kept: {strategy}", lead="Scores at held-out call sites of each domain.")
    names = {
        "top1": "share of call names that are the likeliest",
        "top5": "share of call names among the five likeliest",
        "nll": "negative log-likelihood of the call name",
    }
    order = " ".join(f"{place}: {name};" for place, name in enumerate(domains, 1))
    for metric, label in names.items():
        start = [numbers["before"][metric]] if numbers["before"] else []
        rows = [*start, *numbers[metric]]
        x = [place + 1 - len(start) for place in range(len(rows))]
        drawn = {
            domain: Curve(x, [row[column] for row in rows]) for column, domain in enumerate(domains)
        }
        page.plot(Lines(drawn, "domains learned", label))
    page.text(f"Domains in the order learned: {order.removesuffix(';')}.")
    found = Forgetting(**numbers["forgetting"]["top1"])
    page.table(
        ["", "top1"],
        [
            ["average over all domains at the end", found.final],
            ["forgetting: best score before the end less that at the end", found.forgetting],
            ["backward transfer: score at the end less that when learned", found.backward_transfer],
        ],
    )
    return page


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
