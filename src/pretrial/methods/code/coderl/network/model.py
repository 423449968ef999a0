"""A language model of programs given problems: encoder-decoder or decoder-only, one interface."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrial.checkpoints.t5 import is_tied, state_scale, untie
from pretrial.corrupt.masks import IGNORE
from pretrial.data.problems.problem import Problem
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.data.prompt import prompt, repair_prompt, runnable
from pretrial.models.architectures.language_model import LanguageModel
from pretrial.models.architectures.seq2seq import pad_rows, shifted
from pretrial.models.decoding.sample import sample
from pretrial.models.decoding.stop import StopTexts
from pretrial.sandbox import Verdict
from pretrial.train.device import to_device
from pretrial.train.in_batches import each_by_length
from pretrial.train.stage import Batch


class ProgramModel(LanguageModel):
    """A language model that writes programs, and the alignment that every part relies on.

    Whatever the architecture, position t of `hidden`, `position_logits` and `log_probs` has seen
    the problem and the program's tokens before t, and belongs to the label w_t. The actor's
    probabilities and the critic's scores therefore meet position by position.

    As the module of a stage it imitates; examples are (prompt ids, program ids) pairs.

    Args:
        network: of transformers; `config.is_encoder_decoder` chooses the layout.
        tokenizer: its tokenizer, with an end token.
        config: lengths and layout of the prompts. `release_padding` is the released code's fault of
            padding sources with the end token to full length and attending to it; it also cuts long
            sources at their end, where the layout has the word that asks for the answer.
    """

    def __init__(self, network: Any, tokenizer: Any, config: Config) -> None:
        super().__init__(network, tokenizer)
        self.config = config
        self.encoder_decoder = bool(network.config.is_encoder_decoder)

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return int(self.network.config.hidden_size)

    @cached_property
    def stops(self) -> StopTexts:
        """What ends a completion."""
        return StopTexts(self.tokenizer)

    def copy(self) -> ProgramModel:
        """A model with weights of its own and the same tokenizer."""
        return self.around(copy.deepcopy(self.network))

    def around(self, network: Any) -> ProgramModel:
        """The same tokenizer and settings around another network."""
        return ProgramModel(network, self.tokenizer, self.config)

    # Text and tokens

    def prompt_ids(self, text: str) -> list[int]:
        """Tokens of a prompt, the middle cut out where it is longer than `max_source`.

        With `release_padding` an encoder-decoder's is cut at its end instead, as in the release.
        """
        ids, longest = list(self.tokenizer(text)["input_ids"]), self.config.max_source
        if not self.encoder_decoder and ids and ids[-1] == self.end:
            ids.pop()
        if self.encoder_decoder and self.config.release_padding:
            return ids[:longest]
        if len(ids) > longest:
            head = longest // 2
            ids = ids[:head] + ids[head - longest :]
        return ids

    def problem_ids(self, problem: Problem) -> list[int]:
        """Tokens of the prompt of a problem."""
        return self.prompt_ids(prompt(problem, self.config.layout))

    def repair_ids(self, problem: Problem, program: str, verdict: Verdict) -> list[int]:
        """Tokens of the prompt to repair a program."""
        return self.prompt_ids(repair_prompt(problem, program, verdict, self.config.layout))

    def program_ids(self, text: str) -> list[int]:
        """Tokens of a program with its end token, cut at `max_target` (then without it)."""
        ids = list(self.tokenizer(text, add_special_tokens=self.encoder_decoder)["input_ids"])
        if not ids or ids[-1] != self.end:
            ids.append(self.end)
        return ids[: self.config.max_target]

    def text(self, ids: Sequence[int], keep_special: bool = False) -> str:
        """The program text of `ids`, special tokens left out."""
        how = {"skip_special_tokens": not keep_special, "clean_up_tokenization_spaces": False}
        return str(self.tokenizer.decode(list(ids), **how))

    def program(self, problem: Problem, ids: Sequence[int]) -> str:
        """The runnable program of `ids`; a completion ends where the next block begins."""
        text = self.text(ids)
        return runnable(problem, self.stops.cut(text) if problem.style == "completion" else text)

    def programs(
        self, problems: Sequence[Problem], groups: Sequence[list[list[int]]]
    ) -> list[list[str]]:
        """The runnable programs of each problem."""
        return [
            [self.program(problem, ids) for ids in group]
            for problem, group in zip(problems, groups, strict=True)
        ]

    def length(self, problem: Problem, ids: Sequence[int]) -> int:
        """Tokens of a program without what ends it: the end token, or the text of the next block.

        A completion goes no further than its last token before that text.
        """
        count = len(ids) - (ids[-1] == self.end)
        if problem.style == "completion":
            kept = len(self.stops.cut(self.text(ids[:count])))
            while len(self.text(ids[:count])) > kept:
                count -= 1
        return count

    # Tensors

    def collate(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
        target_length: int = 0,
    ) -> Batch:
        """Prompts and programs as tensors.

        Args:
            sources: prompts.
            targets: programs.
            target_length: an encoder-decoder's programs are padded to at least so many tokens.

        Returns:
            `input_ids` and `attention_mask` [B, S], `labels` [B, T] with -100 where nothing is to
            be predicted, `loss_mask` [B, T], True at labels, and counts: "examples" and "tokens",
            those of the labels.
        """
        if self.encoder_decoder:
            everywhere = self.config.release_padding
            length, fill = (self.config.max_source, self.end) if everywhere else (0, self.pad)
            inputs = pad_rows(sources, fill, length)
            mask = pad_rows([[1] * len(s) for s in sources], int(everywhere), length)
            labels = pad_rows(targets, IGNORE, target_length)
        else:
            rows = [[*s, *t] for s, t in zip(sources, targets, strict=True)]
            inputs = pad_rows(rows, self.pad)
            mask = pad_rows([[1] * len(row) for row in rows], 0)
            hidden = [[IGNORE] * len(source) for source in sources]
            rows = [[*h, *t] for h, t in zip(hidden, targets, strict=True)]
            labels = pad_rows(rows, IGNORE)[:, 1:]
        loss_mask = labels != IGNORE
        counts = {"examples": float(len(sources)), "tokens": float(loss_mask.sum())}
        batch = {"input_ids": inputs, "attention_mask": mask, "labels": labels}
        return {**batch, "loss_mask": loss_mask, "counts": counts}

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states [B, T, d], as the output layer receives them."""
        inputs, mask = batch["input_ids"], batch["attention_mask"]
        if not self.encoder_decoder:
            states = self.network.base_model(input_ids=inputs, attention_mask=mask)
            return states.last_hidden_state[:, :-1]
        encoded = self.network.get_encoder()(input_ids=inputs, attention_mask=mask)
        states = self.network.get_decoder()(
            input_ids=shifted(self.network, batch["labels"]),
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        return states * state_scale(self.network)

    def position_logits(self, batch: Batch) -> Tensor:
        """Logits [B, T, V] of each next token of the program."""
        inputs, mask = batch["input_ids"], batch["attention_mask"]
        if not self.encoder_decoder:
            return self.network(input_ids=inputs, attention_mask=mask).logits[:, :-1]
        return self.network(
            input_ids=inputs,
            attention_mask=mask,
            decoder_input_ids=shifted(self.network, batch["labels"]),
            use_cache=False,
        ).logits

    def log_probs(self, batch: Batch) -> Tensor:
        """log p(w_t | w_<t, problem) [B, T]; 0 where `labels` is -100."""
        logits, labels = self.position_logits(batch).float(), batch["labels"]
        losses = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="none"
        )
        return -losses.view_as(labels)

    def token_log_probs(
        self, pairs: Sequence[tuple[list[int], list[int]]], batch_size: int = 64
    ) -> list[Tensor]:
        """log p(w_t | w_<t, problem) of each (prompt, program): a tensor [T] a pair."""
        device = next(self.parameters()).device

        def compute(own: list[tuple[list[int], list[int]]]) -> list[Tensor]:
            batch = to_device(self.batch(own, torch.Generator()), device)
            rows = zip(self.log_probs(batch).cpu(), batch["loss_mask"].cpu(), strict=True)
            return [log_probs[mask] for log_probs, mask in rows]

        return each_by_length(
            self, pairs, compute, lambda pair: len(pair[0]) + len(pair[1]), batch_size
        )

    # Imitation

    def batch(
        self, examples: Sequence[tuple[list[int], list[int]]], generator: torch.Generator
    ) -> Batch:
        """Prompts and the programs to imitate."""
        sources, targets = zip(*examples, strict=True)
        return self.collate(sources, targets)

    def losses(self, batch: Batch, vectors: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy of programs given prompts."""
        return {"loss": -self.log_probs(batch).sum() / batch["counts"]["tokens"]}

    # Sampling

    def sample(
        self,
        problems: Sequence[Problem],
        prompts: Sequence[list[int]],
        num_samples: int | list[int],
        generator: torch.Generator,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        greedy: bool = False,
        prefixes: list[list[list[int]]] | None = None,
        batch_size: int = 512,
    ) -> list[list[list[int]]]:
        """Programs for each prompt, as the tokens they are trained on: with their end token.

        A program that reached `max_target` without ending has no end token. See
        `models.decoding.sample`.

        Args:
            problems: one a prompt; where all are completions, a program also ends at the text that
                begins the next block.
        """
        completions = all(problem.style == "completion" for problem in problems)
        sampled = sample(
            self.network,
            prompts,
            num_samples=num_samples,
            max_new_tokens=self.config.max_target,
            eos_token_id=self.end,
            pad_token_id=self.pad,
            temperature=temperature,
            top_p=top_p,
            greedy=greedy,
            prefixes=prefixes,
            generator=generator,
            batch_size=batch_size,
            finished=self.stops if completions else None,
        )
        if completions:  # what follows the block is not part of the program
            sampled = [
                [ids[: self.length(problem, ids)] if ids else ids for ids in group]
                for problem, group in zip(problems, sampled, strict=True)
            ]
        longest = self.config.max_target
        return [
            [[*ids, self.end] if len(ids) < longest else ids for ids in group] for group in sampled
        ]

    def draw(
        self,
        problems: Sequence[Problem],
        generator: torch.Generator,
        *,
        num_samples: int,
        temperature: float,
        top_p: float,
        greedy: bool = True,
    ) -> list[list[list[int]]]:
        """Programs of every problem, as tokens: the greedy one first, then `num_samples` others."""
        prompts = [self.problem_ids(problem) for problem in problems]
        found: list[list[list[int]]] = [[] for _ in problems]
        if greedy:
            found = self.sample(problems, prompts, 1, generator, greedy=True)
        if not num_samples:
            return found
        how: dict[str, Any] = {"temperature": temperature, "top_p": top_p}
        drawn = self.sample(problems, prompts, num_samples, generator, **how)
        return [first + rest for first, rest in zip(found, drawn, strict=True)]


def shallower(program_model: ProgramModel) -> ProgramModel:
    """A model of half the depth that starts from the lower layers of `program_model`.

    Layers keep their names, so the lower half is exactly what loads by name.
    """
    network = program_model.network
    config = copy.deepcopy(network.config)
    for name in ("num_hidden_layers", "num_layers", "num_decoder_layers", "n_layer"):
        if isinstance(config.__dict__.get(name), int):
            setattr(config, name, max(1, getattr(config, name) // 2))
    if "attention_types" in config.__dict__:  # GPT-Neo names its layers' kinds
        config.attention_types = [[kinds, count // 2] for kinds, count in config.attention_types]
        config.attention_layers = config.expand_attention_types_params(config.attention_types)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    small: Any = type(network)(config)
    if not is_tied(network) and is_tied(small):
        untie(small)
    known = small.state_dict()
    lower = {
        name: value
        for name, value in network.state_dict().items()
        if name in known and known[name].shape == value.shape
    }
    small.load_state_dict(lower)
    return program_model.around(small.to(dtype=network.dtype))
