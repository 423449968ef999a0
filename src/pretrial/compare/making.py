"""The trial of a method, made of its options."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pretrial import discover
from pretrial.compare.trial import Trial
from pretrial.errors import UserError, nearest


def make_one(slug: str, options: Mapping[str, Any]) -> Trial:
    """The trial of one method.

    Raises:
        UserError: there is no such method, or it has no trial.
    """
    loaded = discover.load(slug)
    if loaded.trial is None:
        raise UserError(f"{slug} has no trial of its own: `pretrial list` shows the methods")
    trial = loaded.trial(**_known(slug, loaded.trial, options))
    if trial.title:
        return trial
    title = f"{loaded.card.title} ({trial.name})" if trial.name else loaded.card.title
    return dataclasses.replace(trial, title=title)


def _known(slug: str, function: Callable[..., Trial], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names that they have now: a record may be older.

    `RENAMED`, in the module of a trial, tells what an option was called before.

    Raises:
        UserError: the trial has no such option.
    """
    renamed = getattr(sys.modules[function.__module__], "RENAMED", {})
    found = {renamed.get(name, name): value for name, value in options.items()}
    known = inspect.signature(function).parameters
    for name in found:
        if name not in known:
            raise UserError(
                f"the trial of {slug} has no option {name!r}; the nearest: {nearest(name, known)}"
            )
    return found
