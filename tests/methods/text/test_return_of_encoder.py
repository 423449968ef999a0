"""Return of the Encoder: the teacher's alignment, the student's own answers, and their use."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5GemmaConfig,
    T5GemmaForConditionalGeneration,
    T5GemmaModuleConfig,
)

from pretrial.cli import main
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder import Config, Example, ReturnOfEncoder
from pretrial.methods.text.return_of_encoder.stages.distillation import aligned_logits
from pretrial.methods.text.return_of_encoder.trials import trial
from pretrial.models.architectures.seq2seq import pad_rows, shifted
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import weights_of
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = ReturnOfEncoder.read(ReturnOfEncoder.sample_rows())
PLAIN = replace(Config.tiny(), teacher="", teacher_ratio=0.0)


def built(config=PLAIN, **options):
    torch.manual_seed(0)
    return ReturnOfEncoder.build(config, data=ROWS, **options).eval()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A folder with a decoder-only model and a tokenizer."""
    folder = tmp_path_factory.mktemp("teacher")
    built(PLAIN.decoder_only()).save(folder)
    return folder


class Twin(nn.Module):
    """A causal language model that says of an answer what a student says of it.

    It is given [source, answer] and reads off them what the student's encoder and decoder read.
    """

    def __init__(self, student, length, delay=0):
        super().__init__()
        self.student, self.length, self.delay = student, length, delay
        self.embeddings = student.get_input_embeddings()
        self.device = student.device

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, attention_mask, logits_to_keep, **_):
        sources, real = input_ids[:, : self.length], attention_mask[:, : self.length]
        answers = input_ids[:, self.length :]
        start = torch.full_like(sources[:, :1], self.student.config.decoder_start_token_id)
        logits = self.student(sources, real, torch.cat([start, answers], 1)).logits
        return SimpleNamespace(logits=logits.roll(self.delay, 1)[:, -logits_to_keep:])


# -- alignment ------------------------------------------------------------------------------------


def test_a_teacher_that_thinks_as_the_student_teaches_nothing_and_a_late_one_something():
    # the encoder's positions are relative, so padding on the left is nothing to it
    for answers in ("own", "gold"):
        config = replace(PLAIN, answers=answers)
        for delay in (0, 1):
            method = built(config)
            length = max(len(method.inputs.source(row)) for row in ROWS[:4])
            method.frozen["teacher"] = Twin(method.network, length, delay)
            batch = method.batch(ROWS[:4], generator())
            loss = float(method.losses(batch)["kd_loss"].detach())
            assert (loss < 1e-6) == (delay == 0), (answers, delay, loss)


@torch.no_grad()
def test_padding_of_sources_and_answers_leaves_aligned_logits_unchanged():
    network = built(PLAIN.decoder_only()).network
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    ).eval()
    sources, answers = [[5, 6, 7, 8, 9], [11, 12]], [[21, 22], [31, 32, 33, 34]]
    for model in (network, llama):
        mask = pad_rows([[1] * len(row) for row in sources], 0)
        together = aligned_logits(model, pad_rows(sources, 3), mask, pad_rows(answers, IGNORE))
        for row, (source, answer) in enumerate(zip(sources, answers, strict=True)):
            whole = model(input_ids=torch.tensor([source + answer])).logits[0]
            expected = whole[len(source) - 1 : len(source) - 1 + len(answer)]
            torch.testing.assert_close(together[row, : len(answer)], expected)


def test_padding_has_no_part_in_the_loss():
    method = built()
    method.frozen["teacher"] = built(PLAIN.decoder_only()).network
    rows = [replace(ROWS[0], target="Close it"), replace(ROWS[1], target="Close the file, then")]
    batch = method.batch(rows, generator())
    losses = method.losses(batch)
    longer = dict(batch)
    longer["labels"] = torch.cat([batch["labels"], torch.full((2, 3), IGNORE)], 1)
    longer["answers"] = torch.cat([batch["answers"], torch.full((2, 3), IGNORE)], 1)
    longer["teacher_logits"] = torch.cat(
        [batch["teacher_logits"], torch.randn(2, 3, batch["teacher_logits"].shape[2])], 1
    )
    for name, value in method.losses(longer).items():
        torch.testing.assert_close(value, losses[name])


