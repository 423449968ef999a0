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

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedModel

from pretrial.card import Card, Claim, Field
from pretrial.compare.report.grid import needle_page
from pretrial.data.rows import mapped
from pretrial.errors import UserError
from pretrial.evaluate.needle import needle_grid
from pretrial.evaluate.perplexity import causal_nll
from pretrial.methods.text.yi.chat import BEGIN, END, check_row, prompt, surprising
from pretrial.methods.text.yi.config import Config
from pretrial.methods.text.yi.llava import (
    llava_processor,
    read_checkpoint,
    to_llava,
    with_image_token,
)
from pretrial.methods.text.yi.network.context import context_values
from pretrial.methods.text.yi.network.depth import layers_of
from pretrial.methods.text.yi.seeing import Seer, Sight
from pretrial.methods.text.yi.training import Training
from pretrial.models.architectures.language_model import CausalLM
from pretrial.models.decoding.sample import sample
from pretrial.models.tokenizers import learn_bpe, texts_of
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Batch, Stage

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
            "(secondary) Yi, section on depth up-scaling",
        ),
        Claim(
            "A context of 200,000 tokens costs Yi-34B little: MMLU 76.32 to 75.56",
            "(secondary) Yi, section on long context",
        ),
    ),
)

_SIGHT = "sight"  # folder of the vision model inside a saved one


