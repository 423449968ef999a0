"""The page of a run: what it shows while it trains and after, and how it is renewed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from made_runs import add_rows, in_training, make_run

from pretrial.cli import main
from pretrial.compare.report.run_folder import RunFolder
from pretrial.compare.report.run_page import run_page, write_run_page


def page_of(folder: Path) -> str:
    return run_page(RunFolder.read(folder)).render()


def test_it_shows_curves_samples_evaluation_settings_and_what_to_do(tmp_path: Path) -> None:
    html = page_of(make_run(tmp_path / "run"))
    assert "<h1>Finished after 300 steps: held-out loss 2.19, from 4.24.</h1>" in html
    titles = re.findall(r'class="title">([^<]*)</text>', html)
    assert titles == [
        "loss, training (lower is better)",  # 50 times the held-out one, so on an axis of its own
        "loss, held out (lower is better)",
        "mlm_loss, training (lower is better)",
        "accuracy, held out",
        "grad_norm",
        "lr",
    ]
    assert "&lt;b&gt;a&lt;/b&gt;" in html  # a sample, escaped
    assert "artefacts/samples/texts.jsonl" in html
    assert '<td class="number">0.910</td><td class="range">0.900 to 0.920</td>' in html
    assert "<td>--lr</td><td>0.002</td><td>0.0005</td>" in html
    assert "<td>--width</td>" not in html  # as by default, so with the others behind a click
    assert "--width 128" in html
    assert "--optim.beta 0.9" in html
    assert f"pretrial export {tmp_path / 'run'} --to FOLDER" in html
    assert "The held-out loss was still falling at the end" in html
    assert "<script" not in html


def test_a_loss_that_rose_is_told(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"stage": "stage0", "step": 310, "eval/loss": 3.5}) + "\n")
    assert "lowest at step 300 (2.19) and rose after" in page_of(folder)


def test_stages_are_told_apart_and_their_spending_is_added(tmp_path: Path) -> None:
    html = page_of(make_run(tmp_path / "run", stages=2))
    assert html.index("Training: stage0") < html.index("Training: stage1")
    assert '<td>train</td><td class="number">120.0</td><td class="number">600</td>' in html
    assert html.count("Training losses are means") == 1


def test_a_run_in_training_tells_how_far_it_is(tmp_path: Path) -> None:
    folder = in_training(make_run(tmp_path / "run", stages=2, steps=100))
    record = json.loads((folder / "run.json").read_text())
    record["arguments"]["budget"] = "400steps"
    (folder / "run.json").write_text(json.dumps(record))
    html = page_of(folder)
    assert (
        "<h1>Training: step 100 of stage stage1, 50% of the budget, about 40 seconds left" in html
    )
    (folder / ".lock").write_text("999999999")
    assert "<h1>Stopped: step 100 of stage stage1, 50% of the budget; held-out" in page_of(folder)


def test_a_long_log_makes_no_heavy_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    add_rows(folder, "stage0", range(310, 200_001, 10))
    began = time.process_time()
    html = page_of(folder)
    assert time.process_time() - began < 3  # 20,000 rows; half a second on an idle core
    assert len(html) < 300_000
    assert 'class="band"' in html


def test_a_folder_without_a_run_is_named(tmp_path: Path, capsys) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    (tmp_path / "run.json").write_text("{")
    assert main(["report", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_a_job_of_a_trial_has_a_page_too(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "run.json").unlink()
    assert "A job of a trial" in page_of(folder)


def test_it_is_rendered_without_torch(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    code = (
        "import sys; from pretrial.cli import main; assert main(sys.argv[1:]) == 0;"
        " assert not {'torch', 'scipy', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "report", str(folder)], check=True)
    began = time.process_time()  # the machine may be busy
    write_run_page(folder)
    assert time.process_time() - began < 0.5


@pytest.mark.timeout(60)
def test_watch_renews_the_page_until_the_run_ends(tmp_path: Path) -> None:
    folder = in_training(make_run(tmp_path / "run", steps=100))
    page = folder / "report.html"

    def shows(words: str) -> bool:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if page.exists() and words in page.read_text():
                return True
            time.sleep(0.05)
        return False

    words = ["report", str(folder), "--watch", "--every", "0.1"]
    watching = threading.Thread(target=main, args=[words])
    watching.start()
    try:
        assert shows("Training: step 100")
        assert 'class="live"' in page.read_text()
        add_rows(folder, "stage0", range(110, 121, 10))
        assert shows("Training: step 120")
        (folder / "model").mkdir()
        assert shows("Finished after 120 steps")
    finally:
        (folder / ".lock").unlink()
        watching.join(20)
    assert not watching.is_alive()
    assert "<script" not in page.read_text()