@torch.no_grad()
def test_the_loss_is_the_weighted_sum_over_tokens():
    config = replace(PLAIN, kd_weight=0.9)
    method = built(config)
    teacher = built(PLAIN.decoder_only()).network
    method.frozen["teacher"] = teacher
    batch = method.batch(ROWS[:3], generator())
    losses = method.losses(batch)
    kl, num_tokens = 0.0, 0
    for row in range(3):
        source = batch["input_ids"][row][batch["attention_mask"][row] == 1][None]
        answer = batch["answers"][row][batch["answers"][row] != IGNORE][None]
        wanted = teacher(torch.cat([source, answer], 1)).logits[0, source.shape[1] - 1 : -1]
        found = method.network(source, None, shifted(method.network, answer)).logits[0]
        p = wanted.softmax(-1)
        kl += float((p * (p.log() - found.log_softmax(-1))).sum())
        num_tokens += answer.shape[1]
    assert float(losses["kd_loss"]) == pytest.approx(kl / num_tokens, rel=1e-4)
    expected = 0.9 * losses["kd_loss"] + 0.1 * losses["ce_loss"]
    torch.testing.assert_close(losses["loss"], expected)


# -- answers --------------------------------------------------------------------------------------


def test_own_answers_are_drawn_from_the_student_and_depend_on_nothing_else():
    method = built(replace(PLAIN, temperature=0.9, top_k=3))
    method.frozen["teacher"] = built(PLAIN.decoder_only()).network
    with torch.no_grad():  # so that it does not write what it has read
        method.network.lm_head.weight = nn.Parameter(torch.randn(320, 32))
    whole = method.batch(ROWS[:6], generator(1))["answers"]
    source = generator(1)
    parts = [method.batch(ROWS[i : i + 2], source)["answers"] for i in (0, 2, 4)]
    alone = [row[row != IGNORE].tolist() for part in parts for row in part]
    assert alone == [row[row != IGNORE].tolist() for row in whole]
    assert len({tuple(row) for row in alone}) > 2
    # each token is one of the three most probable there
    with torch.no_grad():
        batch = method.batch(ROWS[:6], generator(1))
        logits = method._logits(batch, batch["answers"], method._memory(batch))
    best = logits.topk(3).indices
    asked = whole != IGNORE
    assert (best == whole[..., None]).any(-1)[asked].all()


def test_gold_answers_are_the_targets():
    method = built(replace(PLAIN, answers="gold"))
    method.frozen["teacher"] = built(PLAIN.decoder_only()).network
    batch = method.batch(ROWS[:3], generator())
    assert torch.equal(batch["answers"], batch["labels"])


def test_a_source_keeps_its_ending_and_an_empty_one_has_a_token():
    method = built(replace(PLAIN, max_source=6, ending="\n=>"))
    long = method.inputs.source(Example("a b c d e f g h i j k l m n o p"))
    assert len(long) == 6
    assert method.tokenizer.decode(long).endswith("\n=>")
    assert built(replace(PLAIN, ending="")).inputs.source(Example("")) == [
        method.language_model.end
    ]
    assert method.inputs.target(Example("", ""))[-1] == method.language_model.end


# -- work -----------------------------------------------------------------------------------------


def spent(folder, teacher, **changes):
    config = replace(PLAIN, teacher=str(teacher), **changes)
    method = built(config)
    run = Run(folder, ROWS, budget=Budget(1e8, "flops"), quiet=True)
    train(method, run)
    return {name: row.get("flops", 0) for name, row in run.spent.by_purpose.items()}


def test_teaching_is_taken_from_the_budget_or_booked_beside_it(teacher, tmp_path):
    inside = spent(tmp_path / "a", teacher)
    assert set(inside) == {"train", "sample", "teacher"}
    assert min(inside.values()) > 0
    assert 1e8 <= sum(inside.values()) < 1.5e8
    beside = spent(tmp_path / "b", teacher, teacher_counts=False)
    assert beside["train"] >= 1e8 > inside["train"]
    assert beside["sample"] > inside["sample"]
    assert beside["teacher"] > inside["teacher"]


