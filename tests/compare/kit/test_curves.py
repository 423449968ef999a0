"""Steps to a loss."""

from pretrial.compare.kit.curves import steps_to


def test_steps_to_a_loss_are_interpolated():
    curve = [(10, 5.0), (20, 4.0), (30, 3.0)]
    assert steps_to(curve, 4.5) == 15
    assert steps_to(curve, 3.0) == 30
    assert steps_to(curve, 6.0) == 10
    assert steps_to(curve, 2.0) is None
