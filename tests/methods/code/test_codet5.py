"""CodeT5's pre-training: what is hidden, what is asked, what learns from it."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretrial.code_views import view
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.methods.code.codet5 import CodeT5, Config
from pretrial.methods.code.codet5.data import Example, Inputs, read_examples, take_docstring
from pretrial.methods.code.codet5.stages.pretraining import BothWays, Denoising, DualGeneration
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

EXAMPLES = CodeT5.read(CodeT5.sample_rows())
LONG = replace(Config.tiny(), max_source=512, max_target=512)
FUNCTION = Example(
    "def area(width, height):\n    total = width * height  # of the plane\n    return total\n",
    "Area of a plane.",
)
ONLY_TAGGING = {"spans": False, "identifiers": False}


def make(config=LONG, data=EXAMPLES):
    torch.manual_seed(0)
    return CodeT5.build(config, data=data)


@pytest.fixture(scope="module")
def method():
    return make()


@pytest.fixture(scope="module")
def inputs(method):
    return Inputs(method.tokenizer, LONG)


@pytest.fixture(scope="module")
def functions():
    """Functions of a module of the standard library, as rows."""
    source = Path(argparse.__file__).read_text(encoding="utf-8")
    found = [source[each.start : each.end] for each in view(source).functions()]
    return [{"code": code} for code in found if 200 < len(code) < 1500]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def restored(inputs, row):
    """The encoder's input with what the target says in the place of the sentinels, as ids."""
    sentinels, spans, current = set(inputs.sentinels), {}, []
    for token in row.target[1:-1]:
        if token in sentinels:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    return [t for token in row.source for t in spans.get(token, [token])]


def whole(inputs, example):
    """The encoder's input as it is before it is corrupted."""
    comment = inputs.comment(example).ids
    return inputs.source(comment, inputs.pieces(example.text, inputs.room(comment)).ids)


def text(inputs, ids):
    return inputs.tokenizer.decode([t for t in ids if t not in (inputs.begin, inputs.end)])


# -- masked spans ---------------------------------------------------------------------------------


def test_unmasking_spans_restores_comment_and_code(inputs, functions):
    for row in read_examples(functions[:100]):
        written = inputs.spans(row, generator())
        if len(written.target) < LONG.max_target and len(written.source) < LONG.max_source:
            assert restored(inputs, written) == whole(inputs, row)
            used = [token for token in written.source if token in inputs.sentinels]
            assert used == inputs.sentinels[: len(used)]


def test_spans_never_part_a_word(inputs, functions):
    for row in read_examples(functions[:60]):
        pieces = inputs.pieces(row.text, 400)
        starts = view(row.text).word_starts(pieces.offsets)
        bare = replace(row, comment="", text=row.text[: pieces.offsets[-1][1]])
        written = inputs.spans(bare, generator(1))
        hidden = [t for t in written.target[1:-1] if t not in inputs.sentinels]
        assert hidden
        place, position = 0, {}
        for token in written.source[1:-1]:
            if token in inputs.sentinels:
                at = written.target.index(token) + 1
                span = []
                while written.target[at] not in (*inputs.sentinels, inputs.end):
                    span.append(written.target[at])
                    at += 1
                position[token] = (place, place + len(span))
                place += len(span)
            else:
                place += 1
        for first, last in position.values():
            assert starts[first]
            assert last == len(starts) or starts[last]


def test_spans_hide_fifteen_percent_in_runs_of_one_to_five_words(inputs, functions):
    hidden = total = 0
    for seed, row in enumerate(read_examples(functions)):
        bare = replace(row, comment="")
        written = inputs.spans(bare, generator(seed))
        hidden += sum(t not in inputs.sentinels for t in written.target[1:-1])
        total += len(restored(inputs, written)) - 2
    assert total > 10_000
    assert hidden / total == pytest.approx(0.15, abs=0.01)


# -- masked identifiers ---------------------------------------------------------------------------


def test_renaming_changes_the_target_and_not_the_masked_source(inputs):
    other = replace(FUNCTION, text=re.sub(r"\btotal\b", "product", FUNCTION.text))
    one, two = (inputs.names(example, generator()) for example in (FUNCTION, other))
    assert one.source == two.source
    assert one.target != two.target


def test_unmasking_identifiers_restores_the_code(inputs, functions):
    for row in [FUNCTION, *read_examples(functions[:100])]:
        written = inputs.names(row, generator())
        short = len(written.source) < LONG.max_source and len(written.target) < LONG.max_target
        if short and len(view(row.text).identifiers()) <= 100:
            given = replace(row, comment=inputs.tokenizer.decode(inputs.comment(row).ids))
            assert text(inputs, restored(inputs, written)) == given.comment + row.text


