"""Trials without processes: arms, claims, the audit, records, verdicts from records, rankings."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from made_records import make_record

from pretrial import discover
from pretrial.cli.holding import require_known
from pretrial.compare import record as records
from pretrial.compare import worker
from pretrial.compare.audit import Account, audit
from pretrial.compare.code import _imported, code_digest
from pretrial.compare.judging import judge
from pretrial.compare.making import make_one
from pretrial.compare.ranking import compose, rank, recommendation
from pretrial.compare.report import readme, site
from pretrial.compare.report.trial_page import trial_page
from pretrial.compare.setting import Setting
from pretrial.compare.trial import Arm, Claim, Items
from pretrial.errors import UserError
from pretrial.plain import plain
from pretrial.train.budget import Budget

TOYS = Path(__file__).parent / "toy_methods"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _toy_methods(monkeypatch) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(TOYS))


# -- the trial ------------------------------------------------------------------------------------


def test_default_arms_named_arms_and_all() -> None:
    trial = make_one("line", {})
    assert [a.name for a in trial.choose()] == ["line", "flat", "raw"]
    assert [a.name for a in trial.choose(["half"])] == ["flat", "half"]  # the baseline is kept
    assert len(trial.choose(everything=True)) == 4
    with pytest.raises(UserError, match="no arm 'lin'; the nearest: line"):
        trial.choose(["lin"])


def test_claims_of_arms_that_do_not_run_are_left_out() -> None:
    trial = make_one("line", {})
    arms = trial.choose(["line"])
    assert trial.claims_of(arms) == (Claim("line", "flat", "error", "lower"),)


def test_arm_is_a_method_or_a_function() -> None:
    trial = make_one("line", {})
    for bad in (Arm("x", "x", "method"), Arm("a/b", "x", "method", "line")):
        with pytest.raises(AssertionError):
            dataclasses.replace(trial, arms=(bad,), claims=())


def test_digest_names_the_work(tmp_path) -> None:
    data = tmp_path / "notes.jsonl"
    data.write_text("{}\n")

    def digest(seed=0, arm="line", **options) -> str:
        given = Setting(("line",), options)
        trial = make_one("line", {k: v for k, v in options.items() if k != "data"})
        return given.digest(trial, trial.arm(arm), seed)

    first = digest(data=str(data))
    assert first == digest(data=str(data))
    data.write_text("{}\n{}\n")
    others = [digest(data=str(data)), digest(1), digest(arm="flat"), digest(steps=31)]
    assert len({first, *others}) == 5


def test_a_function_with_arguments_is_named_by_them() -> None:
    """Its own text holds an address, so that no other process would find the job again."""
    one, other = (plain(partial(max, 1, key=key)) for key in (2, 3))
    assert one == ["max", [1], {"key": 2}]
    assert other == ["max", [1], {"key": 3}]


def test_setting_survives_json() -> None:
    given = Setting(("line",), {"steps": 5, "sleep": 0.5}, (0, 3), ("line",), Budget(5, "steps"))
    assert Setting.from_json(json.loads(json.dumps(given.to_json()))) == given
    assert "fields" not in given.to_json()  # as in records from before there were any
    renamed = dataclasses.replace(given, fields={"y": "height"})
    assert Setting.from_json(json.loads(json.dumps(renamed.to_json()))) == renamed


# -- the audit ------------------------------------------------------------------------------------


def spent(arm: str, seed: int = 0, trains: bool = True, **purposes: dict[str, float]) -> Account:
    return Account(arm, seed, purposes, trains)


def test_audit_counts_teacher_sampling_and_execution() -> None:
    plain = spent("plain", train={"flops": 100.0})
    hidden = spent("hidden", train={"flops": 100.0}, teacher={"flops": 20.0}, sample={"flops": 5.0})
    expected = (
        "with seed 0, hidden spent 125 flops (train 100, teacher 20, sample 5) and plain 100 flops"
    )
    with pytest.raises(UserError, match=re.escape(expected)):
        audit([plain, hidden], Budget(100, "flops"))
    assert audit([plain, hidden], Budget(100, "flops"), counted=("train",)) == 0


def test_audit_allows_one_percent_and_one_step() -> None:
    def pair(other: float, steps: float) -> list[Account]:
        return [
            spent("a", train={"flops": 1000.0, "steps": steps}),
            spent("b", train={"flops": other, "steps": steps}),
        ]

    budget = Budget(1000, "flops")
    assert audit(pair(991.0, 500), budget) == pytest.approx(0.009)
    with pytest.raises(UserError, match="same budget"):
        audit(pair(989.0, 500), budget)
    assert audit(pair(950.0, 20), budget) == pytest.approx(0.05)  # a step is 50
    with pytest.raises(UserError, match="same budget"):
        audit(pair(940.0, 20), budget)


def test_audit_pairs_seeds_and_lets_untrained_arms_be() -> None:
    accounts = [
        spent("a", 0, train={"steps": 10.0}),
        spent("b", 0, train={"steps": 10.0}),
        spent("a", 1, train={"steps": 900.0}),
        spent("b", 1, train={"steps": 500.0}),
        spent("raw", 0, False),
    ]
    with pytest.raises(UserError, match="with seed 1"):
        audit(accounts, Budget(1, "steps"))
    assert audit(accounts[:2] + accounts[4:], Budget(1, "steps")) == 0
    with pytest.raises(UserError, match="said to spend nothing"):
        audit([spent("raw", 0, False, train={"seconds": 1.0})], Budget(1, "steps"))
    with pytest.raises(UserError, match="no arm booked any"):
        audit(accounts[:2], Budget(1, "tokens"))


# -- what a job reads and writes ------------------------------------------------------------------


def test_values_become_metrics_and_items() -> None:
    metrics, items, groups = worker.split_values({"accuracy": [1, 0, 1, 0], "loss": 0.5})
    assert (metrics, items) == ({"accuracy": 0.5, "loss": 0.5}, {"accuracy": [1, 0, 1, 0]})
    assert groups == {}
    grouped = worker.split_values({"nll": Items([1.0, 2.0, 6.0], ["b", "a", "b"])})
    assert grouped == ({"nll": 3.0}, {"nll": [1.0, 2.0, 6.0]}, {"nll": [0, 1, 0]})
    with pytest.raises(UserError, match="2 items and 1 groups"):
        worker.split_values({"nll": Items([1.0, 2.0], ["b"])})
    with pytest.raises(UserError, match="loss is nan"):
        worker.split_values({"loss": float("nan")})
    with pytest.raises(UserError, match="no items"):
        worker.split_values({"accuracy": []})


def test_curves_are_read_over_what_was_spent(tmp_path) -> None:
    rows = [
        {"stage": "train", "step": 10, "loss": 2.0, "lr": 1e-3, "flops": 500},
        {"stage": "train", "step": 10, "eval/loss": 3.0},
        {"stage": "train", "step": 20, "loss": 1.0, "rtd_loss": 0.1, "flops": 1000},
        {"stage": "train", "step": 15, "eval/loss": None},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    curves = worker.read_curves(path, "flops", ())
    assert curves["loss"] == {"x": [500, 1000], "y": [2.0, 1.0]}
    assert curves["eval/loss"] == {"x": [500], "y": [3.0]}
    assert set(curves) == {"loss", "eval/loss", "rtd_loss"}
    assert worker.read_curves(path, "seconds", ("lr",)) == {"lr": {"x": [10], "y": [1e-3]}}
    path.write_text("".join(json.dumps({**r, "stage": str(i)}) + "\n" for i, r in enumerate(rows)))
    assert "2: rtd_loss" in worker.read_curves(path, "flops", ())


def test_curves_of_seeds_are_merged_and_thinned() -> None:
    curves = [
        {"x": list(range(0, 1000)), "y": [float(v) for v in range(1000)]},
        {"x": list(range(0, 1200, 2)), "y": [2.0 * v for v in range(0, 1200, 2)]},
    ]
    merged = records.merge_curves(curves)
    assert len(merged["x"]) == records.CURVE_POINTS
    assert merged["x"][0] == 0
    assert merged["x"][-1] == 999  # nothing is extrapolated
    assert merged["y"][0] == merged["x"]
    assert merged["y"][1] == pytest.approx([2 * v for v in merged["x"]])


# -- records --------------------------------------------------------------------------------------


def test_record_is_written_whole_and_read_back(tmp_path) -> None:
    record = make_record("toy")
    path = records.write(record, tmp_path / "results")
    assert path == tmp_path / "results" / "toy.json"
    assert records.read(path) == record
    assert len(path.read_text().splitlines()) < 300  # lists of numbers stand on one line
    (path.parent / "other.json").write_text('{"benchmark": 1}')
    assert records.read_all(path.parent) == [record]


@pytest.mark.parametrize(
    ("break_it", "place"),
    [
        (lambda r: r.pop("seed", r.pop("setting")), "setting"),
        (lambda r: r["claims"][0].update(verdict="proved"), "claims/0/verdict"),
        (lambda r: r["arms"][0]["metrics"].update(accuracy=["high"]), "arms/0/metrics/accuracy/0"),
        (lambda r: r.update(surprise=1), "surprise"),
        (lambda r: r["budget"].update(unit="euros"), "budget/unit"),
    ],
)
def test_schema_names_the_place_of_an_error(break_it, place, tmp_path) -> None:
    record = make_record("toy")
    break_it(record)
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=place):
        records.read(path)


def test_bad_files_are_one_sentence(tmp_path) -> None:
    with pytest.raises(UserError, match="there is no record"):
        records.read(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        records.read(tmp_path / "bad.json")


def test_verdicts_follow_from_the_record_alone() -> None:
    record = make_record("toy", gain=0.3, seed=3)
    claims = [Claim(c["arm"], c["baseline"], c["metric"], c["expect"]) for c in record["claims"]]
    assert judge(record["arms"], claims, useful=0.02) == record["claims"]
    assert record["claims"][0]["over"] == "seeds and items"
    assert record["claims"][0]["p_adjusted"] == record["claims"][0]["p"]  # the primary one
    assert record["verdict"] == "better"
    fewer = [{**arm, "seeds": arm["seeds"][:4]} for arm in record["arms"]]
    assert judge(fewer, claims, useful=0.02)[0]["verdict"] == "undecided"


def test_claims_but_the_first_are_corrected_for_their_number() -> None:
    record = make_record("toy", gain=0.1, seed=3)
    claim = Claim("toy", "baseline", "accuracy", "higher")
    first, *others = judge(record["arms"], [claim, claim, claim, claim], useful=0.02)
    assert first["p_adjusted"] == first["p"]
    assert [other["p_adjusted"] for other in others] == pytest.approx([3 * first["p"]] * 3)
    assert judge(record["arms"], []) == []


def test_only_seeds_of_both_arms_are_compared() -> None:
    record = make_record("toy", gain=0.3, seed=3)
    ours, theirs, control = record["arms"]
    control["seeds"] = [0, 1, 9, 10, 11]
    claims = [
        Claim("toy", "baseline", "accuracy", "higher"),
        Claim("toy", "random", "accuracy", "higher"),
    ]
    assert [c["seeds"] for c in judge([ours, theirs, control], claims)] == [5, 2]
    control["seeds"] = [9, 10, 11, 12, 13]
    assert len(judge([ours, theirs, control], claims)) == 1


def test_worse_when_the_effect_goes_the_other_way() -> None:
    record = make_record("toy", gain=-0.4, seed=3)
    assert record["verdict"] == "worse"
    with pytest.raises(UserError, match="no metric 'f1': it has accuracy"):
        judge(record["arms"], [Claim("toy", "random", "f1", "higher")])


def test_timeless_leaves_out_clocks_only() -> None:
    record = make_record("toy")
    later = make_record("toy", wall_seconds=9.0, command="other", commits=["f"])
    later["arms"][0]["seconds"] = [1.0, 1.0, 1.0]
    later["arms"][0]["spent"]["train"]["seconds"] = 1.0
    assert records.timeless(record) == records.timeless(later)
    later["arms"][0]["metrics"]["accuracy"][0] = 0.0
    assert records.timeless(record) != records.timeless(later)
    assert records.changes(record, later)[0].startswith("toy, accuracy: was [")


# -- rankings -------------------------------------------------------------------------------------


def ranking_record(levels: dict[str, float], seconds: dict[str, float], spread: float) -> dict:
    record = make_record("toy")
    rng = np.random.default_rng(1)
    arm = record["arms"][0]
    record["arms"] = [
        {
            **arm,
            "name": name,
            "label": name,
            "metrics": {"accuracy": [level + spread * float(v) for v in rng.standard_normal(5)]},
            "items": {},
            "spent": {"train": {"flops": 2e12, "seconds": seconds[name]}},
        }
        for name, level in levels.items()
    ]
    record["gate"] = None
    return record


def test_clear_winner_is_recommended_with_its_smallest_lead() -> None:
    record = ranking_record({"a": 0.5, "b": 0.8, "c": 0.6}, {"a": 1, "b": 2, "c": 3}, 0.01)
    ranked = rank(record)
    assert [r.name for r in ranked] == ["b", "c", "a"]
    assert [r.front for r in ranked] == [True, False, True]  # c is dearer and worse than b
    assert all(r.told_apart for r in ranked[1:])
    sentence = recommendation(record)
    assert sentence.startswith("Take b: it leads c and a by 0.2")
    assert "adjusted for the looks" in sentence
    assert "5 seeds" in sentence
    assert "decide nothing" not in sentence


def test_no_recommendation_below_the_floor() -> None:
    record = ranking_record({"a": 0.5, "b": 0.8, "c": 0.6}, {"a": 1, "b": 2, "c": 3}, 0.01)
    floor = make_record("toy")["arms"][2]
    record["arms"].append({**floor, "label": "TF-IDF", "seeds": [9001, 9002]})
    record["gate"] = {"trivial": {"random": 0.795}}
    sentence = recommendation(record)
    assert sentence.startswith("None of these is better than TF-IDF (0.795 of accuracy)")
    assert "Take b" not in sentence
    record["gate"]["trivial"] = {"random": 0.7}
    assert recommendation(record).startswith("Take b")


def test_the_cheapest_is_not_named_where_it_is_below_the_floor() -> None:
    record = ranking_record({"a": 0.50, "b": 0.51}, {"a": 10.0, "b": 40.0}, 0.1)
    record["useful"]["value"] = 0.0
    best, other = rank(record)
    assert (best.name, other.name, other.told_apart) == ("b", "a", False)
    record["arms"].append({**make_record("toy")["arms"][2], "label": "TF-IDF", "seeds": [9001]})
    record["gate"] = {"trivial": {"random": other.mean.value}}
    sentence = recommendation(record)
    assert "it is also the cheapest of those that beat the trivial answers, so take it" in sentence
    record["gate"]["trivial"]["random"] = 0.4
    assert "the cheapest of them is a (0.25 times the seconds of b)" in recommendation(record)


def test_few_seeds_recommend_nothing() -> None:
    record = ranking_record({"a": 0.5, "b": 0.8}, {"a": 1, "b": 2}, 0.01)
    record["setting"]["seeds"] = [0, 1]
    for arm in record["arms"]:
        arm["seeds"] = [0, 1]
        arm["metrics"]["accuracy"] = arm["metrics"]["accuracy"][:2]
    ranked = rank(record)
    assert not ranked[1].told_apart
    assert not ranked[1].about_equal
    assert "Fewer than 5 seeds decide nothing" in recommendation(record)


def test_lower_is_better_turns_the_ranking_round() -> None:
    record = ranking_record({"a": 0.5, "b": 0.8}, {"a": 1, "b": 2}, 0.01)
    record["direction"] = "lower"
    ranked = rank(record)
    assert [r.name for r in ranked] == ["a", "b"]
    assert ranked[1].behind.low > 0


def test_tie_is_said_to_be_a_tie_and_the_cheapest_is_named() -> None:
    record = ranking_record({"a": 0.50, "b": 0.51}, {"a": 10.0, "b": 40.0}, 0.1)
    best, other = rank(record)
    sentence = recommendation(record)
    assert sentence.startswith(f"{best.label} came first")
    assert f"is not told apart from {other.label}" in sentence
    cheap = "the cheapest of them is a (0.25 times the seconds of b)"
    assert (cheap in sentence) if best.name == "b" else ("also the cheapest" in sentence)


def test_compose_takes_each_method_from_where_it_is() -> None:
    trial = compose(("line", "curve"), {"steps": 12})
    assert [(a.name, a.role) for a in trial.arms] == [("line", "method"), ("curve", "method")]
    assert trial.budget == Budget(12, "steps")
    assert trial.most_seeds == 5
    assert trial.reference().name == "line"
    assert trial.claims_of(trial.arms) == (Claim("curve", "line", "error", "lower"),)
    with pytest.raises(UserError, match="of the other accuracy, and other cannot 'predict'"):
        compose(("line", "other"), {})
    able = compose(("other", "line"), {})  # `line` is measured otherwise, but can all that is asked
    assert [arm.name for arm in able.arms] == ["other", "line"]
    assert able.metric == "accuracy"


# -- rendered files -------------------------------------------------------------------------------


def test_readme_table_is_rendered_between_its_markers(tmp_path) -> None:
    text = f"# x\n\n{readme.BEGIN}\nold\n{readme.END}\n\nafter\n"
    comparison = make_record("toy-other", kind="comparison")
    made = readme.render(text, [make_record("toy", gain=0.4), comparison])
    assert "toy-other" not in made
    assert made.startswith(f"# x\n\n{readme.BEGIN}\n| Trial |")
    assert made.endswith(f"{readme.END}\n\nafter\n")
    row = made.splitlines()[5]
    assert row.startswith("| [TOY](results/toy.json) | masked model | accuracy (higher expected) |")
    assert "| 0.02 | better | 5 | 2T FLOPs |" in row
    assert readme.render(made, [make_record("toy", gain=0.4)]) == made
    with pytest.raises(UserError, match="needs the lines"):
        readme.render("# x\n", [])


def test_files_rendered_from_the_records_of_the_project_are_not_stale(monkeypatch) -> None:
    """Mend it with: pretrial report --readme README.md."""
    monkeypatch.delenv("PRETRIAL_METHODS")
    files = site.render(ROOT / "results", ROOT / "results" / "pages", ROOT / "README.md")
    kept = {path: text for path, text in files.items() if path.exists()}
    assert ROOT / "README.md" in kept
    stale = [path.name for path, text in kept.items() if path.read_text("utf-8") != text]
    assert stale == []


def test_site_renders_a_page_a_record_and_the_gallery(tmp_path) -> None:
    records.write(make_record("line"), tmp_path / "results")
    files = site.render(tmp_path / "results", tmp_path / "pages")
    assert sorted(p.name for p in files) == ["index.html", "line.html"]
    assert 'data-slug="line"' in files[tmp_path / "pages" / "index.html"]


def test_a_method_of_several_trials_is_one_row_of_the_gallery(tmp_path) -> None:
    first = make_record("line")
    second = {**make_record("line"), "slug": "line-deep", "question": "Is it deep?"}
    for record in (first, second):
        records.write(record, tmp_path)
    found = records.read_all(tmp_path)
    assert [record["slug"] for record in found] == ["line", "line-deep"]
    index = site.render(tmp_path, tmp_path / "pages")[tmp_path / "pages" / "index.html"]
    assert index.count("data-slug=") == len(discover.methods())
    assert index.count('<a href="line-deep.html">Is it deep?</a>') == 1
    names = [row.split("]")[0] for row in readme.table(found).splitlines()[2:]]
    assert names == ["| [LINE", "| [LINE, deep"]


def test_page_shows_verdicts_arms_and_how_to_run_it_again() -> None:
    html = trial_page(make_record("toy", gain=0.02)).render()
    assert '<span class="tag open">undecided</span>' in html
    assert "How it was decided" in html
    assert "look at 5 seeds: go on" in html
    assert "to be beaten: random weights" in html
    assert "<code>pretrial trial toy</code>" in html
    assert "random weights" in html
    assert html.count('class="band"') == 5  # two curves of two arms, and what does not matter


def test_page_of_one_seed_has_no_interval_and_does_not_fail() -> None:
    record = make_record("toy")
    for arm in record["arms"]:
        arm["seeds"] = [0]
        arm["metrics"] = {"accuracy": arm["metrics"]["accuracy"][:1]}
        arm["items"] = {}
        arm["curves"] = {}
    record["claims"] = judge(record["arms"], [Claim("toy", "baseline", "accuracy", "higher")])
    records.check(record)
    html = trial_page(record).render()
    assert "nan" not in html
    assert record["claims"][0]["over"] == "nothing"


def test_page_of_arms_that_share_one_training_has_no_costs() -> None:
    record = make_record("toy", gain=0.02)
    for arm in record["arms"]:
        arm |= {"trains": False, "spent": {}, "curves": {}}
    html = trial_page(record).render()
    assert "Cost and quality" not in html
    assert "no other arm beats at a lower cost" not in html
    assert "masked model" in html
    assert rank(record) == []
    assert recommendation(record).startswith("No arm is trained on its own")


def test_a_comparison_has_the_jobs_of_the_trial_that_leads_it() -> None:
    alone, beside = Setting(("line",), {"steps": 5}), Setting(("line", "curve"), {"steps": 5})
    one, two = alone.make(), beside.make()
    method = next(arm for arm in one.arms if arm.role == "method")
    assert alone.digest(one, method, 0) == beside.digest(two, two.arm("line"), 0)
    assert alone.digest(one, method, 0) != beside.digest(two, two.arm("curve"), 0)
    assert alone.digest(one, method, 0) != beside.digest(two, two.arm("line"), 1)


def test_another_code_makes_other_jobs(tmp_path, monkeypatch) -> None:
    shutil.copytree(TOYS, tmp_path / "toys")
    monkeypatch.setenv("PRETRIAL_METHODS", str(tmp_path / "toys"))
    first = code_digest.__wrapped__(("line",))
    assert code_digest.__wrapped__(("line",)) == first
    assert code_digest.__wrapped__(("other",)) != first
    path = tmp_path / "toys" / "toy" / "line.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert code_digest.__wrapped__(("line",)) != first


def test_the_code_of_a_job_is_all_that_its_method_imports() -> None:
    import pretrial

    root = Path(pretrial.__file__).parent
    found, left = set(), [root / "methods/text/electra/__init__.py"]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path.read_text())
    names = {str(path.relative_to(root)) for path in found}
    wanted = {"bases/text_encoder.py", "train/run.py", "corrupt/masks.py", "objectives/tokens.py"}
    assert wanted <= names
    assert not any(name.startswith(("compare/", "cli/", "methods/vision")) for name in names)


RECORDS = sorted(
    path for path in (ROOT / "results").glob("*.json") if '"setting"' in path.read_text("utf-8")
)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_record_can_be_held_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRETRIAL_METHODS")
    record = json.loads(path.read_text("utf-8"))
    setting = Setting.from_json(record["setting"])
    told = ""
    try:
        require_known(record, setting)
    except UserError as error:
        told = str(error)
    if record["schema"] > 1:
        assert told == ""
    else:  # a trial that was set up anew before it was held again says so
        assert not told or "set up anew since this record was made, at commit" in told


def test_an_option_that_a_trial_has_not_is_named() -> None:
    with pytest.raises(
        UserError, match=r"the trial of line has no option 'nose'; the nearest: .*name"
    ):
        make_one("line", {"nose": 1})
