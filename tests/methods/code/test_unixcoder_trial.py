"""UniXcoder's trial: what it is measured on, and that the arms are what they are called."""

import json

import pytest
import torch

from pretrial.compare.trial import Context
from pretrial.compare.worker import split_values
from pretrial.errors import UserError
from pretrial.methods.code.unixcoder import Config, UniXcoder
from pretrial.methods.code.unixcoder.network import logits_of, states_of
from pretrial.methods.code.unixcoder.trials import make_data, passages, token_probs, trial
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = [row for row in UniXcoder.sample_rows() if row["code"]]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """300 documented functions in 60 modules, and one that is not documented."""
    rows = [
        {
            "code": f'def f_{number}(x):\n    """Add {number} to x and double it."""\n'
            f"    y = x + {number}\n    return 2 * y\n",
            "module": f"m{number % 60}",
        }
        for number in range(300)
    ]
    rows.append({"code": "def g(x):\n    return x\n", "module": "m1"})
    file = tmp_path_factory.mktemp("code") / "code.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.fixture(scope="module")
def data(source):
    return make_data(source, num_functions=12, num_problems=5)


@pytest.fixture(scope="module")
def method(data):
    torch.manual_seed(0)
    return UniXcoder.build(Config.tiny(), data=UniXcoder.read(data.train)).eval()


def test_no_module_is_on_two_sides_and_no_docstring_is_left_in_code(data):
    sides = [{row["group"] for row in data.train}]
    sides += [{group for _, group in functions} for functions in data.test.functions]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides))
    for row in data.train:
        assert '"""' not in row["code"]
        assert row["comment"].startswith("Add ")
    assert not any("def g" in row["code"] for row in data.train)


def test_programs_of_one_problem_are_looked_for_and_never_the_query_itself(data):
    search = data.test.programs
    for query, relevant, excluded in zip(
        search.queries, search.relevant, search.excluded, strict=True
    ):
        assert search.documents[excluded] == query
        assert excluded not in relevant
        assert relevant


def test_the_code_is_predicted_after_its_comment_token_by_token(method, data):
    asked = passages(method, data.test.functions[1][:3])
    for passage, (fragment, group) in zip(asked, data.test.functions[1], strict=False):
        assert passage.group == group
        text = method.tokens.text_of(passage.ids[:-1])
        assert fragment.bare.startswith(text)
        assert passage.num_bytes == len(text.encode())
        assert method.tokens.text_of(passage.given).strip() in fragment.said
    found = token_probs(method, asked)
    for passage, probs in zip(asked, found, strict=True):
        ids = [*method.sampler.prefix("<decoder-only>"), *passage.given, *passage.ids]
        row = torch.tensor([ids])
        with torch.no_grad():
            states = states_of(method.network, row, torch.ones_like(row).bool(), "causal")
            wanted = logits_of(method.network, states)[0].softmax(-1)[:-1]
        wanted = wanted.gather(1, row[0, 1:, None])[-len(passage.ids) :, 0]
        torch.testing.assert_close(torch.tensor(probs).float(), wanted, atol=1e-5, rtol=1e-4)


def test_a_tiny_trial_measures_all_arms(source, tmp_path):
    pytest.importorskip("bm25s")
    made = trial(data=source, num_functions=12, num_problems=5, tiny=True)
    data = made.data()
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    made.prepare(0, prepared)
    for arm in made.choose():
        run = Run(tmp_path / arm.name, data.train, budget=made.budget, quiet=True)
        if arm.run:
            subject = arm.run(Context(run, data, prepared))
        else:
            run = run.over(UniXcoder.read(run.data))
            subject = UniXcoder.build(arm.config, source=prepared, data=run.data)
            before = [weight.clone() for weight in subject.network.parameters()]
            if arm.trains:
                train(subject, run)
            pairs = zip(before, subject.network.parameters(), strict=True)
            assert arm.trains == any(not torch.equal(*pair) for pair in pairs)
            subject.eval()
        metrics, items, groups = split_values(made.measure(subject, data, 0))
        assert ("own_bits" in metrics) == (arm.name != "counts")
        assert 0 < metrics["code_bits"] < 8
        assert 0 <= metrics["code_map"] <= 1
        assert len(items["code_bits"]) == len(data.test.functions[1])
        assert len(set(groups["code_map"])) == len(set(groups["code_map"]) & set(range(5)))


def test_arms_differ_in_what_they_are_called_for():
    made = trial()
    arms = {arm.name: arm.config for arm in made.arms if arm.config}
    assert not arms["unimodal"].contrastive
    assert not arms["unimodal"].cross_generation
    assert arms["unimodal"].multimodal == arms["unixcoder"].unimodal
    assert arms["no-ast"].ast == "none"
    assert arms["dfs"].ast == "dfs"
    assert not arms["no-comments"].comments
    assert made.reference().name == "unimodal"
    assert set(made.gate.trivial) == {"counts", "before", "random"}
    assert made.claims_of(made.arms)[0] == ("unixcoder", "unimodal", "code_bits", "lower")
    assert made.useful > 0


def test_too_little_code_is_refused(tmp_path):
    file = tmp_path / "few.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with pytest.raises(UserError, match="12 documented functions"):
        make_data(str(file), 5, 5)