def test_a_teacher_learns_the_task_first_by_low_rank_updates(teacher, tmp_path):
    config = replace(PLAIN, teacher=str(teacher), teacher_ratio=0.5, teacher_rank=2)
    method = built(config)
    network = method.frozen["teacher"]
    before = {name: p.clone() for name, p in network.named_parameters()}
    run = Run(tmp_path, ROWS, budget=Budget(12, "steps"), quiet=True)
    names = []
    for stage in method.stages(run):
        names.append(stage.name)
        trained = [p for p in stage.module.parameters() if p.requires_grad]
        if stage.name == "teacher":
            assert all(p.ndim == 2 and 2 in p.shape for p in trained)
            for p in trained:
                nn.init.normal_(p, std=0.1)
    assert names == ["teacher", "train"]
    assert "teacher" not in method.frozen  # it is no part of what was trained
    after = dict(network.named_parameters())
    assert before.keys() == after.keys()
    assert not any(p.requires_grad for p in after.values())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {n for n in before if n.endswith("proj.weight")}


# -- checkpoints ----------------------------------------------------------------------------------


def test_a_student_begins_with_the_tokenizer_of_its_teacher(teacher):
    method = ReturnOfEncoder.build(replace(PLAIN, teacher=str(teacher)), data=[Example("x", "y")])
    assert method.tokenizer.get_vocab() == built().tokenizer.get_vocab()
    assert "teacher" not in weights_of(method)


def test_another_tokenizer_and_a_teacher_with_an_encoder_are_refused(teacher, tmp_path):
    other = [Example(f"zebra quagga {n}", "okapi") for n in range(20)]
    student = ReturnOfEncoder.build(PLAIN, data=other)
    student.save(tmp_path / "other")
    config = replace(PLAIN, teacher=str(teacher))
    method = ReturnOfEncoder.build(config, source=tmp_path / "other")
    run = Run(tmp_path / "run", ROWS, budget=Budget(2, "steps"), quiet=True)
    with pytest.raises(UserError, match=r"another tokenizer than the student.*leave out --init"):
        next(iter(method.stages(run)))
    with pytest.raises(UserError, match="has an encoder"):
        built(replace(PLAIN, teacher=str(tmp_path / "other")))
    with pytest.raises(UserError, match="set teacher_ratio"):
        replace(PLAIN, teacher="scratch")


def test_the_release_is_a_student_and_comes_back_from_our_layout(tmp_path):
    method = built(replace(PLAIN, num_kv_heads=4))  # one query head each: one order of heads
    names = {
        "embeddings.": "transformer.wte.",
        "encoder.stack.layers.": "transformer.e.",
        "encoder.stack.norm.": "transformer.ln_e.",
        "decoder.layers.": "transformer.h.",
        "decoder.norm.": "transformer.ln_f.",
        "_proj.": "_linear.",
        ".o_linear.": ".out_linear.",
        "mlp.up_linear.": "mlp.fc1.",
        "mlp.down_linear.": "mlp.fc2.",
        ".self_norm.": ".ln1.",
        ".cross_norm.": ".ln2.",
    }
    state = {}
    for key, weight in method.network.state_dict().items():
        if key.startswith("encoder.embeddings."):
            continue
        own = "causal_attn" if key.startswith("decoder.") else "attn"
        third = "ln3" if key.startswith("decoder.") else "ln2"
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        key = key.replace("self_attn", own).replace("mlp_norm", third)
        state[key] = weight
    folder = tmp_path / "release"
    folder.mkdir()
    torch.save({"model_state_dict": state}, folder / "model.pt")
    with pytest.raises(UserError, match="beside the weights"):
        ReturnOfEncoder.build(PLAIN, source=folder / "model.pt")
    method.tokenizer.save_pretrained(folder)
    for source in (folder, folder / "model.pt"):
        again = ReturnOfEncoder.build(PLAIN, source=source).eval()
        assert again.nll(ROWS[:3]) == pytest.approx(method.nll(ROWS[:3]), rel=1e-4)
    again.save(tmp_path / "ours")
    third = ReturnOfEncoder.build(PLAIN, source=tmp_path / "ours").eval()
    assert third.nll(ROWS[:3]) == pytest.approx(again.nll(ROWS[:3]), rel=1e-5)


