"""One suite for all views: Python by its own parser and by a grammar, and the other languages."""

from __future__ import annotations

import importlib
import io
import pathlib
import random
import re
import sys
import tokenize

import pytest
from sample_programs import PROGRAMS

from pretrial.code_views import View, decode, languages, view
from pretrial.code_views.rewrites import PRESERVING, rename_variables, sample_lines
from pretrial.code_views.treesitter import TreeSitterView
from pretrial.errors import UserError

SETUPS = [*PROGRAMS, "python by its grammar"]


def make(setup: str, text: str | None = None) -> View:
    language = setup.split(" ")[0]
    text = PROGRAMS[language] if text is None else text
    return TreeSitterView(text, language) if " " in setup else view(text, language)


def words(source: View, kind: str) -> list[str]:
    return [source.text[start:end] for name, start, end in source.tokens if name == kind]


def plain(names: list[str]) -> list[str]:
    """Names without the mark that PHP puts before variables."""
    return [name.lstrip("$") for name in names]


@pytest.mark.parametrize("setup", SETUPS)
class TestEveryLanguage:
    def test_tokens_cover_the_text_and_have_the_right_kinds(self, setup: str) -> None:
        source = make(setup)
        assert source.parsed
        joined = "".join(source.text[start:end] for _, start, end in source.tokens)
        assert "".join(joined.split()) == "".join(source.text.split())
        assert words(source, "number")[:2] == ["0", "1"]
        assert '"a b"' in words(source, "string")
        assert any("grows" in comment for comment in words(source, "comment"))
        assert {"+", "*", "=", "("} <= set("".join(words(source, "operator")))
        assert not {"total", "values", "result"} & set(words(source, "keyword"))

    def test_identifiers_in_the_order_of_first_use(self, setup: str) -> None:
        source = make(setup)
        found = source.identifiers()
        order = [name for name in plain(list(found)) if name in {"total", "values", "result"}]
        assert order == ["total", "values", "result"]
        for name, spans in found.items():
            assert all(source.text[start:end] == name for start, end in spans)
            assert spans == sorted(spans)
        result = found.get("result") or found["$result"]
        assert len(result) == 5

    def test_labels_and_words_of_sub_words(self, setup: str) -> None:
        source = make(setup)
        start = source.text.index("result")
        comment = source.text.index("grows")
        string = source.text.index("a b")
        offsets = [
            (0, 0),  # a special token
            (start - 1, start + 3),  # with the blank or the mark before it
            (start + 3, start + 6),
            (start + 6, start + 8),  # a blank and the equals sign
            (comment - 1, comment + 2),
            (comment + 2, comment + 5),
            (string, string + 1),
            (string + 1, string + 3),
        ]
        assert source.labels(offsets) == [0, 1, 1, 0, 0, 0, 0, 0]
        assert source.word_starts(offsets) == [True, True, False, True, True, False, False, True]

    def test_functions(self, setup: str) -> None:
        source = make(setup)
        (function,) = source.functions()
        assert function.name == "total"
        assert function.docstring == "Adds up."
        text = source.text[function.start : function.end]
        assert text.startswith(("def total", "int total", "func"))
        assert text.endswith(("}", "end", "check(result, limit)"))
        body = source.text[function.body_start :]
        assert body.startswith(('"""Adds', "int result", "let result", "result", "$result"))
        line = source.text[: source.text.index("count")].count("\n") + 1
        assert source.enclosing_function(line) == function
        assert source.enclosing_function(source.text.count("\n") + 5) is None

    def test_calls(self, setup: str) -> None:
        source = make(setup)
        calls = [call for call in source.calls() if call.name != "each"]
        assert [(call.receiver, call.name) for call in calls] == [("helper", "log"), ("", "check")]
        log, check = calls
        assert source.text[log.name_start : log.name_end] == "log"
        assert source.text[log.start : log.end].startswith("helper")
        assert source.text[check.start : check.end].replace("$", "") == "check(result, limit)"

    def test_leaves_of_the_tree_are_the_tokens(self, setup: str) -> None:
        source = make(setup)
        tree = source.tree()
        leaves = [(leaf.kind, leaf.text) for leaf in tree.leaves()]
        tokens = [token for token in source.tokens if token.kind != "comment"]
        assert leaves == [(kind, source.text[start:end]) for kind, start, end in tokens]
        assert tree.children
        assert any(child.children for child in tree.children)

    def test_comments_go_and_nothing_else(self, setup: str) -> None:
        source = make(setup)
        bare = make(setup, source.without_comments())
        assert not words(bare, "comment")
        assert bare.parsed
        tokens = [word for kind in ("identifier", "operator") for word in words(source, kind)]
        assert tokens == [word for kind in ("identifier", "operator") for word in words(bare, kind)]
        assert not any(line != line.rstrip() for line in bare.text.splitlines())
        without = source.without_comments(docstrings=True)
        assert "Adds up" not in without
        assert make(setup, without).parsed

    def test_local_variables_are_found_and_renamed(self, setup: str) -> None:
        source = make(setup)
        names = {name for name, _ in source.edits.variables}
        assert set(plain(list(names))) == {"values", "limit", "result", "count", "value"}
        new = rename_variables(source, random.Random(0), count=5, names=["nu", "mu"])
        assert new is not None
        renamed = make(setup, new)
        assert renamed.parsed
        assert [kind for kind, _, _ in renamed.tokens] == [kind for kind, _, _ in source.tokens]
        kept = set(plain(list(renamed.identifiers()))) & set(plain(list(source.identifiers())))
        assert kept.isdisjoint(plain(list(names)))
        assert {"total", "helper", "check", "log"} <= kept
        assert {"nu", "mu"} <= set(plain(list(renamed.identifiers())))

    @pytest.mark.parametrize("name", list(PRESERVING))
    def test_rewrites_parse_and_differ(self, setup: str, name: str) -> None:
        source = make(setup)
        for seed in range(5):
            new = PRESERVING[name](source, random.Random(seed))
            assert new is not None
            assert new != source.text
            assert make(setup, new).parsed, new

    def test_reorder_swaps_only_what_is_independent(self, setup: str) -> None:
        source = make(setup)
        pairs = [(source.text[slice(*a)], source.text[slice(*b)]) for a, b in source.edits.pairs]
        assert any("result" in one and "count" in two for one, two in pairs)
        assert not any("return" in two or "check" in two or "Adds" in one for one, two in pairs)
        loop = source.text.index("grows")
        assert all(not one[0] <= loop <= two[1] for one, two in source.edits.pairs)

    def test_lines_are_sampled(self, setup: str) -> None:
        source = make(setup)
        new = sample_lines(source, random.Random(1), keep_ratio=0.5)
        assert new is not None
        lines = iter(source.text.splitlines())
        assert all(line in lines for line in new.splitlines())  # a subsequence
        assert len(new.split("\n")) < len(source.text.split("\n"))

    def test_broken_text_has_tokens_and_nothing_raises(self, setup: str) -> None:
        text = make(setup).text
        rng = random.Random(0)
        broken = 0
        for _ in range(40):
            place = rng.randrange(len(text))
            spoilt = text[:place] + rng.choice("({'\"\\`#$\x00\ud800é\n") + text[place + 2 :]
            source = make(setup, spoilt)
            joined = "".join(spoilt[start:end] for _, start, end in source.tokens)
            assert "".join(joined.split()) == "".join(spoilt.split())
            ends = [end for _, _, end in source.tokens]
            assert all(a <= b for a, (_, b, _) in zip(ends, source.tokens[1:], strict=False))
            [leaf.text for leaf in source.tree().leaves()]
            source.without_comments(docstrings=True)
            source.labels([(0, 3)])
            if not source.parsed:
                broken += 1
                assert not source.functions()
                assert not source.calls()
                assert all(f(source, random.Random(0)) is None for f in PRESERVING.values())
        assert broken >= 10

    def test_empty_text(self, setup: str) -> None:
        source = make(setup, "")
        assert source.tokens == []
        assert source.functions() == []
        assert source.calls() == []
        assert source.without_comments() == ""
        assert list(source.tree().leaves()) == []
        assert source.word_starts([(0, 0)]) == [True]
        assert source.enclosing_function(1) is None

    def test_offsets_are_in_characters(self, setup: str) -> None:
        text = make(setup).text.replace("a b", "é😀 b").replace("Adds up", "Añade")
        source = make(setup, text)
        assert source.parsed
        assert '"é😀 b"' in words(source, "string")
        assert source.functions()[0].docstring == "Añade."
        calls = [source.text[call.name_start : call.name_end] for call in source.calls()]
        assert calls[-2:] == ["log", "check"]


