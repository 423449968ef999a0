"""ContraBERT: variants, the joint loss, momentum and queue, public checkpoints, clones."""

from __future__ import annotations

import ast
import json
import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from pretrial.convert.export import export_model
from pretrial.data.windows.pairs import pair_windows
from pretrial.errors import UserError
from pretrial.evaluate.clones import CloneFinder, clone_loss
from pretrial.methods.code.contrabert import CARD, Config, ContraBERT
from pretrial.methods.code.contrabert.data import (
    CODE_OPERATORS,
    TEXT_OPERATORS,
    Sample,
    Variants,
)
from pretrial.methods.code.contrabert.stages import Contrast
from pretrial.models.tokenizers import learn_bpe
from pretrial.objectives.contrastive import info_nce
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

SAMPLES = ContraBERT.read(ContraBERT.sample_rows())
TINY = Config.tiny()
RECORD = {
    "config": {}, "arguments": {"data": "x", "init": ""}, "num_examples": 1, "num_held_out": 0,
    "environment": {}, "commit": "",
}  # fmt: skip


def make(**changes):
    torch.manual_seed(0)
    return ContraBERT.build(replace(TINY, **changes), data=SAMPLES)


def contrast(method=None, **changes):
    method = method or make(**changes)
    config = replace(method.config, **changes)
    return Contrast(method.network, method.tokenizer, config, method.variants())


@pytest.fixture(scope="module")
def method():
    return make()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- variants -------------------------------------------------------------------------------------


def draws(variants, sample, count=60):
    return [variants.draw(sample, random.Random(seed)) for seed in range(count)]


def test_nine_operators_are_drawn_at_random_on_either_side():
    assert len(CODE_OPERATORS) == 5
    assert len(TEXT_OPERATORS) == 4
    variants = Variants(tuple(CODE_OPERATORS), tuple(TEXT_OPERATORS))
    seen = set()
    for variant, names in draws(variants, SAMPLES[0], 120):
        (name,) = names
        seen.add(name)
        assert (variant.code != SAMPLES[0].code) == (name in CODE_OPERATORS)
        assert (variant.comment != SAMPLES[0].comment) == (name in TEXT_OPERATORS)
    assert seen == {*CODE_OPERATORS, *TEXT_OPERATORS}


def test_a_sample_without_comment_has_variants_of_its_code_only():
    variants = Variants(tuple(CODE_OPERATORS), tuple(TEXT_OPERATORS), num_operators=2)
    for variant, names in draws(variants, Sample(SAMPLES[0].code)):
        assert variant.comment == ""
        assert len(names) == 2
        assert set(names) <= set(CODE_OPERATORS)


def test_where_no_operator_fits_the_variant_is_the_sample():
    variants = Variants(("rename_variables", "reorder_statements"), ())
    broken = Sample("def broken(:\n", "Words.")
    assert variants.draw(broken, random.Random(0)) == (broken, ())
    # but lines can be sampled, whatever they hold
    some = Variants(tuple(CODE_OPERATORS), ())
    lines = Sample("def broken(:\n    x\n    y\n")
    assert all(names == ("sample_lines",) for _, names in draws(some, lines, 10))


def test_operators_that_keep_meaning_give_code_that_parses():
    names = tuple(name for name in CODE_OPERATORS if name != "sample_lines")
    for variant, _ in draws(Variants(names, (), num_operators=3), SAMPLES[0]):
        ast.parse(variant.code)


def test_comments_are_translated_back_by_two_checkpoints(tmp_path):
    comments = [sample.comment for sample in SAMPLES if sample.comment]
    folders = []
    for name in ("there", "back"):
        torch.manual_seed(len(name))
        tokenizer = learn_bpe(comments, 300, template="$A </s>")
        sizes = T5Config(
            vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        )  # fmt: skip
        T5ForConditionalGeneration(sizes).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        folders.append(str(tmp_path / name))
    method = make(translators=tuple(folders))
    run = Run(tmp_path / "run", SAMPLES, budget=Budget(1, "steps"), quiet=True)
    translations = method.variants(run).translations
    assert set(translations) == set(comments)
    only = Variants((), ("back_translate",), translations=translations)
    variant, _ = only.draw(SAMPLES[0], random.Random(0))
    assert variant.comment == translations[SAMPLES[0].comment]
    assert method.variants(run).translations == translations  # found again
    run.close()


