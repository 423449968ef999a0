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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor
from transformers import (
    PreTrainedModel,
    RobertaForMaskedLM,
    RobertaModel,
)

from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.errors import UserError
from pretrial.methods.code.contrabert.clones import CloneFinder
from pretrial.methods.code.contrabert.config import Config
from pretrial.methods.code.contrabert.training import Contrast
from pretrial.methods.code.contrabert.translation import back_translations
from pretrial.methods.code.contrabert.variants import Sample, Variants, code_of, read_samples, seen
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import Pooling, classifier_from, encode
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe, texts_of
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Optim, Stage

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

# What checkpoints of RoBERTa hold beside the network: a pooler that nothing here reads, from older
# versions of transformers the numbers of the positions, and a head where the config names none.
_BESIDE = (
    "roberta.pooler.",
    "pooler.",
    "roberta.embeddings.position_ids",
    "embeddings.position_ids",
    "lm_head.",
)


class ContraBERT(Method):
    """An encoder with a head that names tokens.

    Args:
        config: the settings.
        network: the encoder and the head.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.

    Attributes:
        network: `RobertaForMaskedLM`.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.network = network
        self.tokenizer = tokenizer

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Sample] | None = None
    ) -> Self:
        """See `Method.build`. A checkpoint decides the sizes and the vocabulary.

        A checkpoint may be of CodeBERT, GraphCodeBERT, ContraBERT or any other RoBERTa; a head that
        it lacks begins at random.
        """
        if source is not None:
            network = load_roberta(source)
            return cls(config.sized_as(network.config), network, load_tokenizer(source))
        if data is None:
            return cls(config, RobertaForMaskedLM(config.network_config(pad_id=1)))
        texts = texts_of(data, lambda sample: (sample.code, sample.comment))
        tokenizer = learn_bpe(
            texts, config.vocab_size, specials=ROBERTA_SPECIALS, template="<s> $A </s>"
        )
        config = replace(config, vocab_size=len(tokenizer))
        pad = int(tokenizer.pad_token_id)
        return cls(config, RobertaForMaskedLM(config.network_config(pad)), tokenizer)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Sample]:
        """See `read_samples`."""
        return read_samples(rows)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over the samples."""
        config = self.config
        broken = sum(not seen(sample.code, sample.language).parsed for sample in run.data)
        if broken:
            run.say(
                f"{broken} of {len(run.data)} codes do not parse: they take part, but of the"
                " operators on code only sample_lines applies to them"
            )
        variants = self.variants(run)
        module = Contrast(self.network, self.tokenizer, config, variants)
        evaluate = partial(held_out_losses, module, run.held_out, config.batch_size)
        yield Stage(
            "train",
            module,
            run.data,
            run.budget,
            optim=Optim(config.lr, config.weight_decay, warmup=config.warmup),
            batch_size=config.batch_size,
            evaluate=evaluate if len(run.held_out) else None,
            evaluate_every=config.evaluate_every,
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

    # -- abilities --------------------------------------------------------------------------------

    def encode(
        self, examples: Sequence[str | Sample], *, pooling: Literal["", "first", "mean"] = ""
    ) -> Tensor:
        """One vector a text, or a sample's code, whatever its length [N, d].

        Args:
            examples: texts or samples.
            pooling: the state of the first token, or the mean of all; "" as in training.
        """
        texts = [code_of(item) for item in examples]
        how: Pooling = pooling or self.config.pooling
        limit = self.config.max_length
        return encode(self.network.roberta, self.tokenizer, texts, limit, pooling=how)

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> TextClassifier:
        """A classifier on a copy of the encoder; its head reads the first token, or all of them."""
        model = classifier_from(self.network.roberta, num_labels, pooling)
        limit = self.config.max_length
        return TextClassifier(model, self.tokenizer, limit, text_of=code_of)

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

    def export(self) -> PreTrainedModel:
        """The encoder with its head, `RobertaForMaskedLM`."""
        return self.network

    def save(self, folder: Path) -> None:
        """The encoder with its head and the tokenizer, in the layout of transformers."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

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


def load_roberta(source: str | Path) -> Any:
    """A RoBERTa with a head that names tokens, new where the checkpoint has none.

    Raises:
        UserError: it is no RoBERTa, or weights are missing.
    """
    mend = "give the name or folder of a RoBERTa for code, such as microsoft/codebert-base-mlm"
    try:
        config = load_config(source)
    except (OSError, ValueError) as error:
        raise UserError(f"{source} holds no checkpoint that can be read: {mend}") from error
    if config.model_type != "roberta":
        raise UserError(f"{source} is a {config.model_type} checkpoint: {mend}")
    if "RobertaForMaskedLM" in (config.architectures or ()):
        return load_pretrained(RobertaForMaskedLM, source, beside=_BESIDE)
    encoder = load_pretrained(RobertaModel, source, beside=_BESIDE, add_pooling_layer=False)
    network: Any = RobertaForMaskedLM(config)
    network.roberta.load_state_dict(encoder.state_dict())
    return network
