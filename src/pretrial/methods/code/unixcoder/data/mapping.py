"""A syntax tree as a sequence that loses nothing of it.

A leaf gives its source; an inner node gives a mark for its left end, what its children give, and a
mark for its right end. The tree can be read back from that, as it cannot from the order in which a
depth-first walk meets the nodes, which says where a node begins and never where it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from pretrial.code_views.view import Node

Order = Literal["mapping", "dfs"]


class Mark(NamedTuple):
    """One end of an inner node."""

    kind: str
    side: Literal["left", "right"]

    def __str__(self) -> str:
        """The token of the vocabulary that stands for it."""
        return f"<{self.kind}::{self.side}>"


Symbol = Mark | str


def flatten(tree: Node, order: Order = "mapping") -> Iterator[Symbol]:
    """The symbols of a tree, leaves as they stand in the source.

    Args:
        tree: its root.
        order: "mapping" is the one that can be inverted; "dfs" leaves the right ends out.
    """
    waiting: list[Node | Mark] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mark):
            yield node
        elif node.text:
            yield node.text
        else:
            yield Mark(node.kind, "left")
            if order == "mapping":
                waiting.append(Mark(node.kind, "right"))
            waiting.extend(reversed(node.children))


def unflatten(symbols: Iterable[Symbol]) -> Node:
    """The tree that `flatten` was given; the kind of a leaf, which its source tells, is "".

    Raises:
        ValueError: it is not the sequence of a tree.
    """
    root = Node("")
    path = [root]
    for symbol in symbols:
        if not isinstance(symbol, Mark):
            path[-1].children.append(Node("", symbol))
        elif symbol.side == "left":
            path.append(Node(symbol.kind))
            path[-2].children.append(path[-1])
        elif len(path) == 1 or path.pop().kind != symbol.kind:
            raise ValueError(f"{symbol} closes what is not open")
    if len(path) > 1 or len(root.children) != 1:
        raise ValueError("the sequence is of no tree, or of several")
    return root.children[0]
