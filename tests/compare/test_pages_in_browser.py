"""Every kind of page in a real browser, on a phone and on a desk, in light and dark mode."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import in_browser
import pytest
from made_records import make_entries, make_record
from made_runs import in_training, make_run

from pretrial.compare import record as records
from pretrial.compare.report.gallery import gallery
from pretrial.compare.report.grid import needle_page
from pretrial.compare.report.page import Page
from pretrial.compare.report.run_page import write_run_page
from pretrial.compare.report.scale_page import scale_page
from pretrial.compare.report.so_far_page import so_far_page
from pretrial.compare.report.trial_page import trial_page
from pretrial.compare.setting import Setting
from pretrial.compare.so_far import SoFar
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.evaluate.result import Result
from pretrial.methods.code.coderl.trials.demonstration import Measured
from pretrial.methods.code.coderl.trials.page import page_of
from pretrial.methods.code.coderl.trials.trial import TESTS_ONLY
from pretrial.sandbox import Outcome, Verdict

pytest.importorskip("selenium.webdriver")
pytestmark = pytest.mark.skipif(in_browser.MISSING, reason=in_browser.WHY)

RESULTS = Path(__file__).parents[2] / "results"
WIDTHS = (390, 1280)
NAMES = (
    "training",
    "finished",
    "trial",
    "comparison",
    "gallery",
    "scale",
    "needles",
    "so far",
    "demo",
)


@pytest.fixture(scope="module")
def driver():
    with in_browser.browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    training = in_training(make_run(folder / "training", stages=2))
    entries = make_entries(12)
    tried = [make_record(f"method{i:02d}", gain=0.4 - 0.1 * i, seed=i) for i in range(9)]
    cells = [
        {"length": length, "depth": depth, "accuracy": depth}
        for length in (128, 256, 512, 1024)
        for depth in (0.0, 0.5, 1.0)
    ]
    scales = [_at_budget(make_record("scaled", 0.1 * i, seed=i), 10.0**i) for i in (10, 11, 12)]
    return {
        "training": write_run_page(training, renewed=600),
        "finished": write_run_page(make_run(folder / "finished")),
        "trial": trial_page(make_record("toy", gain=0.4)).write(folder / "trial.html"),
        "comparison": trial_page(_comparison()).write(folder / "comparison.html"),
        "gallery": gallery(entries, tried).write(folder / "index.html"),
        "scale": scale_page(scales).write(folder / "scale.html"),
        "demo": _demonstration().write(folder / "demo.html"),
        "so far": so_far_page(_so_far()).write(folder / "so-far.html"),
        "needles": needle_page(cells, 10).write(folder / "needles.html"),
    }


def _demonstration() -> Page:
    """What `pretrial demo coderl` writes, of made-up numbers."""
    shares = {"COMPILE_ERROR": 0.1, "FAILED_TEST": 0.5, "PASSED_TEST": 0.4}
    metrics = dict.fromkeys(("pass@1", "pass@5"), [0.4, 0.2, 1.0, 0.0] * 10)
    one = Measured(
        Result.of_items(metrics, {"outcomes": shares}), Result.of_items({TESTS_ONLY: [0.5] * 9}, {})
    )
    labels = {
        "warm": "warm start",
        "cross-entropy": "more imitation",
        "coderl": "CodeRL, resampled",
    }
    sampling = {"programs": 900, "with_tests_only": 90, "solved_by_tests": 30, "share_passed": 0.3}
    rows = [sampling, {"step": 50}, {**sampling, "solved_by_tests": 60}]
    programs = ["def f(x):\n    return x", "def f(x):\n    return [v for v in x if v > 2][::-1]"]
    verdicts = [Verdict(Outcome.FAILED_TEST), Verdict(Outcome.PASSED_TEST)]
    problem = mini_apps(num_train=1, num_test=0).train[0]
    pairs = [(problem, list(zip(programs, verdicts, strict=True)))]
    return page_of("It learns.", dict.fromkeys(labels, one), labels, rows, pairs, "mini-APPS", 240)


def _so_far() -> SoFar:
    """A trial of which some jobs are done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRETRIAL_METHODS", str(Path(__file__).parent / "toy_methods"))
        setting = Setting(("line",), {"gate": True}, tuple(range(5)))
        trial = setting.make()
    curves = {"loss": {"x": list(range(40)), "y": [1 / (i + 1) for i in range(40)]}}
    rest = {"items": {}, "groups": {}, "spent": {}, "parameters": 5, "seconds": 3.0}
    results = {
        (name, seed): {"metrics": {"error": 0.1 * seed + place}, "curves": curves, **rest}
        for place, name in enumerate(("line", "flat"))
        for seed in range(5 - place)
    }
    return SoFar(setting, trial, results, [], 9, 10)


def _at_budget(record: Any, amount: float) -> Any:
    record["budget"]["amount"] = amount
    return record


def _comparison() -> Any:
    """Eight methods side by side, as good and as dear as each other: their labels would meet."""
    record = make_record("several")
    arm = record["arms"][0]
    others = [
        {**json.loads(json.dumps(arm)), "name": f"arm{i}", "label": f"a method of the name {i}"}
        for i in range(8)
    ]
    record |= {"kind": "comparison", "arms": [*others, *record["arms"][1:]], "claims": []}
    return record


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_page_has_no_fault(driver, pages, name: str, width: int) -> None:
    for mode in ("light", "dark"):
        in_browser.show(driver, pages[name], width, mode)
        assert driver.execute_script("return document.querySelectorAll('h1').length") == 1
        assert in_browser.faults(driver) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_an_opened_row_of_the_gallery_has_no_fault(driver, pages, width: int) -> None:
    in_browser.show(driver, pages["gallery"], width)
    row = driver.find_element("css selector", "tr[data-slug=method00]")
    assert row.value_of_css_property("cursor") == "pointer"
    assert row.find_element("css selector", "svg.marker").is_displayed()
    button = row.find_element("css selector", "button")
    assert button.get_attribute("aria-expanded") == "false"
    button.send_keys("\ue007")  # Enter
    assert button.get_attribute("aria-expanded") == "true"
    assert driver.find_element("css selector", "tr.detail svg.plot").is_displayed()
    assert in_browser.faults(driver) == []


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_pages_of_the_records_have_no_fault(driver, tmp_path: Path, path: Path) -> None:
    if "setting" not in json.loads(path.read_text()):
        pytest.skip("not the record of a trial")
    page = trial_page(records.read(path)).write(tmp_path / "page.html")
    for width in WIDTHS:
        in_browser.show(driver, page, width)
        assert in_browser.faults(driver) == []


def test_a_page_of_a_run_in_training_keeps_its_place_when_it_is_renewed(driver, tmp_path) -> None:
    folder = in_training(make_run(tmp_path / "run", stages=3))
    page = write_run_page(folder, renewed=0.5)
    in_browser.show(driver, page, 390)
    driver.execute_script("document.querySelector('details').open = true; scrollTo(0, 700)")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"stage": "stage2", "step": 310, "loss": 1.0}) + "\n")
    write_run_page(folder, renewed=0.5)
    deadline = time.monotonic() + 20
    while "step 310" not in driver.execute_script("return document.body.innerText"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert abs(driver.execute_script("return scrollY") - 700) < 2
    assert driver.execute_script("return document.querySelector('details').open")
    assert driver.find_element("css selector", ".live").text.startswith("Updated at ")
    (folder / "model").mkdir()
    write_run_page(folder)  # the run is over: no more loading
    time.sleep(1)
    assert driver.find_elements("css selector", ".live") == []
    assert driver.get_log("browser") == []
