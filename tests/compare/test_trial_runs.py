"""Trials as they are run: processes, kills, refusals, the commands.

It starts about thirty processes that import torch: some 40 s on two idle cores.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job_processes import at_work, wait_for

from pretrial.cli import main
from pretrial.compare import record as records
from pretrial.compare import times
from pretrial.compare.engine import PILOTS, Placement, hold
from pretrial.compare.ranking import rank
from pretrial.compare.report import readme
from pretrial.compare.report.trial_page import trial_page
from pretrial.compare.report.words import explain
from pretrial.compare.setting import Setting
from pretrial.errors import UserError

TOYS = Path(__file__).parent / "toy_methods"
CLI = [sys.executable, "-c", "import sys; from pretrial.cli import main; sys.exit(main())"]


@pytest.fixture(autouse=True)
def _toy_methods(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(TOYS))
    monkeypatch.chdir(tmp_path)


def test_command_writes_record_and_page_and_runs_nothing_twice(tmp_path, capsys) -> None:
    places = ["--workers", "1", "--runs=runs/trials"]  # the record does not say where it was made
    words = ["trial", "line", "--seeds", "2", *places, "--arms", "line", "--steps", "12"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "4 jobs, logs in" in said
    assert "begins 1/4  line, seed 0" in said
    assert "\n1/4  line, seed 0: error " in said
    assert " left)\n" in said
    assert "undecided: fewer than 5 seeds decide nothing (this was 2)" in said
    assert "line - flat, error:" in said
    record = records.read(tmp_path / "results" / "line.json")
    assert record["command"] == "pretrial trial line --seeds 2 --arms line --steps 12"
    assert record["setting"]["seeds"] == [0, 1]
    assert record["arms"][0]["config"] == {
        "slope": True,
        "steps_ratio": 1.0,
        "sleep": 0.0,
        "lr": 0.05,
    }
    assert record["arms"][0]["spent"]["train"]["steps"] == 12
    assert len(record["arms"][0]["items"]["error"][1]) == 11
    assert record["arms"][0]["curves"]["loss"]["x"] == [10, 12]
    assert "A line through points" in (tmp_path / "results/pages/line.html").read_text()

    began = [path.stat().st_mtime_ns for path in tmp_path.glob("runs/trials/line/*/log.txt")]
    assert main(words) == 0
    again = [path.stat().st_mtime_ns for path in tmp_path.glob("runs/trials/line/*/log.txt")]
    assert began == again  # every job was done, so none was started
    assert records.timeless(records.read(tmp_path / "results/line.json")) == records.timeless(
        record
    )

    assert main(["trial", "--again", "results/line.json", "--out", "new"]) == 0
    assert "every metric and verdict is as it was" in capsys.readouterr().out
    assert records.timeless(records.read(Path("new/line.json"))) == records.timeless(record)
    assert not (tmp_path / "runs/again/line").exists()

    assert main(["report", "--out", "pages"]) == 0
    assert main(["report", "--out", "pages", "--check"]) == 0
    Path("pages/index.html").write_text("old")
    assert main(["report", "--out", "pages", "--check"]) == 2
    assert "stale: pages/index.html" in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_a_further_trial_of_a_method_has_a_record_of_its_own(tmp_path, capsys) -> None:
    words = ["--seeds", "1", "--steps", "4", "--name", "steep", "--arms", "line"]
    assert main(["trial", "line", *words]) == 0
    record = records.read(Path("results/line-steep.json"))
    assert record["title"] == "A line through points (steep)"
    assert record["setting"]["slugs"] == ["line"]
    assert Path("results/pages/line-steep.html").exists()
    assert list(Path("results").glob("*.json")) == [Path("results/line-steep.json")]


@pytest.mark.usefixtures("in_this_process")
def test_fields_of_the_data_are_renamed_in_every_job_and_again(tmp_path, capsys) -> None:
    rows = [{"x": i / 16, "height": 1.0 - i / 16, "depth": 2.0} for i in range(9)]
    Path("points.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--data", "points.jsonl", "--seeds", "1", "--steps", "4", "--arms", "line"]
    assert main(["trial", "line", *words, "--fields", "y=height"]) == 0
    record = records.read(Path("results/line.json"))
    assert record["setting"]["fields"] == {"y": "height"}
    assert record["command"].endswith("--fields y=height")
    jobs = len(list(Path("runs/trials/line").iterdir()))

    capsys.readouterr()
    assert main(["trial", "--again", "results/line.json", "--out", "new"]) == 0
    assert "every metric and verdict is as it was" in capsys.readouterr().out

    assert main(["trial", "line", *words, "--fields", "y=depth"]) == 0
    assert len(list(Path("runs/trials/line").iterdir())) == 2 * jobs  # no run is mixed up
    other = records.read(Path("results/line.json"))
    assert other["arms"][0]["metrics"]["error"] != record["arms"][0]["metrics"]["error"]


@pytest.mark.usefixtures("in_this_process")
def test_compare_ranks_methods(tmp_path, capsys) -> None:
    assert main(["compare", "line", "curve", "--seeds", "2", "--steps", "10"]) == 0
    record = records.read(tmp_path / "results" / "line-curve.json")
    assert record["kind"] == "comparison"
    assert [arm["name"] for arm in record["arms"]] == ["line", "curve"]
    # same configuration, same seeds, same data order: the pairing is exact
    assert record["arms"][0]["metrics"] == record["arms"][1]["metrics"]
    assert record["verdict"] == "undecided"
    assert "not told apart from" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trial"], "needs the slug of a method"),
        (["trial", "lime"], "the nearest: line"),
        (["trial", "line", "--budgit", "3steps"], "nearest: --budget"),
        (["trial", "line", "--budget", "3"], "a positive number and a unit"),
        (["trial", "line", "--arms", "lin"], "the nearest: line"),
        (["trial", "--again", "none.json"], "there is no record none.json"),
        (["trial", "line", "--fields", "y"], "--fields takes pairs"),
        (["trial", "line", "--fields", "y=height"], "give it with --data"),
        (["trial", "other", "--fields", "y=height"], "this trial makes its own"),
        (["trial", "line", "--seeds", "17"], "16 at most: looks are at 5, 8, 12, 16"),
        (["trial", "line", "--workers", "-1"], "--workers is a number of processes"),
        (["trial", "line", "--runs", "/proc/runs"], "give another folder with --runs"),
        (["trial", "line", "--out", "/proc/out"], "give another folder with --out"),
        (["compare", "line"], "two or more different methods"),
        (["compare", "line", "other"], "cannot be compared: the metric of one is error"),
    ],
)
def test_mistakes_are_one_sentence(words, said, capsys) -> None:
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def held(folder: Path, options: dict, num_seeds: int = 5, slugs=("line",)) -> dict:
    given = Setting(slugs, {"steps": 30, **options}, tuple(range(num_seeds)))
    return hold(given, Placement(folder, quiet=True))


def by_name(record: dict) -> dict[str, dict]:
    return {arm["name"]: arm for arm in record["arms"]}


@pytest.mark.usefixtures("in_this_process")
def test_a_trial_stops_at_the_look_that_decides(tmp_path) -> None:
    options = {"useful": 0.05, "gate": True, "ceiling": 0.0, "premise": 0.01}
    record = held(tmp_path, options, num_seeds=16)
    assert record["verdict"] == "better"  # a slope helps points on a slope
    assert [look["decision"] for look in record["looks"]] == ["better"]
    assert record["gate"]["passed"]
    assert record["gate"]["baseline"] < record["gate"]["trivial"]["raw"]
    assert record["premise"]["passed"]
    assert record["setting"]["seeds"] == [0, 1, 2, 3, 4]
    arms = by_name(record)
    assert arms["line"]["seeds"] == arms["flat"]["seeds"] == [0, 1, 2, 3, 4]
    assert arms["raw"]["seeds"] == list(PILOTS)
    assert "half" not in arms
    assert record["next"] is None
    again = hold(Setting.from_json(record["setting"]), Placement(tmp_path, quiet=True))
    assert records.timeless(again) == records.timeless(record)


@pytest.mark.usefixtures("in_this_process")
def test_arms_that_are_alike_are_about_equal(tmp_path) -> None:
    """`half` trains as `line` does, but for the order of jobs: what it shows is the procedure."""
    record = held(tmp_path, {"useful": 2.0, "relative": True})
    assert record["useful"]["share"] == 2.0
    assert record["useful"]["value"] == pytest.approx(
        2.0 * sum(pilots(tmp_path, "flat")) / 2, rel=1e-4
    )


def pilots(folder: Path, arm: str) -> list[float]:
    paths = [next(folder.glob(f"line/{arm}-seed{seed}-*")) for seed in PILOTS]
    return [json.loads((p / "result.json").read_text())["metrics"]["error"] for p in paths]


@pytest.mark.parametrize(
    ("options", "verdict", "why"),
    [
        ({"gate": True, "useful": 0.9}, "nothing learnt", "training taught nothing that matters"),
        ({"ceiling": 0.3, "useful": 0.9}, "premise absent", "leaves nothing to gain"),
        ({"premise": 99.0, "useful": 0.05}, "premise absent", "it is not there: error is"),
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_a_gate_that_stays_shut_ends_the_trial(options, verdict, why, tmp_path) -> None:
    record = held(tmp_path, options)
    assert record["verdict"] == verdict
    assert why in explain(record)[0]
    assert record["claims"] == record["looks"] == []
    assert "line" not in by_name(record)  # no seed was spent on the method
    assert by_name(record)["flat"]["seeds"] == list(PILOTS)
    assert (record["next"] is not None) == (verdict == "nothing learnt")
    assert record["title"] in trial_page(record).render()
    assert f"| {verdict} |" in readme.table([record])


@pytest.mark.usefixtures("in_this_process")
def test_every_arm_chooses_its_learning_rate_on_a_pilot_seed(tmp_path) -> None:
    record = held(tmp_path, {"useful": 0.05, "tune": True, "gate": True})
    tuning, arms = record["tuning"], by_name(record)
    assert tuning["values"] == [1e-6, 0.05]
    assert tuning["chosen"]["line"] == arms["line"]["config"]["lr"] == 0.05
    assert tuning["reached"]["line"][1] < tuning["reached"]["line"][0]
    assert set(tuning["chosen"]) == {"line", "flat"}
    assert PILOTS[0] not in arms["line"]["seeds"]
    fixed = held(tmp_path, {"useful": 0.05, "tune": False, "gate": True})
    assert by_name(fixed)["line"]["metrics"] == arms["line"]["metrics"]  # 0.05 is its default


@pytest.mark.usefixtures("in_this_process")
def test_undecided_says_what_another_look_would_cost(tmp_path) -> None:
    record = held(tmp_path, {"useful": 1e-9, "steps": 2})
    assert record["verdict"] == "undecided"
    assert record["next"]["seeds"] == 8
    low, high = record["next"]["minutes"]
    assert 0 < low <= high
    assert "Next: --seeds 8, some" in explain(record)[1]


@pytest.mark.usefixtures("in_this_process")
def test_compare_looks_and_shows_the_floor(tmp_path) -> None:
    record = held(tmp_path, {"useful": 0.01, "gate": True}, slugs=("line", "curve"))
    assert record["looks"] == [{"seeds": 5, "decision": None}]  # they are the same in all but name
    assert by_name(record)["raw"]["seeds"] == list(PILOTS)
    assert [each.name for each in rank(record)] == ["line", "curve"]


@pytest.mark.usefixtures("in_this_process")
def test_the_floor_is_shown_before_anything_is_trained(tmp_path, capsys) -> None:
    options = {"useful": 0.01, "gate": True, "steps": 12}
    hold(Setting(("line", "curve"), options), Placement(tmp_path / "runs", workers=1))
    told = capsys.readouterr().out.splitlines()
    done = [line for line in told if re.match(r"\d+/\d+ ", line)]
    assert [line.split()[1] for line in done[:3]] == ["raw,", "raw,", "line,"]


def test_failing_arm_is_named_with_its_log(tmp_path) -> None:
    given = Setting(("line",), {"fail": True, "steps": 8}, (0,))
    with pytest.raises(UserError, match=r"line, seed 0 failed: this arm cannot be measured.*log"):
        hold(given, Placement(tmp_path / "runs", quiet=True))


@pytest.mark.usefixtures("in_this_process")
def test_unequal_budgets_are_refused(tmp_path) -> None:
    given = Setting(("line",), {"short": 0.5, "steps": 12}, (0,), ("line", "flat"))
    with pytest.raises(UserError, match=r"line spent 12 steps \(train 12\) and flat 6 steps"):
        hold(given, Placement(tmp_path / "runs", quiet=True))


@pytest.mark.usefixtures("in_this_process")
def test_warm_start_is_made_once_a_seed_and_given_to_all_arms(tmp_path) -> None:
    given = Setting(("line",), {"warm": True, "steps": 8}, (0, 1), ("line", "flat"))
    record = hold(given, Placement(tmp_path / "runs", quiet=True))
    assert record["shared"] == {"warm": {"steps": 7.0}}
    made = sorted(tmp_path.glob("runs/line/prepare-seed*/prepared/times.txt"))
    assert [len(path.read_text().splitlines()) for path in made] == [1, 1]
    cold = hold(
        Setting(("line",), {"steps": 8}, (0, 1), ("line", "flat")),
        Placement(tmp_path / "cold", quiet=True),
    )
    for warm_arm, cold_arm in zip(record["arms"], cold["arms"], strict=True):
        assert warm_arm["metrics"]["error"] != cold_arm["metrics"]["error"]


# -- killed at any moment -------------------------------------------------------------------------


def start(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [*CLI, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """A shell makes its background ignore SIGINT, and whatever runs there inherits it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def workers() -> list[int]:
    """Processes of jobs in this folder."""
    return list(at_work(Path.cwd()))