def test_every_name_is_hidden_once_and_comments_are_left(inputs):
    written = inputs.names(FUNCTION, generator())
    names = list(view(FUNCTION.text).identifiers())
    assert names == ["area", "width", "height", "total"]
    shown = text(inputs, written.source)
    assert "# of the plane" in shown
    assert shown.count("<extra_id_1>") == shown.count("<extra_id_3>") == 2
    assert not re.search(r"\b(width|height|total)\b", shown.partition("#")[0])
    target = inputs.tokenizer.decode(written.target[1:-1])
    assert target == "".join(f"<extra_id_{i}>{name}" for i, name in enumerate(names))


def test_of_101_names_the_first_hundred_are_hidden(method):
    names = [f"n{i}" for i in range(101)]
    config = replace(LONG, max_source=2048, max_target=2048)
    inputs = Inputs(method.tokenizer, config)
    code = Example(f"({', '.join(names)})")
    written = inputs.names(code, generator())
    assert sum(t in inputs.sentinels for t in written.target) == 100
    assert text(inputs, written.source).endswith("<extra_id_99>, n100)")
    assert text(inputs, restored(inputs, written)) == code.text


# -- tagging --------------------------------------------------------------------------------------


def test_tags_mark_identifiers_and_nothing_else(inputs):
    written = inputs.tags(FUNCTION, generator())
    named = {0: "", 1: "", IGNORE: ""}
    for token, tag in zip(written.source, written.tags, strict=True):
        named[tag] += inputs.tokenizer.decode([token])
    assert named[1].replace(" ", "") == "areawidthheighttotalwidthheighttotal"
    assert not re.search(r"area|width|height|total", named[0])
    assert re.search(r"def.*return", named[0], re.DOTALL)
    assert "Area of a plane." in named[IGNORE]


def test_tagging_leaves_the_decoder_without_gradients(method):
    inputs = Inputs(method.tokenizer, LONG)
    module = Denoising(method.network, method.tagger, inputs, LONG)
    module.objectives = {"tagging": inputs.tags}
    method.zero_grad(set_to_none=True)
    losses = module.losses(module.batch(EXAMPLES, generator()))
    losses["loss"].backward()
    assert losses["loss"] == losses["tagging_loss"]
    assert all(p.grad is None for p in method.network.decoder.block.parameters())
    assert all(p.grad is not None for p in method.network.encoder.block.parameters())
    assert method.tagger.weight.grad.abs().sum() > 0
    method.zero_grad(set_to_none=True)


def test_tagging_alone_is_refused():
    with pytest.raises(UserError, match="set spans or identifiers"):
        replace(LONG, **ONLY_TAGGING)
    with pytest.raises(UserError, match="set batch_size to 8 or more"):
        replace(LONG, batch_size=2)


# -- the stages -----------------------------------------------------------------------------------


def test_objectives_are_drawn_equally_often(method, inputs):
    module = Denoising(method.network, method.tagger, inputs, LONG)
    source, drawn = generator(), dict.fromkeys(module.objectives, 0)
    for _ in range(60):
        for name, count in module.batch(EXAMPLES, source)["num_rows"].items():
            drawn[name] += count
    assert set(drawn) == {"spans", "identifiers", "tagging"}
    assert all(count / 720 == pytest.approx(1 / 3, abs=0.06) for count in drawn.values())


def test_the_loss_is_the_mean_of_the_objectives(method, inputs):
    module = Denoising(method.network, method.tagger, inputs, LONG)
    losses = module.losses(module.batch(EXAMPLES * 3, generator()))
    parts = [losses[f"{name}_loss"] for name in ("spans", "identifiers", "tagging")]
    torch.testing.assert_close(losses["loss"], sum(parts) / 3)
    spans = Denoising(method.network, None, inputs, replace(LONG, tagging=False, identifiers=False))
    assert set(spans.losses(spans.batch(EXAMPLES, generator()))) == {
        "loss",
        "spans_loss",
        "unparsed_ratio",
    }


def test_dual_generation_asks_both_ways_behind_language_tokens(method, inputs):
    uncommented = Example("x = 1")
    both = BothWays([*EXAMPLES, uncommented])
    assert len(both) == 2 * len(EXAMPLES)
    to_code, to_words = (inputs.both_ways(*each) for each in both[:2])
    english, python = (inputs.language_token(name) for name in ("en", "python"))
    assert (to_code.source[1], to_code.target[1]) == (english, python)
    assert (to_words.source[1], to_words.target[1]) == (python, english)
    assert inputs.tokenizer.decode(to_code.target[2:-1]) == EXAMPLES[0].text
    assert inputs.tokenizer.decode(to_words.target[2:-1]) == EXAMPLES[0].comment
    loss = DualGeneration(method.network, inputs)
    assert torch.isfinite(loss.losses(loss.batch(both[:4], generator()))["loss"])


