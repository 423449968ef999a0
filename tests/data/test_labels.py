"""Labels of rows: what is one, what is none, and what is refused."""

import math

import numpy as np
import pytest
import torch

from pretrial.bases.examples import read_examples
from pretrial.data.labels import label_in, labelled
from pretrial.data.rows import Rows
from pretrial.errors import UserError


@pytest.mark.parametrize("value", [0, 1.5, False, "a", np.int64(3), np.str_("b"), torch.tensor(2)])
def test_names_and_numbers_are_labels(value):
    assert label_in(value, 0) == value
    assert hash(label_in(value, 0)) == hash(label_in(value, 1))  # tensors are one by one else


class NAType:
    """As pandas has it: a comparison with it is no answer."""

    def __ne__(self, other):
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None


@pytest.mark.parametrize("value", [None, math.nan, np.float32("nan"), "", " ", NAType()])
def test_what_is_missing_is_no_label(value):
    assert label_in(value, 0) is None


@pytest.mark.parametrize("value", [["a"], {"a": 1}, {"a"}, np.arange(2), torch.arange(2)])
def test_several_labels_are_refused(value):
    with pytest.raises(UserError, match=r"'kind' of row 7 is a .*: give each row one label"):
        label_in(value, 7, "kind")


def test_rows_without_a_label_are_left_out_and_the_others_keep_their_number():
    rows = Rows([{"label": None}, {"label": "a"}, {}, {"label": 0}], numbers=[4, 5, 6, 9])
    kept, labels = labelled(rows)
    assert (list(kept), labels, kept.numbers) == ([rows[1], rows[3]], ["a", 0], [5, 9])
    with pytest.raises(UserError, match="no row has a label: 'label' is empty in all 2"):
        labelled([{"label": None}, {"label": math.nan}])
    with pytest.raises(UserError, match="--fields label=lable"):
        labelled([{"text": "a", "lable": 1}])
    with pytest.raises(UserError, match="no field 'label'"):
        labelled(["a", "b"])


def test_methods_that_fine_tune_read_labels_in_the_same_way():
    found = read_examples([{"text": "a", "label": math.nan}, {"text": "b", "label": 0}], ("text",))
    assert [each.label for each in found] == [None, 0]
    with pytest.raises(UserError, match="'label' of row 0 is a list"):
        read_examples([{"text": "a", "label": ["x", "y"]}], ("text",))
