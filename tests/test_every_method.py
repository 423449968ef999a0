"""The contract that every method keeps, whatever it is.

A method is found by its folder and takes part without a line here. What it gives for it:

- `Config.tiny()`: a configuration that trains in a second, without dropout;
- `sample_rows()`: a handful of raw rows, as `Method.read` takes them;
- `Config.published`: for each name that `Config.paper` knows, the published number of parameters of
  what `export` gives; `build` must then make the networks without data or checkpoint.

The checks themselves are those of `pretrial check`, in `pretrial.check`. Each stage of a method's
training is looked at on its own, then all of them are trained as one run.
"""

from __future__ import annotations

import pytest

from pretrial import discover
from pretrial.check.checks import CHECKS
from pretrial.check.contract import Subject


@pytest.fixture(scope="module", params=sorted(discover.methods()))
def subject(request, tmp_path_factory):
    return Subject(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(subject, check):
    check(subject)
