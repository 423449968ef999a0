"""Unit tests as a reward: for TRL, for verl, and over HTTP.

    from pretrial.rewards import CodeReward

    reward = CodeReward(mode="share")
    reward(completions=["```python\\ndef add(a, b):\\n    return a + b\\n```"],
           tests=["assert add(1, 2) == 3"])     # [1.0]

The programs run in `pretrial.sandbox`. A reward is None where the sandbox failed and nothing is
known of the program; it is never 0 for that. docs/rewards.md tells more.

This package imports neither torch nor a trainer.
"""

from pretrial.rewards.code import CodeReward
from pretrial.rewards.completions import Fence, program_in, text_of
from pretrial.rewards.given_tests import as_json, read_tests
from pretrial.rewards.remote import RemoteReward
from pretrial.rewards.scoring import Mode, NoVerdictError, Scored

__all__ = [
    "CodeReward",
    "Fence",
    "Mode",
    "NoVerdictError",
    "RemoteReward",
    "Scored",
    "as_json",
    "program_in",
    "read_tests",
    "text_of",
]
