"""Settings of Never Train from Scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.errors import UserError
from pretrial.methods.text.never_from_scratch.network.encoder import LongSequenceConfig

Objective = Literal["masked", "causal", "validation", "none"]

#: Settings of the network beside its sizes, which it calls as we do.
_SHARED = (
    *("mixer", "rotary", "window", "prenorm", "head"),
    *("state_size", "bidirectional", "structured", "dt_min", "dt_max"),
)

#: Values that a signal is told apart into, where they are classes: those of a grey pixel.
NUM_LEVELS = 256


@dataclass(frozen=True)
class Config(Optimisation, TransformerSizes):
    """Settings, by default those of the Transformer that reads grey images of 1,024 pixels.

    Files are those of configs/experiment/lra in IdoAmos/not-from-scratch.

    Attributes:
        mixer: what mixes positions: attention ("transformer"), or a state space: "s4", "s4d",
            "dlr", or one that depends on what it reads, "mamba".
        feed_forward: inner width of feed-forward layers, which transformers alone have.
        dropout_prob: of what a layer adds.
        rotary: positions turn queries and keys (section 3.2), instead of sinusoids that are added.
        window: positions of a block of attention, which sees its own block and those beside it; 0
            is the whole sequence (section 2).
        prenorm: norms stand before layers and behind the last; else behind each sum.
        state_size: of state spaces.
        bidirectional: state spaces have kernels of both directions; "mamba" sees the past alone.
        structured: state spaces start from HiPPO-LegS (s4), evenly spread frequencies (s4d, dlr) or
            rates (mamba); else they are random (section 3.3).
        dt_min: least initial step of state spaces; 1e-4 for very long sequences.
        dt_max: largest initial step of state spaces.
        head: of the classifier, on the mean of the last states: "mlp" or "linear".
        max_length: longer sequences are cut.
        objective: of pre-training on the task's own inputs: name hidden entries ("masked") or the
            next one ("causal"), do both and let held-out accuracy choose ("validation"), or train
            from scratch ("none").
        pretrain_ratio: share of the budget for pre-training.
        mask_ratio: share of the entries that is hidden.
        span_length: entries hidden together.
        signal_loss: of signals: absolute error ("l1"), or cross-entropy over 256 values
            ("levels").
        data_ratio: share of the training data that is used at all (section 3.4).
        lr: peak learning rate; constant after the warm-up.
        state_lr: most for the parameters of the dynamics of state spaces, which have no decay.
        warmup: steps of warm-up in each stage, or a share of its budget when below 1.
    """

    mixer: Literal["transformer", "s4", "s4d", "dlr", "mamba"] = "transformer"
    width: int = 64  # transformer-lra-cifar-mlm.yaml
    num_layers: int = 3  # transformer-lra-cifar-mlm.yaml
    num_heads: int = 4  # transformer-lra-cifar-mlm.yaml
    feed_forward: int = 128  # transformer-lra-cifar-mlm.yaml: expand 2
    dropout_prob: float = 0.0  # transformer-lra-cifar-mlm.yaml
    rotary: bool = False  # transformer-lra-cifar-mlm.yaml
    window: int = 0
    prenorm: bool = True  # transformer-lra-cifar-mlm.yaml
    state_size: int = 64  # s4-lra-cifar-mlm.yaml
    bidirectional: bool = True  # s4-lra-cifar-mlm.yaml
    structured: bool = True  # s4-lra-cifar-mlm.yaml: measure legs
    dt_min: float = 0.001  # s4-lra-cifar-mlm.yaml
    dt_max: float = 0.1  # s4-lra-cifar-mlm.yaml
    head: Literal["mlp", "linear"] = "mlp"  # transformer-lra-cifar.yaml: sequence_nonelinear
    max_length: int = 1024
    objective: Objective = "masked"
    pretrain_ratio: float = 0.5  # assumed; Table 8 varies it
    mask_ratio: float = 0.5  # transformer-lra-cifar-mlm.yaml; section 2
    span_length: int = 1  # transformer-lra-pathx-mlm-small.yaml
    signal_loss: Literal["l1", "levels"] = "l1"  # transformer-lra-cifar-mlm.yaml
    data_ratio: float = 1.0
    lr: float = 1e-3  # transformer-lra-cifar-mlm.yaml
    state_lr: float = 1e-3  # s4-lra-cifar-mlm.yaml
    warmup: float = 0.1  # of the budget; paper() has its steps
    weight_decay: float = 0.0  # transformer-lra-cifar-mlm.yaml
    batch_size: int = 32  # transformer-lra-cifar-mlm.yaml

    #: Parameters of what `export` gives, where they are published: README_S4.md of the repository.
    published: ClassVar[dict[str, float]] = {"s4d-example": 200e3}

    def __post_init__(self) -> None:
        for name in ("pretrain_ratio", "mask_ratio"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must be above 0 and below 1, not {getattr(self, name)}")
        if not 0 < self.data_ratio <= 1:
            raise UserError(f"data_ratio must be above 0 and at most 1, not {self.data_ratio}")
        if self.state_size % 2:
            raise UserError(f"state_size must be even, not {self.state_size}")
        if self.width % (2 * self.num_heads):
            raise UserError(f"width {self.width} must be a multiple of 2 * {self.num_heads} heads")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            width=16,
            num_layers=2,
            num_heads=2,
            feed_forward=32,
            state_size=8,
            max_length=32,
            lr=3e-3,
            warmup=2,
            batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """Two layers for sequences of 64 entries: minutes on two cores."""
        return cls(
            num_layers=2,
            state_size=16,
            max_length=64,
            pretrain_ratio=0.6,
            warmup=0.05,
            batch_size=16,
        )

    @classmethod
    def paper(cls, name: str = "image") -> Self:
        """The released settings of a task: of the Transformer on it, or of a state space.

        "image", "listops", "pathfinder", "path-x" and "path-x-256" are tasks of Long Range Arena
        (the last one beyond it); "s4-image" and so on name a state space and a task; "s4d-example"
        is the repository's small model for sequential CIFAR.
        """
        image = cls(warmup=2500)  # transformer-lra-cifar-mlm.yaml
        return published_size(name, _transformers(image) | _state_spaces(image))

    def sequence_config(self, **inputs: Any) -> LongSequenceConfig:
        """The encoder's sizes; `inputs` are the settings that the data decide."""
        own = {name: getattr(self, name) for name in _SHARED}
        known = {"max_position_embeddings": self.max_length, "num_labels": 10}
        return self.network_config(LongSequenceConfig, **(own | known | inputs))

    def sized_as(self, network: Any) -> Self:
        """The same settings with the sizes of a network that was loaded."""
        own = {name: getattr(network, name) for name in _SHARED}
        longest, dropout = network.max_position_embeddings, network.hidden_dropout_prob
        return replace(super().sized_as(network), max_length=longest, dropout_prob=dropout, **own)


