"""The steps of the recipe, each a stage, and what is made before them."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial.data.cleaning.cascade import Cascade, draw
from pretrial.data.reading.indexed import DiskRows, write_rows
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, is_on_disk, mapped, where
from pretrial.data.windows.cutting import cut
from pretrial.errors import UserError
from pretrial.evaluate.needle import needle_grid
from pretrial.methods.text.yi.config import VISION_STEPS, Step
from pretrial.methods.text.yi.data import (
    NUM_RECITABLE,
    Pair,
    Turns,
    capped,
    has_image,
    has_messages,
    is_text,
    mix,
    recitation,
    turns,
)
from pretrial.methods.text.yi.network.context import context_values, extend_context
from pretrial.methods.text.yi.network.depth import deepen, layer_cosines, layers_of, likest_block
from pretrial.methods.text.yi.stages.chat import ChatTuner
from pretrial.methods.text.yi.stages.mixture import search_mixture
from pretrial.methods.text.yi.stages.vision import ImageToText
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.seeds import seed_of
from pretrial.train.stage import Stage, Trainable
from pretrial.train.tokens import joined_windows, kept_windows

if TYPE_CHECKING:
    from pretrial.methods.text.yi import Yi

_WHOLE = 2**31 - 1  # a text is one window of tokens
_COSINE_TOKENS = 4096  # that layers are judged on, or one window
_SAMPLE = 2000  # texts that the cascade learns from
_HELD_OUT = 64  # windows or dialogues
_HELD_OUT_TEXTS = 20_000  # that windows are taken from
_RECITED_CHARS = 2  # a token of a long window, so that the texts and the answer fit into it


class Training:
    """One run of the recipe.

    Args:
        method: what is trained.
        run: where.
    """

    def __init__(self, method: Yi, run: Run) -> None:
        self.method, self.run, self.config = method, run, method.config
        self.network = method.network
        self.shares = self.config.kept_shares()

    def stages(self) -> Iterator[Stage]:
        """The steps in their order, without those that the data has nothing for."""
        config = self.config
        steps = self._possible()
        texts = self._texts(steps)
        make: dict[Step, Callable[[Sequence[str], Budget], Stage]] = {
            "pretrain": self._pretrain,
            "deepen": self._deepen,
            "lengthen": self._lengthen,
            "chat": self._chat,
            "align": partial(self._look, "align"),
            "sharpen": partial(self._look, "sharpen"),
            "see": partial(self._look, "see"),
        }
        for step, ratio in steps.items():
            whole = self.run.budget
            budget = Budget(whole.amount * ratio / sum(steps.values()), whole.unit)
            if step == "chat" and config.search_ratio:
                spared = Budget(budget.amount * config.search_ratio, budget.unit)
                self.shares = yield from self._search(spared)
                budget = Budget(budget.amount - spared.amount, budget.unit)
            yield make[step](texts, budget)
            self.network.requires_grad_(True)
            if step == "lengthen" and config.needles and not self.run.console.quiet:
                self._needles(texts)

    # -- texts ------------------------------------------------------------------------------------

    def _possible(self) -> dict[Step, float]:
        """The steps that the data has something for, with their shares; others are told.

        Raises:
            UserError: there is no such step.
        """
        config, found, lacking = self.config, {}, []
        ratios = config.ratios or (1.0,) * len(config.steps)
        for step, ratio in zip(config.steps, ratios, strict=True):
            if step == "chat":
                needs, there = "'messages' whose responses fit", self._has_dialogue()
            elif step in VISION_STEPS:
                needs, there = "'image' and 'text'", any(map(has_image, self.run.data))
            else:
                needs, there = "'text'", any(map(is_text, self.run.data))
            if there:
                found[step] = ratio
            else:
                lacking.append(f"the step {step} needs rows with {needs}")
        if not found:
            raise UserError(f"{'; '.join(lacking)}: give some")
        for reason in lacking:
            self.run.say(f"{reason}, and is left out: the data has none")
        return found

    def _has_dialogue(self) -> bool:
        """Whether there is one that is learned from, within what the model will read."""
        length = context_values(self.network)["max_position_embeddings"]
        if "lengthen" in self.config.steps:
            length = max(length, self.config.long_length)
        chats, tokenizer = filter(has_messages, self.run.data), self.method.tokenizer
        return any(any(turns(row["messages"], tokenizer, length).predicted[1:]) for row in chats)

    def _texts(self, steps: Iterable[Step]) -> Sequence[str]:
        """The texts of the run, through the cascade if it is asked for."""
        if set(steps) <= {"chat", *VISION_STEPS}:
            return []
        rows = where(self.run.data, is_text)
        if not self.config.clean:
            return mapped(rows, lambda _, row: row["text"])
        kept = self._cleaned(rows)
        self.method.passed = kept
        return kept

    def _cleaned(self, rows: Sequence[Row]) -> Sequence[str]:
        config = self.config

        def make(folder: Path) -> None:
            reference = [row["text"] for row in load(config.reference)] if config.reference else []
            cascade = Cascade.of(
                config.cascade, reference=reference, sample=draw(rows, _SAMPLE, self.run.seed)
            )
            write_rows(folder, ({"text": row["text"]} for row in cascade.run(rows)))
            (folder / "report.json").write_text(json.dumps(cascade.report(), indent=1))
            (folder / "report.txt").write_text(cascade.table() + "\n")

        folder = self.run.once("clean", make)
        self.run.say((folder / "report.txt").read_text().rstrip())
        texts = mapped(DiskRows(folder), lambda _, row: row["text"])
        if not texts:
            raise UserError("the cascade leaves no text: loosen it, such as --cascade.min-chars 0")
        return texts if is_on_disk(rows) else list(texts)

    def _windows(
        self, texts: Iterable[str], length: int, name: str, on_disk: bool
    ) -> Sequence[list[int]]:
        """Texts in random order, joined and cut; their order is in memory, 8 bytes a text."""
        run, tokenizer = self.run, self.method.tokenizer
        tokens = kept_windows(run, f"{name}-whole", cut(texts, tokenizer, _WHOLE), on_disk)
        order = array("q", range(len(tokens)))
        random.Random(seed_of(run.seed, name)).shuffle(order)
        end = self.method.language_model.end
        windows = joined_windows(run, name, tokens, [order], length, end)
        if not len(windows):
            raise UserError(f"there are no texts for {name}: give more data")
        return windows

    def _stage(
        self, step: Step, module: Trainable, data: Sequence[Any], budget: Budget, held_out: Any
    ) -> Stage:
        config = self.config
        sizes = {"chat": config.chat_batch_size, "see": config.see_batch_size}
        sizes |= {"align": config.align_batch_size, "sharpen": config.align_batch_size}
        return Stage.of(
            step,
            module,
            data,
            config,
            budget=budget,
            held_out=held_out,
            optim=config.optim(step),
            batch_size=sizes.get(step, config.batch_size),
        )

    def _on_texts(
        self, step: Step, texts: Iterable[str], length: int, budget: Budget, on_disk: bool
    ) -> Stage:
        windows = self._windows(texts, length, step, on_disk)
        seen = (row["text"] for row in self.run.held_out if is_text(row))
        aside = list(islice(seen, _HELD_OUT_TEXTS))
        held_out: Sequence[list[int]] = []
        if aside:
            held_out = self._windows(aside, length, "held-out", on_disk=False)[:_HELD_OUT]
        return self._stage(step, self.method.language_model, windows, budget, held_out)

    # -- steps ------------------------------------------------------------------------------------

    def _pretrain(self, texts: Sequence[str], budget: Budget) -> Stage:
        length = self.config.max_length
        return self._on_texts("pretrain", texts, length, budget, is_on_disk(texts))

    def _deepen(self, texts: Sequence[str], budget: Budget) -> Stage:
        """Copies a block of layers and trains on."""
        config, network = self.config, self.network
        number = max(1, _COSINE_TOKENS // config.max_length)
        on_disk = is_on_disk(texts)
        windows = self._windows(texts, config.max_length, "cosines", on_disk)[:number]

        def make(folder: Path) -> None:
            cosines = layer_cosines(network.eval(), windows)
            (folder / "cosines.json").write_text(json.dumps(cosines))

        cosines = json.loads((self.run.once("cosines", make) / "cosines.json").read_text())
        shown = ", ".join(f"{place}: {value:.3f}" for place, value in enumerate(cosines))
        self.run.say(f"cosine of each layer's input and output: {shown}")
        before, first = len(layers_of(network)), self._block(cosines)
        end = first + config.copy_layers
        self.method.cosine = sum(cosines[first:end]) / config.copy_layers
        trained = range(first, end)
        if not config.deepen_in_place:
            trained = deepen(network, first, config.copy_layers)
            after = len(layers_of(network))
            self.run.say(f"layers {first} to {end - 1} of {before} are copied: {after} now")
        if config.train_copies or config.deepen_in_place:
            network.requires_grad_(False)
            for place in trained:
                layers_of(network)[place].requires_grad_(True)
        return self._on_texts("deepen", texts, config.max_length, budget, on_disk)

    def _block(self, cosines: Sequence[float]) -> int:
        """The first layer of the block to copy."""
        first, size = self.config.copy_first, self.config.copy_layers
        likest = likest_block(cosines, size)  # which also sees that there are so many layers
        if first == -1:
            return likest
        if first == -2:
            return likest_block([-cosine for cosine in cosines], size)
        if first == -3:
            rng = random.Random(seed_of(self.run.seed, "block"))
            return rng.randrange(len(cosines) - size + 1)
        return first

    def _lengthen(self, texts: Sequence[str], budget: Budget) -> Stage:
        """Stretches the rotary positions and trains on long windows."""
        config = self.config
        before, after = extend_context(self.network, config.long_length, config.long_base)
        for name, value in before.items():
            self.run.say(f"{name}: {value} before, {after[name]} now")
        rng = random.Random(seed_of(self.run.seed, "long"))
        long, again = where(texts, self._is_long), config.long_boost - 1
        number = len(texts) + again * len(long)
        num_recited = round(config.recite_ratio * number / NUM_RECITABLE)
        most = config.long_length * _RECITED_CHARS
        recited = (recitation(texts, rng, most) for _ in range(num_recited))
        mixed = chain(texts, *[long] * again, recited)
        return self._on_texts("lengthen", mixed, config.long_length, budget, is_on_disk(texts))

    def _needles(self, texts: Iterable[str]) -> None:
        """Says which share of needles the lengthened model finds."""
        length = self.config.long_length
        hay = list(islice(texts, _HELD_OUT_TEXTS))
        grid = needle_grid(
            self.network.eval(),
            self.method.tokenizer,
            hay,
            lengths=(length // 2, length),
            depths=(0.0, 0.5, 1.0),
            num_trials=self.config.needles,
            seed=self.run.seed,
        )
        try:
            for cell in grid:
                self.run.say(
                    f"needles in {cell['length']} tokens at depth {cell['depth']}:"
                    f" {cell['accuracy']:.0%} found (chance is 10 %)"
                )
        except UserError as error:  # the training is done: too little text is no reason to lose it
            self.run.say(f"no needles were looked for: {error}")

    def _is_long(self, text: str) -> bool:
        """Whether a text fills half a long window; a token is taken for four characters."""
        return len(text) >= 2 * self.config.long_length

    def _chat(self, texts: Sequence[str], budget: Budget) -> Stage:
        """Responses, with noise on the token vectors."""
        tuner = ChatTuner(self.network, self.method.tokenizer, self.config.noise)
        data = self._dialogues(mix(self._chats(self.run.data), self.shares))
        held_out = self._dialogues(self._chats(self.run.held_out))[:_HELD_OUT]
        return self._stage("chat", tuner, data, budget, held_out)

    def _look(self, step: Step, texts: Sequence[str], budget: Budget) -> Stage:
        """The texts of images; the language model learns in the last of these steps alone."""
        config = self.config
        rows = where(self.run.data, has_image)
        if step == "see":
            rng = random.Random(seed_of(self.run.seed, step))
            rows = capped(rows, config.pairs_per_source, rng)
        assert self.method.vision_tower is not None
        size = config.small_image if step == "align" else config.large_image
        module = ImageToText(self.method.language_model, self.method.vision_tower, size)
        self.network.requires_grad_(step == "see")
        aside = list(islice(filter(has_image, self.run.held_out), _HELD_OUT))
        return self._stage(step, module, self._pairs(rows), budget, self._pairs(aside))

    def _pairs(self, rows: Sequence[Row]) -> Sequence[Pair]:
        """Images with the tokens of their texts."""
        tokenizer, length = self.method.tokenizer, self.config.max_length
        return mapped(
            rows, lambda _, row: Pair(row["image"], tokenizer(row["text"])["input_ids"][:length])
        )

    def _search(self, budget: Budget) -> Generator[Stage, None, dict[str, float]]:
        """Searches the mixture of abilities, with as much for each copy that is tried."""

        def stage(name: str, twin: ChatTuner, examples: Sequence[Turns], number: int) -> Stage:
            made = self._stage(
                "chat", twin, examples, Budget(budget.amount / number, budget.unit), []
            )
            size = min(made.batch_size, len(examples))
            return replace(made, name=name, batch_size=size, purpose="search")

        return search_mixture(
            ChatTuner(self.network, self.method.tokenizer, self.config.noise),
            self._chats(self.run.data),
            self._chats(self.run.held_out),
            self.shares,
            tokens=self._dialogues,
            stage=stage,
            run=self.run,
        )

    def _chats(self, rows: Sequence[Row]) -> Sequence[Row]:
        return where(rows, has_messages)

    def _dialogues(self, rows: Sequence[Any]) -> Sequence[Turns]:
        """Dialogues in tokens; those whose responses lie beyond the window are left out."""
        length = context_values(self.network)["max_position_embeddings"]
        made = mapped(rows, lambda _, row: turns(row["messages"], self.method.tokenizer, length))
        return where(made, lambda each: any(each.predicted[1:]))
