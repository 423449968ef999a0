"""The trial of CodeRL, and its demonstration."""

from pretrial.methods.code.coderl.trials.demonstration import demo
from pretrial.methods.code.coderl.trials.trial import trial

__all__ = ["demo", "trial"]
