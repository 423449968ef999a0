"""The trial of MultiMend, and the bugs that it repairs."""

from pretrial.methods.code.multimend.trials.trial import trial

__all__ = ["trial"]
