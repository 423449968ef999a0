"""Lets the tests find the methods beside them."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["PRETRIAL_METHODS"] = str(Path(__file__).resolve().parents[1])
