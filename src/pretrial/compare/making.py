"""The trial of a method, made of its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pretrial import discover
from pretrial.compare.trial import Trial
from pretrial.errors import UserError


def make_one(slug: str, options: Mapping[str, Any]) -> Trial:
    """The trial of one method.

    Raises:
        UserError: there is no such method, or it has no trial.
    """
    loaded = discover.load(slug)
    if loaded.trial is None:
        raise UserError(f"{slug} has no trial of its own: `pretrial list` shows the methods")
    trial = loaded.trial(**options)
    if trial.title:
        return trial
    title = f"{loaded.card.title} ({trial.name})" if trial.name else loaded.card.title
    return dataclasses.replace(trial, title=title)
