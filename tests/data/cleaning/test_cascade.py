"""The cascade of filters, and the command that runs it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pretrial.cli import main
from pretrial.data.cleaning.cascade import Cascade, draw
from pretrial.data.cleaning.cascade_stages import STAGES, Options
from pretrial.data.cleaning.clusters import Clusters, coherence
from pretrial.data.cleaning.heuristics import Heuristics, mask_private
from pretrial.data.cleaning.linear_scorer import LinearScorer
from pretrial.data.cleaning.ngram_model import NgramModel
from pretrial.data.cleaning.repeats import ParagraphRepeats, RunRepeats
from pretrial.errors import UserError

NOUNS = ["river", "mountain", "village", "garden", "bridge", "market", "teacher", "window"]
VERBS = ["crosses", "follows", "remembers", "paints", "repairs", "visits", "describes", "watches"]
LICENCE = (
    "Permission is hereby granted to any person who obtains a copy of this work, free of charge."
)


def sentence(rng: random.Random) -> str:
    a, b, c = (rng.choice(NOUNS) for _ in range(3))
    v, w = (rng.choice(VERBS) for _ in range(2))
    forms = (
        f"The {a} {v} the {b}, and the {c} {w} it too.",
        f"Every {a} {v} some {b} where a {c} {w} them.",
        f"Our {a} often {v} this {b} but no {c} {w} one.",
        f"When that {a} {v} their {b}, its {c} {w} us.",
    )
    return rng.choice(forms)


def document(rng: random.Random, num: int = 8) -> str:
    lines = [sentence(rng) for _ in range(num)]
    return "\n".join(lines[: num // 2]) + "\n\n" + "\n".join(lines[num // 2 :])


@pytest.fixture
def good() -> list[str]:
    rng = random.Random(0)
    return [document(rng) for _ in range(120)]


def test_each_rule_names_what_is_broken(good: list[str]) -> None:
    rules = Heuristics(
        scripts=("latin",), blocked_domains=("spam.example",), blocked_words=("casino",)
    )
    assert [rules.shape({}, text) for text in good[:20]] == [""] * 20
    assert rules.shape({}, "Too short.") == "short"
    assert rules.shape({}, "{#}[<>] = " * 20 + "words of a text") == "symbols"
    assert rules.shape({}, "0123 4567 8901. " * 20) == "letters"
    assert rules.shape({}, "a short line of words here.\n" * 5 + good[0][:60]) == "short lines"
    menu = "a menu entry that is of quite some length\n"
    assert rules.shape({}, menu * 9) == "unfinished lines"
    assert rules.language({}, "これは日本語の文章です。" * 9) == "script"
    assert rules.language({}, good[0]) == ""
    assert rules.source({"url": "https://www.spam.example/x"}, "") == "domain"
    assert rules.source({"url": "https://notspam.example/x"}, "") == ""
    assert rules.source({}, "Casino casino CASINO") == "words"
    assert rules.source({}, "casinos and a casino") == ""
    assert [rules.repeats(text) for text in good[:20]] == [""] * 20
    with pytest.raises(UserError, match="scripts are latin"):
        Heuristics(scripts=("roman",))


def test_private_data_is_masked() -> None:
    text = "Write to jo.b+x@mail.example.org or call +49 (30) 1234 5678; from 192.168.0.1, v1.2.3."
    masked, kinds = mask_private(text)
    assert masked == "Write to <email> or call <phone>; from <ip>, v1.2.3."
    assert kinds == ["email", "ip", "phone"]
    assert mask_private("card 4111 1111 1111 1111.") == ("card <number>.", ["card"])
    assert mask_private("in 1984, 300 of 12345") == ("in 1984, 300 of 12345", [])


def test_shuffled_words_perplex(good: list[str]) -> None:
    model = NgramModel(good[:60])
    rng = random.Random(1)
    shuffled = []
    for text in good[60:]:
        parts = text.split()
        rng.shuffle(parts)
        shuffled.append(" ".join(parts))
    plain, other = model.perplexity(good[60:]), model.perplexity(shuffled)
    assert max(plain) < min(other)
    assert model.perplexity(["", "zyx"])[0] > 1e100
    # chances of all words after a history sum to one, up to unknown words
    texts = [f"the river {word}" for word in {w for text in good for w in text.lower().split()}]
    assert np.isfinite(model.perplexity(texts)).all()
    with pytest.raises(UserError, match="hold no words"):
        NgramModel(["", "..."])


def test_perplexity_follows_the_formula() -> None:
    model = NgramModel(["a b a b a c"], size=2, smoothing=1.0)
    unigram = {"a": 3 / 7, "b": 2 / 7, "c": 1 / 7}
    base = 0.5 / 3 / 7  # the share of an unknown word
    first = unigram["a"] + base
    second = (2 + unigram["b"] + base) / (3 + 1)
    expected = float(np.exp(-(np.log(first) + np.log(second)) / 2))
    assert model.perplexity(["a b"])[0] == pytest.approx(expected)


def test_a_linear_scorer_parts_two_kinds(good: list[str]) -> None:
    noise = ["".join(random.Random(i).choices("xqz#01 ", k=300)) for i in range(60)]
    scorer = LinearScorer(good[:60], noise[:40])
    assert min(scorer.score(good[60:])) > 0.8 > 0.2 > max(scorer.score(noise[40:]))
    assert scorer.score([]) == []
    with pytest.raises(UserError, match="both kinds"):
        LinearScorer(good, [])


def test_topics_and_coherence() -> None:
    rng = random.Random(2)
    topics = [NOUNS, ["sell", "cheap", "order", "offer", "price"], ["atom", "quark", "field"]]
    texts = [" ".join(rng.choices(topics[i % 3], k=40)) for i in range(60)]
    own = Clusters(texts, num_clusters=3).assign(texts)
    assert all(len(set(own[i::3])) == 1 for i in range(3))
    assert len(set(own[:3])) == 3
    same, mixed = coherence([f"{texts[0]}\n\n{texts[3]}", f"{texts[0]}\n\n{texts[1]}"])
    assert same > 0.8 > 0.2 > mixed
    assert coherence(["one paragraph only", ""]) == [1.0, 1.0]


def test_paragraphs_seen_before_are_taken_out() -> None:
    strip = ParagraphRepeats(min_chars=40).strip
    first = f"{LICENCE}\n\nOne text of its own, which is long enough.\n\nshort"
    assert strip(first) == first
    again = LICENCE.replace(" ", "  ").upper()
    assert strip(f"Another text.\n\n{again}\n\nshort") == "Another text.\n\nshort"


def test_runs_seen_before_are_taken_out(good: list[str]) -> None:
    rng = random.Random(3)
    words = [f"w{rng.randrange(10**6)}" for _ in range(600)]
    shared = " ".join(words[:200])
    repeats = RunRepeats(num_words=30, every=4)
    first, own = f"{shared} é end", " ".join(words[200:300])
    assert repeats.strip([first, own]) == [first, own]
    (cut,) = repeats.strip([f"{own[:50]}é. {shared} tail of it"])
    left = cut.split()
    assert "tail" in left
    assert sum(word in left for word in words[:200]) < 30
    assert repeats.strip(good[:3]) == good[:3]


def planted(good: list[str]) -> tuple[list[dict], dict[str, set[int]]]:
    """A corpus of good documents and of three kinds of bad ones, and where each kind is."""
    rng = random.Random(4)
    rows = [("good", text) for text in good]
    rows += [("duplicate", text + "\nThe end.") for text in good[:15]]
    rows += [("symbols", "".join(rng.choices("#{}=|<> ab", k=200))) for _ in range(15)]
    for text in good[30:45]:
        parts = text.split()
        rng.shuffle(parts)
        rows.append(("shuffled", " ".join(parts) + "."))
    kinds: dict[str, set[int]] = {}
    for number, (kind, _) in enumerate(rows):
        kinds.setdefault(kind, set()).add(number)
    return [{"text": text, "id": number} for number, (_, text) in enumerate(rows)], kinds


def test_what_was_planted_is_removed_and_accounted_for(good: list[str]) -> None:
    rows, kinds = planted(good)
    rng = random.Random(5)
    reference = [document(rng) for _ in range(100)]
    options = Options(scripts=("latin",), max_perplexity_ratio=3.0)
    texts = draw(rows, 100)
    cascade = Cascade.of(options, reference=reference, sample=texts)
    kept = {row["id"] for row in cascade.run(rows)}
    assert len(kept & kinds["good"]) >= 115
    for kind in ("duplicate", "symbols", "shuffled"):
        assert not kept & kinds[kind], kind
    accounts = {account.name: account for account in cascade.accounts}
    assert accounts["shape"].removed["symbols"] == 15
    assert accounts["perplexity"].removed["perplexing"] >= 15
    assert accounts["near"].removed["near"] == 15
    seen = [account.num_seen for account in cascade.accounts]
    left = [account.num_kept for account in cascade.accounts]
    assert seen[0] == len(rows)
    assert seen[1:] == left[:-1]
    for account in cascade.accounts:
        assert account.num_seen - account.num_kept == account.removed.total()
        assert all(len(shown) <= 3 for shown in account.examples.values())
    assert [each["name"] for each in json.loads(json.dumps(cascade.report()))] == list(accounts)
    assert "15 symbols" in cascade.table()


def test_stages_can_be_left_out_and_rows_are_changed(good: list[str]) -> None:
    cascade = Cascade.of(Options(skip=("near", "shape", "runs", "paragraphs")))
    assert [name for name, _ in cascade.stages] == ["language", "source", "repeats", "private"]
    row = {"text": good[0] + " a@b.example", "url": "u"}
    (made,) = cascade.run([row])
    assert made == {"text": good[0] + " <email>", "url": "u"}
    assert cascade.accounts[-1].changed == {"email": 1}
    with pytest.raises(UserError, match="there is no 'dedup'"):
        Options(skip=("dedup",))
    with pytest.raises(UserError, match="--fields text=body"):
        list(cascade.run([{"body": "x"}]))
    assert set(STAGES) >= {"safety", "coherence"}


def test_harmful_and_incoherent_documents(good: list[str]) -> None:
    harmful = [f"Hate hate {word} and hate them, you {word}." * 5 for word in NOUNS]
    options = Options(min_coherence=0.2, skip=("perplexity", "near", "repeats"))
    cascade = Cascade.of(options, reference=good[:50], harmful=harmful)
    broken = "The river follows the village and it.\nQuarks obey all of the fields out here.\n"
    broken += "Cheap offers sell well and soon today."
    rows = [{"text": text} for text in (good[60], harmful[3], broken)]
    assert [row["text"] for row in cascade.run(rows)] == [good[60]]
    assert {a.name: dict(a.removed) for a in cascade.accounts if a.removed} == {
        "coherence": {"incoherent": 1},
        "safety": {"harmful": 1},
    }


def test_documents_are_read_while_they_pass(good: list[str]) -> None:
    read = 0

    def rows() -> Iterator[dict]:
        nonlocal read
        for number in range(2000):
            read += 1
            yield {"text": f"Number {number}. " + good[number % 120] * 8}

    passing = Cascade.of(Options(skip=("near", "paragraphs", "runs", "shape", "repeats"))).run(
        rows()
    )
    next(passing)
    assert read < 500


def test_the_command(tmp_path: Path, good: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, text in enumerate([*good[:9], good[0] + "\nThe end."]):
        (folder / f"{number}.txt").write_text(text)
    out = tmp_path / "new" / "good.jsonl"
    words = ["clean", "--data", str(folder), "--out", str(out)]
    assert main([*words, "--reference", str(folder), "--max-perplexity-ratio", "0"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["path"] for row in rows] == [f"{number}.txt" for number in range(9)]
    report = json.loads((tmp_path / "new" / "good.jsonl.report.json").read_text())
    again = tmp_path / "new" / "good.jsonl.run.yaml"
    assert main(["clean", "--config", str(again), "--out", str(tmp_path / "again.jsonl")]) == 0
    first = tmp_path / "new" / "good.jsonl"
    assert (tmp_path / "again.jsonl").read_bytes() == first.read_bytes()
    assert [each["num_kept"] for each in report][-1] == 9
    assert "1 near" in capsys.readouterr().out
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["clean", "--data", str(folder), "--out", "x", "--skipp", "near"]) == 2
    assert "the nearest: --skip" in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "y"), "--fields", "text=body"]) == 2
    assert "no field 'body'" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()
