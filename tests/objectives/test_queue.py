"""The queue of keys: first in, first out, and as it was after a resume."""

from __future__ import annotations

import copy

import pytest
import torch

from pretrial.objectives.queue import KeyQueue


def filled(queue, *batches):
    for batch in batches:
        queue.hold(batch)
        queue.push()
    return queue


def test_after_k_steps_it_holds_exactly_the_last_batches():
    batches = [torch.full((2, 3), float(number)) for number in range(1, 8)]
    queue = filled(KeyQueue(6, 3), *batches)
    assert sorted(queue.keys[:, 0].tolist()) == [5.0, 5.0, 6.0, 6.0, 7.0, 7.0]
    assert queue.is_filled.all()


def test_sizes_that_do_not_divide_and_batches_that_are_larger():
    rows = torch.arange(1.0, 12.0)[:, None]
    queue = filled(KeyQueue(4, 1), rows[:3], rows[3:6], rows[6:9])
    assert sorted(queue.keys.flatten().tolist()) == [6.0, 7.0, 8.0, 9.0]
    assert sorted(filled(KeyQueue(4, 1), rows).keys.flatten().tolist()) == [8.0, 9.0, 10.0, 11.0]


def test_only_what_was_pushed_is_real():
    queue = KeyQueue(5, 2)
    assert not queue.is_filled.any()
    filled(queue, torch.ones(2, 2))
    assert queue.is_filled.tolist() == [True, True, False, False, False]


def test_ids_travel_with_their_keys_cut_or_padded():
    queue = KeyQueue(4, 1, num_ids=3, pad_id=9)
    queue.hold(torch.ones(2, 1), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]))
    queue.push()
    queue.hold(torch.ones(3, 1), torch.tensor([[1], [2], [3]]))
    queue.push()
    assert queue.ids.tolist() == [[3, 9, 9], [5, 6, 7], [1, 9, 9], [2, 9, 9]]


def test_nothing_is_held_outside_training_and_pushed_twice():
    queue = KeyQueue(4, 1)
    filled(queue.eval(), torch.ones(2, 1))
    assert int(queue.num_pushed) == 0
    filled(queue.train(), torch.ones(2, 1)).push()
    assert int(queue.num_pushed) == 2


def test_what_is_held_carries_no_gradient():
    queue = KeyQueue(2, 1)
    keys = torch.ones(2, 1, requires_grad=True)
    filled(queue, keys * 2)
    assert not queue.keys.requires_grad


@pytest.mark.parametrize("steps", [1, 3])
def test_its_state_is_all_there_is(steps):
    batches = torch.randn(6, 3, 2)
    queue = filled(KeyQueue(7, 2), *batches[:steps])
    again = KeyQueue(7, 2)
    again.load_state_dict(copy.deepcopy(queue.state_dict()))
    filled(queue, *batches[steps:])
    filled(again, *batches[steps:])
    assert torch.equal(queue.keys, again.keys)
