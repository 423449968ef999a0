"""Further pre-training: teacher and student, parity, checkpoints, texts, fine-tuning, refusals."""

import copy
import json
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    ViTConfig,
    ViTForImageClassification,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
)

from pretrial.compare.kit.one_package import one_package
from pretrial.compare.kit.warm_starts import begun
from pretrial.errors import UserError
from pretrial.methods.adapt.further_pretraining import Config, FurtherPretraining, feature_loss
from pretrial.methods.adapt.further_pretraining.trials import image_data, trial
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

IMAGES = FurtherPretraining.read(FurtherPretraining.sample_rows())
TEXTS = FurtherPretraining.read(
    [
        {"text": f"{verb} {noun} and {then} it once more.", "label": verb}
        for verb in ("Close", "Copy")
        for noun in ("the list", "a file", "each name", "an open socket")
        for then in ("print", "return")
    ]
)
TINY = Config.tiny()
TEXT = replace(TINY, input="text")
BUDGET = Budget(9, "steps")
DATA = {"image": IMAGES, "text": TEXTS}


def make(config=TINY, source=None):
    torch.manual_seed(0)
    return FurtherPretraining.build(config, source, DATA[config.input])


def run_of(folder, data=IMAGES, held_out=(), budget=BUDGET):
    return Run(folder, data, held_out, budget=budget, quiet=True)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def trained_through(method, folder, upto):
    """Trains the stages before `upto` and returns that stage, not trained."""
    run = run_of(folder, DATA[method.config.input])
    stages = method.stages(run)
    for stage in stages:
        if stage.name == upto:
            return stage, run
        one_stage(stage, run)
    raise AssertionError(upto)


def one_stage(stage, run):
    class Only(FurtherPretraining):
        def stages(self, run):
            yield stage

    train(Only(stage.module.learner), run)


# -- teacher and student --------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, TEXT], ids=["image", "text"])
def test_the_student_begins_where_the_teacher_began_and_the_teacher_stays(config, tmp_path):
    method = make(config)
    initial = weights(method.learner)
    stage, run = trained_through(method, tmp_path, "student-1")
    assert_equal(weights(method.learner), initial)
    teacher = weights(method.teacher)
    assert any(not torch.equal(value, initial[name]) for name, value in teacher.items())
    assert not method.teacher.training
    one_stage(stage, run)
    assert_equal(weights(method.teacher), teacher)
    assert_equal(weights(method.initial), initial)


def test_without_distillation_a_student_is_the_teacher_again(tmp_path):
    method = make(replace(TINY, distill_weight=0.0))
    stage, _ = trained_through(method, tmp_path / "one", "student-1")
    again = run_of(tmp_path / "two")
    one_stage(replace(stage, name="teacher"), again)  # the name is part of the seed
    assert_equal(weights(method.learner), weights(method.teacher))


def test_a_teacher_that_is_the_student_teaches_nothing():
    for config in (TINY, TEXT):
        method = make(config).eval()
        method.frozen["teacher"] = copy.deepcopy(method.learner).eval()
        batch = batch_of(method)
        losses = method.losses(batch)
        assert float(losses["distill_loss"].detach()) == 0
        torch.testing.assert_close(losses["loss"], losses["ssl_loss"])


def prepared(method, examples):
    with TemporaryDirectory() as folder:
        return method.learner.prepared(Run(folder, examples, quiet=True))[0]


def batch_of(method, size=8, seed=0):
    data = prepared(method, DATA[method.config.input])
    some = [data[place] for place in range(size)]
    return method.batch(some, torch.Generator().manual_seed(seed))


def with_other_teacher(config):
    method = make(config)
    torch.manual_seed(1)
    other = FurtherPretraining.build(config, data=DATA[config.input])
    method.frozen["teacher"] = other.learner.eval().requires_grad_(False)
    return method


@pytest.mark.parametrize("config", [TINY, TEXT], ids=["image", "text"])
def test_two_backward_passes_or_one_sum_give_the_same_gradients(config):
    method = with_other_teacher(replace(config, distill_weight=1.0))
    batch = batch_of(method)
    method.losses(batch)["loss"].backward()
    one = {name: p.grad.clone() for name, p in method.learner.named_parameters() if p.requires_grad}
    method.zero_grad()
    losses = method.losses(batch)
    losses["ssl_loss"].backward(retain_graph=True)
    losses["distill_loss"].backward()
    for name, parameter in method.learner.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, one[name], rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in method.teacher.parameters())


