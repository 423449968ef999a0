"""Readers of files and texts from elsewhere, fed with anything: only a UserError may come of it.

    python bench/fuzz.py                       # each reader for 10 s, guided by coverage
    python bench/fuzz.py jsonl record --seconds 60

A target takes bytes. tests/test_untrusted_input.py feeds the same targets from Hypothesis, without
coverage but in every run of the suite; here it is atheris (`pip install atheris`), which mutates
what reaches new branches, starting from one good input of each target. Each target runs in a
process of its own, where atheris counts the branches of its reader, with limits of 2 GB and of 20 s
an input. What raises anything else is kept as crash-* in the current folder.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import io
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial.errors import UserError

PROBLEM = {
    "id": "1", "question": "Add.",
    "tests": {"kind": "call", "function": "add", "inputs": [[1, {"py:tuple": [2]}]],
              "outputs": [{"py:set": [3]}], "script": ""},
}  # fmt: skip
APPS = {
    "question": "Add two numbers.\nInput\n1 2\nOutput\n3\n",
    "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"], "fn_name": ""}),
    "solutions": json.dumps(["print(3)"]), "starter_code": "",
}  # fmt: skip
APPS_FILES = {
    "question.txt": b"Add.", "input_output.json": APPS["input_output"].encode(),
    "solutions.json": b'["print(3)"]', "metadata.json": b'{"difficulty": "easy"}',
}  # fmt: skip
MBPP = {"text": "Add.", "task_id": 1, "code": "def add(a): pass", "test_list": ["assert add(1)"]}
HUMAN_EVAL = {
    "task_id": "HumanEval/47", "prompt": "def median(l):\n    '''>>> median([3, 1, 2])\n    2'''\n",
    "entry_point": "median", "test": "def check(f): assert f", "canonical_solution": "    pass",
}  # fmt: skip
STATEMENT = """def add(a, b):
    \"\"\"Add. add(1, 2) == 3
    >>> add("x", [1])
    {'a': (1, 2.5)}
    \"\"\"
For n = 5 the output should be [1, 2].
Input
1 2
Output
3
"""


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: reads the bytes, as a file or as a text.
        seed: a good input.
        module: what atheris watches.
    """

    read: Callable[[bytes], object]
    seed: bytes
    module: str


