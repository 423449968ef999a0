"""What the released APPS and CodeRL evaluation does differently, to compare with its numbers.

Compared with `utils/testing_util.py` of salesforce/CodeRL. Besides the lenient comparison
(`compare.py`): its outcome classes, and the names it puts before every program. One thing is not
reproduced: a branch there records no result for a test, so that `all(results)` may pass a program
on a test that was never compared.
"""

from __future__ import annotations

from pretrial.sandbox.outcome import Outcome, Verdict
from pretrial.sandbox.tests import Tests

# The names the release defines for every program, but for numpy (add `import numpy as np` if
# wanted).
APPS_PREAMBLE = """
import collections, fractions, heapq, itertools, math, random, sys, time
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from functools import lru_cache
from heapq import *
from itertools import accumulate, combinations, permutations, product
from math import ceil, cos, exp, fabs, floor, gcd, log, log2, sin, sqrt, tan
from typing import List, Tuple
"""


def apps_outcome(verdict: Verdict, tests: Tests, program: str) -> Outcome:
    """The class the release would name for this verdict.

    There "compile error" is whatever is raised while the module is made. A call-based program is
    imported, so any exception at its top level counts (and here a missing function, for which the
    release breaks off without a result). The text of a stdin program is put in a function first,
    except for the import lines it begins with, so there only an exception in one of those counts.
    """
    if verdict.outcome is not Outcome.RUNTIME_ERROR:
        return verdict.outcome
    if tests.kind == "call" and verdict.phase == "load":
        return Outcome.COMPILE_ERROR
    if tests.kind == "stdin" and verdict.line is not None:
        head = program.split("\n")[: verdict.line]
        if all(line.startswith(("import ", "from ")) for line in head):
            return Outcome.COMPILE_ERROR
    return verdict.outcome
