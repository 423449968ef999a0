"""What a student writes of images, which transformers' own decoding hands on to the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from pretrial.methods.text.return_of_encoder.data import Example, Inputs
from pretrial.models.architectures.seq2seq import collate

_AT_ONCE = 64  # examples


@torch.no_grad()
def write_of_images(
    inputs: Inputs,
    examples: Sequence[Example],
    *,
    max_new_tokens: int,
    num_beams: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> Iterator[str]:
    """A text for each example, some decoded together; see `LanguageMethod.generate`."""
    model, network = inputs.model, inputs.network
    sampling: dict[str, Any] = {"do_sample": False}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    for start in range(0, len(examples), _AT_ONCE):
        sources, pixels = inputs.sources(examples[start : start + _AT_ONCE])
        assert pixels is not None
        batch = collate(sources, [[model.end]] * len(sources), model.pad)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            rows = network.generate(
                input_ids=batch["input_ids"].to(network.device),
                attention_mask=batch["attention_mask"].to(network.device),
                pixel_values=pixels.to(network.device),
                max_new_tokens=max_new_tokens,
                num_beams=num_beams,
                eos_token_id=model.end,
                pad_token_id=model.pad,
                **sampling,
            )
        yield from inputs.tokenizer.batch_decode(rows, skip_special_tokens=True)
