"""Ablations: a method's settings with one of them changed."""

from pretrial.compare.kit.arms import ablations
from pretrial.methods.text import mlm


def test_an_ablation_differs_in_what_is_said_and_runs_when_it_is_asked_for():
    config = mlm.Config.tiny()
    arm = ablations("mlm", config)("half", "half of the masks", mask_ratio=0.075)
    assert (arm.role, arm.method, arm.default) == ("ablation", "mlm", False)
    assert arm.config.mask_ratio == 0.075
    assert arm.config.width == config.width
