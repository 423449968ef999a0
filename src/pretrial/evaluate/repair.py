"""Program repair: how many bugs get a plausible patch, and after how many runs of their tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pretrial.errors import UserError
from pretrial.evaluate.result import Result


def measure_repair(
    method: Any,
    data: Sequence[Any],
    *,
    max_validations: int = 100,
    seconds: float = 60.0,
    isolation: Literal["auto", "namespaces", "rlimits", "none"] = "auto",
    seed: int = 0,
) -> Result:
    """Shares of bugs whose patch is plausible, and identical to a person's where that is known.

    A patch is plausible where no test fails with it. It need not be correct, so `plausible` is no
    share of bugs that were fixed; `identical` counts plausible patches that leave the code of the
    known fix, blanks and comments aside, and a right patch written in another way is not among
    them.

    Args:
        method: with the ability `repair(examples, *, max_validations, num_patches, seconds,
            isolation)`, which gives `failing_before`, `plausible`, `validations` and `patches` for
            each bug.
        data: rows of bugs, such as a folder of QuixBugs.
        max_validations: runs of the tests of a bug; 0 is no limit.
        seconds: of one run of the tests.
        isolation: of the tests: auto, namespaces, rlimits, or none (they run with your rights).
        seed: of the bootstrap.

    Raises:
        UserError: there are no bugs.
    """
    if not len(data):
        raise UserError("there are no bugs to repair: give data with some")
    options = {"max_validations": max_validations, "seconds": seconds, "isolation": isolation}
    answers = list(method.repair(method.read(data), num_patches=1, **options))
    best = [answer["patches"][0] if answer["plausible"] else None for answer in answers]
    items = {
        "plausible": [float(answer["plausible"]) for answer in answers],
        "validations": [float(answer["validations"]) for answer in answers],
    }
    known = all(row.get("fixed") for row in data)
    if known:
        items["identical"] = [float(bool(patch and patch["identical"])) for patch in best]
    notes = {
        "num_bugs": len(answers),
        "num_without_failing_tests": sum(answer["failing_before"] == 0 for answer in answers),
        "localisation": "given",
        "max_validations": max_validations,
    }
    return Result.of_items(items, notes, seed)