def test_features_are_compared_dimension_by_dimension_and_the_teacher_is_left_alone():
    student = torch.tensor([[1.0, 2.0], [0.0, 1.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0], [0.0, 3.0]], requires_grad=True)
    loss = feature_loss(student, teacher, 2.0)
    assert float(loss.detach()) == pytest.approx((1 + 4 + 0 + 4) / 2)
    loss.backward()
    assert teacher.grad is None
    assert student.grad.tolist() == [[1.0, 2.0], [0.0, -2.0]]


def test_the_decoder_is_not_distilled():
    method = with_other_teacher(TINY)
    method.losses(batch_of(method))["distill_loss"].backward()
    assert all(p.grad is None for p in method.learner.network.decoder.parameters())


def test_the_ablation_begins_at_the_teacher(tmp_path):
    method = make(replace(TINY, start="teacher"))
    trained_through(method, tmp_path, "student-1")
    assert_equal(weights(method.learner), weights(method.teacher))


def test_a_second_round_has_the_first_student_as_its_teacher(tmp_path):
    method = make(replace(TINY, rounds=2))
    run = run_of(tmp_path)
    names, before = [], {}
    for stage in method.stages(run):
        names.append(stage.name)
        if stage.name == "finetune":
            break
        if "teacher" in method.frozen:
            assert_equal(weights(method.teacher), before)
        one_stage(stage, run)
        before = weights(method.learner)
    assert names == ["teacher", "student-1", "student-2", "finetune"]


def test_the_pull_to_the_start_adds_up_over_micro_batches(tmp_path):
    method = make(replace(TINY, l2_weight=0.5, rounds=0))
    stage = next(method.stages(run_of(tmp_path)))
    with torch.no_grad():
        for parameter in method.learner.parameters():
            parameter += 0.01
    num = sum(p.numel() for p in method.learner.network.base_model.parameters())
    assert method.distance() == pytest.approx((num * 1e-4) ** 0.5, rel=1e-3)
    whole = method.batch(IMAGES[:8], torch.Generator().manual_seed(0))
    losses = method.losses(whole)
    assert float(losses["l2_loss"].detach()) == pytest.approx(num * 1e-4, rel=1e-3)
    torch.testing.assert_close(losses["loss"], losses["ssl_loss"] + 0.5 * losses["l2_loss"])
    parts = [
        method.losses({**batch_part, "counts": whole["counts"]})["loss"]
        for batch_part in pieces(method, 2)
    ]
    torch.testing.assert_close(sum(parts), losses["loss"])
    assert stage.name == "further"


def pieces(method, size):
    source = torch.Generator().manual_seed(0)
    return [method.batch(IMAGES[i : i + size], source) for i in range(0, 8, size)]


# -- parity ---------------------------------------------------------------------------------------


def test_both_losses_are_those_of_the_release():
    """What trainer.py of seanie12/self-distillation computes, with today's transformers."""
    method = with_other_teacher(replace(TINY, normalised=True)).eval()
    method.learner.network.config.norm_pix_loss = True
    batch = batch_of(method)
    student: ViTMAEForPreTraining = method.learner.network
    teacher = ViTModel(vit_config(student.config), add_pooling_layer=False).eval()
    teacher.load_state_dict(method.teacher.network.vit.state_dict())
    with torch.no_grad():
        wanted = teacher(batch["pixels"])[0][:, 0]
        mae_loss = student(batch["pixels"], noise=batch["noise"]).loss
    whole = ViTModel(vit_config(student.config), add_pooling_layer=False).eval()
    whole.load_state_dict(student.vit.state_dict())
    found = whole(batch["pixels"])[0][:, 0]
    losses = method.losses(batch)
    torch.testing.assert_close(losses["ssl_loss"], mae_loss, rtol=1e-5, atol=1e-5)
    distill = torch.nn.MSELoss(reduction="sum")(found, wanted) / len(found)
    torch.testing.assert_close(losses["distill_loss"], distill, rtol=1e-5, atol=1e-5)


def vit_config(config):
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    names += ("image_size", "patch_size", "num_channels", "layer_norm_eps", "qkv_bias")
    return ViTConfig(**{name: getattr(config, name) for name in names})