def _file(name: str, content: bytes, read: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        read(path)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _data_file(suffix: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        from pretrial.data.reading.sources import load

        def every_way(path: Path) -> None:
            for skip_bad in (True, False):
                for streaming in (True, False):
                    list(load(path, skip_bad=skip_bad, streaming=streaming))  # type: ignore[call-overload]

        _file(f"data{suffix}", content, every_way)

    return read


def _rows(content: bytes) -> None:
    """One JSON object, or a list of them, as problems of any layout."""
    from pretrial.data.reading.problems import read_problems

    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return
    rows = value if isinstance(value, list) else [value]
    read_problems([row for row in rows if isinstance(row, dict)])


def _apps_folder(file: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        from pretrial.data.reading.problems import read_problems

        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**APPS_FILES, file: content}.items():
                Path(folder, name).write_bytes(text)
            read_problems(folder, skip_bad=file != "metadata.json")

    return read


def _quixbugs(content: bytes) -> None:
    from pretrial.data.reading.sources import load

    with tempfile.TemporaryDirectory() as folder:
        for inner, text in (
            ("python_programs/gcd.py", content),
            ("correct_python_programs/gcd.py", b"def gcd(a, b):\n    return a\n"),
            ("python_testcases/test_gcd.py", b""),
        ):
            path = Path(folder, inner)
            path.parent.mkdir()
            path.write_bytes(text)
        list(load(folder, streaming=True))


def _statement(content: bytes) -> None:
    from pretrial.data.problems.examples import extract_examples

    for kind, function in (("call", ""), ("call", "add"), ("stdin", "")):
        extract_examples(_text(content), kind, function)


def _literal(content: bytes) -> None:
    from pretrial.sandbox.literals import parse_literal

    with contextlib.suppress(ValueError):  # the stated answer to what is no literal
        parse_literal(_text(content))


def _code(content: bytes) -> None:
    from pretrial.code_views import view

    seen = view(_text(content))
    seen.identifiers(), seen.functions(), seen.calls(), seen.without_comments()


def _record(content: bytes) -> None:
    from pretrial.compare import record

    _file("electra.json", content, record.read)
    _file("electra.json", content, lambda path: record.read_all(path.parent))


def _run(content: bytes) -> None:
    from pretrial.api import runs
    from pretrial.methods.text.electra import Config

    def read(path: Path) -> None:
        runs.read_config(Config, runs.Record.read(path.parent).config)

    _file(runs.NAME, content, read)


def _options(content: bytes) -> None:
    from pretrial.cli import options
    from pretrial.methods.text.electra import Config

    words = _text(content).split("\n")
    if "--help" not in words and "-h" not in words:
        options.parse(Config, words, prog="pretrial train electra")


def _budget(content: bytes) -> None:
    from pretrial.train.budget import Budget

    Budget.parse(_text(content))


def _config(content: bytes) -> None:
    from pretrial.checkpoints.guard import check_folder
    from pretrial.checkpoints.keys import architecture, load_config

    def read(path: Path) -> None:
        architecture(path.parent)
        check_folder(path.parent)
        load_config(path.parent)

    _file("config.json", content, read)


def _state(content: bytes) -> None:
    from pretrial.train import checkpoint

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, checkpoint.STATE).write_bytes(content)
        Path(folder, "weights.safetensors").write_bytes(_safetensors())
        checkpoint.read_tensors(Path(folder), "weights")
        checkpoint.read_state(Path(folder), "setting", "journal")


def _index(content: bytes) -> None:
    import numpy as np

    from pretrial.evaluate.index import Index

    vectors = io.BytesIO()
    np.save(vectors, np.ones((1, 2), np.float32))
    with tempfile.TemporaryDirectory() as folder:
        parts = content.split(b"\xfe", 2)
        files = {
            "vectors.npy": vectors.getvalue(),
            "rows.jsonl": b'{"a": 1}\n',
            "index.json": b"{}",
        }
        for part, name in zip(parts, ("index.json", "rows.jsonl", "vectors.npy"), strict=False):
            files[name] = part or files[name]
        for name, text in files.items():
            Path(folder, name).write_bytes(text)
        Index.load(Path(folder))


def _weights(suffix: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        from pretrial.checkpoints.keys import read_weights

        _file(f"weights{suffix}", content, read_weights)

    return read


def _safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def _pickle() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, file)
    return file.getvalue()


def _report(content: bytes) -> None:
    """What a program may have written to the runner's pipe, for each kind of tests."""
    from pretrial.sandbox import Limits, host, judge
    from pretrial.sandbox.tests import Tests

    class Replay:
        """Stands for a worker whose program wrote `content` and ended."""

        isolation = "none"

        def run(self, job: Any, tests: Any = None, heed: Any = None, following: Any = None) -> Any:
            for line in content.split(b"\n")[:-1]:
                if heed(host._message(line)):
                    break
            return host.Ended()

    for tests in (
        Tests("call", "add", ([1, 2], [3, 4]), (3, {"7": [1.0, (2,)]})),
        Tests("stdin", inputs=("1\n",), outputs=("3\n",)),
        Tests("assert", "add", script="assert add(1, 2)"),
    ):
        for stop in (True, False):
            shared = judge.prepare(tests), Limits(), "strict", stop
            worker: Any = Replay()
            judge.judge(judge.Trial(worker, "", tests, *shared)).to_dict()


def _counts(content: bytes) -> None:
    from pretrial.sandbox.counts import count_tests

    count_tests(_text(content))


TARGETS = {
    "jsonl": Target(_data_file(".jsonl"), b'{"a": 1}\n{"a": "x"}\n', "pretrial.data.reading.files"),
    "json": Target(_data_file(".json"), b'{"rows": [{"a": 1}]}', "pretrial.data.reading.files"),
    "csv": Target(_data_file(".csv"), b'a,b\n1,"x\ny"\n', "pretrial.data.reading.files"),
    "tsv": Target(_data_file(".tsv"), b"a\tb\n1\t2\n", "pretrial.data.reading.files"),
    "gzip": Target(_data_file(".jsonl.gz"), gzip.compress(b'{"a": 1}\n', mtime=0),
                   "pretrial.data.reading.files"),
    "parquet": Target(_data_file(".parquet"), b"PAR1\x15\x00\x15\x00\x00\x00PAR1",
                      "pretrial.data.reading.files"),
    "text": Target(_data_file(".txt"), "Some text.\n".encode("utf-8-sig"),
                   "pretrial.data.reading.files"),
    "problems": Target(_rows, json.dumps([PROBLEM, APPS, MBPP, HUMAN_EVAL]).encode(),
                       "pretrial.data.problems.layouts"),
    "apps_tests": Target(_apps_folder("input_output.json"), APPS_FILES["input_output.json"],
                         "pretrial.data.problems.apps"),
    "apps_metadata": Target(_apps_folder("metadata.json"), APPS_FILES["metadata.json"],
                            "pretrial.data.problems.apps"),
    "quixbugs": Target(_quixbugs, b"def gcd(a, b):\n    return b\n",
                       "pretrial.data.problems.quixbugs"),
    "statement": Target(_statement, STATEMENT.encode(), "pretrial.data.problems.examples"),
    "literal": Target(_literal, b"{'a': (1, 2.5, {3}, None)}", "pretrial.sandbox.literals"),
    "code": Target(_code, b'def f(a):\n    return f"{a!r:>{3}}"  # text\n',
                   "pretrial.code_views.lexer"),
    "record": Target(_record, b'{"kind": "trial", "slug": "electra", "arms": []}',
                     "pretrial.compare.record"),
    "run": Target(_run, json.dumps({"slug": "electra", "config": {"lr": 0.1},
                                    "arguments": {}, "num_examples": 1, "num_held_out": 1,
                                    "environment": {}, "commit": ""}).encode(),
                  "pretrial.api.runs"),
    "options": Target(_options, b"--batch-size\n4\n--lr=0.1", "pretrial.cli.options"),
    "budget": Target(_budget, b"2e6tokens", "pretrial.train.budget"),
    "config": Target(_config, b'{"model_type": "gpt2", "n_embd": 8, "vocab_size": 11}',
                     "pretrial.checkpoints.guard"),
    "safetensors": Target(_weights(".safetensors"), _safetensors(), "pretrial.checkpoints.keys"),
    "state": Target(_state, b'{"tied": {"weights": {"v": "w"}}, "setting": {}, "journal": 0}',
                    "pretrial.train.checkpoint"),
    "index": Target(_index, b'{"num_vectors": 1, "num_rows": 1, "origin": "x"}\xfe{"a": 1}\n',
                    "pretrial.evaluate.index"),
    "pickle": Target(_weights(".bin"), _pickle(), "torch._weights_only_unpickler"),
    "report": Target(_report, b'{"v": 3}\n{"v": {"d": [["7", [1.0, {"t": [2]}]]]}}\n{"d": "x"}\n'
                     b'{"e": ["test", "X", "text", 1]}\n{"x": 0}\n', "pretrial.sandbox.judge"),
    "counts": Target(_counts, b"3 failed, 2 passed in 0.1s\nFAILED (failures=1, errors=2)\n",
                     "pretrial.sandbox.counts"),
}  # fmt: skip


def feed(name: str, content: bytes) -> None:
    """Give a target bytes; a UserError is as good as no error."""
    with warnings.catch_warnings(), contextlib.suppress(UserError):
        warnings.simplefilter("ignore")
        TARGETS[name].read(content)


def fuzz(name: str, seconds: int) -> None:
    """Feed one target for some seconds; the process ends with it."""
    import atheris

    with atheris.instrument_imports(include=[TARGETS[name].module]):
        importlib.import_module(TARGETS[name].module)
    feed(name, TARGETS[name].seed)  # imports take longer than an input may
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "seed").write_bytes(TARGETS[name].seed)
        options = [f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=20"]
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", folder],
                      lambda content: feed(name, content))  # fmt: skip
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=10, help="for each target")
    parser.add_argument("--here", action="store_true", help="the one target in this process")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if options.here:
        fuzz(names[0], options.seconds)
        return
    failed = []
    for name in names:
        command = [sys.executable, __file__, name, "--here", "--seconds", str(options.seconds)]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
        counts = [line.split()[-1] for line in ended.stderr.splitlines() if "d_units" in line]
        count = counts[0] if counts else "?"
        print(f"{name:<14} {count:>9} inputs, exit code {ended.returncode}", flush=True)
        if ended.returncode:
            failed.append(name)
            print(ended.stderr[-3000:], flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
