"""The gallery and the trial page, in a real browser: filter, sort, open, keyboard, no error."""

from __future__ import annotations

import re

import in_browser
import pytest
from made_records import make_entries, make_record

from pretrial.compare.report.gallery import gallery
from pretrial.compare.report.trial_page import trial_page

pytest.importorskip("selenium.webdriver")
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait

pytestmark = pytest.mark.skipif(in_browser.MISSING, reason=in_browser.WHY)


@pytest.fixture(scope="module")
def browser():
    with in_browser.browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    records = [
        make_record(f"method{i:02d}", gain=(0.4, 0.02, -0.4)[i % 3], seed=i) for i in range(79)
    ]
    gallery(make_entries(79), records).write(folder / "index.html")
    for record in records[:3]:
        trial_page(record).write(folder / f"{record['slug']}.html")
    return folder


@pytest.fixture
def at_gallery(browser, pages):
    browser.get(f"file://{pages}/index.html")
    rows = "document.querySelectorAll('#methods tbody tr[data-slug]').length"
    whole = f"return document.readyState === 'complete' && {rows} === 79"
    # on a busy machine a browser has answered while it was still reading the table
    WebDriverWait(browser, 60).until(lambda b: b.execute_script(whole))
    yield browser
    assert browser.get_log("browser") == []  # no console error, nothing fetched in vain


def shown(browser) -> list[str]:
    rows = browser.find_elements("css selector", "#methods tbody tr[data-slug]")
    return [row.get_attribute("data-slug") for row in rows if row.is_displayed()]


def choose(browser, name: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", name)).select_by_visible_text(value)


def test_79_methods_are_shown_and_light(at_gallery, pages) -> None:
    assert (pages / "index.html").stat().st_size < 2_000_000
    WebDriverWait(at_gallery, 60).until(lambda browser: len(shown(browser)) == 79)


def test_search_and_filters_narrow_and_escape_shows_all(at_gallery) -> None:
    at_gallery.find_element("id", "search").send_keys("method07")
    assert shown(at_gallery) == ["method07"]
    assert at_gallery.find_element("id", "count").text == "1 of 79"
    at_gallery.find_element("id", "search").send_keys("\ue00c")  # Escape
    assert len(shown(at_gallery)) == 79
    choose(at_gallery, "family", "code")
    assert shown(at_gallery) == [f"method{i:02d}" for i in range(0, 79, 7)]
    choose(at_gallery, "ability", "forecast")
    assert shown(at_gallery) == [f"method{i:02d}" for i in range(0, 79, 7) if i % 5 in (3, 4)]
    choose(at_gallery, "verdict", "better")
    assert all(int(slug[-2:]) % 3 == 0 for slug in shown(at_gallery))
    at_gallery.find_element("id", "search").send_keys("no such words")
    assert at_gallery.find_element("id", "none").is_displayed()


def test_columns_sort_both_ways(at_gallery) -> None:
    def click(name: str) -> None:
        at_gallery.find_element("xpath", f"//th/button[text()='{name}']").click()

    def column(number: int) -> list[str]:
        cells = at_gallery.find_elements("css selector", f"tr[data-slug] td:nth-child({number})")
        return [cell.get_attribute("data-value") for cell in cells]

    click("Year")
    years = [int(v) for v in column(4)]
    assert years == sorted(years)
    assert len(set(years)) > 1
    click("Year")
    assert [int(v) for v in column(4)] == sorted(years, reverse=True)
    head = at_gallery.find_element("xpath", "//th[button[text()='Year']]")
    assert head.get_attribute("aria-sort") == "descending"
    click("Effect")
    effects = [float(v) for v in column(6)]
    assert effects == sorted(effects)


def test_a_method_opens_by_click_and_by_key_and_shows_a_curve(at_gallery) -> None:
    row = at_gallery.find_element("css selector", "tr[data-slug=method04]")
    row.click()
    detail = at_gallery.find_element("css selector", "tr.detail")
    curve = detail.find_element("css selector", "svg.plot path.curve")
    assert curve.is_displayed()
    assert curve.rect["width"] > 200
    assert len(re.findall("L", curve.get_attribute("d"))) > 20
    assert detail.find_element("css selector", "svg.plot path.band").is_displayed()
    assert at_gallery.current_url.endswith("#method04")
    button = row.find_element("css selector", "button")
    assert button.get_attribute("aria-expanded") == "true"
    button.send_keys("\ue007")  # Enter
    assert at_gallery.find_elements("css selector", "tr.detail") == []


def test_link_into_the_gallery_opens_the_method(at_gallery, pages) -> None:
    at_gallery.get("about:blank")
    at_gallery.get(f"file://{pages}/index.html#method02")
    detail = at_gallery.find_element("css selector", "tr.detail")
    detail.find_element("link text", "The whole trial").click()
    assert at_gallery.find_element("css selector", "p.kicker").text.startswith("METHOD02")


def test_slash_goes_to_search(at_gallery) -> None:
    at_gallery.find_element("css selector", "body").send_keys("/")
    assert at_gallery.switch_to.active_element.get_attribute("id") == "search"
    assert at_gallery.switch_to.active_element.get_attribute("value") == ""


@pytest.mark.parametrize("name", ["index", "method00"])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_fits_a_phone_in_both_modes(browser, pages, name, mode) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    feature = {"name": "prefers-color-scheme", "value": mode}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        browser.get(f"file://{pages}/{name}.html")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        paper, ink = browser.execute_script(
            "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        )
        light = [sum(int(v) for v in re.findall(r"\d+", colour)[:3]) for colour in (paper, ink)]
        assert abs(light[0] - light[1]) > 500  # of 765: readable
        assert (light[0] < light[1]) == (mode == "dark")
        plots = browser.find_elements("css selector", ".figures svg.plot")
        assert all(250 < plot.rect["width"] <= 360 for plot in plots if plot.is_displayed())
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert browser.get_log("browser") == []
