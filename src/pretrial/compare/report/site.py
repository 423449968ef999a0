"""All files rendered from the records: pages, gallery, README."""

from __future__ import annotations

import os
from pathlib import Path

from pretrial import discover
from pretrial.compare import record as records
from pretrial.compare.report import readme as readmes
from pretrial.compare.report.gallery import gallery
from pretrial.compare.report.trial_page import trial_page


def render(results: Path, out: Path, readme: Path | None = None) -> dict[Path, str]:
    """The text of every file by its path; nothing is written.

    Args:
        results: folder of the records.
        out: folder of the pages.
        readme: the README, or None to leave it out.
    """
    found = records.read_all(results)
    files = {out / f"{record['slug']}.html": trial_page(record).render() for record in found}
    files[out / "index.html"] = gallery(list(discover.methods().values()), found).render()
    if readme is not None:
        folder = os.path.relpath(results, readme.parent)
        files[readme] = readmes.render_file(readme, found, folder)
    return files