# -- the batch and the losses ---------------------------------------------------------------------


def windows(samples, tokenizer, max_length):
    comments, codes = [each.comment for each in samples], [each.code for each in samples]
    return pair_windows(comments, codes, tokenizer, max_length)


def test_comment_and_code_are_parted_and_cut(method):
    tokenizer = method.tokenizer
    pair, alone = windows([SAMPLES[0], Sample(SAMPLES[0].code * 9)], tokenizer, 48)
    place = pair.index(tokenizer.sep_token_id)
    assert SAMPLES[0].code.startswith(tokenizer.decode(pair[place + 1 :]))
    assert SAMPLES[0].comment.startswith(tokenizer.decode(pair[:place]))
    assert place <= 46 // 4
    assert len(pair) <= 46
    assert len(alone) == 46
    assert tokenizer.sep_token_id not in alone


def test_variants_are_drawn_by_the_generator_alone(method):
    module = contrast(method)
    one, same, other = (module.batch(SAMPLES[:8], generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one["variants"]["labels"], same["variants"]["labels"])
    assert not torch.equal(one["variants"]["labels"], other["variants"]["labels"])
    assert torch.equal(one["originals"]["labels"], other["originals"]["labels"])
    assert one["num_changed"] == 8
    assert one["counts"]["masked"] == len(one["originals"]["positions"]) + len(
        one["variants"]["positions"]
    )


def test_masked_tokens_count_in_originals_and_variants():
    method = make(contrast_weight=0.0)
    module = contrast(method)
    batch = module.batch(SAMPLES[:8], generator())
    total = torch.zeros(())
    for part in (batch["originals"], batch["variants"]):
        labels = part["labels"].masked_fill(~part["loss_mask"], -100)
        loss = method.network(
            part["input_ids"], attention_mask=part["attention_mask"].long(), labels=labels
        ).loss
        total = total + loss * len(part["positions"])
    torch.testing.assert_close(
        module.losses(batch)["loss"], total / batch["counts"]["masked"], rtol=1e-4, atol=1e-5
    )
    plain = contrast(method, mlm_on_variants=False)
    assert "variants" not in plain.batch(SAMPLES[:8], generator())


def test_contrast_is_info_nce_against_the_queue():
    module = contrast(make(mlm_weight=0.0, temperature=0.2)).eval()
    past = F.normalize(torch.randn(5, 32, generator=generator()), dim=-1)
    module.queue.train()
    module.queue.hold(past)
    module.queue.push()
    module.queue.eval()
    batch = module.batch(SAMPLES[:4], generator())
    originals, variants = batch["originals"], batch["variants"]
    with torch.no_grad():
        roberta = module.network.roberta
        queries = roberta(
            originals["input_ids"], attention_mask=originals["attention_mask"].long()
        )[0][:, 0]
        keys = roberta(variants["labels"], attention_mask=variants["attention_mask"].long())[0][
            :, 0
        ]
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    expected = []
    for query, key in zip(queries, keys, strict=True):
        scores = torch.stack([query @ key, *(query @ other for other in past)]) / 0.2
        expected.append(-scores.log_softmax(0)[0])
    loss = module.losses(batch)["contrast_loss"]
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-4, atol=1e-5)


def test_an_identical_pair_and_an_empty_queue_give_no_loss():
    module = contrast(make(mlm_weight=0.0, code_operators=("rename_variables",), text_operators=()))
    broken = [sample for sample in SAMPLES if "broken" in sample.code]
    batch = module.batch(broken, generator())
    assert torch.equal(batch["variants"]["labels"], batch["originals"]["labels"])
    assert batch["num_changed"] == 0
    assert module.losses(batch)["loss"].item() == 0.0
    vectors = F.normalize(torch.randn(1, 8), dim=-1)
    assert float(info_nce(vectors, vectors, 0.07, 1.0)) == 0.0


