"""Yi's search for the mixture of abilities in chat training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrial.errors import UserError
from pretrial.methods.text.yi import Config, Yi
from pretrial.methods.text.yi.stages.mixture import SHARES, search_mixture
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.stage import Stage


def dialogues(ability: str, number: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"{ability} {place}?"},
                {"role": "assistant", "content": f"{ability} {place}."},
            ],
            "ability": ability,
        }
        for place in range(number)
    ]


ROWS = dialogues("math", 40) + dialogues("code", 40)
ASIDE = dialogues("math", 3) + dialogues("code", 3)
CONFIG = replace(Config.tiny(), steps=("chat",), max_length=64, search_ratio=0.5)


def built() -> Yi:
    torch.manual_seed(0)
    return Yi.build(CONFIG, data=ROWS)


def test_a_search_tries_shares_and_leaves_the_model_alone(tmp_path: Path) -> None:
    method = built()
    run = Run(tmp_path, ROWS, ASIDE, Budget(56, "steps"), quiet=True)
    before = {name: w.clone() for name, w in method.state_dict().items()}
    names: list[str] = []
    for stage in method.stages(run):
        names.append(stage.name)
        assert stage.purpose == ("train" if stage.name == "chat" else "search")
        if stage.name != "chat":
            assert stage.budget.amount == pytest.approx(0.5 * 56 / (2 * len(SHARES)))
            for parameter in stage.module.parameters():
                torch.nn.init.zeros_(parameter)
        else:
            assert stage.budget.amount == 28
    assert names[-1] == "chat"
    assert names[0] == "mix-0-1"
    assert {name.split("-")[1] for name in names[:-1]} == {"0", "1"}
    assert all(torch.equal(w, before[name]) for name, w in method.state_dict().items())


def test_the_share_of_the_lowest_loss_is_kept_for_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is the distance of the number of dialogues from one that is wanted."""
    seen: list[int] = []

    def loss(twin: Any, judged: Any, size: int) -> dict[str, float]:
        return {"loss": abs(seen[-1] - 50.0)}

    monkeypatch.setattr("pretrial.methods.text.yi.stages.mixture.held_out_losses", loss)
    method, run = built(), Run(tmp_path, ROWS, ASIDE, Budget(1, "steps"), quiet=True)

    def stage(name: str, twin: Any, examples: list[Any], number: int) -> Stage:
        seen.append(len(examples))
        return Stage(name, twin, examples, Budget(1, "steps"))

    def whole() -> Iterator[Stage]:
        found.update(
            (yield from search_mixture(
                method.language_model,  # type: ignore[arg-type]
                ROWS, ASIDE, {}, tokens=list, stage=stage, run=run,
            ))
        )  # fmt: skip

    found: dict[str, float] = {}
    assert len(list(whole())) == len(seen)
    assert set(found) == {"code", "math"}
    assert found["code"] < 1
    best = min(abs(number - 50) for number in seen)
    assert best < 15
    # math is tried on what was left of code
    assert seen.count(80) == 1


def test_a_run_with_a_search_trains_and_goes_on_where_it_was(tmp_path: Path) -> None:
    for _ in range(2):  # the second time everything is found done
        method = built()
        run = Run(tmp_path, ROWS, ASIDE, Budget(40, "steps"), quiet=True)
        train(method, run)
        run.close()
        assert run.spent.by_purpose["search"]["steps"] >= 2
        assert run.spent.by_purpose["train"]["steps"] == 20


def test_a_search_needs_abilities_on_both_sides(tmp_path: Path) -> None:
    run = Run(tmp_path / "a", ROWS, ASIDE[:3], Budget(4, "steps"), quiet=True)
    with pytest.raises(UserError, match="no held-out dialogue has the ability 'code'"):
        next(iter(built().stages(run)))
    run = Run(tmp_path / "b", ROWS[:40], ASIDE, Budget(4, "steps"), quiet=True)
    with pytest.raises(UserError, match="two abilities or more, not 1"):
        next(iter(built().stages(run)))
