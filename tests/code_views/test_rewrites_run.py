"""Rewritten programs in other languages print what they printed, where these can be run."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pretrial.code_views import view
from pretrial.code_views.rewrites import PRESERVING

JAVASCRIPT = """
function total(list, {limit, scale: factor}, ...rest) {
  let sum = 0;
  let seen = 0;
  const shape = {limit, seen, sum: 1};
  for (const value of list) {
    if (value > limit) { continue; }
    let sum2 = value * factor;
    sum += sum2;
    seen = seen + 1;
  }
  const twice = (sum) => sum * 2;
  for (var i = 0; i < rest.length; i++) { sum += rest[i]; }
  return [sum, seen, shape.seen, shape.limit, twice(i), `${sum} of ${seen}`].join(' ');
}
function fib(n) {
  "use strict";
  const one = 1;
  const two = 2;
  return n < two ? n : fib(n - one) + fib(n - two);
}
class Box { constructor(size) { this.size = size; } size2() { return this.size * 2; } }
console.log(total([1, 5, 9], {limit: 6, scale: 3}, 7, 8), fib(12), new Box(4).size2());
"""

C = """
#include <stdio.h>
#define TWICE(x) ((x) * 2)
struct box { int size; int sum; };
static int depth = 3;
static int total(const int *list, int length, struct box *box) {
    int sum = 0;
    int seen = 0;
    for (int i = 0; i < length; i++) {
        int value = list[i];
        if (value > depth) {
            continue;
        }
        sum += TWICE(value);
        seen = seen + 1;
    }
    box->size = seen;
    box->sum = sum;
    { int depth = 7; sum += depth; }
    return sum + depth;
}
static int fib(int n) {
    int one = 1;
    int two = 2;
    return n < two ? n : fib(n - one) + fib(n - two);
}
int main(void) {
    int list[] = {1, 5, 2, 3};
    struct box box = {0, 0};
    int result = total(list, 4, &box);
    printf("%d %d %d %d\\n", result, box.size, box.sum, fib(12));
    return 0;
}
"""


def run_javascript(text: str, folder: Path) -> str:
    (folder / "program.js").write_text(text)
    return subprocess.check_output(["node", folder / "program.js"], text=True)


def run_c(text: str, folder: Path) -> str:
    (folder / "program.c").write_text(text)
    subprocess.check_call(["gcc", "-w", "-o", folder / "program", folder / "program.c"])
    return subprocess.check_output([folder / "program"], text=True)


@pytest.mark.parametrize(
    ("language", "text", "run", "tool"),
    [("javascript", JAVASCRIPT, run_javascript, "node"), ("c", C, run_c, "gcc")],
)
def test_rewritten_programs_print_the_same(language, text, run, tool, tmp_path):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not here")
    expected = run(text, tmp_path)
    assert len(expected.split()) >= 4
    new = text
    for seed in range(4):  # one rewrite on top of the other
        for name, rewrite in PRESERVING.items():
            changed = rewrite(view(new, language), random.Random(seed))
            assert changed, name
            new = changed
    assert new != text
    assert run(new, tmp_path) == expected, new