def test_features_are_of_whole_images_with_the_patches_in_their_order():
    learner = make().learner.eval()
    pixels = learner.pixels(IMAGES[:3])
    states = learner.states(pixels)
    mae = ViTMAEModel(copy.deepcopy(learner.network.config)).eval()
    mae.load_state_dict(learner.network.vit.state_dict())
    mae.config.mask_ratio = 0.0
    ordered = mae(pixels, noise=torch.arange(16.0).expand(3, -1)).last_hidden_state
    torch.testing.assert_close(states, ordered, rtol=1e-6, atol=1e-6)
    shuffled = mae(pixels, noise=torch.arange(16.0).flip(0).expand(3, -1)).last_hidden_state
    torch.testing.assert_close(states[:, 0], shuffled[:, 0], rtol=1e-4, atol=1e-5)
    assert (states[:, 1:] - shuffled[:, 1:]).abs().max() > 1e-3


def test_the_loss_of_texts_is_that_of_transformers():
    method = make(TEXT).eval()
    batch = batch_of(method)
    labels = batch["labels"].masked_fill(~batch["loss_mask"], -100)
    output = method.learner.network(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"].long(),
        labels=labels,
    )
    torch.testing.assert_close(method.losses(batch)["ssl_loss"], output.loss)
    states = method.learner.network.roberta(
        input_ids=batch["labels"], attention_mask=batch["attention_mask"].long()
    ).last_hidden_state
    torch.testing.assert_close(method.learner.features(batch), states[:, 0])


# -- checkpoints ----------------------------------------------------------------------------------


def test_a_mae_loads_with_its_decoder_or_without(tmp_path):
    theirs = make().learner.network
    theirs.save_pretrained(tmp_path / "whole")
    theirs.vit.save_pretrained(tmp_path / "encoder")
    kept = load_file(tmp_path / "whole" / "model.safetensors")
    kept = {name: value for name, value in kept.items() if name.startswith("vit.")}
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text((tmp_path / "whole/config.json").read_text())
    save_file(kept, tmp_path / "vit" / "model.safetensors", metadata={"format": "pt"})
    for name in ("whole", "encoder", "vit"):
        method = make(replace(Config(), finetune_ratio=0.0), tmp_path / name)
        assert_equal(weights(method.learner.network.vit), weights(theirs.vit))
        assert method.config.image_size == 8
        assert method.config.pixel_mean == (0.5,)  # those of three channels do not fit one
        if name == "whole":
            assert_equal(weights(method.learner.network), weights(theirs))


def test_what_is_kept_has_the_keys_of_a_vit(tmp_path):
    method = make()
    exported = method.export()
    assert type(exported) is ViTModel
    assert exported.state_dict().keys() == method.learner.network.vit.state_dict().keys()
    method.save(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert {name.partition(".")[0] for name in saved} == {"vit", "decoder"}


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_masked_language_models_load_whole(kind, tmp_path):
    if kind == "roberta":
        theirs = make(TEXT)
        model, tokenizer = theirs.learner.network, theirs.learner.tokenizer
    else:
        tokenizer = learn_bpe([e.content for e in TEXTS], 300, template="<cls> $A <sep>")
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 64, "max_position_embeddings": 40}
        model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **sizes))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    method = make(replace(Config(), input="text"), tmp_path)
    assert type(method.learner.network) is type(model)
    assert_equal(weights(method.learner.network), weights(model))
    assert method.config.num_positions == (TINY.num_positions if kind == "roberta" else 40)
    assert method.config.max_length == method.config.num_positions
    long = prepared(method, [replace(TEXTS[0], content="word " * 200)])
    losses = method.losses(method.batch(list(long[:2]), torch.Generator()))
    assert torch.isfinite(losses["loss"])


def test_other_checkpoints_are_refused(tmp_path):
    BartConfig().save_pretrained(tmp_path / "bart")
    with pytest.raises(UserError, match="is bart, neither a ViT-MAE nor a masked"):
        make(source=tmp_path / "bart")
    make().learner.network.save_pretrained(tmp_path / "mae")
    saved = load_file(tmp_path / "mae" / "model.safetensors")
    saved.pop("vit.layernorm.weight")
    save_file(saved, tmp_path / "mae" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"layernorm\.weight"):
        make(source=tmp_path / "mae")
    with pytest.raises(UserError, match="nothing that can be read"):
        make(source=tmp_path / "no")
    make(TEXT).learner.network.roberta.save_pretrained(tmp_path / "headless")
    with pytest.raises(UserError, match=r"lacks lm_head.*: give a masked language model with the"):
        make(TEXT, tmp_path / "headless")


