"""Two more trials: a model made deeper, and a model that reads further."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial.compare.trial import Arm, Context, Data, Trial
from pretrial.data.sources import load
from pretrial.errors import UserError
from pretrial.evaluate.perplexity import causal_nll
from pretrial.methods.text.yi.config import Config
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run

if TYPE_CHECKING:
    from pretrial.methods.text.yi import Yi

_DEEPEN_NOTES = (
    "The paper copies 16 of 32 layers of a 6 B model and trains on 800 B tokens; here the copies"
    " alone are trained for some steps, and the control trains the copied layers themselves.",
    "Without --model a model of 6 layers is trained first, 0.5 M parameters; --model smollm2 takes"
    " SmolLM2-135M, with --copy-layers 10.",
)
_LENGTHEN_NOTES = (
    "The paper trains Yi on 5 B tokens at 200,000 a window; here it is a model of 4 layers, trained"
    " at 128 tokens a window and then for some steps at 1,024.",
    "Needles are looked for in 1,024 tokens; a model so small and so little trained may find none,"
    " so what counts are bits a byte of long texts.",
)


def deepen_trial(*, data: str, model: str, copy_layers: int, steps: int, tiny: bool) -> Trial:
    """Does a deepened model go on from where it was, and does the choice of the block matter?

    Args:
        data: rows with `text`, or `code`, and the splits train and test.
        model: name or folder of the checkpoint to deepen; "" trains a small one first.
        copy_layers: that are copied; 0 takes a third.
        steps: of training the copies.
        tiny: networks and data small enough for a test.
    """
    base = replace(Config.tiny(), steps=("pretrain",)) if tiny else Config.small()
    base = replace(base, num_layers=3 if tiny else 6)
    number = copy_layers or (10 if model else base.num_layers // 3)
    # real checkpoints are large: four windows a step
    config = replace(base, steps=("deepen",), copy_layers=number, train_copies=True, batch_size=4)
    last = replace(config, copy_first=-2)
    arm = partial(Arm, source=model or None)
    made = partial(_data, data, 60 if tiny else 0)
    grown = partial(_Grown, source=model)
    return Trial(
        question="Does a model whose likest layers are copied lose little, and win it back in a few"
        " steps?",
        data=made,
        arms=(
            arm("yi", "deepened and trained on", "method", "yi", config),
            arm(
                "in-place",
                "the same layers trained, no copies",
                "baseline",
                "yi",
                replace(config, deepen_in_place=True),
            ),
            arm("original", "as it was", "control", "yi", config, trains=False),
            Arm("untrained", "deepened only", "control", run=grown(config), trains=False),
            Arm(
                "unlike",
                "deepened by the unlikest layers",
                "ablation",
                run=grown(last),
                trains=False,
            ),
        ),
        measure=_measure_bits,
        metric="bits_per_byte",
        direction="lower",
        budget=Budget(min(steps, 3) if tiny else steps, "steps"),
        prepare=None if model else partial(_pretrain, base, made, 3e3 if tiny else 4e5),
        claims=(
            ("yi", "untrained", "bits_per_byte", "lower"),
            ("yi", "in-place", "bits_per_byte", "lower"),
            ("untrained", "unlike", "bits_per_byte", "lower"),
        ),
        notes=_DEEPEN_NOTES,
    )


def lengthen_trial(*, data: str, steps: int, tiny: bool) -> Trial:
    """Does a raised base of the rotary positions help a model to read further?

    Args:
        data: rows with `text`, or `code`, and the splits train and test.
        steps: of training at the new length.
        tiny: networks and data small enough for a test.
    """
    base = replace(Config.tiny(), steps=("pretrain",)) if tiny else Config.small()
    base = replace(base, num_layers=2 if tiny else 4)
    long = 96 if tiny else 1024
    config = replace(base, steps=("lengthen",), long_length=long, batch_size=4)
    same = replace(config, long_base=config.rope_base)
    arm = partial(Arm, method="yi")
    made = partial(_data, data, 60 if tiny else 0)
    return Trial(
        question="Does a raised base of the rotary positions, and a little training, let a model"
        " read texts eight times as long?",
        data=made,
        arms=(
            arm("yi", "raised base, trained", "method", config=config),
            arm("same-base", "the old base, trained", "baseline", config=same),
            Arm("untrained", "raised base only", "control", run=_Grown(config), trains=False),
            Arm("original", "the old base only", "control", run=_Grown(same), trains=False),
        ),
        measure=partial(_measure_long, long, 1 if tiny else 10),
        metric="long_bits_per_byte",
        direction="lower",
        budget=Budget(min(steps, 3) if tiny else steps, "steps"),
        prepare=partial(_pretrain, base, made, 3e3 if tiny else 4e5),
        claims=(
            ("yi", "same-base", "long_bits_per_byte", "lower"),
            ("yi", "untrained", "long_bits_per_byte", "lower"),
            ("same-base", "original", "long_bits_per_byte", "lower"),
        ),
        notes=_LENGTHEN_NOTES,
    )


def _data(source: str, limit: int) -> Data:
    """Texts to train on, and texts of other modules."""
    train, test = (
        [{"text": row.get("text") or row["code"]} for row in load(f"{source}?split={split}")]
        for split in ("train", "test")
    )
    train, test = train[: limit or None], test[: limit or 300]
    if len(train) < 20 or not test:
        raise UserError(f"{source} has {len(train)} texts to train on: give more")
    return Data(train=train, test=[row["text"] for row in test], name=source)


def _pretrain(
    config: Config, made: Callable[[], Data], tokens: float, seed: int, folder: Path
) -> Spent:
    """The model that all arms begin with."""
    from pretrial.methods.text.yi import Yi

    run = Run(folder / "run", made().train, budget=Budget(tokens, "tokens"), seed=seed, quiet=True)
    method = Yi.build(config, data=run.data)
    train(method, run)
    run.close()
    method.save(folder)
    return run.spent


@dataclass(frozen=True)
class _Grown:
    """Does what a step does to a model before it trains it.

    Attributes:
        config: of one step.
        source: the checkpoint; "" takes the prepared one.
    """

    config: Config
    source: str = ""

    def __call__(self, context: Context) -> Yi:
        from pretrial.methods.text.yi import Yi

        run = context.run
        run.limit = Budget(1, "steps")  # that the stage names and nobody spends
        run.data = context.data.train
        method = Yi.build(self.config, source=self.source or context.prepared)
        next(iter(method.stages(run)))
        return method.eval()


def _measure_bits(method: Yi, data: Data, seed: int) -> dict[str, list[float]]:
    """Bits per byte of each text."""
    nats, sizes = method.nll(data.test)
    pairs = zip(nats, sizes, strict=True)
    return {"bits_per_byte": [nat / math.log(2) / size for nat, size in pairs]}


def _measure_long(length: int, needles: int, method: Yi, data: Data, seed: int) -> dict[str, Any]:
    """Bits per byte of texts joined until they fill the long window, and needles found in it."""
    network, tokenizer = method.language_model.network, method.tokenizer
    joined, texts = "", []
    for text in data.test:
        joined += f"{text}\n\n"
        if len(tokenizer(joined)["input_ids"]) >= length:
            texts.append(joined)
            joined = ""
    nats, sizes = causal_nll(network, tokenizer, texts[:30], max_length=length)
    network.config.max_position_embeddings = length
    found = method.needle(
        [{"text": text} for text in data.test], lengths=(length,), num_trials=needles, seed=seed
    )
    rows = list(found)
    return {
        "long_bits_per_byte": [n / math.log(2) / s for n, s in zip(nats, sizes, strict=True)],
        "needle_accuracy": sum(row["accuracy"] for row in rows) / len(rows),
    }
