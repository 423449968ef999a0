"""Penalties of continual learning: closed forms, avalanche's numbers, state in buffers."""

import pytest
import torch
from torch import nn

from pretrial.errors import UserError
from pretrial.objectives.continual import (
    EWC,
    RiemannianWalk,
    SynapticIntelligence,
    flat,
    mean_squared_gradient,
    num_weights,
)

# Losses at each of the 8 steps of the second and third domain, by the plug-ins of avalanche-lib
# 0.6.0 (MIT), called in the order of its SGD template on `net`, `domain` and `learn` below, with
# SGD at 0.1: EWCPlugin(5), EWCPlugin(5, "online", 0.5), SynapticIntelligencePlugin(1000, eps=0.1),
# RWalkPlugin(0.1, 0.9, 2). On a CPU the third keeps views of the live weights, sees no change and
# does nothing; its numbers are with copies, as it makes them from a GPU.
AVALANCHE = {
    "naive": (
        *(1.1944985, 1.0631503, 1.078616, 1.2441145, 1.1945629, 0.9921505, 1.0182902, 1.2520469),
        *(1.3189203, 1.189387, 1.0724441, 0.9673438, 0.8820002, 0.798182, 0.7237742, 0.6576039),
    ),
    "ewc": (
        *(1.1944985, 1.0634997, 1.0793217, 1.2438184, 1.1973369, 0.9961144, 1.0212762, 1.2508274),
        *(1.3222315, 1.1941245, 1.0824525, 0.9853118, 0.9095875, 0.8363, 0.7727811, 0.7174857),
    ),
    "online": (
        *(1.1944985, 1.0634997, 1.0793217, 1.2438184, 1.1973369, 0.9961144, 1.0212762, 1.2508274),
        *(1.3202447, 1.1915573, 1.0785106, 0.9794562, 0.9014778, 0.825793, 0.7598473, 0.7021725),
    ),
    "si": (
        *(1.1944985, 1.0687749, 1.08383, 1.2334782, 1.2289011, 1.0271846, 1.0361456, 1.2311226),
        *(1.3416023, 1.2172562, 1.1268191, 1.0612166, 1.0218673, 0.9870806, 0.9616564, 0.9428912),
    ),
    "rwalk": (
        *(1.1944985, 1.0636356, 1.0794212, 1.2434257, 1.1980929, 0.9969195, 1.0216538, 1.2497542),
        *(1.3196903, 1.190693, 1.075973, 0.9743687, 0.8933418, 0.8144038, 0.7451946, 0.6843747),
    ),
}


def wave(*shape, step):
    """Numbers between -1 and 1 that no random generator is asked for."""
    count = torch.Size(shape).numel()
    return torch.sin(torch.arange(1, count + 1, dtype=torch.double) * step).float().view(shape)


def net():
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        for place, parameter in enumerate(network.parameters()):
            parameter.copy_(0.5 * wave(*parameter.shape, step=1.0 + place))
    return network


def domain(number):
    """Four batches of six."""
    inputs = wave(24, 4, step=0.7 + 0.3 * number)
    targets = torch.arange(24) * (number + 1) % 3
    return list(zip(inputs.split(6), targets.split(6), strict=True))


def make_guard(name, network, weight=None):
    count = num_weights(network.parameters())
    made = {
        "naive": lambda: None,
        "ewc": lambda: EWC(count, 5.0 if weight is None else weight),
        "online": lambda: EWC(count, 5.0, online=True, decay=0.5),
        "si": lambda: SynapticIntelligence(
            count, 1000.0 if weight is None else weight, eps=0.1, release=True
        ),
        "rwalk": lambda: RiemannianWalk(count, 0.1 if weight is None else weight),
    }
    return made[name]()