def test_decoder_only_has_as_many_parameters():
    for config in (PLAIN, Config.small()):
        plain = replace(config, teacher="", teacher_ratio=0.0)
        sizes = [
            sum(p.numel() for p in ReturnOfEncoder.new_network(each, each.vocab_size).parameters())
            for each in (plain, plain.decoder_only())
        ]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_t5gemma_is_a_student_too(teacher, tmp_path):
    """The nearest design in transformers, with its own keys, trained from the same teacher."""
    tokenizer = built().tokenizer
    half = T5GemmaModuleConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=16,
        layer_types=["full_attention"],
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = T5GemmaConfig(encoder=half, decoder=half, vocab_size=len(tokenizer), pad_token_id=0)
    config.decoder_start_token_id = 1
    network = T5GemmaForConditionalGeneration(config)
    network.save_pretrained(tmp_path / "t5gemma")
    tokenizer.save_pretrained(tmp_path / "t5gemma")
    made = replace(PLAIN, teacher=str(teacher))
    method = ReturnOfEncoder.build(made, source=tmp_path / "t5gemma")
    assert isinstance(method.network, T5GemmaForConditionalGeneration)
    train(method, Run(tmp_path / "run", ROWS, budget=Budget(3, "steps"), quiet=True))
    method.save(tmp_path / "again")
    again = ReturnOfEncoder.build(made, source=tmp_path / "again").eval()
    assert again.nll(ROWS[:2]) == pytest.approx(method.nll(ROWS[:2]), abs=1e-6)
    assert len(again.generate_texts(["def f(): pass"], max_new_tokens=4)) == 1


# -- images ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=8,
            patch_size=4,
        )
    ).save_pretrained(folder)
    return folder


def image(seed, size=(8, 8)):
    pillow = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return pillow.fromarray(pixels)


def test_images_stand_before_the_text_and_train_the_projector(clip, teacher, tmp_path):
    config = replace(PLAIN, vision=str(clip), max_tiles=2, teacher=str(teacher))
    method = built(config)
    rows = [replace(ROWS[0], image=image(0)), ROWS[1], replace(ROWS[2], image=image(1, (16, 8)))]
    batch = method.batch(rows, generator())
    place = method.network.config.image_token_id
    assert batch["pixel_values"].shape == (4, 3, 8, 8)  # one tile, and three of the wide one
    assert batch["input_ids"].eq(place).sum(1).tolist() == [4, 0, 12]
    # the teacher of text judges the row of text alone
    assert (batch["answers"] != IGNORE).any(1).tolist() == [False, True, False]
    losses = method.losses(batch)
    losses["loss"].backward()
    encoder = method.network.encoder
    assert encoder.projector[0].weight.grad.any()
    assert all(p.grad is None for p in encoder.vision.parameters())
    other = dict(batch, pixel_values=batch["pixel_values"].flip(0))
    assert not torch.allclose(method.losses(other)["ce_loss"], losses["ce_loss"])
    # texts alone, and what is written of an image after it was saved
    method.zero_grad()
    method.losses(method.batch(ROWS[:2], generator()))["loss"].backward()
    assert not encoder.projector[0].weight.grad.any()
    written = list(method.generate(rows, max_new_tokens=4))
    method.save(tmp_path)
    again = ReturnOfEncoder.build(replace(config, teacher=""), source=tmp_path).eval()
    assert list(again.generate(rows, max_new_tokens=4)) == written


@torch.no_grad()
def test_the_encoder_reads_patches_of_the_last_layer_but_one_in_their_order(clip):
    method = built(replace(PLAIN, vision=str(clip), max_tiles=2))
    encoder = method.network.encoder
    batch = method.batch([ROWS[1], replace(ROWS[0], image=image(1, (16, 8)))], generator())
    ids, pixels = batch["input_ids"], batch["pixel_values"]
    seen = CLIPVisionModel.from_pretrained(clip).eval()(pixels, output_hidden_states=True)
    wanted = encoder.projector(seen.hidden_states[-2][:, 1:]).flatten(0, 1)  # no class token
    vectors = encoder.embed(ids, pixels)
    places = ids == method.network.config.image_token_id
    torch.testing.assert_close(vectors[places], wanted)
    assert torch.equal(vectors[~places], encoder.embeddings(ids)[~places])


