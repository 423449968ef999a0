"""CodeT5 after pre-training: classes from the end state, several tasks, public checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, RobertaTokenizer, T5ForConditionalGeneration

from pretrial.compare.kit import functions
from pretrial.errors import UserError
from pretrial.evaluate.tasks import evaluate
from pretrial.methods.code.codet5 import CodeT5, Config
from pretrial.methods.code.codet5.network import EosClassifier, end_positions
from pretrial.methods.code.codet5.stages.tuning import TaskMixture, Tasks
from pretrial.methods.code.codet5.trials import trial
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe, sentinel_ids
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = CodeT5.sample_rows()
EXAMPLES = CodeT5.read(ROWS)
TINY = Config.tiny()
TUNED = {"batch_size": 8, "lr": 1e-2, "max_source": 64}


def build(data, **changes):
    torch.manual_seed(0)
    return CodeT5.build(replace(TINY, **changes), data=CodeT5.read(data))


def trained(folder, rows, steps=60, held_out=(), **changes):
    method = build(rows, **TUNED, **changes)
    aside = CodeT5.read(held_out) if held_out else ()
    run = Run(folder, CodeT5.read(rows), aside, Budget(steps, "steps"), quiet=True)
    train(method, run)
    return method


@pytest.fixture(scope="module")
def classifier():
    method = build(ROWS)
    return EosClassifier(method.network, method.tokenizer, 3, 64).eval()


# -- classes from the state at the end token ------------------------------------------------------


def test_the_end_state_does_not_depend_on_padding(classifier):
    texts = [example.text for example in EXAMPLES[:3]]
    together = classifier.logits([*texts, texts[0] * 2])[:3]
    alone = torch.cat([classifier.logits([text]) for text in texts])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def vectors(classifier, batch):
    return classifier.vectors(batch["input_ids"], batch["attention_mask"], batch["ends"])


def test_the_end_state_has_seen_all_before_the_end_token_and_not_the_token(classifier):
    batch = classifier.batch([("def f(x): return x", 0)], torch.Generator())
    vector = vectors(classifier, batch)
    shifted = classifier.network._shift_right(batch["input_ids"])
    assert shifted[0, batch["ends"][0]] == batch["input_ids"][0, -2]
    assert classifier.tokenizer.eos_token_id not in shifted
    longer = {**batch, "input_ids": torch.cat([batch["input_ids"], torch.tensor([[9]])], 1)}
    longer["attention_mask"] = torch.ones_like(longer["input_ids"])
    longer["attention_mask"][0, -1] = 0
    torch.testing.assert_close(vectors(classifier, longer), vector, rtol=1e-5, atol=1e-6)


def test_an_output_matrix_of_its_own_rests_while_classes_are_learned():
    tokenizer = build(ROWS).tokenizer
    sizes = {"width": 32, "num_layers": 1, "num_heads": 2, "feed_forward": 64}
    learner = EosClassifier(new_t5(len(tokenizer), tied=False, **sizes), tokenizer, 2, 64)
    batch = learner.batch([("def f(x): return x", 0)], torch.Generator())
    learner.losses(batch)["loss"].backward()
    for name, parameter in learner.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_unequal_numbers_of_end_tokens_are_refused():
    assert end_positions([[1, 5, 2], [1, 2, 0]], eos=2) == [2, 1]
    with pytest.raises(UserError, match="one end token"):
        end_positions([[1, 5, 2], [1, 2, 2]], eos=2)
    with pytest.raises(UserError, match="one end token"):
        end_positions([[1, 5], [1, 6]], eos=2)


@pytest.mark.parametrize("pairs", [False, True])
def test_logits_are_those_of_the_release(pairs):
    """Short references of DefectModel and CloneModel, from what their forward passes compute."""
    method = build(ROWS)
    ours = EosClassifier(method.network, method.tokenizer, 2, 64, pairs).eval()
    chosen = [example.text for example in EXAMPLES[:6]]
    texts = list(zip(chosen[::2], chosen[1::2], strict=True)) if pairs else chosen
    ids = method.tokenizer(
        chosen, padding="max_length", max_length=64, return_tensors="pt"
    ).input_ids
    mask = ids.ne(0)
    outputs = method.network.eval()(
        input_ids=ids,
        attention_mask=mask,
        labels=ids,
        decoder_attention_mask=mask,
        output_hidden_states=True,
    )
    vectors = outputs.decoder_hidden_states[-1][ids.eq(2)]
    if pairs:
        head = ours.classifier
        expected = head.out_proj(torch.tanh(head.dense(vectors.reshape(3, -1))))
    else:
        expected = ours.classifier(vectors)
    torch.testing.assert_close(ours.logits(texts), expected, rtol=1e-4, atol=1e-5)


def test_a_classifier_is_trained_saved_and_used(tmp_path):
    rows = [{**row, "label": "sum" if " + " in row["code"] else "other"} for row in ROWS]
    method = trained(tmp_path / "run", rows, task="classify")
    found = list(method.classify(CodeT5.read(rows)))
    assert [row["label"] for row in found] == [row["label"] for row in rows]
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1)
    method.save(tmp_path / "model")
    again = CodeT5.build(method.config, source=tmp_path / "model").eval()
    assert again.labels == ["other", "sum"]
    for one, other in zip(again.classify(CodeT5.read(rows)), found, strict=True):
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    bare = CodeT5.build(replace(TINY, task="generate"), source=tmp_path / "model")
    with pytest.raises(UserError, match="train it with --task classify"):
        list(bare.classify(CodeT5.read(rows)))


def test_pairs_are_compared(tmp_path):
    rows = [
        {"code": a["code"], "other": b["code"], "label": int("+" in a["code"])}
        for a in ROWS[:4]
        for b in ROWS[:4]
    ]
    method = trained(tmp_path / "run", rows, steps=40, task="compare")
    found = [row["label"] for row in method.compare(CodeT5.read(rows))]
    assert found == [str(row["label"]) for row in rows]
    with pytest.raises(UserError, match="--fields other=OTHER"):
        list(method.compare(EXAMPLES))


@pytest.mark.parametrize(
    ("task", "rows", "mend"),
    [
        ("classify", ROWS, "two classes or more"),
        ("generate", ROWS, "--fields target=OTHER"),
        ("compare", [{**r, "label": str(i % 2)} for i, r in enumerate(ROWS)], "other=OTHER"),
    ],
)
def test_a_field_that_a_task_needs_is_named(tmp_path, task, rows, mend):
    with pytest.raises(UserError, match=mend):
        trained(tmp_path, rows, task=task)


# -- text to text ---------------------------------------------------------------------------------


def pairs_of(task, ending, number):
    """Rows of a task that copies a word and puts something behind it."""
    words = ("alpha", "beta", "gamma", "delta", "omega", "sigma")[:number]
    return [{"source": word, "target": f"{word} {ending}", "task": task} for word in words]


def test_prefixes_tell_tasks_apart(tmp_path):
    rows = pairs_of("Open", "opened", 6) + pairs_of("Close", "closed", 3)
    method = trained(tmp_path, rows, steps=150, task="generate")
    written = [row["text"] for row in method.generate(CodeT5.read(rows))]
    assert sum(w == row["target"] for w, row in zip(written, rows, strict=True)) >= 8, written
    beams = list(method.generate(CodeT5.read(rows[:2]), num_beams=2, num_samples=2))
    assert [len(row["texts"]) for row in beams] == [2, 2]
    result = evaluate("generation", method, [{"source": "Open: beta", "target": "beta opened"}])
    assert result.metrics["exact_match"].value == 1


def tasks_of(patience=2):
    method = build(ROWS)
    writer = TextToText(method.network, method.tokenizer, 64, 32)
    return Tasks(writer, ["a", "b", ""], patience)


def test_tasks_are_drawn_by_the_power_of_their_sizes():
    tasks = tasks_of()
    parts = [[("a", str(i)) for i in range(400)], [("b", str(i)) for i in range(40)]]
    mixture = TaskMixture(parts, 0.7, tasks)
    share = sum(pair[0] == "b" for pair in mixture) / len(mixture)
    assert share == pytest.approx(40**0.7 / (40**0.7 + 400**0.7), abs=0.01)


def test_a_task_that_no_longer_betters_is_closed_and_its_best_weights_are_kept(tmp_path):
    tasks, saved = tasks_of(), []
    parts = [[(name, str(i)) for i in range(10)] for name in ("a", "b", "c")]
    mixture = TaskMixture(parts, 0.7, tasks)

    def save(folder):
        saved.append(folder.name)
        (folder / "weights").write_text(str(len(saved)))

    tasks.see([3.0, 2.0, 1.0], tmp_path, save)
    tasks.see([2.0, 2.5, 1.5], tmp_path, save)
    assert {pair[0] for pair in mixture} == {"a", "b", "c"}
    tasks.see([1.0, 2.1, 0.5], tmp_path, save)
    assert tasks.open_tasks() == [0, 2]
    assert {pair[0] for pair in mixture} == {"a", "c"}
    assert (tmp_path / "b" / "weights").read_text() == "2"
    assert (tmp_path / "no prefix" / "weights").read_text() == str(len(saved))
    for _ in range(3):
        tasks.see([9.0, 0.1, 9.0], tmp_path, save)
    assert len(tasks.open_tasks()) == 1
    assert tasks.best.tolist() == [1.0, 2.0, 0.5]


def test_the_best_of_each_task_lies_in_the_run(tmp_path):
    rows = pairs_of("Open", "opened", 6) + pairs_of("Close", "closed", 3)
    how = {"task": "generate", "evaluate_every": 4, "patience": 2}
    trained(tmp_path, rows, steps=12, held_out=rows[4:7], **how)
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["Close", "Open"]
    again = CodeT5.build(replace(TINY, task="generate"), source=tmp_path / "best" / "Open")
    assert next(iter(again.generate(CodeT5.read(rows[:1]))))["text"] is not None
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"eval/Open/loss", "eval/Close/loss", "eval/loss"} <= set().union(*logged)


# -- public checkpoints ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A random T5 in the layout of Salesforce/codet5-*: RoBERTa's tokenizer, sentinels down."""
    folder = tmp_path_factory.mktemp("codet5-public")
    learnt = learn_bpe([e.text for e in EXAMPLES], 320, specials=ROBERTA_SPECIALS)
    bpe = json.loads(learnt.backend_tokenizer.to_str())["model"]
    tokenizer = RobertaTokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(pair) for pair in bpe["merges"]],
        extra_special_tokens=[f"<extra_id_{i}>" for i in range(99, -1, -1)],
    )
    torch.manual_seed(0)
    sizes = {"width": 32, "num_layers": 2, "num_heads": 2, "feed_forward": 64}
    model = new_t5(len(tokenizer), **sizes, bos_id=1, eos_id=2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_public_checkpoint_loads_with_its_keys_and_answers_the_same(public, tmp_path):
    theirs = T5ForConditionalGeneration.from_pretrained(public).eval()
    method = CodeT5.build(replace(TINY, task="generate"), source=public).eval()
    assert sentinel_ids(method.tokenizer)[0] == len(method.tokenizer) - 1
    assert method.export().state_dict().keys() == theirs.state_dict().keys()
    ids = method.tokenizer("def f(x): <extra_id_0>", return_tensors="pt").input_ids
    target = torch.tensor([[1, 9, 8]])
    with torch.no_grad():
        ours = method.network(input_ids=ids, decoder_input_ids=target).logits
        expected = theirs(input_ids=ids, decoder_input_ids=target).logits
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    drawn = theirs.generate(ids, max_new_tokens=8, do_sample=False)
    text = AutoTokenizer.from_pretrained(public).decode(drawn[0], skip_special_tokens=True)
    rows = method.generate(CodeT5.read([{"code": "def f(x): <extra_id_0>"}]), max_new_tokens=8)
    assert next(rows)["text"] == text.strip()


def test_pre_training_goes_on_from_a_public_checkpoint(public, tmp_path):
    config = replace(TINY, max_source=64)
    method = CodeT5.build(config, source=public)
    assert method.tokenizer.convert_tokens_to_ids("<java>") != method.tokenizer.unk_token_id
    run = Run(tmp_path / "run", EXAMPLES, budget=Budget(6, "steps"), quiet=True)
    train(method, run)
    method.save(tmp_path / "model")
    again = CodeT5.build(config, source=tmp_path / "model").eval()
    torch.testing.assert_close(
        again.encode(["x = 1"]), method.eval().encode(["x = 1"]), rtol=1e-5, atol=1e-5
    )
    assert torch.equal(again.tagger.weight, method.tagger.weight)
    assert len(again.tokenizer) == len(method.tokenizer)


def test_other_checkpoints_are_refused(public, tmp_path):
    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match=r"is bert, not a T5: give .*codet5-base"):
        CodeT5.build(TINY, source=tmp_path / "bert")
    with pytest.raises(UserError, match="nothing that can be read"):
        CodeT5.build(TINY, source=tmp_path / "nowhere")
    T5ForConditionalGeneration.from_pretrained(public).save_pretrained(tmp_path / "t5")
    learn_bpe(["x = 1"], 300, specials=ROBERTA_SPECIALS).save_pretrained(tmp_path / "t5")
    with pytest.raises(UserError, match="has 0 sentinels <extra_id_N> of 100"):
        CodeT5.build(TINY, source=tmp_path / "t5")


