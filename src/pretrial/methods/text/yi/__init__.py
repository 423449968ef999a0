"""Yi: the recipe of a foundation model, step by step, on one's own data.

Texts go through a cascade of filters, from cheap to dear, that says what it removed and why; a
model of Llama's layout, whose query heads share key and value heads, is trained on the rest. A
trained model is deepened: the block of layers that changes its input least is copied behind itself,
and training goes on. Its context is lengthened: the base of the rotary positions is raised, and a
little training on long texts, and on questions whose answer recites one of several, does the rest.
Few but good dialogues make it a chat model: the loss is on the responses alone, and noise is added
to the token vectors. Each step is a stage of one run, or a run of its own on any checkpoint of
Llama's layout: `pretrial train yi --steps deepen --init CHECKPOINT`.

Images go before the text: CLIP's patches, through a projector of two layers with norms.

Deviations from the paper:
1. The batch is not grown when the loss stalls, as it is in the training of Yi-9B.
2. The language gate tells scripts, not languages; the classifiers are linear models on counts of
   runs of bytes, taught by one's own reference texts.
3. Weights of 8 and 4 bits are for serving alone: `pretrial export RUN --to FILE.gguf --bits 4`.

| field | content |
| --- | --- |
| text | a document, or what is said of an image; for all steps but chat |
| image | a path or an image; for align, sharpen and see |
| source | of an image, for `pairs_per_source` |
| messages | a dialogue, a list of `role` and `content`; for chat |
| ability | of a dialogue, such as math, for `mixture` |
| url | of a document, for lists of domains |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from pretrial.bases.language_model import DecoderMethod
from pretrial.card import Card, Claim, Field
from pretrial.data.rows import mapped
from pretrial.errors import UserError
from pretrial.evaluate.needle import needle_grid
from pretrial.methods.text.yi.config import Config
from pretrial.methods.text.yi.data import (
    BEGIN,
    END,
    check_row,
    has_image,
    has_messages,
    prompt,
    texts_of,
)
from pretrial.methods.text.yi.network.depth import layers_of
from pretrial.methods.text.yi.network.llava import (
    llava_processor,
    read_checkpoint,
    to_llava,
    with_image_token,
)
from pretrial.methods.text.yi.network.vision import VisionTower
from pretrial.methods.text.yi.stages import Training
from pretrial.methods.text.yi.stages.chat import surprising
from pretrial.methods.text.yi.stages.vision import ImageToText
from pretrial.train.run import Run
from pretrial.train.stage import Stage

__all__ = ["CARD", "Config", "Yi"]

CARD = Card(
    slug="yi",
    title="Yi: Open Foundation Models by 01.AI",
    authors="01.AI",
    year=2024,
    arxiv="2403.04652",
    summary="Filtered texts, grouped queries, deepening, longer context, chat from few dialogues",
    baseline="the same model on the texts as they are",
    abilities=("generate", "needle", "flag", "nll"),
    fields=(
        Field("text", "a document; for all steps but chat"),
        Field("messages", "a dialogue: a list of role and content", required=False),
        Field("ability", "of a dialogue, such as math", required=False),
        Field("url", "of a document", required=False),
        Field("image", "a path or an image", required=False),
        Field("source", "of an image", required=False),
    ),
    claims=(
        Claim(
            "Yi-9B before any training is nearly as good as the 6B that it was made of: MMLU 63.0"
            " and 63.2; after 800 B tokens 68.4, HumanEval 15.9 to 39.0, GSM8K 32.5 to 52.3",
            "(secondary) Table 8",
        ),
        Claim(
            "A context of 200,000 tokens costs Yi-34B little: MMLU 76.32 to 75.56",
            "(secondary) Table 6",
        ),
    ),
)

_TOWER = "vision_tower"  # its folder inside a saved model


class Yi(DecoderMethod):
    """A language model of Llama's layout. See the module's text.

    Attributes:
        language_model: what the steps train.
        vision_tower: reads images; None without.
        passed: the texts that the cascade let pass in this process's run; None without it.
        cosine: mean over the layers that this process's run copied, of their input and output
            before that; None without deepening.
    """

    Config: ClassVar[type] = Config

    def __init__(
        self, config: Any, network: Any, tokenizer: Any = None, tower: VisionTower | None = None
    ) -> None:
        super().__init__(config, network, tokenizer)
        if tower is None and tokenizer is not None and config.vision:
            tower = VisionTower.load(
                config.vision, network.config.hidden_size, config.projector_norms
            )
        self.vision_tower = tower
        self.passed: Sequence[str] | None = None
        self.cosine: float | None = None

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> LlamaForCausalLM:
        """An untrained Llama."""
        sizes = cls.network_config(
            config,
            LlamaConfig,
            vocab_size,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
        )
        return LlamaForCausalLM(sizes)

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """With tokens around turns; every digit is a token of its own."""
        # section 2.2
        how = {"task_tokens": (BEGIN, END), "split_digits": True} | more
        return super().vocabulary(config, data, **how)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `LanguageMethod.load`: any checkpoint of Llama's layout, or a Llava."""
        network, tokenizer, tower = read_checkpoint(source)
        layers_of(network)
        if tokenizer.eos_token_id is None:
            raise UserError(f"the tokenizer of {source} has no end token: give it one")
        own = Path(source) / _TOWER
        if tower is None and own.is_dir():
            width = network.config.hidden_size
            tower = VisionTower.load(own, width, config.projector_norms)
        return config.sized_as(network.config), network, tokenizer, tower

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """The rows, each with a text or a dialogue."""
        return mapped(rows, check_row)

    @classmethod
    def parts(cls, example: dict[str, Any]) -> Iterable[str]:
        """The text, or those of a dialogue's messages."""
        return texts_of(example)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One for each of the config's steps."""
        yield from Training(self, run).stages()

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """The texts, or dialogues with a response begun."""
        texts = [prompt(row["messages"]) if has_messages(row) else row["text"] for row in examples]
        return super().prompts(texts, max_new_tokens)

    @property
    def also_ends(self) -> tuple[int, ...]:
        """The end of a turn, where the vocabulary knows it."""
        known = self.tokenizer.get_vocab()
        return (known[END],) if END in known else ()

    def generate(  # type: ignore[override]  # one beam
        self,
        examples: Sequence[dict[str, Any]],
        *,
        max_new_tokens: int = 0,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Continues each text, or answers each dialogue; of long ones the end is read.

        Args:
            examples: rows with a text or a dialogue, and maybe an image.
            max_new_tokens: longest continuation, in tokens; 0 is 50, or half of what is read.
            num_samples: continuations of each, with a temperature; of an image one.
            temperature: of the sampling; 0 takes the most probable tokens.
            top_p: mass of the nucleus.
            seed: of the sampling.
        """
        how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "num_samples": num_samples}
        how |= {"temperature": temperature, "top_p": top_p, "seed": seed}
        for with_image, rows in groupby(examples, has_image):
            if not with_image:
                yield from super().generate(rows, **how)  # type: ignore[arg-type]
                continue
            for row in rows:
                yield {"text": self._describe(row, max_new_tokens, temperature, seed)}

    def _describe(self, row: dict[str, Any], most: int, temperature: float, seed: int) -> str:
        """Continues the text of a row with an image."""
        if self.vision_tower is None:
            raise UserError("this model sees no images: train it with --steps align, and --vision")
        model = ImageToText(self.language_model, self.vision_tower, self.config.large_image)
        how = {"do_sample": temperature > 0, "temperature": temperature or None}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            ids = self.tokenizer(row["text"])["input_ids"]
            written = model.write(row["image"], ids, most or self.max_written, **how)
        return self.tokenizer.decode(written, skip_special_tokens=True)

    def needle(
        self,
        examples: Sequence[dict[str, Any]],
        *,
        lengths: tuple[int, ...] = (),
        depths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
        num_trials: int = 10,
        seed: int = 0,
        picture: str = "",
    ) -> Iterator[dict[str, float]]:
        """The share of needles found in haystacks of the texts, for each length and depth.

        Args:
            examples: rows with a text.
            lengths: tokens; by default half of what the model reads, and all of it.
            depths: where the needle stands: 0 is the beginning, 1 the end.
            num_trials: needles for each length and depth.
            seed: of the needles and the texts.
            picture: page (.html) that shows the shares as a grid; none without it.
        """
        longest = self.num_positions
        found = []
        for cell in needle_grid(
            self.network,
            self.tokenizer,
            [text for row in examples for text in texts_of(row)],
            lengths=lengths or (longest // 2, longest),
            depths=depths,
            num_trials=num_trials,
            seed=seed,
        ):
            found.append(cell)
            yield cell
        if picture:
            from pretrial.compare.report.grid import needle_page

            needle_page(found, num_trials).write(Path(picture))

    @torch.no_grad()
    def flag(self, examples: Sequence[dict[str, Any]], *, top: int = 20) -> Iterator[dict]:
        """The dialogues that surprise the model most, for a look by hand: mend them, train again.

        Args:
            examples: rows with a dialogue.
            top: how many.
        """
        for loss, number in surprising(self.network, self.tokenizer, examples)[:top]:
            yield {"row": number, "loss": loss, "messages": list(examples[number]["messages"])}

    def export(self) -> PreTrainedModel:
        """The language model, `LlamaForCausalLM` unless it began from another checkpoint.

        With images it is a Llava; one whose projector has norms is a `YiLlava`.
        """
        if self.vision_tower is None:
            return self.network
        tokenizer = with_image_token(self.tokenizer)
        return to_llava(self.network, self.vision_tower, self.config.large_image, tokenizer)

    @property
    def processor(self) -> Any:
        """How transformers prepares images and texts for what `export` gives; None without images.

        An image is IMAGE in a text, which then begins with the end token.
        """
        if self.vision_tower is None:
            return None
        return llava_processor(self.vision_tower, self.config.large_image, self.tokenizer)

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers, the vision tower in a folder."""
        super().save(folder)
        if self.vision_tower is not None:
            self.vision_tower.save(folder / _TOWER)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        rows: list[dict[str, Any]] = []
        for number in range(12):
            noun = ("list", "file", "name", "socket")[number % 4]
            rows.append(
                {"text": f"Return the {noun} number {number}, and close the {noun} then. " * 3}
            )
            answer = f"The {noun} has number {number}."
            rows.append(
                {
                    "messages": [
                        {"role": "user", "content": f"Which {noun}?"},
                        {"role": "assistant", "content": answer},
                    ],
                    "ability": "facts",
                }
            )
        return rows
