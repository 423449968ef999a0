"""Methods on a decoder that predicts the next token of windows of joined texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretrial.bases.language_model.method import LanguageMethod
from pretrial.data.windows.cutting import token_ids
from pretrial.data.windows.packing import blocks
from pretrial.errors import UserError
from pretrial.evaluate.perplexity import causal_nll
from pretrial.models.architectures.language_model import CausalLM
from pretrial.models.tokenizers import special_ids
from pretrial.train.stage import Stage
from pretrial.train.tokens import run_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run

_MAX_WRITTEN = 50


class DecoderMethod(LanguageMethod):
    """A causal language model; its settings have `max_length`, the tokens of a window."""

    specials: ClassVar[Mapping[str, str]] = {
        "eos_token": "<|endoftext|>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }

    def new_language_model(self, network: Any, tokenizer: Any) -> CausalLM:
        """Learns windows of token ids."""
        return CausalLM(network, tokenizer)

    @classmethod
    def network_config(cls, config: Any, kind: Any, vocab_size: int, **more: Any) -> Any:
        """The network in transformers' terms: texts begin and end with the end token.

        Args:
            config: the settings.
            kind: such as `LlamaConfig`.
            vocab_size: entries of the vocabulary.
            more: further fields of it.
        """
        end = special_ids(cls.specials)["eos_token_id"]
        own = {
            "bos_token_id": end,
            "eos_token_id": end,
            "max_position_embeddings": config.max_length,
        }
        return config.network_config(kind, vocab_size=vocab_size, **(own | more))

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `LanguageMethod.load`.

        Raises:
            UserError: it has an encoder.
        """
        config, network, tokenizer = super().load(config, source)
        if network.config.is_encoder_decoder:
            raise UserError(
                f"{source} is a {network.config.model_type}, which reads and writes apart: it"
                " must be a causal language model"
            )
        return config, network, tokenizer

    def windows(self, examples: Sequence[Any]) -> Iterator[list[int]]:
        """Texts joined, an end token behind each, and cut into windows of one length."""
        ids = token_ids((self.text_of(each) for each in examples), self.tokenizer)
        return blocks(ids, self.config.max_length, self.language_model.end)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over windows of the texts."""
        windows, held_out = run_windows(
            run,
            self.windows,
            empty=f"the texts do not fill one window of {self.config.max_length} tokens: give more"
            " text, or lower max_length",
        )
        yield Stage.of(
            "train",
            self,
            windows,
            self.config,
            budget=run.budget,
            held_out=held_out,
            optim=self.optim(),
        )

    @property
    def num_positions(self) -> int:
        """Tokens that the network can read and write in all."""
        found = getattr(self.network.config, "max_position_embeddings", None)
        return int(found or self.config.max_length)

    @property
    def max_written(self) -> int:
        """50 tokens, or half of what the network reads."""
        return min(_MAX_WRITTEN, self.num_positions // 2)

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """The texts, of long ones the end; an empty one is the end token."""
        room = self.num_positions - max_new_tokens
        if room < 1:
            raise UserError(
                f"the model reads {self.num_positions} tokens: ask for fewer, lower max_new_tokens"
            )
        found = [self.tokenizer(self.text_of(each), add_special_tokens=False) for each in examples]
        return [each["input_ids"][-room:] or [self.language_model.end] for each in found]

    def nll(self, texts: Sequence[Any]) -> tuple[list[float], list[int]]:
        """Negative log-likelihood in nats and UTF-8 bytes of each text; see `causal_nll`."""
        plain = [self.text_of(text) for text in texts]
        return causal_nll(self.network, self.tokenizer, plain, max_length=self.config.max_length)
