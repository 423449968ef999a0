"""Masked language modelling: BERT's rates, parity with transformers, warm starts."""

from dataclasses import replace

import pytest
import torch

from pretrial.methods.text import electra, mlm
from pretrial.train.budget import Budget
from pretrial.train.describe import describe
from pretrial.train.run import Run

TEXTS = mlm.MLM.read(mlm.MLM.sample_rows())


@pytest.fixture(scope="module")
def method():
    return mlm.MLM.build(mlm.Config.tiny(), data=TEXTS)


def batch_of(method, seed=0):
    windows = method.tokenizer(TEXTS, add_special_tokens=False)["input_ids"]
    return method.batch([ids[:22] for ids in windows], torch.Generator().manual_seed(seed))


def test_chosen_tokens_are_masked_swapped_or_kept_at_berts_rates(method):
    seen, originals = [], []
    for seed in range(60):
        batch = batch_of(method, seed)
        seen.append(batch["input_ids"].flatten()[batch["positions"]])
        originals.append(batch["labels"].flatten()[batch["positions"]])
    seen, originals = torch.cat(seen), torch.cat(originals)
    masked = seen == method.tokenizer.mask_token_id
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (seen == originals).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert not torch.isin(seen[~masked], torch.tensor(method.tokenizer.all_special_ids)).any()


def test_loss_is_that_of_transformers(method):
    batch = batch_of(method)
    labels = batch["labels"].masked_fill(~batch["loss_mask"], -100)
    mask = batch["attention_mask"].long()
    theirs = method.network(batch["input_ids"], attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(method.losses(batch)["loss"], theirs, rtol=1e-5, atol=1e-5)


def test_a_discriminator_can_be_trained_on_with_masks(tmp_path):
    source = electra.ELECTRA.build(electra.Config.tiny(), data=TEXTS)
    source.save(tmp_path)
    method = mlm.MLM.build(replace(mlm.Config.tiny(), width=999), source=tmp_path)
    assert method.config.width == 32
    weights = source.network.electra.state_dict()
    for name, weight in method.network.electra.state_dict().items():
        assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize("kind", [mlm.MLM, electra.ELECTRA])
def test_a_dry_run_needs_no_memory(kind, tmp_path):
    def about(device):
        with torch.device(device):
            method = kind.build(kind.Config.tiny(), data=TEXTS)
        run = Run(tmp_path, TEXTS, budget=Budget(10, "steps"), quiet=True)
        return describe(next(method.stages(run)))

    meta, real = about("meta"), about("cpu")
    # attention without a kernel of its own is counted a little differently
    assert meta["flops_per_step"] == pytest.approx(real["flops_per_step"], rel=0.05)
    assert meta["tokens_per_step"] == real["tokens_per_step"]
