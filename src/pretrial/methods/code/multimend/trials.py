"""placeholder"""

from typing import Any


def trial() -> Any: ...