def _transformers(image: Any) -> dict[str, Any]:
    """The released Transformers by task; values are those of the files named in comments."""
    listops = replace(  # transformer-lra-listops-mlm.yaml, its rate of 0.05 left at ours
        image,
        width=512,
        num_layers=6,
        num_heads=8,
        feed_forward=2048,
        max_length=2048,
        head="linear",
        mask_ratio=0.1,  # section 2; the files leave it to the command line
        warmup=2000,
    )
    pathfinder = replace(  # transformer-lra-pathfinder-mlm.yaml
        image,
        width=128,
        num_layers=4,
        num_heads=8,
        feed_forward=128,
        signal_loss="levels",
        lr=5e-4,
    )
    path_x = replace(  # transformer-lra-pathx-mlm-small.yaml
        pathfinder, num_heads=4, max_length=16_384, window=4096, warmup=5000
    )
    path_x_256 = replace(  # transformer-lra-pathx256-mlm.yaml
        path_x, num_layers=8, feed_forward=512, max_length=65_536, window=8192
    )
    return {
        "image": image,
        "listops": listops,
        "pathfinder": pathfinder,
        "path-x": path_x,
        "path-x-256": path_x_256,
    }


def _state_spaces(image: Any) -> dict[str, Any]:
    """The released state spaces by task; values are those of the files named in comments."""
    s4_image = replace(  # s4-lra-cifar-mlm.yaml
        image,
        mixer="s4",
        width=512,
        num_layers=6,
        dropout_prob=0.1,
        prenorm=False,
        lr=0.01,
        weight_decay=0.05,
        batch_size=50,
    )
    s4_listops = replace(  # s4-lra-listops-mlm.yaml
        s4_image,
        width=128,
        num_layers=8,
        dropout_prob=0.0,
        max_length=2048,
        head="linear",
        mask_ratio=0.1,  # section 2
        warmup=2000,
    )
    s4_path_x = replace(  # s4-lra-pathx-mlm.yaml
        s4_image,
        width=256,
        dropout_prob=0.0,
        prenorm=True,
        dt_min=1e-4,
        max_length=16_384,
        signal_loss="levels",
        lr=5e-4,
        state_lr=5e-4,
        warmup=5000,
        batch_size=32,
    )
    dlr_image = replace(  # dlr-lra-cifar-mlm.yaml, model/layer/dlr.yaml
        s4_image,
        mixer="dlr",
        dropout_prob=0.0,
        prenorm=True,
        state_size=1024,
        dt_min=1e-4,
        state_lr=1e-4,
    )
    example = replace(  # example.py, as README_S4.md tells of it
        image,
        mixer="s4d",
        width=128,
        num_layers=4,
        dropout_prob=0.1,
        prenorm=False,
        bidirectional=False,
        head="linear",
        lr=0.01,
        weight_decay=0.01,
        batch_size=64,
    )
    return {
        "s4-image": s4_image,
        "s4d-image": replace(s4_image, mixer="s4d"),  # s4d-lra-cifar.yaml
        "s4-listops": s4_listops,
        "s4-path-x": s4_path_x,
        "dlr-image": dlr_image,
        "s4d-example": example,
    }