EMPTY = {
    "python": "def f():\n    pass\n",
    "python by its grammar": "def f():\n    pass\n",
    "java": "void f() {}\n",
    "javascript": "function f() {}\n",
    "go": "package p\nfunc f() {}\n",
    "php": "function f() {}\n",
    "ruby": "def f\nend\n",
    "c": "void f(void) {}\n",
    "csharp": "void f() {}\n",
}


@pytest.mark.parametrize("setup", SETUPS)
def test_empty_functions(setup: str) -> None:
    source = make(setup, EMPTY[setup])
    (function,) = source.functions()
    assert function.name == "f"
    assert function.docstring == ""
    assert source.text[function.body_start :].startswith(("pass", "}", "end"))
    assert rename_variables(source, random.Random(0)) is None
    assert PRESERVING["reorder_statements"](source, random.Random(0)) is None


def test_both_views_of_python_agree() -> None:
    text = '''@wrap(1)
def f(a, *rest, key=None, **more):
    """Doc."""
    b = f"{a!r:>{key}} and {len(rest)}" + rf"\\d{more['x']}"
    match b:
        case [1, *others] if others:
            return lambda q: q + 0x1F
        case {"k": v}: pass
    class Inner:
        def g(self): return self.h(1.5e-3, match=b)
    return 'text' "joined" \\
        if a else ...
'''
    ours, theirs = make("python", text), make("python by its grammar", text)
    assert [t for t in ours.tokens if t.kind != "operator"] == [
        t for t in theirs.tokens if t.kind != "operator"
    ]
    assert ours.functions() == theirs.functions()
    assert ours.calls() == theirs.calls()
    assert ours.without_comments(True) == theirs.without_comments(True)


