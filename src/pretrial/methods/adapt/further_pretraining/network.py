"""What is asked of a network, whatever it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pretrial.methods.adapt.further_pretraining.config import Config, Input
from pretrial.methods.adapt.further_pretraining.inputs import Example
from pretrial.train.stage import Batch


class Network(nn.Module, ABC):
    """A model of transformers that learns from data without labels.

    Args:
        config: the settings, with the sizes of the model.
        model: with its self-supervised head.
        tokenizer: of a network for texts.

    Attributes:
        input: what it reads.
        counted: the count that the self-supervised loss is divided by.
    """

    input: ClassVar[Input]
    counted: ClassVar[str]

    def __init__(self, config: Config, model: Any, tokenizer: Any = None) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self.tokenizer = tokenizer

    @property
    def encoder(self) -> nn.Module:
        """The part that is kept."""
        return self.model.base_model

    @classmethod
    @abstractmethod
    def fresh(cls, config: Config, examples: Sequence[Example] | None) -> Self:
        """An untrained network; without examples one that cannot read."""

    @classmethod
    @abstractmethod
    def load(cls, config: Config, source: str | Path) -> Self:
        """The network of a checkpoint, whose sizes the settings take over."""

    @abstractmethod
    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """What both losses read, the counts included; all randomness comes from `generator`."""

    @abstractmethod
    def inputs(self, examples: Sequence[Example]) -> Batch:
        """What `features` reads."""

    @abstractmethod
    def ssl_loss(self, batch: Batch) -> Tensor:
        """The self-supervised loss, from inputs with something hidden."""

    @abstractmethod
    def features(self, batch: Batch) -> Tensor:
        """The state of the first token [B, d], from inputs with nothing hidden."""

    @abstractmethod
    def classifier(self, num_labels: int) -> Any:
        """A classifier of transformers with a fresh head on a copy of the encoder."""

    @abstractmethod
    def exported(self) -> Any:
        """What the user keeps where nothing was fine-tuned."""
