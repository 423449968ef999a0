"""MosaicBERT: sizes, public checkpoints, what is saved and exported, classifiers."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from pretrial.convert.export import export_model
from pretrial.errors import UserError
from pretrial.methods.text.mosaicbert import CARD, Config, MosaicBERT
from pretrial.methods.text.mosaicbert.network.bert import MosaicBertModel

TEXTS = MosaicBERT.read(MosaicBERT.sample_rows())
TINY = Config.tiny()


def make(**changes):
    torch.manual_seed(0)
    return MosaicBERT.build(replace(TINY, **changes), data=TEXTS)


def batch_of(method):
    ids = method.tokenizer(TEXTS[:8], add_special_tokens=False)["input_ids"]
    return method.batch([row[:20] for row in ids], torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def method():
    return make()


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "number"), [("base", 137_400_384), ("large", 435_221_312)])
def test_published_sizes(name, number):
    with torch.device("meta"):
        exported = MosaicBERT.build(Config.paper(name)).export()
    assert sum(p.numel() for p in exported.parameters()) == number
    assert exported.config.vocab_size == 30528


def test_equal_parameters_are_those_of_bert():
    with torch.device("meta"):
        ours = MosaicBERT.build(replace(Config.paper(), equal_parameters=True)).export()
        bert = BertForMaskedLM(BertConfig(vocab_size=30528))
    count = sum(p.numel() for p in bert.parameters())
    assert sum(p.numel() for p in ours.parameters()) == pytest.approx(count, rel=0.01)


# -- checkpoints ----------------------------------------------------------------------------------


def public_folder(method, folder, prefix=""):
    """A checkpoint as mosaicml/mosaic-bert-base has it: BERT's config, which names code to run."""
    method.network.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    state["cls.predictions.decoder.weight"] = state[
        "bert.embeddings.word_embeddings.weight"
    ].clone()
    state = {prefix + name: value for name, value in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    sizes = {
        "alibi_starting_size": 512,
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.1,
        "auto_map": {
            "AutoConfig": "configuration_bert.BertConfig",
            "AutoModelForMaskedLM": "bert_layers.BertForMaskedLM",
        },
        "model_type": "bert",
        "vocab_size": 320,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
    }
    (folder / "config.json").write_text(json.dumps(sizes))
    method.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_public_checkpoint_loads_whole_and_runs_no_code_of_its_own(method, tmp_path, prefix):
    again = MosaicBERT.build(Config(), source=public_folder(method, tmp_path, prefix))
    assert again.config.width == 32
    assert again.network.bert.encoder.layer[0].attention.self.dropout_prob == 0.0
    batch = batch_of(method)
    found, wanted = (each.eval().losses(batch)["loss"] for each in (again, method))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    method.train()


def test_names_of_weights_are_the_public_ones(method):
    names = {name.replace("layer.1.", "layer.0.") for name in method.network.state_dict()}
    layer = "bert.encoder.layer.0."
    assert {
        f"{layer}attention.self.Wqkv.weight",
        f"{layer}attention.self.Wqkv.bias",
        f"{layer}attention.output.LayerNorm.weight",
        f"{layer}mlp.gated_layers.weight",
        f"{layer}mlp.wo.bias",
        f"{layer}mlp.layernorm.bias",
        "bert.embeddings.token_type_embeddings.weight",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.decoder.bias",
    } <= names
    assert f"{layer}mlp.gated_layers.bias" not in names


def test_a_plain_bert_is_refused(method, tmp_path):
    BertForMaskedLM(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"Wqkv.*give a MosaicBERT checkpoint, such as mosaicml"):
        MosaicBERT.build(TINY, source=tmp_path)


def test_switches_come_back_with_a_checkpoint(tmp_path):
    method = make(alibi=False, gated=False)
    method.save(tmp_path)
    again = MosaicBERT.build(replace(TINY, unpadded=False), source=tmp_path)
    assert (again.config.alibi, again.config.gated, again.config.unpadded) == (False, False, False)
    assert not again.network.config.unpadded
    torch.testing.assert_close(
        again.losses(batch_of(again))["loss"], method.losses(batch_of(method))["loss"]
    )


def test_auto_classes_load_what_is_exported(method, tmp_path):
    method.export().save_pretrained(tmp_path)
    again = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert type(again) is type(method.network)
    vector = method.encode(["a short list"])[0]
    network = MosaicBertModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    ids = method.tokenizer("a short list", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(vector, network(ids).last_hidden_state.mean(1)[0])


def test_the_card_of_an_export_names_the_class_that_loads_it(method, tmp_path):
    record = {
        "arguments": {"data": "t.jsonl"},
        "config": {},
        "environment": {},
        "num_examples": 1,
        "num_held_out": 0,
    }
    export_model(method, tmp_path / "model", CARD, record)
    told = (tmp_path / "model" / "README.md").read_text()
    assert "AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)" in told


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_classifiers_learn(method, pooling):
    classifier = method.classifier(2, pooling)
    rows = [(text, int("file" in text)) for text in TEXTS]
    batch = classifier.batch(rows, torch.Generator())
    optimizer = torch.optim.Adam(classifier.parameters(), lr=3e-3)
    for _ in range(30):
        loss = classifier.losses(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (classifier.logits(TEXTS).argmax(-1).tolist()) == [label for _, label in rows]
