"""A test command in a copy of a tree: its counts, its limits, and what it cannot reach."""

from __future__ import annotations

import math
import os

import pytest

from pretrial.errors import UserError
from pretrial.sandbox import Limits
from pretrial.sandbox.commands import File, TestCommand, TestRun, read_tree
from pretrial.sandbox.counts import Counts

RIGHT = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return a - b\n"
CASES = b"""
import unittest
from m import add

class Cases(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(add(1, 2), 3)
    def test_zero(self):
        self.assertEqual(add(0, 0), 0)

unittest.main()
"""
TREE = {"m.py": File(WRONG.encode()), "cases.py": File(CASES)}
LIMITS = Limits(seconds=10, memory_mb=1024, output_kb=32)


def output_of(code, limits=LIMITS, **options):
    with TestCommand(["python", "-c", code], TREE, limits=limits, **options) as command:
        return command.run()


@pytest.fixture(scope="module")
def cases():
    with TestCommand("python cases.py", TREE, limits=LIMITS) as command:
        yield command


def test_without_namespaces_the_counts_are_the_same():
    with TestCommand("python cases.py", TREE, limits=LIMITS, isolation="none") as command:
        assert command.num_failing(command.run()) == 1
        assert command.num_failing(command.run({"m.py": RIGHT})) == 0
        assert command.num_failing(command.run()) == 1


def test_failing_tests_are_counted_with_and_without_changes(cases):
    assert cases.num_failing(cases.run()) == 1
    assert cases.num_failing(cases.run({"m.py": RIGHT})) == 0
    assert cases.num_failing(cases.run()) == 1  # what was changed is as before


def test_a_file_that_does_not_parse_lets_all_tests_fail(cases):
    assert cases.num_failing(cases.run({"m.py": "def add(:\n"})) == math.inf


def test_leaving_early_with_status_0_is_no_pass(cases):
    cases.run()
    run = cases.run({"m.py": "import os\nos._exit(0)\n"})
    assert run.status == 0
    assert cases.num_failing(run) == math.inf


def test_tests_that_did_not_run_count_as_failing(cases):
    cases.num_tests = 5
    assert cases.num_failing(TestRun(0, counts=Counts(3, 0))) == 2
    assert cases.num_failing(TestRun(1, counts=Counts(5, 0))) == 1
    cases.num_tests = 2


def test_without_counts_the_exit_status_is_the_one_test():
    with TestCommand("python -c 'import m; assert m.add(1, 2) == 3'", TREE) as command:
        assert command.num_failing(command.run()) == 1
        assert command.num_failing(command.run({"m.py": RIGHT})) == 0


@pytest.mark.parametrize(
    ("code", "limits", "reason"),
    [
        ("while True: pass", Limits(seconds=0.5, memory_mb=1024), "timeout"),
        ("print('x' * 100_000)", LIMITS, "output_limit"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", LIMITS, "signal"),
    ],
)
def test_what_does_not_end_by_itself_is_told(code, limits, reason):
    run = output_of(code, limits)
    assert run.reason == reason
    assert run.wall_seconds < limits.seconds + 1


def test_memory_is_limited():
    assert "MemoryError" in output_of("bytearray(2 << 30)").output


def test_errors_are_output_too_and_the_environment_is_small():
    os.environ["PRETRIAL_SECRET"] = "x"
    try:
        run = output_of(
            "import os, sys; print(sorted(os.environ), file=sys.stderr)", environment={"MINE": "1"}
        )
    finally:
        del os.environ["PRETRIAL_SECRET"]
    assert "'MINE'" in run.output
    assert "PRETRIAL_SECRET" not in run.output


def test_no_network_no_other_files_and_nothing_left_behind(tmp_path):
    (tmp_path / "private").write_text("x")
    code = f"""
import os, socket
print(os.path.exists({str(tmp_path)!r}), os.listdir('.'))
open('left', 'w').close()
try:
    socket.create_connection(('192.0.2.1', 80), timeout=1)
except OSError as error:
    print('refused', error)
"""
    with TestCommand(["python", "-c", code], TREE, limits=LIMITS) as command:
        if command.isolation != "namespaces":
            pytest.skip("this machine grants no namespaces")
        first, second = command.run().output, command.run().output
    assert first.startswith("False")
    assert "'left'" not in second
    assert "refused" in first


def test_what_the_user_names_is_readable(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "data.txt").write_text("found")
    code = f"print(open({str(tmp_path / 'data.txt')!r}).read())"
    assert "found" in output_of(code, readable=[str(tmp_path)]).output


def test_mistakes_name_the_mend(tmp_path):
    with (
        TestCommand("no-such-tool --all", TREE) as command,
        pytest.raises(UserError, match=r"no-such-tool.*readable"),
    ):
        command.run()
    with pytest.raises(UserError, match="is empty"):
        TestCommand("", TREE)
    with pytest.raises(UserError, match="does not parse"):
        TestCommand("python 'x", TREE)
    with pytest.raises(UserError, match="no file or folder"):
        read_tree(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no files"):
        read_tree(tmp_path)


def test_a_tree_is_read_without_what_tools_leave(tmp_path):
    for name in ("a.py", "pkg/b.py", ".git/config", "__pycache__/a.pyc", "run.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    (tmp_path / "out.py").symlink_to("/etc/hostname")
    tree = read_tree(tmp_path)
    assert list(tree) == ["a.py", "link.py", "run.sh", "pkg/b.py"]
    assert tree["run.sh"].mode & 0o100
    assert not tree["a.py"].mode & 0o100
    assert read_tree(tmp_path / "a.py") == {"a.py": tree["a.py"]}


@pytest.mark.parametrize("path", ["../m.py", "/etc/m.py", "a/../../m.py", "", ".", "a\0b"])
def test_paths_that_lead_out_of_the_tree_are_refused(cases, path):
    with pytest.raises(UserError, match="not inside the tree"):
        cases.run({path: RIGHT})
    with pytest.raises(UserError, match="not inside the tree"):
        TestCommand("true", {path: File(b"")})
