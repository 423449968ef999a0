"""What a trained CodeT5+ is used for: search, match, generate, complete."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from pretrial.errors import UserError
from pretrial.methods.code.codet5p import CodeT5p, Config
from pretrial.methods.code.codet5p.network.t5 import TO_CODE, TO_TEXT, decoder_logits, task_ids
from pretrial.methods.code.codet5p.stages.plan import stages
from pretrial.models.architectures.seq2seq import encode_texts
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

PAIRS = CodeT5p.read(CodeT5p.sample_rows())
QUERIES = CodeT5p.read([{"text": "Add the width and the other width."}, {"text": "divide"}])


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    """Trained a little on pairs, so that it does not answer all alike."""
    torch.manual_seed(0)
    config = dataclasses.replace(Config.tiny(), stages=("bimodal",))
    made = CodeT5p.build(config, data=PAIRS)
    folder = tmp_path_factory.mktemp("run")
    train(made, Run(folder, PAIRS, PAIRS[:6], budget=Budget(20), quiet=True))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"eval/mrr", "eval/recall@1"} <= rows[-1].keys()
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "codes.jsonl"
    rows = [{"code": row["code"], "line": n} for n, row in enumerate(CodeT5p.sample_rows())]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"code": " ", "line": -1}]))
    return str(path)


def test_search_orders_by_cosine_then_by_matching(method, corpus, tmp_path):
    plain = list(method.search(QUERIES, corpus=corpus, top=24, rerank=0))
    vectors = method.encode([row["code"] for row in CodeT5p.sample_rows()])
    for query, answer in zip(QUERIES, plain, strict=True):
        cosines = vectors @ method.encode([query.text])[0]
        found = [result["line"] for result in answer["results"]]
        assert found == cosines.argsort(descending=True, stable=True).tolist()
        assert answer["results"][0]["code"] == CodeT5p.sample_rows()[found[0]]["code"]
    index = str(tmp_path / "index")
    reranked = list(method.search(QUERIES, corpus=corpus, top=24, rerank=5, index=index))
    for before, after in zip(plain, reranked, strict=True):
        old = [result["line"] for result in before["results"]]
        new = [result["line"] for result in after["results"]]
        assert new[5:] == old[5:]
        assert sorted(new[:5]) == sorted(old[:5])
        text = before["text"]
        pairs = CodeT5p.read(
            [{"text": text, "code": CodeT5p.sample_rows()[n]["code"]} for n in new[:5]]
        )
        logits = [answer["match_logit"] for answer in method.match(pairs)]
        scores = [
            logit + result["cosine"]
            for logit, result in zip(logits, after["results"], strict=False)
        ]
        assert scores == pytest.approx([r["score"] for r in after["results"][:5]], abs=1e-4)
        assert scores == sorted(scores, reverse=True)
    again = list(method.search(QUERIES, corpus=corpus, top=2, rerank=5, index=index))
    assert [len(answer["results"]) for answer in again] == [2, 2]


def test_greedy_writing_equals_step_by_step(method):
    tokenizer, network = method.tokenizer, method.network
    for to, start in (("code", TO_CODE), ("text", TO_TEXT)):
        pair = PAIRS[3]
        (answer,) = method.generate([pair], to=to, max_new_tokens=6)
        source = pair.text if to == "code" else pair.code
        ids = torch.tensor(encode_texts(tokenizer, [source], 64))
        states = network.encoder(ids).last_hidden_state
        written = []
        for _ in range(6):
            labels = torch.tensor([[*written, 0]])
            begin = task_ids(tokenizer)[start]
            logits = decoder_logits(network, states, torch.ones_like(ids), labels, begin)
            best = int(logits[0, -1].argmax())
            if best == tokenizer.eos_token_id:
                break
            written.append(best)
        assert answer["text"] == tokenizer.decode(written, skip_special_tokens=True)
        assert network.config.decoder_start_token_id == tokenizer.pad_token_id


def test_retrieved_code_stands_behind_the_text(method, corpus):
    (plain, _) = method.generate(QUERIES, max_new_tokens=4)
    (with_code, _) = method.generate(QUERIES, max_new_tokens=4, corpus=corpus, num_retrieved=2)
    nearest = next(iter(method.search(QUERIES, corpus=corpus, top=2, rerank=0)))["results"]
    assert with_code["retrieved"] == [result["code"] for result in nearest]
    joined = "\n".join([QUERIES[0].text, *with_code["retrieved"]])
    (wanted,) = method.generate(CodeT5p.read([{"text": joined}]), max_new_tokens=4)
    assert with_code["text"] == wanted["text"]
    assert plain["source"] == with_code["source"]


def test_what_is_written_is_what_the_example_lacks(method):
    rows = [{"text": "add"}, {"code": "x = 1"}, {"instruction": "Add.", "output": ""}]
    answers = method.generate(CodeT5p.read(rows), max_new_tokens=2)
    assert [answer["to"] for answer in answers] == ["code", "text", "response"]


def test_completions_are_drawn_anew_by_seed_and_cut(method):
    codes = CodeT5p.read([{"code": "def add_width(width,"}, {"code": "d"}])
    one, other = (
        list(method.complete(codes, num_samples=3, temperature=1.0, seed=seed)) for seed in (0, 1)
    )
    assert one != other
    assert [len(row["texts"]) for row in one] == [3, 3]
    shorter = method.complete(codes, max_new_tokens=2)
    longer = method.complete(codes, max_new_tokens=20)
    for few, many in zip(shorter, longer, strict=True):
        assert len(few["text"]) <= len(many["text"])


@pytest.mark.parametrize(
    ("use", "match"),
    [
        (lambda m, c: m.search(QUERIES, corpus=c, top=0), "top is at least 1"),
        (lambda m, c: m.search(CodeT5p.read([{"text": " "}]), corpus=c), "row 0 is empty"),
        (lambda m, c: m.match(QUERIES), "row 0 is no pair"),
        (lambda m, c: m.generate(QUERIES, to="text"), "row 0 has no 'code'"),
        (lambda m, c: m.generate(QUERIES, num_samples=2), "temperature above 0"),
        (lambda m, c: m.complete(QUERIES), "row 0 has no 'code'"),
        (lambda m, c: m.complete(PAIRS, num_samples=2), "temperature above 0"),
    ],
)
def test_what_cannot_be_done_names_the_mend(method, corpus, use, match):
    with pytest.raises(UserError, match=match):
        list(use(method, corpus))


def test_a_corpus_without_code_is_refused(method, tmp_path):
    path = tmp_path / "none.jsonl"
    path.write_text('{"text": "x"}\n')
    with pytest.raises(UserError, match="no rows with 'code'"):
        list(method.search(QUERIES, corpus=str(path)))


def test_instructions_are_tuned_on_the_response_only(tmp_path):
    rows = [{"instruction": f"Add {n}.", "input": "1", "output": f"{n} + 1"} for n in range(9)]
    data = CodeT5p.read(rows)
    made = CodeT5p.build(Config.tiny(), data=data)
    (stage,) = stages(made, Run(tmp_path, data, budget=Budget(2), quiet=True))
    assert stage.optim.lr == made.config.instruct_lr
    batch = stage.module.batch([stage.data[3]], torch.Generator())
    assert made.tokenizer.decode(batch["labels"][0], skip_special_tokens=True) == "3 + 1"


def test_special_tokens_written_in_code_are_text(method):
    code = "pads = '<pad>'\nends = '</s>'\n"
    pad = method.tokenizer.pad_token_id
    (row,) = encode_texts(method.tokenizer, [code], 48, plain=True)
    assert pad not in row
    assert method.tokenizer.decode(row, skip_special_tokens=True).strip() == code.strip()
    alone, together = method.encode([code]), method.encode([code, "x = 1\n" * 20])
    torch.testing.assert_close(alone[0], together[0], atol=1e-5, rtol=0)
