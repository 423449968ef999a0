"""What crosses the pipes: frames, and plain values as JSON. Shared by the host and the worker.

A frame is one byte of kind, four bytes of length and the payload. Values cross as JSON with a tag
for what JSON lacks, so that reading one can build nothing but the types named in `pack`.
"""

from __future__ import annotations

import decimal
import fractions
import json
import numbers
import operator
import os
import struct
from typing import Any

HEAD = struct.Struct(">cI")
MAX_DEPTH = 100
SHOWN = "__shown__"  # the function by which an assert script shows a value of the program


class Opaque:
    """Stands for a value of a type that does not cross. Equal to nothing, itself included."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


def send(fd: int, kind: bytes, payload: bytes) -> None:
    """Write one frame whole."""
    write_all(fd, HEAD.pack(kind, len(payload)) + payload)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however little the pipe takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int) -> tuple[bytes, bytes]:
    """Read one frame, blocking.

    Raises:
        EOFError: the other side closed the pipe.
    """
    kind, length = HEAD.unpack(_exactly(fd, HEAD.size))
    return kind, _exactly(fd, length)


def _exactly(fd: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = os.read(fd, min(length - len(data), 1 << 20))
        if not piece:
            raise EOFError("the pipe was closed")
        data += piece
    return bytes(data)


def pack(value: Any, depth: int = 0) -> Any:
    """The JSON form of a plain value.

    Subclasses are read through the methods of their base class, so that an overridden `__iter__` or
    `__eq__` has no say. Any other type becomes a tag with its name, which equals nothing.

    Raises:
        RecursionError: the value is nested deeper than MAX_DEPTH, or holds itself.
    """
    if depth > MAX_DEPTH:
        raise RecursionError(f"the value is nested deeper than {MAX_DEPTH}")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__pos__(value)
        # Python refuses to print or read decimal integers of more than 4,300 digits; hex has no
        # limit.
        return number if -(1 << 64) < number < 1 << 64 else {"i": hex(number)}
    if isinstance(value, float):
        return float.__pos__(value)
    if isinstance(value, list):
        return [pack(item, depth + 1) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"t": [pack(item, depth + 1) for item in tuple.__iter__(value)]}
    if isinstance(value, dict):
        pairs = dict.items(value)
        return {"d": [[pack(key, depth + 1), pack(item, depth + 1)] for key, item in pairs]}
    if isinstance(value, set):
        return {"s": [pack(item, depth + 1) for item in set.__iter__(value)]}
    if isinstance(value, frozenset):
        return {"z": [pack(item, depth + 1) for item in frozenset.__iter__(value)]}
    if isinstance(value, bytes):
        return {"b": bytes.hex(value)}
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    return _pack_number(value) or {"o": type(value).__name__}


def _pack_number(value: Any) -> Any:
    """The form of a number of another type, such as numpy's or `Fraction`, and of what is as plain.

    They are equal to plain values in Python, and so they are here. None for anything else.
    """
    if isinstance(value, bytearray):
        return {"b": bytes(value).hex()}
    if isinstance(value, numbers.Integral):
        return {"i": hex(operator.index(value))}
    if isinstance(value, numbers.Rational):
        return {"q": [hex(value.numerator), hex(value.denominator)]}
    if isinstance(value, numbers.Real):
        return {"f": float(value)}
    if isinstance(value, decimal.Decimal):
        return {"n": str(value)}
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool_", "bool"):
        return {"i": hex(bool(value))}
    return None


def unpack(data: Any) -> Any:
    """The value of a JSON form made by `pack`.

    Raises:
        ValueError, TypeError: `data` is not such a form; it may come from a hostile program.
    """
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return [unpack(item) for item in data]
    if not isinstance(data, dict) or len(data) != 1:
        raise ValueError("not a packed value")
    [(tag, body)] = data.items()
    if tag == "t":
        return tuple(unpack(item) for item in body)
    if tag == "d":
        return {unpack(key): unpack(item) for key, item in body}
    if tag == "s":
        return {unpack(item) for item in body}
    if tag == "z":
        return frozenset(unpack(item) for item in body)
    if tag == "i":
        return int(body, 16)
    if tag == "f":
        return float(body)
    if tag in ("q", "n"):
        return _unpack_number(tag, body)
    if tag == "b":
        return bytes.fromhex(body)
    if tag == "c":
        return complex(*body)
    if tag == "o":
        return Opaque(str(body))
    raise ValueError(f"unknown tag {tag!r}")


def _unpack_number(tag: str, body: Any) -> fractions.Fraction | decimal.Decimal:
    try:
        if tag == "n":
            return decimal.Decimal(str(body))
        numerator, denominator = body
        return fractions.Fraction(int(numerator, 16), int(denominator, 16))
    except ArithmeticError as error:  # no number, or zero as the denominator
        raise ValueError(f"not a number: {body!r}"[:80]) from error


def to_bytes(message: Any) -> bytes:
    """JSON as bytes."""
    return json.dumps(message, separators=(",", ":")).encode()
