"""All checks of the contract, and how one method is held to them."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from pretrial.check import able, declared, staged, trained
from pretrial.check.contract import ContractError, Subject
from pretrial.errors import UserError

Check = Callable[[Subject], None]

CHECKS: tuple[Check, ...] = (
    declared.card_is_complete,
    declared.config_has_the_options_of_training,
    declared.config_has_a_tiny_size,
    declared.config_has_published_sizes,
    declared.every_option_is_explained,
    declared.every_ability_is_there,
    declared.rows_for_tests_are_read,
    declared.paper_config_has_the_published_size,
    staged.stages_have_names_of_their_own,
    staged.losses_are_named_scalars_and_counts_are_floats,
    staged.every_trainable_parameter_gets_a_gradient,
    staged.loss_falls_on_one_batch,
    staged.four_micro_batches_equal_the_batch,
    declared.first_stage_is_described_before_it_is_trained,
    able.encode_gives_a_vector_for_each_example,
    able.a_classifier_learns_pairs_of_example_and_class,
    trained.a_run_interrupted_many_times_ends_with_the_same_bits,
    trained.same_seed_same_run_and_another_seed_another,
    trained.what_is_saved_comes_back,
    trained.export_loads_again_and_answers_the_same,
)


def run_checks(slug: str, say: Callable[[str], None] = print) -> int:
    """Runs every check on a method, and says in a line each how it came out.

    What stands in the way of several checks is told once.

    Args:
        slug: of the method.
        say: takes each line.

    Returns:
        How many checks failed.

    Raises:
        UserError: there is no such method, or it cannot be imported.
    """
    failed = 0
    told: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(slug, Path(folder))
        for check in CHECKS:
            name = check.__name__.replace("_", " ")
            message = _outcome(check, subject)
            if not message:
                say(f"ok    {name}")
                continue
            failed += 1
            before = told.setdefault(message, name)
            say(f"FAIL  {name}: {message if before == name else f'see {before!r}'}")
    return failed


def _outcome(check: Check, subject: Subject) -> str:
    """What is wrong, in one line; "" where nothing is."""
    try:
        check(subject)
    except (ContractError, UserError) as error:
        return " ".join(str(error).split())
    except Exception as error:  # a bug of the method, which must not hide what else is wrong
        last = traceback.extract_tb(error.__traceback__)[-1]
        own = [f for f in traceback.extract_tb(error.__traceback__) if _is_near(f, subject)]
        place = (own or [last])[-1]
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {text} ({place.filename}, line {place.lineno})"
    return ""


def _is_near(frame: traceback.FrameSummary, subject: Subject) -> bool:
    """Whether a line of a traceback stands in the method's own files."""
    path = subject.entry.path
    own = path.parent if path.name == "__init__.py" else path
    return Path(frame.filename).is_relative_to(own)
