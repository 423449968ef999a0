"""Methods that hide a part of a text and write it, and that learn prompted tasks, in any layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pretrial.bases.language_model.examples import Example, read_examples, texts_of
from pretrial.bases.language_model.method import LanguageMethod
from pretrial.convert.prefix_decoder import prefix_recipe
from pretrial.corrupt.denoisers import MixtureOfDenoisers, Pair
from pretrial.data.reading.mixture import Mixture, temperature_weights
from pretrial.data.rows import by_key, is_on_disk, mapped, where
from pretrial.data.windows.cutting import cut
from pretrial.errors import UserError
from pretrial.models.architectures.language_model import ConditionalLM
from pretrial.models.architectures.layouts import architecture_of, new_llama
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.architectures.t5_decoder import new_t5_decoder
from pretrial.models.tokenizers import add_task_tokens, sentinel_ids
from pretrial.train.budget import Budget
from pretrial.train.stage import Batch, Stage
from pretrial.train.tokens import run_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

_NUM_SENTINELS = 100  # of a decoder that has none yet; as many as T5 has


class PromptedMethod(LanguageMethod):
    """A model that reads inputs and writes targets, as an encoder-decoder or as one decoder.

    Its settings are those of `config.PromptedConfig`, and more. The targets of raw texts are
    what a mixture of denoisers hides of them; those of prompts are answers.

    Attributes:
        mixture: makes inputs and targets of windows; None without a tokenizer.
    """

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.mixture: MixtureOfDenoisers | None = None
        if tokenizer is not None:
            self.mixture = self.new_mixture()

    def new_language_model(self, network: Any, tokenizer: Any) -> ConditionalLM:
        """Learns pairs of token ids."""
        return ConditionalLM(network, tokenizer)

    def new_mixture(self) -> MixtureOfDenoisers:
        """The denoisers that raw texts are learned by."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it hides")

    # Where it comes from

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """See `LanguageMethod.vocabulary`; texts are put as they begin or end in training."""
        encoder = config.architecture == "encoder_decoder"
        return super().vocabulary(
            config, data, template="$A </s>" if encoder else "<pad> $A", **more
        )

    @staticmethod
    def new_layout(config: Any, vocab_size: int, *, tied: bool, t5: str, llama: str) -> Any:
        """An untrained network of the layout that is asked for.

        Args:
            config: the settings, with `head_size` and `dropout_prob`.
            vocab_size: entries of the vocabulary.
            tied: the output matrix is that of the embeddings.
            t5: the activation of an encoder-decoder, such as "gated-silu".
            llama: of a decoder, such as "silu"; of one with T5's relative positions, which settings
                may ask for as `positions`, it is the encoder-decoder's.
        """
        sizes: dict[str, Any] = {
            "width": config.width,
            "num_layers": config.num_layers,
            "num_heads": config.num_heads,
            "feed_forward": config.feed_forward,
            "head_size": config.head_size,
            "tied": tied,
        }
        if config.architecture == "encoder_decoder":
            return new_t5(vocab_size, dropout_prob=config.dropout_prob, activation=t5, **sizes)
        if getattr(config, "positions", "rotary") == "relative":
            sizes = {name: size for name, size in sizes.items() if name != "tied"}
            return new_t5_decoder(
                vocab_size,
                config.architecture,
                dropout_prob=config.dropout_prob,
                activation=t5,
                **sizes,
            )
        longest = config.max_inputs + config.max_targets
        return new_llama(
            vocab_size, config.architecture, activation=llama, max_positions=longest, **sizes
        )

    @staticmethod
    def check_length(config: Any, network: Any, source: str | Path) -> None:
        """Makes sure that a loaded network reads as much as the settings say.

        Raises:
            UserError: it does not.
        """
        longest = getattr(network.config, "max_position_embeddings", None)
        if longest is not None and config.max_inputs + config.max_targets > longest:
            raise UserError(
                f"{source} reads {longest} tokens: give --max-inputs and --max-targets whose sum is"
                " at most that"
            )

    @staticmethod
    def add_tokens(tokenizer: Any, network: Any, tokens: Sequence[str], *, sentinels: bool) -> None:
        """Adds tokens that a checkpoint lacks, and before them sentinels if it has none."""
        further = [f"<extra_id_{number}>" for number in range(_NUM_SENTINELS)] if sentinels else []
        add_task_tokens(
            tokenizer, network, [*(() if sentinel_ids(tokenizer) else further), *tokens]
        )

    # Examples

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """See `examples.read_examples`."""
        return read_examples(rows)

    @staticmethod
    def text_of(example: Example | str) -> str:
        """What is read when something is to be written."""
        return example if isinstance(example, str) else example.prompt

    @classmethod
    def parts(cls, example: Example) -> Iterable[str]:
        """The prompt or text, and the target."""
        return (example.prompt, example.target)

    # Training

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Draws a denoiser for each window of token ids; targets get the end token."""
        assert self.mixture is not None
        return self.denoised(self.mixture, examples, generator)

    def denoised(
        self, mixture: MixtureOfDenoisers, windows: Sequence[list[int]], generator: torch.Generator
    ) -> Batch:
        """A batch of what a mixture makes of windows of token ids."""
        pairs = mixture.pairs(windows, generator)
        closed = [Pair(pair.inputs, [*pair.targets, self.language_model.end]) for pair in pairs]
        return self.language_model.batch(closed, generator)

    def stage_on_texts(self, name: str, run: Run, budget: Budget) -> Stage:
        """A stage over windows of the raw texts."""
        assert self.mixture is not None
        tokenizer, length = self.tokenizer, self.mixture.window
        windows, held_out = run_windows(
            run, lambda part: cut(texts_of(part), tokenizer, length), name=str(length)
        )
        return self._stage(name, self, windows, budget, held_out)

    def stage_on_tasks(
        self, name: str, run: Run, budget: Budget, head: Sequence[int] = ()
    ) -> Stage:
        """A stage over the prompted tasks, behind a head; see `task_mixture`."""
        data, held_out = (self.task_mixture(part, head) for part in (run.data, run.held_out))
        if not data:
            raise UserError("there are no tasks to learn: give rows with 'input' and 'target'")
        return self._stage(name, self.language_model, data, budget, held_out)

    def _stage(
        self, name: str, module: Any, data: Sequence[Any], budget: Budget, held_out: Sequence[Any]
    ) -> Stage:
        how: dict[str, Any] = {"budget": budget, "held_out": held_out, "optim": self.optim()}
        return Stage.of(name, module, data, self.config, **how)

    def task_mixture(self, examples: Sequence[Example], head: Sequence[int]) -> Sequence[Pair]:
        """Pairs of all tasks, in proportion to their sizes, where no size counts as more than
        `most_per_task` of the settings.

        Of examples on the disk, two numbers each are in memory: its place, and that of its pair.

        Args:
            examples: those with an input and a target are learned from; there may be none.
            head: token ids in front of each prompt.
        """

        def pairs(own: Sequence[Example]) -> Sequence[Pair]:
            if is_on_disk(own):
                return mapped(own, lambda _, e: self.pairs_of([e.input], [e.target], head)[0])
            return self.pairs_of([e.input for e in own], [e.target for e in own], head)

        known = where(examples, lambda example: example.input and example.target)
        tasks = [pairs(own) for own in by_key(known, lambda example: example.task).values()]
        if not tasks:
            return []
        sizes = [min(len(task), self.config.most_per_task) for task in tasks]
        return Mixture(tasks, temperature_weights(sizes, 1.0))

    def ids_of(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """Token ids of texts without special tokens around them, cut to a length."""
        if not texts:
            return []
        how: dict[str, Any] = {"add_special_tokens": False, "truncation": True}
        return list(self.tokenizer(list(texts), max_length=max(length, 1), **how)["input_ids"])

    def pairs_of(
        self, inputs: Sequence[str], targets: Sequence[str], head: Sequence[int] = ()
    ) -> list[Pair]:
        """Prompts, behind a head, and answers with their end token; each cut to its length."""
        read = self.ids_of(inputs, self.config.max_inputs - len(head) - 1)
        written = self.ids_of(targets, self.config.max_targets - 1)
        return [
            Pair([*head, *ids], [*answer, self.language_model.end])
            for ids, answer in zip(read, written, strict=True)
        ]

    # What it can do

    @property
    def max_written(self) -> int:
        """As many as a target has."""
        return int(self.config.max_targets)

    def prompts_of(self, texts: Sequence[str], head: Sequence[int] = ()) -> list[list[int]]:
        """Texts behind a head, cut to their length, with the special tokens of a prompt."""
        rows = self.ids_of(texts, self.config.max_inputs - len(head) - 1)
        return [self.language_model.prompt([*head, *ids]) for ids in rows]

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """The texts or prompts of examples."""
        return self.prompts_of([self.text_of(each) for each in examples])

    def written_text(self, ids: Sequence[int]) -> str:
        """The text of tokens that were written."""
        return super().written_text(ids).strip()

    def export_beside(self, folder: Path) -> str:
        """See `Method.export_beside`: of a prefix decoder the mask that goes with it."""
        if architecture_of(self.network) != "prefix_decoder":
            return ""
        start, *behind = self.language_model.prompt([])
        return prefix_recipe(type(self.network), [start], behind)

    def generate(
        self,
        examples: Sequence[Example],
        *,
        max_new_tokens: int = 0,
        num_samples: int = 1,
        num_beams: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        spans: bool = False,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Writes what follows each text or prompt.

        Args:
            max_new_tokens: longest text, in tokens; 0 takes the model's own limit.
            num_samples: texts for each, with a temperature or beams.
            num_beams: above 1, beam search, which an encoder-decoder can.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus, when sampling.
            spans: the text has gaps <extra_id_0>, ...; keep these signs between what fills them.
            seed: of sampling.
        """
        groups = self.written(
            self.prompts(examples, 0),
            max_new_tokens=max_new_tokens or self.max_written,
            num_samples=num_samples,
            num_beams=num_beams,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        for group in groups:
            texts = [self.language_model.text(ids, keep_special=spans).strip() for ids in group]
            yield self.row_of(texts)

    def rank(
        self, examples: Sequence[Example], *, per_token: bool = False
    ) -> Iterator[dict[str, Any]]:
        """The most probable of the choices of each prompt, and the log-likelihood of each.

        Args:
            per_token: divide a log-likelihood by the number of its tokens.
        """
        yield from ranked(examples, partial(self.choice_scores, per_token=per_token))

    def choice_scores(
        self,
        prompts: Sequence[str],
        choices: Sequence[Sequence[str]],
        *,
        per_token: bool = False,
        head: Sequence[int] = (),
    ) -> list[list[float]]:
        """The log-likelihood of each choice after its prompt, in nats, its end token included.

        It is the ability of the task "rank".

        Args:
            prompts: N texts.
            choices: for each, what is to be ranked.
            per_token: the mean over the choice's tokens, and not their sum.
            head: token ids in front of each prompt.
        """
        given = [prompt for prompt, each in zip(prompts, choices, strict=True) for _ in each]
        answers = [choice for each in choices for choice in each]
        costs = self.language_model.nll(self.pairs_of(given, answers, head))
        flat = iter(-float(part.mean() if per_token else part.sum()) for part in costs)
        return [[next(flat) for _ in each] for each in choices]


def ranked(
    examples: Sequence[Example],
    score: Callable[[Sequence[str], Sequence[Sequence[str]]], list[list[float]]],
) -> Iterator[dict[str, Any]]:
    """For each example its best choice and the scores of all.

    Args:
        examples: with choices.
        score: from prompts and choices to scores.

    Raises:
        UserError: an example has fewer than two choices.
    """
    for number, example in enumerate(examples):
        if len(example.choices) < 2:
            raise UserError(f"row {number} has no 'choices' to rank: give two or more")
    choices = [example.choices for example in examples]
    scores = score([example.prompt for example in examples], choices)
    for each, row in zip(choices, scores, strict=True):
        yield {"choice": each[row.index(max(row))], "scores": dict(zip(each, row, strict=True))}
