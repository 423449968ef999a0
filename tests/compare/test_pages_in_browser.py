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
from pretrial.compare.report.run_page import write_run_page
from pretrial.compare.report.scale_page import scale_page
from pretrial.compare.report.so_far_page import so_far_page
from pretrial.compare.report.trial_page import trial_page
from pretrial.compare.setting import Setting
from pretrial.compare.so_far import SoFar

pytest.importorskip("selenium.webdriver")
pytestmark = pytest.mark.skipif(in_browser.MISSING, reason=in_browser.WHY)

RESULTS = Path(__file__).parents[2] / "results"
WIDTHS = (390, 1280)
NAMES = ("training", "finished", "trial", "comparison", "gallery", "scale", "needles", "so far")


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
        "so far": so_far_page(_so_far()).write(folder / "so-far.html"),
        "needles": needle_page(cells, 10).write(folder / "needles.html"),
    }


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
    assert driver.find_element("css selector", ".live").text.startswith("Renewed at ")
    (folder / "model").mkdir()
    write_run_page(folder)  # the run is over: no more loading
    time.sleep(1)
    assert driver.find_elements("css selector", ".live") == []
    assert driver.get_log("browser") == []
