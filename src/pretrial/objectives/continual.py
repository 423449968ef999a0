"""Penalties that hold a model near what it has learnt: EWC, synaptic intelligence, Riemannian walk.

Each is a loss plug-in, a module whose state is buffers, so that a checkpoint holds it:

    guard = EWC(num_weights(network.parameters()), weight=0.3)
    loss = data_loss + guard.penalty(network.parameters())   # while a domain is learnt
    guard.after_step(network.parameters())                   # after each optimiser step
    guard.end_domain(network.parameters(), importance)       # when it has been learnt

All weights of a network are one flat vector [N] here. Every penalty is a quadratic with one
strength a weight, `scale * sum_i strength_i * (weight_i - anchor_i) ** 2`; they differ in how the
strengths come about. Gradients must not be clipped where a path is followed (synaptic intelligence,
Riemannian walk): what is read after a step is taken for the gradient of the loss.

Compared with the plug-ins of avalanche-lib 0.6.0 in the tests. Differences: the last interval of a
domain counts in the Riemannian walk even where it is shorter than the others, and synaptic
intelligence leaves the penalty's own gradient and negative strengths out, unless `release` is set.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.errors import UserError


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All elements as one vector [N]; of tensors that are cut over processes too."""
    return torch.cat([_whole(tensor).reshape(-1) for tensor in tensors])


def _whole(tensor: Any) -> Tensor:
    """The full tensor; the gradient that comes back is the mean of those of all processes.

    FSDP takes that mean of all other gradients, and the loop's losses reckon with it.
    """
    if not hasattr(tensor, "device_mesh"):
        return tensor
    from torch.distributed.tensor import Partial

    full = tensor.full_tensor(grad_placements=[Partial()])
    return full.detach() + (full - full.detach()) / tensor.device_mesh.size()


def num_weights(parameters: Iterable[Tensor]) -> int:
    """How long the vector of all weights is."""
    return sum(parameter.numel() for parameter in parameters)


def mean_squared_gradient(losses: Iterable[Tensor], parameters: Iterable[Tensor]) -> Tensor:
    """Mean over the losses of their squared gradients [N]: the empirical Fisher information.

    With one loss an example it is that of the examples. With one loss a batch, the mean over its
    examples, gradients cancel out before they are squared and the result is smaller, by about the
    size of the batch where the gradients are mostly noise.

    Args:
        losses: scalars; each is asked for when the one before has been dealt with.
        parameters: N weights, all of which each loss depends on.

    Raises:
        UserError: there is no loss.
    """
    parameters = list(parameters)
    total = torch.zeros(num_weights(parameters), device=parameters[0].device)
    num_losses = 0
    for loss in losses:
        total += flat(torch.autograd.grad(loss, parameters)).float() ** 2
        num_losses += 1
    if not num_losses:
        raise UserError("importances need at least one example: give the domain more data")
    return total / num_losses


class Guard(nn.Module):
    """A quadratic penalty on leaving an anchor; zero until the first domain has ended.

    Attributes:
        weight: lambda.
        anchor: the weights to stay near [N].
        strength: how much each of them matters [N].
    """

    scale = 1.0
    anchor: Tensor
    strength: Tensor

    def __init__(self, num_weights: int, weight: float) -> None:
        super().__init__()
        if weight < 0:
            raise UserError(f"the weight of a penalty is at least 0, not {weight}")
        self.weight = weight
        self._vectors(num_weights, "anchor", "strength")

    def _vectors(self, num_weights: int, *names: str) -> None:
        for name in names:
            self.register_buffer(name, torch.zeros(num_weights))

    def penalty(self, parameters: Iterable[Tensor]) -> Tensor:
        """The penalty at these weights, a scalar."""
        gap = flat(parameters) - self.anchor
        return self.weight * self.scale * (self.strength * gap * gap).sum()

    def start_domain(self, parameters: Iterable[Tensor]) -> None:
        """Call it before the first step on a domain."""

    def after_step(self, parameters: Iterable[Tensor]) -> None:
        """Call it after each optimiser step, with the step's gradients in place."""


