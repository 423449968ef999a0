"""CodeT5+ on trial: finding functions by their docstrings, and what each objective is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from pretrial.compare.kit.arms import ablations
from pretrial.compare.trial import Arm, Data, Trial
from pretrial.data.builtin.catalogue import builtin
from pretrial.data.windows.packing import blocks
from pretrial.evaluate.index import Index
from pretrial.evaluate.retrieval import Search, bm25_scores, ranking_metrics
from pretrial.methods.code.codet5p.abilities.retrieval import ranked
from pretrial.methods.code.codet5p.config import Config, Objective
from pretrial.methods.code.codet5p.data import without_docstring
from pretrial.methods.code.codet5p.stages.unimodal import Unimodal
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses

_MIN_WORDS = 3
_BM25 = "bm25"
_RETRIEVAL_NOTES = (
    "0.8 M parameters from random weights, without the first stage, and 5,257 pairs, of"
    " which 16 and 40 tokens are read; the paper has 220 M and 1.9 million pairs.",
    "Equal steps over equal pairs: matching costs more time a step, see the seconds.",
    "Settings were tried with one seed, on functions that are not in this test: learning"
    " rates of 1e-3 to 1e-2 for all weights, of which 1e-3 was best, then twenty times that"
    " for the embeddings, alike for all arms.",
    "Mined at the temperature of the scores, 0.07, negatives left the matching at chance"
    " after 400 steps; they are drawn at 0.5. Queue and momentum were not tuned.",
    "Texts are first paragraphs of docstrings, which are cut out of the functions; the"
    " functions keep their names, so that words alone go far.",
    "Made again to add the ablations; the arms of the first record repeat to the digit.",
)
WAYS: tuple[Objective, ...] = ("span", "prefix", "decoder")


def trial(
    *,
    about: Literal["retrieval", "objectives"] = "retrieval",
    num_candidates: int = 500,
    num_queries: int = 200,
    steps: int = 0,
    rerank: int = 32,
    tiny: bool = False,
) -> Trial:
    """Puts CodeT5+ on trial on the functions of Python's standard library.

    Args:
        about: the parts of retrieval, or the ways of the first stage.
        num_candidates: functions of unseen modules that are searched, or written.
        num_queries: docstrings that are looked up.
        steps: of training, in every arm; 0 is the trial's own number.
        rerank: candidates that are matched.
        tiny: networks small enough for a test.
    """
    config = Config.tiny() if tiny else Config.small()
    if about == "objectives":
        return _objectives(config, num_candidates, steps or 200)
    return _retrieval(config, num_candidates, num_queries, steps or 600, rerank)


def pairs(split: str) -> list[dict[str, str]]:
    """First paragraphs of docstrings and their functions without them, of one split by module.

    Of functions with the same text, and of texts with the same function, the first is kept.
    """
    found: dict[str, dict[str, str]] = {}
    codes = set()
    for row in builtin("stdlib-code", split=split):
        text = " ".join(row["docstring"].split("\n\n")[0].split())
        if len(text.split()) < _MIN_WORDS:
            continue
        code = without_docstring(row["code"], row["docstring"])
        if code != row["code"] and text not in found and code not in codes:
            found[text] = {"text": text, "code": code}
            codes.add(code)
    return list(found.values())


def search_of(rows: Sequence[Mapping[str, str]], num_queries: int) -> Search:
    """The first texts, looked up among the codes of all rows."""
    texts, codes = [row["text"] for row in rows], [row["code"] for row in rows]
    return Search(texts[:num_queries], codes, [[place] for place in range(num_queries)])


def _retrieval(
    config: Config, num_candidates: int, num_queries: int, steps: int, rerank: int
) -> Trial:
    """In-batch negatives, a queue, matching, at equal steps; words alone beside them."""
    full = replace(config, stages=("bimodal",), generation=False)
    queue = replace(full, matching=False)
    batch = replace(queue, queue_size=0)

    def data() -> Data:
        test = pairs("valid")[:num_candidates]
        name = f"docstrings and functions of the standard library, {len(test)} of unseen modules"
        return Data(pairs("train"), test=search_of(test, num_queries), name=name)

    def measure(method: Any, found: Data, seed: int) -> dict[str, list[float]]:
        search: Search = found.test
        if method == _BM25:
            return ranking_metrics(bm25_scores(search), search)
        right = Index.of(method.encode(search.documents))
        by_cosine = _scores(method, search, right, 0)
        metrics = ranking_metrics(by_cosine, search)
        metrics["mrr by embedding"] = metrics["mrr"]
        if method.config.matching:
            metrics |= ranking_metrics(_scores(method, search, right, rerank), search)
        return metrics

    ablation = ablations("codet5p", full)
    return Trial(
        question="Does re-ranking by a matching decoder better the search by embeddings, and does a"
        " queue of negatives better the embeddings, at equal steps?",
        data=data,
        arms=(
            Arm("matching", "queue and matching", "method", "codet5p", full),
            Arm("queue", "momentum encoder and queue", "baseline", "codet5p", queue),
            Arm("in-batch", "negatives of the batch", "control", "codet5p", batch),
            Arm("bm25", "BM25", "control", run=lambda context: _BM25, trains=False),
            Arm("random", "random weights", "control", "codet5p", batch, trains=False),
            ablation("even", "no hard negatives", hard_negatives=False),
            ablation("match-in-batch", "matching, no queue", queue_size=0),
            ablation("generation", "and generation", generation=True),
        ),
        measure=measure,
        metric="mrr",
        direction="higher",
        packages=("bm25s",),
        budget=Budget(steps),
        claims=(
            ("matching", "queue", "mrr", "higher"),
            ("queue", "in-batch", "mrr", "higher"),
            ("matching", "even", "mrr", "higher"),
        ),
        notes=_RETRIEVAL_NOTES,
    )


def _scores(method: Any, search: Search, index: Index, rerank: int) -> np.ndarray:
    """[queries, documents] of a search; what was not matched stays below what was."""
    lengths = method.config.max_text, method.config.max_code
    scores = np.full((len(search.queries), len(search.documents)), -np.inf)
    found = ranked(
        method.network,
        method.tokenizer,
        search.queries,
        index,
        search.documents,
        lengths,
        len(search.documents),
        rerank,
    )
    for row, results in zip(scores, found, strict=True):
        for rank, each in enumerate(results):
            row[each["place"]] = -rank
    return scores


def _objectives(config: Config, num_candidates: int, steps: int) -> Trial:
    """The mixture against each way alone, at equal tokens, measured in all three ways."""
    mixed = replace(config, stages=("unimodal",), warm_ratio=0.0)

    def data() -> Data:
        rows = [{"code": row["code"]} for row in builtin("stdlib-code", split="train")]
        test = [row["code"] for row in builtin("stdlib-code", split="test")][:num_candidates]
        return Data(rows, test=test, name="functions of the standard library, by module")

    @torch.no_grad()
    def measure(method: Any, found: Data, seed: int) -> dict[str, float]:
        values = {}
        ids = method.tokenizer(found.test, add_special_tokens=False)["input_ids"]
        rows = list(blocks(ids, method.config.max_code - 2, method.tokenizer.eos_token_id))
        for way in WAYS:
            part = Unimodal(method.network, method.tokenizer, method.config, (way,)).eval()
            values[f"{way} loss"] = held_out_losses(part, rows, method.config.batch_size)["loss"]
        return values | {"mean loss": sum(values.values()) / len(values)}

    alone = {way: replace(mixed, objectives=(way,)) for way in WAYS}
    return Trial(
        question="Is one model of three objectives near the best in each mode, where those of one"
        " objective are poor outside their own?",
        data=data,
        arms=(
            Arm("mixture", "all three", "method", "codet5p", mixed),
            Arm("span", "spans alone", "baseline", "codet5p", alone["span"]),
            Arm("prefix", "prefixes alone", "control", "codet5p", alone["prefix"]),
            Arm("decoder", "decoder alone", "control", "codet5p", alone["decoder"]),
        ),
        measure=measure,
        metric="mean loss",
        direction="lower",
        budget=Budget(steps * mixed.batch_size * mixed.max_code, "tokens"),
        claims=tuple(("mixture", way, "mean loss", "lower") for way in WAYS),
        notes=(
            "Equal tokens, read and written; a way that reads less takes more steps for them.",
            "Losses in nats a token, on functions of unseen modules.",
        ),
    )
