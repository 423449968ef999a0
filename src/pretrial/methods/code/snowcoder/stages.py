"""The phases, and what is made between them: the cleaned corpus, the annotator, the scores."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pretrial.data.reading.sources import load
from pretrial.data.rows import chosen, is_on_disk, mapped
from pretrial.data.windows.cutting import cut
from pretrial.errors import UserError
from pretrial.evaluate.auc import roc_auc
from pretrial.methods.code.snowcoder.data import (
    File,
    Kind,
    clean,
    grades_of_source,
    order,
    raise_language,
    read_files,
    select,
    texts_of_source,
)
from pretrial.methods.code.snowcoder.network import Judged
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.seeds import seed_of
from pretrial.train.stage import Optim, Stage
from pretrial.train.tokens import joined_windows, kept_windows

if TYPE_CHECKING:
    from pretrial.methods.code.snowcoder import SnowCoder

_WHOLE = 2**31 - 1  # a file is one window of tokens
_ASIDE = 10  # one of so many judged texts is kept to measure the annotator
_LEAST_GRADES = 20
_MAX_HELD_OUT = 64  # windows


@dataclass(frozen=True)
class Corpus:
    """Tokens of files, which may be on the disk, and what there is to know of each file.

    Attributes:
        kinds: language and repository of each file, in memory; one object for all files alike.
        tokens: one list a file.
        sizes: tokens of each file.
    """

    kinds: Sequence[Kind]
    tokens: Sequence[list[int]]
    sizes: Sequence[int]

    @classmethod
    def of(cls, files: Sequence[File], tokens: Sequence[list[int]]) -> Corpus:
        """Looks at each file once."""
        known: dict[Kind, Kind] = {}
        kinds = (Kind(file.language, file.repo) for file in files)
        sizes = array("q", (len(ids) for ids in tokens))
        return cls([known.setdefault(kind, kind) for kind in kinds], tokens, sizes)


class Training:
    """One run of the method.

    Args:
        method: what is trained.
        run: where.
    """

    def __init__(self, method: SnowCoder, run: Run) -> None:
        self.method, self.run, self.config = method, run, method.config

    def stages(self) -> Iterator[Stage]:
        """The phases that take part, and the annotator before it is needed."""
        config = self.config
        files = self._cleaned()
        first, second, third = self._budgets()
        corpus = self._corpus("corpus", files) if first or second else None
        if first:
            assert corpus is not None
            yield self._phase(1, corpus, range(len(files)), first)
        chosen_by_score = config.selection == "annotator"
        if chosen_by_score and (second or not (first or third)):
            if not config.annotator:
                yield self._annotator_stage(files)
            scores = self._scores(files)
        if second:
            assert corpus is not None
            if not chosen_by_score:
                rng = random.Random(seed_of(self.run.seed, "selection"))
                scores = [rng.random() for _ in range(len(files))]
            yield self._phase(2, corpus, self._selected(corpus, scores, second), second)
        if third:
            synthetic = self._corpus("synthetic", self._synthetic())
            languages = [kind.language for kind in synthetic.kinds]
            places = raise_language(languages, synthetic.sizes, "python", config.python_ratio)
            yield self._phase(3, synthetic, places, third)

    # -- the language model -----------------------------------------------------------------------

    def _budgets(self) -> list[Budget | None]:
        """What each phase may spend; None where it is left out."""
        ratios = list(self.config.phase_ratios)
        if ratios[2] and not self.config.synthetic:
            self.run.say("the third phase is left out: it needs --synthetic files")
            ratios[2] = 0
        if not sum(ratios):
            return [None, None, None]
        whole = self.run.budget
        return [
            Budget(whole.amount * ratio / sum(ratios), whole.unit) if ratio else None
            for ratio in ratios
        ]

    def _phase(self, number: int, corpus: Corpus, places: Sequence[int], budget: Budget) -> Stage:
        config, name = self.config, f"phase{number}"
        return Stage.of(
            name,
            self.method.language_model,
            self._packed(corpus, places, name),
            config,
            budget=budget,
            held_out=self._held_out(),
            optim=config.optim(number),
        )

    def _corpus(self, name: str, files: Sequence[File]) -> Corpus:
        """Splits files into tokens."""
        texts = (file.text for file in files)
        tokens = cut(texts, self.method.tokenizer, _WHOLE)
        return Corpus.of(files, kept_windows(self.run, name, tokens, is_on_disk(files)))

    def _packed(self, corpus: Corpus, places: Sequence[int], name: str) -> Sequence[list[int]]:
        rng = random.Random(seed_of(self.run.seed, f"{name} order"))
        lists = order(corpus.kinds, places, self.config.packing, rng)
        length, end = self.config.max_length, self.method.language_model.end
        packed = joined_windows(self.run, name, corpus.tokens, lists, length, end)
        if not len(packed):
            raise UserError(f"no file is left for {name}: give more data, or loosen the filters")
        return packed

    def _held_out(self) -> Sequence[list[int]]:
        if not len(self.run.held_out):
            return []
        corpus = self._corpus("held-out", self.run.held_out[:_MAX_HELD_OUT])
        return self._packed(corpus, range(len(corpus.kinds)), "held-out")[:_MAX_HELD_OUT]

    def _selected(self, corpus: Corpus, scores: Sequence[float], budget: Budget) -> list[int]:
        """Places of the files of the second phase."""
        config = self.config
        total = sum(corpus.sizes)
        per_unit = {
            "tokens": 1,
            "examples": config.max_length,
            "steps": config.max_length * config.batch_size,
        }
        if config.keep_ratio:
            wanted = config.keep_ratio * total
        elif budget.unit in per_unit:
            wanted = budget.amount * per_unit[budget.unit] / config.repeats
        else:
            raise UserError(
                f"a budget in {budget.unit} does not say how many files to select: give"
                " --keep-ratio, or a budget in tokens"
            )
        languages = [kind.language for kind in corpus.kinds]
        places = select(scores, languages, corpus.sizes, wanted)
        taken = sum(corpus.sizes[place] for place in places)
        self.run.say(
            f"selected {len(places)} of {len(scores)} files, {taken:,} of {total:,} tokens"
        )
        return places

    def _synthetic(self) -> list[File]:
        return [file for source in self.config.synthetic for file in read_files(load(source))]

    # -- the corpus and its scores ----------------------------------------------------------------

    def _cleaned(self) -> Sequence[File]:
        """The files that the filters leave."""
        config, files = self.config, self.run.data

        def make(folder: Path) -> None:
            evaluation = [text for each in config.decontaminate for text in texts_of_source(each)]
            kept, removed = clean(files, config.basic(), config.dedup_threshold, evaluation)
            report = {"files": len(files), "kept": len(kept), "removed": removed}
            (folder / "kept.json").write_text(json.dumps({"places": kept, **report}))

        made = json.loads((self.run.once("corpus", make, "clean") / "kept.json").read_text())
        removed = ", ".join(f"{count} by {name}" for name, count in made["removed"].items())
        self.run.say(f"kept {made['kept']} of {made['files']} files; left out {removed or 'none'}")
        if not made["places"]:
            raise UserError("the filters leave no file: loosen them, such as --max-line 0")
        return chosen(files, made["places"])

    def _annotator_stage(self, files: Sequence[File]) -> Stage:
        config, annotator = self.config, self.method.annotator
        learn, aside = self._judged(files)
        if not config.tune_embedder:
            learn, aside = self._with_vectors(learn, aside)
        return Stage(
            "annotator",
            annotator,
            learn,
            Budget(config.annotator_epochs * len(learn), "examples"),
            optim=Optim(config.annotator_lr, kind="adam", weight_decay=0.0),
            batch_size=config.annotator_batch_size,
            evaluate=partial(annotator.quality, aside),
            purpose="annotate",
        )

    def _judged(self, files: Sequence[File]) -> tuple[list[Judged], list[Judged]]:
        """Texts to learn from and to measure on; of each one window, as scoring will see them."""
        rng = random.Random(seed_of(self.run.seed, "judged"))
        if self.config.regress:
            graded = [pair for each in self.config.positives for pair in grades_of_source(each)]
            if len(graded) < _LEAST_GRADES:
                raise UserError(f"{len(graded)} grades are too few: give {_LEAST_GRADES} or more")
        else:
            good = [text for each in self.config.positives for text in texts_of_source(each)]
            good = rng.sample(good, min(len(good), self.config.max_positives))
            # as many of the corpus as there are good ones; where it is small, several times
            drawn = [files[rng.randrange(len(files))].text for _ in good]
            graded = [(text, 1.0) for text in good] + [(text, 0.0) for text in drawn]
        rng.shuffle(graded)
        windows = self.method.annotator.windows([text for text, _ in graded])
        judged: list[Judged] = [
            (rng.choice(own), grade) for own, (_, grade) in zip(windows, graded, strict=True)
        ]
        cut = max(len(judged) // _ASIDE, 2)
        aside = judged[:cut]
        if not self.config.regress:  # half of each class
            classes = [[each for each in judged if each[1] == grade] for grade in (1.0, 0.0)]
            aside = [each for members in classes for each in members[: cut // 2]]
        kept = {id(each) for each in aside}
        return [each for each in judged if id(each) not in kept], aside

    def _with_vectors(
        self, learn: Sequence[Judged], aside: Sequence[Judged]
    ) -> tuple[list[Judged], list[Judged]]:
        """The same with the vectors of the frozen embedder, computed once."""

        def make(folder: Path) -> None:
            texts = [text for text, _ in (*learn, *aside)]
            np.save(folder / "vectors.npy", self.method.annotator.vectors(texts).numpy())

        folder = self.run.once("vectors", make, "annotate")
        vectors = torch.from_numpy(np.load(folder / "vectors.npy"))
        pairs = [(vectors[i], grade) for i, (_, grade) in enumerate((*learn, *aside))]
        return pairs[: len(learn)], pairs[len(learn) :]

    def _scores(self, files: Sequence[File]) -> list[float]:
        """Scores of the files, kept with their windows' in scores.jsonl, and a report."""
        annotator, run = self.method.annotator, self.run

        def make(folder: Path) -> None:
            scored = annotator.score(mapped(files, lambda _, file: file.text))
            found = []
            with (folder / "scores.jsonl").open("w") as out:
                for file, (score, windows) in zip(files, scored, strict=True):
                    row: dict[str, Any] = {
                        "path": file.path,
                        "repo": file.repo,
                        "language": file.language,
                    }
                    row |= {"score": score, "windows": windows}
                    out.write(json.dumps(row) + "\n")
                    found.append(score)
            report = {}
            for target in self.config.targets:
                others = [score for score, _ in annotator.score(texts_of_source(target))]
                report[target] = roc_auc(others, found)
            (folder / "report.json").write_text(json.dumps({"roc_auc": report}, indent=1))

        folder = run.once("scores", make, "annotate")
        for target, auc in json.loads((folder / "report.json").read_text())["roc_auc"].items():
            run.say(f"annotator: ROC-AUC {auc:.3f} of {target} against the corpus")
        with (folder / "scores.jsonl").open() as lines:
            return [json.loads(line)["score"] for line in lines]