class EWC(Guard):
    """Elastic weight consolidation: a weight matters by its mean squared gradient.

    With a penalty for each past domain (Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3) the
    sum over domains is again one quadratic, around the mean of the domains' weights by importance,
    plus a constant. So two vectors hold what others keep as two for each domain.

    Attributes:
        constant: what the separate penalties add up to at the anchor, before `weight`.
    """

    constant: Tensor

    def __init__(
        self, num_weights: int, weight: float, online: bool = False, decay: float = 1.0
    ) -> None:
        """`online` keeps one penalty around the newest weights, with `decay` times the importances
        until then plus the new ones (Schwarz et al. 2018, arXiv 1805.06370, section 4)."""
        super().__init__(num_weights, weight)
        self.online = online
        self.decay = decay
        self.register_buffer("constant", torch.zeros(()))

    def penalty(self, parameters: Iterable[Tensor]) -> Tensor:
        """The penalty at these weights, a scalar."""
        return super().penalty(parameters) + self.weight * self.constant

    @torch.no_grad()
    def end_domain(self, parameters: Iterable[Tensor], importance: Tensor) -> None:
        """Takes in a domain: its weights, and their importances [N] (`mean_squared_gradient`)."""
        weights = flat(parameters)
        if self.online:
            self.strength.mul_(self.decay).add_(importance)
            self.anchor.copy_(weights)
            return
        total = self.strength + importance
        share = torch.where(total > 0, importance / total, 0.0)
        gap = weights - self.anchor
        self.constant.add_((self.strength * share * gap * gap).sum())
        self.anchor.add_(share * gap)
        self.strength.copy_(total)


class PathGuard(Guard):
    """A guard that follows the weights from step to step.

    Attributes:
        previous: the weights before the current step [N].
    """

    previous: Tensor

    def __init__(self, num_weights: int, weight: float) -> None:
        super().__init__(num_weights, weight)
        self._vectors(num_weights, "previous")

    @abstractmethod
    def end_domain(self, parameters: Iterable[Tensor]) -> None:
        """Turns what was seen of a domain into strengths."""

    def data_gradient(self, parameters: Iterable[Tensor]) -> Tensor:
        """The step's gradient without the penalty's part, which is known in closed form [N]."""
        gradient = flat(parameter.grad for parameter in parameters if parameter.grad is not None)
        gap = self.previous - self.anchor
        return gradient - 2 * self.weight * self.scale * self.strength * gap


class SynapticIntelligence(PathGuard):
    """A weight matters by how much its way has lowered the loss, for the way it has gone.

    Zenke et al. 2017, arXiv 1703.04200, equations 3 to 5.

    Attributes:
        path: sum over the steps of a domain of gradient times change [N]; negative where the loss
            fell.
        importance: of all domains until now, before it is cut off [N].
    """

    scale = 0.5
    path: Tensor
    importance: Tensor
    start: Tensor

    def __init__(
        self,
        num_weights: int,
        weight: float,
        eps: float = 0.1,
        most: float = 0.001,
        release: bool = False,
    ) -> None:
        """`eps` is added to a squared change, `most` is the largest strength. With `release` the
        penalty's own gradient counts as the loss's, and strengths may be below zero, which pushes
        such weights away from the anchor."""
        super().__init__(num_weights, weight)
        self.eps = eps
        self.most = most
        self.release = release
        self._vectors(num_weights, "path", "importance", "start")

    @torch.no_grad()
    def start_domain(self, parameters: Iterable[Tensor]) -> None:
        """Call it before the first step on a domain."""
        weights = flat(parameters)
        self.previous.copy_(weights)
        self.start.copy_(weights)
        self.path.zero_()

    @torch.no_grad()
    def after_step(self, parameters: Iterable[Tensor]) -> None:
        """Adds the step to the path."""
        parameters = list(parameters)
        weights = flat(parameters)
        if self.release:
            gradient = flat(p.grad for p in parameters if p.grad is not None)
        else:
            gradient = self.data_gradient(parameters)
        self.path.add_(gradient * (weights - self.previous))
        self.previous.copy_(weights)

    @torch.no_grad()
    def end_domain(self, parameters: Iterable[Tensor]) -> None:
        """Turns the path into importances."""
        weights = flat(parameters)
        self.importance.sub_(self.path / ((weights - self.start) ** 2 + self.eps))
        least = None if self.release else 0.0
        self.strength.copy_(self.importance.clamp(min=least, max=self.most))
        self.anchor.copy_(weights)


