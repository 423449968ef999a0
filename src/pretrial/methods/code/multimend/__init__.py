"""MultiMend: patches for lines known to be wrong, written with related lines at hand.

A sequence-to-sequence model (CodeT5-small) reads the wrong lines and the function around them and
writes the right ones. When it repairs, the lines elsewhere in the file that are nearest to the
wrong ones in meaning are put between both, so that a name which the function lacks can be found.
Several checkpoints of one training search with wide beams, and their candidates become one ranking.
A patch is plausible when all tests pass with it; nothing here calls one correct. Where the lines of
a bug lie apart, each place has candidates of its own: first the same text is tried everywhere, then
the places are mended one after the other, and whatever lowers the number of failing tests is kept.
So the runs of the tests grow with the sum of the candidates and not with their product.

Deviations from the paper and its release:
1. Targets keep their line breaks and inner indentation; the release joins lines by spaces.
2. A patch is indented as the lines it replaces or as their neighbours; the release takes the
   indentation of the developer's fix.
3. Checkpoints are the ends of equal parts of the budget, at least one step after them.
4. Where rows hold sound code only, bugs are made in it by `corrupt.mutations`.
5. A run of the tests that breaks off counts as infinitely many failing tests, and tests that no
   longer run count as failing.
6. Lines are compared by an exact matrix product instead of an approximate index.

Lines are wrong because the user says so: the localisation is given, as in the paper.

| field | content |
| --- | --- |
| removed, added, context | to learn from: wrong lines, right lines, the function around |
| code | or instead: sound functions, in which bugs are made |
| language | of these; python where it is missing |
| tree, hunks, command | to repair: folder or file, wrong lines as "src/a.py:7-9", test command |
| fixed | to compare with: file to the text that a person gave it |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import nn

from pretrial.bases.language_model import TextToTextMethod
from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_pretrained
from pretrial.checkpoints.t5 import save_network
from pretrial.errors import UserError
from pretrial.methods.code.multimend import stages
from pretrial.methods.code.multimend.abilities.ranking import Candidate, rank
from pretrial.methods.code.multimend.abilities.repair import queries_of, repaired
from pretrial.methods.code.multimend.abilities.retrieval import Retriever
from pretrial.methods.code.multimend.config import Config
from pretrial.methods.code.multimend.data.bugs import Bug, read_examples
from pretrial.methods.code.multimend.data.fixes import Fix, target_text
from pretrial.methods.code.multimend.network import FixModel, checkpoints, likeliest
from pretrial.sandbox import COMMAND_LIMITS, TestCommand
from pretrial.train.batches import fitting
from pretrial.train.budget import Budget
from pretrial.train.stage import Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "Config", "MultiMend"]

CARD = Card(
    slug="multimend",
    title="MultiMend: Multilingual Program Repair with Context Augmentation and Multi-Hunk Patch"
    " Generation",
    authors="Gharibi and others",
    year=2025,
    arxiv="2501.16044",
    summary="Patches for known wrong lines, with related lines retrieved, hunk by hunk",
    baseline="the same model without retrieved lines",
    abilities=("repair", "generate"),
    fields=(
        Field("removed", "the wrong lines, to learn from"),
        Field("added", "the right lines"),
        Field("context", "the function with the wrong lines"),
        Field("language", "of the code; python where it is missing", required=False),
        Field("code", "instead of these: a sound function, in which bugs are made", required=False),
        Field("tree", "to repair: folder or file", required=False),
        Field("hunks", "its wrong lines, such as src/a.py:7-9", required=False),
        Field("command", "its test command", required=False),
        Field("fixed", "file to the text a person gave it, to compare with", required=False),
    ),
    claims=(
        Claim(
            "Across four benchmarks 2,077 bugs are fixed, 1,455 of them as the developer did, 106"
            " with several hunks",
            "abstract",
        ),
    ),
    extra="code",
)


_POSITIONS = "relative_attention_bias"  # names of T5's parameters for them
_EARLIER = "earlier"


class MultiMend(TextToTextMethod):
    """A model that writes right lines for wrong ones, and earlier checkpoints of it.

    Attributes:
        frozen: after the training holds "earlier", the checkpoints before the last.
    """

    Config: ClassVar[type] = Config
    known = "Salesforce/codet5-small"

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self._keep: Any = None
        self._retriever: Retriever | None = None

    # Where it comes from, and how it is kept

    def new_language_model(self, network: Any, tokenizer: Any) -> FixModel:
        """Learns pairs of wrong and right lines."""
        return FixModel(network, tokenizer, self.config.max_source, self.config.max_target)

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained T5; it has room for the whole vocabulary of the settings."""
        return super().new_network(config, config.vocab_size)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any, Any]:
        """The last checkpoint: CodeT5 or another T5 by name or folder, or as `save` writes it.

        Of a folder of a training by transformers, the last checkpoints become the ensemble.
        """
        return super().load(config, checkpoints(source, config.num_checkpoints)[-1])

    def adopt(self, source: str | Path) -> None:
        """Takes over the checkpoints before the last."""
        older = checkpoints(source, self.config.num_checkpoints)[:-1]
        self._set_earlier([load_pretrained(type(self.network), folder) for folder in older])

    def _set_earlier(self, models: Sequence[nn.Module]) -> None:
        if _EARLIER in self.frozen:
            del self.frozen[_EARLIER]
        if models:
            self.frozen[_EARLIER] = nn.ModuleList(models).eval().requires_grad_(False)

    @property
    def earlier(self) -> list[Any]:
        """The checkpoints before the last, the oldest first."""
        return list(self.frozen[_EARLIER].children()) if _EARLIER in self.frozen else []

    def save(self, folder: Path) -> None:
        """Model and tokenizer as transformers writes them, earlier checkpoints in folders."""
        super().save(folder)
        for number, model in enumerate(self.earlier):
            save_network(model, folder / f"checkpoint-{number}")

    # Examples

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Fix | Bug]:
        """Pairs to learn from, or bugs to repair.

        Raises:
            UserError: a row is neither.
        """
        return read_examples(rows)

    @staticmethod
    def text_of(example: Fix | str) -> str:
        """The source of a pair."""
        return example if isinstance(example, str) else example.source

    @classmethod
    def parts(cls, example: Fix | Bug) -> Iterable[str]:
        """Source and target of a pair; a bug has nothing to learn from."""
        return () if isinstance(example, Bug) else (example.source, target_text(example.added))

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """The tokens of the sources."""
        return [self.language_model.source_ids(self.text_of(each)) for each in examples]

    # Training

    def after_step(self) -> None:
        if self._keep is not None:
            self._keep(self.network)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage, whose last checkpoints are the ensemble."""
        c = self.config
        pairs = self._pairs(run.data)
        held_out = self._pairs(run.held_out) if run.held_out else []
        size, micro = fitting(c.batch_size, c.micro_batch_size, len(pairs), run.world.size)
        budget = run.limit or Budget(max(size, c.epochs * len(pairs)), "examples")
        num_earlier = c.num_checkpoints - 1
        self._set_earlier([])  # those of what this training starts from
        self._keep = stages.keeper(run, budget, c.num_parts, num_earlier)
        how: dict[str, Any] = {"batch_size": size, "micro_batch_size": micro}
        yield Stage.of(
            "train", self, pairs, c, budget=budget, held_out=held_out, optim=self.optim(), **how
        )
        self._keep = None
        self._set_earlier(stages.kept(run, self.network, c.num_parts, num_earlier))

    def optim(self) -> Optim | tuple[Optim, ...]:
        """One optimiser, or a second one for the relative positions."""
        c = self.config
        every = Optim.of(c, schedule=c.schedule)
        if not c.position_lr:
            return every
        positions = replace(every, lr=c.position_lr, weight_decay=0.0, match=_POSITIONS)
        return replace(every, match=rf"^(?!.*{_POSITIONS})"), positions

    def _pairs(self, examples: Sequence[Any]) -> list[Fix]:
        kept = [fix for fix in examples if isinstance(fix, Fix) and self.language_model.fits(fix)]
        if not kept:
            raise UserError(
                f"none of {len(examples)} examples can be learned from: give rows with removed,"
                f" added and context, the right lines of 1 to {self.config.max_target - 2} tokens"
            )
        return kept

    # Abilities

    def candidates(
        self, sources: Sequence[tuple[str, str]], num_beams: int = 0, num_candidates: int = 0
    ) -> list[list[Candidate]]:
        """Candidates of all checkpoints as one ranking for each (wrong lines, source)."""
        c = self.config
        if min(num_beams, num_candidates) < 0:
            raise UserError("num_beams and num_candidates are at least 1, or 0 as trained")
        width = num_beams or max(c.num_beams, num_candidates)
        count = min(num_candidates or c.num_candidates, width)
        rows = self.prompts([source for _, source in sources], 0)
        # generate_primary_candidates.py: every checkpoint searches alone, then one ranking is made
        found = [
            likeliest(
                model,
                self.tokenizer,
                rows,
                num_beams=width,
                num_candidates=count,
                max_target=c.max_target,
            )
            for model in (*self.earlier, self.network)
        ]
        return [rank(group, removed) for (removed, _), *group in zip(sources, *found, strict=True)]

    @property
    def retriever(self) -> Retriever:
        """Finds lines as configured; it reads its sentence encoder once."""
        c = self.config
        if self._retriever is None:
            self._retriever = Retriever(c.retrieval, c.num_retrieved, c.max_distance, c.embedder)
        return self._retriever

    def generate(  # type: ignore[override]  # it ranks what all checkpoints write
        self, examples: Sequence[Any], *, num_beams: int = 0, num_candidates: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Writes ranked candidates for wrong lines; runs no tests.

        Args:
            num_beams: beams of each checkpoint; 0 is as trained.
            num_candidates: texts of each checkpoint; 0 is as trained.
        """
        for example in examples:
            if isinstance(example, Bug):
                sources = [(q.removed, q.source) for q in queries_of(example, self.retriever)]
            else:
                sources = [(example.removed, example.source)]
            yield {
                "candidates": [
                    [{"text": one.text, "rank": one.rank, "score": one.score} for one in ranked]
                    for ranked in self.candidates(sources, num_beams, num_candidates)
                ]
            }

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 1
    ) -> list[str]:
        """What the last checkpoint writes for each source."""
        rows = super().generate(sources, max_new_tokens=max_new_tokens, num_beams=num_beams)
        return [row["text"] for row in rows]

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
        limits = replace(COMMAND_LIMITS, seconds=seconds, memory_mb=memory_mb)
        for example in examples:
            if not isinstance(example, Bug):
                raise UserError(
                    "repair needs rows with tree, hunks and command, not pairs to learn from: give"
                    " those, or use --ability generate"
                )
            with TestCommand(
                example.command,
                example.tree,
                limits=limits,
                isolation=isolation,
                readable=readable,
            ) as command:
                yield repaired(
                    example,
                    command,
                    write,
                    self.retriever,
                    self.config.multi_hunk,
                    max_validations,
                    num_patches,
                )

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
