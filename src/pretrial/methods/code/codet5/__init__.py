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

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor, nn
from transformers import PreTrainedModel

from pretrial.bases.language_model import TextToTextMethod
from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.parts import has_part, load_parts, load_value, save_parts
from pretrial.errors import UserError
from pretrial.methods.code.codet5.config import Config
from pretrial.methods.code.codet5.data import (
    ENGLISH,
    LANGUAGES,
    Example,
    Examples,
    Inputs,
    read_examples,
)
from pretrial.methods.code.codet5.network import (
    CLASSIFIER_NOTE,
    PAIRS_RECIPE,
    EosClassifier,
)
from pretrial.methods.code.codet5.stages.pretraining import pretraining
from pretrial.methods.code.codet5.stages.tuning import classification, generation, texts_of
from pretrial.models.tokenizers import add_task_tokens

if TYPE_CHECKING:
    from pretrial.models.architectures.text_encoder import Pooling
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


_LANGUAGE_TOKENS = tuple(f"<{language}>" for language in LANGUAGES)


class CodeT5(TextToTextMethod):
    """A T5 with a tagger of identifiers and, for the tasks with labels, a classifier.

    Attributes:
        tagger: from an encoder's state to the logit of "identifier".
        labels: the classes of its classifier; none without one.
        head: classifies, sharing the network; None where nothing is learned to classify.
    """

    Config: ClassVar[type] = Config
    known = "Salesforce/codet5-base"
    num_sentinels = 100  # names that one example can hide

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.tagger = nn.Linear(network.config.d_model, 1)
        self.labels: list[str] = []
        self.head: EosClassifier | None = None

    # Where it comes from, and how it is kept

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. `source` is a T5 with sentinels, such as Salesforce/codet5-*."""
        method = super().build(config, source, data)
        if config.learns_classes:
            method.add_classifier(sorted({e.label for e in data or ()} - {""}), source)
        return method

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Example], **more: Any) -> Any:
        """Byte-level BPE with sentinels, and a token for each language."""
        own = {"task_tokens": _LANGUAGE_TOKENS, "min_frequency": config.min_frequency}
        return super().vocabulary(config, data, **(own | more))

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any, Any]:
        """A T5 and its tokenizer, with tokens for languages where they are needed."""
        config, network, tokenizer = super().load(config, source)
        if config.task == "pretrain" and config.dual_ratio:
            add_task_tokens(tokenizer, network, _LANGUAGE_TOKENS)
        return config, network, tokenizer

    def adopt(self, source: str | Path) -> None:
        """Takes over the tagger of a folder of ours."""
        if has_part(source, "tagger"):
            load_parts(source, {"tagger": self.tagger})

    def add_classifier(self, labels: list[str], source: str | Path | None) -> None:
        """Adds a classifier of these labels, or of those saved; saved weights if they are of it."""
        task, has_saved = self.config.task, source is not None and has_part(source, "classes")
        saved = load_value(source, "classes") if source is not None and has_saved else {}
        self.labels = labels or saved.get("labels", [])
        if not self.labels:
            return
        longest = self.config.max_source
        self.head = EosClassifier(
            self.network, self.tokenizer, len(self.labels), longest, pairs=task == "compare"
        )
        if source is not None and saved == {"task": task, "labels": self.labels}:
            load_parts(source, {"classifier": self.head.classifier})

    def save(self, folder: Path) -> None:
        """The T5 and its tokenizer in the layout of transformers, and the heads beside it."""
        super().save(folder)
        save_parts(folder, {"tagger": self.tagger, **self._classifier_parts()})

    def _classifier_parts(self) -> dict[str, Any]:
        """The classifier and what it tells apart; nothing where nothing is learned to classify."""
        if self.head is None:
            return {}
        classes = {"task": self.config.task, "labels": self.labels}
        return {"classifier": self.head.classifier, "classes": classes}

    def export(self) -> PreTrainedModel:
        """The T5; a classifier of transformers where it has learned to classify single texts."""
        if self.head is None or self.head.pairs:
            return self.network
        return self.head.to_transformers(self.labels)

    def export_beside(self, folder: Path) -> str:
        """See `Method.export_beside`: what compares pairs, which transformers has no class for."""
        if self.head is None:
            return ""
        if not self.head.pairs:
            return CLASSIFIER_NOTE
        save_parts(folder, self._classifier_parts())
        return PAIRS_RECIPE

    # Examples

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]], skip_bad: bool = False) -> Examples:
        """See `data.read_examples`."""
        return read_examples(rows, skip_bad)

    @staticmethod
    def text_of(example: Example | str) -> str:
        """What the encoder reads, with its control prefix."""
        return example if isinstance(example, str) else example.source

    @classmethod
    def parts(cls, example: Example) -> Iterable[str]:
        """All texts of an example."""
        return (example.text, example.comment, example.target, example.other)

    # Training

    def stages(self, run: Run) -> Iterator[Stage]:
        """Denoising, then dual generation; or one stage of fine-tuning."""
        config = self.config
        if config.task == "pretrain":
            inputs = Inputs(self.tokenizer, config)
            yield from pretraining(self.network, self.tagger, inputs, config, run)
        elif config.task == "generate":
            yield generation(self.language_model, config, run, self.save)
        else:
            yield classification(self.head, self.labels, config, run)

    # Abilities

    def generate(
        self,
        examples: Sequence[Any],
        *,
        to: str = "",
        max_new_tokens: int = 0,
        num_samples: int = 1,
        num_beams: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        spans: bool = False,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """What the model writes for each example, as it was fine-tuned to.

        Args:
            to: language to write in, such as python or en, for a model that has learned dual
                generation and no task of its own.
            max_new_tokens: longest text, in tokens; 0 takes the model's own limit.
            num_samples: texts for each example, with a temperature or beams.
            num_beams: above 1, beam search.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus, when sampling.
            spans: the text has gaps <extra_id_0>, ...; keep these signs between what fills them.
            seed: of sampling.
        """
        forced: list[int] = []
        prompts = self.prompts(examples, 0)
        if to:
            inputs = Inputs(self.tokenizer, self.config)
            forced = [inputs.begin, inputs.language_token(to)]
            prompts = [inputs.marked(example, to) for example in examples]
        groups = self.written(
            prompts,
            max_new_tokens=max_new_tokens or self.max_written,
            num_samples=num_samples,
            num_beams=num_beams,
            temperature=temperature,
            top_p=top_p,
            forced=forced,
            seed=seed,
        )
        for group in groups:
            texts = [self.language_model.text(ids[len(forced) :], spans) for ids in group]
            yield self.row_of(texts) | {"text": texts[0].strip()}

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
        probs = self.head.logits(texts_of(examples, task)).softmax(-1)
        for row in probs.tolist():
            named = dict(zip(self.labels, row, strict=True))
            best = max(named, key=lambda label: named[label])
            yield {"label": best, "label_prob": named[best], "probabilities": named}

    def encode(self, examples: Sequence[Example | str]) -> Tensor:
        """One vector a text: the mean of the encoder's last states over its tokens [N, d]."""
        return super().encode([each if isinstance(each, str) else each.text for each in examples])

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> EosClassifier:
        """A classifier on a copy of the model; it reads the end state whatever `pooling` says."""
        return EosClassifier(self.copied(), self.tokenizer, num_labels, self.config.max_source)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        verbs = (("add", "+"), ("subtract", "-"), ("multiply", "*"), ("divide", "/"))
        names = (("left", "right"), ("price", "rate"), ("total", "part"))
        return [
            {
                "code": f"def {verb}({first}, {second}):\n    return {first} {sign} {second}\n",
                "comment": f"{verb.title()} {first} and {second}.",
            }
            for verb, sign in verbs
            for first, second in names
        ]
