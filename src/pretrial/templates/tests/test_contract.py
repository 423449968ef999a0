"""Every method in this folder keeps the contract, as `pretrial check` tells it one by one."""

from __future__ import annotations

from typing import Any

import pytest

from pretrial.check.checks import CHECKS
from pretrial.check.contract import Subject
from pretrial.discover import methods

OWN = [slug for slug, entry in methods().items() if entry.module.startswith("pretrial_methods.")]


@pytest.fixture(scope="module", params=OWN)
def subject(request: Any, tmp_path_factory: Any) -> Subject:
    return Subject(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract_is_kept(subject: Subject, check: Any) -> None:
    check(subject)
