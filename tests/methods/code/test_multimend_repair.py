"""MultiMend as it is used: it learns, keeps its checkpoints, repairs trees, reads checkpoints."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
import torch
from transformers import T5ForConditionalGeneration

from pretrial.convert.export import export_model
from pretrial.data.problems.quixbugs import quixbugs_rows
from pretrial.errors import UserError
from pretrial.methods.code import multimend
from pretrial.methods.code.multimend import Config, MultiMend
from pretrial.methods.code.multimend.abilities.ranking import Candidate
from pretrial.methods.code.multimend.data.fixes import source_text
from pretrial.methods.code.multimend.network import likeliest
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

RECORD = {
    "config": {},
    "arguments": {"data": "pairs.jsonl"},
    "num_examples": 1,
    "num_held_out": 0,
    "environment": {},
    "commit": "",
}
PAIR = {"removed": "    return a - b", "added": "    return a + b", "context": "def f(a, b): ..."}
WRONG = "def add(a, b):\n    c = a - b\n\n    return c % 3\n"
HALF = "def add(a, b):\n    c = a + b\n\n    return c % 3\n"  # fewer tests fail
RIGHT = "def add(a, b):\n    c = a + b\n\n    return c\n"
CASES = """import unittest
from m import add

class Cases(unittest.TestCase):
    def test_one(self):
        self.assertEqual(add(1, 2), 3)
    def test_two(self):
        self.assertEqual(add(1, 1), 2)
    def test_three(self):
        self.assertEqual(add(0, 2), 2)

