"""DrBERT: its defining properties, parity with BERT, checkpoints, trial."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    CamembertConfig,
)

from pretrial.checkpoints.keys import load_pretrained
from pretrial.compare.kit.masked_scores import masked_scores
from pretrial.errors import UserError
from pretrial.methods.text import mlm
from pretrial.methods.text.drbert import Config, DrBERT
from pretrial.methods.text.drbert.trials import trial
from pretrial.train.budget import Budget
from pretrial.train.flops import count
from pretrial.train.loop import train
from pretrial.train.run import Run

TEXTS = DrBERT.read(DrBERT.sample_rows())
TINY = Config.tiny()
DESIGNS = ("blocks", "emd", "gua", "mix", "gua+mix")


def make(**changes):
    torch.manual_seed(0)
    return DrBERT.build(replace(TINY, **changes), data=TEXTS)


def batch_of(method, seed=0):
    ids = method.tokenizer(TEXTS[:8], add_special_tokens=False)["input_ids"]
    return method.batch([row[:20] for row in ids], torch.Generator().manual_seed(seed))


def bert_loss(bert, batch):
    labels = batch["labels"].masked_fill(~batch["loss_mask"], -100)
    real = batch["attention_mask"].long()
    return bert(batch["input_ids"], attention_mask=real, labels=labels).loss


@pytest.fixture(scope="module")
def method():
    return make()


# -- mechanism ------------------------------------------------------------------------------------


def changed_by_a_masked_position(method, layers):
    """Positions of the first text whose decoder state depends on that of a masked one, and it."""
    decoder = make(decoder_layers=layers, design="gua", visible_ratio=0.0).decoder
    batch = batch_of(method)
    batch["hidden"] = batch["loss_mask"]
    states = method.states(batch["input_ids"], batch["attention_mask"])
    moved = states.clone()
    position = int(batch["positions"][0])
    moved[0, position] += 1.0
    with torch.no_grad():
        one, other = (
            decoder(each, batch["attention_mask"], batch["hidden"]) for each in (states, moved)
        )
    different = (one != other).any(-1)
    assert not different[1:].any()
    return (different[0] & batch["attention_mask"][0]).nonzero().flatten().tolist(), position, batch


def test_a_hidden_key_reaches_no_other_position_in_the_first_layer_but_all_in_the_second(method):
    touched, position, _ = changed_by_a_masked_position(method, layers=1)
    assert touched == [position]
    touched, _, batch = changed_by_a_masked_position(method, layers=2)
    assert touched == list(range(int(batch["attention_mask"][0].sum())))


def test_queries_at_hidden_positions_run(method):
    """The state of a hidden position after the first layer depends on what the others hold."""
    decoder = make(decoder_layers=1).decoder
    batch = batch_of(method)
    states = method.states(batch["input_ids"], batch["attention_mask"]).detach().requires_grad_()
    hidden = batch["loss_mask"]
    position = int(batch["positions"][0])
    (decoder(states, batch["attention_mask"], hidden)[0, position] @ torch.randn(32)).backward()
    reached = states.grad[0].abs().sum(-1) > 0
    seen = batch["attention_mask"][0] & ~hidden[0]
    seen[position] = True  # its own query and residual
    assert torch.equal(reached, seen)


def test_half_of_the_hidden_keys_are_shown_anew_each_time_and_whatever_the_neighbours(method):
    hidden, chosen, patterns = 0, 0, set()
    for seed in range(40):
        batch = batch_of(method, seed)
        flat = batch["hidden"].flatten()
        assert set(flat.nonzero().flatten().tolist()) <= set(batch["positions"].tolist())
        hidden, chosen = hidden + int(flat.sum()), chosen + len(batch["positions"])
        patterns.add(tuple(flat.tolist()))
    assert hidden / chosen == pytest.approx(0.5, abs=0.05)
    assert len(patterns) == 40
    rows = method.tokenizer(TEXTS[:3], add_special_tokens=False)["input_ids"]
    one = method.batch(rows[:1], torch.Generator().manual_seed(0))
    many = method.batch([rows[0][:15], *rows[1:]], torch.Generator().manual_seed(0))
    same = method.batch([rows[0][:15]], torch.Generator().manual_seed(0))
    length = same["labels"].shape[1]
    for name in ("hidden", "from_encoder"):
        assert torch.equal(many[name][0, :length], same[name][0])
        assert one[name].shape == one["labels"].shape


def test_encoder_attention_is_berts_whatever_the_decoder_hides(method):
    batch = batch_of(method)
    mask = batch["attention_mask"].long()
    theirs = method.network.bert(batch["input_ids"], attention_mask=mask).last_hidden_state
    ours = method.states(batch["input_ids"], batch["attention_mask"])
    torch.testing.assert_close(
        ours[batch["attention_mask"]], theirs[batch["attention_mask"]], rtol=1e-5, atol=1e-5
    )


def test_reading_the_encoder_alone_is_bert_and_gives_the_decoder_no_gradient():
    method = make(design="mix", encoder_prob=1.0)
    batch = batch_of(method)
    loss = method.losses(batch)["loss"]
    torch.testing.assert_close(loss, bert_loss(method.network, batch), rtol=1e-5, atol=1e-5)
    loss.backward()
    assert not any(p.grad.any() for p in method.decoder.parameters())
    assert all(p.grad is not None for p in method.network.parameters())


def test_reading_the_decoder_alone_is_the_plain_stack():
    mixed, plain = make(design="mix", encoder_prob=0.0), make(design="blocks")
    batch = batch_of(plain)
    ours = mixed.losses(batch_of(mixed))["loss"]
    torch.testing.assert_close(ours, plain.losses(batch)["loss"], rtol=1e-5, atol=1e-5)


def test_the_head_reads_the_encoder_at_a_fifth_of_the_tokens_in_training_only():
    method = make(design="mix")
    draws = torch.cat([batch_of(method, seed)["from_encoder"][:, :10] for seed in range(40)])
    assert draws.float().mean().item() == pytest.approx(0.2, abs=0.03)
    batch = batch_of(method)
    batch["from_encoder"] = torch.ones_like(batch["from_encoder"])
    torch.testing.assert_close(
        method.logits(batch), method.logits(batch, "encoder"), rtol=1e-5, atol=1e-5
    )
    method.eval()
    torch.testing.assert_close(
        method.logits(batch), method.logits(batch, "decoder"), rtol=1e-5, atol=1e-5
    )
    assert not torch.allclose(method.logits(batch), method.logits(batch, "encoder"), atol=1e-4)


def test_positions_in_the_queries_move_predictions_and_keys_stay_the_encoders():
    emd, plain = make(design="emd", decoder_layers=1), make(design="blocks", decoder_layers=1)
    batch = batch_of(emd)
    assert not torch.allclose(emd.logits(batch), plain.logits(batch), atol=1e-4)
    with torch.no_grad():
        emd.network.bert.embeddings.position_embeddings.weight.zero_()
        plain.network.bert.embeddings.position_embeddings.weight.zero_()
    torch.testing.assert_close(emd.logits(batch), plain.logits(batch), rtol=1e-5, atol=1e-5)
    two = make(design="emd", decoder_layers=2).decoder
    states, keys = torch.randn(1, 6, 32), []
    hook = two.layer[1].attention.self.key.register_forward_pre_hook(
        lambda _, inputs: keys.append(inputs[0])
    )
    two(states, torch.ones(1, 6, dtype=torch.bool), None, torch.randn(6, 32))
    hook.remove()
    assert torch.equal(keys[0], states)


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_trains_and_comes_back(design, tmp_path):
    method = make(design=design, whole_words=design == "mix")
    train(method, Run(tmp_path / "run", TEXTS, budget=Budget(3, "steps"), quiet=True))
    method.save(tmp_path / "model")
    again = DrBERT.build(method.config, source=tmp_path / "model").eval()
    batch = batch_of(method)
    torch.testing.assert_close(
        again.losses(batch)["loss"], method.losses(batch)["loss"], rtol=1e-5, atol=1e-5
    )


def test_whole_words_are_an_option():
    batch = batch_of(make(whole_words=True, mask_ratio=0.3))
    assert batch["counts"]["masked"] == len(batch["positions"]) > 8


# -- parity ---------------------------------------------------------------------------------------


def test_without_a_decoder_this_is_bert():
    method = make(decoder_layers=0)
    batch = batch_of(method)
    ours = method.losses(batch)["loss"]
    torch.testing.assert_close(ours, bert_loss(method.network, batch), rtol=1e-6, atol=1e-6)


def test_plain_blocks_are_a_deeper_bert():
    method = make(design="blocks")
    sizes = BertConfig(**{**method.network.config.to_dict(), "num_hidden_layers": 4})
    deep = BertForMaskedLM(sizes).eval()
    state = method.network.state_dict()
    for name, weight in method.decoder.state_dict().items():
        number, rest = name.removeprefix("layer.").split(".", 1)
        state[f"bert.encoder.layer.{2 + int(number)}.{rest}"] = weight
    deep.load_state_dict(state)
    batch = batch_of(method)
    torch.testing.assert_close(
        method.losses(batch)["loss"], bert_loss(deep, batch), rtol=1e-6, atol=1e-6
    )


# -- checkpoints ----------------------------------------------------------------------------------


def test_the_export_is_a_plain_bert_with_the_encoders_states_and_its_cost(method, tmp_path):
    method.export().save_pretrained(tmp_path)
    bert = load_pretrained(BertModel, tmp_path).eval()  # refuses missing and further keys
    ids = torch.randint(10, 200, (2, 9))
    with torch.no_grad():
        states = bert(ids).last_hidden_state
        torch.testing.assert_close(
            states, method.network.bert(ids).last_hidden_state, rtol=1e-5, atol=1e-5
        )
        pooled = bert(ids).pooler_output
    torch.testing.assert_close(pooled, states[:, 0].tanh())
    plain = BertModel(BertConfig(**method.network.config.to_dict()))
    sizes = [sum(p.numel() for p in each.parameters()) for each in (bert, plain)]
    assert sizes[0] == sizes[1]
    assert count(lambda: bert(ids))[1] == count(lambda: plain(ids))[1]


@pytest.mark.parametrize("kind", [BertForPreTraining, BertForMaskedLM, BertModel])
def test_public_checkpoints_load_whatever_their_head(kind, method, tmp_path):
    kind(method.network.config).save_pretrained(tmp_path)
    method.tokenizer.save_pretrained(tmp_path)
    again = DrBERT.build(Config(), source=tmp_path)
    saved = kind.from_pretrained(tmp_path)
    for name, weight in saved.base_model.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(again.network.bert.state_dict()[name], weight), name
    if kind is not BertModel:
        theirs = saved.cls.predictions.transform.dense.weight
        assert torch.equal(again.network.cls.predictions.transform.dense.weight, theirs)
    assert again.config.width == 32
    assert torch.isfinite(again.losses(batch_of(again))["loss"])


def test_another_drbert_and_other_heads_are_refused(method, tmp_path):
    CamembertConfig().save_pretrained(tmp_path / "french")
    with pytest.raises(UserError, match=r"a camembert checkpoint: give .*French biomedical"):
        DrBERT.build(TINY, source=tmp_path / "french")
    BertForSequenceClassification(method.network.config).save_pretrained(tmp_path / "classes")
    with pytest.raises(UserError, match="lacks cls"):
        DrBERT.build(TINY, source=tmp_path / "classes")


def test_a_decoder_of_another_depth_is_refused(method, tmp_path):
    method.save(tmp_path)
    with pytest.raises(UserError, match=r"has besides layer\.1"):
        DrBERT.build(replace(TINY, decoder_layers=1), source=tmp_path)


@pytest.mark.parametrize(
    ("name", "layers", "block"), [("base", 2, 7_087_872), ("large", 4, 12_596_224)]
)
def test_published_sizes(name, layers, block):
    with torch.device("meta"):
        method = DrBERT.build(Config.paper(name))
    assert len(method.decoder.layer) == layers
    assert sum(p.numel() for p in method.decoder.parameters()) == layers * block


# -- trial ----------------------------------------------------------------------------------------


def test_scores_of_the_encoder_alone_are_on_the_baselines_tokens(method):
    baseline = mlm.MLM.build(mlm.Config.tiny(), data=TEXTS).eval()
    method.eval()
    alone = masked_scores(method, TEXTS, 24, read="encoder")
    whole = masked_scores(method, TEXTS, 24)
    assert alone["mlm_loss"] != whole["mlm_loss"]
    assert alone["mlm_loss"].groups == masked_scores(baseline, TEXTS, 24)["mlm_loss"].groups
    method.train()


def test_arms_differ_by_their_decoder():
    arms = {arm.name: arm for arm in trial().arms}
    assert [arm.name for arm in trial().choose()] == [
        *("drbert", "mlm", "cut", "random"),
        *("shares", "neighbours"),
    ]
    ours = vars(arms["drbert"].config)
    own = {"design", "decoder_layers", "visible_ratio", "encoder_prob"}
    for arm in arms.values():
        if arm.method == "drbert":
            assert {key for key in ours if ours[key] != vars(arm.config)[key]} <= own
        elif arm.config is not None:
            shared = ours.keys() & vars(arm.config).keys()
            assert all(ours[key] == vars(arm.config)[key] for key in shared)


def test_at_equal_steps_the_trial_has_a_record_of_its_own():
    flops, steps = trial(), trial(equal="steps")
    assert (flops.name, flops.budget.unit) == ("", "flops")
    assert (steps.name, steps.budget.unit) == ("steps", "steps")
    assert steps.arms == flops.arms
    assert sum("equal FLOPs" in note for note in flops.notes) == 1
    assert sum("equal steps the decoder" in note for note in steps.notes) == 1
