"""Records and attempts that are kept: the log, what is stale, trials at several budgets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from made_records import make_record

from pretrial.cli import holding, main
from pretrial.compare import attempts
from pretrial.compare import record as records
from pretrial.compare.jobs import StoppedError
from pretrial.compare.report.scale_page import growth, scale_page
from pretrial.compare.setting import Setting
from pretrial.errors import UserError

TOYS = Path(__file__).parent / "toy_methods"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _toy_methods(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(TOYS))
    monkeypatch.chdir(tmp_path)


def test_a_line_says_what_changed(tmp_path) -> None:
    old = make_record("toy", gain=0.3)
    new = make_record("toy", gain=0.3, metric="nll", code="ffff")
    new["budget"]["amount"] = 4e12
    new["arms"][0]["config"] = {"layers": 6}
    line = attempts.attempt(new, old)
    assert line["verdict"] == "better"
    assert line["changed"] == [
        "metric was accuracy, is nll",
        "budget was 2e+12 flops, is 4e+12 flops",
        "arm toy is set up otherwise",
        "the code of its methods changed",
    ]
    attempts.add(attempts.attempt(old), tmp_path)
    attempts.add(line, tmp_path)
    attempts.add(line, tmp_path)  # looked up again, it is no new attempt
    assert [each["metric"] for each in attempts.read(tmp_path)] == ["accuracy", "nll"]


def test_another_question_needs_other_seeds(tmp_path) -> None:
    first = attempts.attempt(make_record("toy"))
    other = {**first, "metric": "nll"}
    assert attempts.same_question_seeds([first, first]) == []
    assert attempts.same_question_seeds([first, {**other, "seeds": [100, 101]}]) == []
    assert attempts.same_question_seeds([first, other]) == [
        "toy: seeds [0, 1, 2, 3, 4] answered accuracy"
    ]
    (tmp_path / attempts.FILE).write_text("{")
    with pytest.raises(UserError, match="mend it by hand"):
        attempts.read(tmp_path)


def test_the_project_keeps_its_own_rules() -> None:
    """No provisional record, every record in the log, no question put to seeds that are known."""
    found = [r for r in records.read_all(ROOT / "results") if r["kind"] == "trial"]
    lines = attempts.read(ROOT / "results")
    assert [r["slug"] for r in found if r["code"] and r["provisional"]] == []
    last = {line["slug"]: line for line in lines}
    assert {r["slug"] for r in found} <= set(last)
    for record in found:
        assert last[record["slug"]]["metric"] == record["metric"]
        if record["code"]:  # what was held before is judged anew when it is read
            assert last[record["slug"]]["verdict"] == record["verdict"]
    assert attempts.same_question_seeds([line for line in lines if not line["provisional"]]) == []


@pytest.mark.usefixtures("in_this_process")
def test_what_is_stale_is_held_and_what_is_not_is_left(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(holding, "commit", lambda: "0123456789ab")
    monkeypatch.setattr("pretrial.compare.recording.commit", lambda: "0123456789ab")
    methods = {slug: holding.discover.find(slug) for slug in ("line",)}
    monkeypatch.setattr(holding.discover, "methods", lambda: methods)
    kept = {**holding.stale(tmp_path)[0][1].to_json(), "options": {"steps": 4}}
    assert main(["trial", "line", "--steps", "4", "--seeds", "5"]) == 0
    record = records.read(tmp_path / "results" / "line.json")
    assert record["setting"]["options"]["steps"] == kept["options"]["steps"]
    provisional = record["provisional"]  # jobs know the commit of the tree that runs this test
    assert [name for name, _ in holding.stale(tmp_path / "results")] == ["line"] * provisional
    records.write({**record, "provisional": False, "code": "old"}, tmp_path / "results")
    [(name, setting)] = holding.stale(tmp_path / "results")
    assert (name, setting.options["steps"]) == ("line", 4)
    records.write({**record, "provisional": False}, tmp_path / "results")
    assert main(["trial", "--all-methods"]) == 0
    assert "0 trials to hold: none" in capsys.readouterr().out


def test_records_of_the_first_schema_are_held_at_the_settings_of_today() -> None:
    """But each for the trial of its method that it is of."""
    old = {"code": "", "setting": {"slugs": ["mp3"], "options": {"track": "words", "data": "x"}}}
    assert holding._options("mp3-words", old) == {"track": "words"}
    assert holding._options("mp3", old) == {}
    gone = {"code": "", "setting": {"slugs": ["coderl"], "options": {"with_search": True}}}
    assert holding._options("coderl", gone) == {}
    new = {**gone, "code": "0123", "setting": {"slugs": ["coderl"], "options": {"solved": 9}}}
    assert holding._options("coderl", new) == {"solved": 9}


def test_all_methods_want_a_clean_commit(monkeypatch, capsys) -> None:
    monkeypatch.setattr(holding, "commit", lambda: "0123456789ab+")
    assert main(["trial", "--all-methods"]) == 2
    assert "records would be provisional: commit" in capsys.readouterr().err


def test_a_stop_ends_all_and_a_failure_one(tmp_path, monkeypatch, capsys) -> None:
    begun: list[str] = []

    def held(setting, placement, out, command):
        begun.append(command)
        raise error

    monkeypatch.setattr(holding, "commit", lambda: "0123456789ab")
    monkeypatch.setattr(holding, "hold_and_write", held)
    left = [("a", Setting(("line",), {"steps": 4})), ("line", Setting(("line",)))]
    monkeypatch.setattr(holding, "stale", lambda folder: left)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text(json.dumps(make_record("a")))
    older = {**make_record("a"), "code": ""}  # it was held by the rules of before
    (tmp_path / "results" / "older.json").write_text(json.dumps(older))
    words = holding._words(tmp_path / "results" / "older.json", Setting(("line",), {"steps": 4}))
    assert words == "line --steps 4"
    error: UserError = UserError("a job failed")
    assert main(["trial", "--all-methods"]) == 2
    assert begun == ["pretrial trial --again results/a.json", "pretrial trial line"]
    assert "a: a job failed; line: a job failed" in capsys.readouterr().err
    error = StoppedError("stopped")
    assert main(["trial", "--all-methods"]) == 2
    assert len(begun) == 3  # the second was not begun


def test_time_that_is_over_stops_as_ctrl_c_does() -> None:
    with pytest.raises(KeyboardInterrupt), holding._until(0.05 / 3600):
        subprocess.run(["sleep", "5"], check=True)


@pytest.mark.usefixtures("in_this_process")
def test_the_gap_at_three_budgets(tmp_path, capsys) -> None:
    words = ["--scale", "--steps", "12", "--seeds", "5"]
    assert main(["trial", "line", *words]) == 0
    said = capsys.readouterr().out
    assert said.count("times the budget") == 3
    html = (tmp_path / "results/pages/line-scale.html").read_text()
    assert "does the gap grow?" in html
    assert "the lead" in html
    assert not (tmp_path / "results/line.json").exists()  # it takes no record's place


def test_growth_is_told_by_seed() -> None:
    small, large = make_record("toy", gain=0.05), make_record("toy", gain=0.05)
    lines = growth([small, large])
    assert "neither grows nor shrinks" in lines or "grows" not in lines
    ours = large["arms"][0]["metrics"]
    ours["accuracy"] = [v + 0.2 + 0.001 * i for i, v in enumerate(ours["accuracy"])]
    assert "the lead grows" in growth([small, large])
    assert "the lead shrinks" in growth([large, small])
    assert "fewer than two" in growth([small, {**large, "claims": []}])
    assert "grow" in scale_page([small, large]).render()
    assert json.dumps(large)