unittest.main()
"""


@pytest.fixture
def bug(tmp_path):
    (tmp_path / "m.py").write_text(WRONG)
    (tmp_path / "cases.py").write_text(CASES)
    return {
        "tree": str(tmp_path),
        "hunks": ["m.py:2", "m.py:4"],
        "command": "python cases.py",
        "fixed": {"m.py": RIGHT},
    }


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    data = MultiMend.read([PAIR, *multimend.MultiMend.sample_rows()])
    return MultiMend.build(Config.tiny(), data=data).eval()


def writes(monkeypatch, *texts):
    """Lets the model write these texts for each hunk."""

    def candidates(self, asked, num_beams=0, num_candidates=0):
        return [[Candidate(text, n, -n) for n, text in enumerate(group)] for group in texts]

    monkeypatch.setattr(MultiMend, "candidates", candidates)


# -- repair ---------------------------------------------------------------------------------------


def test_two_hunks_are_repaired_one_after_the_other(method, bug, monkeypatch, tmp_path):
    writes(monkeypatch, ["c = 7", "c = a + b"], ["", "return c", "return a"])
    [answer] = method.repair(method.read([bug]))
    assert answer["plausible"] is True
    assert answer["failing_before"] == 3
    assert answer["tests"] == 3
    assert answer["localisation"] == "given"
    best = answer["patches"][0]
    assert (best["plausible"], best["failing"], best["identical"]) == (True, 0, True)
    assert answer["validations"] <= 2 + 3
    assert "correct" not in json.dumps({**answer, "note": ""})
    assert "whether it is correct is for a person to say" in answer["note"]
    subprocess.run(["git", "apply", "-"], input=best["diff"], text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "m.py").read_text() == RIGHT


def test_what_was_not_run_is_ranked_and_said_to_be_so(method, bug, tmp_path, monkeypatch):
    (tmp_path / "m.py").write_text(HALF)
    writes(monkeypatch, ["return a", "return c + 0", "return b", "return c"])
    [answer] = method.repair(method.read([{**bug, "hunks": ["m.py:4"]}]), num_patches=3)
    assert [patch["plausible"] for patch in answer["patches"]] == [True, False, None]
    assert answer["validations"] == 2
    assert answer["patches"][0]["identical"] is False
    assert "+    return c + 0" in answer["patches"][0]["diff"]


def test_without_a_plausible_patch_nothing_is_promised(method, bug, monkeypatch):
    writes(monkeypatch, ["c = b"], ["return (("])
    [answer] = method.repair(method.read([bug]), max_validations=1)
    assert answer["plausible"] is False
    assert answer["validations"] == 1
    assert answer["all_tried"] is False
    assert "no patch" in answer["note"]


def test_where_no_test_fails_there_is_nothing_to_repair(method, bug, tmp_path):
    (tmp_path / "m.py").write_text(RIGHT)
    [answer] = method.repair(method.read([bug]))
    assert (answer["validations"], answer["patches"]) == (0, [])
    assert "nothing to repair" in answer["note"]


def test_the_model_itself_writes_for_every_hunk(method, bug):
    [answer] = method.repair(method.read([bug]), num_beams=3, max_validations=2)
    assert [hunk["lines"] for hunk in answer["hunks"]] == ["m.py:2", "m.py:4"]
    assert answer["validations"] <= 2
    [written] = method.generate(method.read([bug]))
    assert [len(group) >= 4 for group in written["candidates"]] == [True, True]


def test_quixbugs_is_repaired_from_its_own_layout(method, tmp_path, monkeypatch):
    for name, text in (
        ("python_programs/add.py", HALF),
        ("correct_python_programs/add.py", RIGHT),
        ("python_testcases/test_add.py", "from python_programs.add import add\n\n\n"
         "def test_add():\n    assert add(1, 2) == 3\n"),
        ("conftest.py", ""),
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    writes(monkeypatch, ["return c"])
    [answer] = method.repair(method.read(list(quixbugs_rows(tmp_path))))
    assert answer["name"] == "add"
    assert answer["patches"][0]["identical"] is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": ""}, "no 'command'"),
        ({"hunks": []}, "no 'hunks'"),
        ({"hunks": ["m.py:9"]}, "4 lines"),
        ({"hunks": ["n.py:1"]}, "nearest: .*m.py"),
        ({"tree": "nowhere"}, "no file or folder"),
        ({"hunks": ["notes.txt:1"]}, "language"),
        ({"hunks": 2}, "'hunks' of a bug is of the wrong kind: write it as"),
        ({"tree": 5}, "'tree' of a bug is of the wrong kind"),
        ({"command": 5}, "'command' of a bug is of the wrong kind"),
        ({"command": ["python", 5]}, "'command' of a bug is of the wrong kind"),
        ({"fixed": "text"}, "'fixed' of a bug must give files"),
        ({"fixed": {"gone.py": "text"}}, "has no file gone.py; the nearest: .*m.py"),
    ],
)
def test_a_bug_that_cannot_be_read_names_the_mend(bug, tmp_path, changes, words):
    (tmp_path / "notes.txt").write_text("x\n")
    with pytest.raises(UserError, match=words):
        MultiMend.read([{**bug, **changes}])


@pytest.mark.parametrize(
    "option", ["num_beams", "num_candidates", "max_validations", "num_patches"]
)
def test_numbers_below_nought_are_refused(method, bug, option):
    with pytest.raises(UserError, match=f"{option}.* at least"):
        list(method.repair(method.read([bug]), **{option: -1}))


def test_one_beam_is_enough(method):
    source = "Python return a : return b"
    ids = [method.language_model.source_ids(source)]
    options = {"num_candidates": 1, "max_target": 8}
    [[(text, score)]] = likeliest(method.network, method.tokenizer, ids, num_beams=1, **options)
    written = method.network.generate(
        input_ids=torch.tensor(ids),
        num_beams=1,
        do_sample=False,
        max_new_tokens=8,
    )
    logits = method.network(input_ids=torch.tensor(ids), decoder_input_ids=written[:, :-1]).logits
    logs = logits.log_softmax(-1).gather(-1, written[:, 1:, None])
    assert text == method.tokenizer.decode(written[0], skip_special_tokens=True)
    assert score == pytest.approx(float(logs.detach().mean()), abs=1e-4)


def test_rows_that_are_neither_are_refused_and_pairs_are_not_repaired(method):
    with pytest.raises(UserError, match=r"--fields code=text"):
        MultiMend.read([{"text": "x"}])
    with pytest.raises(UserError, match="--ability generate"):
        list(method.repair(method.read([PAIR])))
    with pytest.raises(UserError, match="'added' must be text"):
        MultiMend.read([{**PAIR, "added": 3}])


# -- training -------------------------------------------------------------------------------------


def test_the_last_checkpoints_are_kept_saved_and_search_together(tmp_path):
    config = Config.tiny()  # two parts, the end of each is kept
    data = MultiMend.read(multimend.MultiMend.sample_rows())
    method = MultiMend.build(config, data=data)
    train(method, Run(tmp_path / "run", data, budget=Budget(10, "steps"), quiet=True))
    [earlier] = method.earlier
    assert not torch.equal(earlier.shared.weight, method.network.shared.weight)
    assert not any(parameter.requires_grad for parameter in earlier.parameters())

    method.save(tmp_path / "saved")
    again = MultiMend.build(config, source=tmp_path / "saved")
    assert torch.equal(again.earlier[0].shared.weight, earlier.shared.weight)
    asked = [("return a", source_text("return a", "def f(a): return a"))]
    found, wanted = again.eval().candidates(asked)[0], method.eval().candidates(asked)[0]
    assert [each[:2] for each in found] == [each[:2] for each in wanted]
    assert [c.score for c in found] == pytest.approx([c.score for c in wanted], abs=1e-5)
    assert len(wanted) > config.num_candidates / 2

    longer = MultiMend.build(config, data=data)
    train(longer, Run(tmp_path / "half", data, budget=Budget(6, "steps"), quiet=True))
    fresh = longer.earlier[0].shared.weight
    assert not torch.equal(fresh, earlier.shared.weight)  # half of another budget


def test_relative_positions_can_have_a_rate_of_their_own(tmp_path):
    data = MultiMend.read(multimend.MultiMend.sample_rows())
    method = MultiMend.build(Config.tiny(), data=data)
    before = {name: p.detach().clone() for name, p in method.network.named_parameters()}
    method.config = replace(method.config, lr=1e-9, position_lr=0.1)
    train(method, Run(tmp_path, data, budget=Budget(2, "steps"), quiet=True))
    for name, parameter in method.network.named_parameters():
        moved = (parameter - before[name]).abs().max().item()
        assert (moved > 0.01) == ("relative_attention_bias" in name), name


def test_pairs_too_long_or_empty_are_left_out(method):
    long = {**PAIR, "removed": "a + " * 400}
    empty, wide = {**PAIR, "added": " "}, {**PAIR, "added": "b + " * 200}
    fits = [method.language_model.fits(fix) for fix in method.read([PAIR, long, empty, wide])]
    assert fits == [True, False, False, False]
    batch = method.batch(method.read([{**PAIR, "context": "c + " * 400}]), None)
    assert batch["input_ids"].shape[1] == method.config.max_source


def test_an_end_token_written_out_is_unknown(method):
    ids = method.language_model.ids("a </s> b")
    assert ids.count(method.tokenizer.eos_token_id) == 1
    assert method.tokenizer.unk_token_id in ids


def test_the_loss_is_that_of_transformers(method):
    batch = method.batch(method.read([PAIR, *multimend.MultiMend.sample_rows()])[:4], None)
    with torch.no_grad():
        ours = method.losses(batch)["loss"]
        theirs = method.network(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=batch["labels"],
        ).loss
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_beams_are_those_of_transformers_whatever_is_beside_them(method):
    rows = [
        method.language_model.source_ids(text)
        for text in ("Python a :", "Python b + c : def f(): b + c")
    ]
    how = {"num_beams": 4, "num_candidates": 3, "max_target": 8}
    both = likeliest(method.network, method.tokenizer, rows, **how)
    for row, beam in zip(rows, both, strict=True):
        alone = method.network.generate(
            torch.tensor([row]), num_beams=4, num_return_sequences=3, max_new_tokens=8,
            early_stopping=True, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        wanted = alone.sequences_scores.tolist()
        assert [score for _, score in beam] == pytest.approx(wanted, abs=1e-5)
        texts = method.tokenizer.batch_decode(alone.sequences, skip_special_tokens=True)
        assert [text for text, _ in beam] == texts


# -- checkpoints ----------------------------------------------------------------------------------


@pytest.fixture
def codet5(tmp_path):
    """A folder in the layout of CodeT5-small: T5, a byte-level vocabulary in RoBERTa's way."""
    tokenizer = learn_bpe(
        ["return a + b"] * 3, 300, specials=ROBERTA_SPECIALS, template="<s> $A </s>"
    )
    torch.manual_seed(1)
    model = new_t5(320, width=16, num_layers=1, num_heads=2, feed_forward=32, bos_id=1, eos_id=2)
    model.save_pretrained(tmp_path / "codet5")
    tokenizer.save_pretrained(tmp_path / "codet5")
    return tmp_path / "codet5"


