"""What a causal language model can teach an encoder-decoder: its logits, aligned with answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pretrial.checkpoints.pretrained import load_generator
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.models.decoding.sample import sample


def aligned_logits(
    network: Any, input_ids: Tensor, attention_mask: Tensor, answers: Tensor
) -> Tensor:
    """What a causal language model predicts at each token of an answer to a source.

    It reads [padding, source, answer], positions counted without the padding. The last token of the
    source predicts the first of the answer, and so on.

    Args:
        network: of transformers.
        input_ids: sources, padded on the right [B, S].
        attention_mask: 1 at their tokens [B, S].
        answers: token ids, -100 behind their end [B, U].

    Returns:
        [B, U, V]; at the padding of an answer they mean nothing.
    """
    length = input_ids.shape[1]
    padding = length - attention_mask.sum(1, keepdim=True)  # [B, 1]
    origin = torch.arange(length, device=input_ids.device) - padding  # [B, S]
    sources = input_ids.gather(1, origin.clamp(min=0))
    real = torch.cat([origin >= 0, answers != IGNORE], dim=1)
    ids = torch.cat([sources, answers.clamp(min=0)], dim=1)
    places = (real.long().cumsum(1) - 1).clamp(min=0)
    return network(
        input_ids=ids[:, :-1],
        attention_mask=real[:, :-1].long(),
        position_ids=places[:, :-1],
        logits_to_keep=answers.shape[1],
        use_cache=False,
    ).logits


def draw_answers(
    network: Any,
    sources: Sequence[list[int]],
    draws: Tensor,
    *,
    end: int,
    pad: int,
    temperature: float,
    top_k: int,
    num_tokens: int,
) -> list[list[int]]:
    """The student's own answers to all sources, decoded together.

    Args:
        network: of the student, causal or not.
        sources: token ids.
        draws: numbers in [0, 1), one a token [B, most tokens].
        end: the end token; an answer ends with it unless it was too long.
        pad: fills the shorter sources.
        temperature: of the drawing.
        top_k: tokens drawn from; 0 for all.
        num_tokens: entries that student and teacher share; the end token stands in for others,
            which only a model with more embeddings than its tokenizer has entries can draw.
    """
    if not sources:
        return []
    longest = draws.shape[1]
    groups = sample(
        network,
        sources,
        num_samples=1,
        max_new_tokens=longest,
        eos_token_id=end,
        pad_token_id=pad,
        temperature=temperature,
        top_k=top_k,
        draws=draws,
    )
    answers = []
    for (ids,) in groups:
        known = [token if token < num_tokens else end for token in ids]
        answers.append(known if len(known) == longest else [*known, end])
    return answers


def load_teacher(source: str, tokenizer: Any) -> tuple[Any, Any]:
    """A causal language model and its tokenizer.

    Args:
        source: as `load_generator` takes it.
        tokenizer: of the student, with which its own must agree; None where there is none yet.

    Raises:
        UserError: it has an encoder, or numbers its tokens otherwise.
    """
    with torch.device("cpu"):  # also where the student has shapes alone
        network, own = load_generator(source)
    if network.config.is_encoder_decoder:
        raise UserError(
            f"the teacher {source} is a {network.config.model_type}, which has an encoder: name a"
            " causal language model"
        )
    if own.eos_token_id is None:
        raise UserError(f"the tokenizer of the teacher {source} has no end token: give it one")
    if tokenizer is not None:
        check_same_tokens(tokenizer, own, source)
    return network, own


def check_same_tokens(student: Any, teacher: Any, source: str) -> None:
    """Makes sure that a token means the same to both; either may have further ones at its end.

    Raises:
        UserError: the first token that differs.
    """
    ours = {number: token for token, number in student.get_vocab().items()}
    theirs = {number: token for token, number in teacher.get_vocab().items()}
    shared = min(max(ours), max(theirs)) + 1
    for number in range(shared):
        if ours.get(number) != theirs.get(number):
            raise UserError(
                f"the teacher {source} has another tokenizer than the student (token {number} is"
                f" {theirs.get(number)!r} there and {ours.get(number)!r} here): name a teacher with"
                " the student's tokenizer, or leave out --init to begin with the teacher's"
            )
    if student.eos_token_id != teacher.eos_token_id:
        raise UserError(
            f"the teacher {source} ends texts with {teacher.eos_token!r} and the student with"
            f" {student.eos_token!r}: give them one end token"
        )
