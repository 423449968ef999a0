"""Advice on data: what the data is, what is tried within the time, and what is taken from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pretrial import discover
from pretrial.api import data
from pretrial.api.advising import course as courses
from pretrial.api.advising import trying
from pretrial.api.advising.choosing import Try, config_for, fitting
from pretrial.api.advising.course import Course, Question, fewer, seconds_each, sizes_of
from pretrial.api.advising.looking import look
from pretrial.api.advising.page import advice_page
from pretrial.api.advising.tuning import Tuning
from pretrial.api.advising.weighing import Series, weigh
from pretrial.cli import main
from pretrial.errors import UserError

_WORDS = {
    "animals": ("cat", "dog", "horse", "cow"),
    "tools": ("hammer", "saw", "drill", "axe"),
    "plants": ("oak", "rose", "fern", "moss"),
}


def written(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows_of(number: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    names = sorted(_WORDS)
    found = []
    for place in range(number):
        text = " ".join(rng.choice(_WORDS[names[place % 3]], 4)) + f" {rng.integers(1000)}"
        found.append({"text": text, "label": names[place % 3]})
    return found


@pytest.fixture
def texts(tmp_path) -> str:
    return written(tmp_path / "notes.jsonl", rows_of(150))


# -- the data -------------------------------------------------------------------------------------


def test_data_is_described_and_split_without_repeats_on_both_sides(tmp_path) -> None:
    rows = [*rows_of(150), *rows_of(150)[:30], {"text": rows_of(150)[0]["text"], "label": "tools"}]
    looked = look(data.Source(written(tmp_path / "a.jsonl", rows)))
    assert (looked.kind, looked.labelled, looked.classes) == ("text", True, tuple(sorted(_WORDS)))
    assert "181 texts of" in looked.facts[0]
    assert "letters: Latin 100 %" in looked.facts[0]
    assert looked.facts[1].startswith("3 labels; the most frequent, ")
    assert "31 rows repeat an earlier one." in looked.warnings
    assert any("1 contents stand there with different labels" in text for text in looked.warnings)
    train, test = ({row["text"] for row in part} for part in (looked.train, looked.test))
    assert not train & test


def test_rows_of_the_test_set_are_not_learnt_from(tmp_path) -> None:
    rows = rows_of(150)
    source = written(tmp_path / "a.jsonl", rows)
    other = written(tmp_path / "b.jsonl", [*rows_of(40, seed=1), *rows[:10]])
    looked = look(data.Source(source), other)
    assert len(looked.test) == 50
    asked = {row["text"] for row in looked.test}
    assert not asked & {row["text"] for row in looked.train}
    assert any("10 rows to be tested on were among" in text for text in looked.warnings)
    with pytest.raises(UserError, match=r"every row of .*same\.jsonl is among the rows"):
        look(data.Source(source), written(tmp_path / "same.jsonl", rows[:20]))


@pytest.mark.parametrize(
    ("rows", "label", "said"),
    [
        (rows_of(20), "", "has 20 labelled rows, and fewer than 40"),
        ([{"text": f"t {i}", "label": "a"} for i in range(60)], "", "labels .* are 'a'"),
        ([{"text": f"t {i}", "label": i} for i in range(60)], "", "60 different labels"),
        ([{"text": f"t {i}", "section": i % 2} for i in range(60)], "kind", "no row .* 'kind'"),
        ([{"body": "x"}] * 60, "", "no field text, image or audio .*--fields text=body"),
        ([{"text": "a"}, {"image": "b"}] * 30, "", r"different things \(30 text, 30 image\)"),
        ([{"image": f"{i}.png"} for i in range(60)], "", "no labels"),
        ([{"text": f"t {i}", "label": [1]} for i in range(60)], "", "one label"),
    ],
)
def test_bad_data_is_one_sentence(rows, label, said, tmp_path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        look(data.Source(written(tmp_path / "rows.jsonl", rows)), label=label)
    assert "\n" not in str(caught.value)


def test_texts_without_labels_are_to_be_predicted(tmp_path) -> None:
    rows = [{"text": row["text"] * 20, "section": row["label"]} for row in rows_of(60)]
    looked = look(data.Source(written(tmp_path / "plain.jsonl", rows)))
    assert not looked.labelled
    assert any("give --label section" in text for text in looked.facts)
    assert sizes_of(looked, 10) == [len(looked.train)]
    assert {"yi", "polycom"} <= set(fitting(looked))


# -- what is tried --------------------------------------------------------------------------------


def test_methods_that_fit_read_these_fields(texts) -> None:
    looked = look(data.Source(texts))
    slugs = fitting(looked)
    assert {"mlm", "electra", "drbert"} <= set(slugs)
    assert not {"ul2", "mae", "codet5", "never_from_scratch"} & set(slugs)
    images = look(data.Source("builtin:digits"))
    assert fitting(images) == ["mae", "mp3"]
    config = config_for("mae", images)
    assert (config.image_size, config.patch_size, config.num_channels) == (8, 2, 1)


def attempt(texts: str, one: Try, folder: Path, seconds: float = 8.0) -> dict:
    looked = look(data.Source(texts))
    made = trying.Attempt(one, looked, [len(looked.learn), 30], seconds, folder)
    trying.do(made)
    return json.loads((folder / trying.RESULT).read_text())["series"]


def test_the_floor_learns_from_every_number_of_labels(texts, tmp_path) -> None:
    series = attempt(texts, Try("floor", "", "", "floor"), tmp_path)
    assert set(series) == {"the majority", "TF-IDF, logistic regression"}
    for points in series.values():
        assert len(points) == 2
    assert np.mean(series["TF-IDF, logistic regression"]["30"]["items"]) > 0.8


def test_a_method_learns_without_labels_first(texts, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trying, "config_for", lambda slug, looked, init: _tiny(slug))
    one = Try("mlm", "MLM", "", "finetune", "mlm")
    made = trying.Attempt(one, look(data.Source(texts)), [100, 30], 4.0, tmp_path)
    method = trying._method(made)
    assert not method.training
    assert made.result["notes"][0].endswith("steps without labels")
    assert (tmp_path / "pretrain" / "metrics.jsonl").exists()


def test_classifiers_learn_from_every_number_of_labels(texts, tmp_path, monkeypatch) -> None:
    looked = look(data.Source(texts))
    loaded = discover.load("mlm")
    torch.manual_seed(0)
    method = loaded.method.build(_tiny("mlm"), data=loaded.method.read(looked.train)).eval()
    monkeypatch.setattr(Tuning, "_costs", lambda self: (1e-4, 1e-4))
    tuning = Tuning(method, looked, from_checkpoint=False)
    assert tuning.affordable([100, 50, 30], 60.0) == [100, 50, 30]
    right, note = tuning.tuned(30, 60.0, tmp_path / "labels-30")
    assert len(right) == len(looked.test)
    assert 0.3 < right.mean() <= 1
    assert note == "15 epochs"
    monkeypatch.setattr(Tuning, "_costs", lambda self: (1.0, 1e-4))
    tuning = Tuning(method, looked, from_checkpoint=True)
    assert tuning.affordable([100, 50, 30], 9.0) == [100, 30]  # the smallest tells most
    assert tuning.affordable([100, 50, 30], 1.0) == [100]


def _tiny(slug: str):
    return discover.load(slug).config.tiny()


def test_counts_of_bytes_are_the_floor_of_texts_without_labels(tmp_path) -> None:
    rows = [{"text": row["text"] * 5} for row in rows_of(60)]
    plain = written(tmp_path / "plain.jsonl", rows)
    series = attempt(plain, Try("floor", "", "", "floor"), tmp_path)
    (points,) = series["counts of three bytes"].values()
    assert 0 < np.mean(points["items"]) < 5


# -- what is taken from it ------------------------------------------------------------------------


def made(label: str, right: dict[int, float], floor: bool = False, number: int = 400) -> Series:
    rng = np.random.default_rng(0)  # the same rows are hard for everybody
    hard = rng.random(number)
    items = {size: (hard < share).astype(float).tolist() for size, share in right.items()}
    return Series(label, floor, items, dict.fromkeys(items, ""), 1.0)


def test_what_beats_the_floor_is_taken_with_its_figures() -> None:
    found = [made("TF-IDF", {100: 0.5, 900: 0.7}, True), made("net", {100: 0.7, 900: 0.8})]
    advice = weigh(found, 900, labelled=True)
    assert advice.take == "net"
    assert advice.helps
    assert advice.headline.startswith("Take net: accuracy 0.")
    assert "of TF-IDF, better by" in advice.headline
    assert "400 rows" in advice.headline
    assert "more labels should help" in advice.further[-1]


def test_the_floor_is_taken_where_nothing_beats_it() -> None:
    found = [made("TF-IDF", {100: 0.5, 900: 0.8}, True), made("net", {100: 0.6, 900: 0.7})]
    advice = weigh(found, 900, labelled=True)
    assert (advice.take, advice.helps) == ("TF-IDF", False)
    assert "nothing that was tried beats it; the best, net" in advice.headline
    assert "With 100 labels net" in advice.further[0]  # with few labels it is another matter
    assert "leads TF-IDF" in advice.further[0]


def test_a_small_lead_is_not_shown_to_beat_the_floor() -> None:
    found = [made("TF-IDF", {900: 0.70}, True), made("net", {900: 0.705}, number=300)]
    advice = weigh(found, 900, labelled=True)
    assert advice.take == "TF-IDF"
    assert "nothing that was tried is shown to beat it" in advice.headline
    assert "on 300 rows" in advice.headline  # those that both were asked


def test_fewer_bits_are_better() -> None:
    counts = Series("counts", True, {50: [2.0, 2.2, 2.1]}, {50: ""}, 1.0)
    model = Series("model", False, {50: [1.0, 1.1, 1.2]}, {50: ""}, 1.0)
    advice = weigh([counts, model], 50, labelled=False)
    assert advice.take == "model"
    assert advice.headline.startswith("Take model: bits per byte 1.100 against 2.100")


# -- all of it ------------------------------------------------------------------------------------


@pytest.fixture
def in_this_process(monkeypatch) -> list[str]:
    """Tries run one after another here, and what ran is listed."""
    ran: list[str] = []

    def run(course: Course, left, deadline, say) -> None:
        for one in left:
            ran.append(one.name)
            folder = course.folder_of(one)
            folder.mkdir(exist_ok=True)
            going = trying.Attempt(one, course.looked, course.sizes, 5.0, folder)
            trying.do(going)
            going.result["done"] = True
            going.keep()
            courses._note(course, one, 0)

    monkeypatch.setattr(courses, "_run", run)
    monkeypatch.setattr(
        courses, "choose", lambda looked, minutes, methods: [Try("floor", "none", "why", "floor")]
    )
    return ran


def test_command_says_what_to_take_and_goes_on_where_it_was(
    texts, tmp_path, capsys, in_this_process
) -> None:
    words = ["advise", "--data", texts, "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "150 texts of" in said
    assert "take TF-IDF, logistic regression" in said
    page = next((tmp_path / "out").glob("notes-*/advice.html")).read_text()
    assert "take TF-IDF, logistic regression" in page
    assert "Learning curves" in page
    assert main(words) == 0
    assert in_this_process == ["floor"]  # what is known is not tried again
    assert "1 of these are known from before" in capsys.readouterr().out


def test_other_questions_have_folders_of_their_own(texts) -> None:
    one = Question(data.Source(texts))
    assert one.folder_name.startswith("notes-")
    assert one.folder_name == Question(data.Source(texts), workers=3).folder_name
    assert one.folder_name != Question(data.Source(texts), minutes=3).folder_name
    with pytest.raises(UserError, match="--minutes is at least"):
        Question(data.Source(texts), minutes=0)


def test_a_try_that_fails_is_named_on_the_page(texts, tmp_path) -> None:
    looked = look(data.Source(texts))
    tries = [Try("floor", "none", "why", "floor"), Try("net", "net", "why not", "finetune", "mlm")]
    floor = {"the majority": {"112": {"items": [1.0, 0.0, 1.0, 1.0], "note": ""}}}
    course = Course(
        Question(data.Source(texts)), looked, tries, [112], 5.0, tmp_path,
        {"floor": {"series": floor, "done": True, "seconds": 1.0}}, {"net": "no time was left"},
    )  # fmt: skip
    page = advice_page(course).render()
    assert "nothing: no time was left" in page
    assert "Nothing was trained in this time: take the majority" in page


def test_the_time_is_kept_and_what_was_reached_counts(texts, tmp_path, monkeypatch) -> None:
    """A try that never ends is ended; one that failed says why."""

    class Process:
        def __init__(self, code: int | None) -> None:
            self.returncode, self.killed = code, False

        def poll(self) -> int | None:
            return self.returncode

        def kill(self) -> None:
            self.killed = True

        def wait(self) -> int:
            return 0

    looked = look(data.Source(texts))
    tries = [Try(name, name, "", "finetune", "mlm") for name in ("broken", "endless", "late")]
    course = Course(Question(data.Source(texts), workers=2), looked, tries, [112], 5.0, tmp_path)
    processes = {"broken": Process(2), "endless": Process(None), "late": Process(None)}

    def start(course: Course, one: Try) -> Process:
        course.folder_of(one).mkdir()
        (course.folder_of(one) / courses.LOG).write_text("pretrial: it broke\n")
        if one.name == "endless":
            series = {"endless": {"112": {"items": [1.0] * 9, "note": ""}}}
            (course.folder_of(one) / trying.RESULT).write_text(json.dumps({"series": series}))
        return processes[one.name]

    monkeypatch.setattr(courses, "_start", start)
    said: list[str] = []
    courses._run(course, tries, courses.time.monotonic() + 1.0, said.append)
    assert course.failed == {
        "broken": "it broke", "late": "the time was over before anything was measured",
    }  # fmt: skip
    assert processes["endless"].killed
    assert [each.label for each in course.series()] == ["endless"]
    assert any("time is over: endless: accuracy 1.000" in text for text in said)


def test_what_goes_on_from_a_checkpoint_learns_slowly(texts) -> None:
    looked = look(data.Source(texts))
    assert config_for("mlm", looked, "minilm").lr == 1e-4
    assert config_for("mlm", looked).lr == 1e-3


def test_mistakes_on_the_command_line_are_one_sentence(tmp_path, capsys) -> None:
    source = written(tmp_path / "few.jsonl", rows_of(20))
    for words, said in (
        ([], "--data"),
        (["--data", str(tmp_path / "none.jsonl")], "none.jsonl"),
        (["--data", source], "20 labelled rows"),
        (["--data", source, "--minutes", "0"], "--minutes is at least 1,"),
        (["--data", source, "--minute", "3"], "the nearest: --minutes"),
    ):
        assert main(["advise", *words, "--out", str(tmp_path / "out")]) == 2
        shown = capsys.readouterr().err
        assert said in shown
        assert "Traceback" not in shown


def test_methods_are_left_out_where_the_others_would_learn_too_little() -> None:
    tries = [
        Try("floor", "", "", "floor"), Try("vectors", "", "", "vectors"),
        Try("finetuned", "", "", "finetune"), Try("mlm-minilm", "", "", "finetune", "mlm"),
        Try("mlm", "", "", "finetune", "mlm"), Try("drbert", "", "", "finetune", "drbert"),
    ]  # fmt: skip
    said: list[str] = []

    def kept(needed: float) -> list[str]:
        left = fewer(tries, needed, lambda some: seconds_each(some, 600.0, 2), said.append)
        return [one.name for one in left]

    assert seconds_each(tries, 600.0, 2) == pytest.approx(0.93 * 200)
    assert kept(180) == [one.name for one in tries]
    assert not said
    assert kept(250) == ["floor", "vectors", "finetuned", "mlm-minilm", "mlm"]
    assert kept(2000) == ["floor", "vectors", "finetuned"]
    assert "--methods mlm tries it" in said[-1]


def test_the_commands_that_make_what_is_advised_are_named(texts, tmp_path) -> None:
    looked = look(data.Source(texts))
    tries = [
        Try("floor", "none", "", "floor"), Try("finetuned", "net", "", "finetune", "", "minilm"),
        Try("mlm-minilm", "mlm", "", "finetune", "mlm", "minilm"),
    ]  # fmt: skip

    def commands(best: str) -> list[str]:
        def points(value: float) -> dict:
            return {"112": {"items": [value] * 40, "note": ""}}

        results = {
            "floor": {"series": {"majority": points(0.5)}},
            "finetuned": {"series": {"net": points(0.9 if best == "net" else 0.1)}},
            "mlm-minilm": {"series": {"mlm": points(0.9 if best == "mlm" else 0.1)}},
        }
        asked = Question(data.Source(texts), label="section")
        return Course(asked, looked, tries, [112], 5.0, tmp_path, results).commands()

    given = f"--data {texts} --fields label=section"
    assert commands("net") == [f"pretrial finetune minilm {given} --out runs/finetuned"]
    assert commands("mlm") == [
        f"pretrial train mlm {given} --init minilm --out runs/mlm",
        f"pretrial finetune runs/mlm {given} --out runs/finetuned",
    ]
    assert commands("none") == []
