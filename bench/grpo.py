"""CodeRL against TRL's GRPOTrainer: one decoder, one warm start, one reward, equal seconds.

    python bench/grpo.py [--seconds 120] [--seeds 2]

Both learn from unit tests alone, without references, on one thread. The decoder (GPT-2 layout, 0.4
million parameters) has imitated the references of the generated problems before. The reward is
whether a program passes all tests, for TRL through `pretrial.rewards.CodeReward`, and programs run
in the same sandbox. GRPO is given each of a few settings, CodeRL its own. What counts is pass@1 on
unseen problems, and beside it how many programs are written, run and learnt from in a second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers.processors import TemplateProcessing
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from pretrial.compare.worker import write_json
from pretrial.data.problems.problem import Problem
from pretrial.environment import commit
from pretrial.evaluate.passk import measure_programs
from pretrial.methods.code.coderl import CodeRL, Config
from pretrial.methods.code.coderl.data.prompt import prompt
from pretrial.methods.code.coderl.trials.trial import problems_of, warm_config
from pretrial.rewards import CodeReward, as_json
from pretrial.sandbox import Limits
from pretrial.train.budget import Budget
from pretrial.train.log import read_rows
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.seeds import seed_everything

ROOT = Path(__file__).parents[1]
NUM_PROBLEMS, SOLVED, NUM_TEST = 2500, 400, 200
# Of GRPO; programs of a group, problems a step, learning rate
SETTINGS = (
    {"num_generations": 8, "problems": 8, "learning_rate": 3e-4},
    {"num_generations": 8, "problems": 8, "learning_rate": 1e-3},
    {"num_generations": 8, "problems": 16, "learning_rate": 1e-3},
    {"num_generations": 16, "problems": 8, "learning_rate": 1e-3},
    {"num_generations": 8, "problems": 8, "learning_rate": 3e-3},
)


def decoder() -> Config:
    """The settings of CodeRL around the decoder that both train."""
    sizes = {"architecture": "gpt2", "width": 96, "num_layers": 3, "feed_forward": 384}
    return replace(warm_config(SOLVED), **sizes)


def pass_at_1(method: CodeRL, problems: Sequence[Problem], seed: int) -> float:
    """On unseen problems, ten programs each."""
    found = measure_programs(method, problems, num_samples=10, k=(1,), seed=seed, seconds=2.0)
    return found.metrics["pass@1"].value


class StopAfter(TrainerCallback):
    """Ends a training of transformers after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began, self.steps = seconds, 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps = state.global_step
        control.should_training_stop = time.monotonic() - self.began > self.seconds


def grpo(
    warm: Path, problems: Sequence[Problem], seconds: float, seed: int, setting: Mapping[str, Any]
) -> tuple[CodeRL, dict[str, float]]:
    """What TRL makes of the warm start."""
    method = CodeRL.build(decoder(), source=warm)
    words = method.actor.tokenizer
    words.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A"
    )  # no end after a prompt
    rows = [{"prompt": prompt(p), "tests": as_json(p.tests)} for p in problems]
    size = setting["problems"] * setting["num_generations"]
    options = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=size,
        num_generations=setting["num_generations"],
        learning_rate=setting["learning_rate"],
        max_completion_length=method.config.max_target,
        temperature=0.8,
        beta=0.0,
        lr_scheduler_type="constant",
        max_steps=100_000,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        seed=seed,
    )
    stop = StopAfter(seconds)
    with CodeReward(workers=1, fence="none", limits=Limits(seconds=2.0)) as reward:
        trainer = GRPOTrainer(
            model=method.network,
            reward_funcs=reward,
            args=options,
            train_dataset=Dataset.from_list(rows),
            processing_class=words,
            callbacks=[stop],
        )
        trainer.train()
    took = time.monotonic() - stop.began
    method.network.eval()
    return CodeRL.build(decoder(), source=_saved(method)), {
        "steps": stop.steps,
        "programs_a_second": round(stop.steps * size / took, 1),
        "seconds": round(took, 1),
    }


def _saved(method: CodeRL) -> Path:
    """The model in a folder, from which it is read with the tokenizer of the warm start."""
    folder = Path(tempfile.mkdtemp())
    method.save(folder)
    return folder


def coderl(
    warm: Path, problems: Sequence[Problem], seconds: float, seed: int
) -> tuple[CodeRL, dict[str, float]]:
    """What CodeRL makes of the warm start, without references."""
    small = Config.small()
    config = replace(decoder(), warmup_epochs=0.0, rl_steps=small.rl_steps, ce_weight=0.0)
    method = CodeRL.build(config, source=warm)
    folder = Path(tempfile.mkdtemp())
    run = Run(folder, problems, budget=Budget(seconds, "seconds"), seed=seed, quiet=True)
    train(method, run)
    run.close()
    rows = read_rows(folder / "metrics.jsonl")
    written = sum(row.get("programs", 0) for row in rows)
    return method, {
        "steps": int(run.spent.total("steps")),
        "programs_a_second": round(written / run.spent.total("seconds"), 1),
        "seconds": round(run.spent.total("seconds"), 1),
    }


def warm_start(folder: Path, problems: Sequence[Problem], seed: int) -> None:
    """Imitation of the references, until it is flat."""
    seed_everything(seed)
    method = CodeRL.build(decoder(), data=problems)
    train(method, Run(folder / "run", problems, seed=seed, quiet=True))
    method.save(folder)


def main() -> None:
    """Runs all arms and prints a table; keeps it in results/grpo.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "grpo.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    made = problems_of(NUM_PROBLEMS, SOLVED, NUM_TEST)
    bare = [replace(p, solutions=()) for p in made.train]  # references serve the warm start alone
    rows: list[dict[str, Any]] = []

    def note(arm: str, seed: int, method: CodeRL, found: Mapping[str, float], **more: Any) -> None:
        score = pass_at_1(method, made.test, seed)
        rows.append({"arm": arm, "seed": seed, "pass@1": round(score, 4), **found, **more})
        print(json.dumps(rows[-1]), flush=True)

    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as name:
            warm = Path(name)
            warm_start(warm, made.train, seed)
            note("warm start", seed, CodeRL.build(decoder(), source=warm), {})
            note("CodeRL", seed, *coderl(warm, bare, given.seconds, seed))
            for setting in SETTINGS:
                found = grpo(warm, bare, given.seconds, seed, setting)
                note("TRL GRPO", seed, *found, setting=dict(setting))
    write_json(given.out, {"commit": commit(), "seconds": given.seconds, "rows": rows})


if __name__ == "__main__":
    main()
