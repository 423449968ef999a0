"""From a file of the corpus to a new one, written with the file as its seed (section 2.4)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from pretrial.checkpoints.pretrained import load_generator
from pretrial.errors import UserError
from pretrial.methods.code.snowcoder.data import File
from pretrial.models.decoding.sample import sample

_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)

#: Our own words; the paper's prompt is not quoted.
PROMPT = (
    "Here is a fragment of {language} code.\n\n```\n{seed}\n```\n\n"
    "Let it inspire you to think of a concrete problem that a programmer may have. Write one"
    " complete {language} file that solves it: say in comments what the problem is and how the"
    " solution goes, use clear names, handle the special cases, and show an example of use. Do not"
    " copy the fragment. Answer with the file only, in one block of code."
)


def seed_of_file(text: str, num_lines: int, rng: random.Random) -> str:
    """A run of lines of a file that begins at a random one."""
    lines = [line for line in text.splitlines() if line.strip()]
    start = rng.randrange(max(len(lines) - num_lines, 0) + 1)
    return "\n".join(lines[start : start + num_lines])


def code_of_answer(answer: str) -> str:
    """The first block of code of an answer, or all of it if there is none."""
    found = _FENCE.search(answer)
    return (found.group(1) if found else answer).strip()


class Writer:
    """A language model that writes files.

    Args:
        source: a Hugging Face name, a folder, a GGUF file, or "smollm2".
    """

    def __init__(self, source: str) -> None:
        self.network, self.tokenizer = load_generator(source)
        if self.network.config.is_encoder_decoder:
            raise UserError(f"{source} reads and writes apart: name a causal language model")

    def write(
        self,
        files: Sequence[File],
        *,
        num_lines: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> Iterator[dict[str, Any]]:
        """One new file from each; answers without code are left out."""
        rng = random.Random(seed)
        generator = torch.Generator().manual_seed(seed)
        for file in files:
            fragment = seed_of_file(file.text, num_lines, rng)
            ids = self._prompt(PROMPT.format(language=file.language, seed=fragment))
            ends = self.network.generation_config.eos_token_id
            ((written,),) = sample(
                self.network,
                [ids],
                num_samples=1,
                max_new_tokens=max_new_tokens,
                eos_token_id=self.tokenizer.eos_token_id if ends is None else ends,
                pad_token_id=self.tokenizer.pad_token_id or 0,
                temperature=temperature or 1.0,
                top_p=top_p,
                greedy=temperature == 0,
                generator=generator,
            )
            text = code_of_answer(self.tokenizer.decode(written, skip_special_tokens=True))
            if text:
                yield {"text": text + "\n", "language": file.language, "seed": fragment}

    def _prompt(self, text: str) -> list[int]:
        if self.tokenizer.chat_template is None:
            return list(self.tokenizer(text)["input_ids"])
        turn = [{"role": "user", "content": text}]
        made = self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(made, add_special_tokens=False)["input_ids"])
