"""ELECTRA: its defining properties, parity with transformers, sizes, checkpoints, variants."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    AutoModelForPreTraining,
    AutoTokenizer,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraModel,
)

from pretrial.errors import UserError
from pretrial.methods.text.electra import ELECTRA, Config
from pretrial.methods.text.electra.network import generator_config
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

TEXTS = ELECTRA.read(ELECTRA.sample_rows())
TINY = Config.tiny()
SAME_SIZE = {"tie": "none", "generator_width_ratio": 1.0}


def make(**changes):
    torch.manual_seed(0)
    return ELECTRA.build(replace(TINY, **changes), data=TEXTS)


def batch_of(method, texts=TEXTS[:8], seed=0):
    windows = method.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    windows = [ids[: TINY.max_length - 2] for ids in windows]
    return method.batch(windows, torch.Generator().manual_seed(seed))


def forced(batch, vocab_size, tokens):
    """Logits that leave no choice but `tokens` at the chosen positions."""
    logits = torch.full((len(batch["positions"]), vocab_size), -1e4)
    logits[torch.arange(len(tokens)), tokens] = 1e4
    return logits


@pytest.fixture(scope="module")
def method():
    return make()


@pytest.fixture(scope="module")
def batch(method):
    return batch_of(method)


# -- mechanism ------------------------------------------------------------------------------------


def test_a_generator_that_finds_every_token_leaves_nothing_to_detect(method, batch):
    originals = batch["labels"].flatten()[batch["positions"]]
    corrupted = method.corrupt(batch, forced(batch, method.config.vocab_size, originals))
    assert torch.equal(corrupted, batch["labels"])


def test_other_tokens_are_labelled_replaced_exactly_where_they_were_put(method, batch):
    originals = batch["labels"].flatten()[batch["positions"]]
    others = (originals + 1) % method.config.vocab_size
    corrupted = method.corrupt(batch, forced(batch, method.config.vocab_size, others))
    replaced = (corrupted != batch["labels"]).flatten().nonzero().squeeze(-1)
    assert replaced.tolist() == batch["positions"].tolist()


def test_the_encoder_never_sees_a_mask_and_the_generator_does(method, batch):
    mask = method.tokenizer.mask_token_id
    assert (batch["input_ids"].flatten()[batch["positions"]] == mask).all()
    originals = batch["labels"].flatten()[batch["positions"]]
    corrupted = method.corrupt(batch, forced(batch, method.config.vocab_size, originals))
    assert not (corrupted == mask).any()


def test_detection_teaches_the_shared_embeddings_but_not_the_generator(method, batch):
    method.zero_grad()
    method.losses(batch)["disc_loss"].backward()
    shared = set(method.network.electra.embeddings.parameters())
    own = [p for p in method.generator.parameters() if p not in shared]
    assert own
    assert all(p.grad is None or not p.grad.any() for p in own)
    assert method.generator.electra.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    method.zero_grad()


def test_padding_decides_nothing(method):
    short = batch_of(method, ["Return the list."])
    alone = method.losses(short)
    length = short["labels"].shape[1]
    padded = dict(short)
    for name, fill in (("labels", 77), ("input_ids", 78), ("attention_mask", False)):
        padded[name] = torch.nn.functional.pad(short[name], (0, 5), value=fill)
    assert padded["labels"].shape[1] == length + 5
    for name in ("mlm_loss", "disc_loss", "replaced_ratio"):
        torch.testing.assert_close(method.losses(padded)[name], alone[name], rtol=1e-5, atol=1e-6)


def test_masks_and_draws_of_a_text_do_not_depend_on_its_neighbours(method):
    one = batch_of(method, TEXTS[:1])
    many = batch_of(method, [TEXTS[0], *TEXTS[3:9]])
    length = one["labels"].shape[1]
    assert torch.equal(one["input_ids"][0], many["input_ids"][0, :length])
    assert one["seeds"][0] == many["seeds"][0]


def test_draws_follow_the_generators_softmax(method, batch):
    logits = torch.zeros(len(batch["positions"]), method.config.vocab_size)
    logits[:, :6] = torch.tensor([9.0, 8.0, 7.5, 7.0, 7.0, 8.5])
    counts = torch.zeros(method.config.vocab_size, dtype=torch.double)
    num_draws = 0
    while num_draws < 20_000:
        fresh = {**batch, "seeds": batch["seeds"] + num_draws}
        drawn = method.corrupt(fresh, logits).flatten()[batch["positions"]]
        counts += drawn.bincount(minlength=len(counts))
        num_draws += len(drawn)
    expected = logits[0].double().softmax(-1) * num_draws
    rest = torch.stack([counts[6:].sum(), expected[6:].sum()])  # too few of each to test alone
    observed, wanted = (
        torch.cat([c[:6], r[None]]) for c, r in zip((counts, expected), rest, strict=True)
    )
    assert chisquare(observed, wanted).pvalue > 0.01


def test_a_special_token_is_never_chosen_and_the_share_is_exact(method, batch):
    special = torch.tensor(method.tokenizer.all_special_ids)
    originals = batch["labels"].flatten()[batch["positions"]]
    assert not torch.isin(originals, special).any()
    num_ordinary = (~torch.isin(batch["labels"], special)).sum(-1)
    assert batch["num_chosen"].sum() == len(batch["positions"])
    assert batch["num_chosen"].tolist() == [max(1, round(0.15 * int(n))) for n in num_ordinary]


# -- parity ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """Randomly initialised checkpoints in the layout of google/electra-small-*."""
    folder = tmp_path_factory.mktemp("google")
    method = make(generator_width_ratio=1.0)  # the released small generator has full width
    discriminator, generator = folder / "electra-discriminator", folder / "electra-generator"
    method.network.save_pretrained(discriminator)
    method.generator.save_pretrained(generator)
    method.tokenizer.save_pretrained(discriminator)
    return discriminator, generator


def test_logits_and_losses_are_those_of_transformers(public):
    discriminator = ElectraForPreTraining.from_pretrained(public[0]).eval()
    generator = ElectraForMaskedLM.from_pretrained(public[1]).eval()
    method = ELECTRA.build(TINY, source=public[0]).eval()
    batch = batch_of(method)
    real = batch["attention_mask"].long()
    losses = method.losses(batch)

    labels = batch["labels"].masked_fill(~batch["loss_mask"], -100)
    masked_lm = generator(batch["input_ids"], attention_mask=real, labels=labels)
    torch.testing.assert_close(losses["mlm_loss"], masked_lm.loss, rtol=1e-5, atol=1e-5)
    logits = method.generator_logits(batch)
    theirs = masked_lm.logits.flatten(0, 1)[batch["positions"]]
    torch.testing.assert_close(logits, theirs, rtol=1e-5, atol=1e-5)

    corrupted = method.corrupt(batch, logits)
    replaced = (corrupted != batch["labels"]).long()
    detection = discriminator(corrupted, attention_mask=real, labels=replaced)
    torch.testing.assert_close(losses["disc_loss"], detection.loss, rtol=1e-5, atol=1e-5)
    total = masked_lm.loss + 50 * detection.loss  # run_pretraining.py of google-research/electra
    torch.testing.assert_close(losses["loss"], total, rtol=1e-5, atol=1e-4)


def test_a_public_pair_loads_whole_and_shares_again(public):
    method = ELECTRA.build(Config(), source=public[0])
    embeddings = method.network.electra.embeddings
    assert method.config.width == TINY.width
    assert method.config.vocab_size == embeddings.word_embeddings.num_embeddings
    assert method.generator.config.hidden_size == TINY.width
    assert method.generator.electra.embeddings is embeddings
    assert method.generator.generator_lm_head.weight is embeddings.word_embeddings.weight
    saved = ElectraForMaskedLM.from_pretrained(public[1])
    for name, weight in saved.state_dict().items():
        assert torch.equal(method.generator.state_dict()[name], weight), name


def test_keys_of_the_public_layout(method):
    heads = {name.partition(".")[0] for name in method.network.state_dict()}
    assert heads == {"electra", "discriminator_predictions"}
    assert "discriminator_predictions.dense_prediction.weight" in method.network.state_dict()
    heads = {name.partition(".")[0] for name in method.generator.state_dict()}
    assert heads == {"electra", "generator_predictions", "generator_lm_head"}


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is a bert checkpoint: give .* ELECTRA"):
        ELECTRA.build(TINY, source=tmp_path)


# -- checkpoints ----------------------------------------------------------------------------------


def test_both_networks_come_back_with_the_generators_size(method, batch, tmp_path):
    method.save(tmp_path)
    again = ELECTRA.build(replace(TINY, generator_width_ratio=1.0), source=tmp_path)
    assert again.generator.config.hidden_size == 16
    for name, value in method.losses(batch).items():
        found = again.eval().losses(batch)[name]
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-5, msg=name)


def test_what_the_user_keeps_loads_in_transformers(method, tmp_path):
    method.save(tmp_path)
    assert isinstance(AutoModelForPreTraining.from_pretrained(tmp_path), ElectraForPreTraining)
    encoder = ElectraModel.from_pretrained(tmp_path).eval()
    inputs = AutoTokenizer.from_pretrained(tmp_path)("a short list", return_tensors="pt")
    mean = encoder(inputs["input_ids"]).last_hidden_state.mean(1)[0]
    vector = method.encode([TEXTS[0], "a short list"])[1]
    torch.testing.assert_close(vector, mean, rtol=1e-5, atol=1e-6)


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "encoder", "generator"),
    [
        ("small", 13_549_057, (64, 1, 256)),
        ("base", 109_483_009, (256, 4, 1024)),
        ("large", 335_142_913, (256, 4, 1024)),
    ],
)
def test_published_sizes(name, encoder, generator):
    with torch.device("meta"):
        method = ELECTRA.build(Config.paper(name))
    assert sum(p.numel() for p in method.export().parameters()) == encoder
    sizes = method.generator.config
    assert (sizes.hidden_size, sizes.num_attention_heads, sizes.intermediate_size) == generator
    assert sizes.num_hidden_layers == method.network.config.num_hidden_layers


def test_a_generator_of_any_ratio_is_well_formed():
    for ratio in (0.1, 0.2, 1 / 3, 0.5, 0.7, 1.0):
        sizes = generator_config(ELECTRA.build(TINY).network.config, ratio, 0.5)
        assert sizes.hidden_size % sizes.num_attention_heads == 0
        assert sizes.num_hidden_layers == 1
        assert math.isclose(sizes.hidden_size, 32 * ratio, abs_tol=2)


# -- variants -------------------------------------------------------------------------------------

VARIANTS = [
    {},
    {"generator": "uniform"},
    {"loss_on": "masked"},
    {"objective": "replace_mlm"},
    {"objective": "all_tokens_mlm"},
    {"tie": "none"},
    {"tie": "all", "generator_width_ratio": 1.0},
    {"disallow_correct": True},
    {"temperature": 2.0},
    {"two_stage": True, **SAME_SIZE},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: ",".join(map(str, c.values())) or "-")
def test_every_variant_trains_and_comes_back(changes, tmp_path):
    method = make(**changes)
    run = Run(tmp_path / "run", TEXTS, budget=Budget(4, "steps"), quiet=True)
    train(method, run)
    method.save(tmp_path / "model")
    again = ELECTRA.build(method.config, source=tmp_path / "model").eval()
    batch = batch_of(method)
    for name, value in method.losses(batch).items():
        found = again.losses(batch)[name]
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-5, msg=name)


def test_loss_on_masked_positions_leaves_the_others_out():
    method = make(loss_on="masked")
    batch = batch_of(method)
    corrupted = method.corrupt(batch, method.generator_logits(batch))
    logits = method.network(corrupted, attention_mask=batch["attention_mask"]).logits.flatten()
    replaced = (corrupted != batch["labels"]).flatten().float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[batch["positions"]], replaced[batch["positions"]]
    )
    torch.testing.assert_close(method.encoder_loss(batch, corrupted), expected)


def test_uniform_draws_need_no_network_and_cover_the_vocabulary():
    method = make(generator="uniform")
    batch = batch_of(method)
    assert method.generator is None
    assert method.generator_logits(batch).unique().tolist() == [0.0]
    assert "mlm_loss" not in method.losses(batch)


def test_disallow_correct_replaces_every_chosen_token():
    method = make(disallow_correct=True)
    assert method.losses(batch_of(method))["replaced_ratio"] == 1


def test_untied_networks_share_nothing():
    method = make(tie="none")
    assert not set(method.network.parameters()) & set(method.generator.parameters())


def test_two_stages_hand_the_generators_weights_over_and_freeze_it(tmp_path):
    method = make(two_stage=True, **SAME_SIZE)
    stages = method.stages(Run(tmp_path, TEXTS, budget=Budget(10, "steps"), quiet=True))
    assert next(stages).budget == Budget(5, "steps")
    assert set(method.losses(batch_of(method))) == {"loss", "mlm_loss"}
    second = next(stages)
    assert second.name == "encoder"
    source = method.generator.electra.state_dict()
    assert all(torch.equal(w, source[n]) for n, w in method.network.electra.state_dict().items())
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {f"network.{name}" for name, _ in method.network.named_parameters()}


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"two_stage": True, "generator_width_ratio": 1.0}, 'set tie="none"'),
        ({"tie": "all"}, "set generator_width_ratio=1"),
        ({"loss_on": "masked", "objective": "replace_mlm"}, "are for objective"),
    ],
)
def test_settings_that_exclude_each_other_name_the_mend(changes, mend):
    with pytest.raises(UserError, match=mend):
        replace(TINY, **changes)


def test_rows_without_text_name_the_fields_found():
    with pytest.raises(UserError, match=r"text.*title, body"):
        ELECTRA.read([{"text": "a"}, {"title": "b", "body": "c"}])
    with pytest.raises(UserError, match=r"'text' of row 1 is empty \(null\): fill it"):
        ELECTRA.read([{"text": "a"}, {"text": None}])
