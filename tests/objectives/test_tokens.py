"""Losses of token predictions against their definitions."""

import pytest
import torch

from pretrial.objectives.tokens import (
    copy_gate_loss,
    distillation_loss,
    replaced_token_loss,
    token_loss,
)


def test_token_loss_is_a_sum_over_the_given_count():
    logits = torch.randn(5, 7)
    targets = torch.tensor([0, 1, 2, 3, 4])
    expected = -logits.log_softmax(-1)[torch.arange(5), targets].sum() / 20
    torch.testing.assert_close(token_loss(logits, targets, 20.0), expected)


def test_replaced_token_loss_asks_only_where_told():
    logits = torch.tensor([[2.0, -1.0, 50.0]])
    replaced = torch.tensor([[True, False, False]])
    asked = torch.tensor([[True, True, False]])
    right = torch.tensor([2.0, 1.0]).sigmoid()
    torch.testing.assert_close(
        replaced_token_loss(logits, replaced, asked, 2.0), -right.log().mean()
    )


def test_copy_gate_loss_is_the_likelihood_of_the_mixture():
    logits, gate = torch.randn(6, 9), torch.randn(6)
    inputs = torch.tensor([0, 1, 2, 3, 4, 5])
    targets = torch.tensor([0, 8, 2, 7, 4, 5])
    copied = gate.sigmoid()
    softmax = logits.softmax(-1)[torch.arange(6), targets]
    likelihood = copied * (inputs == targets) + (1 - copied) * softmax
    torch.testing.assert_close(
        copy_gate_loss(logits, gate, inputs, targets, 6.0), -likelihood.log().mean()
    )


def test_copy_gate_loss_stays_finite_at_extreme_gates():
    logits = torch.zeros(2, 4, requires_grad=True)
    gate = torch.tensor([200.0, -200.0], requires_grad=True)
    loss = copy_gate_loss(logits, gate, torch.tensor([1, 1]), torch.tensor([2, 1]), 2.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(gate.grad).all()


def test_distillation_is_the_kl_of_what_is_asked_cut_to_the_common_vocabulary():
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(4, 7, generator=generator)
    student = torch.randn(4, 5, generator=generator)
    student.requires_grad_()
    asked = torch.tensor([True, True, False, True])
    loss = distillation_loss(teacher, student, asked, 3.0)
    wanted = teacher[:, :5].softmax(-1)
    each = (wanted * (wanted.log() - student.log_softmax(-1))).sum(-1)
    assert float(loss) == pytest.approx(each[asked].sum().item() / 3, abs=1e-6)
    loss.backward()
    assert not student.grad[2].any()
    assert float(distillation_loss(student, student, asked, 3.0)) == pytest.approx(0, abs=1e-6)
