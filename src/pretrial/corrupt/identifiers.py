"""Identifier masking: every name in a piece of code becomes a sentinel of its own (CodeT5).

All occurrences of a name share its sentinel, and names that stand side by side are not merged. What
is left is the code's structure without its names, as in obfuscated programs; the labels say which
name each sentinel stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Spans = Sequence[tuple[int, int]]


def mask_identifiers(
    text: str,
    identifiers: Mapping[str, Spans],
    sentinels: Sequence[int],
    encode: Callable[[list[str]], Sequence[Sequence[int]]],
    *,
    eos: int | None = None,
    max_length: int | None = None,
) -> tuple[list[int], list[int]]:
    """Masks every identifier of a text.

    From `x = y + x` come the inputs `S0 = S1 + S0` and the labels `S0 x S1 y`. The stretches
    between names are encoded one by one: a name leaves no trace in the inputs, so renaming it
    changes nothing but the labels. Putting the names of the labels back in the place of their
    sentinels gives the text.

    Args:
        text: the code.
        identifiers: (start, end) of all occurrences of each name, in characters, names in the order
            of their first use; see `code_views.View.identifiers`.
        sentinels: ids of the sentinels, in order of use. Names beyond their number stay as they
            are.
        encode: token ids of each of several strings, without special tokens.
        eos: closes both inputs and labels when given.
        max_length: most tokens of the inputs without `eos`; the rest is cut off, and with it the
            labels of names that are not seen any more.

    Returns:
        Inputs and labels, as lists of ids; the labels are empty, but for `eos`, where there is no
        name.
    """
    names = list(identifiers)[: len(sentinels)]
    places = sorted(
        (start, end, number)
        for number, name in enumerate(names)
        for start, end in identifiers[name]
    )
    between, done = [], 0
    for start, end, _ in places:
        between.append(text[done:start])
        done = end
    encoded = encode([*between, text[done:], *names])
    inputs: list[int] = []
    for ids, (_, _, number) in zip(encoded, places, strict=False):
        inputs += [*ids, sentinels[number]]
    inputs = [*inputs, *encoded[len(places)]][:max_length]
    seen = set(inputs)
    labels: list[int] = []
    for sentinel, ids in zip(sentinels, encoded[len(places) + 1 :], strict=False):
        if sentinel in seen:
            labels += [sentinel, *ids]
    ending = [] if eos is None else [eos]
    return inputs + ending, labels + ending
