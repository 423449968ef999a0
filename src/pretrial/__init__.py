"""pretrial: published pre-training methods, each on trial on your data at an equal budget."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "UserError", "finetune", "load", "train", "trial"]

if TYPE_CHECKING:
    from pretrial.errors import UserError
    from pretrial.python import Model, finetune, load, train, trial

#: Where each public name is; imported at its first use.
_PLACES = dict.fromkeys(__all__, "pretrial.python") | {"UserError": "pretrial.errors"}


def __getattr__(name: str) -> Any:
    if name == "train":
        return importlib.import_module("pretrial.train")
    if name not in _PLACES:
        raise AttributeError(f"module 'pretrial' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


class _Train(ModuleType):
    """The room `pretrial.train`, which is called as the function of the same name."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return importlib.import_module("pretrial.python").train(*args, **options)


class _Package(ModuleType):
    """This package, in which the import of a room may not hide the function `train`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train" and isinstance(value, ModuleType):
            value.__class__ = _Train
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
