"""A language model of programs given problems: encoder-decoder or decoder-only, one interface."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pretrial.data.problems.problem import Problem
from pretrial.methods.code.coderl.prompt import runnable
from pretrial.models.decoding.sample import sample
from pretrial.models.decoding.stop import StopTexts
from pretrial.train.stage import Batch, Trainable

IGNORE = -100


class ProgramModel(nn.Module):
    """A conditional language model with its tokenizer and the alignment every part relies on.

    Whatever the architecture, position t of `hidden`, `logits` and `log_probs` has seen the
    problem and the program's tokens before t, and belongs to the label w_t. The actor's
    probabilities and the critic's scores therefore meet position by position (mechanism 7).

    Args:
        model: a transformers model; `config.is_encoder_decoder` chooses the layout.
        tokenizer: its tokenizer, with an end token.
        max_source: most tokens of a prompt; longer ones lose their middle.
        max_target: most tokens of a program, end token included.
        attend_padding: the released code's fault of padding sources with the end token to full
            length and attending to it; for parity only.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        max_source: int,
        max_target: int,
        attend_padding: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_source = max_source
        self.max_target = max_target
        self.attend_padding = attend_padding
        self.encoder_decoder = bool(model.config.is_encoder_decoder)
        self.eos = int(tokenizer.eos_token_id)
        pad = tokenizer.pad_token_id
        self.pad = self.eos if pad is None else int(pad)
        self.stops = StopTexts(tokenizer)

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return int(self.model.config.hidden_size)

    def copy(self) -> ProgramModel:
        """A model with weights of its own and the same tokenizer."""
        return self.around(copy.deepcopy(self.model))

    def around(self, model: PreTrainedModel) -> ProgramModel:
        """The same tokenizer and lengths around another model."""
        return ProgramModel(
            model, self.tokenizer, self.max_source, self.max_target, self.attend_padding
        )

    # Text and tokens

    def prompt_ids(self, text: str) -> list[int]:
        """Tokens of a prompt, the middle cut out where it is longer than `max_source`."""
        ids = list(self.tokenizer(text)["input_ids"])
        if not self.encoder_decoder and ids and ids[-1] == self.eos:
            ids.pop()
        if len(ids) > self.max_source:
            head = self.max_source // 2
            ids = ids[:head] + ids[head - self.max_source :]
        return ids

    def program_ids(self, text: str) -> list[int]:
        """Tokens of a program with its end token, cut at `max_target` (then without it)."""
        ids = list(self.tokenizer(text, add_special_tokens=self.encoder_decoder)["input_ids"])
        if not ids or ids[-1] != self.eos:
            ids.append(self.eos)
        return ids[: self.max_target]

    def text(self, ids: Sequence[int]) -> str:
        """The program text of `ids`, special tokens left out."""
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def program(self, problem: Problem, ids: Sequence[int]) -> str:
        """The runnable program of `ids`; a completion ends where the next block begins."""
        text = self.text(ids)
        return runnable(problem, self.stops.cut(text) if problem.style == "completion" else text)

    def length(self, problem: Problem, ids: Sequence[int]) -> int:
        """Tokens of a program without what ends it: the end token, or the text of the next block.

        A completion goes no further than its last token before that text.
        """
        count = len(ids) - (ids[-1] == self.eos)
        if problem.style == "completion":
            kept = len(self.stops.cut(self.text(ids[:count])))
            while len(self.text(ids[:count])) > kept:
                count -= 1
        return count

    # Tensors

    def collate(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Batch:
        """Prompts and programs as tensors; `labels` [B, T] is -100 where nothing is asked."""
        rows, pads = list(zip(sources, targets, strict=True)), self.pad
        if self.encoder_decoder:
            length = self.max_source if self.attend_padding else 0
            fill = self.eos if self.attend_padding else pads
            inputs = _pad([list(s) for s, _ in rows], fill, length)
            mask = _pad([[1] * len(s) for s, _ in rows], int(self.attend_padding), length)
            labels = _pad([list(t) for _, t in rows], IGNORE)
        else:
            inputs = _pad([[*s, *t] for s, t in rows], pads)
            mask = _pad([[1] * (len(s) + len(t)) for s, t in rows], 0)
            labels = _pad([[IGNORE] * len(s) + list(t) for s, t in rows], IGNORE)[:, 1:]
        asked = float((labels != IGNORE).sum())
        counts = {"examples": float(len(rows)), "tokens": asked}
        return {"input_ids": inputs, "attention_mask": mask, "labels": labels, "counts": counts}

    def _decoder_inputs(self, labels: Tensor) -> Tensor:
        start = self.model.config.decoder_start_token_id
        shifted = labels.masked_fill(labels == IGNORE, self.pad).roll(1, dims=1)  # [B, T]
        shifted[:, 0] = self.pad if start is None else start
        return shifted

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states [B, T, d], as the output layer receives them."""
        inputs, mask = batch["input_ids"], batch["attention_mask"]
        if not self.encoder_decoder:
            states = self.model.base_model(input_ids=inputs, attention_mask=mask)
            return states.last_hidden_state[:, :-1]
        encoded = self.model.get_encoder()(input_ids=inputs, attention_mask=mask)
        states = self.model.get_decoder()(
            input_ids=self._decoder_inputs(batch["labels"]),
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        # T5 scales its states where input and output embeddings are one matrix
        tied = self.model.config.model_type == "t5" and self.model.config.tie_word_embeddings
        return states * self.width**-0.5 if tied else states

    def logits(self, batch: Batch) -> Tensor:
        """Logits [B, T, V] of each next token of the program."""
        if not self.encoder_decoder:
            out = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            return out.logits[:, :-1]
        return self.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=self._decoder_inputs(batch["labels"]),
            use_cache=False,
        ).logits

    def log_probs(self, batch: Batch) -> Tensor:
        """log p(w_t | w_<t, problem) [B, T]; 0 where `labels` is -100."""
        labels = batch["labels"]
        losses = F.cross_entropy(
            self.logits(batch).float().flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORE,
            reduction="none",
        )
        return -losses.view_as(labels)

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
            self.model,
            prompts,
            num_samples=num_samples,
            max_new_tokens=self.max_target,
            eos_token_id=self.eos,
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
        return [
            [[*ids, self.eos] if len(ids) < self.max_target else ids for ids in group]
            for group in sampled
        ]


class Imitation(Trainable):
    """Cross-entropy of programs given prompts; examples are (prompt ids, program ids) pairs."""

    def __init__(self, program_model: ProgramModel) -> None:
        super().__init__()
        self.program_model = program_model

    def batch(
        self, examples: Sequence[tuple[list[int], list[int]]], generator: torch.Generator
    ) -> Batch:
        sources, targets = zip(*examples, strict=True)
        return self.program_model.collate(sources, targets)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": -self.program_model.log_probs(batch).sum() / batch["counts"]["tokens"]}


def shallower(program_model: ProgramModel) -> ProgramModel:
    """A model of half the depth that starts from the lower layers of `program_model`.

    Layers keep their names, so the lower half is exactly what loads by name.
    """
    config = copy.deepcopy(program_model.model.config)
    for name in ("num_hidden_layers", "num_layers", "num_decoder_layers", "n_layer"):
        if isinstance(config.__dict__.get(name), int):
            setattr(config, name, max(1, getattr(config, name) // 2))
    if "attention_types" in config.__dict__:  # GPT-Neo names its layers' kinds
        config.attention_types = [[kinds, count // 2] for kinds, count in config.attention_types]
        config.attention_layers = config.expand_attention_types_params(config.attention_types)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    small: Any = type(program_model.model)(config)
    known = small.state_dict()
    lower = {
        name: value
        for name, value in program_model.model.state_dict().items()
        if name in known and known[name].shape == value.shape
    }
    small.load_state_dict(lower)
    return program_model.around(small.to(dtype=program_model.model.dtype))


def reindent_with_tabs(code: str) -> str:
    """Leading spaces turned into tabs, as the released training data has them.

    The width of one level is the smallest indentation in the program.
    """
    widths = [len(m) for m in re.findall(r"^( +)(?=\S)", code, flags=re.MULTILINE)]
    if not widths:
        return code
    unit = min(widths)
    return re.sub(
        r"^( +)(?=\S)",
        lambda m: "\t" * (len(m[1]) // unit) + " " * (len(m[1]) % unit),
        code,
        flags=re.MULTILINE,
    )


def _pad(rows: list[list[int]], fill: int, length: int = 0) -> Tensor:
    """Rows as one tensor [B, T], filled on the right; T is the longest row, or `length`."""
    longest = max(length, *(len(row) for row in rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])
