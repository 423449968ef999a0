"""Two more trials: a model made deeper, and a model that reads further."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrial.compare.kit.warm_starts import warm_start
from pretrial.compare.trial import Arm, Context, Data, Gate, Role, Trial, Tuning
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, spread
from pretrial.errors import UserError
from pretrial.evaluate.perplexity import bits_per_byte
from pretrial.methods.text.yi.config import Config
from pretrial.train.budget import Budget, Spent

if TYPE_CHECKING:
    from pretrial.methods.text.yi import Yi

_CODE = "builtin:stdlib-code"
_DEEPEN_NOTES = (
    "The paper copies 16 of 32 layers of a 6 B model and trains on 800 B tokens; here the copies"
    " alone are trained for some steps, and the baseline trains the layers that were copied.",
    "Without --model a model of 6 layers is trained first, 0.5 M parameters; --model smollm2 takes"
    " SmolLM2-135M, tuned to dialogues, with --copy-layers 10 of 30, windows of 256 tokens and two"
    " a step. Seeds are then of the data's order and of the texts that layers are judged on.",
    "A checkpoint is deepened at learning rates around 1e-4, the small model around 1e-3.",
)
_LENGTHEN_NOTES = (
    "The paper trains Yi on 5 B tokens at 200,000 a window; here it is a model of 4 layers, trained"
    " on 1.5 M tokens at 128 a window and then for some steps at 1,024.",
    "What counts are bits a token at places that the first training never saw, 128 to 1,023, of"
    " texts that are long enough; rows of one module are one text. bits_to_N are of the places up"
    " to N from the bound before it.",
    "needle_L_at_D is the share of needles found in L tokens at depth D; a guess finds one in ten.",
)
_DEPTHS = (0.0, 0.5, 1.0)


def deepen_trial(
    *, data: str, model: str, copy_layers: int, blocks: Sequence[int], steps: int, tiny: bool
) -> Trial:
    """Does a deepened model go on from where it was, and does the choice of the block matter?

    Args:
        data: rows with `text`, or `code`, and the splits train and test; "" is code.
        model: name or folder of the checkpoint to deepen; "" trains a small one first.
        copy_layers: that are copied; 0 takes a third.
        blocks: first layers of further blocks, which are copied without training.
        steps: of training the copies.
        tiny: networks and data small enough for a test.
    """
    base = replace(Config.tiny(), steps=("pretrain",)) if tiny else Config.small()
    base = replace(base, num_layers=3 if tiny else 6)
    number = copy_layers or (10 if model else base.num_layers // 3)
    config = replace(base, steps=("deepen",), copy_layers=number, train_copies=True, batch_size=4)
    if model:  # real checkpoints are large
        config = replace(config, max_length=256, batch_size=2, deepen_lr=1e-4)
    made = partial(_data, data or _CODE, 60 if tiny else 0, 20 if model else 300)
    return Trial(
        name="deepen",
        question="Is a model whose likest layers are copied, and the copies trained, better than"
        " one whose same layers are trained as long without copies?",
        data=made,
        arms=_deepened(config, model, blocks),
        measure=_measure_bits,
        metric="bits_per_byte",
        direction="lower",
        useful=0.005,
        relative=True,
        tuning=Tuning((5e-5, 1e-4, 2e-4) if model else (5e-4, 1e-3, 2e-3), "deepen_lr"),
        budget=Budget(min(steps, 3) if tiny else steps, "steps"),
        prepare=None if model else _first(base, made, 3e3 if tiny else 4e5),
        claims=(
            ("yi", "in-place", "bits_per_byte", "lower"),
            ("yi", "untrained", "bits_per_byte", "lower"),
            ("untrained", "unlike", "bits_per_byte", "lower"),
            ("yi", "random", "bits_per_byte", "lower"),
        ),
        notes=_DEEPEN_NOTES,
    )


def _deepened(config: Config, model: str, blocks: Sequence[int]) -> tuple[Arm, ...]:
    arm = partial(Arm, method="yi", source=model or None)
    bare = partial(_grown, config=config, source=model)
    same = replace(config, deepen_in_place=True)
    chance = replace(config, copy_first=-3)
    return (
        arm("yi", "deepened, copies trained", "method", config=config),
        arm("in-place", "the same layers trained, no copies", "baseline", config=same),
        arm("original", "as it was", "control", config=config, trains=False),
        bare("untrained", "deepened only", "control"),
        bare("unlike", "unlikest layers copied", "control", first=-2),
        arm("random", "random layers, copies trained", "ablation", config=chance, default=False),
        *(bare(f"from-{n}", f"layers from {n} copied", "ablation", first=n) for n in blocks),
    )


def _grown(
    name: str, label: str, role: Role, config: Config, source: str = "", first: int = -1
) -> Arm:
    """An arm of a model that is grown and not trained."""
    run = _Grown(replace(config, copy_first=first), source)
    return Arm(name, label, role, run=run, trains=False)


def lengthen_trial(*, data: str, steps: int, tiny: bool) -> Trial:
    """Does a raised base of the rotary positions help a model to read further?

    Args:
        data: rows with `text`, or `code`, and the splits train and test; "" is code.
        steps: of training at the new length.
        tiny: networks and data small enough for a test.
    """
    base = replace(Config.tiny(), steps=("pretrain",)) if tiny else Config.small()
    base = replace(base, num_layers=2 if tiny else 4)
    lengths = (96,) if tiny else (128, 512, 1024)
    config = replace(base, steps=("lengthen",), long_length=lengths[-1], batch_size=8, needles=0)
    same = replace(config, long_base=config.rope_base)
    arm = partial(Arm, method="yi")
    made = partial(_data, data or _CODE, 60 if tiny else 0, 0, whole=not tiny)
    return Trial(
        name="lengthen",
        question="Does a raised base of the rotary positions, and a little training, let a model"
        " read texts eight times as long?",
        data=made,
        arms=(
            arm("yi", "raised base, trained", "method", config=config),
            arm("same-base", "the old base, trained", "baseline", config=same),
            _grown("untrained", "raised base only", "control", config),
            _grown("original", "the old base only", "control", same),
        ),
        measure=partial(_measure_long, base.max_length, lengths, 1 if tiny else 10),
        metric="far_bits",
        direction="lower",
        useful=0.01,
        relative=True,
        gate=Gate(("original",)),
        tuning=Tuning((5e-4, 1e-3, 2e-3), "lengthen_lr"),
        budget=Budget(min(steps, 3) if tiny else steps, "steps"),
        prepare=_first(base, made, 3e3 if tiny else 1.5e6),
        claims=(
            ("yi", "same-base", "far_bits", "lower"),
            ("yi", "same-base", "needle_accuracy", "higher"),
            ("yi", "untrained", "far_bits", "lower"),
        ),
        notes=_LENGTHEN_NOTES,
    )


def _data(source: str, limit: int, num_test: int, whole: bool = False) -> Data:
    """Texts to train on, and texts of other modules.

    Args:
        source: of rows with the splits train and test.
        limit: of texts for training; 0 is all.
        num_test: of texts for the test, evenly spread; 0 is all.
        whole: rows of one `module` are joined.
    """
    train, test = (_texts(load(f"{source}?split={split}"), whole) for split in ("train", "test"))
    train, test = train[: limit or None], list(spread(test[: limit or None], num_test))
    if len(train) < 20 or not test:
        raise UserError(f"{source} has {len(train)} texts to train on: give more")
    return Data(train=[{"text": text} for text in train], test=test, name=source)


def _texts(rows: Sequence[Row], whole: bool) -> list[str]:
    texts = [row.get("text") or row["code"] for row in rows]
    if not whole or not all("module" in row for row in rows):
        return texts
    joined: dict[str, list[str]] = {}
    for row, text in zip(rows, texts, strict=True):
        joined.setdefault(row["module"], []).append(text)
    return ["\n\n".join(parts) for parts in joined.values()]


def _first(config: Config, made: Callable[[], Data], tokens: float) -> Callable[..., Spent]:
    """Trains the model that all arms begin with."""
    return partial(warm_start, "yi", config, made, Budget(tokens, "tokens"))


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

        run = context.run.over(context.data.train, context.run.held_out)
        run.limit = Budget(1, "steps")  # that the stage names and nobody spends
        method = Yi.build(self.config, source=self.source or context.prepared)
        next(iter(method.stages(run)))
        return method.eval()


def _measure_bits(method: Yi, data: Data, seed: int) -> dict[str, Any]:
    """Bits per byte of each text, and the cosine of the block where one was chosen."""
    found: dict[str, Any] = {"bits_per_byte": bits_per_byte(method, data.test)}
    if method.cosine is not None:
        found["block_cosine"] = method.cosine
    return found


def _measure_long(
    short: int, lengths: Sequence[int], num_needles: int, method: Yi, data: Data, seed: int
) -> dict[str, Any]:
    """Bits a token by place in windows of the last length, and needles by length and depth.

    A window of the first training had `short` tokens.
    """
    length = lengths[-1]
    bits = _token_bits(method, data.test, length)  # [texts, length]
    found: dict[str, Any] = {
        "far_bits": bits[:, short:].mean(1).tolist(),
        "near_bits": bits[:, :short].mean(1).tolist(),
    }
    start = short
    while start < length:
        end = min(2 * start, length)
        found[f"bits_to_{end}"] = bits[:, start:end].mean(1).tolist()
        start = end
    cells = list(
        method.needle(
            [{"text": text} for text in data.test],
            lengths=tuple(lengths),
            depths=_DEPTHS,
            num_trials=num_needles,
            seed=seed,
        )
    )
    found["needle_accuracy"] = sum(cell["accuracy"] for cell in cells) / len(cells)
    for cell in cells:
        found[f"needle_{cell['length']:g}_at_{cell['depth']:g}"] = cell["accuracy"]
    return found


@torch.no_grad()
def _token_bits(method: Yi, texts: Sequence[str], length: int) -> Tensor:
    """Bits of each token at the beginnings of the texts that are long enough [texts, length]."""
    network, end = method.language_model.network, method.language_model.end
    windows = [[end, *method.tokenizer(text)["input_ids"][:length]] for text in texts]
    windows = [window for window in windows if len(window) > length]
    if not windows:
        raise UserError(f"no text of the test has {length} tokens: give longer ones")
    ids = torch.tensor(windows, device=network.device)
    rows = []
    for row in ids:
        logits = network(input_ids=row[None, :-1]).logits[0]
        rows.append(F.cross_entropy(logits.float(), row[1:], reduction="none") / math.log(2))
    return torch.stack(rows)