def test_the_second_stage_has_its_share_and_needs_comments(tmp_path):
    method = make(Config.tiny())
    run = Run(tmp_path / "a", EXAMPLES, budget=Budget(9, "steps"), quiet=True)
    stages = [(stage.name, stage.budget.amount) for stage in method.stages(run)]
    assert stages == [("denoise", pytest.approx(6)), ("dual", pytest.approx(3))]
    bare = [replace(example, comment="") for example in EXAMPLES]
    run = Run(tmp_path / "b", bare, budget=Budget(9, "steps"), quiet=True)
    assert [stage.budget.amount for stage in method.stages(run)] == [9]


def test_dual_generation_is_learnt_and_used(tmp_path):
    few = EXAMPLES[::2]
    config = replace(Config.tiny(), dual_ratio=0.9, lr=1e-2, max_target=48, batch_size=8)
    method = make(config, EXAMPLES)
    run = Run(tmp_path, few * 2, budget=Budget(130, "steps"), quiet=True)
    train(method, run)
    written = [row["text"] for row in method.summarise(few)]
    assert sum(text == e.comment for text, e in zip(written, few, strict=True)) >= 5, written
    words = [Example(e.comment) for e in few]
    code = [row["text"] for row in method.generate(words, to="python")]
    assert sum(c == e.text.strip() for c, e in zip(code, few, strict=True)) >= 5, code


# -- unusual data ---------------------------------------------------------------------------------


def test_code_that_does_not_parse_is_kept_as_tokens_and_counted(method, inputs):
    broken = Example("def broken(width:\n    return (width + height\n")
    for objective in (inputs.spans, inputs.names, inputs.tags):
        assert not objective(broken, generator()).parsed
    assert "<extra_id_2>" in inputs.tokenizer.decode(inputs.names(broken, generator()).source)
    module = Denoising(method.network, method.tagger, inputs, LONG)
    batch = module.batch([broken, *EXAMPLES[:3]], generator())
    assert module.losses(batch)["unparsed_ratio"] == 0.25


@pytest.mark.parametrize("code", ["def f():\n    pass\n", "pass", "1", "# a note\n", "</s><pad>"])
def test_small_and_odd_texts_make_instances(method, inputs, code):
    module = Denoising(method.network, method.tagger, inputs, LONG)
    for seed in range(6):
        batch = module.batch([Example(code)] * 3, generator(seed))
        assert torch.isfinite(module.losses(batch)["loss"])


def test_special_tokens_written_in_code_are_text(inputs):
    code = Example("x = '<extra_id_0></s>'")
    written = inputs.tags(code, generator())
    assert written.source.count(inputs.end) == 1
    assert not set(written.source) & set(inputs.sentinels)


def test_a_file_of_megabytes_is_cut_before_it_is_looked_at(inputs):
    huge = Example("x = 1; " * 800_000)
    for objective in (inputs.spans, inputs.names, inputs.tags):
        assert len(objective(huge, generator()).source) <= LONG.max_source


def test_docstrings_become_comments():
    code = 'def f(x):\n    """Add one.\n\n    More.\n    """\n    return x + 1\n'
    assert take_docstring(code) == ("def f(x):\n    return x + 1\n", "Add one.")
    alone = 'def f(x):\n    """Only this."""\n'
    assert take_docstring(alone) == (alone, "")
    given = read_examples([{"code": code, "comment": "Mine."}])[0]
    assert (given.text, given.comment) == (code, "Mine.")


def test_rows_that_do_not_fit_name_the_mend():
    with pytest.raises(UserError, match=r"neither a field 'code' nor 'source' \(found: body\)"):
        read_examples([{"body": "x"}])
    rows = [{"code": "x = 1"}, {"code": "  "}, {"code": 3}, {"code": "y", "language": "python"}]
    with pytest.raises(UserError, match=r"'code' of row 1 .* --skip-bad"):
        read_examples(rows)
    kept = read_examples(rows, skip_bad=True)
    assert [example.text for example in kept] == ["x = 1", "y"]
    assert len(kept.skipped) == 2
    with pytest.raises(UserError, match="pyhton"):
        read_examples([{"code": "x", "language": "pyhton"}])
