"""How heavy the gallery over 79 methods is, and how fast it loads in headless Chromium.

    python bench/gallery.py

The page is loaded five times from a file; the time is the browser's own, from the start of the
navigation to the end of the load event.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "compare"))


def main() -> None:
    """Measures and prints."""
    from made_records import make_entries, make_record
    from selenium import webdriver

    from pretrial.compare.report.gallery import gallery

    records = [make_record(f"method{i:02d}", gain=0.1, seed=i) for i in range(79)]
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    with tempfile.TemporaryDirectory() as text:
        path = gallery(make_entries(79), records).write(Path(text) / "index.html")
        size = path.stat().st_size
        browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            times = []
            for _ in range(5):
                browser.get(f"file://{path}")
                code = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
                times.append(browser.execute_script(code))
        finally:
            browser.quit()
    print(f"{size / 1e6:.2f} MB; loaded in {statistics.median(times):.0f} ms (of {len(times)})")


if __name__ == "__main__":
    main()
