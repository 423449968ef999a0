"""Arctic-SnowCoder: getting more from a corpus of code by choosing, repeating and annealing.

A language model is trained in three phases on ever better files. First on all that basic filters,
de-duplication and decontamination leave, packed so that a window holds one language and files of a
repository lie together. Then on the best files of each language, several times over, with a
learning rate that is warmed up anew. What is best is told by an annotator: a linear layer on the
vector of a small encoder, taught to tell files of the kind that one wants from random ones; a file
scores the mean over its top, middle and bottom window. Last on synthetic files, which a large model
writes with files of the second phase as seeds. The annotator scores reward what its good texts look
like, so its ROC-AUC is reported on every target that one names.

Deviations from the paper:
1. The default embedder is a small one that comes as a Python package; Snowflake-arctic-embed-m is
   `--embedder Snowflake/snowflake-arctic-embed-m`.
2. Without positives of one's own, the annotator's are documented functions of Python's standard
   library.
3. Of each judged text one of its windows is learned from; the paper says only how files are scored.
4. The last window of a language is shorter and padded, so that every token is used.
5. The prompt for synthetic files is ours.

| field | content |
| --- | --- |
| text | a file of code |
| language | in which it is written; else told from `path` |
| repo | the repository that it belongs to |
| path | of the file |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from transformers import LlamaConfig, LlamaForCausalLM

from pretrial.bases.language_model import DecoderMethod
from pretrial.card import Card, Claim, Field
from pretrial.data.cleaning.dedup import deduplicate
from pretrial.errors import UserError
from pretrial.methods.code.snowcoder.abilities import Writer
from pretrial.methods.code.snowcoder.config import Config
from pretrial.methods.code.snowcoder.data import File, read_files, select
from pretrial.methods.code.snowcoder.network import Annotator, Windows, load_annotator
from pretrial.methods.code.snowcoder.stages import Training
from pretrial.models.tokenizers import SPECIALS
from pretrial.train.run import Run
from pretrial.train.stage import Stage

__all__ = ["CARD", "Config", "SnowCoder"]

CARD = Card(
    slug="snowcoder",
    title="Arctic-SnowCoder: Demystifying High-Quality Data in Code Pretraining",
    authors="Yuxiang Wei and others",
    year=2024,
    arxiv="2409.02326",
    summary="Scores code files, trains on the best of them several times, then on synthetic ones",
    baseline="as many tokens of files chosen at random",
    abilities=("score", "filter", "synthesise", "nll"),
    fields=(
        Field("text", "a file of code"),
        Field("language", "in which it is written; else told from `path`", required=False),
        Field("repo", "the repository that it belongs to", required=False),
        Field("path", "of the file", required=False),
    ),
    claims=(
        Claim(
            "HumanEval+, MBPP+, EvoEval, BigCodeBench: 14.0, 27.8, 7.4, 10.3 after the first phase;"
            " 21.3, 34.7, 12.8, 12.3 after the second; 28.0, 42.9, 18.0, 19.4 after the third",
            "Table 2",
        ),
        Claim(
            "10 B tokens, HumanEval: 15.9 with random files, 22.0 with the best annotator's",
            "Table 4",
        ),
        Claim(
            "HumanEval: 22.0 with the learning rate warmed anew, 20.7 constant, 18.3 linear",
            "Table 5",
        ),
        Claim(
            "HumanEval: 17.4 with 50 B tokens once, 26.2 with 12.5 B four times, 20.1 with 10 B"
            " five times",
            "Table 6",
        ),
        Claim(
            "HumanEval: 17.1 packed by language first, 12.8 by repository alone",
            "Table 3",
        ),
    ),
    extra="code",
)

_ANNOTATOR = "annotator"


class SnowCoder(DecoderMethod):
    """A language model and the annotator that chooses its data.

    Attributes:
        language_model: what the phases train.
        annotator: scores files.
    """

    Config: ClassVar[type] = Config
    specials: ClassVar[Mapping[str, str]] = SPECIALS

    def __init__(
        self, config: Any, network: Any, tokenizer: Any = None, annotator: Annotator | None = None
    ) -> None:
        super().__init__(config, network, tokenizer)
        if annotator is None and config.annotator:
            annotator = load_annotator(config.annotator, config.windows)
        self.annotator = annotator or Annotator(config.annotator_settings())

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> LlamaForCausalLM:
        """An untrained Llama."""
        # Table 1
        sizes = cls.network_config(config, LlamaConfig, vocab_size, tie_word_embeddings=True)
        return LlamaForCausalLM(sizes)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `LanguageMethod.load`; with the annotator that lies in a folder of ours."""
        return *super().load(config, source), _saved_annotator(Path(source) / _ANNOTATOR, config)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[File]:
        """The files of the rows."""
        return read_files(rows)

    def stages(self, run: Run) -> Iterator[Stage]:
        """General files; annotator and best files; synthetic ones (sections 2.2, 2.3, 2.4)."""
        yield from Training(self, run).stages()

    def score(self, examples: Sequence[File], *, windows: Windows | None = None) -> Iterator[Any]:
        """The quality of files, one row each: its score and those of its windows.

        Args:
            examples: the files.
            windows: of a file that are scored: "three" or "top"; by default as trained.
        """
        scored = self.annotator.score([file.text for file in examples], windows)
        for file, (score, own) in zip(examples, scored, strict=True):
            named = {"path": file.path, "repo": file.repo, "language": file.language}
            yield {**{name: text for name, text in named.items() if text}, "score": score} | {
                "windows": own
            }

    def filter(
        self,
        examples: Sequence[File],
        *,
        keep_ratio: float = 0.25,
        min_score: float = 0.0,
        dedup_threshold: float = 0.0,
        windows: Windows | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The best files, as the rows that they came from with their `score`, in their order.

        Args:
            examples: the files.
            keep_ratio: share of the characters to keep, in every language alike.
            min_score: leave out files that score less, even if fewer are kept then.
            dedup_threshold: leave out near duplicates from that similarity on; 0 keeps them.
            windows: see `score`.
        """
        if not 0 < keep_ratio <= 1:
            raise UserError(f"keep_ratio is a share above 0 and up to 1, not {keep_ratio}")
        files = list(examples)
        if dedup_threshold:
            rows = [{"text": file.text, "place": place} for place, file in enumerate(files)]
            files = [files[row["place"]] for row in deduplicate(rows, threshold=dedup_threshold)]
        texts = [file.text for file in files]
        scores = [score for score, _ in self.annotator.score(texts, windows)]
        sizes = [len(text) for text in texts]
        languages = [file.language for file in files]
        for place in select(scores, languages, sizes, keep_ratio * sum(sizes)):
            if scores[place] >= min_score:
                yield {**files[place].row, "score": scores[place]}

    def synthesise(
        self,
        examples: Sequence[File],
        *,
        generator: str = "smollm2",
        num_lines: int = 15,
        max_new_tokens: int = 512,
        temperature: float = 0.8,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """New files for the third phase, each written with one of these as its seed.

        Args:
            examples: the files, such as those that `filter` gives.
            generator: a language model that follows instructions: a name, folder, GGUF file, or
                "smollm2", which is small and comes as a package.
            num_lines: of a file that are shown to it.
            max_new_tokens: longest answer.
            temperature: of the sampling; 0 takes the most probable tokens.
            top_p: mass of the nucleus.
            seed: of the lines shown and of the sampling.
        """
        return Writer(generator).write(
            examples,
            num_lines=num_lines,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )

    def save(self, folder: Path) -> None:
        """The language model in the layout of transformers, the annotator in a folder inside."""
        super().save(folder)
        self.annotator.save(folder / _ANNOTATOR)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        names = ("area", "total", "mean_of", "largest", "count_words", "first")
        rows = []
        for place in range(12):
            name, repo = names[place % 6], f"repo{place % 3}"
            if place % 4 == 3:
                text = f"int {name}_{place}(int a) {{\n  return a * {place} + a;\n}}\n"
                rows.append(
                    {"text": text, "path": f"{repo}/{name}.c", "repo": repo, "language": "c"}
                )
            else:
                text = (
                    f"import os\n\n\ndef {name}_{place}(values):\n    return values[{place}] + 1\n"
                )
                rows.append({"text": text, "path": f"{repo}/{name}.py", "repo": repo})
        return rows


def _saved_annotator(folder: Path, config: Config) -> Annotator | None:
    """The annotator of a folder, unless another kind is asked for."""
    if config.annotator or not folder.is_dir():
        return None
    saved = load_annotator(folder, config.windows)
    wanted = config.annotator_settings()
    if wanted.tuned:  # the embedder lies in the folder, under no other name
        wanted = replace(wanted, embedder="")
    return saved if saved.settings == wanted else None
