"""Every method with a network of transformers trains adapters beside a checkpoint of its own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from pretrial import discover
from pretrial.check.trained import InterruptedRun, made_inputs
from pretrial.errors import UserError
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import base_names, load_weights, weights_of
from pretrial.train.log import read_rows
from pretrial.train.loop import Stopped, train
from pretrial.train.lora import (
    LoraOptions,
    adapt_method,
    adapted_export,
    merge,
    save_adapter,
)
from pretrial.train.run import Run, seed_everything

OPTIONS = LoraOptions(lora_rank=4)
#: What does not work, and what is said of it.
REFUSED = {
    "mae": "makes a network of its own out of a checkpoint's weights",
    "mp3": "makes a network of its own out of a checkpoint's weights",
    "never_from_scratch": "copies weights into a network that LoRA leaves as it is",
}
#: Whose export is another network than the one that learns, or larger than its checkpoint.
WITHOUT_ADAPTER = {"drbert", "further_pretraining", "yi"}


def begun(slug: str, folder: Path) -> tuple[Any, Any]:
    """A method with adapters, built from a checkpoint of its own, and examples."""
    loaded = discover.load(slug)
    config = loaded.config.tiny()
    examples = loaded.method.read(loaded.method.sample_rows())
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        first = loaded.method.build(config, data=examples)
        checkpoint.mkdir()
        first.save(checkpoint)
    seed_everything(0)
    method = loaded.method.build(config, source=checkpoint, data=examples)
    adapt_method(method, OPTIONS)
    return method, examples


@pytest.mark.parametrize("slug", sorted(REFUSED))
def test_a_method_that_cannot_says_so(slug: str, tmp_path: Path) -> None:
    def work() -> None:
        method, examples = begun(slug, tmp_path)
        train(method, Run(tmp_path / "run", examples, budget=Budget(2, "steps"), quiet=True))

    with pytest.raises(UserError, match=REFUSED[slug]):
        work()


@pytest.mark.parametrize("slug", sorted(set(discover.methods()) - set(REFUSED)))
def test_adapters_learn_and_what_was_loaded_stays(slug: str, tmp_path: Path) -> None:
    method, examples = begun(slug, tmp_path)
    before = [weight.clone() for weight in method.parameters()]
    run = Run(tmp_path / "run", examples, budget=Budget(2, "steps"), quiet=True)
    train(method, run, lora=OPTIONS)

    weights = dict(method.named_parameters(remove_duplicate=False))
    fixed = base_names(method)
    assert fixed
    for name in fixed:  # also in copies of the network, and behind layers that were added
        same = (old for old in before if old.shape == weights[name].shape)
        assert any(torch.equal(weights[name], old) for old in same), name
    assert any(weights[name].abs().sum() > 0 for name in weights if ".lora_B." in name)
    kept = weights_of(method)
    assert not fixed & kept.keys()
    load_weights(method, kept, tmp_path)

    network = adapted_export(method)
    assert (network is None) <= (slug in WITHOUT_ADAPTER)
    (tmp_path / "adapter").mkdir()
    if slug in WITHOUT_ADAPTER and network is not None:
        with pytest.raises(UserError, match="export without --adapter"):
            save_adapter(network, tmp_path / "adapter", "checkpoint")
        network = None
    if network is not None:
        save_adapter(network, tmp_path / "adapter", "checkpoint")
    wanted = answers(method.export())
    merge(method)
    assert not any(".lora_" in name for name, _ in method.named_parameters())
    close(answers(method.export()), wanted)
    (tmp_path / "model").mkdir()
    method.save(tmp_path / "model")
    again = type(method).build(method.config, source=tmp_path / "model", data=examples)
    close(answers(again.export()), wanted)
    if network is not None:
        fresh = type(method).build(method.config, source=tmp_path / "checkpoint", data=examples)
        close(answers(with_adapter(fresh.export(), tmp_path / "adapter")), wanted)


def with_adapter(network: Any, folder: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of keys that are missing
        warnings.filterwarnings("ignore", "fan_in_fan_out|.*is_gradient|.*no longer tied")
        return PeftModel.from_pretrained(network, str(folder)).merge_and_unload()


@torch.no_grad()
def answers(network: Any) -> Any:
    """What an exported network of transformers says of some inputs; None of any other."""
    if not isinstance(network, PreTrainedModel):
        return None
    return network.eval()(**made_inputs(network))[0]


def close(found: Any, wanted: Any) -> None:
    if wanted is not None:
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("slug", ["codet5p", "contrabert", "electra", "coderl"])
def test_a_run_with_adapters_that_is_stopped_ends_with_the_same_bits(
    slug: str, tmp_path: Path
) -> None:
    """Momentum encoders, tied embeddings and models that are made on the way included."""
    found = {}
    for name, kind in (("whole", Run), ("stopped", InterruptedRun)):
        for _ in range(50):
            method, examples = begun(slug, tmp_path)
            run = kind(tmp_path / name, examples, budget=Budget(8, "steps"), quiet=True)
            try:
                train(method, run, lora=OPTIONS)
                break
            except Stopped:
                pass
        rows = read_rows(tmp_path / name / "metrics.jsonl")
        losses = [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]
        found[name] = weights_of(method), losses
    (whole, losses), (stopped, again) = found["whole"], found["stopped"]
    assert losses == again
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(weight, stopped[name]) for name, weight in whole.items())
