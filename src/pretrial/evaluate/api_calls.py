"""Calls of libraries: which name comes next, and with which arguments?

A call site is a call with a receiver, such as `np.zeros(3)`. A model sees everything before the
name and says the name (call prediction), or writes it with its arguments (usage prediction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pretrial.code_views import view
from pretrial.data.rows import spread
from pretrial.errors import UserError
from pretrial.evaluate.generation import text_metrics
from pretrial.evaluate.result import Result

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Site:
    """One call site.

    Attributes:
        context: everything before the name.
        name: of what is called.
        usage: the name and its arguments, up to the closing bracket.
    """

    context: str
    name: str
    usage: str


class Ranked(NamedTuple):
    """What a model says of the name at one site.

    Attributes:
        names: the likeliest first.
        nll: negative log-likelihood of each of them.
        true_nll: of the name that stands there; NaN where none was given.
        token_prob: probability that the first token is the whole name that stands there, among the
            50 likeliest tokens; NaN where none was given.
    """

    names: list[str]
    nll: list[float]
    true_nll: float
    token_prob: float


def call_sites(
    text: str, language: str = "python", calls: Sequence[Mapping[str, Any]] | None = None
) -> list[Site]:
    """The call sites of a piece of code.

    Names that begin with an underscore are nobody's interface. Code that does not parse has no
    sites.

    Args:
        text: the code.
        language: one that `code_views` knows.
        calls: where the sites are known already: `call`, the name, and `start`, its offset in
            characters; sites where the text has another name there are left out.
    """
    if calls is None:
        found = [
            (call.name_start, call.name_end, call.end)
            for call in view(text, language).calls()
            if call.receiver and not call.name.startswith("_")
        ]
    else:
        found = []
        for call in calls:
            start, name = int(call["start"]), str(call["call"])
            end = start + len(name)
            if text[start:end] == name and text[end : end + 1] == "(":
                found.append((start, end, end + len(closed(text[end:]))))
    return [Site(text[:start], text[start:end], text[start:stop]) for start, end, stop in found]


def closed(text: str) -> str:
    """The text up to the bracket that closes its first one; all of it where none does.

    Brackets inside strings count, as a model's unfinished text cannot be parsed.
    """
    depth = 0
    for place, sign in enumerate(text):
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
            if depth <= 0:
                return text[: place + 1] if depth == 0 else text[:place]
    return text


def site_scores(ranked: Sequence[Ranked], sites: Sequence[Site]) -> dict[str, list[float]]:
    """Metrics of each site.

    "top1", "top5" and "top10": whether the name is among so many. "nll": its negative
    log-likelihood. "sampled1" and "sampled10": the probability that one or ten tokens drawn from
    the 50 likeliest hold one that is the whole name; this is what the release of arXiv 2305.04106
    calls pass@k, except that it draws, and no name of several tokens can be right.
    """
    pairs = list(zip(ranked, sites, strict=True))
    scores = {
        f"top{k}": [float(site.name in each.names[:k]) for each, site in pairs] for k in (1, 5, 10)
    }
    scores["nll"] = [each.true_nll for each, _ in pairs]
    for k in (1, 10):
        scores[f"sampled{k}"] = [1 - (1 - each.token_prob) ** k for each, _ in pairs]
    return scores


def measure_calls(method: Any, data: Sequence[Any], *, max_sites: int = 0, seed: int = 0) -> Result:
    """How well a model says which call comes next.

    Args:
        method: with the ability `rank_calls(contexts, names) -> list[Ranked]`.
        data: rows with `text` and, if they have them, `domain`, `language` and `calls`.
        max_sites: as many, spread evenly over all of them; 0 takes all.
        seed: of the bootstrap.

    Raises:
        UserError: there is no call site in the data.
    """
    sites, domains = _sites(data, max_sites)
    ranked = method.rank_calls([s.context for s in sites], [s.name for s in sites])
    scores = site_scores(ranked, sites)
    notes: dict[str, Any] = {"num_sites": len(sites)}
    for domain in dict.fromkeys(domains):
        own = [right for right, d in zip(scores["top1"], domains, strict=True) if d == domain]
        notes[f"top1 of {domain or 'all'}"] = f"{sum(own) / len(own):.3f} of {len(own)}"
    return Result.of_items(scores, notes, seed)


def measure_usages(
    method: Any, data: Sequence[Any], *, max_sites: int = 0, seed: int = 0
) -> Result:
    """How well a model writes a call with its arguments.

    Usages longer than what the method writes at most cannot be right, and count.

    Args:
        method: with the ability `write_usages(contexts, *, seed) -> list[str]`.
        data: rows with `text` and, if they have them, `domain`, `language` and `calls`.
        max_sites: as many, spread evenly over all of them; 0 takes all.
        seed: of sampling, and of the bootstrap.

    Raises:
        UserError: there is no call site in the data.
    """
    sites, _ = _sites(data, max_sites)
    written = method.write_usages([site.context for site in sites], seed=seed)
    metrics = text_metrics(
        [" ".join(text.split()) for text in written],
        [" ".join(site.usage.split()) for site in sites],
    )
    return Result.of_items(metrics, {"num_sites": len(sites)}, seed)


def _sites(data: Sequence[Any], max_sites: int) -> tuple[list[Site], list[str]]:
    """Sites and their domains."""
    found = []
    for number, row in enumerate(data):
        if not isinstance(row.get("text"), str):
            raise UserError(
                f"row {number} has no code in 'text' (found: {', '.join(row)}): name the field"
                " that has it with --fields text=OTHER"
            )
        own = call_sites(row["text"], row.get("language") or "python", row.get("calls"))
        found += [(site, str(row.get("domain", ""))) for site in own]
    if not found:
        raise UserError(
            "the data has no call site, such as np.zeros(3): give code that parses, or `calls`"
        )
    sites, domains = zip(*spread(found, max_sites), strict=True)
    return list(sites), list(domains)
