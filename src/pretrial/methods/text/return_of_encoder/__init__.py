"""Return of the Encoder: small models as encoder-decoders, taught by decoder-only ones.

A small model that reads much and writes little gets two thirds of its layers in an encoder and one
third in a decoder. The encoder reads the input once; keys and values of cross-attention are made
once; each new token passes the few layers of the decoder alone, and only the output's cache grows.
What large decoder-only models know comes over by distillation: the student writes answers of its
own, the teacher reads source and answer as one text, and the student learns the teacher's
distribution at each token of them, besides the labels. Positions are rotary. Images are read by
CLIP, whose patches a projector puts before the encoder's text.

Deviations from the paper and its released code:
1. The loss is averaged over the tokens of answers; the release averages over padding too.
2. Decoding has caches; the release computes the whole prefix anew at each token.
3. Padding is masked by its place, not by the unknown token's number, so both can be told apart.
4. Query heads stand beside those that share their keys; a released checkpoint is put in this order.
5. The encoder's positions begin at 0; the release centres them, which changes no score.
6. The NTK factor acts in the encoder alone: the decoder's cached keys cannot turn.
7. Patches of an image stand before the text, without the release's line breaks and pooling.
8. A teacher of text learns nothing of images: rows with one are learnt from labels alone.

| field | content |
| --- | --- |
| source | the text to read |
| target | the text to write; not needed to generate |
| image | a path or an image, with `vision`; optional |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from pretrial.card import Card, Claim, Field
from pretrial.corrupt.masks import IGNORE
from pretrial.data.rows import mapped
from pretrial.methods.text.return_of_encoder.building import give_sight, load_student, new_student
from pretrial.methods.text.return_of_encoder.config import SCRATCH, Config
from pretrial.methods.text.return_of_encoder.lessons import Lessons
from pretrial.methods.text.return_of_encoder.reading import Example, Reader, example_of_row
from pretrial.methods.text.return_of_encoder.teaching import aligned_logits, load_teacher
from pretrial.methods.text.return_of_encoder.training import Training
from pretrial.methods.text.return_of_encoder.writing import write
from pretrial.models.architectures.seq2seq import collate, shifted
from pretrial.objectives.tokens import distillation_loss, token_loss
from pretrial.train.device import to_device
from pretrial.train.method import Method
from pretrial.train.stage import Batch

if TYPE_CHECKING:
    from pretrial.train.run import Run
    from pretrial.train.stage import Stage

__all__ = ["CARD", "Config", "Example", "ReturnOfEncoder"]

CARD = Card(
    slug="return_of_encoder",
    title="Return of the Encoder: Maximizing Parameter Efficiency for SLMs",
    authors="Elfeki and others",
    year=2025,
    arxiv="2501.16273",
    summary="Small encoder-decoders, taught by decoder-only models on answers of their own",
    baseline="a decoder-only model of as many parameters",
    abilities=("generate",),
    fields=(
        Field("source", "the text to read"),
        Field("target", "the text to write; not needed to generate", required=False),
        Field("image", "a path or an image, with --vision", required=False),
    ),
    claims=(
        Claim(
            "47 % lower first-token latency and 4.7 times the throughput of decoder-only models on"
            " edge devices",
            "abstract",
        ),
        Claim("up to 6 points more on average over tasks, with distillation", "abstract"),
        Claim(
            "330 M parameters at equal data and FLOPs, pairs of two metrics: SQuAD 2.0 0.69 / 0.94"
            " against 0.57 / 0.90, XSum 0.27 / 0.20 against 0.24 / 0.19, CodeXGLUE 0.93 / 0.74"
            " against 0.93 / 0.63",
            "README of the release (which two metrics is not said)",
        ),
    ),
)

_AT_ONCE = 64  # sources that are written for together


class ReturnOfEncoder(Method):
    """A student, and a teacher while it is trained. See the module's text.

    Attributes:
        network: of transformers, with an encoder or without.
        tokenizer: the teacher's too.
        frozen: holds "teacher" while training from one.
        lessons: asks the teacher.
    """

    Config: ClassVar[type] = Config
    skips_parameters = True  # a micro-batch may hold no image

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.network = network
        self.tokenizer = tokenizer
        self.reader = Reader(config, tokenizer, network)
        self.lessons = Lessons(config)

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """A student.

        Args:
            config: settings.
            source: `model.pt` of the release, a folder written by `save`, or the name or folder of
                any checkpoint of transformers that writes text; None begins from scratch.
            data: examples that a vocabulary is learnt from, where no teacher brings one.

        Raises:
            UserError: a checkpoint or a teacher does not fit.
        """
        if source is not None:
            network, tokenizer = load_student(source, config)
            kind = "encoder_decoder" if network.config.is_encoder_decoder else "decoder_only"
            config = replace(config, architecture=kind)
            method = cls(config, network, tokenizer)
        else:
            teacher = tokenizer = None
            if config.teacher not in ("", SCRATCH):
                teacher, tokenizer = load_teacher(config.teacher, None)
            network, tokenizer = new_student(config, tokenizer, data)
            method = cls(config, network, tokenizer)
            if teacher is not None:
                method.frozen["teacher"] = teacher.eval().requires_grad_(False)
        if config.vision:
            give_sight(network, tokenizer, config)
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """The rows as examples."""
        return mapped(rows, example_of_row)

    # Training

    def stages(self, run: Run) -> Iterator[Stage]:
        """The student's, and before it the teacher's where that learns the task first."""
        yield from Training(self, run).stages()

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Sources and targets; with a teacher also answers, and its logits at their tokens."""
        sources, pixels = self.reader.inputs(examples)
        targets = [self.reader.target(example) for example in examples]
        batch = collate(sources, targets, self.reader.pad)
        if pixels is not None:
            batch["pixel_values"] = pixels
        if "teacher" in self.frozen:
            self._ask_teacher(batch, examples, sources, targets, generator)
        return batch

    def _ask_teacher(
        self,
        batch: Batch,
        examples: Sequence[Example],
        sources: list[list[int]],
        targets: list[list[int]],
        generator: torch.Generator,
    ) -> None:
        """Adds answers and what the teacher says of them, for the rows that it can read."""
        draws = self.lessons.draws(len(examples), generator)
        seen = torch.tensor([example.image is None for example in examples]).nonzero().squeeze(1)
        answers = [targets[row] for row in seen.tolist()]
        # on the meta device nothing can be drawn, and any answers will do
        if self.config.answers == "own" and self.device.type != "meta":
            known = [sources[row] for row in seen.tolist()]
            answers = self.lessons.answers(self.network, self.reader, known, draws[seen])
        self.lessons.add(batch, seen, answers, self.frozen["teacher"])

    @property
    def device(self) -> torch.device:
        """Where the student stands."""
        return next(self.network.parameters()).device

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the targets, and the KL from the teacher where it was asked."""
        counts, weight = batch["counts"], self.config.kd_weight
        memory = self._memory(batch)
        logits = self._logits(batch, batch["labels"], memory)
        gold = token_loss(logits.flatten(0, 1), batch["labels"].flatten(), counts["targets"])
        if "answers" not in counts:
            return {"loss": gold + self._unseen(batch)}
        found = {"ce_loss": gold}
        total = (1 - weight) * gold
        if "answers" in batch:
            answers = batch["answers"]
            if self.config.answers == "own":
                logits = self._logits(batch, answers, memory)
            found["kd_loss"] = distillation_loss(
                batch["teacher_logits"].flatten(0, 1),
                logits.flatten(0, 1),
                answers.flatten() != IGNORE,
                counts["answers"],
            )
            total = total + weight * found["kd_loss"]
        return {"loss": total + self._unseen(batch), **found}

    def _memory(self, batch: Batch) -> Any:
        """What the encoder gives, once for all answers; None without an encoder."""
        if not self.network.config.is_encoder_decoder:
            return None
        pixels = {"pixel_values": batch["pixel_values"]} if "pixel_values" in batch else {}
        encoder = self.network.get_encoder()
        return encoder(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], **pixels
        )

    def _logits(self, batch: Batch, answers: Tensor, memory: Any) -> Tensor:
        """What the student predicts at the tokens of answers [B, U] to the sources [B, U, V]."""
        if memory is None:
            inputs = batch["input_ids"], batch["attention_mask"]
            return aligned_logits(self.network, *inputs, answers)
        return self.network(
            encoder_outputs=memory,
            attention_mask=batch["attention_mask"],
            decoder_input_ids=shifted(self.network, answers),
            use_cache=False,
        ).logits

    def _unseen(self, batch: Batch) -> Tensor | float:
        """Nothing, as a gradient for what reads images, in a batch without any."""
        vision = getattr(getattr(self.network, "encoder", None), "vision", None)
        if vision is None or "pixel_values" in batch:
            return 0.0
        parts = [*vision.parameters(), *self.network.encoder.projector.parameters()]
        return torch.stack([part.sum() for part in parts if part.requires_grad]).sum() * 0.0

    @torch.no_grad()
    def nats(self, examples: Sequence[Example], batch_size: int = 64) -> list[float]:
        """-log p(target | source) of each example, a mean over its tokens."""
        found: list[float] = []
        for start in range(0, len(examples), batch_size):
            part = examples[start : start + batch_size]
            sources, pixels = self.reader.inputs(part)
            targets = [self.reader.target(example) for example in part]
            batch = collate(sources, targets, self.reader.pad)
            if pixels is not None:
                batch["pixel_values"] = pixels
            batch = to_device(batch, self.device)
            labels = batch["labels"]
            logits = self._logits(batch, labels, self._memory(batch)).float()
            losses = cross_entropy(logits.transpose(1, 2), labels, reduction="none")
            found += (losses.sum(1) / (labels != IGNORE).sum(1)).tolist()
        return found

    def held_out(self, examples: Sequence[Example]) -> dict[str, float]:
        """Mean nats a token of targets."""
        return {"target_nats": sum(self.nats(examples)) / len(examples)}

    # What the user keeps

    def export(self) -> PreTrainedModel:
        """The student; one from scratch is loaded by the classes in `network.mu`."""
        return self.network

    def save(self, folder: Path) -> None:
        """The student and its tokenizer in the layout of transformers."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    # Abilities

    def generate(
        self,
        examples: Sequence[Example],
        *,
        max_new_tokens: int = 0,
        num_beams: int = 1,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[dict[str, str]]:
        """Writes a target for each source.

        Args:
            max_new_tokens: longest text; 0 is as trained.
            num_beams: above 1, beam search.
            temperature: of sampling; 0 takes the most probable tokens.
            top_p: mass of the nucleus.
            seed: of sampling.
        """
        how: dict[str, Any] = {"num_beams": num_beams, "temperature": temperature}
        how |= {"top_p": top_p, "seed": seed}
        most = max_new_tokens or self.config.max_target
        for start in range(0, len(examples), _AT_ONCE):
            for text in write(self.reader, examples[start : start + _AT_ONCE], most, **how):
                yield {"generate": text}

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 1
    ) -> list[str]:
        """What it writes for each source, the most probable; the options are `generate`'s."""
        given = [Example(source) for source in sources]
        how = {"max_new_tokens": max_new_tokens, "num_beams": num_beams}
        return [row["generate"] for row in self.generate(given, **how)]

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        rows = []
        for number in range(16):
            noun = ("list", "file", "name", "socket")[number % 4]
            rows.append(
                {"source": f"def close_{noun}(x{number}): x.end()", "target": f"Close {noun}"}
            )
        return rows
