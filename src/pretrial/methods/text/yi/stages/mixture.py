"""How much of each ability's dialogues to keep: tried one after the other (section 3.1)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from pretrial.data.rows import Row, by_key
from pretrial.errors import UserError
from pretrial.methods.text.yi.data import mix
from pretrial.methods.text.yi.stages.chat import ChatTuner
from pretrial.train.held_out import held_out_losses
from pretrial.train.run import Run
from pretrial.train.stage import Stage

#: Shares that are tried: 1, 1/2, ... 1/64 of the dialogues (section 3.1).
SHARES = tuple(0.5**power for power in range(7))


def search_mixture(
    tuner: ChatTuner,
    rows: Sequence[Row],
    aside: Sequence[Row],
    shares: Mapping[str, float],
    *,
    tokens: Callable[[Sequence[Any]], Sequence[Any]],
    stage: Callable[[str, ChatTuner, Sequence[Any], int], Stage],
    run: Run,
) -> Generator[Stage, None, dict[str, float]]:
    """Trains a copy with each share of each ability, and keeps the best one for the next ability.

    What counts is the loss on held-out dialogues, a mean over abilities, each of equal weight.

    Args:
        tuner: what is to be trained in the end; it stays as it is.
        rows: dialogues with their abilities.
        aside: held-out dialogues.
        shares: to begin with; an ability that is not named is kept whole.
        tokens: makes examples of dialogues.
        stage: makes the stage of a copy, of its name, the copy, its examples, and the number of
            stages that there are at most.
        run: says what was found.

    Yields:
        A stage for each copy.

    Returns:
        The shares found.

    Raises:
        UserError: there are not two abilities, or one has no held-out dialogue.
    """
    abilities = sorted({str(row["ability"]) for row in rows if row.get("ability")})
    if len(abilities) < 2:
        raise UserError(
            f"a mixture is searched over two abilities or more, not {len(abilities)}: give"
            " dialogues with a field 'ability', or set --search-ratio 0"
        )
    judged = _judged(aside, abilities, tokens)
    chosen = dict(shares)
    for number, ability in enumerate(abilities):
        losses: dict[float, float] = {}
        tried: list[int] = []
        for share in SHARES:
            examples = tokens(mix(rows, {**chosen, ability: share}))
            if not examples or len(examples) in tried:  # so few that halves are alike
                continue
            tried.append(len(examples))
            twin = copy.deepcopy(tuner)
            name = f"mix-{number}-{round(1 / share)}"
            yield stage(name, twin, examples, len(abilities) * len(SHARES))
            twin.eval()
            found = [held_out_losses(twin, each, 32)["loss"] for each in judged.values()]
            losses[share] = run.world.share(sum(found) / len(found))
        chosen[ability] = min(losses, key=losses.__getitem__)
        shown = ", ".join(f"{share:g}: {loss:.3f}" for share, loss in losses.items())
        run.say(f"{ability}: {chosen[ability]:g} of its dialogues ({shown})")
    return chosen


def _judged(
    aside: Sequence[Row],
    abilities: Sequence[str],
    tokens: Callable[[Sequence[Any]], Sequence[Any]],
) -> dict[str, Sequence[Any]]:
    """The held-out dialogues of each ability, as examples."""
    by_ability = by_key(aside, lambda row: str(row.get("ability")))
    judged = {ability: tokens(by_ability.get(ability, ())) for ability in abilities}
    for ability, dialogues in judged.items():
        if not dialogues:
            raise UserError(
                f"no held-out dialogue has the ability {ability!r}, so its share cannot be judged:"
                " give more with --held-out or a larger --held-out-ratio"
            )
    return judged
