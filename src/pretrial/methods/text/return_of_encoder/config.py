"""Settings of Return of the Encoder: the paper's defaults with their sources, and smaller ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, published_size
from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.network.mu import MuConfig

#: A teacher that is trained from scratch, in a stage before the student's.
SCRATCH = "scratch"


@dataclass(frozen=True)
class Config(Optimisation):
    """Settings of Return of the Encoder.

    Sources are files of microsoft/encoder-decoder-slm: `modeling_mu.py` and, for training,
    `train_text2text_by_kd.py`.

    Attributes:
        architecture: "encoder_decoder", or "decoder_only", which has the same layers without
            cross-attention and reads source and target as one text.
        width: of a hidden state, from scratch.
        num_encoder_layers: from scratch.
        num_decoder_layers: from scratch.
        feed_forward: inner width of the feed-forward layers, from scratch.
        num_heads: query heads, from scratch.
        num_kv_heads: heads of keys and values, from scratch.
        head_width: of each head; all together may be narrower than `width`.
        vocab_size: entries of the vocabulary that is learned from the data, where neither a
            checkpoint nor a teacher brings one.
        dropout_prob: from scratch.
        rope_base: of the rotary positions, from scratch.
        rope_factor: above 1, the encoder's base grows with inputs longer than `max_source`.
        max_source: tokens of a source, `ending` included; longer ones lose their end.
        max_target: tokens of a target, its end token included.
        ending: text behind every source; it stays when a source is cut.
        vision: name or folder of a CLIP model whose patches the encoder reads; "" for none.
        max_tiles: of one image besides the whole of it, each the size that CLIP reads; 0 for none.
        train_vision: train CLIP too, and not the projector alone.
        teacher: name or folder of a causal language model with the same tokenizer; "scratch" for
            one that is trained first; "" learns from labels alone.
        teacher_layers: of a teacher from scratch, which has the student's other sizes.
        teacher_ratio: share of the budget that the teacher is first trained on the task for.
        teacher_lr: peak learning rate of that.
        teacher_rank: of low-rank updates that train a teacher which was not from scratch, merged
            into it afterwards; 0 trains all of it.
        teacher_counts: the work of teaching is taken from the budget. False books it when the
            training is over, for comparisons at equal work of the student.
        kd_weight: of the loss that learns from the teacher; the rest is the labels'.
        answers: what the teacher judges: the student's "own" answers, or the "gold" ones.
        temperature: of drawing the student's answers.
        top_k: tokens that they are drawn from; 0 draws from all.
    """

    published: ClassVar[dict[str, int]] = {"330m": 330_000_000}

    architecture: Literal["encoder_decoder", "decoder_only"] = "encoder_decoder"
    width: int = 1024  # MuConfig
    num_encoder_layers: int = 20  # MuConfig
    num_decoder_layers: int = 10  # MuConfig
    feed_forward: int = 4096  # MuConfig
    num_heads: int = 6  # MuConfig
    num_kv_heads: int = 3  # MuConfig
    head_width: int = 64  # MuConfig: 384 / 6
    vocab_size: int = 32128  # MuConfig
    dropout_prob: float = 0.1  # MuConfig
    rope_base: float = 10_000.0  # MuConfig
    rope_factor: float = 1.0  # MuConfig
    max_source: int = 1024  # encoder_seq_len
    max_target: int = 256  # decoder_seq_len
    ending: str = ""
    vision: str = ""
    max_tiles: int = 4  # the largest grid of mu_vision/config.json: 672 x 672
    train_vision: bool = False
    teacher: str = ""
    teacher_layers: int = 30
    teacher_ratio: float = 0.0
    teacher_lr: float = 1e-4  # assumed
    teacher_rank: int = 16  # get_teacher
    teacher_counts: bool = True
    kd_weight: float = 0.9  # kd_alpha
    answers: Literal["own", "gold"] = "own"
    temperature: float = 0.9  # generate_temperature
    top_k: int = 128  # generate_top_k
    batch_size: int = 128  # global_batch_size
    lr: float = 1e-4  # learning_rate
    weight_decay: float = 0.01  # weight_decay
    warmup: float = 0.1  # of the budget; paper() has its steps

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads"
                f" ({self.num_kv_heads})"
            )
        if not 0 <= self.kd_weight <= 1:
            raise UserError(f"kd_weight is a share from 0 to 1, not {self.kd_weight}")
        if not 0 <= self.teacher_ratio < 1:
            raise UserError(f"teacher_ratio is a share below 1, not {self.teacher_ratio}")
        if self.teacher_ratio and not self.teacher:
            raise UserError("teacher_ratio trains a teacher: name one, or set teacher=scratch")
        if self.teacher == SCRATCH and not self.teacher_ratio:
            raise UserError("a teacher from scratch knows nothing: set teacher_ratio, such as 0.5")
        if self.temperature <= 0:
            raise UserError(f"temperature is above 0, not {self.temperature}")
        if self.vision and self.architecture == "decoder_only":
            raise UserError("images are read by the encoder: leave out architecture=decoder_only")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test; a teacher is trained first, and judges the student's answers."""
        return cls(
            width=32,
            num_encoder_layers=2,
            num_decoder_layers=1,
            feed_forward=64,
            num_heads=4,
            num_kv_heads=2,
            head_width=8,
            vocab_size=320,
            dropout_prob=0.0,
            max_source=32,
            max_target=8,
            ending="\n",
            teacher=SCRATCH,
            teacher_layers=2,
            teacher_ratio=0.5,
            teacher_lr=3e-3,
            kd_weight=0.5,
            batch_size=4,
            lr=3e-3,
            warmup=0.0,
        )

    @classmethod
    def small(cls) -> Self:
        """0.4 M parameters, for a few megabytes of text: minutes on two cores."""
        return cls(
            width=64,
            num_encoder_layers=4,
            num_decoder_layers=2,
            feed_forward=256,
            num_heads=4,
            num_kv_heads=2,
            head_width=16,
            vocab_size=1024,
            dropout_prob=0.0,
            max_source=64,
            max_target=24,
            ending="\n",
            batch_size=16,
            lr=2e-3,
            warmup=0.05,
        )

    @classmethod
    def paper(cls, name: str = "330m") -> Self:
        """The published size, 20 layers and 10."""
        # warmup_steps of the release
        return published_size(name, {"330m": cls(warmup=4.0)})

    def decoder_only(self, num_layers: int = 0) -> Self:
        """A decoder-only model of as many parameters.

        Its feed-forward layers get what the encoder-decoder has in cross-attention.

        Args:
            num_layers: 0 for as many as encoder and decoder have together; another number keeps
                the width of the feed-forward layers.
        """
        total = self.num_encoder_layers + self.num_decoder_layers
        inner = self.feed_forward
        if not num_layers:
            narrow, keys = self.num_heads * self.head_width, self.num_kv_heads * self.head_width
            # one more norm, and four linear layers with biases
            cross = self.width + (2 * self.width + 1) * narrow + 2 * (self.width + 1) * keys
            cross += self.width
            # and the norm behind the encoder; a unit of the inner width costs 2 d + 1
            spare = self.num_decoder_layers * cross + self.width
            inner += round(spare / total / (2 * self.width + 1))
        return replace(
            self,
            architecture="decoder_only",
            num_encoder_layers=0,
            num_decoder_layers=num_layers or total,
            feed_forward=inner,
            vision="",
            teacher="",
            teacher_ratio=0.0,
        )

    def network_config(self, vocab_size: int, tokenizer: Any = None) -> MuConfig:
        """The network in transformers' terms."""
        tokens: dict[str, Any] = {}
        if tokenizer is not None:
            end = int(tokenizer.eos_token_id)
            start, pad = tokenizer.bos_token_id, tokenizer.pad_token_id
            tokens = {
                "eos_token_id": end,
                "bos_token_id": end if start is None else start,
                "decoder_start_token_id": end if start is None else start,
                "pad_token_id": end if pad is None else pad,
            }
        both = self.architecture == "encoder_decoder"
        return MuConfig(
            vocab_size=vocab_size,
            hidden_size=self.width,
            intermediate_size=self.feed_forward,
            encoder_layers=self.num_encoder_layers if both else 0,
            decoder_layers=self.num_decoder_layers,
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_kv_heads,
            head_dim=self.head_width,
            max_position_embeddings=self.max_source + (0 if both else self.max_target),
            dropout=self.dropout_prob,
            rope_theta=self.rope_base,
            rope_factor=self.rope_factor,
            is_encoder_decoder=both,
            **tokens,
        )