class Yi(Method):
    """A language model of Llama's layout. See the module's text.

    Attributes:
        language_model: what the steps train.
        sight: reads images; None without.
        passed: the texts that the cascade let pass in this process's run; None without it.
        cosine: mean over the layers that this process's run copied, of their input and output
            before that; None without deepening.
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.language_model = CausalLM(network, tokenizer)
        self.sight: Sight | None = None
        self.passed: Sequence[str] | None = None
        self.cosine: float | None = None

    @property
    def tokenizer(self) -> Any:
        """Of the language model."""
        return self.language_model.tokenizer

    @classmethod
    def build(
        cls,
        config: Any,
        source: str | Path | None = None,
        data: Sequence[dict[str, Any]] | None = None,
    ) -> Self:
        """See `Method.build`. `source` may be any checkpoint of Llama's layout."""
        if source is not None:
            network, tokenizer, sight = read_checkpoint(source)
            layers_of(network)
            if tokenizer.eos_token_id is None:
                raise UserError(f"the tokenizer of {source} has no end token: give it one")
            longest = context_values(network)["max_position_embeddings"]
            config = replace(config, max_length=min(config.max_length, longest))
            own = Path(source) / _SIGHT
            made = cls(config, network, tokenizer)
            if sight is None:
                return made._seeing(own if own.is_dir() else config.vision)
            made.sight = sight
            return made
        if data is None:
            return cls(config, LlamaForCausalLM(config.network_config(config.vocab_size, None)))
        tokenizer = learn_bpe(
            texts_of(data, _texts_of),
            config.vocab_size,
            specials={"eos_token": "<|endoftext|>", "pad_token": "<pad>", "unk_token": "<unk>"},
            task_tokens=(BEGIN, END),
            split_digits=True,
        )
        sizes = config.network_config(len(tokenizer), tokenizer.eos_token_id)
        return cls(config, LlamaForCausalLM(sizes), tokenizer)._seeing(config.vision)

    def _seeing(self, source: str | Path) -> Self:
        """Itself, with the sight of a checkpoint if one is named."""
        if source:
            width = self.language_model.network.config.hidden_size
            self.sight = Sight.load(source, width, self.config.projector_norms)
        return self

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """The rows, each with a text or a dialogue."""
        return mapped(rows, check_row)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """As the language model's."""
        return self.language_model.batch(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """As the language model's."""
        return self.language_model.losses(batch)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One for each of the config's steps."""
        yield from Training(self, run).stages()

    def generate(
        self,
        examples: Sequence[dict[str, Any]],
        *,
        max_new_tokens: int = 100,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[dict[str, str]]:
        """Continues each text, or answers each dialogue; of long ones the end is read.

        Args:
            examples: rows with a text or a dialogue.
            max_new_tokens: longest continuation.
            temperature: of the sampling; 0 takes the most probable tokens.
            top_p: mass of the nucleus.
            seed: of the sampling.
        """
        longest = int(context_values(self.language_model.network)["max_position_embeddings"])
        room = longest - max_new_tokens
        if room < 1:
            raise UserError(f"the model reads {longest} tokens: ask for fewer than that")
        generator = torch.Generator().manual_seed(seed)
        stop = self.tokenizer.convert_tokens_to_ids(END)
        ends = {self.language_model.end} | ({stop} if END in self.tokenizer.get_vocab() else set())
        for row in examples:
            if row.get("image") is not None:
                how = {"do_sample": temperature > 0, "temperature": temperature or None}
                yield {"generate": self._describe(row, max_new_tokens, how, seed)}
                continue
            text = prompt(row["messages"]) if "messages" in row else row["text"]
            ids = self.tokenizer(text)["input_ids"][-room:]
            ((written,),) = sample(
                self.language_model.network,
                [ids],
                num_samples=1,
                max_new_tokens=max_new_tokens,
                eos_token_id=ends,
                pad_token_id=self.language_model.end,
                temperature=temperature or 1.0,
                top_p=top_p,
                greedy=temperature == 0,
                generator=generator,
            )
            yield {"generate": self.tokenizer.decode(written, skip_special_tokens=True)}

    def _describe(self, row: dict[str, Any], most: int, how: dict[str, Any], seed: int) -> str:
        """Continues the text of a row with an image."""
        if self.sight is None:
            raise UserError("this model sees no images: train it with --steps align, and --vision")
        seer = Seer(self.language_model, self.sight, self.config.large_image)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            written = seer.write(
                row["image"], self.tokenizer(row["text"])["input_ids"], most, **how
            )
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
        longest = int(context_values(self.language_model.network)["max_position_embeddings"])
        found = []
        for cell in needle_grid(
            self.language_model.network,
            self.tokenizer,
            [text for row in examples for text in _texts_of(row)],
            lengths=lengths or (longest // 2, longest),
            depths=depths,
            num_trials=num_trials,
            seed=seed,
        ):
            found.append(cell)
            yield cell
        if picture:
            needle_page(found, num_trials).write(Path(picture))

    @torch.no_grad()
    def flag(self, examples: Sequence[dict[str, Any]], *, top: int = 20) -> Iterator[dict]:
        """The dialogues that surprise the model most, for a look by hand: mend them, train again.

        Args:
            examples: rows with a dialogue.
            top: how many.
        """
        for loss, number in surprising(self.language_model.network, self.tokenizer, examples)[:top]:
            yield {"row": number, "loss": loss, "messages": list(examples[number]["messages"])}

    def nll(self, texts: Sequence[Any]) -> tuple[list[float], list[int]]:
        """Negative log-likelihood in nats and UTF-8 bytes of each text; see `causal_nll`."""
        plain = [text if isinstance(text, str) else text["text"] for text in texts]
        network = self.language_model.network
        return causal_nll(network, self.tokenizer, plain, max_length=self.config.max_length)

    def export(self) -> PreTrainedModel:
        """The language model, `LlamaForCausalLM` unless it began from another checkpoint.

        With images it is a Llava; one whose projector has norms is a `YiLlava`.
        """
        network = self.language_model.network
        if self.sight is None:
            return network
        tokenizer = with_image_token(self.tokenizer)
        return to_llava(network, self.sight, self.config.large_image, tokenizer)

    @property
    def processor(self) -> Any:
        """How transformers prepares images and texts for what `export` gives; None without images.

        An image is IMAGE in a text, which then begins with the end token.
        """
        if self.sight is None:
            return None
        return llava_processor(self.sight, self.config.large_image, self.tokenizer)

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers."""
        self.language_model.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if self.sight is not None:
            self.sight.save(folder / _SIGHT)

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


def _texts_of(row: dict[str, Any]) -> list[str]:
    if "messages" in row:
        return [str(message["content"]) for message in row["messages"]]
    return [row["text"]]
