"""What a student writes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.reading import Example, Reader
from pretrial.models.architectures.seq2seq import collate, generate_texts


def write(
    reader: Reader,
    examples: Sequence[Example],
    max_new_tokens: int,
    *,
    num_beams: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """A text for each example, all decoded together.

    Raises:
        UserError: options that do not go together.
    """
    if num_beams > 1 and not reader.network.config.is_encoder_decoder:
        raise UserError("beam search is for encoder-decoder models: set --num-beams 1")
    if num_beams > 1 and temperature:
        raise UserError("beam search does not sample: set --temperature 0, or --num-beams 1")
    sources, pixels = reader.inputs(examples)
    if pixels is not None:
        return _write_of_images(
            reader, sources, pixels, max_new_tokens, num_beams, temperature, top_p, seed
        )
    groups = generate_texts(
        reader.network,
        reader.tokenizer,
        sources,
        max_source=reader.config.max_source,
        max_new_tokens=max_new_tokens,
        num_beams=num_beams,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    return [group[0] for group in groups]


@torch.no_grad()
def _write_of_images(
    reader: Reader,
    sources: list[list[int]],
    pixels: Tensor,
    max_new_tokens: int,
    num_beams: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> list[str]:
    """The same where the encoder reads tiles too, by transformers' own decoding."""
    network = reader.network
    batch = collate(sources, [[reader.end]] * len(sources), reader.pad)
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rows = network.generate(
            input_ids=batch["input_ids"].to(network.device),
            attention_mask=batch["attention_mask"].to(network.device),
            pixel_values=pixels.to(network.device),
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            eos_token_id=reader.end,
            pad_token_id=reader.pad,
            **(sampling if temperature else {"do_sample": False}),
        )
    return reader.tokenizer.batch_decode(rows, skip_special_tokens=True)
