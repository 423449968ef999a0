"""What programs expect to find under a Python of their own, and find in the sandbox too."""

from __future__ import annotations

import os

import pytest

from pretrial.sandbox import Limits, Runner
from pretrial.sandbox.tests import Tests

TESTS = Tests("stdin", inputs=("1 2 3\n",), outputs=("6\n",))
SUM = "print(sum(map(int, {}.split())))"
RECURSE = "sys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)\n"

STREAMS = {
    "open": SUM.format("open('/dev/stdin').read()"),
    "bytes": SUM.format("open(file='/dev/stdin', mode='rb', buffering=0).read()"),
    "path": "from pathlib import Path\n" + SUM.format("Path('/dev/stdin').read_text()"),
    "codecs": "import codecs\n" + SUM.format("codecs.open('/dev/stdin', 'r', 'utf-8').read()"),
    "fileinput": "import fileinput\n" + SUM.format("next(fileinput.input('/dev/stdin'))"),
    "in place of": "import sys\nsys.stdin = open('/dev/stdin')\n" + SUM.format("input()"),
    "descriptor": SUM.format("open('/proc/self/fd/0').read()"),
    "os": "import os\n" + SUM.format("os.read(os.open('/dev/fd/0', os.O_RDONLY), 99)"),
    "written": "open('/dev/stdout', 'w').write('6\\n')\n",
    "appended": "import sys\nsys.stdout = open('/dev/stdout', 'a')\nprint(6)\n",
    "os written": "import os\nos.write(os.open(path='/dev/stdout', flags=os.O_WRONLY), b'6')\n",
    "errors": "open('/dev/stderr', 'w').write('x')\nprint(6)\n",
}
LIMITS = {
    "stack": "import resource as r\nr.setrlimit(r.RLIMIT_STACK, (1 << 28, -1))\nprint(6)\n",
    "deep": "import resource as r, sys\nr.setrlimit(r.RLIMIT_STACK, (-1, -1))\n"
    f"{RECURSE}print(f(100006) - 100000)\n",
    "thread": f"import sys, threading\n{RECURSE}threading.stack_size(1 << 27)\n"
    "threading.Thread(target=lambda: print(f(50006) - 50000)).start()\n",
    "threads": "from concurrent.futures import ThreadPoolExecutor as Pool\n"
    "with Pool() as pool: print(sum(pool.map(int, '123')))\n",
    "temporary": "import tempfile\nwith tempfile.TemporaryFile('w+') as f:\n    f.write('6')\n"
    "    f.seek(0)\n    print(f.read())\n",
    "tmp": "open('/tmp/x', 'w').write('6')\nprint(open('/tmp/x').read())\n",
    "shared": "open('/dev/shm/x', 'w').write('6')\nprint(open('/dev/shm/x').read())\n",
}
PROCESSES = {
    "pool": "from multiprocessing import Pool\nif __name__ == '__main__':\n"
    "    with Pool(1) as pool: print(sum(pool.map(int, [1, 2, 3])))\n",
    "pool of all": "from multiprocessing import Pool\n"
    "with Pool() as pool: print(sum(pool.map(int, [1, 2, 3])))\n",
    "futures": "from concurrent.futures import ProcessPoolExecutor as Pool\n"
    "with Pool() as pool: print(sum(pool.map(int, '123')))\n",
    "queue": "import multiprocessing as m\ndef f(q): q.put(6)\nqueue = m.Queue()\n"
    "m.Process(target=f, args=(queue,)).start()\nprint(queue.get())\n",
    "value": "import multiprocessing as m\nvalue = m.Value('i', 0)\n"
    "def f(): value.value = 6\np = m.Process(target=f)\np.start(), p.join()\nprint(value.value)\n",
    "manager": "import multiprocessing as m\nwith m.Manager() as made:\n"
    "    shared = made.dict({1: 6})\n    print(shared[1])\n",
    "memory": "from multiprocessing.shared_memory import SharedMemory\n"
    "memory = SharedMemory(create=True, size=9)\nmemory.buf[0] = 6\nprint(memory.buf[0])\n"
    "memory.close(), memory.unlink()\n",
}
PROGRAMS = {**STREAMS, **LIMITS, **PROCESSES}


@pytest.fixture(scope="module", params=["auto", "rlimits"])
def runner(request):
    with Runner(workers=1, isolation=request.param) as runner:
        yield runner


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_find_what_they_expect(name, runner):
    low = runner.isolation == "rlimits"
    if low and os.geteuid() != 0 and (name in PROCESSES or "thread" in name):
        pytest.skip("without root and namespaces a program has no processes and no threads")
    if low and name in ("tmp", "shared"):
        pytest.skip("there the folder is the machine's")
    [verdict] = runner.run([(PROGRAMS[name], TESTS)], Limits(seconds=10))
    assert verdict.passed, verdict


def test_streams_that_are_closed_are_errors_and_other_files_stay_what_they_are(runner):
    closed = "import os\nos.close(0)\nopen('/dev/stdin')\n"
    missing = "open('/dev/stdinx')\n"
    wrong = "open('/dev/stdin', 'q')\n"
    verdicts = runner.run([(text, TESTS) for text in (closed, missing, wrong)])
    kinds = [verdict.subtype for verdict in verdicts]
    assert kinds == ["OSError", "FileNotFoundError", "ValueError"]


def test_what_is_written_to_shared_places_is_gone_with_the_program(runner):
    if runner.isolation != "namespaces":
        pytest.skip("there the folders are the machine's")
    write = "open('/tmp/left', 'w').write('x')\nopen('/dev/shm/left', 'w').write('x')\nprint(6)\n"
    look = "import os\nprint(6 + len(os.listdir('/tmp')) + len(os.listdir('/dev/shm')))\n"
    verdicts = [runner.run([(text, TESTS)])[0] for text in (write, look)]
    assert all(verdict.passed for verdict in verdicts), verdicts
    assert not os.path.exists("/tmp/left")
