"""UniXcoder's trial: what it is measured on, and that the arms are what they are called."""

import json

import pytest
import torch

from pretrial.errors import UserError
from pretrial.methods.code.unixcoder import Config, UniXcoder
from pretrial.methods.code.unixcoder.trials import Lexical, cut_lines, make_data, measure, trial

ROWS = [row for row in UniXcoder.sample_rows() if row["code"]]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """150 documented functions in 15 modules, and one that is not documented."""
    rows = [
        {
            "code": f'def f_{number}(x):\n    """Add {number} to x and double it."""\n'
            f"    y = x + {number}\n    return 2 * y\n",
            "module": f"m{number % 15}",
        }
        for number in range(150)
    ]
    rows.append({"code": "def g(x):\n    return x\n", "module": "m1"})
    file = tmp_path_factory.mktemp("code") / "code.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.fixture(scope="module")
def data(source):
    return make_data(source, num_functions=12, num_problems=5, num_lines=6)


def test_no_module_is_on_both_sides_and_no_docstring_is_left_in_code(data):
    train = {row["code"] for row in data.train}
    assert not train & set(data.test.functions.documents)
    assert len({row["group"] for row in data.train}) < 15
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


def test_a_cut_line_put_together_is_the_line():
    codes = [row["code"] for row in ROWS]
    lines = cut_lines(codes, 5)
    assert len(lines.prompts) == len(lines.ends) == 5
    for code, prompt, end in zip(codes, lines.prompts, lines.ends, strict=False):
        assert code.startswith(prompt + end)
        assert len(prompt.split("\n")[-1].split()) == 1  # one word of the line is given
        assert len(end.split()) >= 2
        assert "\n" in prompt
        assert "\n" not in end


def test_all_metrics_have_an_item_each(data):
    torch.manual_seed(0)
    method = UniXcoder.build(Config.tiny(), data=UniXcoder.read(data.train)).eval()
    before = {name: weight.clone() for name, weight in method.network.state_dict().items()}
    found = measure(method, data, seed=0)
    assert len(found["code_map"]) == len(data.test.programs.queries)
    assert len(found["search_mrr"]) == len(data.test.functions.queries)
    assert len(found["line_exact_match"]) == len(found["line_edit_similarity"]) == 6
    assert all(0 <= value <= 1 for values in found.values() for value in values)
    for name, weight in method.network.state_dict().items():  # what is measured is left as it was
        assert torch.equal(weight, before[name])


def test_words_alone_are_a_control(data):
    pytest.importorskip("bm25s")
    found = measure(Lexical(), data, seed=0)
    assert found.keys() == {"code_map", "search_mrr"}
    assert len(found["search_mrr"]) == len(data.test.functions.queries)


def test_arms_differ_in_what_they_are_called_for():
    arms = {arm.name: arm.config for arm in trial().arms if arm.config}
    assert not arms["unimodal"].contrastive
    assert not arms["unimodal"].cross_generation
    assert arms["unimodal"].multimodal == arms["unixcoder"].unimodal
    assert arms["no-ast"].ast == "none"
    assert arms["dfs"].ast == "dfs"
    assert not arms["no-comments"].comments
    assert trial().reference().name == "unimodal"


def test_too_little_code_is_refused(tmp_path):
    file = tmp_path / "few.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with pytest.raises(UserError, match="12 documented functions"):
        make_data(str(file), 5, 5, 5)
