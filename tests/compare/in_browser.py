"""A headless Chromium for tests of pages, and what it finds wrong with one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = not (CHROMIUM and DRIVER)
WHY = "no chromium: apt-get install chromium chromium-driver"

_FAULTS = """
const found = [];
const wide = document.documentElement.scrollWidth;
if (wide > innerWidth) found.push(`the page is ${wide} wide on a screen of ${innerWidth}`);
for (const svg of document.querySelectorAll("svg.plot")) {
  const frame = svg.getBoundingClientRect();
  if (!frame.width) continue;
  const texts = [...svg.querySelectorAll("text")].map(
    (text) => [text.textContent, text.getBoundingClientRect()]);
  texts.forEach(([name, box], i) => {
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(`${name} is cut off`);
    for (const [other, its] of texts.slice(i + 1)) {
      const width = Math.min(box.right, its.right) - Math.max(box.left, its.left);
      const height = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
      if (width > 0.5 && height > 1) found.push(`${name} and ${other} overlap`);
    }
  });
}
const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = (text) => {
  const [r, g, b] = rgb(text).map((v) => v / 255).map(
    (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour !== "transparent" && rgb(colour)[3] !== 0) return colour;
  }
  return "rgb(255, 255, 255)";
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
  if (node.closest("script, style, template, title, select, .on")) continue;
  const style = getComputedStyle(node);
  const colour = node.closest("svg") ? style.fill : style.color;
  const [a, b] = [light(colour), light(behind(node))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  const words = node.textContent.slice(0, 40);
  if (contrast < 4.5) found.push(`${words}: contrast ${contrast.toFixed(1)}`);
}
return found;
"""


@contextmanager
def browser() -> Iterator[Any]:
    """A browser whose console is kept."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_window_size(1200, 900)
    try:
        yield driver
    finally:
        driver.quit()


def show(driver: Any, page: Path, width: int, mode: str = "light") -> None:
    """Opens a page on a screen of that width, in light or dark mode."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    feature = {"name": "prefers-color-scheme", "value": mode}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get(page.absolute().as_uri())


def faults(driver: Any) -> list[str]:
    """What is wrong with the page that is shown.

    Looks for a page wider than the screen, labels of plots that meet or are cut off, text that is
    hard to read on its ground (a contrast below 4.5), and messages on the console.
    """
    console = [entry["message"] for entry in driver.get_log("browser")]
    return [*driver.execute_script(_FAULTS), *console]
