"""The reward in TRL's GRPOTrainer: two steps of a tiny Llama."""

from __future__ import annotations

import math

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pretrial.rewards import CodeReward, as_json, text_of
from pretrial.sandbox.tests import Tests

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

# What is tested is how often the letter is written: some completions pass, and others do not.
LETTERS = "abcdefgh\n"
PROMPT = "abc\n"


def tokenizer():
    words = [*LETTERS, "<pad>", "<eos>"]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )
    fast.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return fast


@pytest.mark.parametrize("form", ["plain", "async", "chat"])
def test_two_steps_of_grpo(form, tmp_path):
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=None,
    )
    # the program prints how many letters a it was written with
    tests = as_json(Tests("stdin", inputs=("", "", ""), outputs=("0\n", "0\n", "1\n")))
    seen = []

    class Counting(CodeReward):
        def score(self, completions, prompts=None, **columns):
            texts = map(text_of, completions)
            programs = [f"print({text.count('a') % 2})" for text in texts]
            scored = super().score(programs, prompts, **columns)
            seen.extend(each.reward for each in scored)
            return scored

    prompt = [{"role": "user", "content": PROMPT}] if form == "chat" else PROMPT
    rows = [{"prompt": prompt, "tests": tests, "level": n} for n in range(4)]
    options = trl.GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        max_steps=2,
        logging_steps=1,
        learning_rate=1e-3,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    with Counting(mode="share", workers=1, fence="none") as reward:
        trainer = trl.GRPOTrainer(
            model=LlamaForCausalLM(config),
            reward_funcs=reward.asynchronous if form == "async" else reward,
            args=options,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=words,
        )
        trainer.train()
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(history) == 2
    for entry in history:
        assert math.isfinite(float(entry["loss"]))
        assert 0.33 < float(entry["rewards/code_reward/mean"]) < 0.67
        assert float(entry["code_reward/no_verdict"]) == 0
    assert len(seen) == 8
    assert {round(value, 3) for value in seen} <= {0.333, 0.667}