def test_a_teacher_of_text_learns_from_rows_of_text_alone(clip, tmp_path):
    config = replace(Config.tiny(), vision=str(clip), max_tiles=0)
    seen = [replace(row, image=image(0)) for row in ROWS[:8]]
    run = Run(tmp_path, [*seen, *ROWS[8:]], budget=Budget(4, "steps"), quiet=True)
    sizes = {stage.name: len(stage.data) for stage in built(config).stages(run)}
    assert sizes == {"teacher": 8, "train": 16}
    run = Run(tmp_path / "b", seen, budget=Budget(4, "steps"), quiet=True)
    with pytest.raises(UserError, match="every row has an image"):
        next(iter(built(config).stages(run)))


def test_training_the_vision_model_leaves_out_what_is_not_read(clip):
    method = built(replace(PLAIN, vision=str(clip), train_vision=True))
    rows = [replace(ROWS[0], image=image(0))]
    method.losses(method.batch(rows, generator()))["loss"].backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    frozen = [n for n, p in method.named_parameters() if not p.requires_grad]
    assert all("layers.2." in name or "post_layernorm" in name for name in frozen)


def test_an_image_without_vision_is_refused_and_a_written_place_is_none(clip):
    with pytest.raises(UserError, match="--vision"):
        built().batch([replace(ROWS[0], image=image(0))], generator())
    method = built(replace(PLAIN, vision=str(clip)))
    place = method.network.config.image_token_id
    assert place not in method.inputs.source(Example("an <image> of it"))


# -- the trials -----------------------------------------------------------------------------------


def test_the_trial_of_speed_measures_models_of_one_size():
    made = trial(which="speed", tiny=True)
    sizes = []
    for arm in made.arms:
        method = ReturnOfEncoder.build(arm.config, data=ROWS).eval()
        sizes.append(sum(p.numel() for p in method.parameters()))
        found = made.measure(method, None, 0)
        assert len(found["first_token_ms"]) == len(found["tokens_per_second"]) == 2
        assert made.metric in found
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_the_trial_keeps_modules_apart_and_its_students_alike():
    made = trial(num_test=20, tiny=True)
    data = made.data()
    assert len(data.test) == 8
    assert not {row["source"] for row in data.train} & {row["source"] for row in data.test}
    assert all('"""' not in row["source"] for row in data.test)
    configs = {arm.name: arm.run.config for arm in made.arms if arm.trains}
    assert configs["own-answers"].answers == "own"
    assert configs["own-answers"] == configs["labels"]
    assert not configs["own-answers"].teacher_counts
    half, most = configs["half"], configs["most"]
    assert half.num_encoder_layers + half.num_decoder_layers == 3
    assert most.num_encoder_layers + most.num_decoder_layers == 3


# -- the command line -----------------------------------------------------------------------------


def test_train_predict_eval_and_export_from_the_command_line(teacher, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ReturnOfEncoder.sample_rows()))
    out = tmp_path / "run"
    command = ["train", "return_of_encoder", "--tiny", "--data", str(data), "--out", str(out)]
    command += ["--budget", "4steps", "--teacher", str(teacher), "--teacher-ratio", "0"]
    assert main([*command, "--dry-run"]) == 0
    assert "teacher_logits" in capsys.readouterr().out
    assert main(command) == 0
    capsys.readouterr()
    (tmp_path / "asked.jsonl").write_text('{"source": "def f(): pass"}\n{"source": ""}\n')
    assert main(["predict", str(out), "--data", str(tmp_path / "asked.jsonl")]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(row) for row in rows] == [["text"], ["text"]]
    assert main(["eval", str(out), "--task", "generation", "--data", str(data)]) == 0
    assert main(["export", str(out), "--to", str(tmp_path / "model")]) == 0
    told = (tmp_path / "model" / "README.md").read_text()
    assert "trust_remote_code=True" in told
    assert "class Mu" in next((tmp_path / "model").glob("modeling_*.py")).read_text()
    capsys.readouterr()
    # mistakes, each in one line
    asked = [word if word != str(data) else str(tmp_path / "asked.jsonl") for word in command]
    mistakes = {
        "no field 'source'": [*command, "--fields", "target=source"],
        "no row has a 'target'": [*asked, "--batch-size", "1"],
        "nothing is": [*command, "--teacher", str(tmp_path / "nothing")],
    }
    for number, (words, mistaken) in enumerate(mistakes.items()):
        assert main([*mistaken, "--out", str(tmp_path / f"bad{number}")]) == 2
        assert words in capsys.readouterr().err
