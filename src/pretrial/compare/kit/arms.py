"""Arms that differ from a method's own in a setting: its ablations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pretrial.compare.trial import Arm


def ablations(slug: str, config: Any) -> Callable[..., Arm]:
    """Makes ablations, `ablation(name, label, **changes)`; they run only when asked for.

    Args:
        slug: of the method.
        config: its settings, which `changes` change.
    """

    def ablation(name: str, label: str, **changes: Any) -> Arm:
        return Arm(name, label, "ablation", slug, replace(config, **changes), default=False)

    return ablation
