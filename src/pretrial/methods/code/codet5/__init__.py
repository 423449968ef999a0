"""CodeT5: one encoder-decoder for code that is told which of its tokens are names.

A T5 with a vocabulary of its own learns from functions and their comments. Three objectives take
turns: hidden spans of whole words are written back; every identifier is hidden behind a sentinel of
its own, one for all occurrences of a name, and the names are written (as in undoing an
obfuscation); and the encoder says of every code token whether it belongs to an identifier. A second
stage writes code from comments and comments from code. The model then summarises, writes,
translates or repairs code after fine-tuning on pairs, several tasks at once if wanted, and
classifies code, or compares two pieces, by the decoder's state at the end of the text.

Deviations from the paper and its release:
 1. Every example of a batch draws its objective, where the paper alternates; the loss is the mean
    of the objectives' losses, so the expected gradient is the same.
 2. Comment and code are corrupted each for itself at 15 %; a comment of three words or fewer stays.
 3. Without a comment its segment is left out, so that pre-training reads what fine-tuning reads.
 4. More than 100 distinct names: the first 100 are hidden (the paper does not say).
 5. A docstring inside a function is taken out and is its comment, where `comment` is not given.
 6. Tagging is one linear layer on the encoder's states: the map is not described.
 7. Several tasks share a batch; the release draws a task for each batch, with the same shares.
 8. The last task that is open is not stopped; the release ends the run when all have stopped.

`--task generate`, `classify` and `compare` fine-tune (`--init` names what from); `pretrain` is the
default. Control prefixes (field `task`) mean nothing to a model that was not fine-tuned with them.

| field | content |
| --- | --- |
| code | source of a function; of longer texts the beginning is used |
| comment | what it does, in words (default: its docstring) |
| language | of the code (default: python) |
| source, target | what is read and what is to be written, for `--task generate` |
| task | control prefix of such a pair, such as "Summarize Python"; tasks are balanced |
| other | the second piece of code, for `--task compare` |
| label | the class, for `--task classify` and `compare` |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from torch import Tensor, nn

from pretrial.card import Card, Claim, Field
from pretrial.errors import UserError
from pretrial.methods.code.codet5 import building, stages
from pretrial.methods.code.codet5.config import Config
from pretrial.methods.code.codet5.examples import Example, Examples, read_examples
from pretrial.methods.code.codet5.inputs import ENGLISH, Inputs
from pretrial.methods.code.codet5.tuning import EosClassifier
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import generate_texts
from pretrial.models.architectures.text_encoder import encode
from pretrial.train.method import Method

if TYPE_CHECKING:
    from pretrial.train.run import Run
    from pretrial.train.stage import Stage

__all__ = ["CARD", "CodeT5", "Config"]

CARD = Card(
    slug="codet5",
    title="CodeT5: Identifier-aware Unified Pre-trained Encoder-Decoder Models for Code"
    " Understanding and Generation",
    authors="Yue Wang and others",
    year=2021,
    arxiv="2109.00859",
    summary="An encoder-decoder for code learns to find its identifiers and to name them",
    baseline="masked span prediction alone (T5's objective)",
    abilities=("generate", "summarise", "classify", "compare", "encode"),
    fields=(
        Field("code", "source of a function"),
        Field("comment", "what it does, in words; by default its docstring", required=False),
        Field("language", "of the code; python by default", required=False),
        Field("source", "what is read, in place of code, for --task generate", required=False),
        Field("target", "what is to be written, for --task generate", required=False),
        Field("task", "control prefix of a pair, such as Summarize Python", required=False),
        Field("other", "second piece of code, for --task compare", required=False),
        Field("label", "class, for --task classify and compare", required=False),
    ),
    claims=(
        Claim(
            "summaries in six languages, smoothed BLEU-4: base 19.55, small 19.14, PLBART 18.32",
            "CodeT5, table of code summarisation",
        ),
        Claim("CONCODE exact match: base 22.30, small 21.55", "CodeT5, table of code generation"),
        Claim(
            "repair of medium functions, exact match: base 13.96, GraphCodeBERT 9.10",
            "CodeT5, table of code refinement",
        ),
        Claim("identifier tagging: F1 above 99 %", "CodeT5, section on tagging"),
    ),
)


class CodeT5(Method):
    """A T5 with a tagger of identifiers and, after fine-tuning, a classifier.

    Args:
        config: the settings.
        model: the T5.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.
        labels: the classes of its classifier; none without one.

    Attributes:
        tagger: from an encoder's state to the logit of "identifier".
        head: classifies, sharing `model`; None where nothing was learnt to classify.
    """

    Config = Config

    def __init__(
        self, config: Any, model: Any, tokenizer: Any = None, labels: Sequence[str] = ()
    ) -> None:
        super().__init__(config)
        self.model = model
        self.tokenizer = tokenizer
        self.labels = list(labels)
        self.tagger = nn.Linear(model.config.d_model, 1)
        pairs = config.task == "compare"
        self.head = (
            EosClassifier(model, tokenizer, len(labels), config.max_source, pairs)
            if labels
            else None
        )

    @classmethod
    def build(
        cls,
        config: Any,
        source: str | Path | None = None,
        data: Sequence[Example] | None = None,
    ) -> Self:
        """See `Method.build`. `source` is a T5 checkpoint with sentinels, as Salesforce/codet5-*.

        With neither source nor data there is no tokenizer, only the network.
        """
        labels = sorted({e.label for e in data or ()}) if config.task in _LABELLED else []
        if source is None:
            return cls(config, *building.from_scratch(config, data), labels)
        model, tokenizer = building.load(config, source)
        method = cls(config, model, tokenizer, labels or building.saved_labels(source))
        building.load_heads(method, source)
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]], skip_bad: bool = False) -> Examples:
        """See `examples.read_examples`."""
        return read_examples(rows, skip_bad)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Denoising, then dual generation; or one stage of fine-tuning."""
        if self.config.task == "pretrain":
            yield from stages.pretraining(self, run)
        elif self.config.task == "generate":
            yield from stages.generation(self, run)
        else:
            yield stages.classification(self, run)

    # Abilities

    def generate(
        self,
        examples: Sequence[Example],
        *,
        to: str = "",
        max_new_tokens: int = 0,
        num_beams: int = 1,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        spans: bool = False,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """What the model writes for each example, as it was fine-tuned to.

        Args:
            to: language to write in, such as python or en, for a model that has learnt dual
                generation and no task of its own.
            max_new_tokens: longest text, in tokens; 0 takes the model's own limit.
            num_beams: above 1, beam search.
            num_samples: texts for each example, with a temperature or beams.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus, when sampling.
            spans: the text has gaps <extra_id_0>, ...; keep these signs between what fills them.
            seed: of sampling.
        """
        sources: Any = [example.source for example in examples]
        forced: list[int] = []
        if to:
            inputs = Inputs(self.tokenizer, self.config)
            forced = [inputs.begin, inputs.language_token(to)]
            marks = [inputs.language_token(_read_in(example, to)) for example in examples]
            ids = inputs.encode([example.source for example in examples])
            sources = [
                inputs.source((), [mark, *row[: self.config.max_source - 3]])
                for mark, row in zip(marks, ids, strict=True)
            ]
        groups = generate_texts(
            self.model,
            self.tokenizer,
            sources,
            max_source=self.config.max_source,
            max_new_tokens=max_new_tokens or self.config.max_target,
            num_samples=num_samples,
            temperature=temperature,
            top_p=top_p,
            num_beams=num_beams,
            forced=forced,
            keep_special=spans,
            seed=seed,
        )
        for group in groups:
            yield {"text": group[0].strip(), **({"texts": group} if num_samples > 1 else {})}

    def summarise(
        self, examples: Sequence[Example], *, max_new_tokens: int = 0, num_beams: int = 1
    ) -> Iterator[dict[str, Any]]:
        """A comment for each piece of code, by what dual generation has taught.

        Args:
            max_new_tokens: longest comment, in tokens; 0 takes the model's own limit.
            num_beams: above 1, beam search.
        """
        return self.generate(
            examples, to=ENGLISH, max_new_tokens=max_new_tokens, num_beams=num_beams
        )

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 1
    ) -> list[str]:
        """What the model writes for each text; the ability of the task "generation"."""
        rows = self.generate(
            [Example(source) for source in sources],
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
        )
        return [row["text"] for row in rows]

    def classify(self, examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
        """The label of each piece of code, and the probability of each."""
        return self._classified(examples, "classify")

    def compare(self, examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
        """The label of each pair of pieces, and the probability of each."""
        return self._classified(examples, "compare")

    def _classified(
        self, examples: Sequence[Example], task: Literal["classify", "compare"]
    ) -> Iterator[dict[str, Any]]:
        if self.head is None or self.config.task != task:
            raise UserError(f"the model was not taught to {task}: train it with --task {task}")
        probs = self.head.logits(stages.texts_of(examples, task)).softmax(-1)
        for row in probs.tolist():
            named = dict(zip(self.labels, row, strict=True))
            yield {"label": max(named, key=lambda label: named[label]), "probabilities": named}

    def encode(self, examples: Sequence[Example | str]) -> Tensor:
        """One vector a text: the mean of the encoder's last states over its tokens [N, d]."""
        texts = [each if isinstance(each, str) else each.text for each in examples]
        return encode(self.model.encoder, self.tokenizer, texts, self.config.max_source)

    # What tasks start from

    def classifier(self, num_labels: int, pooling: str = "eos") -> EosClassifier:
        """A classifier on a copy of the model; it reads the end state whatever `pooling` says."""
        copied = building.copy_of(self.model)
        return EosClassifier(copied, self.tokenizer, num_labels, self.config.max_source)

    def writer(self, max_target: int = 0) -> TextToText:
        """A text-to-text model on a copy of the weights, to be fine-tuned on (source, target)."""
        copied = building.copy_of(self.model)
        config = self.config
        return TextToText(
            copied, self.tokenizer, config.max_source, max_target or config.max_target
        )

    def export(self) -> Any:
        """The `T5ForConditionalGeneration`."""
        return self.model

    def save(self, folder: Path) -> None:
        """The T5 and its tokenizer in the layout of transformers, and the heads beside it."""
        building.save(self, folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        verbs = (("add", "+"), ("subtract", "-"), ("multiply", "*"), ("divide", "/"))
        rows = []
        for verb, sign in verbs:
            for first, second in (("left", "right"), ("price", "rate"), ("total", "part")):
                code = f"def {verb}({first}, {second}):\n    return {first} {sign} {second}\n"
                rows.append({"code": code, "comment": f"{verb.title()} {first} and {second}."})
        return rows


_LABELLED = ("classify", "compare")


def _read_in(example: Example, to: str) -> str:
    """The language of what is read: code is described in words, and words give code."""
    return example.language if to == ENGLISH else ENGLISH
