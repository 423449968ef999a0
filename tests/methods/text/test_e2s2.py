"""E2S2: views, losses and their gradients, checkpoints of BART and T5, abilities, refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartForConditionalGeneration,
    BertConfig,
    T5ForConditionalGeneration,
)

from pretrial.compare.kit import edited_texts as measures
from pretrial.corrupt.masks import IGNORE
from pretrial.corrupt.noise import sparse_shuffle
from pretrial.data.windows.cutting import TokenWindows
from pretrial.errors import UserError
from pretrial.methods.text.e2s2 import E2S2, Config
from pretrial.methods.text.e2s2.trials import trial
from pretrial.objectives.contrastive import nt_xent
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

EXAMPLES = E2S2.read(E2S2.sample_rows())
TEXTS = [example.text for example in EXAMPLES]
TINY = Config.tiny()


def make(**changes):
    torch.manual_seed(0)
    return E2S2.build(replace(TINY, **changes), data=EXAMPLES)


def windows_of(method, texts):
    return list(TokenWindows(texts, method.tokenizer, method.views.length))


def batch_of(method, texts=TEXTS[:8], seed=0):
    return method.batch(windows_of(method, texts), torch.Generator().manual_seed(seed))


NOISY = {"shuffle_ratio": 0.2, "replace_ratio": 0.2}


@pytest.fixture(scope="module")
def method():
    return make()


@pytest.fixture(scope="module")
def noisy():
    return make(**NOISY)


# -- views ----------------------------------------------------------------------------------------


def test_labels_tell_what_the_noise_did(noisy):
    batch = batch_of(noisy)
    masked, other, kinds = batch["masked"], batch["noisy"], batch["kinds"]
    real = batch["attention_mask"].bool()
    assert masked.shape == other.shape == kinds.shape
    assert torch.equal(kinds == IGNORE, ~real)
    assert torch.equal((masked != other) & real, (kinds == 1) | (kinds == 2))
    assert {0, 1, 2} <= set(kinds.flatten().tolist())
    special = torch.isin(masked, torch.from_numpy(noisy.views.special))
    assert (kinds[special & real] == 0).all()
    for before, after, kind in zip(masked, other, kinds, strict=True):
        # what moved is still there, but for nothing else
        assert sorted(before[kind == 1].tolist()) == sorted(after[kind == 1].tolist())
        assert (before[kind == 2] != after[kind == 2]).all()


def test_both_views_and_the_labels_of_a_row_are_of_one_text(noisy):
    texts = ["word " * n for n in (4, 2, 5, 1, 3)]
    batch = batch_of(noisy, texts)
    lengths = (batch["labels"] != IGNORE).sum(1).tolist()
    assert len(set(lengths)) == len(texts)
    for row, text in enumerate(texts):
        ids = batch["labels"][row][batch["labels"][row] != IGNORE].tolist()
        assert noisy.tokenizer.decode(ids, skip_special_tokens=True).split() == text.split()
        real, changed = batch["attention_mask"][row].bool(), batch["kinds"][row] == 2
        for name, own in (("masked", real), ("noisy", real & ~changed)):
            assert set(batch[name][row][own].tolist()) <= {*ids, noisy.views.mask}


def test_a_windows_views_do_not_depend_on_the_batch(noisy):
    many = batch_of(noisy, TEXTS[:5])
    one = batch_of(noisy, TEXTS[:1])
    length = one["masked"].shape[1]
    for name in ("masked", "noisy", "kinds"):
        assert torch.equal(many[name][0, :length], one[name][0])


def test_one_kind_of_noise_needs_two_classes():
    for changes in ({"shuffle_ratio": 0.0}, {"replace_ratio": 0.0}):
        method = make(**NOISY | changes)
        assert method.encoder_token_head.out_features == 2
        kinds = set(batch_of(method)["kinds"].flatten().tolist())
        assert kinds - {IGNORE} == {0, 1}


@pytest.mark.parametrize(("noise", "share"), [("paper", 0.045), ("release", 0.14)])
def test_as_many_tokens_are_replaced_as_the_paper_or_the_release_has(noise, share):
    method = make(noise=noise, max_length=100, num_positions=100)
    batch = batch_of(method, [" ".join(TEXTS)] * 40)
    kinds, masks = batch["kinds"], batch["masked"] == method.views.mask
    found = float((kinds == 2).sum() / (kinds != IGNORE).sum())
    assert found == pytest.approx(share, abs=0.01)
    assert (kinds[masks] == 2).any() == (noise == "release")


def test_the_release_moves_windows_around_words_of_one_token():
    ids = np.arange(10, 49)[None].repeat(999, 0)
    free, words = np.ones_like(ids, dtype=bool), np.ones_like(ids, dtype=bool)
    free[:, [0, 30, 38]] = False  # 36 words are left, two stretches of 18
    words[:, 21:24] = False  # tokens 20 to 23 are one word
    found = sparse_shuffle(ids, free, np.arange(999), word_starts=words)
    assert (np.sort(found.inputs, axis=1) == ids).all()
    assert found.moved.sum(1).max() == 6  # two windows of three
    assert set(found.moved.any(0).nonzero()[0]) == set(range(1, 38)) - {21, 22, 30}
    one = sparse_shuffle(ids, free, np.arange(999), word_starts=words, most=1)
    assert one.moved.sum(1).max() == 3


def test_the_loss_of_tokens_is_a_mean_over_sources_or_over_targets():
    batch = batch_of(make(**NOISY))
    sources = make(**NOISY).losses(batch)["denoise_loss"] * batch["counts"]["sources"]
    targets = make(denoise_mean="targets", **NOISY).losses(batch)["denoise_loss"]
    torch.testing.assert_close(targets * batch["counts"]["targets"], sources)


@pytest.mark.parametrize("make_config", [Config.tiny, Config.small])
@pytest.mark.parametrize("architecture", ["bart", "t5"])
def test_each_architecture_has_room_in_the_vocabulary(architecture, make_config):
    assert E2S2.build(replace(make_config(), architecture=architecture), data=EXAMPLES)


def test_a_prompt_wraps_the_text_and_is_not_touched():
    method = make(pooling="prompt", max_length=60, num_positions=64, **NOISY)
    batch = batch_of(method, TEXTS[:3])
    views, decode = method.views, method.tokenizer.decode
    before, behind = views.frame
    for row, mask in zip(batch["noisy"], batch["attention_mask"], strict=True):
        ids = row[mask.bool()].tolist()
        assert ids[: len(before)] == before
        assert ids[-len(behind) :] == behind
        assert decode(ids).startswith('<s>This sentence: "')
        assert decode(ids).endswith('" means<mask></s>')
    states = torch.randn(*batch["noisy"].shape, 32)
    vectors = method.pool(states, batch["attention_mask"])
    ends = batch["attention_mask"].sum(1)
    assert all(torch.equal(vectors[i], states[i, ends[i] - 2]) for i in range(3))
    assert (batch["noisy"][range(3), ends - 2] == views.mask).all()


# -- losses ---------------------------------------------------------------------------------------


def test_one_view_without_weights_is_plain_bart(method):
    plain = make(**vars(TINY.infilling()))
    batch = batch_of(plain)
    theirs = plain.network(
        input_ids=batch["masked"], attention_mask=batch["attention_mask"], labels=batch["labels"]
    ).loss
    losses = plain.losses(batch)
    assert set(losses) == {"loss", "masked_loss"}
    torch.testing.assert_close(losses["loss"], theirs, rtol=1e-6, atol=1e-6)
    assert plain.encoder_token_head is None
    assert not plain.compares_examples
    assert method.compares_examples


@pytest.mark.parametrize("architecture", ["bart", "t5"])
def test_the_loss_is_that_of_the_equations(architecture):
    method = make(architecture=architecture, vocab_size=420, **NOISY)
    method.eval()
    batch = batch_of(method)
    mask, labels = batch["attention_mask"], batch["labels"]
    nll, states = {}, {}
    for name in ("masked", "noisy"):
        output = method.network(input_ids=batch[name], attention_mask=mask, labels=labels)
        nll[name], states[name] = output.loss, output.encoder_last_hidden_state
    logits = method.encoder_token_head(states["noisy"])
    denoise = cross_entropy(logits.transpose(1, 2), batch["kinds"], ignore_index=IGNORE)
    vectors = [
        torch.stack([s[m.bool()].mean(0) for s, m in zip(states[name], mask, strict=True)])
        for name in ("noisy", "masked")
    ]
    contrast = nt_xent(*vectors, 1.0, len(labels))
    losses = method.losses(batch)
    for name, value in {
        "masked_loss": nll["masked"],
        "noisy_loss": nll["noisy"],
        "denoise_loss": denoise,
        "contrast_loss": contrast,
        "loss": 0.5 * nll["masked"] + 0.5 * nll["noisy"] + 0.05 * denoise + 0.05 * contrast,
    }.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=1e-5)


def test_finding_noise_teaches_the_encoder_and_the_shared_embeddings_only(noisy):
    noisy.zero_grad()
    batch = batch_of(noisy)
    noisy.losses(batch)["denoise_loss"].backward()
    for name, parameter in noisy.network.named_parameters():
        if ".decoder." in name:
            assert parameter.grad is None or not parameter.grad.any(), name
    assert noisy.network.get_input_embeddings().weight.grad.any()
    assert noisy.encoder_token_head.bias.grad.abs().min() > 0  # of each of the three classes
    noisy.zero_grad()


def test_every_class_is_learnt_from_and_padding_is_not(noisy):
    batch = batch_of(noisy)
    states = torch.randn(*batch["noisy"].shape, TINY.width, requires_grad=True)
    for kind in (0, 1, 2):
        kinds = batch["kinds"].masked_fill(batch["kinds"] != kind, IGNORE)
        noisy.denoise_loss(states, {**batch, "kinds": kinds}).backward()
        touched = states.grad.abs().sum(-1) > 0
        assert touched.any()
        assert torch.equal(touched, kinds == kind)
        states.grad = None
    noisy.denoise_loss(states, batch).backward()
    assert not states.grad[~batch["attention_mask"].bool()].any()
    noisy.zero_grad()


def test_padding_decides_nothing(noisy):
    noisy.eval()
    batch = batch_of(noisy)
    padded = dict(batch)
    for name, fill in (("masked", 7), ("noisy", 8), ("attention_mask", 0), ("kinds", IGNORE)):
        padded[name] = torch.nn.functional.pad(batch[name], (0, 2), value=fill)
    padded["labels"] = torch.nn.functional.pad(batch["labels"], (0, 2), value=IGNORE)
    expected = noisy.losses(batch)
    for name, value in noisy.losses(padded).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_without_a_contrast_micro_batches_equal_the_batch():
    method = make(contrast_weight=0.0, **NOISY)
    windows = windows_of(method, TEXTS[:8])
    whole = method.batch(windows, torch.Generator().manual_seed(0))
    expected = method.losses(whole)["loss"]
    source = torch.Generator().manual_seed(0)
    pieces = [method.batch(windows[i : i + 2], source) for i in range(0, 8, 2)]
    counts = {name: sum(p["counts"][name] for p in pieces) for name in whole["counts"]}
    assert counts == whole["counts"]
    total = sum(method.losses({**piece, "counts": counts})["loss"] for piece in pieces)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-6)


# -- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("bart", BartForConditionalGeneration), ("t5", T5ForConditionalGeneration)],
)
def test_a_public_checkpoint_loads_whole_and_goes_back_unchanged(architecture, kind, tmp_path):
    theirs = make(architecture=architecture, vocab_size=420)
    theirs.network.save_pretrained(tmp_path / "public")
    theirs.tokenizer.save_pretrained(tmp_path / "public")
    method = E2S2.build(Config(), source=tmp_path / "public")
    assert type(method.export()) is kind
    assert (method.config.architecture, method.config.width) == (architecture, TINY.width)
    assert method.config.feed_forward == TINY.feed_forward
    for name, weight in theirs.network.state_dict().items():
        assert torch.equal(method.network.state_dict()[name], weight), name
    method.export().save_pretrained(tmp_path / "export")
    weights = load_file(tmp_path / "export" / "model.safetensors")
    assert weights.keys() == load_file(tmp_path / "public" / "model.safetensors").keys()
    assert isinstance(AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "export"), kind)


def test_a_head_among_the_weights_is_no_obstacle(method, tmp_path):
    method.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    head = load_file(tmp_path / "encoder_token_head.safetensors")
    weights |= {f"encoder_token_head.{name}": weight for name, weight in head.items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again = E2S2.build(TINY, source=tmp_path)
    assert not any("token_head" in name for name in again.export().state_dict())
    assert torch.equal(again.encoder_token_head.weight, method.encoder_token_head.weight)
    alone = E2S2.build(replace(TINY, shuffle_ratio=0.0), source=tmp_path)
    assert alone.encoder_token_head.out_features == 2  # another head begins anew


def test_other_checkpoints_are_refused(method, tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is bert, not a BART or T5: give"):
        E2S2.build(TINY, source=tmp_path)
    method.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.encoder.layers.0.fc1.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks model.encoder.layers.0.fc1.weight"):
        E2S2.build(TINY, source=tmp_path)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("bart-large", 406_291_456),
        ("bart-base", 139_420_416),
        ("t5-base", 222_903_552),
        ("t5-large", 737_668_096),
    ],
)
def test_published_sizes(name, number):
    with torch.device("meta"):
        method = E2S2.build(Config.paper(name))
    assert sum(p.numel() for p in method.export().parameters()) == number
    if name == "bart-large":
        assert sum(p.numel() for p in method.encoder_token_head.parameters()) == 3075


# -- abilities ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    method = make(lr=1e-2)
    folder = tmp_path_factory.mktemp("run")
    train(method, Run(folder, EXAMPLES, EXAMPLES[:4], budget=Budget(25, "steps"), quiet=True))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row for row in rows if "eval/loss" in row][-1]
    assert evaluated["eval/contrast_loss"] > 0
    return method


def test_vectors_are_means_over_tokens_in_any_batch(trained):
    vectors = trained.encode(EXAMPLES)
    assert vectors.shape == (len(EXAMPLES), TINY.width)
    torch.testing.assert_close(trained.encode(TEXTS, batch_size=3), vectors, rtol=1e-5, atol=1e-5)
    inputs = trained.tokenizer(TEXTS[0], return_tensors="pt")
    states = trained.network.get_encoder()(**inputs).last_hidden_state
    torch.testing.assert_close(vectors[0], states[0].mean(0), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="give at least one"):
        trained.encode([])


def test_texts_are_written_for_sources_with_gaps(trained):
    rows = list(trained.generate(["Close<mask>", ""], max_new_tokens=6))
    assert len(rows) == 2
    assert all(isinstance(row["text"], str) for row in rows)
    many = list(trained.generate(EXAMPLES[:1], num_samples=2, num_beams=2, max_new_tokens=4))
    assert len(many[0]["texts"]) == 2
    assert trained.generate_texts(TEXTS[:2], max_new_tokens=4, num_beams=1)


def test_the_diagnosis_reads_targets(trained):
    rows = list(trained.diagnose(EXAMPLES, epochs=1, batch_size=8, max_new_tokens=4))
    assert [row["side"] for row in rows[-2:]] == ["encoder", "decoder"]
    assert rows[0]["change"] == "none"
    untouched = trained.encode(TEXTS[:2])
    torch.testing.assert_close(untouched, trained.encode(EXAMPLES[:2]))
    with pytest.raises(UserError, match="--fields target=OTHER"):
        list(trained.diagnose(E2S2.read([{"text": "a b"}] * 30)))


@pytest.mark.parametrize("architecture", ["bart", "t5"])
def test_a_classifier_starts_from_the_weights(architecture):
    method = make(architecture=architecture, vocab_size=420)
    classifier = method.classifier(3)
    assert classifier.logits(TEXTS[:4]).shape == (4, 3)
    theirs = method.network.base_model.state_dict()
    for name, weight in classifier.model.base_model.state_dict().items():
        assert torch.equal(theirs[name], weight), name
    classifier.losses(classifier.batch([(TEXTS[0], 1)], torch.Generator()))["loss"].backward()
    assert all(p.grad is None for p in method.parameters())


# -- what a user may get wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"masked_weight": 0.0, "noisy_weight": 0.0}, "set masked_weight above 0"),
        ({"shuffle_ratio": 0.0, "replace_ratio": 0.0}, "denoise_weight to 0"),
        ({"micro_batch_size": 4}, "set micro_batch_size to 0"),
        ({"batch_size": 1}, "set batch_size to 2 or more"),
        ({"pooling": "prompt", "max_length": 10}, "set max_length to"),
    ],
)
def test_settings_that_exclude_each_other_name_the_mend(changes, mend):
    with pytest.raises(UserError, match=mend):
        windows_of(make(**changes), TEXTS)


def test_rows_without_text_name_the_fields_found():
    with pytest.raises(UserError, match=r"text.*title"):
        E2S2.read([{"title": "b"}])
    with pytest.raises(UserError, match="'text' of row 0 is a int: give a string"):
        E2S2.read([{"text": 3}])
    assert E2S2.read([{"text": "a", "target": 3}])[0].target == "3"


# -- the trial's measures -------------------------------------------------------------------------


@pytest.fixture
def reader(trained):
    views = trained.views
    own = (views.frame, views.begin, views.special, views.ordinary, views.length)
    return measures.Reader(trained, *own, unchanged="masked")


def test_measures_are_of_the_right_texts(reader):
    windows = measures.windows_of(reader, TEXTS, 5, 12)
    assert len(windows) == 12
    edited = measures.edited_texts(reader, windows)
    assert edited == measures.edited_texts(reader, windows)
    assert all(each.edited.any() and len(each.right) == len(each.wrong) for each in edited)
    shuffled = measures.one_window_shuffled(windows)
    for (wrong, start), right in zip(shuffled, windows, strict=False):
        places = [i for i, (a, b) in enumerate(zip(wrong, right, strict=True)) if a != b]
        assert places
        assert start <= places[0] <= places[-1] < start + 3
    assert 0 <= measures.edit_f05(reader, edited, edited) <= 1
    assert set(measures.shuffled_found(reader, shuffled, shuffled)) <= {0.0, 1.0}
    assert len(measures.half_ranks(reader, windows)) == 12


def test_short_windows_are_filled_and_short_texts_refused(reader):
    short = replace(reader, length=4)
    assert {len(window) for window in measures.windows_of(short, TEXTS, 12, 3)} == {4}
    with pytest.raises(UserError, match="no text has 12 tokens or more: give longer ones"):
        measures.windows_of(reader, ["a"], 12, 3)


def test_losses_of_the_measures_are_those_of_the_model(trained, reader):
    windows = measures.windows_of(reader, TEXTS, 5, 6)
    batch = trained.batch(windows, torch.Generator().manual_seed(0))
    weights = (batch["labels"] != IGNORE).sum(1)
    found = torch.tensor(measures.infilling_losses(reader, windows))
    mean = (found * weights).sum() / weights.sum()
    torch.testing.assert_close(mean, trained.losses(batch)["masked_loss"], rtol=1e-4, atol=1e-5)
    right = windows[0]
    edited = measures.Edited(right, [right[1], right[0], *right[2:]])
    source = torch.tensor([[1, *edited.wrong, 2]])
    logits = trained.network(input_ids=source, labels=torch.tensor([[1, *right, 2]])).logits[0]
    wanted = cross_entropy(logits[1:3], torch.tensor(right[:2])).item()
    found = measures.restoration_losses(reader, [edited])
    assert found == pytest.approx([wanted], rel=1e-4)


def test_the_trial_has_its_controls_and_ablations():
    made = trial(tiny=True)
    assert [arm.name for arm in made.choose()] == [
        *("e2s2", "infilling", "before", "random"),
        *made.gate.trivial[2:],
    ]
    assert {"no-denoise", "no-contrast", "shuffle", "replace", "prompt"} <= {
        arm.name for arm in made.arms
    }


def test_the_tokenizer_goes_with_the_model(method, tmp_path):
    method.save(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).mask_token_id == method.views.mask
