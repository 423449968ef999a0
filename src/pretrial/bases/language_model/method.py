"""What methods on language models share: where a model is from, what it writes, how it is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.bases.examples import sample_texts
from pretrial.checkpoints.pretrained import load_generator
from pretrial.checkpoints.t5 import save_network
from pretrial.data.rows import texts
from pretrial.data.windows.cutting import cut
from pretrial.errors import UserError
from pretrial.models.architectures.language_model import LanguageModel
from pretrial.models.tokenizers import learn_bpe, texts_of
from pretrial.train.budget import Budget
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import run_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

_AT_ONCE = 64  # prompts that are read together


class LanguageMethod(Method):
    """A method on a language model; see the package's text for what it leaves to a method.

    Args:
        config: the settings.
        network: of transformers.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.

    Attributes:
        language_model: the network and its tokenizer, as what stages train.
        specials: special tokens of a vocabulary that is learned, by their role.
        template: what that vocabulary puts around a text; None for nothing.
    """

    specials: ClassVar[Mapping[str, str]] = {
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    template: ClassVar[str | None] = None

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.language_model = self.new_language_model(network, tokenizer)

    @property
    def network(self) -> Any:
        """Of the language model."""
        return self.language_model.network

    @property
    def tokenizer(self) -> Any:
        """Of the language model."""
        return self.language_model.tokenizer

    # Where it comes from

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """See `Method.build`. With neither source nor data there is no tokenizer."""
        if source is not None:
            method = cls(*cls.load(config, source))
            method.adopt(source)
            return method
        if data is None:
            return cls(config, cls.new_network(config, config.vocab_size))
        tokenizer = cls.vocabulary(config, data)
        return cls(config, cls.new_network(config, len(tokenizer)), tokenizer)

    def new_language_model(self, network: Any, tokenizer: Any) -> Any:
        """The `LanguageModel` of a network, which says what an example of `batch` is."""
        return LanguageModel(network, tokenizer)

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained network."""
        raise NotImplementedError(f"{cls.__name__} does not say how its network is made")

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """A tokenizer learned from examples.

        Args:
            config: with the most entries, `vocab_size`.
            data: the examples, of which `parts` tells the texts.
            more: what `learn_bpe` takes by name; it goes before the class's `specials`.
        """
        how = {"specials": cls.specials, "template": cls.template} | more
        return learn_bpe(texts_of(data, cls.parts), config.vocab_size, **how)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """The settings with the sizes of a checkpoint, its network and its tokenizer.

        Raises:
            UserError: it is none, or its tokenizer has no end token.
        """
        network, tokenizer = load_generator(source)
        if tokenizer.eos_token_id is None:
            raise UserError(f"the tokenizer of {source} has no end token: give it one")
        return config.sized_as(network.config), network, tokenizer

    def adopt(self, source: str | Path) -> None:
        """Takes over what `save` left beside the network in a folder, if it is one of ours."""

    # Examples

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """The texts of the rows."""
        return texts(rows)

    @staticmethod
    def text_of(example: Any) -> str:
        """The text of an example, which may be the text itself, a row, or have it as `text`."""
        if isinstance(example, str):
            return example
        return str(example["text"] if isinstance(example, Mapping) else example.text)

    @classmethod
    def parts(cls, example: Any) -> Iterable[str | None]:
        """All texts of an example, to learn a vocabulary from."""
        return (cls.text_of(example),)

    # Training

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """See `models.architectures.language_model` for its fields."""
        return self.language_model.batch(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the labels."""
        return self.language_model.losses(batch)

    def optim(self) -> Optim | tuple[Optim, ...] | None:
        """The optimiser of its stages; None is as the settings say, see `Stage.of`."""
        return None

    def stage_on_windows(self, name: str, run: Run, budget: Budget, length: int) -> Stage:
        """A stage over the texts of a run, cut into windows of at most so many token ids."""
        windows, held_out = run_windows(
            run,
            lambda part: cut(map(self.text_of, part), self.tokenizer, length),
            name=str(length),
        )
        how: dict[str, Any] = {"budget": budget, "held_out": held_out, "optim": self.optim()}
        return Stage.of(name, self, windows, self.config, **how)

    # What it can do

    @property
    def max_written(self) -> int:
        """Tokens that are written at most where nothing is said."""
        raise NotImplementedError(f"{type(self).__name__} does not say how much it writes")

    @property
    def also_ends(self) -> Collection[int]:
        """Tokens that end what is written, beside the end token."""
        return ()

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """Token ids that are read before so many are written, with their special tokens."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    def written_text(self, ids: Sequence[int]) -> str:
        """The text of tokens that were written."""
        return self.language_model.text(ids)

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
        """Writes for each example: goes on with a text, or answers what was read.

        Args:
            examples: as `read` gives them, or texts.
            max_new_tokens: longest text, in tokens; 0 takes the model's own limit.
            num_samples: texts for each, with a temperature or beams.
            num_beams: above 1, beam search, which an encoder-decoder can.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus, when sampling.
            seed: of sampling.
        """
        most = max_new_tokens or self.max_written
        groups = self.written(
            (self.prompts([each], most)[0] for each in examples),
            also_ends=self.also_ends,
            max_new_tokens=most,
            num_samples=num_samples,
            num_beams=num_beams,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        for group in groups:
            yield self.row_of([self.written_text(ids) for ids in group])

    def written(
        self, prompts: Iterable[list[int]], *, seed: int = 0, **how: Any
    ) -> Iterator[list[list[int]]]:
        """For each prompt the token ids that are written; some prompts go together.

        Args:
            prompts: token ids with the special tokens of a prompt.
            seed: of sampling.
            how: what `LanguageModel.write` takes by name.
        """
        generator = torch.Generator().manual_seed(seed)
        rest = iter(prompts)
        while some := [prompt for _, prompt in zip(range(_AT_ONCE), rest, strict=False)]:
            yield from self.language_model.write(some, generator=generator, **how)

    @staticmethod
    def row_of(texts: list[str]) -> dict[str, Any]:
        """What was written for one example: `text`, and all `texts` where there are several."""
        return {"text": texts[0], **({"texts": texts} if len(texts) > 1 else {})}

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 1
    ) -> list[str]:
        """What the model writes for each text; the ability of the task "generation"."""
        rows = self.generate(sources, max_new_tokens=max_new_tokens, num_beams=num_beams)
        return [row["text"] for row in rows]

    def encode(self, examples: Sequence[Any]) -> Tensor:
        """One vector an example: the mean of the last states over what is read [N, d]."""
        return self.language_model.encode(self.prompts(examples, 0))

    # What the user keeps

    def export(self) -> PreTrainedModel:
        """The network, in the layout of transformers."""
        return self.network

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers."""
        save_network(self.network, folder)
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        return sample_texts(", and at all the others.")
