"""Methods on language models: where they come from, what they write, what they are trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from pretrial.bases.config import Optimisation, TransformerSizes
from pretrial.bases.language_model import DecoderMethod, PromptedMethod, TextToTextMethod
from pretrial.bases.language_model.examples import Example
from pretrial.corrupt.denoisers import Denoiser, MixtureOfDenoisers
from pretrial.errors import UserError
from pretrial.models.architectures.layouts import Architecture
from pretrial.models.tokenizers import learn_bpe, sentinel_ids, special_ids
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run


@dataclass(frozen=True)
class Settings(Optimisation, TransformerSizes):
    width: int = 32
    num_layers: int = 1
    num_heads: int = 2
    feed_forward: int = 48
    head_size: int = 0
    vocab_size: int = 320
    max_length: int = 16
    max_source: int = 12
    max_target: int = 6
    max_inputs: int = 24
    max_targets: int = 16
    most_per_task: int = 5
    architecture: Architecture = "prefix_decoder"
    lr: float = 1e-2
    batch_size: int = 4


class Decoder(DecoderMethod):
    Config = Settings

    @classmethod
    def new_network(cls, config, vocab_size):
        return LlamaForCausalLM(cls.network_config(config, LlamaConfig, vocab_size))


class Prompted(PromptedMethod):
    Config = Settings

    @classmethod
    def vocabulary(cls, config, data, **more):
        return super().vocabulary(config, data, num_sentinels=8, **more)

    @classmethod
    def new_network(cls, config, vocab_size):
        return cls.new_layout(config, vocab_size, tied=True, t5="gated-gelu", llama="silu")

    def new_mixture(self):
        lengths = {"max_inputs": self.config.max_inputs, "max_targets": self.config.max_targets}
        return MixtureOfDenoisers(
            [Denoiser(0.5)],
            (),
            sentinel_ids(self.tokenizer),
            heads={},
            joined=True,
            t5_spans=False,
            **lengths,
        )


class Pairs(TextToTextMethod):
    Config = Settings


def made(kind, config=None, seed=0):
    torch.manual_seed(seed)
    return kind.build(config or Settings(), data=kind.read(kind.sample_rows())).eval()


def trained(method, folder, rows=None, steps=4):
    examples = method.read(rows or method.sample_rows())
    run = Run(folder, examples, examples[:4], Budget(steps, "steps"), quiet=True)
    train(method, run)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["eval/loss"] for row in rows if "eval/loss" in row]


# -- where they come from -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Decoder, Prompted, Pairs])
def test_a_network_knows_the_ends_of_the_vocabulary_that_is_learned(kind):
    method = made(kind)
    assert method.network.config.eos_token_id == method.tokenizer.eos_token_id
    assert method.network.config.vocab_size == len(method.tokenizer)
    ids = special_ids(kind.specials)
    assert {name: getattr(method.tokenizer, name) for name in ids} == ids
    alone = kind.build(Settings())  # neither source nor data
    assert alone.tokenizer is None
    assert alone.export().config.vocab_size == Settings().vocab_size


@pytest.mark.parametrize("kind", [Decoder, Prompted, Pairs])
def test_a_saved_model_comes_back_with_its_sizes(kind, tmp_path):
    method = made(kind)
    method.save(tmp_path)
    again = kind.build(replace(Settings(), width=64, num_layers=9, lr=0.5), source=tmp_path).eval()
    assert (again.config.width, again.config.num_layers, again.config.lr) == (32, 1, 0.5)
    examples = kind.read(kind.sample_rows())[:3]
    assert list(again.generate(examples)) == list(method.generate(examples))
    torch.testing.assert_close(again.encode(examples), method.encode(examples))


def test_a_checkpoint_of_another_layout_is_refused(tmp_path):
    made(Pairs).save(tmp_path / "t5")
    with pytest.raises(UserError, match="must be a causal language model"):
        Decoder.build(Settings(), source=tmp_path / "t5")
    made(Decoder).save(tmp_path / "llama")
    with pytest.raises(UserError, match="is llama, not a T5: give"):
        Pairs.build(Settings(), source=tmp_path / "llama")
    with pytest.raises(UserError, match="nothing that can be read"):
        Pairs.build(Settings(), source=tmp_path / "gone")


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2)).save_pretrained(
        tmp_path
    )
    learn_bpe(["ab"], 263, specials={"unk_token": "<unk>"}).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no end token"):
        Decoder.build(Settings(), source=tmp_path)


def test_windows_are_as_long_as_a_checkpoint_reads(tmp_path):
    made(Decoder).save(tmp_path)
    again = Decoder.build(replace(Settings(), max_length=99), source=tmp_path)
    assert again.config.max_length == 16


# -- what they are trained on ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Decoder, Pairs])
def test_the_default_stage_is_evaluated_on_what_was_held_out(kind, tmp_path):
    method = made(kind, replace(Settings(), evaluate_every=2))
    losses = trained(method, tmp_path, steps=20)
    assert len(losses) == 10
    assert losses[-1] < losses[0]


def test_texts_are_joined_and_cut(tmp_path):
    method = made(Decoder)
    windows = list(method.windows(["one two", "three"] * 20))
    assert {len(window) for window in windows} == {16}
    text = method.tokenizer.decode([token for window in windows for token in window])
    assert text.startswith("one two<|endoftext|>three<|endoftext|>one two")
    with pytest.raises(UserError, match="lower max_length"):
        next(method.stages(Run(tmp_path, ["a"], budget=Budget(1, "steps"), quiet=True)))


def test_raw_texts_and_prompted_tasks_are_learned(tmp_path):
    method = made(Prompted)
    rows = [{"text": "Return the list and close it"}] * 6
    rows += [{"input": f"{n} is", "target": "a number", "task": "numbers"} for n in range(9)]
    rows += [{"input": "a cat is", "target": "an animal", "task": "animals"}]
    run = Run(tmp_path, method.read(rows), budget=Budget(4, "steps"), quiet=True)
    on_texts = method.stage_on_texts("pretrain", run, run.budget)
    batch = method.batch(list(on_texts.data[:2]), torch.Generator().manual_seed(0))
    assert batch["labels"][batch["loss_mask"]].tolist().count(method.tokenizer.eos_token_id) == 2
    on_tasks = method.stage_on_tasks("tasks", run, run.budget, head=[7])
    assert all(pair.inputs[0] == 7 for pair in on_tasks.data[:10])
    # nine examples count as five, so that one of six draws is of the other task
    drawn = [method.tokenizer.decode(on_tasks.data[i].inputs) for i in range(len(on_tasks.data))]
    assert 0.05 < sum("cat" in text for text in drawn) / len(drawn) < 0.35
    with pytest.raises(UserError, match="'input' and 'target'"):
        method.stage_on_tasks("tasks", run.over(method.read(rows[:6])), run.budget)
    with pytest.raises(UserError, match="give rows with 'text'"):
        method.stage_on_texts("pretrain", run.over(method.read(rows[6:])), run.budget)


# -- what they write ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Decoder, Prompted, Pairs])
def test_what_is_written_does_not_depend_on_what_is_written_beside_it(kind):
    method = made(kind)
    examples = kind.read(kind.sample_rows())
    together = list(method.generate(examples, max_new_tokens=4))
    alone = [next(method.generate([each], max_new_tokens=4)) for each in examples]
    assert together == alone
    assert method.generate_texts([method.text_of(examples[0])], max_new_tokens=4) == [
        together[0]["text"]
    ]


@pytest.mark.parametrize("kind", [Decoder, Prompted, Pairs])
def test_samples_follow_the_seed(kind):
    method = made(kind)
    examples = kind.read(kind.sample_rows())[:2]
    how = {"max_new_tokens": 6, "num_samples": 3, "temperature": 3.0}
    once, again, other = (list(method.generate(examples, seed=s, **how)) for s in (1, 1, 2))
    assert once == again != other
    assert all(row["text"] == row["texts"][0] and len(row["texts"]) == 3 for row in once)


def test_of_long_texts_the_end_is_read_and_an_empty_one_is_the_end_token():
    method = made(Decoder)
    (long, empty) = method.prompts(["one two three " * 20, ""], 4)
    assert len(long) == 12
    assert method.tokenizer.decode(long).endswith("two three ")
    assert empty == [method.language_model.end]
    with pytest.raises(UserError, match="lower max_new_tokens"):
        list(method.generate(["one"], max_new_tokens=16))


def test_only_an_encoder_decoder_searches_with_beams():
    texts = ["Return the list"]
    (row,) = made(Pairs).generate(texts, num_beams=3, num_samples=2)
    assert len(row["texts"]) == 2
    with pytest.raises(UserError, match="--num-beams 1"):
        list(made(Decoder).generate(texts, num_beams=2))


def test_choices_are_ranked_by_their_likelihood():
    method = made(Prompted)
    choices = ("yes", "no and no")
    (row,) = method.rank([Example(input="is it", choices=choices)])
    assert row["choice"] == max(row["scores"], key=row["scores"].get)
    sums, means = (method.choice_scores(["is it"], [choices], per_token=p) for p in (False, True))
    assert tuple(row["scores"].values()) == tuple(sums[0])
    assert sums[0][1] < means[0][1] < 0
    with pytest.raises(UserError, match="row 0 has no 'choices'"):
        list(method.rank([Example(input="is it")]))


def test_bits_of_a_text_are_those_of_its_tokens():
    method = made(Decoder)
    costs, sizes = method.nll(["Return", {"text": "Return the list"}])
    assert sizes == [6, 15]
    assert 0 < costs[0] < costs[1]


# -- what tasks start from ------------------------------------------------------------------------


def test_copies_to_fine_tune_leave_the_model_as_it_is(tmp_path):
    method = made(Pairs)
    before = method.encode(["Return the list"])
    writer, classifier = method.writer(3), method.classifier(2)
    assert (writer.max_source, writer.max_target) == (12, 3)
    optimizer = torch.optim.SGD([*writer.parameters(), *classifier.parameters()], lr=1.0)
    for module, example in ((writer, ("a", "b")), (classifier, ("a", 1))):
        module.losses(module.batch([example], torch.Generator()))["loss"].backward()
    optimizer.step()
    assert torch.equal(method.encode(["Return the list"]), before)
    assert classifier.logits(["a", "b"]).shape == (2, 2)
    assert writer.nll([("a", "b")], per_token=False)[0] > writer.nll([("a", "b")])[0] > 0
