"""Yi: cleaning, grouped queries, deepening, longer contexts, chat."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from pretrial.data.cleaning.cascade_stages import Options
from pretrial.errors import UserError
from pretrial.methods.text import yi
from pretrial.methods.text.yi import Config, Yi
from pretrial.methods.text.yi.data import BEGIN, END, mix, prompt, recitation, turns
from pretrial.methods.text.yi.stages.chat import ChatTuner
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = yi.Yi.sample_rows()
DIALOGUE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Which file?"},
    {"role": "assistant", "content": "File 12."},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "The same."},
]


@pytest.fixture
def method() -> Yi:
    torch.manual_seed(0)
    return Yi.build(Config.tiny(), data=ROWS)


def run_of(folder: Path, rows: list = ROWS, steps: int = 4, held_out: Sequence = ()) -> Run:
    return Run(folder, rows, held_out, Budget(steps, "steps"), quiet=True)


# -- the network ----------------------------------------------------------------------------------


def test_as_many_key_heads_as_queries_is_plain_attention() -> None:
    sizes = Yi.new_network(Config.tiny(), 300).config
    grouped = LlamaForCausalLM(sizes).eval()
    plain_sizes = copy.deepcopy(sizes)
    plain_sizes.num_key_value_heads = sizes.num_attention_heads
    plain = LlamaForCausalLM(plain_sizes).eval()
    state = grouped.state_dict()
    width = sizes.hidden_size // sizes.num_attention_heads
    for name in [name for name in state if "k_proj" in name or "v_proj" in name]:
        heads = state[name].view(sizes.num_key_value_heads, width, -1)
        state[name] = heads.repeat_interleave(2, 0).reshape(-1, sizes.hidden_size)
    plain.load_state_dict(state)
    ids = torch.randint(300, (2, 10))
    found, expected = grouped(input_ids=ids), plain(input_ids=ids)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)
    size = [out.past_key_values.layers[0].keys.numel() for out in (found, expected)]
    assert size[1] == 2 * size[0]  # the cache shrinks by the number of queries a key serves


def test_published_sizes() -> None:
    counts = {"6b": 6.06e9, "9b": 8.83e9, "34b": 34.39e9}
    for name, count in counts.items():
        with torch.device("meta"):
            network = Yi.build(Config.paper(name)).export()
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(count, rel=1e-3)


def test_tokenizer_splits_digits_and_knows_turns(method: Yi) -> None:
    ids = method.tokenizer(f"{BEGIN}user\n2024{END}")["input_ids"]
    assert ids[0] == method.tokenizer.convert_tokens_to_ids(BEGIN)
    assert ids[-1] == method.tokenizer.convert_tokens_to_ids(END)
    pieces = [method.tokenizer.decode([i]) for i in ids]
    assert pieces[-5:-1] == list("2024")
    assert method.tokenizer.decode(ids) == f"{BEGIN}user\n2024{END}"


# -- chat -----------------------------------------------------------------------------------------


def test_only_responses_are_asked_for(method: Yi) -> None:
    own = turns(DIALOGUE, method.tokenizer, 1000)
    asked = method.tokenizer.decode([i for i, a in zip(*own, strict=True) if a])
    assert asked == f"File 12.{END}The same.{END}"
    begun = prompt(DIALOGUE[:2])
    whole = method.tokenizer.decode(own.ids)
    assert whole.startswith(begun + "File 12.")
    assert len(turns(DIALOGUE, method.tokenizer, 7).ids) == 7


def test_gradient_does_not_depend_on_what_stands_as_target_in_prompts(method: Yi) -> None:
    tuner = ChatTuner(method.language_model.network, method.tokenizer, 0.0)
    own = turns(DIALOGUE, method.tokenizer, 1000)
    batch = tuner.batch([own], torch.Generator())
    found = tuner.losses(batch)["loss"]
    ids = torch.tensor([own.ids])
    labels = torch.where(torch.tensor([own.predicted]), ids, -100)
    expected = method.export()(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    wrong = torch.where(torch.tensor([own.predicted]), ids, 3)  # other targets in the prompt
    masked = torch.where(torch.tensor([own.predicted]), wrong, -100)
    grads = []
    for target in (labels, masked):
        method.zero_grad()
        method.export()(input_ids=ids, labels=target).loss.backward()
        grads.append(method.export().model.embed_tokens.weight.grad.clone())
    method.zero_grad()
    tuner.losses(batch)["loss"].backward()
    for grad in grads:
        torch.testing.assert_close(
            method.export().model.embed_tokens.weight.grad, grad, atol=1e-6, rtol=1e-3
        )


def test_noise_is_bounded_and_only_in_training(method: Yi) -> None:
    network, alpha = method.language_model.network, 5.0
    tuner = ChatTuner(network, method.tokenizer, alpha)
    pair = [turns(DIALOGUE, method.tokenizer, 1000), turns(DIALOGUE[1:3], method.tokenizer, 1000)]
    batch = tuner.batch(pair, torch.Generator().manual_seed(1))
    vectors = network.get_input_embeddings()(batch["input_ids"])
    noise = tuner._noise(vectors, batch)
    for row, own in enumerate(pair):
        length, width = len(own.ids), vectors.shape[2]
        bound = alpha / (length * width) ** 0.5
        assert noise[row, :length].abs().max() <= bound
        assert noise[row, :length].abs().max() > 0.98 * bound
        assert noise[row, :length].mean().abs() < 0.1 * bound
        assert not noise[row, length:].any()
    quiet = ChatTuner(network, method.tokenizer, 0.0)
    assert torch.equal(tuner.eval().losses(batch)["loss"], quiet.eval().losses(batch)["loss"])
    assert tuner.train().losses(batch)["loss"] != quiet.losses(batch)["loss"]
    # a dialogue's noise is its own, whatever stands beside it
    alone = {**tuner.batch(pair[1:], torch.Generator()), "seeds": batch["seeds"][1:]}
    again = tuner._noise(network.get_input_embeddings()(alone["input_ids"]), alone)
    torch.testing.assert_close(again[0], noise[1, : len(pair[1].ids)])


def test_mixtures_thin_out_by_ability() -> None:
    rows = [
        {"messages": [{"role": "user", "content": str(i)}], "ability": ("math", "code")[i % 2]}
        for i in range(400)
    ]
    kept = mix(rows, {"math": 0.25})
    assert sum(row["ability"] == "code" for row in kept) == 200
    assert 30 <= sum(row["ability"] == "math" for row in kept) <= 70
    fewer = mix(rows, {"math": 0.125})
    assert all(row in kept for row in fewer)
    with pytest.raises(UserError, match="ability 'maths'; there are code, math"):
        mix(rows, {"maths": 0.5})


def test_dialogues_are_flagged_by_surprise(tmp_path: Path) -> None:
    rows = [row for row in ROWS if "messages" in row]
    odd = {"messages": [DIALOGUE[1], {"role": "assistant", "content": "zq#7 %% kx!"}]}
    config = replace(Config.tiny(), steps=("chat",), noise=0.0, chat_lr=1e-2, max_length=64)
    tuned = Yi.build(config, data=[*rows, odd])
    train(tuned, run_of(tmp_path, rows, steps=30))
    first, *_ = tuned.flag([*rows, odd], top=3)
    assert first["row"] == len(rows)
    assert first["messages"] == odd["messages"]
    with pytest.raises(UserError, match="flag looks at dialogues"):
        next(tuned.flag([{"text": "x"}]))


# -- steps ----------------------------------------------------------------------------------------


def test_steps_make_the_model_deeper_and_longer(tmp_path: Path) -> None:
    method = Yi.build(Config.tiny(), data=ROWS)
    train(method, run_of(tmp_path / "run", steps=8, held_out=ROWS[:4]))
    config = method.export().config
    assert config.num_hidden_layers == 4
    assert config.max_position_embeddings == 48
    assert config.rope_parameters["rope_theta"] == 5e6
    assert all(parameter.requires_grad for parameter in method.parameters())
    log = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert {row["stage"] for row in log if "eval/loss" in row} == {
        "pretrain",
        "deepen",
        "lengthen",
        "chat",
    }
    method.save(tmp_path / "saved")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "saved").eval()
    ids = torch.randint(300, (1, 40))
    torch.testing.assert_close(
        again(input_ids=ids).logits, method.export()(input_ids=ids).logits, rtol=1e-5, atol=1e-5
    )


def test_a_lengthened_model_looks_for_needles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for row in ROWS if "text" in row] * 3
    for length, told in ((160, "needles in 160 tokens at depth 1.0: "), (40, "no needles were")):
        config = replace(Config.tiny(), steps=("lengthen",), long_length=length, needles=1)
        run = Run(tmp_path / str(length), rows, (), Budget(1, "steps"))
        train(Yi.build(config, data=rows), run)
        assert told in capsys.readouterr().out


def test_deepening_can_train_the_copies_alone(tmp_path: Path) -> None:
    config = replace(Config.tiny(), steps=("deepen",), train_copies=True, copy_first=1)
    method = Yi.build(config, data=ROWS)
    before = {name: p.clone() for name, p in method.export().named_parameters()}
    train(method, run_of(tmp_path))
    after = dict(method.export().named_parameters())

    def same(place: int, old: int) -> bool:
        name = "model.layers.{}.mlp.up_proj.weight"
        return torch.equal(after[name.format(place)], before[name.format(old)])

    assert same(0, 0)
    assert same(1, 1)
    assert same(3, 2)
    assert not same(2, 1)  # the copy, which alone was trained


def test_the_cascade_runs_before_training(tmp_path: Path) -> None:
    rng = random.Random(0)
    noise = [{"text": "".join(rng.choices("#{}=|<> ab", k=200))} for _ in range(5)]
    doubled = [{"text": ROWS[0]["text"] + " "}]
    # the texts are one sentence, three times, of which each has a number
    rules = Options(skip=("repeats", "runs"), min_alphabetic_ratio=0.7)
    config = replace(Config.tiny(), steps=("pretrain",), clean=True, cascade=rules)
    rows = [*ROWS, *noise, *doubled]
    method = Yi.build(config, data=rows)
    train(method, run_of(tmp_path, rows))
    assert method.passed is not None
    assert not {row["text"] for row in noise} & set(method.passed)
    assert len(set(method.passed)) == len(method.passed)
    report = json.loads((tmp_path / "artefacts/clean/report.json").read_text())
    assert {each["name"]: each["removed"] for each in report}["shape"] == {"symbols": 5}
    strict = replace(config, cascade=Options(min_chars=10_000))
    with pytest.raises(UserError, match="loosen it"):
        train(Yi.build(strict, data=rows), run_of(tmp_path / "strict", rows))


def test_recitations_answer_from_one_of_the_texts() -> None:
    texts = [f"Text {word} begins here and goes on." for word in ("one", "two", "three", "four")]
    made = recitation(texts, random.Random(0), 1000)
    question = made.split("Question: How does document ")[1]
    number = int(question.split()[0])
    body, answer = made.split(f"Document {number}:\n")[1], question.split("Answer: ")[1]
    assert body.startswith(answer)
    assert sum(text in made for text in texts) == 3
    short = recitation(texts, random.Random(0), 30)
    assert [len(part.split("\n")[1]) for part in short.split("Document ")[1:]] == [10, 10, 10]


def test_generate_continues_and_answers(method: Yi) -> None:
    rows = [ROWS[0], ROWS[1]]
    found = list(method.generate(rows, max_new_tokens=5))
    assert found == list(method.generate(rows, max_new_tokens=5))
    assert all(set(row) == {"text"} for row in found)
    with pytest.raises(UserError, match="ask for fewer"):
        next(method.generate(rows, max_new_tokens=16))
    texts = [row["text"] for row in ROWS if "text" in row]
    nll, sizes = method.nll(texts)
    assert len(nll) == len(sizes) == len(texts)


# -- what the user may get wrong ------------------------------------------------------------------


def test_rows_need_a_text_or_a_dialogue() -> None:
    for rows, told in (
        ([{"body": "x"}], "neither 'text' nor 'messages'.*--fields"),
        ([{"text": 3}], "is a int"),
        ([{"messages": "hello"}], "is no dialogue"),
        ([{"messages": [{"role": "bot", "content": "x"}]}], "lacks a text or a role"),
        ([{"messages": DIALOGUE[:2]}], "no response"),
    ):
        with pytest.raises(UserError, match=told):
            Yi.read(rows)


def test_steps_need_their_data(tmp_path: Path) -> None:
    texts = [row for row in ROWS if "text" in row]
    chat = replace(Config.tiny(), steps=("chat",))
    with pytest.raises(UserError, match="rows with 'messages'"):
        train(Yi.build(chat, data=texts), run_of(tmp_path / "a", texts))
    dialogues = [row for row in ROWS if "messages" in row]
    plain = replace(Config.tiny(), steps=("pretrain",))
    with pytest.raises(UserError, match="rows with 'text'"):
        train(Yi.build(plain, data=dialogues), run_of(tmp_path / "b", dialogues))


def test_steps_without_data_are_left_out_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [{**row, "messages": None} for row in ROWS if "text" in row]  # as tables have it
    run = Run(tmp_path / "a", Yi.read(texts), budget=Budget(6, "steps"))
    train(Yi.build(Config.tiny(), data=texts), run)
    told = capsys.readouterr().out
    assert told.index("the step chat needs rows with 'messages'") < told.index(
        "cosine of each layer"
    )
    assert Path(tmp_path / "a/metrics.jsonl").read_text().count('"stage": "chat"') == 0
    long = [
        *texts,
        {"messages": [DIALOGUE[0], {"role": "user", "content": "x " * 400}, *DIALOGUE[1:]]},
    ]
    run = Run(tmp_path / "b", Yi.read(long), budget=Budget(6, "steps"))
    train(Yi.build(Config.tiny(), data=long), run)
    assert "whose responses fit, and is left out" in capsys.readouterr().out


def test_options_that_do_not_fit() -> None:
    for options, told in (
        ({"steps": ()}, "each once"),
        ({"steps": ("chat", "chat")}, "each once"),
        ({"ratios": (1.0,)}, "4 shares"),
        ({"num_kv_heads": 3}, "multiple of num_kv_heads"),
        ({"noise": -1.0}, "noise must be"),
        ({"copy_first": -4}, "copy_first is a layer"),
        ({"recite_ratio": 2.0}, "recite_ratio a share"),
        ({"mixture": ("math:1",)}, "pairs such as math=0.25"),
    ):
        with pytest.raises(UserError, match=told):
            replace(Config.tiny(), **options)


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    sizes = GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, eos_token_id=1)
    GPT2LMHeadModel(sizes).save_pretrained(tmp_path)
    learn_bpe(["ab"], 263).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="not laid out as Llama"):
        Yi.build(Config.tiny(), source=tmp_path)


def test_a_yi_checkpoint_loads_with_its_keys(tmp_path: Path) -> None:
    sizes = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    network = LlamaForCausalLM(sizes)
    network.save_pretrained(tmp_path)
    learn_bpe(["ab"], 263).save_pretrained(tmp_path)
    method = Yi.build(Config(), source=tmp_path)
    assert method.config.max_length == 64
    for name, weight in network.state_dict().items():
        assert torch.equal(method.export().state_dict()[name], weight)