@pytest.mark.parametrize(
    ("name", "kept", "whole"),
    [("vit-mae-base", 85_798_656, 111_907_840), ("roberta-base", 124_697_433, 124_697_433)],
)
def test_published_sizes(name, kept, whole):
    with torch.device("meta"):
        method = FurtherPretraining.build(Config.paper(name))
        assert sum(p.numel() for p in method.export().parameters()) == kept
    assert sum(p.numel() for p in method.learner.parameters()) == whole


@pytest.mark.parametrize("config", [TINY, TEXT], ids=["image", "text"])
def test_all_stages_can_be_walked_without_memory(config, tmp_path):
    with torch.device("meta"):
        method = make(config)
    run = run_of(tmp_path, DATA[config.input])
    assert [stage.name for stage in method.stages(run)] == ["teacher", "student-1", "finetune"]
    assert {p.device.type for p in method.trained_classifier.parameters()} == {"meta"}


# -- fine-tuning and abilities --------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, TEXT], ids=["image", "text"])
def test_a_whole_run_gives_a_classifier_that_comes_back(config, tmp_path):
    data = DATA[config.input]
    method = make(replace(config, finetune_ratio=0.6, min_crop=0.7, flip_prob=0.5, rounds=1))
    run = run_of(tmp_path / "run", data, data[:6], budget=Budget(60, "steps"))
    train(method, run)
    rows = list(method.classify(data))
    right = [row["label"] == each.label for row, each in zip(rows, data, strict=True)]
    assert sum(right) >= 14
    assert all(0 < row["label_prob"] <= 1 for row in rows)
    method.save(tmp_path / "model")
    again = make(config, tmp_path / "model").eval()
    assert again.classes == method.classes
    other = [replace(each, label=f"not {each.label}") for each in data]
    anew = FurtherPretraining.build(config, tmp_path / "model", other)
    assert anew.trained_classifier is None
    assert set(anew.classes) == {each.label for each in other}
    torch.testing.assert_close(
        again.trained_classifier.logits(data),
        method.trained_classifier.logits(data),
        rtol=1e-5,
        atol=1e-5,
    )
    method.export().save_pretrained(tmp_path / "export")
    auto = {"image": AutoModelForImageClassification, "text": AutoModelForSequenceClassification}
    loaded = auto[config.input].from_pretrained(tmp_path / "export")
    assert set(loaded.config.label2id) == {str(name) for name in method.classes}
    log = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    told = [row for row in log if "eval/distance" in row]
    assert [row["stage"] for row in told] == ["teacher", "student-1"]
    assert all(row["eval/distance"] > 0 for row in told)
    assert all({"eval/gap", "eval/probe_accuracy"} <= row.keys() for row in told)
    assert "distill_loss" in {key for row in log for key in row if row["stage"] == "student-1"}


def test_the_classifier_starts_from_the_encoder():
    for config, kind in ((TINY, ViTForImageClassification), (TEXT, None)):
        method = make(config)
        classifier = method.classifier(3)
        assert kind is None or type(classifier.model) is kind
        theirs = method.learner.network.base_model.state_dict()
        for name, value in classifier.model.base_model.state_dict().items():
            assert name not in theirs or torch.equal(theirs[name], value), name
        assert classifier.logits(DATA[config.input]).shape == (len(DATA[config.input]), 3)
        assert not any(p is q for p in classifier.parameters() for q in method.parameters())


def test_vectors_do_not_depend_on_the_batch_and_take_bare_contents():
    for config in (TINY, TEXT):
        method, data = make(config), DATA[config.input]
        vectors = method.encode(data)
        assert vectors.shape == (len(data), TINY.width)
        bare = method.encode([each.content for each in data], batch_size=3)
        torch.testing.assert_close(bare, vectors, rtol=1e-4, atol=1e-5)


# -- what a user may get wrong --------------------------------------------------------------------


