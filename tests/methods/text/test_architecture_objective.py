"""Architecture and objective: masks, packing, adaptation, checkpoints, FLOPs, ranking, tasks."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from pretrial.bases.language_model.examples import texts_of
from pretrial.compare.kit import prompted_tasks as tasks
from pretrial.compare.kit.curves import logged_curve
from pretrial.compare.trial import Context
from pretrial.data.windows.cutting import TokenWindows
from pretrial.errors import UserError
from pretrial.evaluate.rank import measure_rank
from pretrial.evaluate.tasks import evaluate
from pretrial.methods.text.architecture_objective import ArchitectureObjective, Config
from pretrial.methods.text.architecture_objective.config import PAIRS
from pretrial.methods.text.architecture_objective.trials import prepare, trial
from pretrial.models.architectures.layouts import new_llama
from pretrial.models.architectures.t5_decoder import T5Decoder
from pretrial.models.tokenizers import learn_bpe, sentinel_ids
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import read_tensors
from pretrial.train.flops import count
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = ArchitectureObjective.read(ArchitectureObjective.sample_rows())
TINY = Config.tiny()
SIX = [(architecture, each) for architecture, kinds in PAIRS.items() for each in kinds]
ND_MLM = {"architecture": "prefix_decoder", "objective": "masked_lm"}


def make(**changes):
    torch.manual_seed(0)
    return ArchitectureObjective.build(replace(TINY, **changes), data=ROWS).eval()


def first_windows(method, number=6):
    windows = TokenWindows(texts_of(ROWS), method.tokenizer, method.mixture.window)
    return [windows[place] for place in range(number)]


def batch_of(method, windows, seed=0):
    return method.batch(windows, torch.Generator().manual_seed(seed))


# -- objectives -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "objective"), SIX)
def test_each_pair_predicts_what_its_objective_asks_for(architecture, objective):
    method = make(architecture=architecture, objective=objective)
    windows = first_windows(method)
    pairs = method.mixture.pairs(windows, torch.Generator().manual_seed(0))
    sentinels = set(sentinel_ids(method.tokenizer))
    for pair, window in zip(pairs, windows, strict=True):
        if objective == "masked_lm":
            assert pair.targets[0] in sentinels
            hidden = [token for token in pair.targets if token not in sentinels]
            assert len(hidden) == max(1, round(0.15 * len(window)))
        else:
            assert [*pair.inputs, *pair.targets] == window
            assert bool(pair.inputs) == (objective == "prefix_lm")
    loss = method.losses(batch_of(method, windows))["loss"]
    assert torch.isfinite(loss)


def test_split_is_uniform_over_the_window():
    method = make(architecture="prefix_decoder", objective="prefix_lm")
    window = list(range(20, 40))
    pairs = method.mixture.pairs([window] * 2000, torch.Generator().manual_seed(0))
    sizes = torch.tensor([len(pair.inputs) for pair in pairs])
    assert (int(sizes.min()), int(sizes.max())) == (1, 19)
    assert torch.bincount(sizes)[1:].min() > 60  # of 105


def test_all_arms_read_and_write_626_tokens():
    lengths = {}
    for architecture, objective in SIX:
        method = make(
            architecture=architecture,
            objective=objective,
            max_inputs=512,
            max_targets=114,
            vocab_size=400,
        )
        window = [30] * method.mixture.window
        lengths[method.config.label] = len(window), batch_of(method, [window])["counts"]["tokens"]
    assert lengths["ED:MLM"] == lengths["ND:MLM"] == lengths["CD:MLM"] == (568, 626.0)
    assert all(tokens == 626.0 for _, tokens in lengths.values())


def test_a_pair_that_is_none_of_the_six_is_refused():
    with pytest.raises(UserError, match="full_lm and masked_lm"):
        Config(architecture="causal_decoder", objective="prefix_lm")
    with pytest.raises(UserError, match="not trained with full_lm"):
        Config(architecture="encoder_decoder")


def test_separator_and_loss_on_inputs_are_options():
    parted = make(separator=True, **ND_MLM)
    batch = batch_of(parted, first_windows(parted, 1))
    separator = parted.tokenizer.convert_tokens_to_ids("<sep>")
    place = int(batch["prefix_lengths"][0]) - 1
    assert int(batch["input_ids"][0, place]) == separator
    plain, both = make(**ND_MLM), make(loss_on="all", **ND_MLM)
    windows = first_windows(plain)
    asked = batch_of(plain, windows)["counts"]["targets"]
    assert batch_of(both, windows)["counts"]["targets"] > 3 * asked


# -- adaptation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["rotary", "relative"])
def test_there_and_back_again_gives_the_same_logits(positions, tmp_path):
    causal = make(positions=positions)
    causal.save(tmp_path / "cd")
    to_prefix = replace(causal.config, adapt=True, **ND_MLM)
    prefix = ArchitectureObjective.build(to_prefix, source=tmp_path / "cd").eval()
    assert sum(p.numel() for p in prefix.parameters()) == sum(
        p.numel() for p in causal.parameters()
    )
    prefix.save(tmp_path / "nd")
    back = ArchitectureObjective.build(
        replace(causal.config, adapt=True), source=tmp_path / "nd"
    ).eval()
    batch = batch_of(causal, first_windows(causal))
    with torch.no_grad():
        found, wanted = (each.language_model.logits(batch) for each in (back, causal))
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        parted = batch_of(prefix, first_windows(prefix))
        assert not torch.allclose(
            prefix.language_model.logits(parted), causal.language_model.logits(parted)
        )


def test_a_mismatch_is_refused_unless_adapt_is_given(tmp_path):
    make(**ND_MLM).save(tmp_path / "nd")
    for changes in (
        {},
        {"architecture": "prefix_decoder", "objective": "prefix_lm"},
        {"objective": "masked_lm"},
    ):
        config = replace(TINY, **changes)
        with pytest.raises(UserError, match=r"ND:MLM.*give --adapt"):
            ArchitectureObjective.build(config, source=tmp_path / "nd")
        ArchitectureObjective.build(replace(config, adapt=True), source=tmp_path / "nd")
    ArchitectureObjective.build(replace(TINY, **ND_MLM), source=tmp_path / "nd")
    with pytest.raises(UserError, match="an encoder-decoder stays one"):
        ArchitectureObjective.build(
            replace(TINY, architecture="encoder_decoder", objective="masked_lm", adapt=True),
            source=tmp_path / "nd",
        )


def test_fine_tuning_takes_what_any_objective_has_left(tmp_path):
    make(**ND_MLM).save(tmp_path / "nd")
    config = replace(TINY, task="multitask", architecture="prefix_decoder")
    tuned = ArchitectureObjective.build(config, source=tmp_path / "nd")
    assert tuned.export().config.pretraining_objective == "masked_lm"
    with pytest.raises(UserError, match="--adapt"):
        ArchitectureObjective.build(
            replace(config, architecture="causal_decoder"), source=tmp_path / "nd"
        )


def test_a_public_decoder_is_causal_with_full_language_modelling(tmp_path):
    tokenizer = learn_bpe([row.text for row in ROWS], 300, specials={"eos_token": "</s>"})
    sizes = {"width": 32, "num_layers": 2, "num_heads": 2, "feed_forward": 64}
    network = new_llama(len(tokenizer), "causal_decoder", max_positions=64, **sizes).eval()
    del network.config.attention_pattern
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    method = ArchitectureObjective.build(TINY, source=tmp_path).eval()
    ids = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(
        method.export()(ids).logits, network(ids).logits, rtol=1e-5, atol=1e-5
    )
    with pytest.raises(UserError, match="CD:FLM"):
        ArchitectureObjective.build(replace(TINY, **ND_MLM), source=tmp_path)
    adapted = ArchitectureObjective.build(replace(TINY, adapt=True, **ND_MLM), source=tmp_path)
    assert len(sentinel_ids(adapted.tokenizer)) == 100
    with pytest.raises(UserError, match="--max-inputs"):
        ArchitectureObjective.build(replace(TINY, max_inputs=60), source=tmp_path)


# -- parity and scale -----------------------------------------------------------------------------


def test_what_is_exported_is_what_transformers_loads(tmp_path):
    method = make()
    method.save(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, LlamaForCausalLM)
    (row,) = method.generate(ROWS[:1], max_new_tokens=6)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(
        ROWS[0].text, truncation=True, max_length=TINY.max_inputs, return_tensors="pt"
    )
    wanted = loaded.generate(**inputs, max_new_tokens=6, do_sample=False)
    wanted = wanted[0, inputs["input_ids"].shape[1] :]
    assert row["text"] == tokenizer.decode(wanted, skip_special_tokens=True).strip()


@pytest.mark.parametrize("name", ["cd", "nd"])
def test_a_decoder_of_the_paper_has_t5s_blocks(name):
    with torch.device("meta"):
        method = ArchitectureObjective.build(Config.paper(name))
    assert isinstance(method.export(), T5Decoder)
    # 24 layers of four projections and three of a gated layer, embeddings, norms and 32 buckets
    layer = 4 * 4096 * 4096 + 3 * 4096 * 10240 + 2 * 4096
    total = 24 * layer + 32128 * 4096 + 4096 + 32 * 64
    assert sum(p.numel() for p in method.export().parameters()) == total


def test_encoder_decoder_costs_what_a_decoder_costs_but_for_cross_attention():
    def flops(network, **inputs):
        return count(lambda: network(use_cache=False, **inputs))[1]

    inputs, targets, layers = 512, 114, 1
    with torch.device("meta"):
        decoder = ArchitectureObjective.build(
            replace(Config.paper("cd"), num_layers=layers, vocab_size=128)
        ).export()
        both = ArchitectureObjective.build(
            replace(Config.paper("ed"), num_layers=layers, vocab_size=128)
        ).export()
        alone = flops(decoder, input_ids=torch.zeros(1, inputs + targets, dtype=torch.long))
        pair = flops(
            both,
            input_ids=torch.zeros(1, inputs, dtype=torch.long),
            decoder_input_ids=torch.zeros(1, targets, dtype=torch.long),
        )
    width = 4096
    cross = 2 * width * width * 2 * (inputs + targets) + 4 * width * inputs * targets
    assert (pair - layers * cross) / alone == pytest.approx(1, abs=0.1)
    assert pair / alone == pytest.approx(1.17, abs=0.02)  # what the paper calls equal


# -- abilities and tasks --------------------------------------------------------------------------


def test_fine_tuned_tasks_are_ranked_and_written(tmp_path):
    rows = [
        {"input": f"{noun}? Yes or no:", "target": target, "choices": ["Yes", "No"], "task": noun}
        for noun, target in (("A list", "Yes"), ("A cat", "No"))
    ]
    method = make(task="multitask", architecture="prefix_decoder", lr=1e-2)
    run = Run(tmp_path, method.read(rows * 4), budget=Budget(40, "steps"), quiet=True)
    train(method, run)
    method.eval()
    found = method.read(rows)
    assert [row["choice"] for row in method.rank(found)] == ["Yes", "No"]
    assert [row["text"] for row in method.generate(found)] == ["Yes", "No"]
    assert evaluate("rank", method, rows).metrics["accuracy"].value == 1.0
    with pytest.raises(UserError, match="choices"):
        list(method.rank(ROWS[:1]))


def test_both_stages_share_the_budget(tmp_path):
    method = make(task="both", multitask_ratio=0.25)
    rows = ArchitectureObjective.sample_rows() + tasks.procedural(
        2, [{"text": "x y", "label": "a"}] * 2, 0
    )
    run = Run(tmp_path, method.read(rows), budget=Budget(20, "steps"), quiet=True)
    stages = {stage.name: stage for stage in method.stages(run)}
    assert {name: stage.budget.amount for name, stage in stages.items()} == {
        "pretrain": 15,
        "multitask": 5,
    }


# -- trials ---------------------------------------------------------------------------------------


def test_grid_has_six_arms_and_asks_for_what_none_was_trained_on():
    grid = trial(which="grid", tiny=True)
    names = ["cd-flm", "nd-plm", "nd-mlm", "ed-mlm", "random", "answers"]
    assert [arm.name for arm in grid.choose()] == names
    configs = [arm.run.args[0] for arm in grid.arms[:6]]
    assert [(each.architecture, each.objective) for each in configs] == SIX
    same = {replace(each, architecture="prefix_decoder", objective="masked_lm") for each in configs}
    assert len(same) == 1
    data = grid.data()
    taught = {row["task"] for row in data.train if "task" in row}
    assert {row["task"] for row in data.test["held_out"]} == set(tasks.HELD_OUT)
    assert {row["task"] for row in data.test["known"]} == taught
    assert len(taught) == 6
    assert not taught & set(tasks.HELD_OUT)
    inputs = {row.get("input") for row in data.train}
    assert not any(row["input"] in inputs for rows in data.test.values() for row in rows)


def test_the_grid_counts_the_answers_of_each_task(tmp_path):
    grid = trial(which="grid", tiny=True)
    data = grid.data()
    run = Run(tmp_path, data.train, budget=Budget(600, "tokens"), quiet=True)
    counts = grid.arm("answers").run(Context(run, data, None))
    found = grid.measure(counts, data, 0)
    assert set(found) == {
        f"tuned_{name}_{what}" for name in ("held_out", "known") for what in ("nll", "accuracy")
    }
    [[yes, number]] = counts.choice_scores(["comparison: 3 more than 2"], [["yes", "4"]])
    assert yes > number


def test_grid_measures_before_and_after_fine_tuning(tmp_path):
    grid = trial(which="grid", tiny=True)
    data = grid.data()
    texts = [row for row in data.train if "text" in row][:40]
    known = [row for row in data.train if "task" in row][:40]
    asked = {name: rows[:12] for name, rows in data.test.items()}
    few = replace(data, train=texts + known, test=asked)
    run = Run(tmp_path, few.train, budget=Budget(600, "tokens"), quiet=True)
    subject = grid.arm("ed-mlm").run(Context(run, few, None))
    (plain,) = subject.plain
    size = sum(p.numel() for p in subject.parameters())
    assert size == sum(p.numel() for p in plain.parameters())  # one model's, not two
    weights = read_tensors(tmp_path / "stages/pretrain/done", "weights")
    assert torch.equal(
        plain.state_dict()["language_model.network.shared.weight"],
        weights["language_model.network.shared.weight"],
    )
    found = grid.measure(subject, few, 0)
    names = ("tuned_held_out", "tuned_known", "next_sentence")
    assert list(found) == [f"{name}_{what}" for name in names for what in ("nll", "accuracy")]
    row = asked["known"][0]
    [[score]] = subject.tuned.choice_scores([row["input"]], [[row["target"]]])
    assert found["tuned_known_nll"][0] == pytest.approx(-score, rel=1e-4)
    plainly = measure_rank(plain, asked["next_sentence"]).items["accuracy"]
    assert found["next_sentence_accuracy"] == plainly
    tuned = measure_rank(subject.tuned, asked["held_out"]).items["accuracy"]
    assert found["tuned_held_out_accuracy"] == tuned
    assert plain.choice_scores(["a"], [["b", "c"]]) != subject.tuned.choice_scores(
        ["a"], [["b", "c"]]
    )


def test_adaptation_starts_from_the_other_model_and_is_held_against_scratch(tmp_path):
    made = trial(tiny=True)
    data = made.data()
    few = replace(data, train=data.train[:60], held_out=data.held_out[:8])
    masked = replace(TINY, evaluate_every=1, **ND_MLM)
    configs = replace(TINY, evaluate_every=1), masked
    spent = prepare(configs, 4, few, 0, tmp_path / "prepared")
    assert spent.total("steps") == 8

    def losses(name, **chosen):
        folder = tmp_path / f"{name}{chosen}"
        run = Run(folder, few.train, few.held_out, Budget(4, "steps"), seed=0, quiet=True)
        found = made.arm(name).run(Context(run, few, tmp_path / "prepared", chosen))
        assert set(found) == {"loss"}
        return found["loss"]

    first = logged_curve(tmp_path / "prepared" / "causal-run")
    assert losses("scratch", lr=TINY.lr) == pytest.approx(first[-1][1], abs=0.2)
    assert losses("to-causal") != losses("scratch")
    assert losses("to-causal", lr=1e-9) != losses("to-causal")
    unigrams = losses("frequencies")
    assert 0 < unigrams < math.log(TINY.vocab_size + 200)
