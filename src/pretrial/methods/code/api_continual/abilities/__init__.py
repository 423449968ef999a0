"""Completing code at a call: names ranked by likelihood, usages written token by token.

`ranking` is how names of several tokens are ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers import TopPLogitsWarper

from pretrial.bases.language_model import LanguageMethod
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.evaluate.api_calls import Ranked, Site, closed
from pretrial.methods.code.api_continual.abilities.ranking import (
    Names,
    log_probs_at,
    rank_decoder,
    rank_encoder,
)
from pretrial.methods.code.api_continual.data import Example, text_ids
from pretrial.methods.code.api_continual.network import num_positions
from pretrial.models.decoding.sample import sample

_CHARACTERS = 8  # of a context are read for each token that there is room for


class Completion(LanguageMethod):
    """A decoder or an encoder of code that says which call comes next.

    Attributes:
        names: that call prediction chooses from, the most frequent first.
    """

    names: list[str]

    @property
    def is_encoder(self) -> bool:
        """Whether the network is a masked language model."""
        return self.config.architecture == "encoder"

    @property
    def max_written(self) -> int:
        """Half of what the network reads."""
        return num_positions(self.network) // 2

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """The ends of the code, with room for what is written."""
        if self.is_encoder:
            raise UserError("an encoder writes no texts: use complete_usage, which fills masks")
        return self._prompts([self.text_of(each) for each in examples], max_new_tokens + 1)

    def _prompts(self, contexts: Sequence[str], reserve: int) -> list[list[int]]:
        """Token ids of the ends of the contexts, with room for `reserve` more."""
        tokenizer = self.tokenizer
        room = min(self.config.max_length, num_positions(self.network) - reserve)
        texts = [context[-_CHARACTERS * room :] for context in contexts]
        ids = text_ids(tokenizer, texts)
        if self.is_encoder:
            return [[tokenizer.cls_token_id, *own[max(0, len(own) - room + 1) :]] for own in ids]
        return [[tokenizer.eos_token_id, *own][-room:] for own in ids]

    def complete_call(
        self, examples: Sequence[Example | str], *, top: int = 5
    ) -> Iterator[dict[str, Any]]:
        """The likeliest names of the call that comes next, of those called in the training data.

        Args:
            examples: code up to the name of a call, such as "x = np.".
            top: names to give.
        """
        if top < 1:
            raise UserError(f"--top is at least 1, not {top}")
        for ranked in self.rank_calls([self.text_of(example) for example in examples], top=top):
            pairs = zip(ranked.names, ranked.nll, strict=True)
            yield {"calls": [{"name": n, "log_prob": round(-cost, 4)} for n, cost in pairs]}

    def complete_usage(
        self,
        examples: Sequence[Example | str],
        *,
        max_new_tokens: int = 30,
        temperature: float = 0.2,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, str]]:
        """The call that comes next with its arguments, up to the closing bracket.

        Args:
            examples: code up to the name of a call, such as "x = np.".
            max_new_tokens: longest usage, in tokens.
            temperature: of sampling; 0 takes the likeliest token.
            top_p: mass of the nucleus that tokens are drawn from.
            seed: of sampling.
        """
        written = self.write_usages(
            [self.text_of(example) for example in examples],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        yield from ({"usage": usage} for usage in written)

    def rank_calls(
        self, contexts: Sequence[str], names: Sequence[str] = (), *, top: int = 10
    ) -> list[Ranked]:
        """For each context the likeliest of `self.names`, and how likely the name given is."""
        if not self.names:
            raise UserError(
                "the model knows no names to choose from, as its training data had no call sites"
                " such as np.zeros(3): train it on code that has some"
            )
        tokenizer, network = self.tokenizer, self.network
        known = Names(self.names, tokenizer, beside=names)
        longest = max(map(len, known.pieces.values())) + 2
        prompts = self._prompts(contexts, longest)
        wanted: list[str | None] = list(names) if names else [None] * len(contexts)
        pad = tokenizer.pad_token_id
        was_training = network.training
        network.eval()
        try:
            if self.is_encoder:
                return rank_encoder(
                    network,
                    prompts,
                    known,
                    wanted,
                    mask=tokenizer.mask_token_id,
                    end=[tokenizer.sep_token_id],
                    pad=pad,
                    top=top,
                )
            width = max(self.config.beam_width, top)
            return rank_decoder(network, prompts, known, wanted, pad=pad, top=top, width=width)
        finally:
            network.train(was_training)

    @torch.no_grad()
    def call_loss(self, sites: Sequence[Site]) -> float:
        """Mean cross-entropy of the tokens of names at call sites, which early stopping watches."""
        tokenizer = self.tokenizer
        pieces = text_ids(tokenizer, [site.name for site in sites])
        longest = max(map(len, pieces))
        prompts = self._prompts([site.context for site in sites], longest + 1)
        total = 0.0
        for start in range(0, len(sites), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            rows, places, targets = [], [], []
            for prompt, piece in zip(prompts[part], pieces[part], strict=True):
                if self.is_encoder:
                    masks = [tokenizer.mask_token_id] * len(piece)
                    rows.append([*prompt, *masks, tokenizer.sep_token_id])
                else:
                    rows.append([*prompt, *piece])
                first = len(prompt) - (0 if self.is_encoder else 1)
                fill = longest - len(piece)
                places.append([*range(first, first + len(piece)), *[0] * fill])
                targets.append([*piece, *[IGNORE] * fill])
            logs = log_probs_at(self.network, rows, torch.tensor(places), tokenizer.pad_token_id)
            wanted = torch.tensor(targets, device=logs.device).flatten()
            total += float(
                F.nll_loss(logs.flatten(0, 1), wanted, ignore_index=IGNORE, reduction="sum")
            )
        return total / sum(map(len, pieces))

    def write_usages(
        self,
        contexts: Sequence[str],
        *,
        max_new_tokens: int = 30,
        temperature: float = 0.2,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> list[str]:
        """For each context a call with its arguments, cut behind the bracket that closes it."""
        room = num_positions(self.network)
        if not 1 <= max_new_tokens < room - 1:
            raise UserError(
                f"max_new_tokens is at least 1 and below {room - 1}, not {max_new_tokens}"
            )
        if temperature < 0:
            raise UserError(f"temperature is at least 0, not {temperature}; 0 takes the likeliest")
        tokenizer = self.tokenizer
        prompts = self._prompts(contexts, max_new_tokens + 1)
        generator = torch.Generator().manual_seed(seed)

        def finished(ids: list[int]) -> bool:
            text = tokenizer.decode(ids) + "\n"
            return closed(text) != text  # something stands behind the bracket that closes the call

        how: dict[str, Any] = {
            "temperature": temperature or 1.0,
            "top_p": top_p,
            "greedy": temperature == 0,
            "generator": generator,
        }
        if self.is_encoder:
            rows = self._fill(prompts, max_new_tokens, finished, **how)
        else:
            found = sample(
                self.network,
                prompts,
                num_samples=1,
                max_new_tokens=max_new_tokens,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                finished=finished,
                **how,
            )
            rows = [ids[0] for ids in found]
        return [closed(tokenizer.decode(ids)).strip() for ids in rows]

    @torch.no_grad()
    def _fill(
        self,
        prompts: Sequence[Sequence[int]],
        limit: int,
        finished: Callable[[list[int]], bool],
        *,
        temperature: float,
        top_p: float,
        greedy: bool,
        generator: torch.Generator,
    ) -> list[list[int]]:
        """What an encoder writes behind each prompt, one mask after the other."""
        tokenizer = self.tokenizer
        warp = TopPLogitsWarper(top_p) if top_p < 1 else None
        never = [i for i in tokenizer.all_special_ids if i != tokenizer.sep_token_id]
        rows: list[list[int]] = []
        for prompt in prompts:
            ids: list[int] = []
            while len(ids) < limit and not (ids and finished(ids)):
                row = [*prompt, *ids, tokenizer.mask_token_id, tokenizer.sep_token_id]
                place = torch.tensor([[len(prompt) + len(ids)]])
                logs = log_probs_at(self.network, [row], place, tokenizer.pad_token_id)[0]
                logs[:, never] = -torch.inf
                if greedy:
                    token = int(logs.argmax())
                else:
                    scaled = logs.cpu() / temperature
                    scaled = warp(torch.empty(0), scaled) if warp else scaled
                    token = int(torch.multinomial(scaled.softmax(-1), 1, generator=generator))
                if token == tokenizer.sep_token_id:
                    break
                ids.append(token)
            rows.append(ids)
        return rows