def test_momentum_weights_are_the_closed_form_after_three_steps():
    module = contrast(make(momentum=0.9)).train()
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.5)
    name = "encoder.layer.0.output.dense.weight"
    path = [module.network.roberta.get_parameter(name).detach().clone()]
    for step in range(3):
        batch = module.batch(SAMPLES[:8], generator(step))
        optimizer.zero_grad()
        module.losses(batch)["loss"].backward()
        assert all(p.grad is None for p in module.momentum.parameters())
        optimizer.step()
        module.after_step()
        path.append(module.network.roberta.get_parameter(name).detach().clone())
    assert not torch.equal(path[0], path[3])
    expected = 0.9**3 * path[0] + 0.1 * (0.81 * path[1] + 0.9 * path[2] + path[3])
    torch.testing.assert_close(module.momentum.average.get_parameter(name), expected)


def test_the_queue_holds_the_variants_first_in_first_out():
    module = contrast(make(queue_size=12)).train()
    pushed = []
    for step in range(2):
        batch = module.batch(SAMPLES[:8], generator(step))
        module.losses(batch)
        pushed.append(module.queue._held[0].clone())
        module.after_step()
    torch.testing.assert_close(pushed[0].norm(dim=-1), torch.ones(8))
    everything = torch.cat(pushed)  # 16 into 12 places: the first 4 are gone
    kept = torch.cat([everything[12:], everything[4:12]])
    torch.testing.assert_close(module.queue.keys, kept)
    module.eval()
    module.losses(module.batch(SAMPLES[:8], generator()))
    module.after_step()
    assert int(module.queue.num_pushed) == 16  # measuring leaves it alone


def test_without_masks_the_head_rests():
    method = make(mlm_weight=0.0)
    module = contrast(method)
    learning = {name for name, p in module.named_parameters() if p.requires_grad}
    assert "network.lm_head.dense.weight" not in learning
    assert "network.roberta.embeddings.word_embeddings.weight" in learning


# -- checkpoints ----------------------------------------------------------------------------------


def roberta_folder(folder, architecture, **more):
    """A random checkpoint in the files of the public ones, which older versions have written."""
    folder.mkdir(exist_ok=True)
    model = json.loads(make().tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *map(" ".join, model["merges"])])
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "RobertaTokenizer", "model_max_length": 38})
    )
    config = RobertaConfig(
        vocab_size=len(model["vocab"]), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=40, type_vocab_size=1,
        pad_token_id=model["vocab"]["<pad>"], architectures=[architecture.__name__],
    )  # fmt: skip
    torch.manual_seed(1)
    network = architecture(config)
    config.save_pretrained(folder)
    torch.save(network.state_dict() | more, folder / "pytorch_model.bin")
    return network


def test_a_checkpoint_with_a_head_loads_whole(tmp_path):
    beside = {
        "roberta.embeddings.position_ids": torch.arange(40)[None],
        "roberta.pooler.dense.bias": torch.zeros(16),
    }
    network = roberta_folder(tmp_path, RobertaForMaskedLM, **beside)
    method = ContraBERT.build(TINY, source=tmp_path)
    assert method.config.width == 16
    assert method.tokenizer.cls_token == "<s>"
    assert method.encode([SAMPLES[0].code]).shape == (1, 16)
    assert method.config.max_length == 38
    for name, weight in network.state_dict().items():
        assert torch.equal(method.network.state_dict()[name], weight), name


def test_a_bare_encoder_loads_with_its_pooler(tmp_path):
    positions = {"embeddings.position_ids": torch.arange(40)[None]}
    network = roberta_folder(tmp_path, RobertaModel, **positions)
    method = ContraBERT.build(TINY, source=tmp_path)
    weights, expected = method.network.roberta.state_dict(), network.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], weight) for name, weight in expected.items())
    head = method.network.lm_head.decoder.weight
    assert head is method.network.roberta.embeddings.word_embeddings.weight


