"""Checks of what a method says of itself: its card, settings, abilities and published sizes."""

from __future__ import annotations

import dataclasses
import re

import torch

from pretrial.bases.config import Optimisation
from pretrial.check.contract import Subject, require
from pretrial.train.describe import describe

_OTHER_NAMES = {"classify": ("classify", "classifier")}


def card_is_complete(subject: Subject) -> None:
    """The card is read without an import, and nothing in it is missing."""
    card, own = subject.entry.card, subject.is_ours
    require(card == subject.module.CARD, "CARD is changed after it is made: keep it a literal")
    require(card.slug == subject.slug, f"CARD.slug is {card.slug!r}: call it like its file")
    for name in ("title", "authors", "baseline", "abilities", "fields"):
        require(getattr(card, name), f"CARD.{name} is empty: fill it in")
    require(1950 <= card.year <= 2030, f"CARD.year is {card.year}: give that of the first version")
    arxiv = re.fullmatch(r"\d{4}\.\d{4,5}", card.arxiv) or not (own or card.arxiv)
    require(arxiv, f"CARD.arxiv is {card.arxiv!r}: give an identifier such as 2207.01780")
    length = len(card.summary)
    require(20 <= length <= 90, f"CARD.summary has {length} characters: give one line of 20 to 90")
    for field in card.fields:
        require(field.name and field.meaning, "a field of CARD lacks its name or meaning: add it")
    required = any(field.required for field in card.fields)
    require(required, "no field of CARD is required: say which one a row must have")
    require(card.claims or not own, "CARD.claims is empty: give the published figures")
    for claim in card.claims:
        require(claim.text and claim.source, "a claim of CARD lacks its text or source: add it")


def every_ability_is_there(subject: Subject) -> None:
    """Each ability in the card is a method of the class."""
    for ability in subject.card.abilities:
        names = _OTHER_NAMES.get(ability, (ability,))
        found = any(callable(getattr(subject.method, name, None)) for name in names)
        require(
            found,
            f"CARD.abilities names {ability!r}, and {subject.method.__name__} has no method"
            f" {names[-1]}: add it, or take it out of CARD",
        )


def config_has_the_options_of_training(subject: Subject) -> None:
    """`--lr` and `--batch-size` work, and nothing changes a setting."""
    kind = subject.kind
    require(dataclasses.is_dataclass(kind), "Config is no dataclass: decorate it")
    frozen = kind.__dataclass_params__.frozen
    require(frozen, "Config can be changed: decorate it with @dataclass(frozen=True)")
    # a method of several stages may have a learning rate and a batch for each, such as critic_lr
    names = {field.name for field in dataclasses.fields(kind)} - {"micro_batch_size"}
    lacks = [
        n for n in ("lr", "batch_size") if not any(f"_{own}".endswith(f"_{n}") for own in names)
    ]
    require(
        not lacks,
        f"Config has no {' and no '.join(lacks)}: inherit bases.config.Optimisation, which gives"
        f" the options {', '.join(field.name for field in dataclasses.fields(Optimisation))}",
    )


def config_has_a_tiny_size(subject: Subject) -> None:
    """`--tiny` works, and so do the checks that train."""
    require(isinstance(subject.config, subject.kind), "Config.tiny() returns no Config: return one")


def config_has_published_sizes(subject: Subject) -> None:
    """`--paper` works."""
    require(
        hasattr(subject.kind, "paper"),
        "Config has no paper(): add a classmethod paper(name) that returns the published"
        " configuration of that name, as bases.config.published_size helps to"
        " (pretrial train --paper takes it)",
    )


def every_option_is_explained(subject: Subject) -> None:
    """In the docstring of Config, or of the class that it has the option from."""
    kind = type(subject.config)
    text = "".join(each.__doc__ or "" for each in kind.__mro__)
    for field in dataclasses.fields(kind):
        require(
            f"{field.name}: " in text,
            f"{field.name} is not in the docstring of Config: explain it under Attributes",
        )


def rows_for_tests_are_read(subject: Subject) -> None:
    """`sample_rows` gives rows that `read` takes."""
    require(len(subject.examples) >= 4, "sample_rows() gives fewer than 4 examples: give a dozen")


def paper_config_has_the_published_size(subject: Subject) -> None:
    """What `export` gives has the published number of parameters, for each name of `paper`."""
    for name, number in getattr(subject.kind, "published", {}).items():
        with torch.device("meta"):
            exported = subject.method.build(subject.kind.paper(name)).export()
        count = sum(parameter.numel() for parameter in exported.parameters())
        require(
            abs(count - number) <= 0.05 * number,
            f"Config.paper({name!r}) has {count:,} parameters, and {number:,.0f} are published:"
            " mend its sizes",
        )


def first_stage_is_described_before_it_is_trained(subject: Subject) -> None:
    """`--dry-run` tells of a stage without memory for its weights."""
    with torch.device("meta"):
        empty = subject.method.build(subject.config, data=subject.examples)
    about = describe(next(iter(empty.stages(subject.run("described")))))
    built = describe(next(iter(subject.build().stages(subject.run("described")))))
    require(
        about == built,
        "on the meta device the first stage is another one: let `build` and `stages` not depend on"
        " the values of weights",
    )
    require(about["num_parameters"] > 0, "the first stage has no parameters: train some")
    for name in ("optimizer", "activations"):
        require(about["memory"][name] > 0, f"--dry-run finds no {name}: let `losses` use tensors")
    require(about["flops_per_step"] > 0, "--dry-run finds no FLOPs: let `losses` use the networks")
