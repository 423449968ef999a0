"""`list`, `info` and `demo`."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Sequence
from typing import Any

from pretrial import discover
from pretrial.card import Card
from pretrial.errors import UserError


def list_methods(argv: Sequence[str]) -> None:
    """Prints the methods, one a line, by family."""
    if argv:
        raise UserError(f"pretrial list takes no options, not {argv[0]!r}: pretrial info SLUG")
    entries = discover.methods()
    if not entries:
        return
    width = max(map(len, entries))
    family = ""
    for slug, entry in entries.items():
        if entry.family != family:
            family = entry.family
            print(family)
        print(f"  {slug:<{width}}  {entry.card.year}  {entry.card.summary}")


def info(argv: Sequence[str]) -> None:
    """Prints what a method is, and its sizes, for which it is imported."""
    slug, rest = _slug(argv, "pretrial info")
    if rest:
        raise UserError(f"pretrial info takes one slug, not {rest[0]!r} as well")
    entry = discover.find(slug)
    text = ast.get_docstring(ast.parse(entry.path.read_text(encoding="utf-8"))) or ""
    print("\n".join(_page(entry.card, text)), flush=True)
    print("\n".join(_sizes(slug)))


def demo(argv: Sequence[str]) -> None:
    """Runs the `demo` function of a method's module; its parameters are the options."""
    slug, rest = _slug(argv, "pretrial demo")
    loaded = discover.load(slug)
    if loaded.demo is None:
        raise UserError(f"{slug} has no demonstration: pretrial train {slug} --data ...")
    from pretrial.cli import options

    prog = f"pretrial demo {slug}"
    made: Any = options.parse(options.from_signature(loaded.demo, "Options"), rest, prog=prog)
    loaded.demo(**vars(made))


def _slug(argv: Sequence[str], prog: str) -> tuple[str, list[str]]:
    if not argv or argv[0].startswith("-"):
        raise UserError(f"{prog} needs the slug of a method: pretrial list shows them")
    return argv[0], list(argv[1:])


def _page(card: Card, text: str) -> list[str]:
    lines = [
        card.title,
        f"{card.authors}, {card.year}{card.arxiv and f', arXiv {card.arxiv}'}",
        "",
        *textwrap.wrap(card.summary, 100),
        "",
        f"on trial against  {card.baseline}",
        f"abilities         {', '.join(card.abilities)}",
    ]
    if card.extra:
        lines.append(f"needs             pip install 'pretrial[{card.extra}]'")
    lines += ["", "Data fields"]
    width = max((len(field.name) for field in card.fields), default=0)
    for field in card.fields:
        lines.append(
            f"  {field.name:<{width}}  {field.meaning}{'' if field.required else ' (optional)'}"
        )
    if card.claims:
        lines += ["", "Published"]
    for claim in card.claims:
        lines += textwrap.wrap(
            f"{claim.text} [{claim.source}]", 100, initial_indent="  ", subsequent_indent="    "
        )
    return [*lines, "", text, ""]


def _sizes(slug: str) -> list[str]:
    """Presets with their parameters, and what --paper knows."""
    from pretrial.api import presets

    try:
        loaded = discover.load(slug)
        lines = ["Presets (pretrial train --preset NAME; auto chooses by the data and the budget)"]
        for name in presets.offered(loaded):
            count = presets.num_parameters(loaded, presets.config_of(loaded, name))
            told = f"{presets.short(count)} parameters" if count else "as many as the data asks for"
            lines.append(f"  {name:<6} {told}")
    except UserError as error:
        lines = [f"Its sizes are not known here: {error}"]
    else:
        if names := presets.published_names(loaded):
            lines += ["", "Published (pretrial train --paper NAME)", f"  {', '.join(names)}"]
    return [*lines, "", f"pretrial train {slug} --help shows its options."]
