"""The mapping of syntax trees: nothing is lost, and what it is written between."""

import numpy as np
import pytest

from pretrial.code_views import Node, view
from pretrial.data.builtin.stdlib import stdlib_code
from pretrial.methods.code.unixcoder.data.fragments import Fragment
from pretrial.methods.code.unixcoder.data.mapping import Mark, flatten, unflatten
from pretrial.methods.code.unixcoder.data.vocabulary import Vocabulary, learn_vocabulary

CODE = "def f(a, b):\n    if a > b:\n        return a\n    return [b]\n"


def bare(node):
    """A tree without what the source tells, the kinds of its leaves."""
    if node.text:
        return node.text
    return (node.kind, *map(bare, node.children))


@pytest.fixture(scope="module")
def vocabulary():
    kinds = {symbol.kind for symbol in flatten(view(CODE).tree()) if isinstance(symbol, Mark)}
    return Vocabulary(learn_vocabulary([CODE] * 5, kinds, 700))


def test_a_tree_comes_back_from_its_sequence_for_five_thousand_functions():
    seen = {}
    for row in stdlib_code()[:5000]:
        tree = view(row["code"]).tree()
        symbols = tuple(flatten(tree))
        assert bare(unflatten(symbols)) == bare(tree)
        # equal sequences are of equal trees
        assert seen.setdefault(symbols, bare(tree)) == bare(tree)
    assert len(seen) > 4500


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("java", "int f(int a) {\n  return a + 1;\n}\n"),
        ("go", "func f(a int) int {\n\treturn a + 1\n}\n"),
        ("ruby", "def f(a)\n  a + 1\nend\n"),
    ],
)
def test_trees_of_other_languages_come_back_and_hold_the_whole_text(language, code):
    pytest.importorskip(f"tree_sitter_{language}")
    tree = view(code, language).tree()
    symbols = list(flatten(tree))
    assert bare(unflatten(symbols)) == bare(tree)
    assert any(isinstance(symbol, Mark) for symbol in symbols[1:-1])
    leaves = "".join(symbol for symbol in symbols if not isinstance(symbol, Mark))
    assert "".join(leaves.split()) == "".join(code.split())


def test_depth_first_order_confuses_trees_that_the_mapping_tells_apart():
    x, y = Node("name", "x"), Node("name", "y")
    one = Node("call", children=[Node("args", children=[x]), y])
    other = Node("call", children=[Node("args", children=[x, y])])
    assert list(flatten(one, "dfs")) == list(flatten(other, "dfs"))
    assert list(flatten(one)) != list(flatten(other))


def test_a_node_has_its_two_ends_and_a_leaf_its_source():
    tree = Node("call", children=[Node("name", "f"), Node("args", children=[Node("op", "()")])])
    marks = [str(symbol) for symbol in flatten(tree)]
    assert marks == ["<call::left>", "f", "<args::left>", "()", "<args::right>", "<call::right>"]


def test_an_empty_inner_node_comes_back():
    tree = Node("call", children=[Node("args")])
    assert bare(unflatten(flatten(tree))) == ("call", ("args",))


@pytest.mark.parametrize(
    "symbols",
    [
        [],
        ["x"],
        [Mark("a", "left")],
        [Mark("a", "right")],
        [Mark("a", "left"), Mark("b", "right")],
        [Mark("a", "left"), Mark("a", "right")] * 2,
    ],
)
def test_what_is_no_tree_is_refused(symbols):
    if symbols == ["x"]:
        assert bare(unflatten(symbols)) == "x"
        return
    with pytest.raises(ValueError, match=r"closes|of no tree"):
        unflatten(symbols)


def test_a_deep_tree_does_not_overflow():
    tree = Node("n", "x")
    for _ in range(5000):
        tree = Node("n", children=[tree])
    assert len(list(flatten(tree))) == 10_001
    unflatten(flatten(tree))


def test_marks_stand_between_the_sub_words_of_the_text(vocabulary):
    symbols = list(flatten(view(CODE).tree()))
    ids = vocabulary.ids_with_marks(CODE, symbols)
    text = vocabulary.without_marks(np.array(ids))
    assert text.tolist() == vocabulary.ids_of(CODE)
    marks = [place for place in ids if vocabulary.is_mark[place]]
    assert marks == [vocabulary.marks[s] for s in symbols if isinstance(s, Mark)]
    # the name of the function stands inside the function and before its first argument
    tokens = vocabulary.tokenizer.convert_ids_to_tokens(ids)
    start, argument = tokens.index("<FunctionDef::left>"), tokens.index("<arg::left>")
    assert vocabulary.text_of(ids[start:argument]) == "def f("


def test_marks_that_the_vocabulary_lacks_are_left_out(vocabulary):
    symbols = [Mark("Unheard", "left"), "x", Mark("Unheard", "right")]
    assert vocabulary.ids_with_marks("x", symbols) == vocabulary.ids_of("x")


def test_text_that_looks_like_a_special_token_is_text(vocabulary):
    for text in ("</s>", "<mask0>", "<encoder-only>", "<Call::left>"):
        ids = vocabulary.ids_of(text)
        assert len(ids) > 1
        assert vocabulary.text_of(ids) == text
    assert vocabulary.ids_with_masks("a <mask0> b").count(vocabulary.masks[0]) == 1


def test_a_line_of_megabytes_is_read_as_far_as_a_sequence_can_reach():
    line = "total = 1;" * 300_000
    fragment = Fragment(line)
    assert line.startswith(fragment.bare)
    assert len(fragment.bare) == 100_000
    assert fragment.said == ""
