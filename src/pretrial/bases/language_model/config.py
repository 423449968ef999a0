"""Settings of methods that hide parts of texts and write them, and that learn prompted tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pretrial.bases.config import Optimisation, TransformerSizes
from pretrial.models.architectures.layouts import Architecture


@dataclass(frozen=True)
class PromptedConfig(Optimisation, TransformerSizes):
    """What `PromptedMethod` reads, by default with the vocabulary of T5.

    Attributes:
        architecture: "encoder_decoder", "prefix_decoder" or "causal_decoder".
        max_inputs: tokens that are read.
        max_targets: tokens that are written, end token included.
        vocab_size: most entries of a vocabulary that is learned.
        head_size: of each head; 0 shares the width among them.
        most_per_task: size that a prompted task counts as at most.
    """

    architecture: Architecture = "encoder_decoder"
    max_inputs: int = 512
    max_targets: int = 512
    vocab_size: int = 32128
    head_size: int = 0
    most_per_task: int = 30_000

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            max_inputs=24,
            max_targets=24,
            vocab_size=300,
            width=32,
            num_layers=2,
            num_heads=2,
            head_size=0,
            feed_forward=64,
            lr=3e-3,
            warmup=2,
            batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.5 M parameters, for a megabyte of text."""
        return cls(
            max_inputs=64,
            max_targets=64,
            vocab_size=1024,
            width=96,
            num_layers=4,
            num_heads=4,
            head_size=0,
            feed_forward=192,
            lr=3e-3,
            warmup=0.1,
            batch_size=16,
        )
