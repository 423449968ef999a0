"""ContraBERT: an encoder of code goes on learning, and learns that edits do not matter.

Encoders such as CodeBERT take a function with other names in it for another function. So each
sample gets a variant: an operator, drawn at random, renames its variables or the function, inserts
dead code, reorders statements or keeps a part of the lines; or, where the sample has a comment,
translates that back and forth, deletes, switches or copies words. The encoder reads the sample and
is to give a vector near to that of the variant, and far from those of other samples' variants,
which a slowly following copy of it computes and a queue keeps (MoCo). Beside it masked tokens are
named, in samples and variants. The network stays what it was, so it serves wherever it did.

Deviations from the paper:
1. The code that pre-trains was never released. What is not known of it is marked "assumed" in
   `Config`: the numbers, that one operator makes a variant, and the names of the operators.
2. The vector of a sample is read in the pass that names its masked tokens, so that it costs no pass
   of its own; the variant is read whole.
3. The four operators that keep what code does are applied only where that is sure; a function
   whose text looks at the names of its variables is left alone. Where no operator fits, the
   variant is the sample.
4. Back-translation needs two translators (`translators`); without them it is replaced by noise,
   which the run says.
5. GraphCodeBERT goes on without nodes of data flow, as the release has it.
6. Translation of code, one of four downstream tasks, is left to the methods that write.

| field | content |
| --- | --- |
| code | source code, such as a function |
| comment | what it does |
| language | python by default; see `code_views.languages` |
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import RobertaConfig, RobertaForMaskedLM

from pretrial.bases.text_encoder import TextEncoder
from pretrial.card import Card, Claim, Field
from pretrial.evaluate.clones import CloneFinder
from pretrial.methods.code.contrabert.config import Config
from pretrial.methods.code.contrabert.data import (
    Sample,
    Variants,
    read_samples,
    seen,
)
from pretrial.methods.code.contrabert.stages import Contrast
from pretrial.models.decoding.translation import back_translations
from pretrial.models.tokenizers import ROBERTA_SPECIALS
from pretrial.train.stage import Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "Config", "ContraBERT"]

CARD = Card(
    slug="contrabert",
    title="ContraBERT: Enhancing Code Pre-trained Models via Contrastive Learning",
    authors="Liu and others",
    year=2023,
    arxiv="2301.09072",
    summary="An encoder of code goes on learning, and learns that edits do not matter",
    baseline="the same encoder, going on with masked tokens alone",
    abilities=("encode", "classify", "vary"),
    fields=(
        Field("code", "source code, such as a function"),
        Field("comment", "what it does, in words", required=False),
        Field("language", "of the code; python by default", required=False),
    ),
    claims=(
        Claim(
            "CodeBERT's accuracy on clones falls to about 0.4 after 8 variables are renamed",
            "README of the release",
        ),
        Claim(
            "POJ-104, MAP: 90.46 for CodeBERT's 84.29, 90.06 for GraphCodeBERT's 85.16",
            "(secondary) clone detection",
        ),
        Claim("defect detection, accuracy: 64.17 for CodeBERT's 62.08", "(secondary) defects"),
        Claim("code search, MRR: 0.701 for CodeBERT's 0.693", "(secondary) code search"),
    ),
)


class ContraBERT(TextEncoder):
    """An encoder with a head that names tokens. `Contrast` trains it."""

    Config: ClassVar[type] = Config
    specials = ROBERTA_SPECIALS
    template = "<s> $A </s>"
    mend = "give the name or folder of a RoBERTa for code, such as microsoft/codebert-base-mlm"
    keeps_pooler = True  # the clone finder reads it

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """CodeBERT's."""
        return RobertaForMaskedLM

    @classmethod
    def network_config(cls, config: Any, vocab_size: int, **more: Any) -> RobertaConfig:
        """As config.json of CodeBERT has it."""
        own = {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
        return super().network_config(config, vocab_size, **(own | more))

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Sample]:
        """See `read_samples`."""
        return read_samples(rows)

    @classmethod
    def parts(cls, example: Sample) -> Iterable[str]:
        """Code and comment."""
        return example.code, example.comment

    @staticmethod
    def text_of(example: str | Sample) -> str:
        """A text, or the code of a sample."""
        return example if isinstance(example, str) else example.code

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over the samples."""
        broken = sum(not seen(sample.code, sample.language).parsed for sample in run.data)
        if broken:
            run.say(
                f"{broken} of {len(run.data)} codes do not parse: they take part, but of the"
                " operators on code only sample_lines applies to them"
            )
        module = Contrast(self.network, self.tokenizer, self.config, self.variants(run))
        yield Stage.of(
            "train", module, run.data, self.config, budget=run.budget, held_out=run.held_out
        )

    def variants(self, run: Run | None = None) -> Variants:
        """What draws variants; with a run, its comments are translated where that is asked for."""
        config = self.config
        found = Variants(config.code_operators, config.text_operators, config.num_operators)
        if run is None or "back_translate" not in config.text_operators:
            return found
        if not any(sample.comment for sample in run.data):
            return found
        if not config.translators:
            run.say(
                "back-translation is replaced by noise: name two checkpoints in translators to"
                " have comments translated"
            )
            return found
        comments = [sample.comment for sample in run.data if sample.comment]
        return replace(found, translations=back_translations(comments, config.translators, run))

    def clone_finder(self) -> CloneFinder:
        """A copy of the encoder that can be fine-tuned to find clones."""
        return CloneFinder(self.network.roberta, self.tokenizer, min(400, self.config.max_length))

    def vary(
        self, examples: Sequence[Sample], *, num_variants: int = 1, seed: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Variants of samples, as they are trained on.

        Args:
            examples: the samples.
            num_variants: of each.
            seed: of the draws.
        """
        variants = self.variants()
        for number, sample in enumerate(examples):
            for turn in range(num_variants):
                drawn, names = variants.draw(sample, random.Random(f"{seed} {number} {turn}"))
                yield {
                    "row": number,
                    "code": drawn.code,
                    "comment": drawn.comment,
                    "operators": list(names),
                }

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        verbs = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
        nouns = ("prices", "sizes", "weights")
        rows = [
            {
                "code": f"def {verb}_{noun}(first, {noun}):\n    total = first\n    count = 0\n"
                f"    for each in {noun}:\n        total = total {sign} each\n    return total\n",
                "comment": f"Start with the first and {verb} all {noun}.",
            }
            for verb, sign in verbs.items()
            for noun in nouns
        ]
        alone = [{"code": row["code"].replace("total", "result")} for row in rows[:6]]
        return [*rows, *alone, {"code": "def broken(:\n    pass\n", "comment": "Does not parse."}]