def test_a_public_checkpoint_is_taken_and_given_back_unchanged(codet5, tmp_path):
    method = MultiMend.build(Config.tiny(), source=codet5)
    theirs = T5ForConditionalGeneration.from_pretrained(codet5)
    for name, weight in theirs.state_dict().items():
        assert torch.equal(method.network.state_dict()[name], weight)
    export_model(method, tmp_path / "out", multimend.CARD, RECORD)
    again = T5ForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert torch.equal(again.shared.weight, theirs.shared.weight)


def test_the_last_checkpoints_of_a_training_by_transformers_are_the_ensemble(codet5, tmp_path):
    folder = tmp_path / "multimend-codet5-small"
    for step in (90, 100, 80):
        model = T5ForConditionalGeneration.from_pretrained(codet5)
        torch.nn.init.constant_(model.shared.weight, step / 100)
        model.save_pretrained(folder / f"checkpoint-{step}")
        MultiMend.build(Config.tiny(), source=codet5).tokenizer.save_pretrained(
            folder / f"checkpoint-{step}"
        )
    method = MultiMend.build(Config.tiny(), source=folder)  # an ensemble of two
    [earlier] = method.earlier
    assert earlier.shared.weight[0, 0].item() == pytest.approx(0.9)
    assert method.network.shared.weight[0, 0].item() == pytest.approx(1.0)


def test_another_architecture_is_refused(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=20)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UserError, match="is gpt2, not a T5"):
        MultiMend.build(Config.tiny(), source=tmp_path)


def test_a_missing_package_of_the_embeddings_names_the_mend(method, bug, tmp_path, monkeypatch):
    from pretrial.checkpoints import packaged

    (tmp_path / "m.py").write_text(f"import os\n{WRONG}")
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    method._retriever = None
    with pytest.raises(UserError, match="pip install"):
        list(method.generate(method.read([{**bug, "hunks": ["m.py:3"]}])))


@pytest.mark.parametrize(
    "wrong", [{"num_candidates": 200}, {"num_checkpoints": 11}, {"num_checkpoints": 0}]
)
def test_settings_that_do_not_go_together_are_refused(wrong):
    with pytest.raises(UserError, match="must be from 1"):
        Config(**wrong)
