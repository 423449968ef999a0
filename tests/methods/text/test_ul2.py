"""UL2: modes, lengths, checkpoints in public layouts, abilities, instruction tuning."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaForCausalLM,
    T5ForConditionalGeneration,
)

from pretrial.bases.language_model.examples import Example
from pretrial.corrupt.denoisers import Denoiser
from pretrial.errors import UserError
from pretrial.methods.text.ul2 import UL2, Config
from pretrial.methods.text.ul2.trials import trial
from pretrial.models.architectures.layouts import new_llama
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import learn_bpe, sentinel_ids
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = UL2.read(UL2.sample_rows())
TEXTS = [row.text for row in ROWS]
TINY = Config.tiny()
PROMPTED = [
    {"input": f"{noun}? Yes or no:", "target": target, "choices": ["Yes", "No"], "task": noun}
    for noun, target in (("A list", "Yes"), ("A cat", "No"))
]


def make(**changes):
    torch.manual_seed(0)
    return UL2.build(replace(TINY, **changes), data=ROWS).eval()


@pytest.fixture(scope="module")
def method():
    return make()


def windows(method, number=8):
    ids = method.tokenizer(TEXTS[:number], add_special_tokens=False)["input_ids"]
    return [row[: method.mixture.window] for row in ids]


def trained(method, rows, folder, steps=60):
    run = Run(folder, method.read(rows), budget=Budget(steps, "steps"), quiet=True)
    train(method, run)
    return method.eval()


# -- mechanism ------------------------------------------------------------------------------------


def test_every_member_is_drawn_behind_the_mode_of_its_paradigm(method):
    pairs = method.mixture.pairs(windows(method) * 40, torch.Generator().manual_seed(0))
    tokens = {mode: method.head(mode) for mode in ("NLU", "NLG", "S2S")}
    assert all(len(ids) == 1 for ids in tokens.values())
    sentinels = set(sentinel_ids(method.tokenizer))
    shares = dict.fromkeys(tokens, 0)
    for pair in pairs:
        (mode,) = (mode for mode, ids in tokens.items() if pair.inputs[:1] == ids)
        shares[mode] += 1 / len(pairs)
        assert bool(sentinels & set(pair.targets)) == (mode != "S2S")
    # R has one member of four, S one, X two
    assert shares == pytest.approx({"NLU": 0.25, "S2S": 0.25, "NLG": 0.5}, abs=0.1)


def test_batches_of_mixed_denoisers_fit_the_lengths(method):
    batch = method.batch(windows(method), torch.Generator().manual_seed(1))
    assert batch["input_ids"].shape[1] <= TINY.max_inputs
    assert batch["labels"].shape[1] <= TINY.max_targets
    assert (batch["labels"] == method.language_model.end).sum() == 8  # each target ends


def test_without_modes_nothing_stands_in_front():
    plain = make(mode_tokens=False)
    pairs = plain.mixture.pairs(windows(plain), torch.Generator().manual_seed(0))
    modes = {token for mode in ("NLU", "NLG", "S2S") for token in plain.head(mode)}
    assert not any(modes & set(pair.inputs) for pair in pairs)


def test_a_vocabulary_gets_as_many_sentinels_as_the_paper_needs_and_more_than_t5_has():
    need = Config.paper().needed_sentinels()
    assert need == replace(Config.paper(), num_sentinels=3).needed_sentinels()
    assert 100 < need < 140  # (3, 0.5) at 600 tokens
    made = make()
    assert len(sentinel_ids(made.tokenizer)) == TINY.needed_sentinels()


def test_language_modelling_is_a_setting():
    causal = make(architecture="causal_decoder", denoisers=("S:1",), mode_tokens=False)
    (pair,) = causal.mixture.pairs([[7, 8, 9]], torch.Generator())
    assert (pair.inputs, pair.targets) == ([], [7, 8, 9])
    batch = causal.batch([[7, 8, 9]], torch.Generator())
    logits = causal.export()(torch.tensor([[0, 7, 8, 9]])).logits[0]
    torch.testing.assert_close(causal.language_model.logits(batch), logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["prefix_decoder", "encoder_decoder"])
def test_losses_of_mixed_denoisers_add_up(architecture):
    made = make(architecture=architecture)
    whole = made.batch(windows(made), torch.Generator().manual_seed(2))
    source = torch.Generator().manual_seed(2)
    total = 0.0
    for window in windows(made):
        part = made.batch([window], source)
        total += float(made.losses(part)["loss"].detach()) * part["counts"]["targets"]
    loss = float(made.losses(whole)["loss"].detach()) * whole["counts"]["targets"]
    assert total == pytest.approx(loss, rel=1e-5)


# -- checkpoints ----------------------------------------------------------------------------------


def public_t5(folder, template="$A </s>", sentinels=100):
    """google/ul2's layout: T5's keys, gated SiLU, untied, modes known as plain text only."""
    torch.manual_seed(1)
    tokenizer = learn_bpe(
        TEXTS,
        400,
        num_sentinels=sentinels,
        specials={"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
        template=template,
    )
    sizes = {"width": 32, "num_layers": 2, "num_heads": 2, "feed_forward": 64, "head_size": 8}
    network = new_t5(len(tokenizer) + 5, activation="gated-silu", tied=False, **sizes)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return network.eval()


def test_a_released_checkpoint_loads_with_its_keys_and_modes_as_text(tmp_path):
    network = public_t5(tmp_path)
    made = UL2.build(TINY, source=tmp_path).eval()
    assert made.export().state_dict().keys() == network.state_dict().keys()
    assert len(made.head("S2S")) > 1  # the pieces of its text
    assert made.tokenizer.decode(made.head("S2S")) == "[S2S]"
    assert len(made.tokenizer) < made.export().config.vocab_size  # nothing was added
    ids = torch.tensor([[*made.head("NLU"), 20, 21, 1]])
    inputs = {"input_ids": ids, "decoder_input_ids": torch.tensor([[0, 30, 31]])}
    with torch.no_grad():
        torch.testing.assert_close(
            made.export()(**inputs).logits, network(**inputs).logits, rtol=1e-5, atol=1e-5
        )


def test_continuing_is_what_transformers_generates(tmp_path):
    public_t5(tmp_path)
    made = UL2.build(TINY, source=tmp_path).eval()
    (row,) = made.generate([Example(text="Return the list")], max_new_tokens=8)
    plain = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    ids = made.tokenizer("[S2S]Return the list", return_tensors="pt").input_ids
    wanted = plain.generate(ids, max_new_tokens=8, do_sample=False)[0]
    assert row["text"] == made.tokenizer.decode(wanted, skip_special_tokens=True).strip()


def test_a_causal_checkpoint_becomes_a_prefix_decoder_with_tokens_of_its_own(tmp_path):
    tokenizer = learn_bpe(TEXTS, 300, specials={"eos_token": "</s>"})
    sizes = {"width": 32, "num_layers": 2, "num_heads": 2, "feed_forward": 64}
    network = new_llama(len(tokenizer), "causal_decoder", max_positions=64, **sizes)
    del network.config.attention_pattern
    network.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    made = UL2.build(TINY, source=tmp_path / "theirs").eval()
    assert made.config.architecture == "prefix_decoder"
    assert len(sentinel_ids(made.tokenizer)) == 100
    assert len(made.head("NLG")) == 1
    made.save(tmp_path / "ours")
    again = UL2.build(TINY, source=tmp_path / "ours").eval()
    assert again.config.architecture == "prefix_decoder"
    for one, other in zip(again.score(ROWS[:2]), made.score(ROWS[:2]), strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-5)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert isinstance(loaded, LlamaForCausalLM)
    with pytest.raises(UserError, match="--max-inputs"):
        UL2.build(replace(TINY, max_inputs=50), source=tmp_path / "theirs")


def test_few_sentinels_shorten_the_windows(tmp_path):
    public_t5(tmp_path, sentinels=3)
    made = UL2.build(TINY, source=tmp_path)
    assert max(made.mixture.raw_lengths) < max(make().mixture.raw_lengths) + 1
    assert made.mixture.raw_lengths[2] <= 19  # 3 spans of 3 at 0.5


def test_a_checkpoint_without_sentinels_is_refused(tmp_path):
    public_t5(tmp_path, sentinels=0)
    with pytest.raises(UserError, match="sentinels"):
        UL2.build(TINY, source=tmp_path)


# -- abilities ------------------------------------------------------------------------------------


def test_the_aim_decides_the_mode(method):
    seen = []
    model = method.language_model
    write = model.write
    model.write = lambda rows, **options: seen.append(rows[0][:1]) or write(rows, **options)
    try:
        for options in ({}, {"aim": "fill"}, {"aim": "fill-long"}, {"mode": "NLU"}):
            list(method.generate(ROWS[:1], max_new_tokens=2, **options))
        list(method.generate(ROWS[:1], max_new_tokens=2, mode="none"))
    finally:
        del model.write
    modes = [method.head(mode) for mode in ("S2S", "NLU", "NLG", "NLU")]
    assert seen[:4] == modes
    assert seen[4] not in modes


def test_gaps_are_filled_where_they_stand(method):
    ids = method.tokenizer("<extra_id_1> two<extra_id_0> one", add_special_tokens=False)[
        "input_ids"
    ]
    assert method._filled("a<extra_id_0> b<extra_id_1> c<extra_id_2>", ids) == (
        "a one b two c<extra_id_2>"
    )


def test_texts_are_written_for_the_task_of_generation(method):
    (text,) = method.generate_texts(TEXTS[:1], max_new_tokens=3)
    (row,) = method.generate(TEXTS[:1], max_new_tokens=3)
    assert text == row["text"]


def test_choices_are_ranked_by_their_likelihood(method):
    rows = UL2.read(PROMPTED)
    for row, example in zip(method.rank(rows), rows, strict=True):
        assert row["choice"] == max(row["scores"], key=row["scores"].get)
        assert set(row["scores"]) == set(example.choices)
    scores = method.choice_scores(["A list?"], [["Yes", "Yes"]])
    assert scores[0][0] == pytest.approx(scores[0][1], rel=1e-5)
    with pytest.raises(UserError, match="choices"):
        list(method.rank(ROWS[:1]))


def test_chains_of_thought_are_voted_on(method):
    (row,) = method.answer(ROWS[:1], num_samples=3, max_new_tokens=4)
    assert len(row["chains"]) == 3
    assert 0 <= row["vote_ratio"] <= 1


def test_scores_are_by_paradigm_and_repeat(method):
    rows = list(method.score(ROWS[:3]))
    assert rows == list(method.score(ROWS[:3]))
    assert all(set(row) == {"R", "S", "X"} for row in rows)
    with pytest.raises(UserError, match="row 1 is empty"):
        list(method.score([ROWS[0], Example(input="")]))


def test_a_mode_costs_what_its_token_changes(method):
    member = [Denoiser.parse("S:0.25")]
    right = method.denoising_nll(TEXTS[:3], member)["S"]
    assert method.denoising_nll(TEXTS[:3], member, mode="S2S")["S"] == right
    assert method.denoising_nll(TEXTS[:3], member, mode="NLU")["S"] != right


def test_instruction_tuning_learns_answers_without_a_mode(tmp_path):
    made = make(task="instruct", lr=1e-2)
    trained(made, PROMPTED * 4, tmp_path, 40)
    rows = UL2.read(PROMPTED)
    assert [row["choice"] for row in made.rank(rows, mode="none")] == ["Yes", "No"]
    assert [row["text"] for row in made.generate(rows, mode="none")] == ["Yes", "No"]


def test_missing_rows_are_named(tmp_path):
    with pytest.raises(UserError, match="'input' and 'target'"):
        trained(make(task="instruct"), UL2.sample_rows(), tmp_path / "one", 1)
    with pytest.raises(UserError, match="give rows with 'text'"):
        trained(make(), PROMPTED, tmp_path / "two", 1)
    with pytest.raises(UserError, match="neither 'text' nor 'input'"):
        UL2.read([{"body": "x"}])
    with pytest.raises(UserError, match="is a int"):
        UL2.read([{"text": 3}])


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="needs a denoiser"):
        Config(denoisers=())
    with pytest.raises(UserError, match="no denoiser"):
        Config(denoisers=("3-0.15",))
    with pytest.raises(UserError, match="20b"):
        Config.paper("11b")


# -- trial ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["prefix_decoder", "encoder_decoder"])
def test_arms_differ_in_the_objective_and_share_a_vocabulary(architecture):
    made = trial(architecture=architecture)
    arms = {arm.name: arm.config for arm in made.arms if arm.config}
    assert len({config.num_sentinels for config in arms.values()}) == 1
    assert len({(c.lr, c.batch_size, c.max_inputs, c.vocab_size) for c in arms.values()}) == 1
    assert {config.architecture for name, config in arms.items() if name != "causal"} == {
        architecture
    }
    claims = {claim[:3] for claim in made.claims}
    assert {("span", "ul2", "R_loss"), ("prefix", "ul2", "S_loss")} <= claims
    assert {member.paradigm for member in arms["no-x"].members()} == {"R", "S"}
    assert [arms[name].mode_tokens for name in ("ul2", "no-x", "no-modes", "span")] == [
        True,
        True,
        False,
        False,
    ]


def test_embeddings_of_a_t5_have_a_rate_of_their_own(tmp_path):
    for architecture, number in (("encoder_decoder", 2), ("prefix_decoder", 1)):
        made = make(embedding_lr_ratio=20.0, architecture=architecture)
        run = Run(tmp_path / architecture, ROWS, budget=Budget(2, "steps"), quiet=True)
        (stage,) = made.stages(run)
        assert len(stage.optims) == number
        train(made, run)  # every parameter has one optimiser, or the loop refuses
    assert made.config.lr * 20 == pytest.approx(0.06)