def learn(network, guard, number, steps=8):
    """Trains on a domain; the losses before each step."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    batches, seen = domain(number), []
    if guard is not None:
        guard.start_domain(network.parameters())
    for step in range(steps):
        inputs, targets = batches[step % 4]
        loss = nn.functional.cross_entropy(network(inputs), targets)
        if guard is not None:
            loss = loss + guard.penalty(network.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if guard is not None:
            guard.after_step(network.parameters())
        seen.append(float(loss.detach()))
    return seen


def end(network, guard, number):
    if isinstance(guard, EWC):
        losses = (nn.functional.cross_entropy(network(x), y) for x, y in domain(number))
        guard.end_domain(network.parameters(), mean_squared_gradient(losses, network.parameters()))
    elif guard is not None:
        guard.end_domain(network.parameters())


@pytest.mark.parametrize("name", AVALANCHE)
def test_losses_are_those_of_avalanche(name):
    network = net()
    guard = make_guard(name, network)
    seen = []
    for number in range(3):
        seen += learn(network, guard, number)
        end(network, guard, number)
    assert seen[8:] == pytest.approx(AVALANCHE[name], abs=1e-5)


# -- EWC ------------------------------------------------------------------------------------------


def test_ewc_is_the_closed_form_on_a_quadratic():
    # loss of example i: (w - t_i)^2 / 2 has the gradient w - t_i
    weights = nn.Parameter(torch.tensor([1.0, -2.0]))
    targets = torch.tensor([[0.0, 0.0], [2.0, 1.0], [4.0, -4.0]])
    losses = (0.5 * ((weights - target) ** 2).sum() for target in targets)
    importance = mean_squared_gradient(losses, [weights])
    expected = ((weights.detach() - targets) ** 2).mean(0)
    torch.testing.assert_close(importance, expected)
    guard = EWC(2, weight=0.3)
    guard.end_domain([weights], importance)
    moved = nn.Parameter(torch.tensor([2.0, 1.0]))
    penalty = guard.penalty([moved])
    gap = (moved - weights).detach()
    torch.testing.assert_close(penalty.detach(), 0.3 * (expected * gap**2).sum())
    penalty.backward()
    torch.testing.assert_close(moved.grad, 2 * 0.3 * expected * gap)


def test_two_vectors_hold_the_penalties_of_many_domains():
    generator = torch.Generator().manual_seed(0)
    guard = EWC(50, weight=0.7)
    kept = []
    for _ in range(5):
        weights = torch.randn(50, generator=generator)
        importance = torch.rand(50, generator=generator) ** 4
        importance[::7] = 0
        guard.end_domain([weights], importance)
        kept.append((weights, importance))
    point = torch.randn(50, generator=generator).requires_grad_()
    separate = 0.7 * sum((imp * (point - weights) ** 2).sum() for weights, imp in kept)
    together = guard.penalty([point])
    torch.testing.assert_close(together, separate, rtol=1e-5, atol=1e-5)
    (one,) = torch.autograd.grad(separate, point)
    (other,) = torch.autograd.grad(together, point)
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)


def test_importance_of_batches_loses_what_cancels_out():
    weights = nn.Parameter(torch.zeros(1))
    targets = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    of_examples = mean_squared_gradient(
        ((weights - t).pow(2).sum() / 2 for t in targets), [weights]
    )
    batches = targets.view(2, 2)
    of_batches = mean_squared_gradient(
        ((weights - batch).pow(2).mean() / 2 for batch in batches), [weights]
    )
    assert of_examples == 1
    assert of_batches == 0


# -- the paths ------------------------------------------------------------------------------------


def test_a_path_of_small_steps_adds_up_to_the_fall_of_the_loss():
    weights = nn.Parameter(torch.tensor([3.0, -1.0]))
    guard = SynapticIntelligence(2, weight=1.0, eps=0.0, most=1e9)
    guard.start_domain([weights])
    curvature = torch.tensor([1.0, 0.1])
    start = float((0.5 * curvature * weights.detach() ** 2).sum())
    for _ in range(2000):
        weights.grad = (curvature * weights).detach()
        with torch.no_grad():
            weights -= 1e-3 * weights.grad
        guard.after_step([weights])
    fell = start - float((0.5 * curvature * weights.detach() ** 2).sum())
    assert float(-guard.path.sum()) == pytest.approx(fell, rel=1e-2)
    travelled = (weights.detach() - torch.tensor([3.0, -1.0])) ** 2
    guard.end_domain([weights])
    torch.testing.assert_close(guard.strength, -guard.path / travelled)


@pytest.mark.parametrize("name", ["si", "rwalk"])
def test_the_gradient_read_is_that_of_the_data(name):
    network = net()
    guard = make_guard(name, network)
    learn(network, guard, 0)
    end(network, guard, 0)
    learn(network, guard, 1, steps=2)
    inputs, targets = domain(1)[0]
    parameters = list(network.parameters())
    data = nn.functional.cross_entropy(network(inputs), targets)
    alone = flat(torch.autograd.grad(data, parameters, retain_graph=True))
    network.zero_grad()
    (data + guard.penalty(parameters)).backward()
    assert not torch.allclose(flat(p.grad for p in parameters) - alone, torch.zeros(()), atol=1e-3)
    torch.testing.assert_close(guard.data_gradient(parameters), alone, rtol=1e-4, atol=1e-6)


def test_strengths_are_not_negative_unless_released():
    for release in (False, True):
        guard = SynapticIntelligence(1, weight=1.0, release=release)
        weights = nn.Parameter(torch.zeros(1))
        guard.start_domain([weights])
        weights.grad = torch.ones(1)
        with torch.no_grad():
            weights += 1.0  # uphill
        guard.after_step([weights])
        guard.end_domain([weights])
        assert (float(guard.strength) < 0) is release


def test_the_last_short_interval_of_a_walk_counts():
    network = net()
    guard = make_guard("rwalk", network)
    learn(network, guard, 0, steps=3)
    before = guard.score.clone()
    assert guard.gain.any()
    guard.end_domain(network.parameters())
    assert not guard.gain.any()
    assert not torch.equal(guard.past_score, before)
    assert float(guard.strength.max()) <= 2


# -- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ewc", "si", "rwalk"])
def test_a_weight_of_zero_changes_no_bit(name):
    plain, guarded = net(), net()
    guard = make_guard(name, guarded, weight=0.0)
    for number in range(3):
        assert learn(plain, None, number) == learn(guarded, guard, number)
        end(guarded, guard, number)
        assert guard.strength.any()
    assert torch.equal(flat(plain.parameters()), flat(guarded.parameters()))


@pytest.mark.parametrize("name", ["ewc", "online", "si", "rwalk"])
def test_the_whole_state_lies_in_buffers(name):
    network = net()
    guard = make_guard(name, network)
    learn(network, guard, 0)
    end(network, guard, 0)
    learn(network, guard, 1, steps=3)
    copy, other = net(), make_guard(name, network)
    copy.load_state_dict(network.state_dict())
    other.load_state_dict(guard.state_dict())
    for one, its_guard in ((network, guard), (copy, other)):
        inputs, targets = domain(1)[3]
        loss = nn.functional.cross_entropy(one(inputs), targets) + its_guard.penalty(
            one.parameters()
        )
        one.zero_grad()
        loss.backward()
        torch.optim.SGD(one.parameters(), lr=0.1).step()
        its_guard.after_step(one.parameters())
        end(one, its_guard, 1)
    for key, tensor in guard.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key]), key


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="at least 0"):
        EWC(3, -1.0)
    with pytest.raises(UserError, match="interval"):
        RiemannianWalk(3, 1.0, interval=0)
    with pytest.raises(UserError, match="example"):
        mean_squared_gradient([], [nn.Parameter(torch.zeros(1))])
