"""Never Train from Scratch: inputs, objectives, hand-over, stages, use."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from pretrial.data.builtin.listops import listops
from pretrial.errors import UserError
from pretrial.evaluate.tasks import evaluate
from pretrial.methods.text.never_from_scratch import Config, NeverFromScratch
from pretrial.methods.text.never_from_scratch.data import MASK, PAD, UNKNOWN, code
from pretrial.methods.text.never_from_scratch.network.handover import hand_over
from pretrial.methods.text.never_from_scratch.stages import (
    Pretrainer,
    SequenceClassifier,
    chance_warning,
    optims,
    states_of,
)
from pretrial.methods.text.never_from_scratch.trials import trial
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.optim import share_out
from pretrial.train.run import Run

MIXERS = ["transformer", "s4", "s4d", "dlr", "mamba"]
TINY = Config.tiny()
SIGNALS: list[dict[str, Any]] = [
    {
        "signal": [math.sin(0.3 * (1 + number % 2) * t + number) for t in range(12 + number % 3)],
        "label": number % 2,
    }
    for number in range(24)
]
TOKENS = listops(24, max_length=24, max_depth=2)


def make(rows: list[dict[str, Any]] = SIGNALS, **changes: Any) -> NeverFromScratch:
    torch.manual_seed(0)
    return NeverFromScratch.build(replace(TINY, **changes), data=NeverFromScratch.read(rows))


def coded(method: NeverFromScratch, rows: list[dict[str, Any]] = SIGNALS) -> list[Any]:
    return code(method.read(rows), method.network.config)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(folder: Path, held_out: list | None = None, steps: int = 8, **changes: Any) -> Any:
    method = make(**changes)
    aside = method.read(held_out) if held_out else ()
    run = Run(folder, method.read(SIGNALS), aside, Budget(steps), quiet=True)
    train(method, run)
    run.close()
    return method


# -- inputs ---------------------------------------------------------------------------------------


def test_signals_lie_between_minus_one_and_one() -> None:
    method = make()
    entries = np.concatenate([each.entries for each in coded(method)])
    assert (entries.min(), entries.max()) == (-1.0, 1.0)
    assert method.network.config.vocab_size == 0
    assert method.network.config.max_position_embeddings == 16


def test_texts_are_bytes_and_images_rows_of_grey_pixels() -> None:
    text = make(NeverFromScratch.sample_rows())
    first = coded(text, NeverFromScratch.sample_rows()[:1])[0]
    assert bytes((first.entries - 3).tolist()).decode() == NeverFromScratch.sample_rows()[0]["text"]
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    rows = [{"image": image, "label": "a"}, {"image": image[::-1], "label": "b"}]
    method = make(rows)
    expected = np.arange(12) / 11 * 2 - 1
    np.testing.assert_allclose(coded(method, rows)[0].entries, expected, atol=1e-6)


def test_tokens_have_ids_and_those_never_seen_one_together() -> None:
    method = make(TOKENS)
    ids = coded(method, [{"tokens": "[MAX 1 2 ]"}, {"tokens": ["[POW", 1, "2", "]"]}])
    assert len(set(ids[0].entries)) == 4
    assert ids[1].entries[0] == UNKNOWN
    assert ids[1].entries[1:].tolist() == ids[0].entries[1:].tolist()


def test_what_a_row_lacks_is_named() -> None:
    read = NeverFromScratch.read
    with pytest.raises(UserError, match=r"found: body\): name the one to use with --fields"):
        read([{"body": "x"}])
    with pytest.raises(UserError, match="'text' of row 1 is empty"):
        read([{"text": "a"}, {"text": ""}])
    with pytest.raises(UserError, match="no list of numbers"):
        read([{"signal": [1.0, "two"]}])
    with pytest.raises(UserError, match="rows of one kind"):
        read([{"text": "a"}, {"signal": [1.0]}])
    with pytest.raises(UserError, match="no row has a 'label'"):
        make([{"text": "a"}])
    with pytest.raises(UserError, match="two labels or more"):
        make([{"text": "a", "label": 1}])
    method = make()
    with pytest.raises(UserError, match="the model reads signal, and row 0 holds bytes"):
        coded(method, [{"text": "a"}])
    with pytest.raises(UserError, match="label '7', which was not in the training data"):
        coded(method, [{"signal": [1.0], "label": 7}])


# -- objectives -----------------------------------------------------------------------------------


def test_masked_signals_have_two_channels_and_only_hidden_entries_count() -> None:
    method = make()
    pretrainer = Pretrainer(method.network.encoder, "masked", TINY)
    sequences = coded(method)[:6]
    batch = pretrainer.batch(sequences, generator())
    hidden = batch["values"][..., 1].bool()
    assert not batch["values"][..., 0][hidden].any()
    lengths = [len(each.entries) for each in sequences]
    assert hidden.sum(1).tolist() == [round(0.5 * length) for length in lengths]
    # what is seen is not asked for: other targets there change nothing
    assert batch["positions"].tolist() == hidden.flatten().nonzero().squeeze(-1).tolist()
    batch["labels"] = batch["labels"] + 100.0
    states = states_of(pretrainer.encoder, batch["values"], batch["attention_mask"])
    answers = pretrainer.decoder(states).squeeze(-1)[hidden]
    expected = (answers - batch["labels"]).abs().mean()
    torch.testing.assert_close(pretrainer.losses(batch)["loss"], expected, rtol=1e-4, atol=1e-4)


def test_masked_tokens_are_hidden_and_padding_is_not() -> None:
    method = make(TOKENS, mask_ratio=0.3)
    pretrainer = Pretrainer(method.network.encoder, "masked", method.config)
    batch = pretrainer.batch(coded(method, TOKENS)[:8], generator())
    inputs = batch["input_ids"].flatten()
    assert (inputs[batch["positions"]] == MASK).all()
    assert (inputs == MASK).sum() == len(batch["positions"])
    assert (inputs[~batch["attention_mask"].flatten()] == PAD).all()
    again = inputs.clone()
    again[batch["positions"]] = batch["labels"]
    whole = torch.from_numpy(np.concatenate([e.entries for e in coded(method, TOKENS)[:8]]))
    assert torch.equal(again[batch["attention_mask"].flatten()], whole)


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_next_entry_is_asked_for_and_never_seen(mixer) -> None:
    method = make(mixer=mixer, objective="causal")
    pretrainer = Pretrainer(method.network.encoder, "causal", method.config).eval()
    sequences = coded(method)[:3]
    batch = pretrainer.batch(sequences, generator())
    expected = np.concatenate([each.entries[1:] for each in sequences])
    np.testing.assert_array_equal(batch["labels"].numpy(), expected)
    changed = batch["values"].clone()
    changed[:, 7:] = 0.5
    one, two = (
        states_of(pretrainer.encoder, each, batch["attention_mask"])[:, :7]
        for each in (batch["values"], changed)
    )
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_levels_are_classes_of_grey() -> None:
    method = make(signal_loss="levels")
    pretrainer = Pretrainer(method.network.encoder, "masked", method.config)
    batch = pretrainer.batch(coded(method), generator())
    assert batch["labels"].dtype == torch.long
    assert (batch["labels"].min(), batch["labels"].max()) == (0, 255)
    assert float(pretrainer.losses(batch)["loss"].detach()) == pytest.approx(math.log(256), rel=0.2)


# -- hand-over ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixer", MIXERS)
def test_states_after_the_hand_over_are_those_with_nothing_hidden(mixer) -> None:
    method = make(mixer=mixer)
    pretrainer = Pretrainer(method.network.encoder, "masked", TINY)
    with torch.no_grad():
        for parameter in pretrainer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    hand_over(pretrainer.encoder, method.network.encoder)
    values = torch.randn(2, 12, 1)
    shown = torch.cat([values, torch.zeros_like(values)], -1)
    torch.testing.assert_close(
        states_of(method.network.encoder, values, None), states_of(pretrainer.encoder, shown, None)
    )


@pytest.mark.parametrize("mixer", ["s4", "s4d", "dlr"])
def test_a_causal_kernel_comes_back_beside_the_one_that_waited(mixer) -> None:
    method = make(mixer=mixer)
    layer = method.network.encoder.layers[0].mixer
    name = "W" if mixer == "dlr" else "C"
    before = getattr(layer.kernel, name).detach().clone()
    pretrainer = Pretrainer(method.network.encoder, "causal", TINY)
    own = getattr(pretrainer.encoder.get_submodule("layers.0.mixer.kernel"), name)
    with torch.no_grad():
        own.add_(1.0)
    hand_over(pretrainer.encoder, method.network.encoder)
    after = getattr(layer.kernel, name)
    torch.testing.assert_close(after[0], before[0] + 1.0)
    assert torch.equal(after[1], before[1])


def test_a_decoder_is_no_part_of_the_classifier(tmp_path) -> None:
    method = trained(tmp_path)
    assert not any("decoder" in name for name in method.state_dict())
    assert method.network.encoder.embed.weight.shape[1] == 1


# -- stages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixer", MIXERS)
def test_dynamics_have_an_optimiser_of_their_own(mixer) -> None:
    method = make(mixer=mixer, lr=0.01, weight_decay=0.05)
    module = SequenceClassifier(method.network)
    found = optims(method.config)
    assert isinstance(found, tuple) == (mixer != "transformer")
    if isinstance(found, tuple):
        rest, dynamics = found
        assert (rest.lr, dynamics.lr) == (0.01, 0.001)
        assert (rest.weight_decay, dynamics.weight_decay) == (0.05, 0.0)
        names = list(share_out(dict(module.named_parameters()), found)[1])
        expected = {
            "s4": {"log_dt", "log_A_real", "A_imag", "P", "B"},
            "s4d": {"log_dt", "log_A_real", "A_imag"},
            "dlr": {"Lambda_log_neg_re", "Lambda_im", "W"},
            "mamba": {"A_log", "dt_proj.weight", "dt_proj.bias"},
        }[mixer]
        assert {re.split(r"mixer\.(?:kernel\.)?", name)[1] for name in names} == expected
        assert len(names) == TINY.num_layers * len(expected)


@pytest.mark.parametrize("objective", ["masked", "causal", "none"])
def test_stages_share_the_budget(objective, tmp_path) -> None:
    method = make(objective=objective, pretrain_ratio=0.7)
    run = Run(tmp_path, method.read(SIGNALS), (), Budget(10), quiet=True)
    stages = list(method.stages(run))
    assert [stage.budget.amount for stage in stages] == ([10] if objective == "none" else [7, 3])
    assert stages[-1].name == "finetune"


def test_held_out_accuracy_chooses_the_objective(tmp_path) -> None:
    method = trained(tmp_path, SIGNALS[:9], objective="validation")
    scores = {}
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        if row.get("stage", "").startswith("finetune") and "eval/loss" in row:
            scores[row["stage"]] = (row["eval/right_ratio"], -row["eval/loss"])
    assert list(scores) == ["finetune-masked", "finetune-causal"]
    best = list(scores).index(max(scores, key=lambda name: scores[name]))
    assert json.loads((tmp_path / "artefacts/choice/choice.json").read_text()) == best
    again = trained(tmp_path, SIGNALS[:9], objective="validation")  # all was finished before
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, method.state_dict()[name]), name
    with pytest.raises(UserError, match="needs held-out data"):
        trained(tmp_path / "other", objective="validation")


def test_less_data_is_the_beginning_of_it(tmp_path) -> None:
    method = make(data_ratio=0.5)
    run = Run(tmp_path, method.read(SIGNALS), (), Budget(10), quiet=True)
    assert [len(stage.data) for stage in method.stages(run)] == [12, 12]


def test_a_classifier_at_chance_is_reported(tmp_path, capsys) -> None:
    places = [0] * 50 + [1] * 50
    assert "still at chance" in str(chance_warning(0.55, places))
    assert chance_warning(0.9, places) is None
    assert "90.0%" in str(chance_warning(0.9, [0] * 90 + [1] * 10))
    assert chance_warning(0.5, [0, 1] * 9) is None  # too few to tell
    method = make()
    rows = [row | {"label": number % 3 % 2} for number, row in enumerate(SIGNALS)]
    aside = method.read([*rows, {"signal": [0.5, 0.1], "label": "never trained on"}])
    run = Run(tmp_path, method.read(rows), aside, Budget(2))
    train(method, run)
    told = capsys.readouterr().out
    assert "finetune: still at chance" in told
    assert "1 held-out sequences are left out: training has none of their label" in told


# -- use ------------------------------------------------------------------------------------------


def test_labels_are_learnt_and_named(tmp_path) -> None:
    method = trained(tmp_path, steps=160, mixer="s4d", lr=0.01, pretrain_ratio=0.3)
    found = list(method.classify(method.read([{"signal": row["signal"]} for row in SIGNALS])))
    right = [row["label"] == str(own["label"]) for row, own in zip(found, SIGNALS, strict=True)]
    assert np.mean(right) > 0.9
    assert all(0.5 <= row["label_prob"] <= 1 for row in found)
    assert evaluate("accuracy", method, SIGNALS).metrics["accuracy"].value == np.mean(right)


@pytest.mark.parametrize("mixer", MIXERS)
def test_what_is_saved_answers_the_same(mixer, tmp_path) -> None:
    method = make(TOKENS, mixer=mixer, structured=False)
    method.save(tmp_path)
    again = NeverFromScratch.build(TINY, source=tmp_path)
    assert again.config.mixer == mixer
    rows = method.read(TOKENS[:5])
    for one, other in zip(again.classify(rows), method.classify(rows), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_another_checkpoint_is_refused(tmp_path) -> None:
    sizes = BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=50,
    )
    BertForSequenceClassification(sizes).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not fit LongSequenceForSequenceClassification"):
        NeverFromScratch.build(TINY, source=tmp_path)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UserError, match="state_size must be even"):
        replace(TINY, state_size=7)
    with pytest.raises(UserError, match="mask_ratio must be above 0"):
        replace(TINY, mask_ratio=0.0)
    with pytest.raises(UserError, match="published sizes are image, listops"):
        Config.paper("huge")


# -- scale and trial ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["image", "listops", "pathfinder", "path-x", "path-x-256"])
def test_sizes_of_the_transformers_are_those_of_their_formula(name) -> None:
    config = Config.paper(name)
    with torch.device("meta"):
        network = NeverFromScratch.build(config).export()
    width, inner = config.width, config.feed_forward
    layer = 4 * (width + 1) * width + (width + 1) * inner + (inner + 1) * width + 4 * width
    head = (width + 1) * 10 + ((width + 1) * width if config.head == "mlp" else 0)
    expected = config.num_layers * layer + 2 * width + 2 * width + head
    assert sum(p.numel() for p in network.parameters()) == expected


def test_a_tenth_of_list_operations_and_half_of_pixels_are_hidden() -> None:
    names = ("listops", "s4-listops", "image", "path-x")
    assert [Config.paper(name).mask_ratio for name in names] == [0.1, 0.1, 0.5, 0.5]


@pytest.mark.parametrize("name", ["s4-image", "s4-listops", "s4-path-x", "dlr-image"])
def test_state_spaces_of_published_shapes_are_built_without_memory(name) -> None:
    with torch.device("meta"):
        network: Any = NeverFromScratch.build(Config.paper(name)).export()
    assert all(parameter.is_meta for parameter in network.parameters())
    assert len(network.encoder.layers) == Config.paper(name).num_layers


@pytest.mark.parametrize("which", ["digits", "listops"])
def test_the_trial_measures_gaps_between_networks(which, tmp_path) -> None:
    from pretrial.compare.trial import Context

    made = trial(which=which, num_train=40, num_test=30, tiny=True)
    assert made.name == ("" if which == "digits" else "listops")
    data = made.data()
    assert (len(data.train), len(data.test)) == (40, 30)
    for name in ("spt", "scratch", "spt-mamba"):
        run = Run(tmp_path / name, data.train, (), made.budget, quiet=True)
        arm = made.arm(name)
        assert arm.run is not None
        panel = arm.run(Context(run, data, None))
        assert run.spent.total("steps") == made.budget.amount
        found = made.measure(panel, data, 0)
        accuracy = {own: _mean(found[f"{own}_accuracy"]) for own in panel.members}
        nll = {own: _mean(found[f"{own}_nll"]) for own in panel.members}
        assert found["worst_nll"] == pytest.approx(max(nll.values()))
        for gap, one, other in (
            ("gap", "s4d", "transformer"),
            ("random_gap", "s4d", "s4d_random"),
            ("mamba_gap", "mamba", "transformer"),
        ):
            assert (gap in found) == ({one, other} <= accuracy.keys())
            if gap in found:
                assert found[gap] == pytest.approx(accuracy[one] - accuracy[other])
    floor = made.measure(None, data, 0)
    assert set(floor) == {"transformer_nll", "transformer_accuracy"}
    assert np.isfinite(_mean(floor["transformer_nll"]))
    # a gap shrinks too where the better network loses, so it decides nothing
    assert not [claim for claim in made.claims if claim[2].endswith("gap")]


def _mean(values: Any) -> float:
    return float(np.mean(getattr(values, "values", values)))


def test_copies_of_an_image_are_on_one_side_of_the_trial() -> None:
    pytest.importorskip("sklearn")
    data = trial().data()
    known = {row["original"] for row in data.train}
    assert len(known) < len(data.train)
    assert not known & {row["original"] for row in data.test}


def test_equal_sequences_are_on_one_side_of_the_trial() -> None:
    data = trial(which="listops", num_train=200, num_test=200).data()
    texts = [{row["text"] for row in rows} for rows in (data.train, data.test)]
    assert not texts[0] & texts[1]
    assert [len(each) for each in texts] == [200, 200]