def test_a_language_that_was_not_learnt_is_refused(public):
    method = CodeT5.build(replace(TINY, task="generate"), source=public)
    with pytest.raises(UserError, match="--dual-ratio above 0"):
        list(method.summarise(EXAMPLES))


def test_the_trial_claims_what_its_arms_can_show():
    made = trial(which=("summary", "misuse"), tiny=True)
    assert (made.metric, made.direction) == ("summary_nll", "lower")
    assert ("codet5", "no-dual", "summary_nll", "lower") in made.claims
    names = {arm.name: arm.config for arm in made.arms}
    assert not names["spans"].tagging
    assert not names["spans"].identifiers
    assert names["codet5"].dual_ratio > 0
    assert not made.arm("random").trains


def test_every_task_of_the_trial_is_measured():
    method = build(ROWS)
    pairs = [(row["code"], "name") for row in ROWS]
    choices = [(code.replace("left", functions.SLOT), ("left", "right")) for code, _ in pairs]
    labelled = [(code, i % 2) for i, (code, _) in enumerate(pairs)]
    answers = {"name": pairs, "variable": choices, "misuse": labelled, "summary": pairs}
    tasks = {task: {"learn": rows, "test": rows[:3]} for task, rows in answers.items()}
    found = functions.measure(method, tasks, 0, epochs=1)
    assert {name for name, _ in functions.METRICS.values()} <= set(found)
    assert all(len(values) == 3 for values in found.values())
    assert set(found["variable_accuracy"]) | set(found["misuse_accuracy"]) <= {0.0, 1.0}
