"""What a UL2 can do: write, fill gaps, choose, answer by a vote, score texts, give vectors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from pretrial.bases.language_model import PromptedMethod
from pretrial.bases.language_model.examples import Example
from pretrial.bases.language_model.prompted import ranked
from pretrial.corrupt.denoisers import Denoiser, MixtureOfDenoisers, Paradigm
from pretrial.errors import UserError
from pretrial.evaluate.voting import answer_in, vote
from pretrial.methods.text.ul2.config import AIMS, MODES, WITH_GAPS, Aim, Mode, token_of
from pretrial.models.tokenizers import sentinel_ids

#: A mode as an option names it: that of the aim, none, or one by its name.
ModeOption = Literal["by-aim", "none", "NLU", "NLG", "S2S"]

_GAP = re.compile(r"<extra_id_(\d+)>")


class Abilities(PromptedMethod):
    """A model that is told what it is to do by a mode in front of its inputs."""

    def head(self, mode: Mode) -> list[int]:
        """The tokens of a mode: one of its own, or those of its text in a released vocabulary."""
        text = token_of(mode)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def mixture_of(
        self,
        members: Sequence[Denoiser],
        weights: Sequence[float] = (),
        mode: Mode | None = None,
    ) -> MixtureOfDenoisers:
        """A mixture with the model's lengths and modes; or with one mode for all members."""
        config = self.config
        heads: dict[Paradigm, list[int]] = {
            paradigm: self.head(own if mode is None else mode) for paradigm, own in MODES.items()
        }
        return MixtureOfDenoisers(
            members,
            weights,
            sentinel_ids(self.tokenizer),
            heads=heads if config.mode_tokens else {},
            max_inputs=config.max_inputs,
            max_targets=config.max_targets,
            joined=config.architecture != "encoder_decoder",
            t5_spans=config.t5_spans,
        )

    def generate(  # type: ignore[override]  # an aim and a mode, no spans
        self,
        examples: Sequence[Example],
        *,
        aim: Aim = "continue",
        mode: ModeOption = "by-aim",
        max_new_tokens: int = 0,
        num_samples: int = 1,
        num_beams: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Writes for each text or prompt; with gaps <extra_id_0>, ... in it, fills them.

        Args:
            aim: what is wanted; it decides the mode.
            mode: takes this mode instead, or none.
            max_new_tokens: longest text, in tokens; 0 takes the model's own limit.
            num_samples: texts for each, with a temperature or beams.
            num_beams: above 1, beam search, which an encoder-decoder can.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus, when sampling.
            seed: of sampling.
        """
        chosen = self._mode(aim, mode)
        prompts = [self.text_of(example) for example in examples]
        gaps = chosen in WITH_GAPS and aim in ("fill", "fill-long")
        if gaps:  # what such targets answer to
            prompts = [
                text if _GAP.search(text) else f"{text.rstrip()} <extra_id_0>" for text in prompts
            ]
        groups = self.written(
            self.prompts_of(prompts, self.head(chosen)),
            max_new_tokens=max_new_tokens or self.max_written,
            num_samples=num_samples,
            num_beams=num_beams,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        for prompt, group in zip(prompts, groups, strict=True):
            write = partial(self._filled, prompt) if gaps else self.written_text
            yield self.row_of([write(ids) for ids in group])

    def rank(
        self,
        examples: Sequence[Example],
        *,
        mode: ModeOption = "by-aim",
        per_token: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The most probable of the choices of each prompt, and the log-likelihood of each.

        Args:
            mode: takes this mode instead of that for choosing, or none.
            per_token: divide a log-likelihood by the number of its tokens.
        """
        head = self.head(self._mode("choose", mode))
        yield from ranked(examples, partial(self.choice_scores, per_token=per_token, head=head))

    def choice_scores(
        self,
        prompts: Sequence[str],
        choices: Sequence[Sequence[str]],
        *,
        per_token: bool = False,
        head: Sequence[int] | None = None,
    ) -> list[list[float]]:
        """See `PromptedMethod.choice_scores`; None is the mode for choosing."""
        own = self.head(self._mode("choose", "by-aim")) if head is None else head
        return super().choice_scores(prompts, choices, per_token=per_token, head=own)

    def answer(
        self,
        examples: Sequence[Example],
        *,
        num_samples: int = 8,
        temperature: float = 0.7,
        marker: str = "The answer is",
        hint: str = "",
        max_new_tokens: int = 0,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Draws several chains of thought for each question and takes the answer of the most.

        Args:
            num_samples: chains; one is taken greedily.
            temperature: of sampling several.
            marker: text that announces the answer; without it the last number is the answer.
            hint: put behind the question, such as "Let's think step by step."
            max_new_tokens: longest chain, in tokens; 0 takes the model's own limit.
            seed: of sampling.
        """
        questions = [f"{self.text_of(example)} {hint}".strip() for example in examples]
        groups = self.written(
            self.prompts_of(questions, self.head(self._mode("answer", "by-aim"))),
            max_new_tokens=max_new_tokens or self.max_written,
            num_samples=num_samples,
            temperature=temperature if num_samples > 1 else 0.0,
            seed=seed,
        )
        for group in groups:
            chains = [self.written_text(ids) for ids in group]
            chosen, share = vote([answer_in(chain, marker) for chain in chains])
            yield {"answer": chosen, "vote_ratio": share, "chains": chains}

    def score(self, examples: Sequence[Example], *, seed: int = 0) -> Iterator[dict[str, float]]:
        """For each text the nats a hidden token costs, by paradigm; sentinels do not count.

        Args:
            seed: of what is hidden.
        """
        texts = [self.text_of(example) for example in examples]
        if "" in texts:
            raise UserError(f"the text of row {texts.index('')} is empty and has no score: drop it")
        found = self.denoising_nll(texts, self.config.members(), seed)
        for place in range(len(texts)):
            yield {name: values[place] for name, values in found.items()}

    def denoising_nll(
        self,
        texts: Sequence[str],
        members: Sequence[Denoiser],
        seed: int = 0,
        mode: Mode | None = None,
    ) -> dict[str, list[float]]:
        """Mean nats of the hidden tokens of each text, sentinels and end left out.

        Args:
            texts: of longer ones the beginning.
            members: denoisers; those of one paradigm share a column.
            seed: of what is hidden.
            mode: takes this mode instead of the one that belongs to a denoiser.

        Returns:
            By paradigm, "R", "S" and "X", as far as there are members, one number a text.
        """
        model = self.language_model
        left_out = {*sentinel_ids(self.tokenizer), model.end}
        sums: dict[str, list[list[float]]] = {}
        for member in members:
            mixture = self.mixture_of([member], mode=mode)
            windows = self.ids_of(texts, mixture.raw_lengths[0])
            pairs = mixture.pairs(windows, torch.Generator().manual_seed(seed))
            column = sums.setdefault(member.paradigm, [[0.0, 0.0] for _ in texts])
            for total, pair, costs in zip(column, pairs, model.nll(pairs), strict=True):
                kept = [i for i, token in enumerate(pair.targets) if token not in left_out]
                total[0] += float(costs[kept].sum())
                total[1] += len(kept)
        return {name: [cost / num for cost, num in column] for name, column in sums.items()}

    def encode(self, examples: Sequence[Example | str]) -> Tensor:
        """One vector a text: the mean of the states of what is read, in the mode [NLU] [N, d]."""
        head = self.head(self._mode("classify", "by-aim"))
        texts = [self.text_of(each) for each in examples]
        return self.language_model.encode(self.prompts_of(texts, head))

    def _mode(self, aim: Aim, mode: ModeOption) -> Mode:
        """The mode of an aim, or the one that an option names; none where the model has none."""
        if mode == "none" or not self.config.mode_tokens:
            return ""
        return AIMS[aim] if mode == "by-aim" else mode

    def _filled(self, prompt: str, ids: Sequence[int]) -> str:
        """A text with its gaps filled by what was written for each; others stay."""
        pieces = _GAP.split(self.tokenizer.decode(list(ids), skip_special_tokens=False))
        spans = dict(zip(pieces[1::2], pieces[2::2], strict=True))
        return _GAP.sub(lambda gap: spans.get(gap[1], gap[0]), prompt)
