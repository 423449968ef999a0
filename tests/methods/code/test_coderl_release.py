"""CodeRL with the faults of the released code: what it pads, pools over and cuts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pretrial.data.builtin.miniapps import mini_apps
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.data.prompt import prompt
from pretrial.methods.code.coderl.network import parts
from pretrial.methods.code.coderl.network.critic import Critic, Judged
from pretrial.methods.code.coderl.network.model import ProgramModel

PROBLEMS = mini_apps(num_train=6, num_test=0).train
GENERATOR = torch.Generator()


def tiny(architecture: str = "t5", **changes: object) -> ProgramModel:
    torch.manual_seed(0)
    config = replace(Config.tiny(), architecture=architecture, **changes)
    return CodeRL.build(config, data=PROBLEMS).actor


def pairs(model: ProgramModel) -> list[tuple[list[int], list[int]]]:
    return [(model.problem_ids(p), model.program_ids(p.solutions[0])) for p in PROBLEMS]


def _critic(**options: object) -> Critic:
    return parts.new_critic(Config.tiny(), tiny(**options), 4, seed=0)


@pytest.mark.parametrize("pooling", ["logits", "states"])
@pytest.mark.parametrize("release_pooling", [False, True])
def test_padding_changes_the_critic_only_as_released(pooling, release_pooling):
    critic = _critic(pooling=pooling, release_pooling=release_pooling).eval()
    source, target = pairs(critic.program_model)[0]
    model, rows = critic.program_model, [Judged(source, target, 0)]
    long = Judged(source, [*target, *target], 0)
    same = True
    for _ in range(2):  # a head and its opposite: padding is the maximum of one of them
        critic.error_head[2].weight.data.neg_()
        alone = critic.pooled_logits(critic.batch(rows, GENERATOR))
        padded = critic.pooled_logits(critic.batch([*rows, long], GENERATOR))
        torch.testing.assert_close(alone[0], padded[0], atol=1e-5, rtol=0)
        # the release: all positions of programs that are padded to full length
        full = model.collate([source], [target], model.config.max_target)
        assert full["labels"].shape == (1, model.config.max_target)
        if pooling == "states":
            released = critic.error_head(model.hidden(full).amax(dim=1))
        else:
            released = critic.position_logits(full).amax(dim=1)
        same = same and torch.allclose(alone, released, atol=1e-5)
        assert not release_pooling or same
    assert same == release_pooling


def test_padding_of_the_source_is_masked_except_as_released():
    source, target = pairs(tiny())[0]
    ours = tiny(release_padding=False).collate([source, source[:4]], [target, target])
    assert ours["attention_mask"].sum(1).tolist() == [len(source), 4]
    released = tiny(release_padding=True).collate([source[:4]], [target])
    assert released["input_ids"].shape == (1, Config.tiny().max_source)
    assert bool(released["attention_mask"].all())
    assert set(released["input_ids"][0, 4:].tolist()) == {tiny().end}
    text = "x" * 10 + prompt(PROBLEMS[0]) * 40
    whole = tiny().tokenizer(text)["input_ids"]
    longest = Config.tiny().max_source
    assert tiny(release_padding=True).prompt_ids(text) == whole[:longest]
    decoder = tiny("gpt2", release_padding=True)  # the release has none
    assert decoder.text(decoder.prompt_ids(text)).endswith("ANSWER:\n")
