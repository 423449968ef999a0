"""The trial: from a function to the first sentence of its docstring."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pretrial.code_views import view
from pretrial.compare.kit.unigrams import frequency_arm, say_frequencies
from pretrial.compare.trial import Arm, Context, Data, Gate, Role, Trial, Tuning
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, require
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.generation import exact_match, subtoken_f1
from pretrial.methods.text.return_of_encoder.config import Config
from pretrial.methods.text.return_of_encoder.trials.speed import speed_trial
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run

if TYPE_CHECKING:
    from pretrial.methods.text.return_of_encoder import ReturnOfEncoder

_TEACHER = "teacher"


def trial(
    *,
    which: Literal["quality", "speed"] = "quality",
    data: str = "builtin:stdlib-code",
    num_test: int = 400,
    max_characters: int = 200,
    teacher_flops: float = 1e12,
    tiny: bool = False,
) -> Trial:
    """Encoder-decoder against decoder-only, and what a teacher adds, at equal work of the student.

    Args:
        which: what counts: the answers' quality, or how fast they are written, of models of 10 M
            parameters without any training.
        data: rows with `code`, `docstring` and `module`.
        num_test: functions to measure on, of modules that are not trained on.
        max_characters: longer functions are left out.
        teacher_flops: what the teacher, which the arms share, is trained for.
        tiny: networks and data small enough for a test.
    """
    config = Config.tiny() if tiny else Config.small()
    config = replace(config, teacher="", teacher_ratio=0.0, teacher_counts=False)
    if tiny:
        num_test, teacher_flops = min(num_test, 8), min(teacher_flops, 1e8)

    made = partial(_data, data, num_test, max_characters, 200 if tiny else 0)
    if which == "speed":
        return speed_trial(made, tiny)
    return Trial(
        question="Does an encoder-decoder learn to describe a function better than a decoder-only"
        " model of as many parameters, and does a teacher help it, at equal FLOPs of the student?",
        data=made,
        arms=_arms(config),
        measure=_measure,
        metric="target_nll",
        direction="lower",
        useful=0.01,
        relative=True,
        gate=Gate(("frequencies",)),
        tuning=Tuning((1e-3, 2e-3, 4e-3)),
        budget=Budget(1e8 if tiny else 5e11, "flops"),
        counted=("train",),
        prepare=partial(_train_teacher, config.decoder_only(), made, teacher_flops),
        claims=(
            ("labels", "decoder-only", "target_nll", "lower"),
            ("labels", "decoder-only", "token_f1", "higher"),
            ("gold-answers", "labels", "target_nll", "lower"),
            ("own-answers", "labels", "target_nll", "lower"),
            ("own-answers", "gold-answers", "target_nll", "lower"),
        ),
        notes=_NOTES,
    )


def _arms(config: Config) -> tuple[Arm, ...]:
    """Students with a teacher and without, and a decoder-only model."""

    def arm(name: str, label: str, role: Role, made: Config, taught: bool = True) -> Arm:
        return Arm(name, label, role, run=_Training(made, taught), default=role != "ablation")

    total = config.num_encoder_layers + config.num_decoder_layers

    def split(encoder: int) -> Config:
        return replace(config, num_encoder_layers=encoder, num_decoder_layers=total - encoder)

    gold, alone = replace(config, answers="gold"), partial(arm, taught=False)
    half, whole = (replace(config, kd_weight=weight) for weight in (0.5, 1.0))
    return (
        arm("own-answers", "taught on its own answers", "method", config),
        arm("gold-answers", "taught on gold answers", "method", gold),
        alone("labels", "encoder-decoder, labels alone", "method", config),
        alone("decoder-only", "decoder-only, labels alone", "baseline", config.decoder_only()),
        frequency_arm(partial(_count, config.decoder_only())),
        alone("half", "half of the layers in the encoder", "ablation", split(total // 2)),
        alone("most", "most of the layers in the encoder", "ablation", split(total - 1)),
        arm("kd-50", "half of the loss from the teacher", "ablation", half),
        arm("kd-100", "no labels", "ablation", whole),
    )


_NOTES = (
    "0.4 M parameters and 3,000 short functions; the paper has 330 M parameters.",
    "Equal are the FLOPs of the student's own training, as in the paper. What the teacher cost to"
    " train and to ask, and the drawing of answers, stands beside them in the record:"
    " `teacher_counts=True` would take the latter two from the budget.",
    "The teacher is the decoder-only model of this trial, trained for twice as many FLOPs; that of"
    " the paper has ten times the student's size, and knew the language before.",
    "The decoder-only model has the same layers without cross-attention, and wider feed-forward"
    " layers in its place: 0.1 % fewer parameters. It reads source and target as one text and"
    " learns from the target alone.",
    "The teacher's learning rate is 2e-3. Nats are -log of the probability of what stands there, a"
    " mean over the tokens of a sentence.",
    "The record is of a second run, with the ablations: the first one counted the teacher's"
    " parameters among those of the arms that it taught. Every metric of the four arms came out as"
    " before.",
)


def _data(source: str, num_test: int, max_characters: int, limit: int) -> Data:
    """Functions and what they are described as; whole modules apart."""
    rows = load(source)
    require(rows, ("code", "docstring", "module"))
    sides = split_by_group(rows, "module", {"train": 0.8, "test": 0.2})
    train = _described(sides["train"], max_characters, limit)
    test = _described(sides["test"], max_characters, num_test)
    if len(test) < num_test or not train:
        raise UserError(
            f"{source} gives {len(train)} functions to train on and {len(test)} of {num_test} to"
            " test on: give more data, or set --num-test or --max-characters"
        )
    return Data(train=train, test=test, name=f"{source}: first sentences of docstrings")


def _described(rows: Sequence[Row], max_characters: int, limit: int) -> list[Row]:
    """Code without its docstring, and the first sentence of that, in a drawn order."""
    order = list(rows)
    random.Random(0).shuffle(order)
    found: list[Row] = []
    for row in order:
        paragraph = " ".join(row["docstring"].strip().split("\n\n")[0].split())
        sentence = re.split(r"(?<=[.!?])\s", paragraph)[0]
        if len(sentence.split()) < 3 or (limit and len(found) == limit):
            continue
        code = view(row["code"]).without_comments(docstrings=True)
        if len(code) <= max_characters:
            found.append({"source": code, "target": sentence})
    return found


def _train_teacher(config: Config, made: Any, amount: float, seed: int, folder: Path) -> Spent:
    """A decoder-only model, trained longer than the arms, which share it."""
    from pretrial.methods.text.return_of_encoder import ReturnOfEncoder

    examples = ReturnOfEncoder.read(made().train)
    run = Run(folder / "run", examples, budget=Budget(amount, "flops"), seed=seed, quiet=True)
    method = ReturnOfEncoder.build(config, data=examples)
    train(method, run)
    run.close()
    method.save(folder / _TEACHER)
    return run.spent


@dataclass(frozen=True)
class _Training:
    """What an arm does.

    Attributes:
        config: of the student.
        taught: by the teacher that the arms share.
    """

    config: Config
    taught: bool

    def __call__(self, context: Context) -> ReturnOfEncoder:
        from pretrial.methods.text.return_of_encoder import ReturnOfEncoder

        config = replace(self.config, **context.chosen)
        run = context.run.over(ReturnOfEncoder.read(context.data.train), context.run.held_out)
        if self.taught:
            assert context.prepared is not None
            config = replace(config, teacher=str(context.prepared / _TEACHER))
        method = ReturnOfEncoder.build(config, data=run.data)
        train(method, run)
        return method.eval()


def _count(config: Config, context: Context) -> ReturnOfEncoder:
    """Says how frequent each token of targets is."""
    from pretrial.methods.text.return_of_encoder import ReturnOfEncoder

    examples = ReturnOfEncoder.read(context.data.train)
    method = ReturnOfEncoder.build(config, data=examples)
    say_frequencies(method.network, map(method.inputs.target, examples))
    return method.eval()


def _measure(method: ReturnOfEncoder, data: Data, seed: int) -> dict[str, list[float]]:
    """Nats a token of the right sentence, and how near what is written comes to it."""
    test = method.read(data.test)
    written = method.generate_texts([example.source for example in test])
    wanted = [row["target"] for row in data.test]
    pairs = list(zip(written, wanted, strict=True))
    return {
        "target_nll": method.nll(test),
        "token_f1": [subtoken_f1(*pair) for pair in pairs],
        "exact_match": [exact_match(*pair) for pair in pairs],
    }
