"""Names ranked and usages written, by decoder and encoder."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pretrial.errors import UserError
from pretrial.evaluate.api_calls import call_sites
from pretrial.methods.code.api_continual import APIContinual, Config
from pretrial.methods.code.api_continual.abilities.ranking import Names, rank_decoder
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

DATA = APIContinual.read(APIContinual.sample_rows())
TINY = replace(Config.tiny(), keep_checkpoints=False, strategy="naive")
CONTEXTS = ["x = np.", "graph = nx.Graph(edges)\ngraph.", ""]
CANDIDATES = ["zeros", "zeros_like", "add_", "log2", "append", "dot", "f", "add_node"]


def make(architecture="decoder"):
    torch.manual_seed(0)
    method = APIContinual.build(replace(TINY, architecture=architecture), data=DATA).eval()
    with torch.no_grad():
        for parameter in method.network.parameters():
            parameter.mul_(4)  # away from the uniform distribution
    method.names = CANDIDATES
    return method


def likelihood(method, prompt, name):
    """Of a name and an opening bracket after it, in one pass."""
    tokenizer = method.tokenizer
    ids = tokenizer(f"{name}(", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logs = method.network(torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
    total = sum(float(logs[len(prompt) - 1 + at, token]) for at, token in enumerate(ids[:-1]))
    ending = tokenizer.decode([ids[-1]])
    begins = [i for i in range(len(tokenizer)) if tokenizer.decode([i]).startswith(ending)]
    return total + float(logs[len(prompt) + len(ids) - 2, begins].logsumexp(0))


def test_a_decoder_ranks_whole_names_by_their_likelihood():
    method = make()
    true = ["zeros", "other_name", "dot"]
    ranked = method.rank_calls(CONTEXTS, true, top=20)
    start = method.tokenizer.eos_token_id
    for context, found, name in zip(CONTEXTS, ranked, true, strict=True):
        ids = method.tokenizer(context, add_special_tokens=False)["input_ids"]
        prompt = [start, *ids]
        expected = {each: -likelihood(method, prompt, each) for each in CANDIDATES}
        assert found.names == sorted(CANDIDATES, key=expected.get)
        assert found.nll == pytest.approx(sorted(expected.values()), abs=1e-3)
        assert found.true_nll == pytest.approx(-likelihood(method, prompt, name), abs=1e-3)
    assert "other_name" not in ranked[1].names


def test_a_narrow_beam_still_knows_how_likely_the_true_name_is():
    method = make()
    names = Names(CANDIDATES, method.tokenizer)
    prompts = [[1, 70, 80, 90], [1, 60]]
    how = {"pad": 0, "top": 2}
    wide = rank_decoder(method.network, prompts, names, ["log2", "append"], width=50, **how)
    slim = rank_decoder(method.network, prompts, names, ["log2", "append"], width=1, **how)
    for one, other in zip(wide, slim, strict=True):
        assert one.true_nll == pytest.approx(other.true_nll, abs=1e-4)
        assert len(one.names) == 2


def test_a_name_is_also_told_from_its_beginnings():
    # the likelihoods of all endings of one beginning are disjoint events
    method = make()
    found = method.rank_calls(["x = np."], top=20)[0]
    assert sum(math.exp(-nll) for nll in found.nll) < 1


def test_the_released_metric_counts_single_tokens_only():
    method = make()
    logs = method.network(torch.tensor([[1, 70]])).logits[0, -1].detach().log_softmax(-1)
    names = Names(["f", "zeros_like"], method.tokenizer)
    ranked = rank_decoder(
        method.network, [[1, 70]] * 2, names, ["f", "zeros_like"], pad=0, top=2, width=4
    )
    best = logs.topk(50)
    token = method.tokenizer.convert_tokens_to_ids("f")
    expected = float((best.values.exp() * (best.indices == token)).sum() / best.values.exp().sum())
    assert ranked[0].token_prob == pytest.approx(expected, abs=1e-6)
    assert ranked[1].token_prob == 0


def test_an_encoder_ranks_by_the_mean_over_masks():
    method = make("encoder")
    tokenizer, network = method.tokenizer, method.network
    found = method.rank_calls(["x = np."], ["zeros"], top=20)[0]
    prompt = tokenizer("x = np.", add_special_tokens=False)["input_ids"]
    expected = {}
    for name in CANDIDATES:
        ids = tokenizer(name, add_special_tokens=False)["input_ids"]
        row = [tokenizer.cls_token_id, *prompt, *[tokenizer.mask_token_id] * len(ids)]
        with torch.no_grad():
            logits = network(torch.tensor([[*row, tokenizer.sep_token_id]])).logits[0]
        logs = logits[len(prompt) + 1 :].log_softmax(-1)
        values = [float(logs[at, token]) for at, token in enumerate(ids)]
        expected[name] = -sum(values) / len(values)
    assert found.names == sorted(CANDIDATES, key=expected.get)
    assert found.true_nll == pytest.approx(expected["zeros"], abs=1e-4)


@pytest.mark.parametrize("architecture", ["decoder", "encoder"])
def test_the_watched_loss_is_that_of_the_names_tokens_alone(architecture):
    method = make(architecture)
    sites = call_sites("x = np.zeros(3)\ny = np.dot(x).add_node(1)")
    tokenizer = method.tokenizer
    total, count = 0.0, 0
    for site in sites:
        ids = tokenizer(site.name, add_special_tokens=False)["input_ids"]
        context = tokenizer(site.context, add_special_tokens=False)["input_ids"]
        if architecture == "encoder":
            prompt = [tokenizer.cls_token_id, *context]
            row = [*prompt, *[tokenizer.mask_token_id] * len(ids), tokenizer.sep_token_id]
            first = len(prompt)
        else:
            prompt = [tokenizer.eos_token_id, *context]
            row, first = [*prompt, *ids], len(prompt) - 1
        with torch.no_grad():
            logits = method.network(torch.tensor([row])).logits[0, first : first + len(ids)]
        total += float(F.cross_entropy(logits, torch.tensor(ids), reduction="sum"))
        count += len(ids)
    assert method.call_loss(sites) == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize("architecture", ["decoder", "encoder"])
def test_completion_of_what_was_learnt(tmp_path, architecture):
    config = replace(TINY, architecture=architecture, lr=5e-3, batch_size=8, mask_ratio=0.3)
    torch.manual_seed(0)
    method = APIContinual.build(config, data=DATA)
    train(method, Run(tmp_path, DATA, budget=Budget(200, "steps"), quiet=True))
    method.eval()
    context = "def g1(edges):\n    graph = nx."
    calls = next(iter(method.complete_call([context], top=3)))["calls"]
    assert len(calls) == 3
    assert calls[0]["name"] == "Graph"
    assert calls[0]["log_prob"] >= calls[1]["log_prob"]
    written = [row["usage"] for row in method.complete_usage([context, ""], temperature=0.0)]
    assert len(written) == 2
    if architecture == "decoder":
        assert written[0].startswith("Graph(")
        assert next(method.complete_usage([context], seed=1))["usage"].startswith("Graph(")


def test_writing_ends_at_the_bracket_and_follows_the_seed():
    for architecture in ("decoder", "encoder"):
        method = make(architecture)
        how = {"temperature": 1.0, "max_new_tokens": 12}
        one = method.write_usages(CONTEXTS, seed=1, **how)
        assert one == method.write_usages(CONTEXTS, seed=1, **how)
        assert one != method.write_usages(CONTEXTS, seed=2, **how)


def test_mistakes_are_told():
    method = make()
    with pytest.raises(UserError, match="--top"):
        next(method.complete_call(CONTEXTS, top=0))
    with pytest.raises(UserError, match="max_new_tokens"):
        method.write_usages(CONTEXTS, max_new_tokens=1000)
    with pytest.raises(UserError, match="temperature"):
        method.write_usages(CONTEXTS, temperature=-1.0)
    method.names = []
    with pytest.raises(UserError, match="no names"):
        method.rank_calls(CONTEXTS)
    assert make().rank_calls([]) == []
