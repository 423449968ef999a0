"""The old place of `probe` and `finetune`, until all callers have moved."""

from pretrial.evaluate.finetune import best_rate, finetune, likeliest
from pretrial.evaluate.probe import probe

__all__ = ["best_rate", "finetune", "likeliest", "probe"]
