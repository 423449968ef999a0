"""Clones: the loss of the release."""

import torch

from pretrial.evaluate.clones import clone_loss


def test_clone_loss_is_that_of_the_release():
    """Its equation, softmax and logarithm apart as the released code has them."""
    a, p, n = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0)) * 0.5
    labels = torch.tensor([0, 1, 0, 2, 1, 3])
    total = 0.0
    for i in range(6):
        scores = [a[i] @ p[i], a[i] @ n[i]]
        for j, other in enumerate([*a, *p]):
            alike = labels[j % 6] == labels[i]
            scores.append(torch.tensor(-1e9) if alike else a[i] @ other)
        total -= torch.log(torch.softmax(torch.stack(scores), 0)[0] + 1e-10)
    torch.testing.assert_close(clone_loss(a, p, n, labels, 6.0), total / 6, rtol=1e-5, atol=1e-5)
    # where that one is stuck at 23 without a gradient, the logarithm itself still teaches
    far = clone_loss(10 * a, -10 * p, 10 * a, labels, 6.0)
    assert far > 50
