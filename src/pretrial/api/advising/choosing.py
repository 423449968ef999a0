"""What is tried on data, and why: few methods that fit, from scratch and from a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from pretrial import discover
from pretrial.api.advising.looking import Looked
from pretrial.data.origins import Kind
from pretrial.errors import UserError

Way = Literal["floor", "vectors", "finetune", "nll"]

#: Packaged checkpoints by what is to be done; see `checkpoints.packaged`.
ENCODER, GENERATOR = "minilm", "smollm2"
_LABELS = {ENCODER: "MiniLM", GENERATOR: "SmolLM2"}
_MOST_METHODS = 2
_LEAST_MINUTES = 4.0  # with less there is one method, and from one start
_SCALED = 32  # pixels that larger images are brought to
_RATE = 8000  # of recordings
_LATE_RATE = 1e-4  # most that is learnt with from a checkpoint (chosen here)


@dataclass(frozen=True)
class Try:
    """One thing to try.

    Attributes:
        name: short; files are called so.
        label: what tables call it.
        why: in one line.
        way: how it answers: `floor` without training, `vectors` by a linear classifier on them,
            `finetune` by all weights, `nll` by predicting texts.
        slug: the method that trains first, without labels; "" is none.
        init: the checkpoint that it starts from; "" is from scratch.
    """

    name: str
    label: str
    why: str
    way: Way
    slug: str = ""
    init: str = ""


def choose(looked: Looked, minutes: float, methods: Sequence[str] = ()) -> list[Try]:
    """What is tried; what needs no training comes first.

    Args:
        looked: the data.
        minutes: in all.
        methods: slugs to try; by default those that fit.
    """
    checkpoint = packaged(looked)
    few = checkpoint and minutes < _LEAST_MINUTES
    slugs = list(methods) or fitting(looked)[: 1 if few else _MOST_METHODS]
    name = _LABELS.get(checkpoint, checkpoint)
    floor = {
        "text": "the most frequent label, and a linear model on TF-IDF of words",
        "image": "the most frequent label, and a linear model on raw pixels",
        "audio": "the most frequent label, and a linear model on levels of bands",
    }[looked.kind]
    floor = floor if looked.labelled else "counts of three bytes in a row"
    tries = [Try("floor", "no network", f"{floor}: what has to be beaten", "floor")]
    if checkpoint and looked.labelled:
        why = "a public encoder of texts as it is; only a linear classifier is fitted"
        tries.append(Try("vectors", f"{name}, linear classifier", why, "vectors", "", checkpoint))
        why = "the same encoder, all of it trained on the labels"
        tries.append(Try("finetuned", f"{name}, fine-tuned", why, "finetune", "", checkpoint))
    elif checkpoint:
        why = "a public language model of 135 M parameters as it is"
        tries.append(Try("checkpoint", f"{name} as it is", why, "nll", "", checkpoint))
    for slug in slugs:
        tries += _tries_of(slug, looked, checkpoint if minutes >= _LEAST_MINUTES else "")
    return tries


def _tries_of(slug: str, looked: Looked, checkpoint: str) -> list[Try]:
    """A method from scratch, and from the checkpoint where it can begin with that."""
    card = discover.find(slug).card
    title = slug.upper() if len(slug) < 4 else slug
    way: Way = "finetune" if looked.labelled else "nll"
    then = ", then the labels" if looked.labelled else ""
    made = [Try(slug, f"{title} from scratch", f"{card.summary}{then}", way, slug)]
    if checkpoint and looked.labelled and can_start(slug, checkpoint):
        name = _LABELS.get(checkpoint, checkpoint)
        why = f"{name} goes on with {slug} on your texts{then}"
        made.insert(0, Try(f"{slug}-{checkpoint}", f"{title} from {name}", why, way, slug,
                           checkpoint))  # fmt: skip
    return made


def fitting(looked: Looked) -> list[str]:
    """Slugs of the methods that can be tried, the likeliest first.

    A method fits if it requires no field that the data lacks and has the ability that is needed.
    Those of the data's own family come first, and among them those that can begin with the
    checkpoint, then the older, which are better known.
    """
    ability = "classifier" if looked.labelled else "nll"
    family = {"text": "text", "image": "vision", "audio": "vision"}[looked.kind]
    found = []
    for slug, entry in discover.methods().items():
        required = {field.name for field in entry.card.fields if field.required}
        known = {field.name for field in entry.card.fields}
        # `image` of the methods of patches may be a recording instead, which their cards name too
        alone = required <= {looked.kind, "label"} or (looked.kind == "audio" and "audio" in known)
        if not alone or looked.kind not in known or entry.family != family:
            continue
        try:
            able = hasattr(discover.load(slug).method, ability)
        except UserError:  # a package is missing
            continue
        if able:
            found.append((entry.card.year, slug))
    slugs = [slug for _, slug in sorted(found)]
    checkpoint = packaged(looked) if looked.labelled else ""
    if checkpoint:
        slugs.sort(key=lambda slug: not can_start(slug, checkpoint))
    return slugs


def packaged(looked: Looked) -> str:
    """The installed checkpoint that suits the data; "" where there is none."""
    if looked.kind != "text":
        return ""
    from pretrial.checkpoints.packaged import place_of

    name = ENCODER if looked.labelled else GENERATOR
    try:
        place_of(name)
    except UserError:
        return ""
    return name


@cache  # a method is built for it
def can_start(slug: str, checkpoint: str) -> bool:
    """Whether a method can begin with a checkpoint."""
    from pretrial.checkpoints.packaged import place_of

    loaded = discover.load(slug)
    try:
        loaded.method.build(loaded.config(), source=place_of(checkpoint))
    except (UserError, NotImplementedError, OSError):
        return False
    return True


def config_for(slug: str, looked: Looked, init: str = "") -> Any:
    """A small size of a method, for the data.

    Images are read as large as they are, up to 32 pixels; recordings for as long as most last. What
    goes on from a checkpoint, which has sizes of its own, learns slowly, so as not to forget.
    """
    kind = discover.load(slug).config
    config = kind.small() if hasattr(kind, "small") else kind.tiny()
    slow = {"lr": min(config.lr, _LATE_RATE)} if init and hasattr(config, "lr") else {}
    return dataclasses.replace(config, **slow, **_shape(looked.train, looked.kind))


def _shape(rows: Sequence[Any], kind: Kind) -> dict[str, Any]:
    if kind == "image":
        from pretrial.data.media.image import size_of

        sizes = [size_of(row["image"]) for row in rows[:50]]
        size = min(max(max(height, width) for height, width, _ in sizes), _SCALED)
        patch = 2 if size <= _SCALED // 2 else 4
        channels = max(each for _, _, each in sizes)
        shape = {"image_size": -(-size // patch) * patch, "patch_size": patch, "resize": True}
        return shape | {"num_channels": channels}
    if kind == "audio":
        from pretrial.data.media.audio import samples

        lengths = [len(samples(row["audio"], _RATE)) / _RATE for row in rows[:50]]
        seconds = float(np.clip(np.percentile(lengths, 95), 0.5, 10.0))
        return {"input": "audio", "sampling_rate": _RATE, "seconds": round(seconds, 1),
                "num_mels": 40, "frames": 4}  # fmt: skip
    return {}
