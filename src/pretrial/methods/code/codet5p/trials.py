"""CodeT5+ on trial: what the losses of the second stage and the ways of the first are good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from pretrial.compare.kit import search_lists
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.search_lists import Lists, lists_of
from pretrial.compare.kit.unigrams import frequency_arm, say_frequencies
from pretrial.compare.kit.warm_starts import untrained, warm_start
from pretrial.compare.trial import Arm, Context, Data, Gate, Items, Trial, Tuning
from pretrial.data.builtin.catalogue import builtin
from pretrial.data.windows.packing import blocks
from pretrial.evaluate.retrieval import Search, ranking_metrics
from pretrial.methods.code.codet5p.abilities.retrieval import embeddings, pair_logits
from pretrial.methods.code.codet5p.config import Config, Objective
from pretrial.methods.code.codet5p.data import without_docstring
from pretrial.methods.code.codet5p.stages.unimodal import Unimodal
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses

_MIN_WORDS = 3
_FIRST_STEPS = 200  # of the first stage
WAYS: tuple[Objective, ...] = ("span", "prefix", "decoder")


def trial(
    *,
    about: Literal["search", "objectives"] = "search",
    num_queries: int = 600,
    steps: int = 0,
    tiny: bool = False,
) -> Trial:
    """Puts CodeT5+ on trial on the functions of Python's standard library.

    Args:
        about: the losses of the second stage, or the ways of the first.
        num_queries: most docstrings that are looked up, or functions that are written; as many of
            other modules settle how words and model are weighed.
        steps: of training, in every arm; 0 is the trial's own number.
        tiny: networks small enough for a test.
    """
    sizes: dict[str, Any] = {
        "vocab_size": 2000,
        "width": 64,
        "embed_width": 64,
        "feed_forward": 192,
    }
    config = replace(Config.small(), max_text=24, **sizes)
    if tiny:
        config, num_queries = Config.tiny(), 24
    if about == "objectives":
        return _objectives(config, num_queries, steps or (3 if tiny else 200))
    return _search(config, num_queries, steps or (3 if tiny else 400), 3 if tiny else _FIRST_STEPS)


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
            found[text] = {"text": text, "code": code, "module": row["module"]}
            codes.add(code)
    return list(found.values())


def _data(num_queries: int) -> Data:
    """Pairs to train on, and lists of functions of two other sets of modules."""
    train = pairs("train")
    halves = [lists_of(pairs(split)[:num_queries], train) for split in ("valid", "test")]
    name = f"docstrings and functions of the standard library, {len(halves[1].texts)} for test"
    return Data(train, test=halves, name=name)


def scores(method: Any, lists: Lists) -> Tensor:
    """Cosines of embeddings and, of a method that matches, its logits too [1 or 2, N, L]."""
    config, whole = method.config, (method.network, method.tokenizer)
    found = [lists.listed(_cosines(method, lists))]
    if config.matching:
        size = lists.candidates.shape[1]
        texts = [text for text in lists.texts for _ in range(size)]
        codes = [lists.codes[place] for place in lists.candidates.flatten()]
        logits = pair_logits(*whole, texts, codes, config.max_text, config.max_code)
        found.append(logits.reshape(-1, size).double())
    return torch.stack(found)


def _cosines(method: Any, lists: Lists) -> Any:
    """Of all texts with all codes [N, N]."""
    whole, config = (method.network, method.tokenizer), method.config
    texts = embeddings(*whole, lists.texts, config.max_text)
    return (texts @ embeddings(*whole, lists.codes, config.max_code).T).double().numpy()


def measure(method: Any, found: Data, seed: int) -> dict[str, Items]:
    """See `search_lists.measure`; "mrr" is that of embeddings alone, among all test functions.

    Args:
        method: a CodeT5p in eval mode, or None for words alone.
        found: with the lists.
        seed: not used.
    """
    test: Lists = found.test[1]
    if method is None:
        return search_lists.measure(None, found.test)
    search = Search(test.texts, test.codes, [[place] for place in range(len(test.texts))])
    among_all = ranking_metrics(_cosines(method, test), search)["mrr"]
    values = search_lists.measure(partial(scores, method), found.test)
    return {**values, "mrr": Items(among_all, test.groups)}


def _search(config: Config, num_queries: int, steps: int, first_steps: int) -> Trial:
    """The whole second stage against its contrast alone, after one first stage."""
    full = replace(config, stages=("bimodal",))
    contrast = replace(full, matching=False, generation=False)
    first = replace(config, stages=("unimodal",))
    data = partial(_data, num_queries)
    ablation = ablations("codet5p", full)
    metric = "search_nll"
    return Trial(
        question="Do matching and writing, learnt beside contrast from the same pairs of text and"
        " code, make the search for functions better than contrast alone?",
        data=data,
        arms=(
            Arm("codet5p", "contrast, matching and writing", "method", "codet5p", full),
            Arm("contrast", "contrast alone", "baseline", "codet5p", contrast),
            Arm("words", "BM25 and TF-IDF", "control", run=_words, trains=False),
            Arm("before", "the first stage", "control", "codet5p", contrast, trains=False),
            Arm(
                "random",
                "random weights",
                "control",
                run=partial(untrained, "codet5p", contrast),
                trains=False,
            ),
            ablation("no-matching", "no matching", matching=False),
            ablation("no-writing", "no writing", generation=False),
            ablation("even", "no hard negatives", hard_negatives=False),
            ablation("in-batch", "no queue", queue_size=0),
        ),
        measure=measure,
        metric=metric,
        direction="lower",
        useful=0.02,
        gate=Gate(("words", "before", "random")),
        tuning=Tuning((1e-3, 2e-3, 4e-3), "pair_lr"),
        first_seed=100,
        packages=search_lists.NEEDED,
        budget=Budget(steps),
        claims=(
            ("codet5p", "contrast", metric, "lower"),
            ("codet5p", "contrast", "search_mrr", "higher"),
            ("codet5p", "contrast", "mrr", "higher"),
            *(("codet5p", name, metric, "lower") for name in ("no-matching", "no-writing")),
            *(("codet5p", name, metric, "lower") for name in ("even", "in-batch")),
        ),
        prepare=partial(warm_start, "codet5p", first, data, Budget(first_steps)),
        notes=_SEARCH_NOTES,
    )


def _words(context: Context) -> None:
    """Nothing beside the words."""


def _objectives(config: Config, num_functions: int, steps: int) -> Trial:
    """The mixture against each way alone, at equal tokens, measured in all three ways."""
    mixed = replace(config, stages=("unimodal",), warm_ratio=0.0)

    def data() -> Data:
        rows = [{"code": row["code"]} for row in builtin("stdlib-code", split="train")]
        test = [row["code"] for row in builtin("stdlib-code", split="test")][:num_functions]
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
        name="objectives",
        question="Is one model of three objectives near the best in each mode, where those of one"
        " objective are poor outside their own?",
        data=data,
        arms=(
            Arm("mixture", "all three", "method", "codet5p", mixed),
            Arm("span", "spans alone", "baseline", "codet5p", alone["span"]),
            Arm("prefix", "prefixes alone", "control", "codet5p", alone["prefix"]),
            Arm("decoder", "decoder alone", "control", "codet5p", alone["decoder"]),
            frequency_arm(partial(_frequencies, mixed)),
        ),
        measure=measure,
        metric="mean loss",
        direction="lower",
        useful=0.01,
        relative=True,
        gate=Gate(("frequencies",)),
        tuning=Tuning((1e-3, 2e-3, 4e-3)),
        budget=Budget(steps * mixed.batch_size * mixed.max_code, "tokens"),
        claims=tuple(("mixture", way, "mean loss", "lower") for way in WAYS),
        notes=(
            "Equal tokens, read and written; a way that reads less takes more steps for them.",
            "Losses in nats a token, on functions of unseen modules. On a pilot seed spans alone"
            " had a mean of 6.47, the frequencies of tokens 7.39.",
        ),
    )


def _frequencies(config: Config, context: Context) -> Any:
    """A network that says how frequent each token is."""
    method = untrained("codet5p", config, context)
    codes: Sequence[Mapping[str, str]] = context.data.train
    ids = method.tokenizer([row["code"] for row in codes], add_special_tokens=False)["input_ids"]
    say_frequencies(method.network, ids)
    return method


_SEARCH_NOTES = (
    "0.3 M parameters and 5,257 pairs, of which 24 and 40 tokens are read; the paper has 220 M and"
    " 1.9 million pairs. All arms of a seed go on from one first stage of 200 steps over the same"
    " codes, and then read as many pairs. Matching and writing take four times the time of contrast"
    " alone: see the seconds.",
    "A text is the first paragraph of a function's docstring, which is cut out of the function; it"
    " is to be told which of sixteen functions it belongs to. Functions keep their names, so that"
    " words go far: BM25 and TF-IDF have the right one on top in 76 of 100 lists. So a model is"
    " measured by what it adds to the words: search_nll is in nats, of scores whose weights are"
    " fitted on other modules (chance 2.77, words 0.927). The cosine and the matching logit have a"
    " weight each. own_nll and own_mrr are without the words; mrr is that of embeddings alone among"
    " all test functions, which counted in an earlier trial.",
    "Settled by the gate, with contrast alone on the two pilot seeds: at the middle learning rate"
    " it has 0.863 and 0.865, the first stage 0.929 and 0.927, random weights 0.925 and 0.929."
    " Tried and given up, since words won: MRR among 500 functions, where BM25 has 0.44 and"
    " embeddings had 0.18; a choice among the sixteen that BM25 finds best, which TF-IDF by itself"
    " made easier (2.24 nats) than contrast did (2.44); and nats a token of the docstring given its"
    " function, where writing alone had 4.47 after 300 steps, and counts of three tokens with a"
    " cache of the function's have 3.91.",
    "Mined at the temperature of the scores, 0.07, negatives left the matching at chance in an"
    " earlier trial; they are drawn at 0.5. The embeddings of tokens have twenty times the learning"
    " rate of all else, in all arms. Queue and momentum were not tuned.",
)
