"""What the two sides of an encoder-decoder model are worth: fresh, frozen, and how active.

The study that led to E2S2 (Zhong and others 2022, arXiv 2205.14912): a model is fine-tuned as it
is, with one side re-initialised, and with one side frozen; what is lost is what that side had
learnt. And of each side's feed-forward units, the share that is above 0 at a token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.evaluate.finetune import finetune
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import shifted
from pretrial.train.seeds import seed_of

Side = Literal["encoder", "decoder"]
SIDES: tuple[Side, ...] = ("encoder", "decoder")

# What goes into the activation: of BART, of T5, and the gated half of newer T5s.
_UNITS = re.compile(r"(^|\.)(fc1|wi|wi_0)$")


def diagnose_sides(
    make: Callable[[], TextToText],
    pairs: Sequence[tuple[str, str]],
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    test_ratio: float,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Fine-tunes a model in five settings and counts its active units.

    Args:
        make: gives the model as it is, with weights of its own.
        pairs: (source, target) texts.
        epochs: of fine-tuning.
        lr: peak learning rate.
        batch_size: pairs a step.
        test_ratio: share of the pairs, the last ones, to measure on.
        seed: of the fresh weights and of fine-tuning.

    Yields:
        For each setting "side", "change" ("none", "fresh" or "frozen"), "loss" (nats a token of the
        target, on the test pairs) and "exact_match"; then for each side of the model as it is
        "side", "active_ratio" and "active_ratio_by_layer".

    Raises:
        UserError: a target is missing, or there are too few pairs.
    """
    num_test = _num_test(pairs, batch_size, test_ratio)
    learn, test = pairs[:-num_test], pairs[-num_test:]
    settings = [("both", "none"), *((s, c) for c in ("fresh", "frozen") for s in SIDES)]
    for side, change in settings:
        writer = make()
        if change != "none":
            change_side(writer.network, side, change, seed)  # type: ignore[arg-type]
        with torch.enable_grad():
            finetune(writer, learn, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)
        losses = writer.nll(test)
        written = writer.generate_texts([source for source, _ in test])
        right = [
            ours.strip() == target.strip() for ours, (_, target) in zip(written, test, strict=True)
        ]
        yield {
            "side": side,
            "change": change,
            "loss": sum(losses) / len(losses),
            "exact_match": sum(right) / len(right),
        }
    for name, ratios in active_ratios(make(), test).items():
        mean = sum(ratios) / len(ratios)
        yield {"side": name, "active_ratio": mean, "active_ratio_by_layer": ratios}


def _num_test(pairs: Sequence[tuple[str, str]], batch_size: int, test_ratio: float) -> int:
    """Pairs to measure on; see `diagnose_sides`."""
    for number, (_, target) in enumerate(pairs):
        if not target.strip():
            raise UserError(
                f"fine-tuning needs a field 'target' and example {number} has none: name it with"
                " --fields target=OTHER"
            )
    num_test = round(test_ratio * len(pairs))
    if not 0 < num_test <= len(pairs) - batch_size:
        raise UserError(
            f"{len(pairs)} examples with a test_ratio of {test_ratio:g} leave {num_test} to measure"
            f" on and {len(pairs) - num_test} to learn from, of which a batch takes {batch_size}:"
            " give more examples, or another test_ratio or batch_size"
        )
    return num_test


def change_side(model: Any, side: Side, change: Literal["fresh", "frozen"], seed: int = 0) -> None:
    """Freezes one side of a model, or gives it fresh weights; the shared embeddings stay as is.

    Args:
        model: of transformers, with `get_encoder` and `get_decoder`.
        side: which.
        change: what is done to it.
        seed: of the fresh weights.
    """
    own = side_parameters(model, side)
    if change == "frozen":
        for parameter in own.values():
            parameter.requires_grad_(False)
        return
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed_of(seed, side, "fresh"))
        fresh = side_parameters(type(model)(model.config), side)
        for name, parameter in own.items():
            parameter.copy_(fresh[name])


def side_parameters(model: Any, side: Side) -> dict[str, nn.Parameter]:
    """The parameters of one side, without the embeddings that both share."""
    part = model.get_encoder() if side == "encoder" else model.get_decoder()
    shared = model.get_input_embeddings().weight
    return {name: p for name, p in part.named_parameters() if p is not shared}


@torch.no_grad()
def active_ratios(
    writer: TextToText, pairs: Sequence[tuple[str, str]], batch_size: int = 32
) -> dict[Side, list[float]]:
    """For each side and layer, the share of feed-forward units above 0, a mean over tokens.

    Args:
        writer: whose model is looked at, in eval mode; the mode comes back.
        pairs: (source, target) texts to read and write.
        batch_size: pairs at once.

    Raises:
        UserError: the model's feed-forward layers are not known.
    """
    model, training = writer.network, writer.training
    device = next(model.parameters()).device
    writer.eval()
    sums: dict[Side, list[float]] = {side: [] for side in SIDES}
    counts = dict.fromkeys(SIDES, 0)
    for start in range(0, len(pairs), batch_size):
        batch = writer.batch(pairs[start : start + batch_size], torch.Generator())
        labels = batch["labels"].to(device)
        counted = {
            "encoder": batch["attention_mask"].to(device).bool(),
            "decoder": labels != IGNORE,
        }
        with _units(model) as seen:
            model(
                input_ids=batch["input_ids"].to(device),
                attention_mask=batch["attention_mask"].to(device),
                decoder_input_ids=shifted(model, labels),
                use_cache=False,
            )
        for side in SIDES:
            found = [
                float((units > 0).float().mean(-1)[counted[side]].sum()) for units in seen[side]
            ]
            sums[side] = [
                a + b for a, b in zip(sums[side] or [0.0] * len(found), found, strict=True)
            ]
            counts[side] += int(counted[side].sum())
    writer.train(training)
    return {side: [value / counts[side] for value in sums[side]] for side in SIDES}


@contextmanager
def _units(model: Any) -> Iterator[dict[Side, list[Tensor]]]:
    """Collects what goes into the activations [B, T, units], by side and layer."""
    seen: dict[Side, list[Tensor]] = {side: [] for side in SIDES}
    handles = []
    for side, part in (("encoder", model.get_encoder()), ("decoder", model.get_decoder())):
        for name, module in part.named_modules():
            if _UNITS.search(name):
                keep = seen[side].append  # type: ignore[index]

                def hook(_: Any, __: Any, output: Tensor, keep: Any = keep) -> None:
                    keep(output)

                handles.append(module.register_forward_hook(hook))
    if not handles:
        raise UserError(
            f"the feed-forward layers of {type(model).__name__} are not known: give a BART or T5"
        )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
