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
8. A teacher of text learns nothing of images: rows with one are learned from labels alone.

| field | content |
| --- | --- |
| source | the text to read |
| target | the text to write; not needed to generate |
| image | a path or an image, with `vision`; optional |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.bases.language_model import LanguageMethod
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.masks import IGNORE
from pretrial.data.rows import mapped
from pretrial.methods.text.return_of_encoder.abilities import write_of_images
from pretrial.methods.text.return_of_encoder.config import SCRATCH, Config
from pretrial.methods.text.return_of_encoder.data import Example, Inputs, example_of_row
from pretrial.methods.text.return_of_encoder.network.mu import (
    MuForCausalLM,
    MuForConditionalGeneration,
)
from pretrial.methods.text.return_of_encoder.network.public import load_student
from pretrial.methods.text.return_of_encoder.network.vision import attach_vision
from pretrial.methods.text.return_of_encoder.stages import Training
from pretrial.methods.text.return_of_encoder.stages.distillation import (
    Distillation,
    aligned_logits,
    load_teacher,
)
from pretrial.models.architectures.seq2seq import collate, shifted
from pretrial.objectives.tokens import distillation_loss, token_loss
from pretrial.train.device import to_device
from pretrial.train.in_batches import in_batches
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
            "330 M parameters at equal data and FLOPs, Rouge-L and Ragas-GPT: SQuAD 2.0 0.69 / 0.94"
            " against 0.57 / 0.90, XSum 0.27 / 0.20 against 0.24 / 0.19, CodeXGLUE 0.93 / 0.74"
            " against 0.93 / 0.63",
            "README of the release; metrics: (secondary) Table 1",
        ),
    ),
)


class ReturnOfEncoder(LanguageMethod):
    """A student, and a teacher while it is trained. See the module's text.

    Attributes:
        frozen: holds "teacher" while training from one.
        distillation: asks the teacher.
    """

    Config: ClassVar[type] = Config
    skips_parameters = True  # a micro-batch may hold no image
    specials: ClassVar[Mapping[str, str]] = {
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.inputs = Inputs(config, self.language_model)
        self.distillation = Distillation(config)

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `LanguageMethod.build`; from scratch a student has its teacher's tokenizer.

        Raises:
            UserError: a checkpoint or a teacher does not fit.
        """
        if source is None and config.teacher not in ("", SCRATCH):
            teacher, tokenizer = load_teacher(config.teacher, None)
            method = cls(config, cls.new_network(config, len(tokenizer), tokenizer), tokenizer)
            method.frozen["teacher"] = teacher.eval().requires_grad_(False)
        else:
            method = super().build(config, source, data)
        if config.vision:
            attach_vision(method.network, method.tokenizer, config.vision, config.train_vision)
        return method

    @classmethod
    def new_network(cls, config: Any, vocab_size: int, tokenizer: Any = None) -> Any:
        """An untrained Mu, or the decoder-only model of the same layers."""
        both = config.architecture == "encoder_decoder"
        sizes = config.network_config(vocab_size, tokenizer)
        return (MuForConditionalGeneration if both else MuForCausalLM)(sizes)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """Of `model.pt` of the release, a folder of ours, or any checkpoint that writes text."""
        network, tokenizer = load_student(source, config.head_width)
        both = network.config.is_encoder_decoder
        config = replace(config, architecture="encoder_decoder" if both else "decoder_only")
        return config, network, tokenizer

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """The rows as examples."""
        return mapped(rows, example_of_row)

    @classmethod
    def parts(cls, example: Example) -> Iterable[str | None]:
        """Source and target."""
        return (example.source, example.target)

    # Training

    def stages(self, run: Run) -> Iterator[Stage]:
        """The student's, and before it the teacher's where that learns the task first."""
        yield from Training(self, run).stages()

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Sources and targets; with a teacher also answers, and its logits at their tokens."""
        batch = self._plain_batch(examples)
        if "teacher" in self.frozen:
            self._add_teacher(batch, examples, generator)
        return batch

    def _plain_batch(self, examples: Sequence[Example]) -> Batch:
        sources, pixels = self.inputs.sources(examples)
        targets = [self.inputs.target(example) for example in examples]
        batch = collate(sources, targets, self.language_model.pad)
        return batch if pixels is None else batch | {"pixel_values": pixels}

    def _add_teacher(
        self, batch: Batch, examples: Sequence[Example], generator: torch.Generator
    ) -> None:
        """Adds answers and what the teacher says of them, for the rows that it can read."""
        draws = self.distillation.draws(len(examples), generator)
        seen = torch.tensor([example.image is None for example in examples]).nonzero().squeeze(1)
        known = [examples[row] for row in seen.tolist()]
        answers = [self.inputs.target(example) for example in known]
        # on the meta device nothing can be drawn, and any answers will do
        if self.config.answers == "own" and self.device.type != "meta":
            masks = batch["attention_mask"].bool()
            sources = [batch["input_ids"][row][masks[row]].tolist() for row in seen.tolist()]
            answers = self.distillation.answers(self.language_model, sources, draws[seen])
        self.distillation.add(batch, seen, answers, self.frozen["teacher"])

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
        # L = alpha KL(teacher || student) + (1 - alpha) CE, alpha being `kd_weight`
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
        """What the encoder gives, once for all answers (Figure 1); None without an encoder."""
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

    def nll(self, examples: Sequence[Example], batch_size: int = 64) -> list[float]:
        """-log p(target | source) in nats of each example, a mean over its tokens."""

        def compute(some: Sequence[Example]) -> Tensor:
            batch = to_device(self._plain_batch(some), self.device)
            logits = self._logits(batch, batch["labels"], self._memory(batch)).float()
            losses = cross_entropy(logits.transpose(1, 2), batch["labels"], reduction="none")
            return losses.sum(1) / batch["loss_mask"].sum(1)

        return list(in_batches(self, examples, compute, batch_size).tolist())

    def held_out_nll(self, examples: Sequence[Example]) -> dict[str, float]:
        """Mean nats a token of targets."""
        return {"target_nll": sum(self.nll(examples)) / len(examples)}

    # Abilities

    @property
    def max_written(self) -> int:
        """As many tokens as a target has."""
        return int(self.config.max_target)

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """The sources."""
        given = [Example(each) if isinstance(each, str) else each for each in examples]
        return self.inputs.sources(given)[0]

    def generate(
        self,
        examples: Sequence[Any],
        *,
        max_new_tokens: int = 0,
        num_samples: int = 1,
        num_beams: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Writes a target for each source.

        Args:
            max_new_tokens: longest text; 0 is as trained.
            num_samples: texts for each, with a temperature or beams; of an image one.
            num_beams: above 1, beam search, which an encoder-decoder can.
            temperature: of sampling; 0 takes the most probable tokens.
            top_p: mass of the nucleus.
            seed: of sampling.
        """
        how: dict[str, Any] = {"num_beams": num_beams, "temperature": temperature}
        how |= {"max_new_tokens": max_new_tokens or self.max_written, "top_p": top_p, "seed": seed}
        for has_image, rows in groupby(examples, lambda each: _image_of(each) is not None):
            if not has_image:
                yield from super().generate(list(rows), num_samples=num_samples, **how)
                continue
            for text in write_of_images(self.inputs, list(rows), **how):
                yield {"text": text}

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


def _image_of(example: Example | str) -> Any:
    return None if isinstance(example, str) else example.image