def wait_for_a_job() -> int:
    """Until a job runs, and a little longer; its process."""
    process = wait_for(workers)[0]
    time.sleep(0.3)
    return process


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_killed_at_any_moment_it_ends_with_the_same_record(tmp_path) -> None:
    words = ["trial", "line", "--seeds", "1", "--arms", "line", "--steps", "30", "--sleep", "0.05"]
    assert subprocess.run([*CLI, *words, "--runs", "whole", "--out", "whole"]).returncode == 0
    reference = records.timeless(records.read(Path("whole/line.json")))

    # the trial is killed; its jobs notice and save
    trial = start(words)
    wait_for(lambda: list(Path().glob("runs/trials/line/*/run/stages/train/step-*")))
    trial.kill()
    trial.communicate()
    wait_for(lambda: not workers())

    # a job is killed: the trial says so and the next one goes on from the checkpoint
    trial = start(words)
    os.kill(wait_for_a_job(), signal.SIGKILL)
    assert trial.wait(timeout=90) == 2
    assert b"line, seed 0 was killed" in trial.stderr.read()

    # Ctrl-C: the jobs save, the message says how to go on
    trial = start(words)
    wait_for_a_job()
    trial.send_signal(signal.SIGINT)
    _, said = trial.communicate(timeout=90)
    assert trial.returncode == 2
    assert b"run the same command again to go on" in said

    assert subprocess.run([*CLI, *words]).returncode == 0
    record = records.read(Path("results/line.json"))
    assert records.timeless(record) == reference
    ended = [path.parent for path in Path("runs/trials/line").glob("*/result.json")]
    assert record["wall_seconds"] == pytest.approx(times.covered(ended), abs=2e-3)
    [job] = Path("runs/trials/line").glob("line-*")
    places = re.findall(r"goes on from step (\d+)", (job / "log.txt").read_text())
    parts = [end - begin for begin, end in times.parts(job)]
    assert len(parts) >= 3
    assert places
    # all parts, of which a kill may leave out the last second, and in the last one these steps
    least = sum(parts[:-1]) + (30 - int(places[-1])) * 0.05
    assert least < record["arms"][0]["seconds"][0] < sum(parts) + 2e-3


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.usefixtures("in_this_process")
def test_killed_between_pilots_and_looks_it_decides_as_before(tmp_path) -> None:
    words = ["trial", "line", "--seeds", "5", "--steps", "20", "--useful", "0.05"]
    words += ["--gate", "--tune"]
    trial = start(words)
    wait_for(lambda: list(Path().glob("runs/trials/line/flat-seed9002-*/result.json")))
    trial.kill()
    trial.communicate()
    wait_for(lambda: not workers())
    assert main([*words, "--runs", "whole", "--out", "whole"]) == 0
    assert main(words) == 0
    one, other = (records.read(Path(folder) / "line.json") for folder in ("results", "whole"))
    assert one["verdict"] == "better"
    assert records.timeless(one) == records.timeless(other)


def test_result_is_whole_or_not_there(tmp_path) -> None:
    """A result cut short by a kill is never read: it gets its name when it is on the disk."""
    from pretrial.compare.worker import write_json

    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