def test_python_tokens_are_those_of_tokenize() -> None:
    blank = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for name in ("argparse", "textwrap", "tokenize", "dataclasses"):
        text = pathlib.Path(str(importlib.import_module(name).__file__)).read_text()
        source = view(text)
        theirs = [
            token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in blank and not re.match("r?f['\"]", token.string)
        ]
        own = iter(text[start:end] for _, start, end in source.tokens)
        assert all(word in own for word in theirs)  # in order; formatted strings come in pieces
        assert words(source, "comment") == [word for word in theirs if word.startswith("#")]


def test_formatted_strings_show_the_names_inside() -> None:
    source = view('f"{{no}} {a:{w}.{p}} {b["k"]!r} {c=}" rf\'\\{d}\' f"\\N{DASH}{e}" F"""{\ng}"""')
    assert list(source.identifiers()) == ["a", "w", "p", "b", "c", "d", "e", "g"]
    assert words(view("f'{a' + b"), "identifier") == ["a"]  # open to the end


def test_soft_keywords() -> None:
    text = "match = 1\nmatch(match)\ncase: int = 2\nmatch x:\n    case [a]: type = 3\ntype(a)\n"
    assert words(view(text), "keyword") == ["match", "case"]


def test_one_line_of_five_megabytes() -> None:
    text = "x = [" + "f(é1), " * 720_000 + "0]"
    source = view(text)
    assert len(text) > 5_000_000
    names = source.identifiers()
    assert {name: len(spans) for name, spans in names.items()} == {
        "x": 1, "f": 720_000, "é1": 720_000,
    }  # fmt: skip
    assert view('"\\"' * 300_000).tokens[-1].end == 900_000  # every quote opens and none closes


def test_mixed_encodings() -> None:
    source = view("a = 'é'\n".encode() + "b = 'é'\n".encode("latin-1") + b"c = 1\n")
    assert source.text == "a = 'é'\nb = 'é'\nc = 1\n"
    assert source.parsed
    assert decode(b"\xef\xbb\xbfx\r\ny") == "x\r\ny"
    returns = view("def f():\r\n    # c\r\n    return g(1)  # d\rx = h(2)\r\n")
    assert [call.name for call in returns.calls()] == ["g", "h"]
    assert returns.without_comments() == "def f():\r\n    return g(1)\rx = h(2)\r\n"


def test_unknown_language_and_missing_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no grammar for 'cobol'.*java.*pretrial\[code\]"):
        view("x", "cobol")
    assert view("int x;", "C#").language == "csharp"
    assert "csharp" in languages()
    monkeypatch.setitem(sys.modules, "tree_sitter_java", None)
    with pytest.raises(UserError, match=r"tree-sitter-java.*pretrial\[code\]"):
        view("int x;", "Java")
