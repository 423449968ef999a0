"""Anything may come in the files and texts of others: it is read, or refused in one sentence."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

_PATH = Path(__file__).parents[1] / "bench" / "fuzz.py"
_SPEC = importlib.util.spec_from_file_location("fuzz_targets", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
fuzz = importlib.util.module_from_spec(_SPEC)
sys.modules["fuzz_targets"] = fuzz
_SPEC.loader.exec_module(fuzz)

SLOW = {"run", "options", "config", "record"}  # with work beside the reading
PIECES = [
    b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"\n", b"\r\n", b"\t", b"\0", b"\xff",
    b"\xef\xbb\xbf", b"NaN", b"Infinity", b"-0", b"1e999", b"null", b"true", b"9" * 5000,
    b"\\ud800", "\u2028".encode(), b"[" * 3000, b'{"a":' * 3000, b"(" * 300, b"-" * 300,
    b"def f(", b">>> add(", b"==", b"'''", b"{}", b'""', b"{1: [}", b"add(*a, **b) == 1",
]  # fmt: skip

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, seed: bytes) -> bytes:
    """A good input, with a few of its parts cut, repeated or replaced."""
    content = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        new = draw(
            st.sampled_from(PIECES) | st.binary(max_size=6) | st.just(content[start:end] * 2)
        )
        content = content[:start] + new + content[end:]
    return content


@st.composite
def revalued(draw: st.DrawFn, seed: bytes) -> bytes:
    """A good input of JSON lines, with other values in it."""
    lines = []
    for line in seed.split(b"\n"):
        try:
            lines.append(json.dumps(draw(changed(json.loads(line)))).encode())
        except ValueError:
            lines.append(line)
    return b"\n".join(lines)


@st.composite
def changed(draw: st.DrawFn, value: object) -> object:
    """A value with one part of it, or the whole, put otherwise or left out."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 5)):
        places = list(value) if isinstance(value, dict) else range(len(value))
        place = draw(st.sampled_from(list(places)))
        copy = value.copy()
        if draw(st.integers(0, 4)):
            copy[place] = draw(changed(value[place]))
        else:
            del copy[place]
        return copy
    return draw(values)


# The seeds of these two are only the beginnings of a good input.
@pytest.mark.parametrize("name", sorted(fuzz.TARGETS.keys() - {"parquet", "record"}))
def test_a_good_input_is_read(name):
    fuzz.TARGETS[name].read(fuzz.TARGETS[name].seed)


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_anything_is_read_or_refused(name):
    seed = fuzz.TARGETS[name].seed

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=25 if name in SLOW else 80,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(seed) | revalued(seed))
    @example(b"")
    @example(b"\xff\xfe\x00")
    @example(b"[" * 100_000)
    @example(b"[]")
    @example(b"{}")
    @example(b"null")
    @example(b'"text"')
    def read(content: bytes) -> None:
        fuzz.feed(name, content)

    read()