def test_a_pooler_goes_from_the_checkpoint_through_training_to_the_export(tmp_path):
    network = roberta_folder(tmp_path / "given", RobertaModel)
    config = replace(TINY, max_length=38, num_positions=40, pooling="first")
    method = ContraBERT.build(config, source=tmp_path / "given")
    run = Run(tmp_path / "run", SAMPLES, budget=Budget(2, "steps"), quiet=True)
    train(method, run)
    run.close()
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    again = ContraBERT.build(config, source=tmp_path / "saved")
    export_model(again, tmp_path / "out", CARD, RECORD)
    for folder in ("saved", "out"):
        loaded, report = RobertaModel.from_pretrained(tmp_path / folder, output_loading_info=True)
        assert not report["missing_keys"]
        assert torch.equal(loaded.pooler.dense.weight, network.pooler.dense.weight)
        assert torch.equal(loaded.pooler.dense.bias, network.pooler.dense.bias)
        trained = loaded.encoder.layer[0].output.dense.weight
        assert not torch.equal(trained, network.encoder.layer[0].output.dense.weight)


def test_other_checkpoints_are_refused(tmp_path):
    T5ForConditionalGeneration(T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=1,
                               num_heads=2)).save_pretrained(tmp_path / "t5")  # fmt: skip
    with pytest.raises(UserError, match=r"t5 checkpoint.*codebert"):
        ContraBERT.build(TINY, source=tmp_path / "t5")
    with pytest.raises(UserError, match=r"holds no checkpoint.*codebert"):
        ContraBERT.build(TINY, source=tmp_path / "nothing")
    roberta_folder(tmp_path / "short", RobertaForMaskedLM)
    config = json.loads((tmp_path / "short" / "config.json").read_text())
    config["num_hidden_layers"] = 2
    (tmp_path / "short" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="lacks"):
        ContraBERT.build(TINY, source=tmp_path / "short")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code_operators": ("rename_variable",)}, "rename_variables"),
        ({"code_operators": (), "text_operators": ()}, "name some"),
        ({"mlm_weight": 0.0, "contrast_weight": 0.0}, "above 0"),
        ({"queue_size": 0}, "at least 1"),
        ({"translators": ("one",)}, "there and back"),
        ({"max_length": 512}, "8 to 48"),
        ({"num_operators": 0}, "1 or more"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, "--fields code=text"),
        ({"code": "  "}, "empty"),
        ({"code": 3}, "int: give a string"),
        ({"code": "x", "comment": ["y"]}, "'comment' of row 0 is a list"),
    ],
)
def test_wrong_rows_are_refused(row, message):
    with pytest.raises(UserError, match=message):
        ContraBERT.read([row])


# -- use ------------------------------------------------------------------------------------------


def test_training_says_what_does_not_parse_and_that_noise_stands_for_translation(tmp_path, capsys):
    method = make()
    run = Run(tmp_path, SAMPLES, held_out=SAMPLES[:8], budget=Budget(2, "steps"))
    train(method, run)
    run.close()
    said = " ".join(capsys.readouterr().out.split())
    assert f"1 of {len(SAMPLES)} codes do not parse" in said
    assert "back-translation is replaced by noise" in said


def test_vectors_of_texts_and_samples(method):
    texts = [sample.code for sample in SAMPLES[:3]]
    first = method.encode(texts)
    assert first.shape == (3, 32)
    assert torch.equal(first, method.encode(SAMPLES[:3]))
    ids = method.tokenizer(texts[0], return_tensors="pt", truncation=True, max_length=48)
    with torch.no_grad():
        states = method.network.eval().roberta(**ids).last_hidden_state[0]
    torch.testing.assert_close(first[0], states[0], rtol=1e-4, atol=1e-5)
    mean = method.encode(texts[:1], pooling="mean")[0]
    torch.testing.assert_close(mean, states.mean(0), rtol=1e-4, atol=1e-5)


