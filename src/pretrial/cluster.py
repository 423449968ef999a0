"""Joining a Ray cluster, for trials and for programs that are run on many machines."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pretrial.errors import UserError, missing_package

RETRIES = 3  # of a task whose machine dies


@contextmanager
def joined() -> Iterator[Any]:
    """Yields `ray`, joined to the cluster that RAY_ADDRESS names, or to one started here.

    A cluster that the caller has joined already is used and stays joined.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise missing_package("ray", "cluster") from error
    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def remote(ray: Any, function: Any) -> Any:
    """The function as a task of one core, which another machine takes up when its own dies."""
    variables = {k: v for k, v in os.environ.items() if k.startswith(("PRETRIAL_", "PYTHONPATH"))}
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(function)
    return task.options(runtime_env={"env_vars": variables})


def lost(error: Exception, what: str) -> UserError:
    """The error for work that no machine could finish."""
    reason = str(error).splitlines()[0]
    return UserError(
        f"{what} was lost {RETRIES + 1} times on the cluster ({reason}): run the same command again"
        " to go on"
    )
