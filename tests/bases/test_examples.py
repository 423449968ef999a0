"""Examples of one field of several."""

import pytest

from pretrial.bases.examples import Example, as_examples, read_examples
from pretrial.errors import UserError


def test_the_first_field_that_a_row_has_is_read():
    rows = [{"text": "a", "image": None, "label": 1}, {"image": [[0.5]], "path": "b.png"}]
    assert read_examples(rows, ("image", "text")) == [
        Example("a", "text", 1, "row 0"),
        Example([[0.5]], "image", None, "b.png"),
    ]


def test_what_is_wrong_is_named():
    with pytest.raises(UserError, match=r"neither 'image' nor 'text' \(found: body\).*text=OTHER"):
        read_examples([{"body": 1}], ("image", "text"))
    with pytest.raises(UserError, match="'text' of row 0 is a int"):
        read_examples([{"text": 1}], ("image", "text"))
    with pytest.raises(UserError, match=r"b is of the field 'text' .*: set --input text"):
        as_examples([Example("a", "text", name="b")], "image")


def test_bare_contents_are_examples_too():
    known = Example("a", "text")
    assert as_examples([known, "b"], "text") == [known, Example("b", "text", name="item 1")]
