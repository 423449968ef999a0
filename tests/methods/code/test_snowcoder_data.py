"""Arctic-SnowCoder: files, packing, selection, schedules, synthetic files."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from snowcoder_made import GOOD, made_files

from pretrial.data.windows.cutting import TokenWindows, Windows, joined
from pretrial.errors import UserError
from pretrial.methods.code import snowcoder
from pretrial.methods.code.snowcoder import Config, SnowCoder, abilities
from pretrial.methods.code.snowcoder.abilities import Writer, code_of_answer, seed_of_file
from pretrial.methods.code.snowcoder.data import (
    Basic,
    clean,
    order,
    raise_language,
    read_files,
    select,
    texts_of_source,
)
from pretrial.methods.code.snowcoder.stages import Training
from pretrial.models.architectures.language_model import CausalLM
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.optim import Schedule
from pretrial.train.run import Run


def test_packed_windows_hold_one_language_and_keep_repositories_together() -> None:
    files = made_files()
    tokenizer = learn_bpe([file.text for file in files], 300)
    tokens = TokenWindows((file.text for file in files), tokenizer, 10**6)
    lists = order(files, range(len(files)), "language", random.Random(0))
    assert sorted(place for each in lists for place in each) == list(range(24))
    for places in lists:
        assert len({files[place].language for place in places}) == 1
        repos = [files[place].repo for place in places]
        changes = sum(a != b for a, b in pairwise(repos))
        assert changes == len(set(repos)) - 1
    packed = Windows(joined(tokens, lists, 40, tokenizer.eos_token_id))
    for window in packed:
        text = tokenizer.decode(window)
        assert 1 < len(window) <= 40
        assert not ("# py" in text and "// c" in text)
    seen = Counter(token for window in packed for token in window)
    assert seen == Counter(t for ids in tokens for t in ids) + Counter({tokenizer.eos_token_id: 24})
    mixed = order(files, range(24), "repo", random.Random(0))
    assert len(mixed) == 1
    assert len({files[place].language for place in mixed[0]}) == 2
    assert order(files, range(24), "language", random.Random(1)) != lists


def test_a_window_of_one_token_is_left_out() -> None:
    tokens = TokenWindows(["ab"], learn_bpe(["ab"], 263), 10)
    packed = Windows(joined(tokens, [[0], [0, 0]], 2, 1))
    lengths = [len(window) for window in packed]
    assert min(lengths) == 2
    assert len(packed[:2]) == 2


def test_selection_meets_each_quota_within_a_file() -> None:
    rng = random.Random(0)
    languages = [rng.choice(["python", "c", "go"]) for _ in range(300)]
    sizes = [rng.randrange(10, 200) for _ in range(300)]
    scores = [rng.random() for _ in range(300)]
    wanted = 0.2 * sum(sizes)
    places = select(scores, languages, sizes, wanted)
    for language in set(languages):
        own = [place for place in range(300) if languages[place] == language]
        quota = 0.2 * sum(sizes[place] for place in own)
        taken = [place for place in places if languages[place] == language]
        amount = sum(sizes[place] for place in taken)
        assert quota <= amount < quota + max(sizes[place] for place in own)
        worst = min(scores[place] for place in taken)
        assert all(scores[place] <= worst for place in own if place not in taken)
    assert select(scores, languages, sizes, 10 * sum(sizes)) == list(range(300))


def test_python_is_raised_and_never_lowered() -> None:
    languages, sizes = ["python", "c", "go", "python"], [10, 60, 40, 15]
    places = raise_language(languages, sizes, "python", 0.5)
    python = sum(sizes[place] for place in places if languages[place] == "python")
    assert abs(python - 100) <= 15
    assert sorted(place for place in places if languages[place] != "python") == [1, 2]
    assert sorted(raise_language(languages, [90, 5, 5, 90], "python", 0.5)) == [0, 1, 2, 3]
    assert raise_language(["c"], [5], "python", 0.5) == [0]


def test_selected_files_are_repeated_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(Config.tiny(), phase_ratios=(0, 1, 0), selection="random", batch_size=1)
    files = made_files()
    method = SnowCoder.build(config, data=files)
    run = Run(tmp_path / "walk", files, budget=Budget(1, "steps"), quiet=True)
    (stage,) = Training(method, run).stages()
    windows = Counter(map(tuple, stage.data))
    drawn: Counter[tuple[int, ...]] = Counter()
    plain = CausalLM.batch

    def counting(self, examples, generator):
        drawn.update(map(tuple, examples))
        return plain(self, examples, generator)

    monkeypatch.setattr(CausalLM, "batch", counting)
    budget = Budget(3 * windows.total(), "examples")
    train(method, Run(tmp_path / "run", files, budget=budget, quiet=True))
    assert drawn == Counter({window: 3 * count for window, count in windows.items()})


def test_quota_follows_from_the_budget(tmp_path: Path) -> None:
    files = made_files()
    config = replace(Config.tiny(), keep_ratio=0.0, repeats=4)
    method = SnowCoder.build(config, data=files)

    training = Training(method, Run(tmp_path, files, quiet=True))
    corpus = training._corpus("data", files)
    scores = [float(place) for place in range(24)]
    total = sum(corpus.sizes)
    places = training._selected(corpus, scores, Budget(2 * total, "tokens"))
    taken = sum(corpus.sizes[place] for place in places)
    assert total / 2 <= taken < total / 2 + 2 * max(corpus.sizes)
    with pytest.raises(UserError, match="--keep-ratio"):
        training._selected(corpus, scores, Budget(60, "seconds"))


def test_filters_name_what_they_left_out() -> None:
    basic = Basic(max_line=200, max_mean_line=60, min_letter_ratio=0.25)
    long = "words and words " * 30 + "\n" + "a = 1\n" * 40
    solution = "def f(a, b, c, d, e):\n    return [a, b, c, d, e, a, b]\n"
    texts = [GOOD, long, "x y z " * 20, "{{{(((;;;\n" * 9, GOOD + "\n", solution, GOOD * 9]
    files = read_files([{"text": text} for text in texts])
    kept, removed = clean(files, basic, 0.8, [solution.replace("    ", "\t")])
    assert kept == [0, 6]
    assert removed == {
        "max_line": 1,
        "max_mean_line": 1,
        "min_letter_ratio": 1,
        "equal": 1,
        "evaluation": 1,
    }
    assert clean(files, Basic(0, 0, 0), 0, [])[0] == list(range(7))


def test_files_need_text_and_tell_their_language() -> None:
    (file,) = read_files([{"text": "x", "path": "a/b.go"}])
    assert (file.language, file.repo) == ("go", "")
    files = read_files([{"text": " \n", "path": "a/__init__.py"}, {"text": "x"}])
    assert [file.text for file in files] == ["x"]
    assert files.skipped == ["row 0 (a/__init__.py) is empty"]
    with pytest.raises(UserError, match="'text' of row 0 is a int"):
        read_files([{"text": 3}])
    with pytest.raises(UserError, match="--fields text=body"):
        read_files([{"body": "x"}])


def test_sources_of_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"code": "x = 1"}\n{"code": "y = 2"}\n')
    assert texts_of_source(str(tmp_path / "a.jsonl")) == ["x = 1", "y = 2"]
    solved = texts_of_source("builtin:mini-apps?num_train=3&num_test=1&solved=3")
    assert len(solved) == 3
    assert all(text.startswith('"""') for text in solved)