def test_variants_can_be_looked_at(method):
    rows = list(method.vary(SAMPLES[:3], num_variants=2))
    assert [row["row"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert all(len(row["operators"]) == 1 for row in rows)
    assert rows == list(method.vary(SAMPLES[:3], num_variants=2))
    assert rows != list(method.vary(SAMPLES[:3], num_variants=2, seed=1))


# -- clones ---------------------------------------------------------------------------------------


def test_a_finder_reads_the_pooler_as_the_release_does(tmp_path):
    network = roberta_folder(tmp_path, RobertaModel).eval()
    finder = ContraBERT.build(TINY, source=tmp_path).clone_finder().eval()
    codes = [sample.code for sample in SAMPLES[:6]]
    pairs = [(code, number % 2) for number, code in enumerate(codes)]
    finder.learn_from(pairs)
    batch = finder.batch(pairs[:2], generator())
    ids = batch["input_ids"]
    with torch.no_grad():
        # the release reads the second of what RobertaModel gives: tanh(W h_0 + b)
        pooled = network(ids, attention_mask=ids.ne(network.config.pad_token_id))[1]
        wanted = clone_loss(*pooled.chunk(3), batch["labels"], 2.0)
        torch.testing.assert_close(finder.losses(batch)["loss"], wanted, rtol=1e-5, atol=1e-5)
        read = finder.tokenizer(codes[0], return_tensors="pt", max_length=38, truncation=True)
        torch.testing.assert_close(
            finder.encode(codes[:1])[0], network(**read)[1][0], rtol=1e-5, atol=1e-5
        )
    assert all(parameter.requires_grad for parameter in finder.network.pooler.parameters())


def test_a_finder_learns_from_its_labels(method):
    finder = method.clone_finder()
    assert isinstance(finder, CloneFinder)
    pairs = [(sample.code, number % 3) for number, sample in enumerate(SAMPLES[:12])]
    finder.learn_from(pairs)
    batch = finder.batch(pairs[:4], generator())
    assert batch["input_ids"].shape[0] == 12
    assert batch["counts"]["examples"] == 4.0
    codes = finder.tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True)
    label_of = {code[:20]: label for code, label in pairs}
    for place in range(4):
        assert label_of[codes[4 + place][:20]] == pairs[place][1]
        assert label_of[codes[8 + place][:20]] != pairs[place][1]
    before = finder.losses(batch)["loss"]
    optimizer = torch.optim.Adam(finder.parameters(), lr=2e-3)
    for _ in range(5):
        optimizer.zero_grad()
        finder.losses(batch)["loss"].backward()
        optimizer.step()
    assert finder.losses(batch)["loss"] < before
    assert finder.encode([pairs[0][0]]).shape == (1, 32)
    with pytest.raises(UserError, match="two codes"):
        finder.learn_from([("a", 0), ("b", 0), ("c", 1)])


def test_code_of_megabytes_has_a_variant_and_the_same_beginning(method):
    code = "def count(total):\n" + "    total = total + 1\n" * 150_000
    variant, names = method.variants().draw(Sample(code), random.Random(0))
    assert names
    assert len(variant.code) <= 101_000
    whole = method.tokenizer(code[:2000], add_special_tokens=False)["input_ids"]
    assert windows([Sample(code)], method.tokenizer, 40) == [whole[:38]]


def test_special_tokens_written_in_code_are_text(method):
    code = "pads = '<pad>'\nends = '</s>'\nhidden = '<mask>'\n"
    tokenizer = method.tokenizer
    [window] = windows([Sample(code)], tokenizer, 64)
    assert not set(window) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(window).strip() == code.strip()
    alone, together = method.encode([code]), method.encode([code, "x = 1\n" * 20])
    torch.testing.assert_close(alone[0], together[0], atol=1e-5, rtol=0)
    finder = method.clone_finder()
    first = method.encode([code], pooling="first")
    with torch.no_grad():
        pooled = finder.network.pooler(first[:, None])
    torch.testing.assert_close(finder.encode([code]), pooled, atol=1e-5, rtol=0)
    inputs = method.classifier(2).batch([(code, 0)], generator())["input_ids"][0]
    assert not set(inputs[1:-1].tolist()) & set(tokenizer.all_special_ids)