class RiemannianWalk(PathGuard):
    """A weight matters by a moving average of squared gradients, and by how much the loss fell
    along its way for the distance that the average makes of it.

    Chaudhry et al. 2018, arXiv 1801.10112, equations 6 to 8. Both parts are divided by their
    largest value before they are added.

    Attributes:
        importance: moving average of squared gradients [N].
        gain: how much the loss fell since the interval began, to first order [N].
        score: sum over the domain's intervals of gain over distance [N].
        past_score: the mean of the score and the one before, halved at each domain [N].
    """

    importance: Tensor
    gain: Tensor
    score: Tensor
    past_score: Tensor
    interval_start: Tensor
    num_steps: Tensor
    num_domains: Tensor

    def __init__(
        self,
        num_weights: int,
        weight: float,
        alpha: float = 0.9,
        interval: int = 2,
    ) -> None:
        """`alpha` is the share of the newest gradient in the average, `interval` the steps between
        two updates of the score."""
        super().__init__(num_weights, weight)
        if interval < 1 or not 0 < alpha <= 1:
            raise UserError("Riemannian walk needs an interval of at least 1 and alpha in (0, 1]")
        self.alpha = alpha
        self.interval = interval
        self._vectors(num_weights, "importance", "gain", "score", "past_score", "interval_start")
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("num_domains", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def start_domain(self, parameters: Iterable[Tensor]) -> None:
        """Call it before the first step on a domain."""
        weights = flat(parameters)
        self.previous.copy_(weights)
        self.interval_start.copy_(weights)

    @torch.no_grad()
    def after_step(self, parameters: Iterable[Tensor]) -> None:
        """Moves the average and the gain, and at the end of an interval the score."""
        parameters = list(parameters)
        weights, gradient = flat(parameters), self.data_gradient(parameters)
        if self.num_steps:
            self.importance.lerp_(gradient**2, self.alpha)
        else:
            self.importance.copy_(gradient**2)
        self.gain.sub_(gradient * (weights - self.previous))
        self.previous.copy_(weights)
        self.num_steps += 1
        if self.num_steps % self.interval == 0:
            self._close_interval(weights)

    def _close_interval(self, weights: Tensor) -> None:
        eps = torch.finfo(weights.dtype).eps
        distance = 0.5 * self.importance * (weights - self.interval_start) ** 2
        self.score.add_(self.gain / (distance + eps))
        self.gain.zero_()
        self.interval_start.copy_(weights)

    @torch.no_grad()
    def end_domain(self, parameters: Iterable[Tensor]) -> None:
        """Turns averages and scores into strengths."""
        weights = flat(parameters)
        if self.num_steps % self.interval:
            self._close_interval(weights)
            self.num_steps += self.interval - self.num_steps % self.interval
        if self.num_domains:
            self.past_score.add_(self.score).mul_(0.5)
        else:
            self.past_score.copy_(self.score)
        self.score.zero_()
        self.num_domains += 1
        tiny = torch.finfo(weights.dtype).tiny
        score = self.past_score.relu()
        self.strength.copy_(
            self.importance / self.importance.max().clamp(min=tiny)
            + score / score.max().clamp(min=tiny)
        )
        self.anchor.copy_(weights)