def test_mistakes_name_the_mend(tmp_path):
    with pytest.raises(UserError, match=r"neither 'image' nor 'text' \(found: body\)"):
        FurtherPretraining.read([{"body": 1}])
    with pytest.raises(UserError, match="'text' of row 0 is a int"):
        FurtherPretraining.read([{"text": 1}])
    with pytest.raises(UserError, match="set --input text"):
        FurtherPretraining.build(TINY, data=TEXTS)
    with pytest.raises(UserError, match="0 label"):
        next(make().stages(run_of(tmp_path, FurtherPretraining.read([{"image": [[0.5] * 8] * 8}]))))
    with pytest.raises(UserError, match="train with a finetune_ratio above 0"):
        next(make().classify(IMAGES))
    with pytest.raises(UserError, match="give at least one"):
        make().encode([])
    with pytest.raises(UserError, match="not 8x8"):
        make().encode([replace(IMAGES[0], content=[[0.5] * 9] * 9)])


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"rounds": -1}, "rounds must be 0 or more"),
        ({"finetune_ratio": 1.0}, "below 1"),
        ({"hidden_ratio": 1.0}, "between 0 and 1"),
        ({"patch_size": 3}, "set image_size to a multiple"),
        ({"pixel_mean": (0.1, 0.2)}, "1 or 1 numbers"),
        ({"min_crop": 0.0}, "min_crop must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, mend):
    with pytest.raises(UserError, match=mend):
        replace(TINY, **changes)


# -- the trial ------------------------------------------------------------------------------------


def test_the_trial_keeps_its_images_apart():
    made = trial(tiny=True)
    arms = ["self", "further", "half", "decay", "l2", "none", "linear", "random"]
    assert [arm.name for arm in made.choose()] == arms
    assert made.gate.trivial == ("linear", "random")
    found = image_data("builtin:digits", 200, 100, 1000)
    learn, test = found.test
    parts = (found.train, found.held_out, test)
    numbers = [{row["number"] for row in part} for part in parts]
    assert [len(each) for each in numbers] == [200, 300, 1000]
    assert not numbers[0] & numbers[1]
    assert not numbers[2] & (numbers[0] | numbers[1])
    labels = [row["label"] for row in learn]
    assert all(labels.count(digit) == 10 for digit in range(10))
    assert sum("label" in row for row in found.train) == 100


def test_the_trial_tells_over_fitting_from_fine_tuning_alone(tmp_path):
    made = trial(tiny=True)
    assert made.premise.metric == "over_fit"
    data = made.data()
    made.prepare(0, tmp_path / "prepared")
    found = {}
    for name in ("further", "none"):
        arm = made.arm(name)
        run = Run(tmp_path / name, data.train, (), made.budget, quiet=True)
        run, method = begun(arm.method, arm.config, run, tmp_path / "prepared")
        if arm.trains:
            train(method, run)
        found[name] = made.measure(method.eval(), data, 0)
    assert found["none"]["over_fit"] == found["none"]["distance"] == 0
    means = {name: np.mean(values["nll"]) for name, values in found.items()}
    # both end where fine-tuning of the initial model does, but for what was learnt in between
    assert found["further"]["over_fit"] == pytest.approx(means["further"] - means["none"], abs=1e-4)
    plain = made.measure(None, data, 0)
    assert len(plain["nll"]) == len(found["none"]["nll"]) == 100


def test_the_trial_of_texts_keeps_its_modules_apart():
    assert trial(input="text", tiny=True).arm("self").config.input == "text"
    found = one_package("builtin:stdlib-docstrings", "idlelib", 60)
    texts = [{row["text"] for row in part} for part in (found.train, found.held_out)]
    assert not texts[0] & texts[1]
    assert all(row["text"] in texts[0] for row in found.test[0])
    assert all(row["text"] in texts[1] for row in found.test[1])
    assert sum("label" in row for row in found.train) == 60
    for half in found.test:
        labels = [row["label"] for row in half]
        assert labels.count(True) == labels.count(False) > 10
    with pytest.raises(UserError, match="no package 'idlelob'; the nearest: idlelib"):
        one_package("builtin:stdlib-docstrings", "idlelob", 60)
    with pytest.raises(UserError, match="too few texts for 9999 labels"):
        one_package("builtin:stdlib-docstrings", "idlelib", 9999)
