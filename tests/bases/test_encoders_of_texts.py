"""The base of encoders of texts: what a method gets without a line of its own."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    ElectraConfig,
)

from pretrial.bases.text_encoder import EncoderConfig, TextEncoder
from pretrial.corrupt.masks import chosen_of
from pretrial.errors import UserError
from pretrial.objectives.tokens import token_loss
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run


@dataclass(frozen=True)
class Config(EncoderConfig):
    """Settings of the method below."""


class Smallest(TextEncoder):
    """A method that says no more than it must, and has a part beside its network."""

    Config = Config
    mend = "give a BERT"
    beside = ("cls.seq_relationship.",)

    def __init__(self, config, network, tokenizer=None):
        super().__init__(config, network, tokenizer)
        self.bend = nn.Linear(config.width, config.width)

    @classmethod
    def network_class(cls, config):
        return BertForMaskedLM

    def modules_beside(self):
        return {"bend": self.bend}

    def batch(self, examples, generator):
        return self.masked(examples, generator)

    def losses(self, batch):
        states = self.bend(self.states(batch["input_ids"], batch["attention_mask"]))
        logits = self.network.cls(chosen_of(states, batch))
        return {"loss": token_loss(logits, chosen_of(batch["labels"], batch), len(logits))}


TINY = Config.tiny()
TEXTS = Smallest.read(Smallest.sample_rows())


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    return Smallest.build(TINY, data=TEXTS)


def test_it_trains_on_windows_and_comes_back_with_its_parts(method, tmp_path):
    run = Run(tmp_path / "run", TEXTS, TEXTS[:4], budget=Budget(3, "steps"), quiet=True)
    stage = next(method.stages(run))
    assert max(map(len, stage.data)) <= TINY.max_length - 2
    assert (stage.optim.lr, stage.optim.eps, stage.batch_size) == (TINY.lr, 1e-6, 8)
    assert stage.evaluate()["loss"] > 0
    train(method, run)
    method.save(tmp_path / "model")
    again = Smallest.build(replace(TINY, width=999), source=tmp_path / "model")
    assert again.config == method.config
    batch = method.batch(stage.data[:4], torch.Generator().manual_seed(0))
    torch.testing.assert_close(again.losses(batch)["loss"], method.losses(batch)["loss"])
    found, wanted = (each.encode(TEXTS[:3]) for each in (again, method))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_it_says_when_there_is_no_text(method, tmp_path):
    run = Run(tmp_path, ["", ""], budget=Budget(3, "steps"), quiet=True)
    with pytest.raises(UserError, match="there is no text to learn from"):
        next(method.stages(run))


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_classifiers_read_texts_as_vectors_do(method, pooling):
    logits = method.classifier(3, pooling).logits(TEXTS[:5])
    assert logits.shape == (5, 3)
    first = method.encode(TEXTS[:5], pooling="first")
    assert not torch.allclose(first, method.encode(TEXTS[:5]))
    assert len(method.token_vectors(TEXTS[:5])) == 5


def folder_of(kind, path, **changes):
    """A checkpoint of a class, without a tokenizer."""
    network = kind(BertConfig(**{**TINY.network_config(BertConfig).to_dict(), **changes}))
    network.save_pretrained(path)
    return network


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining, BertModel])
def test_a_checkpoint_gives_its_encoder_and_its_head_where_it_has_one(method, kind, tmp_path):
    saved = folder_of(kind, tmp_path, vocab_size=len(method.tokenizer)).state_dict()
    method.tokenizer.save_pretrained(tmp_path)
    loaded = Smallest.build(Config(), source=tmp_path)
    assert loaded.config.width == TINY.width
    prefix = "" if kind is not BertModel else "bert."
    same = [
        torch.equal(weight, loaded.network.state_dict()[prefix + name])
        for name, weight in saved.items()
        if not name.startswith(("bert.pooler.", "pooler.", "cls.seq_relationship."))
    ]
    assert all(same)
    assert len(same) >= 30
    assert torch.isfinite(loaded.network.cls.predictions.transform.dense.weight).all()


def test_checkpoints_of_other_kinds_are_refused_with_the_mend(method, tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint that can be read: give a BERT"):
        Smallest.build(TINY, source=tmp_path)
    folder_of(BertForSequenceClassification, tmp_path / "classes")
    with pytest.raises(UserError, match="lacks cls"):
        Smallest.build(TINY, source=tmp_path / "classes")
    ElectraConfig().save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="is a electra checkpoint: give a BERT"):
        Smallest.build(TINY, source=tmp_path / "other")


def test_published_sizes_need_no_data():
    with torch.device("meta"):
        method = Smallest.build(Config())
    assert sum(p.numel() for p in method.export().parameters()) == pytest.approx(110e6, rel=0.05)


def test_the_first_weights_deviate_as_the_settings_say():
    for std in (0.02, 0.125):
        network = Smallest.build(replace(Config.tiny(), init_std=std)).network
        found = network.base_model.encoder.layer[0].intermediate.dense.weight.std()
        assert found.item() == pytest.approx(std, rel=0.1)
        assert Config.tiny().sized_as(network.config).init_std == std
