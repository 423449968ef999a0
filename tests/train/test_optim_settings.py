"""An optimiser made of settings."""

from dataclasses import dataclass

from pretrial.bases.config import Optimisation
from pretrial.train.stage import Optim


@dataclass(frozen=True)
class Config(Optimisation):
    lr: float = 2e-3
    warmup: float = 0.1
    betas: tuple[float, float] = (0.5, 0.5)


def test_settings_decide_and_what_is_given_goes_before_them():
    assert Optim.of(Config()) == Optim(lr=2e-3, weight_decay=0.01, warmup=0.1)
    found = Optim.of(Config(), weight_decay=0.0, schedule="cosine")
    assert found == Optim(lr=2e-3, weight_decay=0.0, warmup=0.1, schedule="cosine")


def test_settings_that_have_none_leave_the_defaults():
    assert Optim.of(object()) == Optim()
