"""The model of MultiMend: its training, its candidates, and the repairs it is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor, nn
from transformers import PreTrainedModel, T5ForConditionalGeneration

from pretrial.checkpoints.keys import load_pretrained, load_tokenizer
from pretrial.errors import UserError
from pretrial.methods.code.multimend import beams, ensemble
from pretrial.methods.code.multimend import config as settings
from pretrial.methods.code.multimend.bugs import Bug, bug_of_row
from pretrial.methods.code.multimend.fixes import (
    Fix,
    fix_of_row,
    made_fixes,
    source_text,
    target_text,
)
from pretrial.methods.code.multimend.ranking import Candidate, rank
from pretrial.methods.code.multimend.repair import Repairer, queries_of
from pretrial.methods.code.multimend.retrieval import Retriever
from pretrial.models.architectures.seq2seq import collate, new_t5, sequence_loss
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe
from pretrial.sandbox import COMMAND_LIMITS, TestCommand
from pretrial.train.batches import fitting
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

_POSITIONS = "relative_attention_bias"  # names of T5's parameters for them
_SHORTEST_LABEL = 3  # an empty text has two tokens: train_model.py
_CHARACTERS_A_TOKEN = 32  # more are rare; what lies further on is cut before it is split
_EARLIER = "checkpoint-"  # folders of earlier checkpoints in that of the last


class MultiMend(Method):
    """A model that writes right lines for wrong ones, and earlier checkpoints of it.

    Attributes:
        model: the last checkpoint.
        tokenizer: of all of them.
        frozen: after the training holds "earlier", the checkpoints before the last.
    """

    Config: ClassVar[type] = settings.Config

    def __init__(self, config: settings.Config, model: PreTrainedModel, tokenizer: Any) -> None:
        super().__init__(config)
        self.model = model
        self.tokenizer = tokenizer
        self._keep: Any = None
        self._retriever: Retriever | None = None

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """From scratch, or from a checkpoint.

        Args:
            config: settings.
            source: CodeT5 or another T5 by name or folder, a folder that `save` has written, or one
                of a training by transformers, whose last checkpoints become the ensemble.
            data: pairs that a vocabulary is learnt from, from scratch.
        """
        if source is not None:
            *older, last = _checkpoints(source, config.num_checkpoints)
            method = cls(config, _load(last), load_tokenizer(last))
            if older:
                earlier = nn.ModuleList(_load(folder) for folder in older)
                method.frozen["earlier"] = earlier.eval().requires_grad_(False)
            return method
        fixes = [fix for fix in data or () if isinstance(fix, Fix)]
        texts = [text for fix in fixes for text in _texts(fix)]
        tokenizer = learn_bpe(
            texts, config.vocab_size, specials=ROBERTA_SPECIALS, template="<s> $A </s>"
        )
        model = new_t5(
            config.vocab_size,
            width=config.width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            feed_forward=config.feed_forward,
            dropout_prob=config.dropout_prob,
            pad_id=tokenizer.pad_token_id,
            bos_id=tokenizer.bos_token_id,
            eos_id=tokenizer.eos_token_id,
        )
        return cls(config, model, tokenizer)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """Pairs to learn from, or bugs to repair.

        Raises:
            UserError: a row is neither.
        """
        examples: list[Fix | Bug] = []
        for number, row in enumerate(rows):
            if "tree" in row:
                examples.append(bug_of_row(row))
            elif {"removed", "added", "context"} <= row.keys():
                examples.append(fix_of_row(row))
            elif isinstance(row.get("code"), str):
                examples += made_fixes(row["code"], row.get("language") or "python")
            else:
                raise UserError(
                    f"row {number} has neither removed, added and context, nor code, nor tree,"
                    f" hunks and command (found: {', '.join(row) or 'none'}): name the fields to"
                    " use, such as --fields code=text"
                )
        return examples

    # Training

    def ids(self, text: str) -> list[int]:
        """Tokens of a text; an end token written out in it is none."""
        plain = text.replace(self.tokenizer.eos_token, self.tokenizer.unk_token)
        return list(self.tokenizer(plain)["input_ids"])

    def source_ids(self, text: str) -> list[int]:
        """Tokens of a source, cut at its end where it is too long."""
        most = self.config.max_source
        ids = self.ids(text[: most * _CHARACTERS_A_TOKEN])
        return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]

    def fits(self, fix: Fix) -> bool:
        """Whether a pair can be learnt from: neither its lines nor their target are too long."""
        asked = len(self.ids(source_text(fix.removed, "", fix.language)))
        wanted = len(self.ids(target_text(fix.added)))
        return (
            asked <= self.config.max_source and _SHORTEST_LABEL <= wanted <= self.config.max_target
        )

    def batch(self, examples: Sequence[Fix], generator: Any) -> Batch:
        sources = [source_text(fix.removed, fix.context, fix.language) for fix in examples]
        return collate(
            [self.source_ids(text) for text in sources],
            [self.ids(target_text(fix.added)) for fix in examples],
            int(self.tokenizer.pad_token_id),
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the right lines."""
        return {"loss": sequence_loss(self.model, batch)}

    def after_step(self) -> None:
        if self._keep is not None:
            self._keep(self.model)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage, whose last checkpoints are the ensemble."""
        c = self.config
        pairs = self._pairs(run.data)
        aside = self._pairs(run.held_out) if run.held_out else []
        size, micro = fitting(c.batch_size, c.micro_batch_size, len(pairs), run.world.size)
        budget = run.limit or Budget(max(size, c.epochs * len(pairs)), "examples")
        earlier = c.num_checkpoints - 1
        if "earlier" in self.frozen:  # of what this training starts from
            del self.frozen["earlier"]
        self._keep = ensemble.keeper(run, budget, c.num_parts, earlier)
        yield Stage(
            "train",
            self,
            pairs,
            budget,
            self._optims(),
            batch_size=size,
            micro_batch_size=micro,
            evaluate=(lambda: held_out_losses(self, aside, 32)) if aside else None,
        )
        self._keep = None
        found = ensemble.kept(run, self.model, c.num_parts, earlier)
        if len(found):
            self.frozen["earlier"] = found

    def _optims(self) -> tuple[Optim, ...]:
        """One optimiser, or a second one for the relative positions."""
        c = self.config
        every = Optim(lr=c.lr, schedule=c.schedule, warmup=c.warmup)
        if not c.position_lr:
            return (every,)
        positions = replace(every, lr=c.position_lr, weight_decay=0.0, match=_POSITIONS)
        return replace(every, match=rf"^(?!.*{_POSITIONS})"), positions

    def _pairs(self, examples: Sequence[Any]) -> list[Fix]:
        pairs = [fix for fix in examples if isinstance(fix, Fix)]
        kept = [fix for fix in pairs if self.fits(fix)]
        if not kept:
            raise UserError(
                f"none of {len(examples)} examples can be learnt from: give rows with removed,"
                f" added and context, the right lines of 1 to {self.config.max_target - 2} tokens"
            )
        return kept

    # What the user keeps

    def export(self) -> nn.Module:
        """The last checkpoint, a `T5ForConditionalGeneration`."""
        return self.model

    def save(self, folder: Path) -> None:
        """Model and tokenizer as transformers writes them, earlier checkpoints in folders."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        for number, model in enumerate(self.earlier):
            model.save_pretrained(folder / f"{_EARLIER}{number}")

    @property
    def earlier(self) -> list[Any]:
        """The checkpoints before the last, the oldest first."""
        return list(self.frozen["earlier"].children()) if "earlier" in self.frozen else []

    # Abilities

    def candidates(
        self, sources: Sequence[tuple[str, str]], num_beams: int = 0, num_candidates: int = 0
    ) -> list[list[Candidate]]:
        """Candidates of all checkpoints as one ranking for each (wrong lines, source)."""
        c = self.config
        if min(num_beams, num_candidates) < 0:
            raise UserError("num_beams and num_candidates are at least 1, or 0 as trained")
        width = num_beams or max(c.num_beams, num_candidates)
        rows = [self.source_ids(text) for _, text in sources]
        found = [
            beams.search(
                model,
                self.tokenizer,
                rows,
                num_beams=width,
                num_candidates=min(num_candidates or c.num_candidates, width),
                max_target=c.max_target,
            )
            for model in (*self.earlier, self.model)
        ]
        return [rank(group, removed) for (removed, _), *group in zip(sources, *found, strict=True)]

    def generate(
        self, examples: Sequence[Any], *, num_beams: int = 0, num_candidates: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Writes ranked candidates for wrong lines; runs no tests.

        Args:
            num_beams: beams of each checkpoint; 0 is as trained.
            num_candidates: texts of each checkpoint; 0 is as trained.
        """
        for example in examples:
            if isinstance(example, Bug):
                asked = [(q.removed, q.source) for q in queries_of(example, self.retriever)]
            else:
                source = source_text(example.removed, example.context, example.language)
                asked = [(example.removed, source)]
            yield {
                "candidates": [
                    [{"text": one.text, "rank": one.rank, "score": one.score} for one in ranked]
                    for ranked in self.candidates(asked, num_beams, num_candidates)
                ]
            }

    @property
    def retriever(self) -> Retriever:
        """Finds lines as configured; it reads its sentence encoder once."""
        c = self.config
        if self._retriever is None:
            limits = c.num_retrieved, c.max_distance
            self._retriever = Retriever(c.retrieval, *limits, c.embedder)
        return self._retriever

    def repair(
        self,
        examples: Sequence[Any],
        *,
        num_beams: int = 0,
        num_candidates: int = 0,
        max_validations: int = 0,
        num_patches: int = 10,
        seconds: float = 60.0,
        memory_mb: int = 2048,
        isolation: Literal["auto", "namespaces", "rlimits", "none"] = "auto",
        readable: tuple[str, ...] = (),
    ) -> Iterator[dict[str, Any]]:
        """Repairs the given lines of a tree of files, and says which patches are plausible.

        Args:
            num_beams: beams of each checkpoint; 0 is as trained.
            num_candidates: texts of each checkpoint for each hunk; 0 is as trained.
            max_validations: most runs of the tests of a bug; 0 is no limit.
            num_patches: most patches that are printed of a bug.
            seconds: of one run of the tests.
            memory_mb: of each process of the tests.
            isolation: of the tests: auto, namespaces, rlimits, or none (they run with your rights).
            readable: further files and folders that the tests may read.
        """
        if min(max_validations, num_patches) < 0:
            raise UserError("max_validations and num_patches are at least 0")
        write = partial(self.candidates, num_beams=num_beams, num_candidates=num_candidates)
        strategy = self.config.multi_hunk
        repairer = Repairer(write, self.retriever, strategy, max_validations)
        for example in examples:
            if not isinstance(example, Bug):
                raise UserError(
                    "repair needs rows with tree, hunks and command, not pairs to learn from: give"
                    " those, or use --ability generate"
                )
            with TestCommand(
                example.command,
                example.tree,
                limits=replace(COMMAND_LIMITS, seconds=seconds, memory_mb=memory_mb),
                isolation=isolation,
                readable=readable,
            ) as command:
                yield repairer.repair(example, command, num_patches)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        functions = (
            "def total(items):\n    best = 0\n    for item in items:\n        best += item\n"
            "    return best",
            "def last(items, default):\n    if not items:\n        return default\n"
            "    return items[-1]",
            "def inside(low, value, high):\n    return low <= value and value < high",
            "def steps(count):\n    return [step * 2 for step in range(count + 1)]",
        )
        return [{"code": code, "language": "python"} for code in functions]


def _checkpoints(source: str | Path, number: int) -> list[str | Path]:
    """Where the model lies, last, and before it the earlier checkpoints, the oldest first.

    A folder written by `save` holds them beside the model; one of a training by transformers holds
    nothing else, and its last ones, so many as `number`, are taken.
    """
    found = {
        int(folder.name.removeprefix(_EARLIER)): folder
        for folder in Path(source).glob(f"{_EARLIER}*")
        if folder.name.removeprefix(_EARLIER).isdecimal() and (folder / "config.json").is_file()
    }
    folders: list[str | Path] = [found[step] for step in sorted(found)]
    if found and not (Path(source) / "config.json").is_file():
        return folders[-number:]
    return [*folders, source]


def _load(source: str | Path) -> PreTrainedModel:
    return load_pretrained(T5ForConditionalGeneration, source)


def _texts(fix: Fix) -> tuple[str, str]:
    return source_text(fix.removed, fix.context, fix.language), target_text(fix.added)
