"""What a language model writes for prompts: greedily, by sampling, or by a search with beams."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from pretrial.errors import UserError
from pretrial.models.decoding.cache import padded
from pretrial.models.decoding.sample import sample
from pretrial.train.in_batches import by_length

_BEAM_ROWS = 400  # beams of all prompts that are searched for together


def write(
    network: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos: int | Collection[int],
    pad: int,
    num_samples: int = 1,
    num_beams: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    forced: Sequence[int] = (),
    generator: torch.Generator | None = None,
    batch_size: int = 64,
) -> list[list[list[int]]]:
    """Token ids that are written for each prompt.

    Args:
        network: of transformers, with an encoder or without; it is in eval mode meanwhile.
        prompts: token ids, with their special tokens.
        max_new_tokens: longest text, in tokens.
        eos: the token, or any of the tokens, that end a text.
        pad: fills the shorter prompts; it is masked out.
        num_samples: texts for each prompt, when sampling or searching by beams.
        num_beams: above 1, beam search of transformers instead of sampling.
        temperature: of sampling; 0 takes the most probable token each time.
        top_p: mass of the nucleus, when sampling.
        forced: token ids that every text begins with.
        generator: of sampling; None begins with the seed 0.
        batch_size: rows decoded at once.

    Returns:
        `num_samples` texts for each prompt, the forced tokens included. The end token is left out
        where it was sampled; behind the end of a beam is padding.

    Raises:
        UserError: options that do not go together, or prompts too long for the network.
    """
    _check(network, num_samples, num_beams, temperature)
    if num_beams > 1:
        how: dict[str, Any] = {"num_beams": num_beams, "num_texts": num_samples, "forced": forced}
        found = beams(network, prompts, max_new_tokens=max_new_tokens, pad=pad, **how)
        return [[ids for ids, _ in group] for group in found]
    return sample(
        network,
        prompts,
        num_samples=num_samples,
        max_new_tokens=max_new_tokens,
        eos_token_id=eos,
        pad_token_id=pad,
        temperature=temperature or 1.0,
        top_p=top_p,
        greedy=not temperature,
        prefixes=[[forced] * num_samples for _ in prompts] if forced else None,
        generator=generator or torch.Generator().manual_seed(0),
        batch_size=batch_size,
    )


def _check(network: Any, num_samples: int, num_beams: int, temperature: float) -> None:
    """Raises UserError where options do not go together."""
    if num_samples > 1 and not temperature and num_samples > num_beams:
        raise UserError(
            f"{num_samples} texts for one source need a temperature above 0, or as many beams"
        )
    if num_beams > 1 and temperature:
        raise UserError("beam search does not sample: set temperature 0, or num_beams 1")
    if num_beams > 1 and not network.config.is_encoder_decoder:
        raise UserError("beam search is for encoder-decoder models: set --num-beams 1")


@torch.no_grad()
def beams(
    network: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    pad: int,
    num_beams: int,
    num_texts: int,
    forced: Sequence[int] = (),
    early_stopping: bool = False,
) -> list[list[tuple[list[int], float]]]:
    """Beam search of transformers, prompts of like length together.

    Args:
        network: an encoder-decoder; it is in eval mode meanwhile.
        prompts: token ids, with their special tokens.
        max_new_tokens: longest text, in tokens.
        pad: fills the shorter prompts; it is masked out.
        num_beams: beams of a prompt.
        num_texts: texts of a prompt, at most the beams.
        forced: token ids that every text begins with.
        early_stopping: a prompt is done as soon as so many beams have ended.

    Returns:
        For each prompt, the likeliest first, (token ids, mean log-probability of its tokens); the
        ids hold the forced ones and the end token, behind which is padding.
    """
    training, device = network.training, network.device
    network.eval()
    start = [network.config.decoder_start_token_id, *forced]
    found: dict[int, list[tuple[list[int], float]]] = {}
    for places in by_length(prompts, max(1, _BEAM_ROWS // num_beams)):
        chosen = [prompts[i] for i in places]
        drawn = network.generate(
            input_ids=padded(chosen, pad, device),
            attention_mask=padded([[1] * len(prompt) for prompt in chosen], 0, device),
            decoder_input_ids=torch.tensor([start] * len(chosen), device=device),
            max_new_tokens=max_new_tokens - len(forced),
            num_beams=num_beams,
            num_return_sequences=num_texts,
            early_stopping=early_stopping and num_beams > 1,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        rows = list(zip(drawn.sequences[:, 1:].tolist(), _scores(network, drawn), strict=True))
        for number, place in enumerate(places):
            found[place] = rows[number * num_texts : (number + 1) * num_texts]
    network.train(training)
    return [found[i] for i in range(len(prompts))]


def _scores(network: Any, drawn: Any) -> list[float]:
    """The mean log-probability of each text; transformers gives none for a single beam."""
    if "sequences_scores" in drawn:
        return list(drawn.sequences_scores.tolist())
    logs = network.compute_transition_scores(drawn.sequences, drawn.scores, normalize_logits=True)
    written = drawn.sequences[:, -logs.shape[1] :]
    ends = (written == network.config.eos_token_id).long()  # [N, T]
    inside = ends.cumsum(1) == ends  # up to the first end token, that one included
    return list((logs.masked_fill(~inside, 0.0).sum(1) / inside.sum(1)).tolist())
