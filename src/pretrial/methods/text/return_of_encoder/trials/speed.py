"""The trial of speed: first token, tokens a second and cache, of models as they begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pretrial.compare.trial import Arm, Data, Trial
from pretrial.evaluate.latency import decoding_speed
from pretrial.methods.text.return_of_encoder.config import Config
from pretrial.train.budget import Budget

if TYPE_CHECKING:
    from pretrial.methods.text.return_of_encoder import ReturnOfEncoder

_NOTES = (
    "Nothing is trained: the time of a token does not depend on the weights. 8 + 4 layers against"
    " 12, d 256, as many parameters, caches in both, greedy, one input at a time, one thread.",
    "Times are those of the thread; repeats are the items of the comparison. `bench/first_token.py`"
    " lets both take turns in one process, which is the sharper measurement.",
)


def speed_trial(made: Callable[[], Data], tiny: bool) -> Trial:
    """An encoder-decoder against a decoder-only model of as many parameters.

    Args:
        made: gives rows, of which a vocabulary is learned.
        tiny: networks small enough for a test.
    """
    config = Config.small()
    config = replace(config, width=256, num_encoder_layers=8, num_decoder_layers=4)
    config = replace(config, feed_forward=1024, head_width=64)
    lengths = {"num_input": 512, "num_output": 32, "rounds": 20}
    if tiny:
        config = replace(Config.tiny(), teacher="", teacher_ratio=0.0)
        lengths = {"num_input": 24, "num_output": 4, "rounds": 2}
    arm = partial(Arm, method="return_of_encoder", trains=False)
    return Trial(
        question="Does an encoder-decoder write its first token sooner, and more tokens a second,"
        " than a decoder-only model of as many parameters?",
        data=made,
        arms=(
            arm("encoder-decoder", "encoder-decoder", "method", config=config),
            arm("decoder-only", "decoder-only", "baseline", config=config.decoder_only()),
        ),
        measure=partial(_measure, lengths),
        metric="first_token_ms",
        direction="lower",
        budget=Budget(1, "steps"),
        claims=(
            ("encoder-decoder", "decoder-only", "first_token_ms", "lower"),
            ("encoder-decoder", "decoder-only", "tokens_per_second", "higher"),
            ("encoder-decoder", "decoder-only", "cache_megabytes", "lower"),
        ),
        notes=_NOTES,
        name="speed",
    )


def _measure(
    lengths: dict[str, int], method: ReturnOfEncoder, data: Data, seed: int
) -> dict[str, Any]:
    """What a request takes."""
    lengths = lengths | {"seed": seed}
    found = decoding_speed({"own": method.network}, **lengths)["own"]
    return {
        "first_token_ms": [1000 * seconds for seconds in found.first_token],
        "tokens_per_second": found.rates,
        "later_tokens_per_second": found.later_rates,
        "cache_megabytes": found.cache_bytes / 1e6,
    }
