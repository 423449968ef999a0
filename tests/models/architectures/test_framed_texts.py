"""Texts in a frame: where they stand, and what is left for them."""

import numpy as np
import pytest
import torch

from pretrial.errors import UserError
from pretrial.models.architectures.framed_texts import Frame, prompt_states

FRAME = Frame([1, 7], [8, 2])


def test_a_text_stands_inside_its_frame():
    assert FRAME.around([[5, 6], []]) == [[1, 7, 5, 6, 8, 2], [1, 7, 8, 2]]
    inside = FRAME.inside(np.array([6, 4]), 6)
    assert inside.tolist() == [[False, False, True, True, False, False], [False] * 6]


def test_a_frame_that_leaves_no_room_is_refused():
    assert FRAME.room(5) == 1
    with pytest.raises(UserError, match="4 tokens stand around each text: set max_length to more"):
        FRAME.room(4)


def test_the_state_before_the_end_token_is_read():
    states = torch.arange(12.0).view(2, 6, 1)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    assert prompt_states(states, mask).tolist() == [[4.0], [8.0]]
