"""Settings of Yi."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.data.cleaning.cascade_stages import Options
from pretrial.errors import UserError
from pretrial.train.stage import Optim

Step = Literal["pretrain", "deepen", "lengthen", "chat", "align", "sharpen", "see"]
STEPS = ("pretrain", "deepen", "lengthen", "chat")
#: Of images: the vision model learns for the language model, at two sizes, then both learn.
VISION_STEPS = ("align", "sharpen", "see")


@dataclass(frozen=True)
class Config(Optimisation, TransformerSizes):
    """Settings, by default those of Yi-6B; "assumed" marks what was not published.

    Attributes:
        steps: what is done, in this order, each with its share of the budget: "pretrain" on `text`,
            "deepen" (copy layers, train on), "lengthen" (longer context), "chat" on `messages`; and
            on `image` and `text`: "align" and "sharpen" (CLIP and the projector, at small and large
            images) and "see" (all).
        ratios: shares of the budget, one a step; empty divides it evenly.
        vocab_size: of a tokenizer that is learned.
        num_kv_heads: key and value heads, each shared by several query heads.
        max_length: tokens of a window.
        rope_base: of the rotary positions.
        lr: peak learning rate of pre-training.
        warmup: of pre-training; steps, or a share below 1.
        clean: send the texts through the cascade of filters first.
        cascade: settings of the cascade.
        reference: source of texts as they are wanted, for the learned filters.
        copy_layers: layers that deepening copies.
        copy_first: the first of them; -1 takes the block whose layers change their input least;
            as controls, -2 that whose layers change it most, and -3 one at random.
        train_copies: deepening trains the copies alone.
        deepen_in_place: train the layers that would be copied, and copy none, as a control.
        deepen_lr: constant learning rate of deepening.
        long_length: tokens of a window after lengthening.
        long_base: of the rotary positions after lengthening.
        long_boost: how often texts of half a long window or more are repeated.
        recite_ratio: share of long windows that end in a question about one of their texts and its
            recitation.
        needles: hidden at each of three depths of half and whole long windows after lengthening,
            and looked for; 0 looks for none.
        lengthen_lr: constant learning rate of lengthening.
        noise: alpha of NEFTune: noise on the token vectors in chat training; 0 gives none.
        chat_lr: constant learning rate of chat training.
        chat_batch_size: dialogues a step.
        mixture: shares of dialogues to keep by their field `ability`, pairs such as math=0.25.
        vision: name or folder of the CLIP model of the steps of images.
        projector_norms: a LayerNorm behind each layer of the projector; without them, what is
            exported is a Llava that transformers loads.
        small_image: side in pixels of images in "align".
        large_image: in "sharpen", "see" and afterwards.
        align_lr: constant learning rate of "align" and "sharpen".
        see_lr: of "see".
        align_batch_size: images a step of "align" and "sharpen".
        see_batch_size: of "see".
        pairs_per_source: images in "see" of each value of the field `source`, at most.
        search_ratio: share of the budget of chat that a search for the mixture takes; 0 searches
            none.
    """

    steps: tuple[Step, ...] = ("pretrain",)
    ratios: tuple[float, ...] = ()
    vocab_size: int = 64_000  # section 2.2
    width: int = 4096  # Table 1
    feed_forward: int = 11_008  # config of Yi-6B
    num_layers: int = 32  # Table 1
    num_heads: int = 32  # Table 1
    num_kv_heads: int = 4  # Table 1
    max_length: int = 4096  # Table 1
    rope_base: float = 10_000.0  # assumed
    batch_size: int = 1024  # assumed
    lr: float = 3e-4  # Table 1
    warmup: float = 0.01  # assumed
    weight_decay: float = 0.1  # as in fine-tuning
    clean: bool = False
    cascade: Options = field(default_factory=Options)
    reference: str = ""
    copy_layers: int = 16  # Yi-9B (section 7.3): layers 12 to 28 of 32
    copy_first: int = -1
    train_copies: bool = False  # the paper trains all
    deepen_in_place: bool = False
    deepen_lr: float = 3e-5  # Yi-9B (section 7.3)
    long_length: int = 200_000  # section 7.1
    long_base: float = 5_000_000.0  # config of Yi-6B-200K
    long_boost: int = 4  # assumed
    recite_ratio: float = 0.1  # assumed
    needles: int = 5
    lengthen_lr: float = 3e-5  # assumed
    noise: float = 5.0  # section 3.2, 6B; 45 for 34B
    chat_lr: float = 1e-5  # section 3.2
    chat_batch_size: int = 64  # section 3.2
    mixture: tuple[str, ...] = ()
    search_ratio: float = 0.0
    vision: str = ""  # CLIP ViT-H/14 in section 7.2
    projector_norms: bool = True  # section 7.2
    small_image: int = 224  # section 7.2
    large_image: int = 448  # section 7.2
    align_lr: float = 1e-4  # section 7.2
    see_lr: float = 2e-5  # section 7.2
    align_batch_size: int = 4096  # section 7.2
    see_batch_size: int = 256  # section 7.2
    pairs_per_source: int = 50_000  # section 7.2

    published: ClassVar[dict[str, float]] = {"6b": 6.06e9, "9b": 8.83e9, "34b": 34.39e9}

    def __post_init__(self) -> None:
        if not self.steps or len(set(self.steps)) < len(self.steps):
            names = ", ".join((*STEPS, *VISION_STEPS))
            raise UserError(f"steps are some of {names}, each once, not {self.steps}")
        if set(self.steps) & set(VISION_STEPS) and not self.vision:
            raise UserError("align, sharpen and see need a CLIP model: name one with --vision")
        if self.ratios and (len(self.ratios) != len(self.steps) or min(self.ratios) <= 0):
            raise UserError(f"ratios must be {len(self.steps)} shares above 0, one a step")
        if self.num_heads % self.num_kv_heads or self.width % self.num_heads:
            raise UserError(
                "num_heads must be a multiple of num_kv_heads, and width one of num_heads"
            )
        if self.copy_first < -3:
            raise UserError(f"copy_first is a layer, or -1, -2 or -3, not {self.copy_first}")
        if self.long_boost < 1 or not 0 <= self.recite_ratio <= 1:
            raise UserError("long_boost must be 1 or more, and recite_ratio a share")
        if self.needles < 0:
            raise UserError(f"needles must be 0 or more, not {self.needles}")
        if not 0 <= self.search_ratio < 1:
            raise UserError(f"search_ratio must be a share below 1, not {self.search_ratio}")
        if self.noise < 0:
            raise UserError(f"noise must be 0 or more, not {self.noise}")
        self.kept_shares()

    def kept_shares(self) -> dict[str, float]:
        """Shares of dialogues to keep, by ability.

        Raises:
            UserError: `mixture` is not made of pairs such as math=0.25.
        """
        shares = {}
        for pair in self.mixture:
            name, _, share = pair.partition("=")
            try:
                shares[name] = float(share)
            except ValueError:
                shares[name] = -1.0
            if not name or not 0 <= shares[name] <= 1:
                raise UserError(f"mixture takes pairs such as math=0.25, not {pair!r}")
        return shares

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test; goes through all steps."""
        return cls(
            steps=STEPS,  # type: ignore[arg-type]
            vocab_size=320,
            width=32,
            feed_forward=64,
            num_layers=3,
            num_heads=4,
            num_kv_heads=2,
            max_length=16,
            batch_size=4,
            lr=3e-3,
            copy_layers=1,
            deepen_lr=1e-3,
            long_length=48,
            needles=0,
            lengthen_lr=1e-3,
            chat_lr=1e-3,
            chat_batch_size=4,
        )

    @classmethod
    def small(cls) -> Self:
        """0.4 M parameters, for a few megabytes of text: minutes on two cores."""
        return cls(
            vocab_size=1024,
            width=96,
            feed_forward=256,
            num_layers=3,
            num_heads=4,
            num_kv_heads=2,
            max_length=128,
            batch_size=16,
            lr=3e-3,
            warmup=0.05,
            copy_layers=1,
            deepen_lr=1e-3,
            long_length=512,
            lengthen_lr=1e-3,
            chat_lr=1e-3,
            chat_batch_size=16,
        )

    @classmethod
    def paper(cls, name: str = "6b") -> Self:
        """The published sizes: "6b", "9b" (the first, deepened) and "34b"."""
        base = cls()
        sizes = {
            "6b": base,
            "9b": replace(base, num_layers=48),
            "34b": replace(
                base,
                width=7168,
                feed_forward=20_480,
                num_layers=60,
                num_heads=56,
                num_kv_heads=8,
                lr=1.5e-4,
                noise=45.0,
            ),
        }
        return published_size(name, sizes)

    def optim(self, step: Step) -> Optim:
        """Optimiser and schedule of a step."""
        if step == "pretrain":
            # betas, schedule and its end are assumed
            return Optim.of(self, betas=(0.9, 0.95), schedule="cosine", final_ratio=0.1)
        rates = {"deepen": self.deepen_lr, "lengthen": self.lengthen_lr, "chat": self.chat_lr}
        rates |= {"align": self.align_lr, "sharpen": self.align_lr, "see": self.see_lr}
        return Optim(rates[step], self.weight_decay, schedule="constant")
