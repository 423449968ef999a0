"""Comparison of values and printed text, strict and as APPS was released; and the pipe's values."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrial.sandbox import same_output, same_value
from pretrial.sandbox.inside import wire

# got, expected, strict, apps
VALUES = [
    (1, 1, True, True),
    (1, 2, False, False),
    (True, 1, True, True),
    (1.0, 1, True, True),
    (0.1 + 0.2, 0.3, True, False),
    (1.001, 1.0, False, False),
    (7.0000000001, 7, False, False),  # a float for an integer has to be equal to it
    ([500000000.5], [500000000], False, False),
    ({"a": 6.9999999999}, {"a": 7}, False, False),
    (1e23, 10**23, False, False),
    (1e22, 10**22, True, True),
    (7, 7.0000000001, True, False),
    (math.inf, 10**400, False, False),
    (math.inf, math.inf, True, True),
    (math.nan, math.nan, True, False),
    (10**400, 1.5, False, False),
    ("1", 1, False, False),
    ("a", "a", True, True),
    (None, None, True, True),
    ([1, 2], [1, 2], True, True),
    ((1, 2), [1, 2], True, True),
    ([1, 2], (1, 2), False, False),
    ([(1, 2)], [[1, 2]], True, False),
    ([(1, 2)], [[[1, 2]]], False, True),
    ([1, 2], [2, 1], False, False),
    ([1], [1, 2], False, False),
    (3, [3], False, True),
    ([0.1 + 0.2], [0.3], True, False),
    ({1, 2}, {2, 1}, True, True),
    ([1, 2], {1, 2}, False, False),
    ({1: 2}, {"1": 2}, True, True),
    ({1: [0.1 + 0.2]}, {1: [0.3]}, True, False),
    ({"a": 1}, {"a": 1}, True, True),
    ([{1: 2}], [{"1": 2}], True, True),
    ([{"1": 2}], [{"1": 2}], True, False),  # the release makes integers of the expected keys
    ({10**5000: 1}, {"1": 1}, False, False),
    (wire.Opaque("x"), wire.Opaque("x"), False, False),
]
# got, expected, strict, apps
TEXTS = [
    ("3\n", "3", True, True),
    ("3\n\n\n", "3\n", True, True),
    ("\n3\n", "3\n", False, True),
    ("1  2 \n", "1 2\n", True, True),
    ("1\n2\n", "1 2\n", False, False),
    ("1\n2\n", "2\n1\n", False, True),
    ("1 2\n", "2 1\n", False, True),
    ("1 1 2\n", "1 2\n", False, True),
    ("0.3333333333\n", "0.33333333333333\n", True, True),
    ("0.33334\n", "0.33333\n", False, True),
    ("0.300001\n", "0.3\n", False, True),
    ("x 0.3001\n", "x 0.3\n", False, False),
    ("1 0.30001\n", "1 0.3\n", False, True),
    ("100000000000000000001\n", "100000000000000000000\n", False, True),
    ("1.0\n", "1\n", True, True),
    ("1e2", "100", True, True),
    ("500000000.5", "500000000", False, True),
    ("7.0000000001", "7", False, True),
    ("7", "7.0000000001", True, True),
    # Numbers beyond floats; the release takes all of them for the same infinity.
    ("1e999", "2e999", False, True),
    ("1.0000001e999", "1e999", True, True),
    ("-1e999", "1e999", False, False),
    ("1" + "0" * 400 + ".0", "7" + "0" * 400 + ".0", False, True),
    ("1" + "0" * 400, "1" + "0" * 400 + ".0", True, True),
    ("1" + "0" * 400 + ".5", "1" + "0" * 400, False, True),
    ("1e999", "1e300", False, False),
    ("1e300", "1e999", False, False),
    ("1e-999", "2.0e-999", True, True),
    (f"1e{10**30}", f"2e{10**30}", False, True),
    (f"1e{10**30}", "2.5", False, False),
    (f"1e{10**30}", "7", False, False),
    ("yes\n", "YES\n", False, False),
    ("", "", True, True),
    ("", "3\n", False, False),
    ("nan\n", "nan\n", True, True),
]


@pytest.mark.parametrize(("got", "expected", "strict", "apps"), VALUES)
def test_values(got, expected, strict, apps):
    assert same_value(got, expected) is strict
    assert same_value(got, expected, "apps") is apps


@pytest.mark.parametrize(("got", "expected", "strict", "apps"), TEXTS)
def test_texts(got, expected, strict, apps):
    assert same_output(got, expected) is strict
    assert same_output(got, expected, "apps") is apps


KEYS = st.one_of(
    st.integers(), st.text(), st.booleans(), st.binary(), st.tuples(st.integers(), st.text())
)
PLAIN = st.recursive(
    st.one_of(KEYS, st.none(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(KEYS, inner), st.sets(KEYS)
    ),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_survive_the_pipe(value):
    assert wire.unpack(json.loads(wire.to_bytes(wire.pack(value)))) == value


@given(st.recursive(st.one_of(st.none(), st.integers(), st.text()), lambda inner: st.one_of(
    st.lists(inner), st.dictionaries(st.sampled_from("tdsibcox"), inner, max_size=1))))  # fmt: skip
def test_forged_messages_raise_nothing_unexpected(message):
    try:
        value = wire.unpack(message)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return
    same_value(value, [1, {"1": 2}])
    same_value(value, [1, {"1": 2}], "apps")


def test_subclasses_cross_as_their_base_and_strangers_as_names():
    class Liar(list):
        def __iter__(self):
            return iter([1, 2, 3])

    assert wire.unpack(wire.pack(Liar())) == []
    assert wire.unpack(wire.pack(range(3))).type_name == "range"
    endless: list = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        wire.pack(endless)