def test_rates_hit_the_published_points() -> None:
    config = Config.paper()
    steps = 120_000
    first, second = Schedule(config.optim(1)), Schedule(config.optim(2))
    rates = [first.factor(step, step / steps, 1 / steps) * config.lr for step in range(steps)]
    assert rates[599] == pytest.approx(5.3e-4)
    assert max(rates) == pytest.approx(5.3e-4)
    assert rates[-1] == pytest.approx(5.3e-5, rel=1e-3)
    steps = 12_000
    rates = [second.factor(step, step / steps, 1 / steps) * config.lr for step in range(steps)]
    assert rates[0] == pytest.approx(5.3e-4 / 1000)
    assert rates[999] == pytest.approx(5.3e-4)
    assert rates[-1] < 1e-7
    assert config.optim(3) == config.optim(2)
    linear = replace(config, rewarm="linear").optim(2)
    assert (linear.lr, linear.warmup, linear.schedule) == (pytest.approx(5.3e-5), 0.0, "linear")
    assert replace(config, rewarm="constant").optim(2).schedule == "constant"


def test_seeds_and_answers() -> None:
    text = "\n\n".join(f"line {i}" for i in range(50))
    seed = seed_of_file(text, 5, random.Random(0)).splitlines()
    start = int(seed[0].split()[1])
    assert seed == [f"line {i}" for i in range(start, start + 5)]
    assert seed_of_file("one", 5, random.Random(0)) == "one"
    assert code_of_answer("Sure:\n```python\nx = {1}\n```\nDone.") == "x = {1}"
    assert code_of_answer("```\nx = 1") == "x = 1"
    assert code_of_answer(" x = 1\n") == "x = 1"


def test_a_model_writes_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = read_files([{"text": "a = {0}\n" * 20, "language": "c"}] * 3)
    method = SnowCoder.build(replace(Config.tiny(), max_length=600), data=files)
    network, tokenizer = method.export().eval(), method.tokenizer
    monkeypatch.setattr(abilities, "load_generator", lambda source: (network, tokenizer))
    options = {"max_new_tokens": 8, "num_lines": 2, "seed": 3}
    rows = list(method.synthesise(files, generator="any", **options))
    assert rows == list(method.synthesise(files, generator="any", **options))
    for row in rows:
        assert row["language"] == "c"
        assert row["seed"] == "a = {0}\na = {0}"
        assert row["text"].strip()
    assert len(Writer("any")._prompt(abilities.PROMPT.format(language="c", seed="{x}"))) > 20


def test_examples_are_read() -> None:
    files = SnowCoder.read(snowcoder.SnowCoder.sample_rows())
    assert {file.language for file in files} == {"python", "c"}
