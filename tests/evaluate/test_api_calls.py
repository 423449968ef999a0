"""Call sites: what is one, what its usage is, and how answers are scored."""

import argparse
import ast
import configparser
import dataclasses
import inspect
import math
import pathlib
import tarfile
import textwrap
from pathlib import Path

import pytest

from pretrial.data.rows import spread
from pretrial.errors import UserError
from pretrial.evaluate.api_calls import (
    Ranked,
    call_sites,
    closed,
    measure_calls,
    measure_usages,
    site_scores,
)

WRITTEN = [  # code, and the names at its sites in order
    ("x = np.zeros(3)", ["zeros"]),
    ("np.linalg.norm(x)", ["norm"]),
    ("f(x)", []),
    ("print(len(x))", []),
    ("self._hidden(1)", []),
    ("a.b(c.d(1), e=f.g())", ["b", "d", "g"]),
    ("df.groupby('k').sum().reset_index()", ["groupby", "sum", "reset_index"]),
    ("torch.nn.Linear(2, 3)(x)", ["Linear"]),
    ("getattr(x, 'y')()", []),
    ("x[0].view(-1)", ["view"]),
    ("'a.b(c)'.join(x)", ["join"]),
    ("# np.zeros(3)\ny = 1", []),
    ("def f(a=np.ones(1)):\n    return a.copy()", ["ones", "copy"]),
    ("@app.route('/')\ndef f():\n    pass", ["route"]),
    ("with path.open() as f:\n    f.read()", ["open", "read"]),
    ("[g.node(i) for i in h.nodes()]", ["node", "nodes"]),
    ("(lambda: q.pop())()", ["pop"]),
    ("x = y.z", []),
    ("await s.send(b)", ["send"]),
    ("f'{a.b(1)}'", ["b"]),
    ("x = np.zeros(", []),
]


@pytest.mark.parametrize(("code", "names"), WRITTEN)
def test_sites_of_written_code(code, names):
    if "await" in code:
        code = f"async def f():\n    {code}"
    assert [site.name for site in call_sites(code)] == names


def test_all_calls_of_200_functions_are_found():
    def names(code):
        """By the syntax tree alone."""
        found = [
            (node.func.end_lineno, node.func.end_col_offset, node.func.attr)
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        ]
        return [name for _, _, name in sorted(found) if not name.startswith("_")]

    functions = []
    for module in (argparse, configparser, dataclasses, inspect, pathlib, tarfile):
        text = Path(module.__file__).read_text(encoding="utf-8")
        functions += [
            textwrap.dedent("\n".join(text.split("\n")[node.lineno - 1 : node.end_lineno]))
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 5
        ]
    functions = functions[:: len(functions) // 200][:200]
    assert len(functions) == 200
    total = 0
    for code in functions:
        sites = call_sites(code)
        assert [site.name for site in sites] == names(code)
        for site in sites:
            assert code.startswith(site.context + site.name)
            assert site.context.rstrip().endswith(".")
            assert code.startswith(site.context + site.usage)
            assert site.usage.endswith(")")
            ast.parse(site.usage.removeprefix(site.name).strip().join(["f", ""]))
        total += len(sites)
    assert total > 300


def test_sites_that_are_known_are_taken_from_the_row():
    code = "List<String> l = x; l.add(f(1)); l.size();"
    calls = [
        {"call": "add", "start": code.index("add")},
        {"call": "size", "start": code.index("size")},
        {"call": "gone", "start": 0},
    ]
    sites = call_sites(code, "whatever", calls)
    assert [(site.name, site.usage) for site in sites] == [("add", "add(f(1))"), ("size", "size()")]
    assert sites[0].context == code[: code.index("add")]


def test_text_up_to_the_closing_bracket():
    assert closed("zeros(3) + 1") == "zeros(3)"
    assert closed("zeros((3, [4]))\n") == "zeros((3, [4]))"
    assert closed("zeros((3") == "zeros((3"
    assert closed("shape) + 1") == "shape"
    assert closed("") == ""


def test_scores_of_answers():
    site = call_sites("a.b(1)")[0]
    names = ["x", "y", "b", "z"]
    ranked = Ranked(names, [1.0, 2.0, 3.0, 4.0], 3.0, 0.5)
    scores = site_scores([ranked], [site])
    assert scores["top1"] == [0.0]
    assert scores["top5"] == scores["top10"] == [1.0]
    assert scores["nll"] == [3.0]
    assert scores["sampled1"] == [0.5]
    assert scores["sampled10"] == [pytest.approx(1 - 0.5**10)]


class Knows:
    """Always says "zeros"."""

    def rank_calls(self, contexts, names):
        return [Ranked(["zeros", "ones"], [0.1, 2.0], 0.1, 1.0) for _ in contexts]

    def write_usages(self, contexts, *, seed):
        return ["zeros( 3)"] * len(contexts)


ROWS = [
    {"text": "x = np.zeros( 3)", "domain": "numpy"},
    {"text": "y = pd.concat(z)", "domain": "pandas"},
]


def test_tasks_measure_by_domain():
    result = measure_calls(Knows(), ROWS)
    assert result.metrics["top1"].value == 0.5
    assert result.notes["top1 of numpy"] == "1.000 of 1"
    assert result.notes["top1 of pandas"] == "0.000 of 1"
    assert measure_calls(Knows(), ROWS, max_sites=1).notes["num_sites"] == 1
    usages = measure_usages(Knows(), ROWS)
    assert usages.items["exact_match"] == [1.0, 0.0]
    with pytest.raises(UserError, match="call site"):
        measure_calls(Knows(), [{"text": "x = 1"}])
    with pytest.raises(UserError, match="--fields text="):
        measure_calls(Knows(), [{"code": "x = 1"}])


def test_spread_takes_from_everywhere():
    assert list(spread(list(range(10)), 5)) == [0, 2, 4, 6, 8]
    assert list(spread([1, 2], 5)) == [1, 2]
    assert list(spread([1, 2], 0)) == [1, 2]
    assert math.isclose(sum(spread(list(range(1000)), 100)) / 100, 495)
