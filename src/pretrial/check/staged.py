"""Checks of each stage on its own, untrained."""

from __future__ import annotations

import copy
import math

import torch

from pretrial.check.contract import (
    ContractError,
    Part,
    Subject,
    explained,
    generator,
    gradients,
    require,
)
from pretrial.train.checkpoint import frozen_prefixes


def stages_have_names_of_their_own(subject: Subject) -> None:
    """There is a stage, and no two have one name."""
    names = [part.name for part in subject.parts]
    require(names, "`stages` yields nothing: yield a Stage, or leave the default")
    require(len(set(names)) == len(names), f"two stages have one name ({names}): rename one")


def losses_are_named_scalars_and_counts_are_floats(subject: Subject) -> None:
    """`batch` counts, and `losses` gives finite scalars."""
    for part in subject.parts:
        where = f"stage {part.name!r}: "
        batch = part.module.batch(part.examples, generator())
        counts = batch.get("counts", {})
        require(
            counts.get("examples") == len(part.examples),
            where + 'batch["counts"]["examples"] must be the number of examples as a float',
        )
        for name, count in counts.items():
            whole = f'batch["counts"][{name!r}] is a {type(count).__name__}: make it a float'
            require(type(count) is float, where + whole)
        losses = part.module.losses(batch)
        require("loss" in losses, where + 'losses() gives no "loss": name what is minimised so')
        for name, value in losses.items():
            require(value.ndim == 0, f"{where}the loss {name!r} has axes: give a scalar")
            number = float(value.detach())
            mend = f"{where}the loss {name!r} is {number}: look for log(0) or 0/0"
            require(math.isfinite(number), mend)


def every_trainable_parameter_gets_a_gradient(subject: Subject) -> None:
    """And no frozen one does."""
    for part in subject.parts:
        module = copy.deepcopy(part.module)
        module.losses(module.batch(part.examples, generator()))["loss"].backward()
        frozen = frozen_prefixes(module)
        for name, parameter in module.named_parameters():
            where = f"stage {part.name!r}: {name} "
            if name.startswith(frozen) or not parameter.requires_grad:
                mend = "is frozen and gets a gradient: use it under torch.no_grad()"
                require(parameter.grad is None, where + mend)
                continue
            mend = (
                "gets no gradient: let the loss depend on it, leave it out, or put it into"
                " self.frozen if it is not to be trained"
            )
            require(parameter.grad is not None, where + mend)
            assert parameter.grad is not None
            finite = torch.isfinite(parameter.grad).all()
            require(finite, where + "gets a gradient that is not finite: look for a division by 0")
        moved = any(grad.any() for grad in gradients(module).values())
        require(moved, f"stage {part.name!r}: all gradients are 0: let the loss depend on weights")


def loss_falls_on_one_batch(subject: Subject) -> None:
    """Fifteen steps of Adam lower it."""
    for part in subject.parts:
        module = copy.deepcopy(part.module)
        batch = module.batch(part.examples, generator())
        optimizer = torch.optim.Adam((p for p in module.parameters() if p.requires_grad), lr=2e-3)
        seen = []
        for _ in range(15):
            torch.manual_seed(0)
            loss = module.losses(batch)["loss"]
            seen.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        require(
            min(seen[-3:]) < seen[0] - 1e-3 * abs(seen[0]),
            f"stage {part.name!r}: on one batch the loss goes from {seen[0]:.4g} to {seen[-1]:.4g}"
            " in 15 steps of Adam: look at its sign, and at what it depends on",
        )


def four_micro_batches_equal_the_batch(subject: Subject) -> None:
    """Losses and gradients of the parts add up, unless the loss compares examples."""
    for part in subject.parts:
        if not part.module.compares_examples:  # else the loop refuses micro-batches
            _add_up(part)


def _add_up(part: Part) -> None:
    kind = type(part.module).__name__
    mend = (
        f"stage {part.name!r}: four micro-batches do not equal the batch: divide the sums in"
        ' losses() by batch["counts"] alone; or, where the loss of an example depends on the others'
        " of its batch, as with in-batch negatives, set compares_examples: ClassVar[bool] = True in"
        f" {kind}"
    )
    whole, split = copy.deepcopy(part.module), copy.deepcopy(part.module)
    batch = whole.batch(part.examples, generator())
    loss = whole.losses(batch)["loss"]
    loss.backward()
    source = generator()  # goes on from one micro-batch to the next
    size = math.ceil(len(part.examples) / 4)
    pieces = [
        split.batch(part.examples[start : start + size], source)
        for start in range(0, len(part.examples), size)
    ]
    counts = {name: sum(p["counts"][name] for p in pieces) for name in batch["counts"]}
    require(counts == batch["counts"], f"{mend} (counts {counts}, not {batch['counts']})")
    total = 0.0
    for piece in pieces:
        value = split.losses({**piece, "counts": counts})["loss"]
        value.backward()
        total += float(value.detach())
    wanted = float(loss.detach())
    near = abs(total - wanted) <= max(1e-5, 1e-4 * abs(wanted))
    require(near, f"{mend} (losses {total:.6g}, not {wanted:.6g})")
    expected = gradients(whole)
    for name, grad in gradients(split).items():
        if name not in expected:
            raise ContractError(f"{mend} ({name} has a gradient in the parts alone)")
        with explained(f"{mend} (the gradients of {name} differ)"):
            torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-5)
